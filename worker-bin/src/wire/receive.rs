//! Receiving one request.
//!
//! Owns the promise that the last bytes of a request leave the kernel as the last act before the
//! call: if the process dies earlier, the kernel tells the sender so by ECONNRESET. Everything is
//! looked at by peeking first; only what is known to be an incomplete request is taken early.

use super::Terms;
use super::send::Reply;
use crate::app::Request;
use crate::socket::{Socket, wait_readable};
use bytes::Bytes;
use forebay::http::{self, ChunkedDecoder, Framing, HeadSearch, Piece, Reject, RequestHead, SLOTS};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// A request that is wholly here, and what its answer must heed.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) request: Request,
    pub(super) reply: Reply,
}

/// Why there is no request.
#[derive(Debug)]
pub(super) enum Interruption {
    /// The other end has gone, perhaps in the middle.
    Closed,
    Stopped,
    Refused(Reject),
}

impl From<Reject> for Interruption {
    fn from(reject: Reject) -> Self {
        Interruption::Refused(reject)
    }
}

impl From<io::Error> for Interruption {
    /// A connection that fails is one that has ended.
    fn from(_: io::Error) -> Self {
        Interruption::Closed
    }
}

/// Receives requests into one buffer.
#[derive(Debug)]
pub(super) struct Receiver {
    buffer: Vec<u8>,
}

/// Where the parts of a request are in the buffer: up to `taken` its bytes have left the kernel,
/// up to `arrived` they are copies.
#[derive(Clone, Copy, Debug)]
struct Progress {
    head: usize,
    taken: usize,
    arrived: usize,
}

impl Receiver {
    pub(super) fn new(head_bytes: usize) -> Receiver {
        // Zeroed by the kernel, page by page when used.
        Receiver { buffer: vec![0; head_bytes.max(PEEK)] }
    }

    pub(super) fn receive(
        &mut self,
        socket: &Socket,
        terms: &Terms<'_>,
    ) -> Result<Incoming, Interruption> {
        let (taken, arrived) = self.receive_head(socket, terms)?;
        let mut slots = [const { MaybeUninit::uninit() }; SLOTS];
        let head = http::parse_request(&self.buffer[..arrived], &mut slots, &terms.head)?
            .ok_or(Reject::BadRequestLine)?;
        let mut incoming = Incoming {
            request: request_of(&head, terms),
            reply: Reply {
                to_head: head.method == "HEAD",
                version: head.version,
                keep_alive: head.keep_alive,
                from_edge: terms.from_edge,
            },
        };
        let (framing, expects_continue) = (head.framing, head.expects_continue);
        let progress = Progress { head: head.len, taken, arrived };
        let continues = (expects_continue && !terms.from_edge).then_some(socket);
        let content = match framing {
            Framing::Length(length) => {
                self.receive_length(socket, terms, progress, length, continues)?
            }
            Framing::Chunked => self.receive_chunked(socket, terms, progress, continues)?,
            Framing::UntilClose => unreachable!("requests are never framed by the close"),
        };
        incoming.request = incoming.request.with_content(content);
        Ok(incoming)
    }

    /// Until a whole head is in the buffer. Returns how much of it was taken, and how much more
    /// was peeked.
    fn receive_head(
        &mut self,
        socket: &Socket,
        terms: &Terms<'_>,
    ) -> Result<(usize, usize), Interruption> {
        let until = terms.header_timeout.map(|timeout| Instant::now() + timeout);
        let (mut search, mut taken) = (HeadSearch::default(), 0);
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if !wait(socket, terms, left)? {
                // Whoever has said nothing needs no answer.
                return Err(match taken {
                    0 => Interruption::Closed,
                    _ => Interruption::Refused(Reject::HeaderTimeout),
                });
            }
            let room = self.buffer.len().min(taken + PEEK);
            let count = socket.peek(&mut self.buffer[taken..room])?;
            if count == 0 {
                return Err(Interruption::Closed);
            }
            let arrived = taken + count;
            if search.is_complete(&self.buffer[..arrived], &terms.head)? {
                return Ok((taken, arrived));
            }
            if arrived == self.buffer.len() {
                return Err(Reject::HeadTooLarge.into());
            }
            socket.take(&mut self.buffer[taken..arrived])?;
            taken = arrived;
        }
    }

    fn receive_length(
        &mut self,
        socket: &Socket,
        terms: &Terms<'_>,
        at: Progress,
        length: u64,
        continues: Option<&Socket>,
    ) -> Result<Bytes, Interruption> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length as u64 > terms.content_max {
            return Err(Reject::ContentTooLarge.into());
        }
        let end = at.head + length;
        if end <= at.arrived {
            let content = Bytes::copy_from_slice(&self.buffer[at.head..end]);
            socket.take(&mut self.buffer[at.taken..end])?;
            return Ok(content);
        }
        let mut content = Vec::new();
        content.try_reserve_exact(length).map_err(|_| Reject::ContentTooLarge)?;
        socket.take(&mut self.buffer[at.taken..at.arrived])?;
        content.extend_from_slice(&self.buffer[at.head..at.arrived]);
        say_continue(continues)?;
        while content.len() < length {
            wait_for_content(socket, terms)?;
            // The last byte is taken by itself.
            let most = (length - content.len() - 1).max(1);
            if socket.receive_onto(&mut content, most)? == 0 {
                return Err(Interruption::Closed);
            }
        }
        Ok(content.into())
    }

    fn receive_chunked(
        &mut self,
        socket: &Socket,
        terms: &Terms<'_>,
        mut at: Progress,
        continues: Option<&Socket>,
    ) -> Result<Bytes, Interruption> {
        let (mut decoder, mut content) = (ChunkedDecoder::default(), Vec::new());
        let mut continues = continues;
        loop {
            let input = &self.buffer[at.head..at.arrived];
            if let Some(count) = decode(&mut decoder, input, &mut content, terms.content_max)? {
                socket.take(&mut self.buffer[at.taken..at.head + count])?;
                return Ok(content.into());
            }
            socket.take(&mut self.buffer[at.taken..at.arrived])?;
            say_continue(continues.take())?;
            wait_for_content(socket, terms)?;
            let arrived = socket.peek(&mut self.buffer[..PEEK])?;
            if arrived == 0 {
                return Err(Interruption::Closed);
            }
            at = Progress { head: 0, taken: 0, arrived };
        }
    }
}

/// Decodes all input, or up to the end of the content; then says how much of the input that was.
fn decode(
    decoder: &mut ChunkedDecoder,
    input: &[u8],
    content: &mut Vec<u8>,
    most: u64,
) -> Result<Option<usize>, Reject> {
    let mut total = 0;
    loop {
        let (count, piece) = decoder.step(&input[total..])?;
        total += count;
        match piece {
            Piece::Data(data) if (content.len() + data.len()) as u64 > most => {
                return Err(Reject::ContentTooLarge);
            }
            Piece::Data(data) => content.extend_from_slice(data),
            Piece::More => return Ok(None),
            Piece::End => return Ok(Some(total)),
        }
    }
}

/// Builds what the application sees. Reserved fields are facts from the edge and lies from others.
fn request_of(head: &RequestHead<'_, '_>, terms: &Terms<'_>) -> Request {
    let (method, target) = (head.method, head.target);
    let mut request =
        Request::with_capacity(method, target, head.version, head.len, head.fields.len());
    if let Some(peer) = terms.peer {
        request.set_peer(peer);
    }
    for field in head.fields {
        if !is_reserved(field.name) {
            request.push_field(field.name, field.value);
        } else if terms.from_edge {
            note_fact(&mut request, field.name, field.value);
        }
    }
    request
}

fn is_reserved(name: &str) -> bool {
    const PREFIX: &[u8] = b"forebay-";
    name.as_bytes().get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

fn note_fact(request: &mut Request, name: &str, value: &[u8]) {
    let Ok(value) = std::str::from_utf8(value) else { return };
    let is = |other| name.eq_ignore_ascii_case(other);
    if is("forebay-peer") {
        value.parse().into_iter().for_each(|peer| request.set_peer(peer));
    } else if is("forebay-request-id") {
        request.set_request_id(value);
    } else if is("forebay-deadline-ms") {
        let deadline = value
            .parse()
            .ok()
            .and_then(|left| Instant::now().checked_add(Duration::from_millis(left)));
        deadline.into_iter().for_each(|deadline| request.set_deadline(deadline));
    }
}

fn say_continue(socket: Option<&Socket>) -> io::Result<()> {
    match socket {
        Some(socket) => socket.send_all(&mut [IoSlice::new(b"HTTP/1.1 100 Continue\r\n\r\n")]),
        None => Ok(()),
    }
}

fn wait_for_content(socket: &Socket, terms: &Terms<'_>) -> Result<(), Interruption> {
    match wait(socket, terms, terms.body_timeout)? {
        true => Ok(()),
        false => Err(Reject::BodyTimeout.into()),
    }
}

/// Waits for input; false: the time is up. A wish to stop goes before input.
fn wait(
    socket: &Socket,
    terms: &Terms<'_>,
    timeout: Option<Duration>,
) -> Result<bool, Interruption> {
    let Some(stop) = terms.stop else {
        let [arrived] = wait_readable([socket.as_fd()], timeout)?;
        return Ok(arrived);
    };
    match wait_readable([stop.as_fd(), socket.as_fd()], timeout)? {
        [true, _] => Err(Interruption::Stopped),
        [false, arrived] => Ok(arrived),
    }
}

/// Bytes looked at in one go. A small request is whole within; of a larger one no more than this
/// is copied twice.
const PEEK: usize = 64 << 10;
