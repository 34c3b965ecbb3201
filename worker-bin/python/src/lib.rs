//! The extension module `forebay._forebay`: what of hosting WSGI applications is not Python.
//!
//! Owns the names that Python sees. Must not know how requests come or workers are kept: that is
//! `forebay_worker`'s.
#![cfg(feature = "extension")]

mod afterwork;
mod call;
mod children;
mod deadlines;
mod environ;
mod errors;
mod file_wrapper;
mod handlers;
mod input;
mod latin1;
mod names;
mod process;
mod slot;
mod start_response;

/// The native part of the package `forebay`.
// Without the interpreter's lock it is untested: importing this turns the lock on again.
#[pyo3::pymodule(gil_used = true)]
mod _forebay {
    #[pymodule_export]
    use crate::errors::log_error;
    #[pymodule_export]
    use crate::file_wrapper::FileWrapper;
    #[pymodule_export]
    use crate::process::{Mold, Order};
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let timeout = module.py().get_type::<crate::deadlines::RequestTimeout>();
        module.add("RequestTimeout", timeout)
    }
}
