//! A user's router, called once a request.

use pyo3::exceptions::{PyAttributeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use servetwin_core::config::{Pool, Router};
use servetwin_core::router::{Fleet, Pick, Policy, PolicyError, ReplicaView as CoreView};
use servetwin_core::trace::{NONE, Trace};
use std::collections::HashMap;

/// What a router may know of a request.
#[pyclass(frozen, module = "servetwin._core")]
pub struct RouterRequest {
    #[pyo3(get)]
    index: u32,
    #[pyo3(get)]
    arrival_ps: i64,
    #[pyo3(get)]
    input_tokens: u32,
    #[pyo3(get)]
    max_output_tokens: u32,
    #[pyo3(get)]
    priority: i32,
    /// The first request of its session; itself if it has none.
    #[pyo3(get)]
    session: u32,
    cached_tokens: Option<Py<PyTuple>>,
}

#[pymethods]
impl RouterRequest {
    /// By replica: the tokens of its prompt that are in the cache now.
    #[getter]
    fn cached_tokens(&self, py: Python<'_>) -> PyResult<Py<PyTuple>> {
        match &self.cached_tokens {
            Some(cached) => Ok(cached.clone_ref(py)),
            None => Err(PyAttributeError::new_err(
                "cached_tokens is only looked up for a router that asks for it: give it the attribute reads_cache = True",
            )),
        }
    }
}

/// One replica, as old as the router's telemetry.
#[pyclass(frozen, get_all, module = "servetwin._core")]
pub struct ReplicaView {
    index: u32,
    time_ps: i64,
    running: u32,
    waiting: u32,
    requests: u32,
    used_blocks: u32,
    free_blocks: u32,
}

/// Calls the methods of a Python object, and keeps the reasons it gives.
pub struct PythonRouter<'a> {
    route: Py<PyAny>,
    first_token: Option<Py<PyAny>>,
    ended: Option<Py<PyAny>>,
    trace: &'a Trace,
    sessions: Vec<u32>,
    block_size: u32,
    /// Whether requests tell what replicas have cached of them.
    reads_cache: bool,
    /// Whether views stay the same between two ticks of telemetry.
    ticks: bool,
    /// The views last shown and the tuple made of them.
    shown: Option<(i64, Py<PyTuple>)>,
    /// Distinct reasons, in the order of their first use.
    pub reasons: Vec<String>,
    index_of_reason: HashMap<String, u32>,
}

impl<'a> PythonRouter<'a> {
    /// # Errors
    /// The object has no `route`, or asks for a cache that no replica keeps.
    pub fn new(router: &Bound<'_, PyAny>, trace: &'a Trace, pool: &Pool) -> PyResult<Self> {
        let route = router.getattr("route").map_err(|_| {
            PyTypeError::new_err(format!("{router} is no router: it has no method route(request, replicas)"))
        })?;
        let hook = |name| Ok::<_, PyErr>(router.getattr_opt(name)?.map(Bound::unbind));
        let reads_cache = match router.getattr_opt("reads_cache")? {
            Some(asked) => asked.extract().map_err(|_| {
                PyTypeError::new_err(format!("{router} has reads_cache = {asked}; expected True or False"))
            })?,
            None => false,
        };
        Ok(PythonRouter {
            route: route.unbind(),
            first_token: hook("first_token")?,
            ended: hook("ended")?,
            trace,
            sessions: servetwin_core::router::sessions(trace),
            block_size: servetwin_core::scheduler::block_size(&pool.engine),
            reads_cache,
            ticks: matches!(&pool.router, Router::Python(telemetry) if telemetry.interval_ps > 0),
            shown: None,
            reasons: Vec::new(),
            index_of_reason: HashMap::new(),
        })
    }

    fn decide(&mut self, py: Python<'_>, request: u32, now_ps: i64, fleet: &Fleet) -> PyResult<Pick> {
        let row = request as usize;
        let about = RouterRequest {
            index: request,
            arrival_ps: now_ps,
            input_tokens: self.trace.input_tokens[row],
            max_output_tokens: self.trace.max_output_tokens[row],
            priority: self.trace.priority[row],
            session: self.sessions[row],
            cached_tokens: self.cached_tokens(py, request, fleet)?,
        };
        let replicas = self.replicas(py, fleet.seen_ps, fleet.views)?;
        let answer = self.route.bind(py).call1((about, replicas))?;
        let wrong = || PyTypeError::new_err(format!("route() returned {answer}; expected Choice(replica, reason)"));
        let (choice, reason) = match answer.extract::<i64>() {
            Ok(choice) => (choice, None),
            Err(_) => {
                let choice: i64 = answer.getattr("replica").and_then(|c| c.extract()).map_err(|_| wrong())?;
                (choice, Some(answer.getattr("reason").map_err(|_| wrong())?))
            }
        };
        let last = fleet.views.len() - 1;
        let replica = u32::try_from(choice)
            .ok()
            .filter(|&choice| choice as usize <= last)
            .ok_or_else(|| PyValueError::new_err(format!("route() chose replica {choice}; there are 0 to {last}")))?;
        let reason = reason.map_or(Ok(NONE), |reason| self.keep(&reason))?;
        Ok(Pick { replica, reason, overlap_tokens: NONE })
    }

    fn cached_tokens(&self, py: Python<'_>, request: u32, fleet: &Fleet) -> PyResult<Option<Py<PyTuple>>> {
        if !self.reads_cache {
            return Ok(None);
        }
        let cached = fleet.workers.iter().map(|worker| worker.cached_blocks(request, fleet.now) * self.block_size);
        Ok(Some(PyTuple::new(py, cached.collect::<Vec<u32>>())?.unbind()))
    }

    fn replicas(&mut self, py: Python<'_>, seen_ps: i64, views: &[CoreView]) -> PyResult<Py<PyTuple>> {
        if let Some((time_ps, list)) = &self.shown
            && self.ticks
            && *time_ps == seen_ps
        {
            return Ok(list.clone_ref(py));
        }
        let made = views.iter().enumerate().map(|(index, view)| ReplicaView {
            index: index as u32,
            time_ps: seen_ps,
            running: view.running,
            waiting: view.waiting,
            requests: view.running + view.waiting,
            used_blocks: view.used_blocks,
            free_blocks: view.free_blocks,
        });
        let objects = made.map(|view| Py::new(py, view)).collect::<PyResult<Vec<_>>>()?;
        let list = PyTuple::new(py, objects)?.unbind();
        self.shown = Some((seen_ps, list.clone_ref(py)));
        Ok(list)
    }

    fn keep(&mut self, reason: &Bound<'_, PyAny>) -> PyResult<u32> {
        let reason: std::borrow::Cow<'_, str> = reason
            .extract()
            .map_err(|_| PyTypeError::new_err(format!("route() gave {reason} as its reason; expected a str")))?;
        if let Some(&known) = self.index_of_reason.get(reason.as_ref()) {
            return Ok(known);
        }
        let index = self.reasons.len() as u32;
        self.reasons.push(reason.clone().into_owned());
        self.index_of_reason.insert(reason.into_owned(), index);
        Ok(index)
    }
}

/// Tells a hook that the router may or may not have.
fn tell(
    hook: Option<&Py<PyAny>>,
    name: &'static str,
    (request, replica, now_ps): (u32, u32, i64),
) -> Result<(), PolicyError> {
    let Some(hook) = hook else { return Ok(()) };
    let told = Python::attach(|py| hook.call1(py, (request, replica, now_ps)).map(drop));
    told.map_err(|cause| PolicyError { hook: name, request, now_ps, cause: Box::new(cause) })
}

impl Policy for PythonRouter<'_> {
    fn route(&mut self, request: u32, now_ps: i64, fleet: &Fleet) -> Result<Pick, PolicyError> {
        let decided = Python::attach(|py| self.decide(py, request, now_ps, fleet));
        decided.map_err(|cause| PolicyError { hook: "route", request, now_ps, cause: Box::new(cause) })
    }

    fn first_token(&mut self, request: u32, replica: u32, now_ps: i64) -> Result<(), PolicyError> {
        tell(self.first_token.as_ref(), "first_token", (request, replica, now_ps))
    }

    fn ended(&mut self, request: u32, replica: u32, now_ps: i64) -> Result<(), PolicyError> {
        tell(self.ended.as_ref(), "ended", (request, replica, now_ps))
    }
}

/// The user's own exception, with a note of the hook, the request and the time.
pub fn policy_error(py: Python<'_>, error: PolicyError) -> PyErr {
    let PolicyError { hook, request, now_ps, cause } = error;
    match cause.downcast::<PyErr>() {
        Ok(cause) => {
            let note = format!("in the router's {hook}(), for request {request} at {:.6} s", now_ps as f64 / 1e12);
            let _ = cause.value(py).call_method1("add_note", (note,));
            *cause
        }
        Err(_) => PyValueError::new_err(format!("the router failed for request {request}")),
    }
}
