//! Columns for Python: little-endian bytes, for its buffer protocol.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// `values` end to end, each as `bytes` writes it: `i64::to_le_bytes` or the like.
pub fn column<'py, T: Copy, const N: usize>(
    py: Python<'py>,
    values: &[T],
    bytes: impl Fn(T) -> [u8; N],
) -> PyResult<Bound<'py, PyBytes>> {
    PyBytes::new_with(py, values.len() * N, |buffer| {
        for (into, &value) in buffer.chunks_exact_mut(N).zip(values) {
            into.copy_from_slice(&bytes(value));
        }
        Ok(())
    })
}
