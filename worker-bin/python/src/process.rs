//! Molds and workers, as `forebay.mold` sees them.
//!
//! Owns nothing but that view. Must not know requests.

use crate::deadlines::Threads;
use crate::environ::Template;
use crate::handlers::{self, Bell};
use crate::slot::{Shared, Slot};
use forebay_worker::host;
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyString;
use std::ffi::c_ulong;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// This process, started as a mold.
#[pyclass]
pub(crate) struct Mold {
    mold: host::Mold,
    threads: Arc<Threads>,
}

/// A worker that is to be made.
#[pyclass]
pub(crate) struct Order(Option<host::Order>);

#[pymethods]
impl Mold {
    #[new]
    fn new(task: &str, python: PathBuf) -> PyResult<Mold> {
        let mold = host::Mold::new(task, &python).map_err(PyValueError::new_err)?;
        Ok(Mold { mold, threads: Arc::default() })
    }

    /// The name of the application.
    #[getter]
    fn application(&self) -> &str {
        self.mold.application()
    }

    /// Directories that go before those of sys.path. To be asked for before the working directory
    /// changes.
    #[getter]
    fn pythonpath(&self) -> Vec<PathBuf> {
        self.mold.pythonpath()
    }

    /// Whether the application is imported here, and not by each worker.
    #[getter]
    fn preloads(&self) -> bool {
        self.mold.preloads()
    }

    /// Seconds for a worker that has been told to stop.
    #[getter]
    fn graceful_timeout(&self) -> f64 {
        self.mold.graceful_timeout().as_secs_f64()
    }

    /// The signals that say: a request takes too long; this process will be killed.
    #[getter]
    fn signals(&self) -> (i32, i32) {
        self.mold.signals()
    }

    /// The threads whose requests take too long, with the request's id and its age in seconds.
    fn overdue(&self) -> Vec<(c_ulong, String, f64)> {
        self.threads.overdue()
    }

    /// Has a thread raise `RequestTimeout` as soon as it executes Python.
    fn interrupt(&self, py: Python<'_>, thread: c_ulong) {
        self.threads.interrupt(py, thread);
    }

    /// From now on handlers of signals are run while this worker waits, or while its other threads
    /// work. What a byte is to be written to, if there is one to be run.
    fn handle_signals(&self) -> PyResult<RawFd> {
        Ok(match self.mold.threads() {
            1 => host::on_interruption(handlers::run_while_waiting)?,
            _ => Bell::set()?.descriptor(),
        })
    }

    /// Nothing new is begun, and the worker ends.
    fn stop(&self) {
        host::stop();
    }

    /// TERM does nothing more, and not what it does by default: the interpreter knows of no
    /// handler.
    fn keep_term(&self) -> PyResult<()> {
        Ok(host::keep_term()?)
    }

    /// The FOREBAY_MOLD of the program that follows in this process, which is not to preload.
    fn pass_on(&mut self) -> PyResult<String> {
        Ok(self.mold.pass_on()?)
    }

    /// The application leaves what is not for forks, in words.
    fn cannot_share(&self, what: &str) {
        self.mold.cannot_share(what);
    }

    /// Workers can be made.
    fn loaded(&self) {
        self.mold.loaded();
    }

    /// Whether the application is to be loaded anew when its sources change.
    #[getter]
    fn reloads(&self) -> bool {
        self.mold.reloads()
    }

    /// They have: `file` is one of them.
    fn changed(&self, file: PathBuf) {
        self.mold.changed(&file);
    }

    /// Waits until there is something for `next`, but no longer.
    fn wait(&self, py: Python<'_>, seconds: f64) -> bool {
        py.detach(|| self.mold.wait(Duration::from_secs_f64(seconds)))
    }

    /// Waits until a worker is to be made; None: no more.
    fn next(&self, py: Python<'_>) -> Option<Order> {
        py.detach(|| self.mold.next()).map(|order| Order(Some(order)))
    }

    /// Processes that are forked from now on have what workers accept from.
    fn expose(&self) {
        self.mold.expose();
    }

    /// They do not.
    fn hide(&self) {
        self.mold.hide();
    }

    /// As os.fork(), but whatever was registered for forks does not hear of it. The child is to
    /// fork in earnest, or to end. There is no other thread.
    fn fork_bare(&self) -> PyResult<u32> {
        Ok(self.mold.fork_bare()?.unwrap_or(0))
    }

    /// In such a child: it ends with the mold.
    fn follow(&self) -> PyResult<()> {
        Ok(self.mold.follow()?)
    }

    /// A worker could not be made.
    fn failed(&self, order: &Order, why: &Bound<'_, PyString>) {
        if let Some(order) = &order.0 {
            self.mold.failed(order, &why.to_string_lossy());
        }
    }

    /// Becomes a worker and waits until it may go on.
    fn join(&self, py: Python<'_>, order: &Order) -> PyResult<()> {
        let order = order.0.as_ref().ok_or_else(|| PyOSError::new_err("it works already"))?;
        Ok(py.detach(|| self.mold.join(order))?)
    }

    /// Works, and gives the exit code.
    fn work(&self, py: Python<'_>, order: &mut Order, application: Py<PyAny>) -> PyResult<u8> {
        let order = order.0.take().ok_or_else(|| PyOSError::new_err("it works already"))?;
        let threads = Arc::clone(&self.threads);
        let template = Template::new(py, self.mold.threads() > 1, self.mold.sends_files())?;
        let is_alone = self.mold.is_alone();
        let shared = Shared { application, template, threads, is_alone };
        let work = || self.mold.work(order, |seat| Slot::new(&shared, seat));
        // Signals are handled by this thread, between two instructions. One that others may need
        // interrupted has no other work.
        match self.mold.threads() {
            1 => Ok(py.detach(work)),
            _ => Ok(py.detach(|| Bell::beside(work))?),
        }
    }
}
