//! Signals that Python handles, when this thread is not executing Python.
//!
//! Owns what becomes of what a handler raises then: it is about no request. Must not know which
//! signals there are.

use crate::errors;
use forebay_worker::host;
use pyo3::exceptions::PySystemExit;
use pyo3::prelude::*;

/// Runs the handlers of signals that have come, if this is the thread that does so.
pub(crate) fn run(py: Python<'_>) {
    while let Err(error) = py.check_signals() {
        match error.is_instance_of::<PySystemExit>(py) {
            true => host::stop(),
            false => {
                let what = "a signal handler of the application has failed";
                errors::log_without_request(py, what, error);
            }
        }
    }
}

/// The same, for a thread that does not hold the interpreter.
pub(crate) fn run_while_waiting() {
    Python::attach(run);
}
