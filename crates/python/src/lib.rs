//! The border between Python and the core: a description goes in, columns come out.

use pyo3::prelude::*;

mod columns;
mod errors;
mod router;
mod simulate;
mod trace;

#[pymodule]
fn _core(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add("__version__", env!("CARGO_PKG_VERSION"))?;
    m.add("InputError", m.py().get_type::<errors::InputError>())?;
    m.add_class::<trace::Trace>()?;
    m.add_class::<simulate::Run>()?;
    m.add_class::<router::RouterRequest>()?;
    m.add_class::<router::ReplicaView>()?;
    m.add_function(wrap_pyfunction!(simulate::simulate, m)?)
}
