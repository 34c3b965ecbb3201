//! The threads that answer requests, and how those are interrupted that take too long.
//!
//! Owns which Python thread has which seat. Must not know when somebody looks, nor what the log
//! says: that is `forebay.deadlines`.
#![allow(unsafe_code)]

use forebay_worker::host::Seat;
use pyo3::exceptions::PyBaseException;
use pyo3::prelude::*;
use std::ffi::c_ulong;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

pyo3::create_exception!(
    forebay,
    RequestTimeout,
    PyBaseException,
    "The request that this thread answers has taken longer than --timeout, or than the edge waits."
);

/// All threads of a worker that answer requests.
#[derive(Default)]
pub(crate) struct Threads {
    seats: Mutex<Vec<(c_ulong, Seat)>>,
    /// One of them has been interrupted, and may not have noticed.
    has_interrupted: AtomicBool,
}

impl Threads {
    /// The thread that calls this answers the requests of `seat` from now on. Gives its number.
    pub(crate) fn enter(&self, py: Python<'_>, seat: Seat) -> c_ulong {
        // It is as good an origin of threads if this fails, but for what it says of them.
        let _ = present(py);
        // What `threading` calls its number may be that of a greenlet, as gevent has it.
        // SAFETY: it asks the system.
        let thread = unsafe { pyo3::ffi::PyThread_get_thread_ident() };
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        seats.retain(|(other, _)| *other != thread);
        seats.push((thread, seat));
        thread
    }

    /// Those whose requests should have ended: thread, the request's id, its age in seconds.
    pub(crate) fn overdue(&self) -> Vec<(c_ulong, String, f64)> {
        let seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        let overdue = |(thread, seat): &(c_ulong, Seat)| {
            let (request, age) = seat.overdue()?;
            Some((*thread, request, age.as_secs_f64()))
        };
        seats.iter().filter_map(overdue).collect()
    }

    /// Has a thread raise [`RequestTimeout`] as soon as it executes Python.
    pub(crate) fn interrupt(&self, py: Python<'_>, thread: c_ulong) {
        self.has_interrupted.store(true, Ordering::Relaxed);
        let timeout = py.get_type::<RequestTimeout>();
        // SAFETY: the interpreter is attached; it takes a reference of its own, and looks for the
        // thread by its number.
        unsafe { pyo3::ffi::PyThreadState_SetAsyncExc(thread.cast_signed(), timeout.as_ptr()) };
    }

    /// The request of this thread has ended: what was meant for it must not hit another.
    pub(crate) fn forget(&self, _py: Python<'_>, thread: c_ulong) {
        if self.has_interrupted.load(Ordering::Relaxed) {
            // SAFETY: as above; null takes back what was not raised yet.
            unsafe {
                pyo3::ffi::PyThreadState_SetAsyncExc(thread.cast_signed(), std::ptr::null_mut())
            };
        }
    }
}

/// This thread, as those that it starts see it.
fn present(py: Python<'_>) -> PyResult<()> {
    let current = py.import("threading")?.call_method0("current_thread")?;
    // Threads that the application starts are daemons if the one is that starts them. Nobody
    // waits for this one all the same: that is decided when a thread begins.
    current.setattr("_daemonic", false)?;
    // The main thread has its name from Python.
    std::thread::current().name().map_or(Ok(()), |name| current.setattr("name", name))
}
