//! The border between Python and the core: a description goes in, columns come out.

use pyo3::prelude::*;

mod columns;
mod errors;
mod trace;

#[pymodule]
fn _core(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add("InputError", m.py().get_type::<errors::InputError>())?;
    m.add_class::<trace::Trace>()
}
