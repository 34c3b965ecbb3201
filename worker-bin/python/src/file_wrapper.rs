//! `wsgi.file_wrapper` (PEP 3333, "Optional Platform-Specific File Handling").
//!
//! Owns reading the file piece by piece, where it is not sent by its descriptor.

use pyo3::exceptions::PyStopIteration;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyCFunction};

/// An iterable over the content of a file-like object. Returned by an application as it is, a
/// file of the operating system is sent by the server from its current position on.
#[pyclass(module = "forebay", frozen, subclass)]
pub(crate) struct FileWrapper {
    #[pyo3(get)]
    filelike: Py<PyAny>,
    #[pyo3(get)]
    blksize: usize,
}

/// The same, but it is always read here.
#[pyclass(module = "forebay", frozen, extends = FileWrapper)]
pub(crate) struct IteratedFile;

impl FileWrapper {
    /// The descriptor and the position of the file, if it has both.
    pub(crate) fn file(&self, py: Python<'_>) -> Option<(i32, u64)> {
        let file = plain_file(self.filelike.bind(py)).ok()??;
        let descriptor = file.call_method0(intern!(py, "fileno")).ok()?.extract().ok()?;
        // What was written may be in its buffer only.
        file.call_method0(intern!(py, "flush")).ok()?;
        let position = file.call_method0(intern!(py, "tell")).ok()?.extract().ok()?;
        Some((descriptor, position))
    }
}

/// The file of the operating system whose own `read` is that of this object: what reading gives is
/// what is in the file. A gzip.GzipFile has a descriptor, too, but of something else.
fn plain_file<'py>(object: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = object.py();
    let mut read = object.getattr(intern!(py, "read"))?;
    if is_of_tempfile(&read)? {
        read = read.getattr(intern!(py, "__wrapped__"))?;
    }
    if !read.is_instance_of::<PyCFunction>() {
        return Ok(None);
    }
    let (file, io) = (read.getattr(intern!(py, "__self__"))?, py.import(intern!(py, "io"))?);
    // A subclass may give something else.
    let is = |object: &Bound<'py, PyAny>, class| {
        io.getattr(class).map(|class| object.get_type().is(&class))
    };
    if is(&file, intern!(py, "FileIO"))? {
        return Ok(Some(file));
    }
    let is_buffer =
        is(&file, intern!(py, "BufferedReader"))? || is(&file, intern!(py, "BufferedRandom"))?;
    let is_plain = is_buffer && is(&file.getattr(intern!(py, "raw"))?, intern!(py, "FileIO"))?;
    Ok(is_plain.then_some(file))
}

/// Whether that is how tempfile.NamedTemporaryFile wraps the `read` of its file: it passes on what
/// that gives. Any other wrapper may change it.
fn is_of_tempfile(read: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = read.py();
    let Some(globals) = read.getattr_opt(intern!(py, "__globals__"))? else { return Ok(false) };
    Ok(globals.is(py.import(intern!(py, "tempfile"))?.dict()))
}

#[pymethods]
impl FileWrapper {
    #[new]
    #[pyo3(signature = (filelike, blksize=8192))]
    fn new(filelike: Py<PyAny>, blksize: usize) -> FileWrapper {
        FileWrapper { filelike, blksize }
    }

    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let piece = self.filelike.bind(py).call_method1("read", (self.blksize,))?;
        match piece.cast::<PyBytes>() {
            Ok(bytes) if bytes.as_bytes().is_empty() => Err(PyStopIteration::new_err(())),
            _ => Ok(piece),
        }
    }

    /// Closes the file-like object, if that can be closed.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        match self.filelike.bind(py).getattr_opt("close")? {
            Some(close) => close.call0().map(drop),
            None => Ok(()),
        }
    }
}

#[pymethods]
impl IteratedFile {
    #[new]
    #[pyo3(signature = (filelike, blksize=8192))]
    fn new(filelike: Py<PyAny>, blksize: usize) -> PyClassInitializer<IteratedFile> {
        let wrapper = FileWrapper::new(filelike, blksize);
        PyClassInitializer::from(wrapper).add_subclass(IteratedFile)
    }
}
