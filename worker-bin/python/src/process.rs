//! Molds and workers, as `forebay.mold` sees them.
//!
//! Owns nothing but that view. Must not know requests.

use crate::slot::{Shared, Slot};
use forebay_worker::host;
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;

/// This process, started as a mold.
#[pyclass]
pub(crate) struct Mold(host::Mold);

/// A worker that is to be made.
#[pyclass]
pub(crate) struct Order(Option<host::Order>);

#[pymethods]
impl Mold {
    #[new]
    fn new(task: &str) -> PyResult<Mold> {
        host::Mold::new(task).map(Mold).map_err(PyValueError::new_err)
    }

    /// The name of the application.
    #[getter]
    fn application(&self) -> &str {
        self.0.application()
    }

    /// Directories that go before those of sys.path.
    #[getter]
    fn pythonpath(&self) -> Vec<&str> {
        self.0.pythonpath()
    }

    /// Whether the application is imported here, and not by each worker.
    #[getter]
    fn preloads(&self) -> bool {
        self.0.preloads()
    }

    /// The FOREBAY_MOLD of the program that follows in this process, which is not to preload.
    fn pass_on(&mut self) -> PyResult<String> {
        Ok(self.0.pass_on()?)
    }

    /// Workers can be made.
    fn loaded(&self) {
        self.0.loaded();
    }

    /// Waits until a worker is to be made; None: no more.
    fn next(&self, py: Python<'_>) -> Option<Order> {
        py.detach(|| self.0.next()).map(|order| Order(Some(order)))
    }

    /// A worker could not be made.
    fn failed(&self, order: &Order, why: &str) {
        if let Some(order) = &order.0 {
            self.0.failed(order, why);
        }
    }

    /// Becomes a worker and waits until it may go on.
    fn join(&self, py: Python<'_>, order: &Order) -> PyResult<()> {
        let order = order.0.as_ref().ok_or_else(|| PyOSError::new_err("it works already"))?;
        Ok(py.detach(|| self.0.join(order))?)
    }

    /// Works, and gives the exit code.
    fn work(&self, py: Python<'_>, order: &mut Order, application: Py<PyAny>) -> PyResult<i32> {
        let order = order.0.take().ok_or_else(|| PyOSError::new_err("it works already"))?;
        let shared = Shared::new(py, application, self.0.threads() > 1)?;
        Ok(py.detach(|| self.0.work(order, |seat| Slot::new(&shared, seat))))
    }
}
