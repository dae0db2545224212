use pyo3::prelude::*;
use servetwin_core::trace as core;

#[pyclass(frozen, module = "servetwin._core")]
pub struct Trace {
    trace: core::Trace,
}

impl Trace {
    pub fn trace(&self) -> &core::Trace {
        &self.trace
    }
}

#[pymethods]
impl Trace {
    #[staticmethod]
    #[pyo3(signature = (*, arrival_ps, input_tokens, output_tokens, max_output_tokens, priority, after, block_tokens, block_ids, block_offsets))]
    #[allow(clippy::too_many_arguments)]
    fn from_columns(
        arrival_ps: Vec<i64>, input_tokens: Vec<u32>, output_tokens: Vec<u32>, max_output_tokens: Vec<u32>,
        priority: Vec<i32>, after: Vec<i64>, block_tokens: u32, block_ids: Vec<u32>, block_offsets: Vec<u64>,
    ) -> Self {
        Trace { trace: core::Trace { arrival_ps, input_tokens, output_tokens, max_output_tokens, priority,
            after: after.into_iter().map(|a| if a < 0 { core::NONE } else { a as u32 }).collect(),
            block_tokens, block_ids, block_offsets } }
    }
}
