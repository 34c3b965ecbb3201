//! Children that the application has forked and that come back to the server.
//!
//! Owns their end: that of any program of Python, but that nothing of the worker ends with it: what
//! was registered by `atexit` is the worker's. Must not know responses.

use crate::errors;
use forebay_worker::{Request, host};
use pyo3::exceptions::PySystemExit;
use pyo3::intern;
use pyo3::prelude::*;

/// What the application has given, in a worker. In a child, whose parent answers the request, that
/// is the end.
pub(crate) fn of_this_process<T>(
    py: Python<'_>,
    request: &Request,
    given: PyResult<T>,
) -> PyResult<T> {
    if !host::is_forked() {
        return given;
    }
    let code = match given {
        Ok(_) => 0,
        Err(error) if error.is_instance_of::<PySystemExit>(py) => exit_code(py, &error),
        Err(error) => {
            errors::log(py, request, "a child of the application has failed", error);
            FAILED
        }
    };
    for stream in ["stdout", "stderr"] {
        // It may be closed, or anything.
        let _ = stream_of(py, stream).and_then(|stream| stream.call_method0("flush"));
    }
    host::exit(code)
}

/// Of `sys.exit(...)`: what is no number is said, and a failure.
fn exit_code(py: Python<'_>, exit: &PyErr) -> i32 {
    let Ok(code) = exit.value(py).getattr(intern!(py, "code")) else { return FAILED };
    if code.is_none() {
        return 0;
    }
    // The parent gets no more than these bits (exit(3)).
    if let Ok(number) = code.call_method1("__and__", (0xff,)).and_then(|low| low.extract()) {
        return number;
    }
    let _ = code
        .str()
        .and_then(|text| stream_of(py, "stderr")?.call_method1("write", (format!("{text}\n"),)));
    FAILED
}

fn stream_of<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    py.import("sys")?.getattr(name)
}

const FAILED: i32 = 1;
