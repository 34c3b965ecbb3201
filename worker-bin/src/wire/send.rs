//! Sending the response of an [`App`](crate::App).
//!
//! Owns what of it can be sent, and asking a stream for its pieces. Must not know framing.

use super::responder::{Answered, Responder};
use super::server_error;
use crate::log;
use crate::response::{Body, Response};
use bytes::Bytes;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

type Pieces = Box<dyn Iterator<Item = io::Result<Bytes>> + Send>;

impl Responder<'_> {
    /// Sends what `call` returns; if it panics, 500.
    pub(crate) fn send_result_of(self, call: impl FnOnce() -> Response) -> Answered {
        self.send(caught(call).unwrap_or_else(server_error))
    }

    /// Sends all of a response.
    pub fn send(mut self, response: Response) -> Answered {
        if let Err(why) = self.head_of(&response) {
            log::error!("the application has answered with what cannot be sent: {why}");
            return self.send(server_error());
        }
        match response.into_body() {
            Body::Bytes(content) => self.whole(&[&content]),
            Body::File { file, offset, length } => self
                .file(&file, offset, length)
                .unwrap_or_else(|responder| responder.send(server_error())),
            Body::Stream(pieces) => self.send_stream(pieces),
        }
    }

    /// What the content is decides about its length, not what the application says of it.
    fn head_of(&mut self, response: &Response) -> Result<(), String> {
        let status = response.status();
        self.begin(status, None).map_err(|why| format!("{why}: {status}"))?;
        let is_stream = matches!(response.body(), Body::Stream(_));
        for (name, value) in response.fields() {
            if is_stream || !name.eq_ignore_ascii_case("content-length") {
                self.field(name, value.as_bytes())
                    .map_err(|why| format!("{why}: {name:?}: {value:?}"))?;
            }
        }
        Ok(())
    }

    /// The head goes with the first piece. While it has not gone, a failure is a 500.
    fn send_stream(mut self, mut pieces: Pieces) -> Answered {
        if self.is_bodiless() {
            return self.finish();
        }
        loop {
            match next_piece(&mut pieces) {
                Ok(Some(piece)) => match self.piece(&piece) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                        log::error!("a response was cut short: {error}");
                        return self.cut();
                    }
                    Err(_) => return self.cut(),
                },
                Ok(None) => return self.finish(),
                Err(error) if self.has_left() => {
                    log::error!("a response was cut short: {error}");
                    return self.cut();
                }
                Err(error) => {
                    log::error!("a response failed before its first byte: {error}");
                    return self.send(server_error());
                }
            }
        }
    }
}

fn next_piece(pieces: &mut Pieces) -> io::Result<Option<Bytes>> {
    caught(|| pieces.next())
        .unwrap_or_else(|| Some(Err(io::Error::other("it has panicked"))))
        .transpose()
}

/// None: it has panicked. With what, that is dropped: its end could panic, too, and so on.
fn caught<T>(call: impl FnOnce() -> T) -> Option<T> {
    let dispose = |payload| {
        let _ = catch_unwind(AssertUnwindSafe(|| drop(payload))).map_err(std::mem::forget);
    };
    catch_unwind(AssertUnwindSafe(call)).map_err(dispose).ok()
}
