//! The workload, as Python holds it.

use std::path::PathBuf;

use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use servetwin_core::error::InputError;
use servetwin_core::generate;
use servetwin_core::mooncake;
use servetwin_core::trace::{self, NONE};
use servetwin_core::workload::Workload;

use crate::columns::column;
use crate::errors::input_error;

/// The requests of a workload, immutable, one column a field.
#[pyclass(frozen, module = "servetwin._core")]
pub struct Trace {
    workload: Workload,
}

impl Trace {
    pub fn trace(&self) -> &trace::Trace {
        &self.workload.trace
    }
}

#[pymethods]
impl Trace {
    /// Reads a Mooncake JSONL file. Raises InputError for the first thing wrong with it.
    #[staticmethod]
    #[pyo3(signature = (path, *, block_tokens=512, limit=None, speedup=1.0, max_output_tokens=None))]
    fn read_mooncake(
        py: Python<'_>,
        path: PathBuf,
        block_tokens: u32,
        limit: Option<u64>,
        speedup: f64,
        max_output_tokens: Option<u32>,
    ) -> PyResult<Self> {
        let options = mooncake::Options { block_tokens, limit, speedup, max_output_tokens };
        let read = py.detach(|| mooncake::read_file(&path, &options));
        Ok(Trace { workload: read.map_err(input_error)? })
    }

    /// Generates what a JSON description asks for. Raises InputError for one that makes no sense.
    #[staticmethod]
    fn generate(py: Python<'_>, config_json: &str) -> PyResult<Self> {
        let generated = py.detach(|| generate::generate(config_json));
        Ok(Trace { workload: generated.map_err(input_error)? })
    }

    /// A trace of these columns, validated. `after`: the index of a request, or -1.
    /// Raises InputError naming the column at fault.
    #[staticmethod]
    #[pyo3(signature = (*, arrival_ps, input_tokens, output_tokens, max_output_tokens, priority, after,
        block_tokens, block_ids, block_offsets))]
    #[expect(clippy::too_many_arguments, reason = "one a column")]
    fn from_columns(
        arrival_ps: Vec<i64>,
        input_tokens: Vec<u32>,
        output_tokens: Vec<u32>,
        max_output_tokens: Vec<u32>,
        priority: Vec<i32>,
        after: Vec<i64>,
        block_tokens: u32,
        block_ids: Vec<u32>,
        block_offsets: Vec<u64>,
    ) -> PyResult<Self> {
        let trace = trace::Trace {
            arrival_ps,
            input_tokens,
            output_tokens,
            max_output_tokens,
            priority,
            after: predecessors(&after).map_err(input_error)?,
            block_tokens,
            block_ids,
            block_offsets,
        };
        let notes = serde_json::json!({"format": "columns"});
        Ok(Trace { workload: Workload::from_trace(trace, notes).map_err(input_error)? })
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
        self.workload.request_ids.as_ref().map(|names| names.iter().collect())
    }

    /// What the source was and which defaults were taken.
    #[getter]
    fn notes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let notes = py.import("json")?.call_method1("loads", (self.workload.notes.to_string(),))?;
        Ok(notes.cast_into::<PyDict>()?)
    }

    /// One column by its name, little-endian; `after` holds 2^32 - 1 where there is none.
    /// Raises KeyError for a name that is none.
    fn column<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyBytes>> {
        let trace = self.trace();
        match name {
            "arrival_ps" => column(py, &trace.arrival_ps, i64::to_le_bytes),
            "input_tokens" => column(py, &trace.input_tokens, u32::to_le_bytes),
            "output_tokens" => column(py, &trace.output_tokens, u32::to_le_bytes),
            "max_output_tokens" => column(py, &trace.max_output_tokens, u32::to_le_bytes),
            "priority" => column(py, &trace.priority, i32::to_le_bytes),
            "after" => column(py, &trace.after, u32::to_le_bytes),
            "block_ids" => column(py, &trace.block_ids, u32::to_le_bytes),
            "block_offsets" => column(py, &trace.block_offsets, u64::to_le_bytes),
            _ => Err(PyKeyError::new_err(name.to_owned())),
        }
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
