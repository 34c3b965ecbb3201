//! Errors of applications, in the log: which request it was, and the traceback.
//!
//! Owns their form. What Python has made of bytes that are no text, such as of the names of files,
//! is no reason for another error.

use forebay_worker::{Request, host};
use pyo3::prelude::*;
use pyo3::types::PyString;

/// Logs an error, and below it what explains it.
#[pyfunction]
pub(crate) fn log_error(text: &Bound<'_, PyString>, details: &Bound<'_, PyString>) {
    host::log_error(format_args!("{}", text.to_string_lossy()), &details.to_string_lossy());
}

/// Logs what has gone wrong with a request.
pub(crate) fn log(py: Python<'_>, request: &Request, what: &str, error: PyErr) {
    let trace = traceback(py, &error).unwrap_or_else(|_| error.to_string());
    say(request, what, &trace);
}

/// Logs what has gone wrong with none.
pub(crate) fn log_without_request(py: Python<'_>, what: &str, error: PyErr) {
    let trace = traceback(py, &error).unwrap_or_else(|_| error.to_string());
    host::log_error(format_args!("{what}"), &trace);
}

/// Logs a mistake of the application that has raised nothing.
pub(crate) fn say(request: &Request, what: &str, details: &str) {
    let id = request.request_id().unwrap_or("(without id)");
    let (method, path) = (request.method(), request.path());
    host::log_error(format_args!("request {id}, {method} {path}: {what}"), details);
}

fn traceback(py: Python<'_>, error: &PyErr) -> PyResult<String> {
    let arguments = (error.get_type(py), error.value(py), error.traceback(py));
    let lines = py.import("traceback")?.call_method1("format_exception", arguments)?;
    let text = PyString::new(py, "").call_method1("join", (lines,))?;
    Ok(text.cast_into::<PyString>()?.to_string_lossy().into_owned())
}
