//! A worker's response while it arrives: head, framing, pieces for the client.
//!
//! Owns the position in the response. Must not know slots or clients. Everything a worker sends
//! is held to the same standard as what clients send; it is only trusted to be slow never.

mod lent;

use super::attached::{Attached, FilePart};
use super::buffers::Buffers;
use super::loan::Receipt;
use super::own_answer::COPY_MOST;
use super::relay::Relay;
use super::world::{Meta, World};
use crate::http::slot::{Goodbye, SPOOL, begins_like_goodbye};
use crate::http::{
    self, BadResponse, ChunkedDecoder, FIELDS_MOST, FieldRoom, Framing, HeadLimits, HeadSearch,
    ResponseHead, Version,
};
use crate::io::{Body, Outgoing, Passed};
use std::ops::Range;

/// See the module's documentation.
pub(crate) struct Upstream {
    meta: Meta,
    /// What is left of `response_head_bytes`: interim responses use it up as well.
    head_bytes: usize,
    /// Of the head, while it is incomplete; else empty, kept for its room.
    buf: Vec<u8>,
    /// Bytes of the buffer that is being received into.
    lent: usize,
    search: HeadSearch,
    state: State,
    /// How the client sees where the content ends.
    client_framing: Framing,
    received: bool,
    /// So much came with the last receive that more may be waiting.
    is_plenty: bool,
    passed: bool,
    goodbye: bool,
    /// A response has been announced.
    had_interim: bool,
    keep_alive: bool,
    attached: Attached,
    /// The worker can write content into a file of ours.
    takes_file: bool,
    /// Content that is in a file, to be put in behind the head.
    file: Option<FilePart>,
}

enum State {
    Head,
    Length(u64),
    Chunked(ChunkedDecoder),
    UntilClose,
    /// So many bytes are still due, but the worker writes to a file. It will say how many.
    Lent(u64, Receipt),
    Whole,
}

/// What the bytes have brought.
pub(crate) enum Progress {
    /// The response goes on.
    More,
    /// Its last byte is here. `reusable`: nothing speaks against another request on the slot.
    Whole { reusable: bool },
    /// Instead of a response the worker has said that it leaves.
    Goodbye,
    /// Not a response.
    Bad(&'static str),
}

impl Upstream {
    pub(crate) fn new(meta: Meta, head_bytes: usize) -> Upstream {
        Upstream {
            meta,
            head_bytes,
            buf: Vec::new(),
            lent: 0,
            search: HeadSearch::default(),
            state: State::Head,
            client_framing: Framing::Length(0),
            received: false,
            is_plenty: false,
            passed: false,
            goodbye: false,
            had_interim: false,
            keep_alive: true,
            attached: Attached::default(),
            takes_file: false,
            file: None,
        }
    }

    /// For another try of the same request.
    pub(crate) fn restart(&mut self) {
        let buf = std::mem::take(&mut self.buf);
        *self = Upstream::new(self.meta, self.head_bytes);
        self.keep(buf);
        self.buf.clear();
    }

    /// A descriptor may have come along; from here on it has an owner.
    pub(crate) fn attach(&mut self, passed: Passed, w: &World) {
        self.attached.add(passed, w);
    }

    /// The final head has arrived.
    pub(crate) fn has_begun(&self) -> bool {
        !matches!(self.state, State::Head)
    }

    /// A byte that is not part of a goodbye has arrived.
    pub(crate) fn has_received(&self) -> bool {
        self.received && !self.goodbye
    }

    /// A descriptor may come with what is received next.
    pub(crate) fn may_bring_file(&self) -> bool {
        self.takes_file || !self.has_begun()
    }

    /// Something of the response has been put into the relay.
    pub(crate) fn has_passed(&self) -> bool {
        self.passed
    }

    pub(crate) fn said_goodbye(&self) -> bool {
        self.goodbye
    }

    /// It has begun and does not say where it ends.
    pub(crate) fn is_unbounded(&self) -> bool {
        matches!(self.state, State::Chunked(_) | State::UntilClose)
    }

    /// Bytes by which its memory grows if it receives into a buffer of this size.
    pub(crate) fn growth(&self, size: usize) -> usize {
        match self.buf.len() {
            0 => size.saturating_sub(self.buf.capacity()),
            len if len == self.buf.capacity() => Buffers::SMALL,
            _ => 0,
        }
    }

    /// The buffer to receive into, of this size if there is no beginning of a head to go on with.
    pub(crate) fn buffer(&mut self, size: usize, buffers: &mut Buffers) -> Vec<u8> {
        let mut buf = std::mem::take(&mut self.buf);
        if buf.is_empty() && !(size..=4 * size).contains(&buf.capacity()) {
            let fitting = buffers.of_size(size);
            buffers.give(std::mem::replace(&mut buf, fitting));
        } else if buf.len() == buf.capacity() {
            buf.reserve_exact(Buffers::SMALL);
        }
        self.lent = buf.capacity();
        buf
    }

    /// That buffer has come back.
    pub(crate) fn on_returned(&mut self) {
        self.lent = 0;
    }

    /// So much came with the last receive that more may be waiting.
    pub(crate) fn is_plenty(&self) -> bool {
        self.is_plenty
    }

    /// Bytes of memory that it owns.
    pub(crate) fn footprint(&self) -> usize {
        self.buf.capacity() + self.lent
    }

    /// Takes the buffer back.
    pub(crate) fn keep(&mut self, buf: Vec<u8>) {
        self.buf = buf;
    }

    pub(crate) fn dispose(self, buffers: &mut Buffers) {
        buffers.give(self.buf);
    }

    /// End of file. True: that was the end of the response. `wanted`: as in
    /// [`Upstream::on_bytes`].
    pub(crate) fn on_end(&mut self, relay: &mut Relay, wanted: bool, w: &mut World) -> bool {
        let ends = matches!(self.state, State::UntilClose);
        if ends {
            self.state = State::Whole;
            if wanted {
                self.put_end(relay, w);
            }
        }
        ends
    }

    /// Bytes have been appended to the buffer of [`Upstream::buffer`]. `wanted`: somebody takes
    /// the response; else it is only followed to its end.
    pub(crate) fn on_bytes(
        &mut self,
        buf: Vec<u8>,
        relay: &mut Relay,
        wanted: bool,
        w: &mut World,
    ) -> Progress {
        self.received = true;
        self.is_plenty = buf.len() >= Buffers::LARGE;
        if !self.has_begun() {
            return self.on_head_bytes(buf, relay, wanted, w);
        }
        let all = 0..buf.len();
        match std::mem::take(&mut self.attached) {
            Attached::Nothing => self.on_content(buf, all, Vec::new(), relay, wanted, w),
            // Which of them it is does not matter, nor that we have no room for it.
            Attached::File { .. } | Attached::Broken => self.on_taken(buf, relay, wanted, w),
        }
    }

    fn on_head_bytes(
        &mut self,
        mut buf: Vec<u8>,
        relay: &mut Relay,
        wanted: bool,
        w: &mut World,
    ) -> Progress {
        match begins_like_goodbye(&buf) {
            // Behind an interim response it is none: the request has been started.
            Goodbye::Yes if self.had_interim => {
                self.keep(buf);
                return Progress::Bad("a goodbye behind an interim response");
            }
            Goodbye::Yes => {
                self.goodbye = true;
                self.keep(buf);
                return Progress::Goodbye;
            }
            Goodbye::Maybe => {
                self.keep(buf);
                return Progress::More;
            }
            Goodbye::No => {}
        }
        loop {
            let mut head_out = w.buffers.small();
            match self.parse(&buf, &mut head_out, relay, w) {
                Err(why) => {
                    self.keep(buf);
                    w.buffers.give(head_out);
                    return Progress::Bad(why);
                }
                Ok(Parsed::Incomplete) => {
                    w.buffers.give(head_out);
                    self.keep(buf);
                    return Progress::More;
                }
                // 1xx answers are the edge's business (RFC 9110 §15.2).
                Ok(Parsed::Interim(len)) => {
                    w.buffers.give(head_out);
                    buf.drain(..len);
                    self.had_interim = true;
                    self.head_bytes = self.head_bytes.saturating_sub(len);
                    self.search = HeadSearch::default();
                }
                Ok(Parsed::Final(len)) => {
                    let content = len..buf.len();
                    return self.on_content(buf, content, head_out, relay, wanted, w);
                }
            }
        }
    }

    /// Parses the head and writes the client's version of it to `out`.
    fn parse(
        &mut self,
        buf: &[u8],
        out: &mut Vec<u8>,
        relay: &mut Relay,
        w: &World,
    ) -> Result<Parsed, &'static str> {
        let limits =
            HeadLimits { bytes: self.head_bytes, fields: FIELDS_MOST, target_bytes: usize::MAX };
        let begun = buf.len().min(VERSION.len());
        if buf[..begun] != VERSION[..begun] {
            return Err(BadResponse::StatusLine.reason());
        }
        let mut room = FieldRoom::default();
        let (search, to_head) = (&mut self.search, self.meta.to_head);
        if search.is_new()
            && let Some(head) = http::parse_whole_response(buf, &mut room, &limits, to_head)
        {
            return self.begin(&head, out, relay, w);
        }
        match http::parse_arriving_response(search, buf, &mut room, &limits, to_head) {
            Ok(Some(head)) => self.begin(&head, out, relay, w),
            Ok(None) => Ok(Parsed::Incomplete),
            Err(BadResponse::HeadTooLarge) => Err("the head is larger than response_head_bytes"),
            Err(bad) => Err(bad.reason()),
        }
    }

    /// Its content is next, if it is not an interim response.
    fn begin(
        &mut self,
        head: &ResponseHead<'_, '_>,
        out: &mut Vec<u8>,
        relay: &mut Relay,
        w: &World,
    ) -> Result<Parsed, &'static str> {
        match head.status {
            101 => return Err("101 without an upgrade"),
            100..=199 => return Ok(Parsed::Interim(head.len)),
            _ => {}
        }
        let file = std::mem::take(&mut self.attached).content(head)?;
        self.keep_alive = head.keep_alive;
        self.client_framing = match (head.framing, self.meta.version) {
            (Framing::Length(length), _) => Framing::Length(length),
            (_, Version::Http11) => Framing::Chunked,
            (_, Version::Http10) => Framing::UntilClose,
        };
        self.state = match head.framing {
            Framing::Length(_) if file.is_some() => State::Whole,
            Framing::Length(0) => State::Whole,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Chunked(ChunkedDecoder::default()),
            Framing::UntilClose => State::UntilClose,
        };
        let least = w.limits.response_memory as u64;
        self.takes_file = matches!(self.state, State::Length(length) if length >= least)
            && head.field(SPOOL).is_some_and(|value| value.eq_ignore_ascii_case(b"yes"));
        self.file = file;
        let buffering = head.field("X-Accel-Buffering");
        relay.may_spool = !buffering.is_some_and(|value| value.eq_ignore_ascii_case(b"no"));
        relay.status = head.status;
        relay.responded_at = Some(w.now);
        let Meta { version, keep_alive, .. } = self.meta;
        let is_delimited = self.client_framing != Framing::UntilClose;
        relay.ends_by_close = !is_delimited && !head.without_content;
        relay.keep_alive = keep_alive && is_delimited && !w.draining;
        http::write_response(out, head, self.client_framing, version, relay.keep_alive, &w.date);
        Ok(Parsed::Final(head.len))
    }

    /// `range` of `buf` is raw content, `head` goes before it.
    fn on_content(
        &mut self,
        mut buf: Vec<u8>,
        range: Range<usize>,
        head: Vec<u8>,
        relay: &mut Relay,
        wanted: bool,
        w: &mut World,
    ) -> Progress {
        let decoded = self
            .read_receipt(&buf, range, relay, wanted)
            .and_then(|range| self.decode(&mut buf, range));
        let (data, surplus) = match decoded {
            Ok(decoded) => decoded,
            Err(why) => {
                self.keep(buf);
                w.buffers.give(head);
                return Progress::Bad(why);
            }
        };
        if wanted {
            self.put(buf, data, head, relay, w);
        } else {
            w.buffers.give(head);
            buf.clear();
            self.keep(buf);
            self.file = None;
        }
        if matches!(self.state, State::Whole) {
            Progress::Whole { reusable: self.keep_alive && surplus == 0 }
        } else {
            Progress::More
        }
    }

    /// Which part of `buf` is content, and how many bytes follow the end of the response.
    fn decode(
        &mut self,
        buf: &mut Vec<u8>,
        range: Range<usize>,
    ) -> Result<(Range<usize>, usize), &'static str> {
        match &mut self.state {
            State::Head => unreachable!("content comes after the head"),
            State::Whole => Ok((range.start..range.start, range.len())),
            State::Lent(..) => Ok((range, 0)),
            State::UntilClose => Ok((range, 0)),
            State::Length(left) => {
                let count = range.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= count as u64;
                let surplus = range.len() - count;
                if *left == 0 {
                    self.state = State::Whole;
                }
                Ok((range.start..range.start + count, surplus))
            }
            State::Chunked(decoder) => {
                let done = decoder.compact(buf, range.start).map_err(|bad| bad.reason())?;
                if done.ended {
                    self.state = State::Whole;
                }
                Ok((range.start..range.start + done.data_len, done.surplus))
            }
        }
    }

    /// Puts a head, content, or both into the relay, framed for the client.
    fn put(
        &mut self,
        mut buf: Vec<u8>,
        data: Range<usize>,
        mut head: Vec<u8>,
        relay: &mut Relay,
        w: &mut World,
    ) {
        if !std::mem::replace(&mut self.passed, true) {
            w.counters.responses(relay.status).count();
        }
        relay.content_bytes += data.len() as u64;
        let is_chunk = self.client_framing == Framing::Chunked && !data.is_empty();
        // What fills a small buffer is not worth another one.
        let is_small = data.len() <= COPY_MOST && data.len() <= buf.capacity() / 2;
        if is_small && head.capacity() == 0 && !data.is_empty() {
            head = w.buffers.small();
        }
        if is_chunk {
            http::write_chunk_head(&mut head, data.len());
        }
        // A chunk leaves whole: who waits for its end need not wait for the next one.
        let end: &'static [u8] = if is_chunk { http::CHUNK_END } else { &[] };
        relay.around_bytes += (head.len() + end.len()) as u64;
        if is_small {
            head.extend_from_slice(&buf[data]);
            head.extend_from_slice(end);
            buf.clear();
            self.keep(buf);
            relay.put(Outgoing::new(head, Body::None), &mut w.buffers);
        } else {
            let mut piece = Outgoing::new(head, Body::Owned(buf, data));
            piece.tail = end;
            relay.put(piece, &mut w.buffers);
        }
        if let Some(FilePart { file, offset, len }) = self.file.take() {
            relay.put_file(file, offset, len);
        }
        if matches!(self.state, State::Whole) {
            self.put_end(relay, w);
        }
    }

    fn put_end(&mut self, relay: &mut Relay, w: &mut World) {
        if self.client_framing == Framing::Chunked {
            relay.around_bytes += http::LAST_CHUNK.len() as u64;
            relay.append(http::LAST_CHUNK, &mut w.buffers);
        }
    }
}

enum Parsed {
    Incomplete,
    Interim(usize),
    Final(usize),
}

/// How every response begins.
const VERSION: &[u8] = b"HTTP/1.";
