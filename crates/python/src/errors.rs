//! Where the core's error becomes a Python exception.

use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use servetwin_core::error;

pyo3::create_exception!(
    servetwin._core,
    InputError,
    PyException,
    "Its arguments are file, line, field and message; the first three may be None."
);

pub fn input_error(error: error::InputError) -> PyErr {
    InputError::new_err((error.file, error.line, error.field, error.message))
}
