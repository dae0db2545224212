//! Columns from and for Python: little-endian bytes, by its buffer protocol.

use pyo3::buffer::{Element, PyBuffer};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// A column as it comes in: a list of numbers, a buffer of them, or their little-endian bytes.
pub struct Given<T>(pub Vec<T>);

/// A number with a width of its own.
pub trait Number: Element {
    fn from_le(bytes: &[u8]) -> Self;
}

macro_rules! number {
    ($($kind:ty),*) => {
        $(impl Number for $kind {
            fn from_le(bytes: &[u8]) -> Self {
                let mut own = [0; size_of::<Self>()];
                own.copy_from_slice(bytes);
                Self::from_le_bytes(own)
            }
        })*
    };
}
number!(u8, i32, u32, i64, u64);

impl<'py, T> FromPyObject<'_, 'py> for Given<T>
where
    T: Number + for<'a> FromPyObject<'a, 'py, Error = PyErr>,
{
    type Error = PyErr;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(buffer) = PyBuffer::<T>::get(&given) {
            return Ok(Given(buffer.to_vec(given.py())?));
        }
        // `bytes` are unsigned ones, an Arrow buffer signed ones.
        let bytes = match (PyBuffer::<u8>::get(&given), PyBuffer::<i8>::get(&given)) {
            (Ok(buffer), _) => buffer.to_vec(given.py())?,
            (_, Ok(buffer)) => buffer.to_vec(given.py())?.into_iter().map(|byte| byte as u8).collect(),
            _ => return given.extract::<Vec<T>>().map(Given),
        };
        let parts = bytes.chunks_exact(size_of::<T>());
        if !parts.remainder().is_empty() {
            let message = format!("{} bytes are no column of numbers of {} bytes", bytes.len(), size_of::<T>());
            return Err(PyValueError::new_err(message));
        }
        Ok(Given(parts.map(T::from_le).collect()))
    }
}

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
