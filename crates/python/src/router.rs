//! A user's router, called once a request.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use servetwin_core::router::{Policy, PolicyError, ReplicaView as CoreView};
use servetwin_core::trace::Trace;
use std::collections::HashMap;

/// What a router may know of a request.
#[pyclass(frozen, get_all, module = "servetwin._core")]
pub struct RouterRequest {
    index: u32,
    arrival_ps: i64,
    input_tokens: u32,
    max_output_tokens: u32,
    priority: i32,
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

/// Calls `route` of a Python object and keeps the reasons it gives.
pub struct PythonRouter<'a> {
    route: Py<PyAny>,
    trace: &'a Trace,
    /// Whether views stay the same between two ticks of telemetry.
    ticks: bool,
    /// The views last shown and the tuple made of them.
    shown: Option<(i64, Py<PyTuple>)>,
    /// Distinct reasons, in the order of their first use.
    pub reasons: Vec<String>,
    index_of_reason: HashMap<String, u32>,
    /// One entry a request: which reason.
    pub reason_of: Vec<u32>,
}

impl<'a> PythonRouter<'a> {
    /// # Errors
    /// The object has no `route`.
    pub fn new(router: &Bound<'_, PyAny>, trace: &'a Trace, ticks: bool) -> PyResult<Self> {
        let route = router.getattr("route").map_err(|_| {
            PyTypeError::new_err(format!("{router} is no router: it has no method route(request, replicas)"))
        })?;
        Ok(PythonRouter {
            route: route.unbind(),
            trace,
            ticks,
            shown: None,
            reasons: Vec::new(),
            index_of_reason: HashMap::new(),
            reason_of: vec![u32::MAX; trace.len()],
        })
    }

    fn decide(&mut self, py: Python<'_>, request: u32, now_ps: i64, seen_ps: i64, views: &[CoreView]) -> PyResult<u32> {
        let row = request as usize;
        let about = RouterRequest {
            index: request,
            arrival_ps: now_ps,
            input_tokens: self.trace.input_tokens[row],
            max_output_tokens: self.trace.max_output_tokens[row],
            priority: self.trace.priority[row],
        };
        let replicas = self.replicas(py, seen_ps, views)?;
        let answer = self.route.bind(py).call1((about, replicas))?;
        let wrong = || PyTypeError::new_err(format!("route() returned {answer}; expected Choice(replica, reason)"));
        let (choice, reason) = match answer.extract::<i64>() {
            Ok(choice) => (choice, None),
            Err(_) => {
                let choice: i64 = answer.getattr("replica").and_then(|c| c.extract()).map_err(|_| wrong())?;
                (choice, Some(answer.getattr("reason").map_err(|_| wrong())?))
            }
        };
        let last = views.len() - 1;
        let chosen = u32::try_from(choice)
            .ok()
            .filter(|&choice| choice as usize <= last)
            .ok_or_else(|| PyValueError::new_err(format!("route() chose replica {choice}; there are 0 to {last}")))?;
        if let Some(reason) = reason {
            self.keep(row, &reason)?;
        }
        Ok(chosen)
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

    fn keep(&mut self, row: usize, reason: &Bound<'_, PyAny>) -> PyResult<()> {
        let reason: std::borrow::Cow<'_, str> = reason
            .extract()
            .map_err(|_| PyTypeError::new_err(format!("route() gave {reason} as its reason; expected a str")))?;
        self.reason_of[row] = match self.index_of_reason.get(reason.as_ref()) {
            Some(&known) => known,
            None => {
                let index = self.reasons.len() as u32;
                self.reasons.push(reason.clone().into_owned());
                self.index_of_reason.insert(reason.into_owned(), index);
                index
            }
        };
        Ok(())
    }
}

impl Policy for PythonRouter<'_> {
    fn route(&mut self, request: u32, now_ps: i64, seen_ps: i64, views: &[CoreView]) -> Result<u32, PolicyError> {
        Python::attach(|py| {
            self.decide(py, request, now_ps, seen_ps, views).map_err(|cause| PolicyError {
                request,
                now_ps,
                cause: Box::new(cause),
            })
        })
    }
}

/// The user's own exception, with a note of the hook, the request and the time.
pub fn policy_error(py: Python<'_>, error: PolicyError) -> PyErr {
    let PolicyError { request, now_ps, cause } = error;
    match cause.downcast::<PyErr>() {
        Ok(cause) => {
            let note = format!("in the router's route(), for request {request} at {:.6} s", now_ps as f64 / 1e12);
            let _ = cause.value(py).call_method1("add_note", (note,));
            *cause
        }
        Err(_) => PyValueError::new_err(format!("the router failed for request {request}")),
    }
}
