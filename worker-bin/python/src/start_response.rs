//! `start_response` and the `write` that it gives (PEP 3333, "The start_response() Callable").
//!
//! Owns who may use the response when: the application for the time of its call, one thread at a
//! time.
#![allow(unsafe_code)]

use crate::latin1;
use forebay_worker::host::{Responder, Running};
use pyo3::exceptions::{
    PyAssertionError, PyBrokenPipeError, PyRuntimeError, PyTypeError, PyValueError,
};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};
use std::io;
use std::marker::PhantomData;
use std::sync::{Mutex, MutexGuard, TryLockError};

/// The response that an application begins.
#[pyclass(module = "forebay", frozen)]
pub(crate) struct Response(Mutex<Option<Turn>>);

/// Whoever has it may use the response.
pub(crate) struct Turn {
    /// Only as long as the [`Lent`] lives that was made of it.
    pub(crate) responder: Responder<'static>,
    /// Likewise.
    running: &'static Running,
    /// `start_response` was called, and could be.
    pub(crate) is_started: bool,
    /// It was called, whatever has come of it.
    is_called: bool,
}

/// A response that is lent to Python.
pub(crate) struct Lent<'a, 'py> {
    object: Bound<'py, Response>,
    responder: PhantomData<&'a mut ()>,
}

impl<'a, 'py> Lent<'a, 'py> {
    pub(crate) fn new(
        py: Python<'py>,
        responder: Responder<'a>,
        running: &'a Running,
    ) -> PyResult<Lent<'a, 'py>> {
        // SAFETY: only lifetimes change. `take` and `drop` of the result get both back before
        // `'a` is over; who uses them until then has the lock.
        let (responder, running) = unsafe {
            (
                std::mem::transmute::<Responder<'a>, Responder<'static>>(responder),
                std::mem::transmute::<&'a Running, &'static Running>(running),
            )
        };
        let turn = Turn { responder, running, is_started: false, is_called: false };
        let object = Bound::new(py, Response(Mutex::new(Some(turn))))?;
        Ok(Lent { object, responder: PhantomData })
    }

    /// The callable for the application.
    pub(crate) fn start_response(&self) -> PyResult<Bound<'py, PyAny>> {
        self.object.getattr(intern!(self.object.py(), "start_response"))
    }

    /// Uses the response; waits for a thread of the application that does so.
    pub(crate) fn with<R>(&self, use_it: impl FnOnce(Python<'py>, &mut Turn) -> R) -> R {
        let mut turn = self.wait();
        use_it(self.object.py(), turn.as_mut().expect("it is there until it is taken back"))
    }

    /// Gets it back.
    pub(crate) fn take(self) -> Responder<'a> {
        self.recall().expect("it was not taken before").responder
    }

    fn recall(&self) -> Option<Turn> {
        self.wait().take()
    }

    fn wait(&self) -> MutexGuard<'_, Option<Turn>> {
        let (py, lock) = (self.object.py(), &self.object.get().0);
        loop {
            match lock.try_lock() {
                Ok(turn) => return turn,
                Err(TryLockError::Poisoned(turn)) => return turn.into_inner(),
                // That thread may need the interpreter to get on.
                Err(TryLockError::WouldBlock) => py.detach(|| std::thread::sleep(PAUSE)),
            }
        }
    }
}

impl Drop for Lent<'_, '_> {
    fn drop(&mut self) {
        let _turn = self.recall();
    }
}

#[pymethods]
impl Response {
    /// Begins the response; gives `write`.
    #[pyo3(signature = (status, headers, exc_info=None))]
    fn start_response<'py>(
        this: &Bound<'py, Self>,
        status: &Bound<'py, PyAny>,
        headers: &Bound<'py, PyAny>,
        exc_info: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = this.py();
        this.get().with(|turn| {
            let exc_info = exc_info.filter(|info| !info.is_none());
            match exc_info {
                Some(info) if turn.responder.has_left() => return Err(raised(info)?),
                None if turn.is_called => {
                    return Err(PyAssertionError::new_err(
                        "start_response was called before, and this call has no exc_info",
                    ));
                }
                _ => {}
            }
            turn.is_called = true;
            turn.is_started = false;
            begin(&mut turn.responder, status)?;
            add_fields(&mut turn.responder, headers)?;
            turn.is_started = true;
            Ok(())
        })?;
        this.getattr(intern!(py, "write"))
    }

    /// Sends a piece of the content now.
    #[pyo3(signature = (data, /))]
    fn write(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let bytes = piece(data)?;
        self.with(|turn| match turn.is_started {
            true => send(py, turn, bytes).map_err(|error| match error.kind() {
                io::ErrorKind::InvalidData => PyValueError::new_err(error.to_string()),
                _ => PyBrokenPipeError::new_err("the client has gone"),
            }),
            false => Err(PyAssertionError::new_err("write() before start_response()")),
        })
    }
}

impl Response {
    /// For the application.
    fn with<R>(&self, use_it: impl FnOnce(&mut Turn) -> PyResult<R>) -> PyResult<R> {
        let mut turn = self
            .0
            .try_lock()
            .map_err(|_| PyRuntimeError::new_err("another thread is at work on this response"))?;
        match turn.as_mut() {
            Some(turn) => use_it(turn),
            None => Err(PyRuntimeError::new_err("this response has ended")),
        }
    }
}

/// Sends a piece while other threads of the interpreter go on. What is beyond the promised length
/// is left out, and that is an error.
pub(crate) fn send(py: Python<'_>, turn: &mut Turn, bytes: &[u8]) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    let Turn { responder, running, .. } = turn;
    sending(py, running, || {
        let due = responder.due().and_then(|due| usize::try_from(due).ok());
        match due.filter(|&due| due < bytes.len()) {
            Some(due) if due > 0 => {
                responder.piece(&bytes[..due])?;
                responder.piece(&bytes[due..])
            }
            _ => responder.piece(bytes),
        }
    })
}

/// Sends while other threads of the interpreter go on. The application's time goes on before the
/// interpreter is here again: it is the application that holds it.
pub(crate) fn sending<T: Send>(
    py: Python<'_>,
    running: &Running,
    send: impl FnOnce() -> T + Send,
) -> T {
    py.detach(|| {
        let _sending = Sending::new(running);
        send()
    })
}

/// The bytes of a piece.
pub(crate) fn piece<'a>(object: &'a Bound<'_, PyAny>) -> PyResult<&'a [u8]> {
    match object.cast::<PyBytes>() {
        Ok(bytes) => Ok(bytes.as_bytes()),
        Err(_) => {
            let kind = object.get_type().name()?;
            Err(PyTypeError::new_err(format!("content is bytes, not {kind}")))
        }
    }
}

/// Says that a piece of the response is on its way, until this is dropped.
struct Sending<'a>(&'a Running);

impl<'a> Sending<'a> {
    fn new(running: &'a Running) -> Sending<'a> {
        running.sending();
        Sending(running)
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        self.0.resume();
    }
}

/// The error of `sys.exc_info()`, with its traceback.
fn raised(exc_info: &Bound<'_, PyAny>) -> PyResult<PyErr> {
    let info = exc_info.cast::<PyTuple>()?;
    let (kind, value, trace) = (info.get_item(0)?, info.get_item(1)?, info.get_item(2)?);
    let value = if value.is_none() { kind.call0()? } else { value };
    let value =
        if trace.is_none() { value } else { value.call_method1("with_traceback", (trace,))? };
    Ok(PyErr::from_value(value))
}

/// Status code, a space, reason phrase.
fn begin(responder: &mut Responder<'static>, status: &Bound<'_, PyAny>) -> PyResult<()> {
    let status = string(status, "a status")?;
    let text = latin1::encode(status)?;
    let (code, rest) = text.split_at(text.len().min(3));
    let code = std::str::from_utf8(code).ok().and_then(|code| code.parse().ok());
    let reason = match rest {
        [] => Some(None),
        [b' ', reason @ ..] => Some(Some(reason).filter(|reason| !reason.is_empty())),
        _ => None,
    };
    let (Some(code), Some(reason)) = (code, reason) else {
        let status = status.to_string_lossy();
        return Err(PyValueError::new_err(format!(
            "a status is three digits, a space, a reason; not {status:?}"
        )));
    };
    responder.begin(code, reason).map_err(|why| {
        let status = status.to_string_lossy();
        PyValueError::new_err(format!("{why}; not {status:?}"))
    })
}

/// A list of tuples, as PEP 3333 has it, or whatever else gives pairs: gunicorn takes that, too.
fn add_fields(responder: &mut Responder<'static>, headers: &Bound<'_, PyAny>) -> PyResult<()> {
    if let Ok(list) = headers.cast::<PyList>() {
        return list.iter().try_for_each(|field| add_field(responder, &field));
    }
    let fields = headers.try_iter().map_err(|_| {
        PyTypeError::new_err("the response headers are a list of tuples (name, value)")
    })?;
    fields.into_iter().try_for_each(|field| add_field(responder, &field?))
}

fn add_field(responder: &mut Responder<'static>, field: &Bound<'_, PyAny>) -> PyResult<()> {
    let list = field.cast::<PyList>().ok().map(|list| list.to_tuple());
    let pair = list.as_ref().or(field.cast().ok()).filter(|pair| pair.len() == 2);
    let pair =
        pair.ok_or_else(|| PyTypeError::new_err("a response header is a tuple (name, value)"))?;
    let (name, value) = (pair.get_item(0)?, pair.get_item(1)?);
    let name = string(&name, "the name of a response header")?.to_str()?;
    let value = latin1::encode(string(&value, "the value of a response header")?)?;
    responder.field(name, &value).map_err(|why| match field.repr() {
        Ok(repr) => PyValueError::new_err(format!("{why}; not {repr}")),
        Err(error) => error,
    })
}

fn string<'a, 'py>(
    object: &'a Bound<'py, PyAny>,
    what: &str,
) -> PyResult<&'a Bound<'py, PyString>> {
    object.cast::<PyString>().map_err(|_| {
        let kind = object.get_type().name().map(|name| name.to_string()).unwrap_or_default();
        PyTypeError::new_err(format!("{what} is a str, not {kind}"))
    })
}

/// Between two looks whether another thread is done.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(1);
