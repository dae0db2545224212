//! The workload, as Python holds it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::OnceLock;

use pyo3::exceptions::{PyKeyError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict};
use servetwin_core::bootstrap::Prepared;
use servetwin_core::error::InputError;
use servetwin_core::generate;
use servetwin_core::like;
use servetwin_core::mooncake;
use servetwin_core::profile;
use servetwin_core::rows;
use servetwin_core::table;
use servetwin_core::trace::{self, NONE};
use servetwin_core::transform;
use servetwin_core::workload::{Classes, Labels, Names, Workload};

use crate::columns::{Given, column};
use crate::errors::input_error;

/// The requests of a workload, immutable, one column a field.
#[pyclass(frozen, module = "servetwin._core")]
pub struct Trace {
    workload: Workload,
    /// For bootstraps, from the first one on.
    prepared: OnceLock<Prepared>,
}

impl Trace {
    fn of(workload: Workload) -> Self {
        Trace { workload, prepared: OnceLock::new() }
    }

    pub fn trace(&self) -> &trace::Trace {
        &self.workload.trace
    }
}

#[pymethods]
impl Trace {
    /// Reads a Mooncake JSONL file, or `text` in its place. Raises InputError for the first thing wrong with it.
    #[staticmethod]
    #[pyo3(signature = (path, *, text=None, block_tokens=512, limit=None, speedup=1.0, max_output_tokens=None,
        turns=None))]
    #[expect(clippy::too_many_arguments, reason = "one an option")]
    fn read_mooncake(
        py: Python<'_>,
        path: PathBuf,
        text: Option<PyBackedBytes>,
        block_tokens: u32,
        limit: Option<u64>,
        speedup: f64,
        max_output_tokens: Option<u32>,
        turns: Option<&str>,
    ) -> PyResult<Self> {
        let options = rows::Options { block_tokens, limit, speedup, max_output_tokens, turns: turns_of(turns)? };
        let read = py.detach(|| match text {
            Some(text) => mooncake::read(&text[..], &path.display().to_string(), &options),
            None => mooncake::read_file(&path, &options),
        });
        Ok(Trace::of(read.map_err(input_error)?))
    }

    /// The trace of rows that a reader made, in the order of arrival. `columns`: as `table::Table` names
    /// them, lists or buffers; `fields`: what time, delay, input, output, ids and name are called in the file.
    /// Raises InputError with file, line and field.
    #[staticmethod]
    #[pyo3(signature = (file, columns, *, fields, sha256, notes_json, block_tokens=512, limit=None, speedup=1.0,
        max_output_tokens=None, turns=None, as_written=false))]
    #[expect(clippy::too_many_arguments, reason = "one an option")]
    fn from_rows(
        py: Python<'_>,
        file: &str,
        columns: &Bound<'_, PyDict>,
        fields: HashMap<String, String>,
        sha256: String,
        notes_json: &str,
        block_tokens: u32,
        limit: Option<u64>,
        speedup: f64,
        max_output_tokens: Option<u32>,
        turns: Option<&str>,
        as_written: bool,
    ) -> PyResult<Self> {
        let table = table(columns)?;
        let options = rows::Options { block_tokens, limit, speedup, max_output_tokens, turns: turns_of(turns)? };
        let serde_json::Value::Object(notes) = notes_of(Some(notes_json))? else { unreachable!("it checks") };
        let field = |name: &str| fields.get(name).map_or(name, String::as_str).to_owned();
        let fields = rows::Fields {
            time: field("time"),
            delay: field("delay"),
            input: field("input"),
            output: field("output"),
            ids: field("ids"),
            name: field("name"),
        };
        let built = py.detach(|| table::assemble(&table, &options, fields, file, sha256, notes, as_written));
        Ok(Trace::of(built.map_err(input_error)?))
    }

    /// Generates what a JSON description asks for. Raises InputError for one that makes no sense.
    #[staticmethod]
    fn generate(py: Python<'_>, config_json: &str) -> PyResult<Self> {
        let generated = py.detach(|| generate::generate(config_json));
        Ok(Trace::of(generated.map_err(input_error)?))
    }

    /// A trace after the steps of a JSON list, one after the other. Raises InputError; its field is
    /// the number of the step and its name.
    fn transform(&self, py: Python<'_>, steps_json: &str) -> PyResult<Self> {
        let done = py.detach(|| transform::transform(&self.workload, steps_json));
        Ok(Trace::of(done.map_err(input_error)?))
    }

    /// All requests of several traces. Raises InputError.
    #[staticmethod]
    fn merge(py: Python<'_>, traces: Vec<Py<Trace>>) -> PyResult<Self> {
        let workloads: Vec<&Workload> = traces.iter().map(|trace| &trace.get().workload).collect();
        let merged = py.detach(|| transform::merge(&workloads));
        Ok(Trace::of(merged.map_err(input_error)?))
    }

    /// A trace of these columns, validated: lists, or buffers of integers of their width
    /// (`column` has them; `after`: the index of a request, or -1, in 64 bits; `wait_for` and `wait_offsets`:
    /// what else requests wait for, left out if none does).
    /// `class_names` and `classes` (an index a request), `failed` and `request_ids` are labels.
    /// Raises InputError naming the column at fault.
    #[staticmethod]
    #[pyo3(signature = (*, arrival_ps, input_tokens, output_tokens, max_output_tokens, priority, after,
        block_tokens, block_ids, block_offsets, wait_for=None, wait_offsets=None, request_ids=None,
        class_names=None, classes=None, failed=None, sha256=None, notes_json=None))]
    #[expect(clippy::too_many_arguments, reason = "one a column")]
    fn from_columns(
        py: Python<'_>,
        arrival_ps: Given<i64>,
        input_tokens: Given<u32>,
        output_tokens: Given<u32>,
        max_output_tokens: Given<u32>,
        priority: Given<i32>,
        after: Given<i64>,
        block_tokens: u32,
        block_ids: Given<u32>,
        block_offsets: Given<u64>,
        wait_for: Option<Given<u32>>,
        wait_offsets: Option<Given<u64>>,
        request_ids: Option<Vec<String>>,
        class_names: Option<Vec<String>>,
        classes: Option<Given<u32>>,
        failed: Option<Given<u8>>,
        sha256: Option<String>,
        notes_json: Option<&str>,
    ) -> PyResult<Self> {
        let labels = Labels {
            request_ids: request_ids.map(|names| names.iter().map(String::as_str).collect()),
            classes: classes_of(class_names, classes)?,
            failed: failed.map(|Given(failed)| failed.iter().map(|&mark| mark != 0).collect()),
        };
        let notes = notes_of(notes_json)?;
        let built = py.detach(|| {
            let trace = trace::Trace {
                arrival_ps: arrival_ps.0,
                input_tokens: input_tokens.0,
                output_tokens: output_tokens.0,
                max_output_tokens: max_output_tokens.0,
                priority: priority.0,
                after: predecessors(&after.0)?,
                wait_for: wait_for.map_or_else(Vec::new, |Given(rows)| rows),
                wait_offsets: wait_offsets.map_or_else(Vec::new, |Given(offsets)| offsets),
                block_tokens,
                block_ids: block_ids.0,
                block_offsets: block_offsets.0,
            };
            Workload::new(trace, labels, sha256, notes)
        });
        Ok(Trace::of(built.map_err(input_error)?))
    }

    /// Requests like these: how many, and over which time, is what a JSON description says. The
    /// notes hold what was fitted. Raises InputError.
    fn like(&self, py: Python<'_>, options_json: &str) -> PyResult<Self> {
        let generated = py.detach(|| like::like(&self.workload, options_json));
        Ok(Trace::of(generated.map_err(input_error)?))
    }

    /// What the same source might have sent instead: families of requests drawn anew, in blocks of time as a JSON
    /// description says. Raises InputError.
    fn bootstrap(&self, py: Python<'_>, options_json: &str) -> PyResult<Self> {
        let drawn = py.detach(|| {
            let prepared = self.prepared.get_or_init(|| Prepared::new(self.trace()));
            prepared.draw(&self.workload, options_json)
        });
        Ok(Trace::of(drawn.map_err(input_error)?))
    }

    /// Whether any request waits for another.
    #[getter]
    fn has_waits(&self) -> bool {
        self.trace().has_waits()
    }

    /// What the workload is like: rates, lengths, reuse, sessions.
    fn profile<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let profile = py.detach(|| serde_json::to_string(&profile::profile(&self.workload)));
        let profile = profile.map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(py.import("json")?.call_method1("loads", (profile,))?.cast_into::<PyDict>()?)
    }

    fn __len__(&self) -> usize {
        self.trace().len()
    }

    /// Tokens one block id stands for.
    #[getter]
    fn block_tokens(&self) -> u32 {
        self.trace().block_tokens
    }

    /// Of the bytes of the file read, else of the columns.
    #[getter]
    fn sha256(&self) -> &str {
        &self.workload.sha256
    }

    /// One name a request, if the source named any; the rest go by their line.
    #[getter]
    fn request_ids(&self) -> Option<Vec<&str>> {
        self.workload.labels.request_ids.as_ref().map(|names| names.iter().collect())
    }

    /// Names of traffic classes, if the source has any; `column("class")` has each request's.
    #[getter]
    fn class_names(&self) -> Option<Vec<&str>> {
        self.workload.labels.classes.as_ref().map(|classes| classes.names.iter().collect())
    }

    /// Whether the source says which requests failed when they were recorded; `column("failed")` has the marks.
    #[getter]
    fn has_failed(&self) -> bool {
        self.workload.labels.failed.is_some()
    }

    /// What the source was and which defaults were taken.
    #[getter]
    fn notes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let notes = py.import("json")?.call_method1("loads", (self.workload.notes.to_string(),))?;
        Ok(notes.cast_into::<PyDict>()?)
    }

    /// One column by its name, little-endian; `trajectory` is the first request of each request's, `after` holds 2^32 - 1 where there is none, and
    /// `wait_offsets` nothing at all where no request waits for more than the turn before it.
    /// Raises KeyError for a name that is none, `class` or `failed` where the source has no such labels included.
    fn column<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyBytes>> {
        let trace = self.trace();
        match name {
            "arrival_ps" => column(py, &trace.arrival_ps, i64::to_le_bytes),
            "input_tokens" => column(py, &trace.input_tokens, u32::to_le_bytes),
            "output_tokens" => column(py, &trace.output_tokens, u32::to_le_bytes),
            "max_output_tokens" => column(py, &trace.max_output_tokens, u32::to_le_bytes),
            "priority" => column(py, &trace.priority, i32::to_le_bytes),
            "after" => column(py, &trace.after, u32::to_le_bytes),
            "wait_for" => column(py, &trace.wait_for, u32::to_le_bytes),
            "wait_offsets" => column(py, &trace.wait_offsets, u64::to_le_bytes),
            "trajectory" => column(py, &trace.trajectories(), u32::to_le_bytes),
            "block_ids" => column(py, &trace.block_ids, u32::to_le_bytes),
            "block_offsets" => column(py, &trace.block_offsets, u64::to_le_bytes),
            _ => match (name, &self.workload.labels.classes, &self.workload.labels.failed) {
                ("class", Some(classes), _) => column(py, &classes.of, u32::to_le_bytes),
                ("failed", _, Some(failed)) => column(py, failed, |mark| [u8::from(mark)]),
                _ => Err(PyKeyError::new_err(name.to_owned())),
            },
        }
    }
}

fn turns_of(name: Option<&str>) -> PyResult<Option<rows::Turns>> {
    let wrong = |name| PyValueError::new_err(format!("turns: {name} is not cumulative, delta or separate"));
    name.map(|name| rows::Turns::of(name).ok_or_else(|| wrong(name))).transpose()
}

fn table(columns: &Bound<'_, PyDict>) -> PyResult<table::Table> {
    fn names(given: &Bound<'_, PyAny>) -> PyResult<Names> {
        Ok(given.extract::<Vec<String>>()?.iter().map(String::as_str).collect())
    }
    let mut table = table::Table::default();
    let mut classes = (None, None);
    for (name, given) in columns {
        let name: String = name.extract()?;
        match name.as_str() {
            "time_ps" => table.time_ps = given.extract::<Given<i64>>()?.0,
            "delay_ps" => table.delay_ps = given.extract::<Given<i64>>()?.0,
            "elapsed_ps" => table.elapsed_ps = given.extract::<Given<i64>>()?.0,
            "session" => table.session = given.extract::<Given<u32>>()?.0,
            "session_names" => table.session_names = names(&given)?,
            "input_tokens" => table.input_tokens = given.extract::<Given<u32>>()?.0,
            "output_tokens" => table.output_tokens = given.extract::<Given<u32>>()?.0,
            "reasoning_tokens" => table.reasoning_tokens = given.extract::<Given<u32>>()?.0,
            "max_output_tokens" => table.max_output_tokens = given.extract::<Given<u32>>()?.0,
            "priority" => table.priority = given.extract::<Given<i32>>()?.0,
            "hash_ids" => table.hash_ids = given.extract::<Given<u64>>()?.0,
            "hash_offsets" => table.hash_offsets = given.extract::<Given<u64>>()?.0,
            "kept_blocks" => table.kept_blocks = given.extract::<Given<u32>>()?.0,
            "wait_for" => table.wait_for = given.extract::<Given<u64>>()?.0,
            "wait_offsets" => table.wait_offsets = given.extract::<Given<u64>>()?.0,
            "lines" => table.lines = given.extract::<Given<u64>>()?.0,
            "request_ids" => table.request_ids = Some(names(&given)?),
            "class_names" => classes.0 = Some(given.extract()?),
            "classes" => classes.1 = Some(given.extract()?),
            "failed" => {
                let Given(failed) = given.extract::<Given<u8>>()?;
                table.failed = Some(failed.iter().map(|&mark| mark != 0).collect());
            }
            _ => return Err(PyKeyError::new_err(name)),
        }
    }
    table.classes = classes_of(classes.0, classes.1)?;
    Ok(table)
}

fn classes_of(names: Option<Vec<String>>, of: Option<Given<u32>>) -> PyResult<Option<Classes>> {
    match (names, of) {
        (None, None) => Ok(None),
        (Some(names), Some(Given(of))) => Ok(Some(Classes { names: names.iter().map(String::as_str).collect(), of })),
        _ => Err(PyTypeError::new_err("class_names and classes are given together or not at all")),
    }
}

fn notes_of(json: Option<&str>) -> PyResult<serde_json::Value> {
    let Some(json) = json else { return Ok(serde_json::json!({"format": "columns"})) };
    match serde_json::from_str(json) {
        Ok(notes @ serde_json::Value::Object(_)) => Ok(notes),
        _ => Err(PyValueError::new_err("notes_json is no JSON object")),
    }
}

fn predecessors(after: &[i64]) -> Result<Vec<u32>, InputError> {
    let one = |(row, &index): (usize, &i64)| match index {
        -1 => Ok(NONE),
        _ => u32::try_from(index).ok().filter(|&index| index != NONE).ok_or_else(|| {
            InputError::in_field("after", format!("request {row}: {index} is neither the index of a request nor -1"))
        }),
    };
    after.iter().enumerate().map(one).collect()
}
