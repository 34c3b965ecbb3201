//! One call of the application, and its iterable's way to the client.
//!
//! Owns the order: call, iterate, close (PEP 3333, "The Application/Framework Side").
#![allow(unsafe_code)]

use crate::afterwork::Afterwork;
use crate::children::of_this_process;
use crate::deadlines::RequestTimeout;
use crate::errors;
use crate::file_wrapper::FileWrapper;
use crate::start_response::{Lent, Turn, piece, send, sending};
use forebay_worker::host::{Answered, Responder, Running, server_error};
use forebay_worker::{Request, Response};
use pyo3::exceptions::PyAssertionError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};
use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::FromRawFd;
use std::time::Instant;

/// Calls the application for a request that was taken, and answers it.
pub(crate) fn call<'py>(
    py: Python<'py>,
    application: &Bound<'py, PyAny>,
    environ: Bound<'py, PyDict>,
    request: &Request,
    responder: Responder<'_>,
    running: &Running,
    afterwork: &Afterwork,
) -> Answered {
    let lent = match Lent::new(py, responder, running) {
        Ok(lent) => lent,
        Err(_) => unreachable!("a small object needs little memory"),
    };
    let returned = lent.start_response().and_then(|start| application.call1((environ, start)));
    let iterable = match of_this_process(py, request, returned) {
        Ok(iterable) => iterable,
        Err(error) => return failed(py, lent, request, running, error),
    };
    let answer = Answer { request, running, afterwork };
    let answered = match of_this_process(py, request, answer.content(&iterable, &lent)) {
        Ok(Rest::Pieces) => finish(py, lent, running),
        Ok(Rest::Whole(content)) => {
            let responder = lent.take();
            running.sending();
            let slices: Vec<_> = content.iter().map(|bytes| bytes.as_bytes()).collect();
            match responder.takes_at_once(&slices) {
                // Giving up the interpreter would cost more than the send.
                true => responder.whole(&slices),
                false => sending(py, running, || responder.whole(&slices)),
            }
        }
        Ok(Rest::File(file, offset, length)) => {
            let responder = lent.take();
            sending(py, running, || {
                let sent = responder.file(&file, offset, length);
                sent.unwrap_or_else(|responder| responder.send(server_error()))
            })
        }
        Err(error) => failed(py, lent, request, running, error),
    };
    answer.close(&iterable);
    answered
}

/// Answers that the application could not.
pub(crate) fn fail(py: Python<'_>, responder: Responder<'_>, running: &Running) -> Answered {
    fail_with(py, responder, running, server_error())
}

fn fail_with(
    py: Python<'_>,
    responder: Responder<'_>,
    running: &Running,
    answer: Response,
) -> Answered {
    sending(py, running, || match responder.has_left() {
        true => responder.cut(),
        false => responder.send(answer),
    })
}

/// The application has raised this. It may be about a client that has gone, which is no mistake.
fn failed(
    py: Python<'_>,
    lent: Lent<'_, '_>,
    request: &Request,
    running: &Running,
    error: PyErr,
) -> Answered {
    let responder = lent.take();
    if error.is_instance_of::<RequestTimeout>(py) {
        // It was said where.
        return fail_with(py, responder, running, timed_out());
    }
    if !responder.is_lost() {
        errors::log(py, request, "the application has failed", error);
    }
    fail(py, responder, running)
}

fn finish(py: Python<'_>, lent: Lent<'_, '_>, running: &Running) -> Answered {
    let responder = lent.take();
    sending(py, running, || match responder.has_left() {
        true => responder.finish(),
        false => responder.whole(&[]),
    })
}

struct Answer<'a> {
    request: &'a Request,
    running: &'a Running,
    afterwork: &'a Afterwork,
}

/// What is still to be sent.
enum Rest<'py> {
    /// Nothing but the end.
    Pieces,
    Whole(Vec<Bound<'py, PyBytes>>),
    File(ManuallyDrop<File>, u64, u64),
}

impl Answer<'_> {
    /// Sends what must be sent before the next piece is asked for.
    fn content<'py>(
        &self,
        iterable: &Bound<'py, PyAny>,
        lent: &Lent<'_, 'py>,
    ) -> PyResult<Rest<'py>> {
        let (is_started, has_left, due) =
            lent.with(|_, turn| (turn.is_started, turn.responder.has_left(), turn.responder.due()));
        if is_started && !has_left {
            if let Some(items) = items(iterable)? {
                return Ok(Rest::Whole(items));
            }
            if let Some(rest) = file(iterable, due) {
                return Ok(rest);
            }
        }
        self.pieces(iterable, lent)
    }

    fn pieces<'py>(
        &self,
        iterable: &Bound<'py, PyAny>,
        lent: &Lent<'_, 'py>,
    ) -> PyResult<Rest<'py>> {
        let is_single = matches!(iterable.len(), Ok(1));
        let mut pieces = iterable.try_iter()?;
        loop {
            let next = of_this_process(iterable.py(), self.request, pieces.next().transpose())?;
            let Some(next) = next else { break };
            let bytes = piece(&next)?;
            if bytes.is_empty() {
                continue;
            }
            let wants_more = lent.with(|py, turn| {
                is_begun(turn)?;
                let is_whole = is_single && !turn.responder.has_left();
                if is_whole && turn.responder.due().is_none() {
                    turn.responder.promise(bytes.len() as u64);
                }
                if turn.responder.is_bodiless() {
                    return Ok(false);
                }
                Ok::<_, PyErr>(self.goes_on(send(py, turn, bytes)))
            })?;
            if !wants_more {
                return Ok(Rest::Pieces);
            }
        }
        lent.with(|_, turn| is_begun(turn))?;
        Ok(Rest::Pieces)
    }

    fn goes_on(&self, sent: io::Result<()>) -> bool {
        match sent {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                errors::say(self.request, &format!("the response was cut short: {error}"), "");
                false
            }
            // The client has gone.
            Err(_) => false,
        }
    }

    /// "If the iterable returned by the application has a close() method, the server or gateway
    /// must call that method upon completion of the current request."
    fn close(&self, iterable: &Bound<'_, PyAny>) {
        let py = iterable.py();
        if iterable.is_exact_instance_of::<PyList>() {
            return;
        }
        let call = |close: Bound<'_, PyAny>| {
            self.running.resume();
            let begun = Instant::now();
            let closed = close.call0().map(drop);
            self.afterwork.took(begun.elapsed());
            closed
        };
        let close = iterable.getattr_opt(intern!(py, "close"));
        let closed = close.and_then(|close| close.map_or(Ok(()), call));
        if let Err(error) = of_this_process(py, self.request, closed) {
            errors::log(py, self.request, "close() of its response has failed", error);
        }
    }
}

fn is_begun(turn: &Turn) -> PyResult<()> {
    match turn.is_started {
        true => Ok(()),
        false => Err(PyAssertionError::new_err(
            "the application has given content without a call of start_response",
        )),
    }
}

/// The items of a list or tuple, which are all there: nobody can tell whether they are sent one by
/// one.
fn items<'py>(iterable: &Bound<'py, PyAny>) -> PyResult<Option<Vec<Bound<'py, PyBytes>>>> {
    let bytes = |item: Bound<'py, PyAny>| {
        piece(&item)?;
        Ok(item.cast_into::<PyBytes>()?)
    };
    if let Ok(list) = iterable.cast_exact::<PyList>() {
        return list.iter().map(bytes).collect::<PyResult<_>>().map(Some);
    }
    match iterable.cast_exact::<PyTuple>() {
        Ok(tuple) => tuple.iter().map(bytes).collect::<PyResult<_>>().map(Some),
        Err(_) => Ok(None),
    }
}

/// A file of the operating system, if it has what the head has promised.
fn file<'py>(iterable: &Bound<'py, PyAny>, due: Option<u64>) -> Option<Rest<'py>> {
    let wrapper = iterable.cast_exact::<FileWrapper>().ok()?;
    let (descriptor, offset) = wrapper.get().file(iterable.py())?;
    if descriptor < 0 {
        return None;
    }
    // SAFETY: the descriptor is the application's, and open as long as its file object, which the
    // iterable holds until `close`. It is not closed here.
    let file = ManuallyDrop::new(unsafe { File::from_raw_fd(descriptor) });
    // What the kernel makes up, as in /proc, has no length before it is read.
    let found = file.metadata().ok().filter(|found| found.is_file() && found.len() > 0)?;
    let left = found.len().checked_sub(offset)?;
    let length = due.unwrap_or(left);
    (length <= left).then_some(Rest::File(file, offset, length))
}

/// The answer for an application that took too long.
fn timed_out() -> Response {
    Response::text("Gateway Timeout\n").with_status(504)
}
