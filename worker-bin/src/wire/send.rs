//! Sending one response.
//!
//! Owns its framing and the number of system calls. Must not know the application.

use super::{BODY_FD, is_reserved, server_error};
use crate::content::check_range;
use crate::log;
use crate::response::{Body, Response};
use crate::socket::Socket;
use bytes::Bytes;
use forebay::http::{self, CHUNK_END, DateCache, Framing, LAST_CHUNK, Version};
use std::io::{self, IoSlice, Write};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{SystemTime, UNIX_EPOCH};

/// What the response to a request must heed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reply {
    /// The request was HEAD.
    pub(super) to_head: bool,
    pub(super) version: Version,
    pub(super) keep_alive: bool,
    /// The edge adds what clients need.
    pub(super) from_edge: bool,
}

/// Why a response was not sent whole.
#[derive(Debug)]
pub(super) struct SendError {
    pub(super) cause: io::Error,
    /// The application failed, not the connection.
    pub(super) is_ours: bool,
}

impl From<io::Error> for SendError {
    fn from(cause: io::Error) -> Self {
        SendError { cause, is_ours: false }
    }
}

/// Sends responses, formatting their heads in one buffer.
#[derive(Debug, Default)]
pub(super) struct Sender {
    out: Vec<u8>,
    date: DateCache,
}

type Pieces = Box<dyn Iterator<Item = io::Result<Bytes>> + Send>;

impl Sender {
    /// Returns whether another request may follow on the connection.
    pub(super) fn send(
        &mut self,
        socket: &Socket,
        response: Response,
        reply: Reply,
    ) -> Result<bool, SendError> {
        let response = checked(response);
        let is_empty = reply.to_head || matches!(response.status(), 204 | 304);
        let framing = framing_of(&response, reply.version);
        let keep_alive = reply.keep_alive && (framing != Framing::UntilClose || is_empty);
        let reply = Reply { keep_alive, ..reply };
        let passed = match response.body() {
            Body::File { offset, length: 1.., .. } if reply.from_edge && !is_empty => Some(*offset),
            _ => None,
        };
        self.write_head(&response, framing, passed, reply);
        match response.into_body() {
            _ if is_empty => socket.send_all(&mut [IoSlice::new(&self.out)])?,
            Body::Bytes(content) if content.len() <= COPY_MOST => {
                self.out.extend_from_slice(&content);
                socket.send_all(&mut [IoSlice::new(&self.out)])?;
            }
            Body::Bytes(content) => {
                socket.send_all(&mut [IoSlice::new(&self.out), IoSlice::new(&content)])?;
            }
            Body::File { file, .. } if passed.is_some() => {
                socket.send_with(&self.out, file.as_fd())?;
            }
            Body::File { file, offset, length } => {
                socket.send_before_file(&self.out)?;
                socket.send_file(&file, offset, length).map_err(|cause| SendError {
                    is_ours: cause.kind() == io::ErrorKind::UnexpectedEof,
                    cause,
                })?;
            }
            Body::Stream(pieces) => return self.send_stream(socket, pieces, framing, reply),
        }
        Ok(keep_alive)
    }

    /// The head goes with the first piece. While it has not gone, a failure is a 500.
    fn send_stream(
        &mut self,
        socket: &Socket,
        mut pieces: Pieces,
        framing: Framing,
        reply: Reply,
    ) -> Result<bool, SendError> {
        let mut piece = match next_piece(&mut pieces) {
            Ok(piece) => piece,
            Err(error) => {
                log::error!("a response failed before its first byte: {}", error.cause);
                return self.send(socket, server_error(), reply);
            }
        };
        let mut left = match framing {
            Framing::Length(length) => Some(length),
            _ => None,
        };
        while let Some(bytes) = piece {
            if let Some(left) = &mut left {
                *left = left.checked_sub(bytes.len() as u64).ok_or_else(wrong_length)?;
            }
            self.send_piece(socket, &bytes, framing)?;
            piece = next_piece(&mut pieces)?;
        }
        if framing == Framing::Chunked {
            self.out.extend_from_slice(LAST_CHUNK);
        }
        if !self.out.is_empty() {
            socket.send_all(&mut [IoSlice::new(&self.out)])?;
        }
        match left {
            Some(1..) => Err(wrong_length()),
            _ => Ok(reply.keep_alive),
        }
    }

    /// Sends what is in `out`, then the piece.
    fn send_piece(&mut self, socket: &Socket, piece: &[u8], framing: Framing) -> io::Result<()> {
        if framing == Framing::Chunked {
            http::write_chunk_head(&mut self.out, piece.len());
            let slices = [&self.out[..], piece, CHUNK_END];
            socket.send_all(&mut slices.map(IoSlice::new))?;
        } else {
            socket.send_all(&mut [&self.out[..], piece].map(IoSlice::new))?;
        }
        self.out.clear();
        Ok(())
    }

    /// `passed`: the content is in the file that goes with the head, from this byte on.
    fn write_head(
        &mut self,
        response: &Response,
        framing: Framing,
        passed: Option<u64>,
        reply: Reply,
    ) {
        let status = response.status();
        self.out.clear();
        self.write(format_args!("HTTP/1.1 {status} {}\r\n", http::reason_phrase(status)));
        for (name, value) in response.fields().filter(|(name, _)| !is_written_here(name)) {
            for part in [name, ": ", value, "\r\n"] {
                self.out.extend_from_slice(part.as_bytes());
            }
        }
        if let Some(offset) = passed {
            self.write(format_args!("{BODY_FD}: {offset}\r\n"));
        }
        if !reply.from_edge {
            self.write_for_client(response, reply);
        }
        match framing {
            _ if matches!(status, 204 | 304) => {}
            Framing::Length(length) => self.write(format_args!("Content-Length: {length}\r\n")),
            Framing::Chunked => self.out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
            Framing::UntilClose => {}
        }
        self.out.extend_from_slice(b"\r\n");
    }

    /// What the edge would add (RFC 9110 §6.6.1, RFC 9112 §9.3).
    fn write_for_client(&mut self, response: &Response, reply: Reply) {
        if response.field("date").is_none() {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let date = self.date.at(now.as_secs());
            for part in ["Date: ", date, "\r\n"] {
                self.out.extend_from_slice(part.as_bytes());
            }
        }
        match (reply.keep_alive, reply.version) {
            (false, _) => self.out.extend_from_slice(b"Connection: close\r\n"),
            (true, Version::Http10) => {
                self.out.extend_from_slice(b"Connection: keep-alive\r\n");
            }
            (true, Version::Http11) => {}
        }
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        self.out.write_fmt(text).expect("writing to memory succeeds");
    }
}

/// The response, if it can be written down.
fn checked(response: Response) -> Response {
    let status = response.status();
    if !(200..=599).contains(&status) {
        log::error!("the application has answered with status {status}, not one of 200 to 599");
        return server_error();
    }
    if let Body::File { file, offset, length } = response.body()
        && let Err(error) = check_range(file, *offset, *length)
    {
        log::error!("the application has answered with a file that is of no use: {error}");
        return server_error();
    }
    let bad = response.fields().find(|(name, value)| {
        !http::is_token(name.as_bytes()) || !http::is_field_value(value.as_bytes())
    });
    match bad {
        Some((name, value)) => {
            log::error!("the application has answered with a malformed field {name:?}: {value:?}");
            server_error()
        }
        None => response,
    }
}

fn framing_of(response: &Response, version: Version) -> Framing {
    match (response.body(), response.field("content-length").map(str::parse)) {
        (Body::Bytes(content), _) => Framing::Length(content.len() as u64),
        (Body::File { length, .. }, _) => Framing::Length(*length),
        (Body::Stream(_), Some(Ok(length))) => Framing::Length(length),
        (Body::Stream(_), _) if version == Version::Http11 => Framing::Chunked,
        (Body::Stream(_), _) => Framing::UntilClose,
    }
}

fn is_written_here(name: &str) -> bool {
    http::is_hop_by_hop(name) || name.eq_ignore_ascii_case("content-length") || is_reserved(name)
}

/// The next piece that is not empty: an empty chunk would end the content.
fn next_piece(pieces: &mut Pieces) -> Result<Option<Bytes>, SendError> {
    let next = AssertUnwindSafe(|| {
        pieces.find(|piece| piece.as_ref().map_or(true, |bytes| !bytes.is_empty()))
    });
    match catch_unwind(next) {
        Ok(piece) => piece.transpose().map_err(|cause| SendError { cause, is_ours: true }),
        Err(_) => Err(SendError { cause: io::Error::other("it has panicked"), is_ours: true }),
    }
}

fn wrong_length() -> SendError {
    let cause = io::Error::other("its Content-Length is not that of its content");
    SendError { cause, is_ours: true }
}
/// Up to this size content is copied behind its head: a second piece costs the kernel more.
const COPY_MOST: usize = 4 << 10;
