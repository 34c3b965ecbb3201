//! One thread of a worker: waits without the interpreter, and calls the application with it.
//!
//! Owns when the interpreter is held. Must not know what is in an environ.
#![allow(unsafe_code)]

use crate::afterwork::Afterwork;
use crate::call;
use crate::deadlines::Threads;
use crate::environ::{Environ, Template};
use crate::{errors, handlers};
use forebay_worker::host::{Answered, Arrival, Gone, Seat, Service};
use pyo3::ffi;
use pyo3::prelude::*;
use std::cell::RefCell;
use std::ffi::c_ulong;
use std::sync::Arc;

/// What the threads of a worker have in common.
pub(crate) struct Shared {
    pub(crate) application: Py<PyAny>,
    pub(crate) template: Template,
    pub(crate) threads: Arc<Threads>,
    /// No other slot is in this worker or another one.
    pub(crate) is_alone: bool,
}

/// Serves one slot.
pub(crate) struct Slot<'a> {
    application: &'a Py<PyAny>,
    environ: RefCell<Environ<'a>>,
    seat: Seat,
    threads: &'a Threads,
    afterwork: Afterwork,
    /// This thread's number.
    number: c_ulong,
    /// Last: what is above needs it.
    _thread: Thread,
}

impl<'a> Slot<'a> {
    /// For this thread, which does not hold the interpreter.
    pub(crate) fn new(shared: &'a Shared, seat: Seat) -> Slot<'a> {
        let thread = Thread::enter();
        let (environ, number) = Python::attach(|py| {
            let number = shared.threads.enter(py, seat.clone());
            // What has come before anybody waited.
            handlers::run(py);
            (Environ::new(py, &shared.template), number)
        });
        Slot {
            application: &shared.application,
            environ: RefCell::new(environ),
            seat,
            threads: &shared.threads,
            afterwork: Afterwork::new(shared.is_alone),
            number,
            _thread: thread,
        }
    }
}

impl Service for Slot<'_> {
    fn answer(&self, arrival: Arrival<'_>) -> Result<Answered, Gone> {
        // Whoever holds the interpreter keeps this request waiting, and the arbiter sees that.
        let begun = self.seat.begin(arrival);
        Python::attach(|py| {
            let environ = self.environ.borrow_mut().build(py, begun.request());
            // Between the last byte taken and the call there is nothing.
            let (request, mut responder, running) = begun.take()?;
            if self.afterwork.is_expected() {
                responder.set_last();
            }
            let answered = match environ {
                Ok(environ) => {
                    let application = self.application.bind(py);
                    let then = &self.afterwork;
                    call::call(py, application, environ, &request, responder, &running, then)
                }
                Err(error) => {
                    errors::log(py, &request, "it cannot be described to the application", error);
                    call::fail(py, responder, &running)
                }
            };
            drop(running);
            self.threads.forget(py, self.number);
            // What has come while its answer was sent must not hit another.
            handlers::run(py);
            Ok(answered)
        })
    }
}

/// This thread's place in the interpreter, kept from request to request: what the application
/// stores for each thread lives as long as the thread.
struct Thread {
    gil: ffi::PyGILState_STATE,
    state: *mut ffi::PyThreadState,
}

impl Thread {
    fn enter() -> Thread {
        // SAFETY: the interpreter is initialised, as it has loaded this module; what is taken is
        // given back in the opposite order by `drop`, on the same thread, as it is not Send.
        unsafe {
            let gil = ffi::PyGILState_Ensure();
            Thread { gil, state: ffi::PyEval_SaveThread() }
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        // SAFETY: see `enter`. Whoever attached in between has detached again.
        unsafe {
            ffi::PyEval_RestoreThread(self.state);
            ffi::PyGILState_Release(self.gil);
        }
    }
}
