//! `wsgi.input`: the content of a request, wherever it is.
//!
//! Owns where reading has come to. The content is whole, so nothing here waits for a client, and
//! at the end every read gives `b""` (PEP 3333, "Input and Error Streams").

use forebay_worker::Content;
use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

/// A file-like object with the content of a request.
#[pyclass(module = "forebay")]
pub(crate) struct Input {
    content: Content,
    at: u64,
}

impl Input {
    pub(crate) fn new(content: Content) -> Input {
        Input { content, at: 0 }
    }

    fn left(&self) -> u64 {
        self.content.len().saturating_sub(self.at)
    }

    /// The next bytes, of which there are at least so many.
    fn take<'py>(&mut self, py: Python<'py>, count: u64) -> PyResult<Bound<'py, PyBytes>> {
        let size = usize::try_from(count).map_err(|_| PyMemoryError::new_err(()))?;
        let bytes = match &self.content {
            Content::Inline(bytes) => {
                let at = usize::try_from(self.at).unwrap_or(bytes.len());
                PyBytes::new(py, &bytes[at..at + size])
            }
            content => {
                let at = self.at;
                PyBytes::new_with(py, size, |buffer| {
                    Ok(py.detach(|| read_exactly(content, at, buffer))?)
                })?
            }
        };
        self.at += count;
        Ok(bytes)
    }

    /// How many bytes the next line has, its end included; at most `most`.
    fn line_length(&self, py: Python<'_>, most: u64) -> PyResult<u64> {
        let most = most.min(self.left());
        match &self.content {
            Content::Inline(bytes) => {
                let at = usize::try_from(self.at).unwrap_or(bytes.len());
                let end = at + usize::try_from(most).unwrap_or(0);
                let found = memchr::memchr(b'\n', &bytes[at..end]);
                Ok(found.map_or(most, |place| place as u64 + 1))
            }
            content => Ok(py.detach(|| find_line_end(content, self.at, most))?),
        }
    }
}

#[pymethods]
impl Input {
    /// At most `size` bytes; all that are left without it.
    #[pyo3(signature = (size=None, /))]
    fn read<'py>(&mut self, py: Python<'py>, size: Option<i64>) -> PyResult<Bound<'py, PyBytes>> {
        let count = limit(size).min(self.left());
        self.take(py, count)
    }

    /// The next line with its end, or its first `size` bytes.
    #[pyo3(signature = (size=None, /))]
    fn readline<'py>(
        &mut self,
        py: Python<'py>,
        size: Option<i64>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let count = self.line_length(py, limit(size))?;
        self.take(py, count)
    }

    /// The lines that are left, or as many of them as have `hint` bytes.
    #[pyo3(signature = (hint=None, /))]
    fn readlines<'py>(
        &mut self,
        py: Python<'py>,
        hint: Option<i64>,
    ) -> PyResult<Bound<'py, PyList>> {
        let lines = PyList::empty(py);
        let (start, most) = (self.at, limit(hint.filter(|&hint| hint != 0)));
        while self.left() > 0 && self.at - start < most {
            lines.append(self.readline(py, None)?)?;
        }
        Ok(lines)
    }

    /// Reads into a buffer; for `io.BufferedReader`.
    fn readinto(&mut self, py: Python<'_>, buffer: &Bound<'_, PyAny>) -> PyResult<usize> {
        let view = pyo3::buffer::PyBuffer::<u8>::get(buffer)?;
        let count = self.left().min(view.len_bytes() as u64);
        let bytes = self.take(py, count)?;
        let part = buffer.py().import("builtins")?.getattr("memoryview")?.call1((buffer,))?;
        let part = part.call_method1("cast", ("B",))?;
        let slice = pyo3::types::PySlice::new(py, 0, count.cast_signed() as isize, 1);
        part.set_item(slice, &bytes)?;
        Ok(bytes.as_bytes().len())
    }

    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__<'py>(&mut self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        match self.left() {
            0 => Ok(None),
            _ => self.readline(py, None).map(Some),
        }
    }

    /// What `io.BufferedReader` and `io.TextIOWrapper` ask for: it can be read, and nothing else.
    fn readable(&self) -> bool {
        true
    }

    fn writable(&self) -> bool {
        false
    }

    fn seekable(&self) -> bool {
        false
    }

    #[getter]
    fn closed(&self) -> bool {
        false
    }

    fn flush(&self) {}

    /// Nothing: the server closes it.
    fn close(&self) {}
}

/// None and negative sizes are no limit, as everywhere in Python.
fn limit(size: Option<i64>) -> u64 {
    size.and_then(|size| u64::try_from(size).ok()).unwrap_or(u64::MAX)
}

fn read_exactly(content: &Content, mut at: u64, mut buffer: &mut [u8]) -> std::io::Result<()> {
    while !buffer.is_empty() {
        match content.read_at(at, buffer)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            count => {
                at += count as u64;
                buffer = &mut buffer[count..];
            }
        }
    }
    Ok(())
}

fn find_line_end(content: &Content, start: u64, most: u64) -> std::io::Result<u64> {
    let (mut piece, mut length) = (vec![0; PIECE], 0);
    while length < most {
        let wanted = usize::try_from(most - length).unwrap_or(PIECE).min(PIECE);
        let count = content.read_at(start + length, &mut piece[..wanted])?;
        if let Some(place) = memchr::memchr(b'\n', &piece[..count]) {
            return Ok(length + place as u64 + 1);
        }
        match count {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            _ => length += count as u64,
        }
    }
    Ok(most)
}

/// Bytes that are looked at at a time for the end of a line.
const PIECE: usize = 8 << 10;
