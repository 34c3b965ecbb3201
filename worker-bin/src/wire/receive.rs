//! Receiving one request.
//!
//! Owns the promise that the last bytes of a request leave the kernel as the last act before the
//! call: if the process dies earlier, the kernel tells the sender so by ECONNRESET. Everything is
//! looked at by peeking first; only what is known to be an incomplete request is taken early.
//! Peeking leaves a passed descriptor where it is.

use super::responder::Reply;
use super::{Terms, loan};
use crate::access::Record;
use crate::app::Request;
use crate::content::{Content, FileRange};
use crate::forwarded;
use crate::signals::Stop;
use crate::socket::{Socket, wait_readable};
use bytes::Bytes;
use forebay::http::{
    self, ChunkedDecoder, FieldRoom, Framing, HeadSearch, Piece, Reject, RequestHead, slot,
};
use std::borrow::Cow;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// A request that is wholly here, and what its answer must heed.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) request: Request,
    pub(super) reply: Reply,
    /// Its last bytes, which are still in the kernel.
    pub(super) rest: Range<usize>,
}

/// Why there is no request.
#[derive(Debug)]
pub(super) enum Interruption {
    /// The other end has gone, perhaps in the middle.
    Closed,
    Stopped,
    /// It was all that has come.
    EmptyLine,
    Refused(Reject),
    /// One is asked for: no resource could answer that (RFC 9110 §9.3.6).
    Tunnel,
    /// Too many files are open for the one that came with it.
    Exhausted,
    /// The other end passes descriptors in a way that nobody has agreed to.
    Broken(io::Error),
}

impl From<Reject> for Interruption {
    fn from(reject: Reject) -> Self {
        Interruption::Refused(reject)
    }
}

impl From<io::Error> for Interruption {
    /// A connection that fails is one that has ended.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::InvalidData => Interruption::Broken(error),
            _ if error.raw_os_error() == Some(libc::EMFILE) => Interruption::Exhausted,
            _ => Interruption::Closed,
        }
    }
}

/// What is known of a request, whether it comes to its end or not.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// For the access log, if that wants it.
    pub(super) record: Option<Record>,
    /// It is HEAD.
    pub(super) to_head: bool,
}

/// Receives requests into one buffer.
#[derive(Debug)]
pub(super) struct Receiver {
    buffer: Vec<u8>,
}

impl Receiver {
    pub(super) fn new(head_bytes: usize) -> Receiver {
        // Zeroed by the kernel, page by page when used.
        Receiver { buffer: vec![0; head_bytes.max(PEEK)] }
    }

    /// Until [`Reception::finish`] the request has not been taken.
    pub(super) fn receive<'a>(
        &'a mut self,
        socket: &'a Socket,
        terms: &'a Terms<'a>,
        seen: &mut Seen,
    ) -> Result<(Reception<'a>, Incoming), Interruption> {
        let mut reception = Reception { socket, terms, buffer: &mut self.buffer, passed: None };
        let incoming = reception.request(seen)?;
        Ok((reception, incoming))
    }
}

/// One request on its way.
#[derive(Debug)]
pub(super) struct Reception<'a> {
    pub(super) socket: &'a Socket,
    pub(super) terms: &'a Terms<'a>,
    buffer: &'a mut [u8],
    /// The descriptor that has come with it.
    passed: Option<OwnedFd>,
}

/// Content, and what is still to be taken: the end of the request.
type Here = (Content, Range<usize>);

/// Where the parts of a request are in the buffer: up to `taken` its bytes have left the kernel,
/// up to `arrived` they are copies.
#[derive(Clone, Copy, Debug)]
struct Progress {
    head: usize,
    taken: usize,
    arrived: usize,
}

impl Reception<'_> {
    /// Takes the last bytes.
    pub(super) fn finish(&mut self, rest: Range<usize>) -> Result<(), Interruption> {
        self.take(rest)?;
        match self.passed {
            Some(_) => Err(broken("a descriptor has been passed that no field announces")),
            None => Ok(()),
        }
    }

    fn request(&mut self, seen: &mut Seen) -> Result<Incoming, Interruption> {
        let (Begun { mut request, reply, offset, framing, continues }, progress) =
            self.head(seen)?;
        seen.record = self.terms.logs_access.then(|| Record::new(&request));
        if request.method() == "CONNECT" {
            return Err(Interruption::Tunnel);
        }
        // Of HTTP/1.0: it does not say whom it has addressed.
        if self.terms.peer.is_some() && request.field("host").is_none() {
            let local = self.socket.local_address();
            local.inspect(|local| request.set_local(&local.to_string()));
        }
        let (content, rest) = match (framing, offset) {
            (Framing::Length(length), Some(offset)) => self.file(progress, offset, length)?,
            (Framing::Length(length), None) => self.length(progress, length, continues)?,
            (Framing::Chunked, None) => self.chunked(progress, continues)?,
            (Framing::Chunked, Some(_)) => return Err(broken("content in a file has a length")),
            (Framing::UntilClose, _) => unreachable!("requests are never framed by the close"),
        };
        Ok(Incoming { request: request.with_body(content), reply, rest })
    }

    /// Until a whole head is in the buffer.
    fn head(&mut self, seen: &mut Seen) -> Result<(Begun, Progress), Interruption> {
        let until = self.terms.header_timeout.map(|timeout| Instant::now() + timeout);
        let (mut search, mut taken) = (HeadSearch::default(), 0);
        loop {
            let room = self.buffer.len().min(taken + PEEK);
            let count = match self.peek_soon(taken..room)? {
                Some(count) => count,
                None => {
                    let left = until.map(|until| until.saturating_duration_since(Instant::now()));
                    if !self.wait(left)? {
                        // Whoever has said nothing needs no answer.
                        return Err(match taken {
                            0 => Interruption::Closed,
                            _ => Interruption::Refused(Reject::HeaderTimeout),
                        });
                    }
                    self.socket.peek(&mut self.buffer[taken..room])?
                }
            };
            if count == 0 {
                return Err(Interruption::Closed);
            }
            if taken == 0 && self.terms.from_edge && loan::is_word(self.buffer[0]) {
                // A descriptor that has come with it is not received, whether there is room or not.
                self.socket.receive(&mut [0])?;
                continue;
            }
            let arrived = taken + count;
            seen.to_head = is_head(&self.buffer[..arrived]);
            if let Some((begun, head)) = begin(&mut search, &self.buffer[..arrived], self.terms)? {
                return Ok((begun, Progress { head, taken, arrived }));
            }
            if arrived == self.buffer.len() {
                return Err(Reject::HeadTooLarge.into());
            }
            self.take(taken..arrived)?;
            if self.buffer[..arrived] == *b"\r\n" {
                return Err(Interruption::EmptyLine);
            }
            taken = arrived;
        }
    }

    /// Looks for input after everybody else who waits for this core has run: on a busy machine the
    /// next request has come by then, and neither side pays for a sleep and a wake-up.
    fn peek_soon(&mut self, room: Range<usize>) -> Result<Option<usize>, Interruption> {
        if self.terms.stop.is_some_and(Stop::is_requested) {
            return Ok(None);
        }
        std::thread::yield_now();
        match self.socket.peek_now(&mut self.buffer[room]) {
            Ok(count) => Ok(Some(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The last byte of the head goes when the descriptor has proved to be good.
    fn file(&mut self, at: Progress, offset: u64, length: u64) -> Result<Here, Interruption> {
        let last = at.head - 1;
        self.take(at.taken..last)?;
        let file = self.passed.take().ok_or_else(|| broken("the descriptor is missing"))?;
        let range = FileRange::new(file.into(), offset, length).map_err(Interruption::Broken)?;
        Ok((Content::File(range), last..at.head))
    }

    fn length(&mut self, at: Progress, length: u64, continues: bool) -> Result<Here, Interruption> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length as u64 > self.terms.content_max {
            return Err(Reject::ContentTooLarge.into());
        }
        let here = at.arrived - at.head;
        if length <= here {
            let end = at.head + length;
            let content = Bytes::copy_from_slice(&self.buffer[at.head..end]);
            return Ok((content.into(), at.taken..end));
        }
        let mut content = Vec::new();
        content.try_reserve_exact(length).map_err(|_| Reject::ContentTooLarge)?;
        self.take(at.taken..at.arrived)?;
        content.extend_from_slice(&self.buffer[at.head..at.arrived]);
        self.say_continue(continues)?;
        let (mut filled, last) = (here, length - 1);
        while filled < last {
            self.wait_for_content()?;
            // What is announced costs no memory before it comes.
            content.resize(last.min(filled + PIECE), 0);
            match self.socket.receive(&mut content[filled..])? {
                0 => return Err(Interruption::Closed),
                count => filled += count,
            }
        }
        self.wait_for_content()?;
        content.resize(length, 0);
        match self.socket.peek(&mut content[last..])? {
            0 => Err(Interruption::Closed),
            _ => Ok((Bytes::from(content).into(), 0..1)),
        }
    }

    fn chunked(&mut self, mut at: Progress, continues: bool) -> Result<Here, Interruption> {
        let (mut decoder, mut content) = (ChunkedDecoder::default(), Vec::new());
        let mut continues = continues;
        loop {
            let input = &self.buffer[at.head..at.arrived];
            let most = self.terms.content_max;
            if let Some(count) = decode(&mut decoder, input, &mut content, most)? {
                return Ok((Bytes::from(content).into(), at.taken..at.head + count));
            }
            self.take(at.taken..at.arrived)?;
            self.say_continue(std::mem::take(&mut continues))?;
            self.wait_for_content()?;
            let arrived = self.socket.peek(&mut self.buffer[..PEEK])?;
            if arrived == 0 {
                return Err(Interruption::Closed);
            }
            at = Progress { head: 0, taken: 0, arrived };
        }
    }

    /// Takes what was peeked.
    fn take(&mut self, span: Range<usize>) -> io::Result<()> {
        self.socket.take(&mut self.buffer[span], &mut self.passed)
    }

    fn say_continue(&self, wanted: bool) -> io::Result<()> {
        match wanted {
            true => self.socket.send_all(&mut [IoSlice::new(CONTINUE)]),
            false => Ok(()),
        }
    }

    fn wait_for_content(&self) -> Result<(), Interruption> {
        match self.wait(self.terms.body_timeout)? {
            true => Ok(()),
            false => Err(Reject::BodyTimeout.into()),
        }
    }

    /// Waits for input; false: the time is up. A wish to stop goes before input.
    fn wait(&self, timeout: Option<Duration>) -> Result<bool, Interruption> {
        let Some(stop) = self.terms.stop else {
            let [arrived] = wait_readable([self.socket.as_fd()], timeout)?;
            return Ok(arrived);
        };
        match wait_readable([stop.as_fd(), self.socket.as_fd()], timeout)? {
            [true, _] => Err(Interruption::Stopped),
            [false, arrived] => Ok(arrived),
        }
    }
}

/// A request without its content.
struct Begun {
    request: Request,
    reply: Reply,
    /// Of the content, if that is in a file.
    offset: Option<u64>,
    framing: Framing,
    /// The client waits for a word before it sends the content.
    continues: bool,
}

/// Whether that is the method of what begins like this.
fn is_head(bytes: &[u8]) -> bool {
    bytes.strip_prefix(b"\r\n").unwrap_or(bytes).starts_with(b"HEAD ")
}

/// What begins with a whole head, and how long that is. `search` has seen what came before.
fn begin(
    search: &mut HeadSearch,
    bytes: &[u8],
    terms: &Terms<'_>,
) -> Result<Option<(Begun, usize)>, Interruption> {
    let mut room = FieldRoom::default();
    // As a rule it has arrived at once, and there is nothing to search for.
    if search.is_new()
        && let Some(head) = http::parse_whole_request(bytes, &mut room, &terms.head)
    {
        return Ok(Some((begun(&head, terms)?, head.len)));
    }
    match http::parse_arriving_request(search, bytes, &mut room, &terms.head)? {
        Some(head) => Ok(Some((begun(&head, terms)?, head.len))),
        None => Ok(None),
    }
}

fn begun(head: &RequestHead<'_, '_>, terms: &Terms<'_>) -> Result<Begun, Interruption> {
    let reply = Reply {
        to_head: head.method == "HEAD",
        version: head.version,
        keep_alive: head.keep_alive,
        expects_close: !head.keep_alive,
        from_edge: terms.from_edge,
    };
    let (request, offset) = request_of(head, terms)?;
    let continues = head.expects_continue && !terms.from_edge;
    Ok(Begun { request, reply, offset, framing: head.framing, continues })
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

/// Builds what the application sees, and says where in a file its content begins, if it is in
/// one. Reserved fields are facts from the edge and lies from others.
fn request_of(
    head: &RequestHead<'_, '_>,
    terms: &Terms<'_>,
) -> Result<(Request, Option<u64>), Interruption> {
    let target = match head.target.starts_with('?') {
        // An empty path is sent as `/` (RFC 9112 §3.2.1).
        true => Cow::from(format!("/{}", head.target)),
        false => Cow::from(head.target),
    };
    let fields = head.fields().len();
    let mut request = Request::with_capacity(head.method, &target, head.version, head.len, fields);
    if let Some(peer) = terms.peer {
        request.set_peer(peer);
    }
    let mut offset = None;
    for (name, value) in head.fields() {
        if name.eq_ignore_ascii_case("host") {
            // A target with a host goes before (RFC 9112 §3.2.2).
            request.push_field(name, head.host.as_bytes());
        } else if !slot::is_reserved(name) {
            request.push_field(name, value);
        } else if terms.from_edge && name.eq_ignore_ascii_case(slot::CONTENT_FD) {
            let value = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            let value = value.ok_or_else(|| broken("the offset of the content is no number"))?;
            if offset.replace(value).is_some() {
                return Err(broken("the content has two offsets"));
            }
        } else if terms.from_edge {
            note_fact(&mut request, name, value);
        }
    }
    if !head.host.is_empty() && request.field("host").is_none() {
        request.push_field("Host", head.host.as_bytes());
    }
    if terms.trusts_peer && forwarded::is_secure(&request).ok_or(Reject::SchemeMismatch)? {
        request.set_scheme("https");
    }
    Ok((request, offset))
}

fn note_fact(request: &mut Request, name: &str, value: &[u8]) {
    let Ok(value) = std::str::from_utf8(value) else { return };
    let is = |other| name.eq_ignore_ascii_case(other);
    if is(slot::PEER) {
        value.parse().into_iter().for_each(|peer| request.set_peer(peer));
    } else if is(slot::LOCAL) {
        request.set_local(value);
    } else if is(slot::SCHEME) {
        request.set_scheme(value);
    } else if is(slot::REQUEST_ID) {
        request.set_request_id(value);
    } else if is(slot::DEADLINE_MS) {
        let deadline = value
            .parse()
            .ok()
            .and_then(|left| Instant::now().checked_add(Duration::from_millis(left)));
        deadline.into_iter().for_each(|deadline| request.set_deadline(deadline));
    }
}

fn broken(reason: &'static str) -> Interruption {
    Interruption::Broken(io::Error::new(io::ErrorKind::InvalidData, reason))
}

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// Bytes looked at in one go. A small request is whole within; of a larger one no more than this
/// is copied twice.
const PEEK: usize = 64 << 10;
/// Bytes of large content that are received in one go.
const PIECE: usize = 1 << 20;
