//! A run: a description goes in once, columns come out.

use crate::columns::column;
use crate::errors::input_error;
use crate::router::{PythonRouter, policy_error};
use crate::trace::Trace;
use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use servetwin_core::config;
use servetwin_core::error::InputError;
use servetwin_core::log;
use servetwin_core::metrics::{self, SummaryOptions};
use servetwin_core::simulation::{self, Failure, Outcome};
use servetwin_core::trace::Trace as Rows;
use std::time::{Duration, Instant};

/// How often a run asks whether it was interrupted, and tells how far it is.
const TELL_EVERY: Duration = Duration::from_millis(50);

/// What a run left behind.
#[pyclass(frozen, module = "servetwin._core")]
pub struct Run {
    trace: Py<Trace>,
    outcome: Outcome,
    /// What the numbers in the column route_reason mean.
    #[pyo3(get)]
    route_reasons: Vec<String>,
    #[pyo3(get)]
    simulate_s: f64,
}

#[pymethods]
impl Run {
    /// "completed", or "stalled" if some replica stopped making progress.
    #[getter]
    fn status(&self) -> &str {
        if self.outcome.stalled.is_empty() { "completed" } else { "stalled" }
    }

    #[getter]
    fn passes(&self) -> u64 {
        self.outcome.passes
    }

    #[getter]
    fn leaps(&self) -> u64 {
        self.outcome.leaps
    }

    /// Picoseconds that all passes of each pool took, and of them those beyond what was measured.
    #[getter]
    fn pass_times(&self) -> Vec<(i128, i128)> {
        self.outcome.pass_times.clone()
    }

    /// One column of the request table, little-endian.
    fn column<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyBytes>> {
        let requests = &self.outcome.requests;
        let trace = self.trace.get().trace();
        Ok(match name {
            "arrival_ps" => column(py, &requests.arrival_ps, i64::to_le_bytes)?,
            "routed_ps" => column(py, &requests.routed_ps, i64::to_le_bytes)?,
            "scheduled_ps" => column(py, &requests.scheduled_ps, i64::to_le_bytes)?,
            "first_token_ps" => column(py, &requests.first_token_ps, i64::to_le_bytes)?,
            "last_token_ps" => column(py, &requests.last_token_ps, i64::to_le_bytes)?,
            "end_ps" => column(py, &requests.end_ps, i64::to_le_bytes)?,
            "replica" => column(py, &requests.replica, u32::to_le_bytes)?,
            "rank" => column(py, &requests.rank, u32::to_le_bytes)?,
            "input_tokens" => column(py, &trace.input_tokens, u32::to_le_bytes)?,
            "output_tokens" => column(py, &requests.output_tokens, u32::to_le_bytes)?,
            "cached_tokens" => column(py, &requests.cached_tokens, u32::to_le_bytes)?,
            "host_tokens" => column(py, &requests.loaded.host, u32::to_le_bytes)?,
            "disk_tokens" => column(py, &requests.loaded.disk, u32::to_le_bytes)?,
            "shared_tokens" => column(py, &requests.loaded.shared, u32::to_le_bytes)?,
            "preemptions" => column(py, &requests.preemptions, u32::to_le_bytes)?,
            "preempted_ps" => column(py, &requests.preempted_ps, i64::to_le_bytes)?,
            "route_reason" => column(py, &requests.route_reason, u32::to_le_bytes)?,
            "route_overlap_tokens" => column(py, &requests.route_overlap_tokens, u32::to_le_bytes)?,
            "prefill_replica" => column(py, &requests.handovers.prefill_replica, u32::to_le_bytes)?,
            "prefilled_ps" => column(py, &requests.handovers.prefilled_ps, i64::to_le_bytes)?,
            "decode_routed_ps" => column(py, &requests.handovers.decode_routed_ps, i64::to_le_bytes)?,
            "transfer_start_ps" => column(py, &requests.handovers.transfer_start_ps, i64::to_le_bytes)?,
            "transfer_end_ps" => column(py, &requests.handovers.transfer_end_ps, i64::to_le_bytes)?,
            "transferred_tokens" => column(py, &requests.handovers.transferred_tokens, u32::to_le_bytes)?,
            "status" => PyBytes::new(py, &requests.status),
            "reason" => PyBytes::new(py, &requests.reason),
            _ => return Err(PyKeyError::new_err(name.to_owned())),
        })
    }

    /// One column of the time series, little-endian.
    fn series<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyBytes>> {
        let series = &self.outcome.series;
        Ok(match name {
            "time_ps" => column(py, &series.time_ps, i64::to_le_bytes)?,
            "replica" => column(py, &series.replica, u32::to_le_bytes)?,
            "running" => column(py, &series.running, u32::to_le_bytes)?,
            "waiting" => column(py, &series.waiting, u32::to_le_bytes)?,
            "used_blocks" => column(py, &series.used_blocks, u32::to_le_bytes)?,
            "holdup" => PyBytes::new(py, &series.holdup),
            _ => return Err(PyKeyError::new_err(name.to_owned())),
        })
    }

    /// Gaps between tokens as progressions: start_ps, step_ps, count, weight.
    fn itl(&self) -> Vec<(i64, i64, i64, i64)> {
        self.outcome.gaps.iter().map(|g| (g.start_ps, g.step_ps, g.count, g.weight)).collect()
    }

    /// The metrics that `options_json` asks for, as a flat JSON object.
    /// Raises InputError naming the option at fault.
    fn summary(&self, py: Python<'_>, options_json: &str) -> PyResult<String> {
        let options = SummaryOptions::from_json(options_json).map_err(input_error)?;
        let (trace, outcome) = (self.trace.get().trace(), &self.outcome);
        let (inputs, limits) = (&trace.input_tokens, &trace.max_output_tokens);
        let summarize = || {
            let trajectories = if trace.has_waits() { trace.trajectories() } else { Vec::new() };
            metrics::summarize(
                &outcome.requests,
                inputs,
                limits,
                &trajectories,
                &outcome.gaps,
                &outcome.speculated,
                &outcome.pools,
                &options,
            )
        };
        Ok(py.detach(summarize).to_json())
    }

    /// All passes of the one replica of a run with `record.passes`, as JSON.
    fn pass_log(&self) -> String {
        log::to_json(self.trace.get().trace(), &self.outcome)
    }
}

/// Runs `trace` on what `config_json` describes.
#[pyfunction]
#[pyo3(signature = (trace, config_json, *, router=None, decode_router=None, progress=None))]
pub fn simulate(
    py: Python<'_>,
    trace: Py<Trace>,
    config_json: &str,
    router: Option<Bound<'_, PyAny>>,
    decode_router: Option<Bound<'_, PyAny>>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Run> {
    let run: config::Run = serde_json::from_str(config_json)
        .map_err(|error| input_error(InputError::in_field("run description", error.to_string())))?;
    config::check(&run).map_err(input_error)?;
    let rows = trace.get().trace();
    let start = Instant::now();
    for pool in &run.pools {
        check_id_ranks(&pool.engine, rows.len()).map_err(input_error)?;
    }
    let given = [router, decode_router];
    if given.iter().skip(run.pools.len()).any(Option::is_some) {
        return Err(PyValueError::new_err("a router is given for a pool that there is not"));
    }
    let pools = run.pools.iter().zip(&given);
    let mut own_routers = pools.map(|(pool, router)| own_router(pool, router, rows)).collect::<PyResult<Vec<_>>>()?;
    let mut failure: Option<PyErr> = None;
    let mut told_at = start;
    let outcome = {
        let mut tell = |share: f64| -> bool {
            // Waiting for the interpreter costs more than a short run.
            if told_at.elapsed() < TELL_EVERY {
                return true;
            }
            told_at = Instant::now();
            let told = Python::attach(|py| {
                py.check_signals()?;
                progress.as_ref().map_or(Ok(()), |progress| progress.call1(py, (share,)).map(drop))
            });
            match told {
                Ok(()) => true,
                Err(error) => {
                    failure = Some(error);
                    false
                }
            }
        };
        py.detach(|| {
            let policies = own_routers.iter_mut().map(|router| router.as_mut().map(|router| router as _));
            simulation::simulate(rows, &run, policies.collect(), &mut tell)
        })
    };
    let outcome = outcome.map_err(|error| match error {
        Failure::Input(error) => input_error(error),
        Failure::Policy(error) => policy_error(py, error),
        Failure::Horizon => input_error(InputError {
            file: None,
            line: None,
            field: None,
            message:
                "the run lasts over 100 days of simulated time; shorten the workload, or check units of pass times"
                    .to_owned(),
        }),
        Failure::Engine(replica, error) => input_error(InputError {
            file: None,
            line: None,
            field: None,
            message: format!("{error} (replica {replica})"),
        }),
        Failure::Interrupted => failure.unwrap_or_else(|| PyValueError::new_err("the run was interrupted")),
    })?;
    let route_reasons = match own_routers.swap_remove(0) {
        Some(router) => router.reasons,
        None => outcome.route_reasons.iter().map(|&reason| reason.to_owned()).collect(),
    };
    let simulate_s = start.elapsed().as_secs_f64();
    Ok(Run { trace, outcome, route_reasons, simulate_s })
}

/// The user's router of a pool, if it has one.
fn own_router<'a>(
    pool: &config::Pool,
    router: &Option<Bound<'_, PyAny>>,
    rows: &'a Rows,
) -> PyResult<Option<PythonRouter<'a>>> {
    match (&pool.router, router) {
        (config::Router::Python(_), Some(router)) => PythonRouter::new(router, rows, pool).map(Some),
        (config::Router::Python(_), None) => Err(PyValueError::new_err("router kind python needs a router")),
        (_, Some(_)) => Err(PyValueError::new_err("a router is given, but the router's kind is not python")),
        _ => Ok(None),
    }
}

fn check_id_ranks(engine: &config::Engine, requests: usize) -> Result<(), InputError> {
    let config::Engine::Vllm(config::vllm::Vllm { id_ranks: Some(ranks), .. }) = engine else { return Ok(()) };
    let mut sorted = ranks.clone();
    sorted.sort_unstable();
    if sorted.len() != requests || sorted.iter().enumerate().any(|(rank, &given)| rank as u32 != given) {
        return Err(InputError::in_field("id_ranks", "not the numbers from 0 on, one a request"));
    }
    Ok(())
}
