//! A request's content while it arrives.
//!
//! Owns the decoding, the bounds, and what goes to the spool. Must not know where the content
//! goes in the end.

use super::buffers::Buffers;
use super::memory::{Memory, Pressure};
use super::pace::Arrival;
use super::spool::SpoolFile;
use super::world::{Meta, Whole, World};
use crate::http::{self, ChunkedDecoder, Framing, Piece, Reject};
use crate::io::{Body, Outgoing, Time};
use crate::limits::Limits;
use crate::route::Action;

/// A request whose head is complete and whose content is not.
pub(crate) struct Content {
    /// The canonical head, without its end.
    head: Vec<u8>,
    /// What has arrived and is not in the spool file.
    bytes: Vec<u8>,
    /// Bytes that have arrived.
    length: u64,
    rest: Rest,
    max: u64,
    /// Bytes that stay in memory; more goes to the spool.
    memory: u64,
    /// Bytes of a buffer that goes to the spool.
    piece: usize,
    /// Bytes of memory that it may use.
    reserved: u64,
    /// Bytes of the buffer that is being received into.
    lent: usize,
    pub(super) spool: Option<SpoolFile>,
    arrival: Arrival,
    pub(crate) meta: Meta,
    /// A pool or a handler.
    pub(crate) action: Action,
}

enum Rest {
    /// So many bytes are missing.
    Length(u64),
    /// The decoder has not seen the end.
    Chunked(ChunkedDecoder),
    Whole,
}

impl Content {
    /// The head has arrived now. `content_memory` bounds what stays in memory, if that is not for
    /// a handler; above half of `memory_budget` it is a small buffer.
    pub(crate) fn new(
        head: Vec<u8>,
        framing: Framing,
        meta: Meta,
        action: Action,
        w: &World,
    ) -> Content {
        let rest = match framing {
            Framing::Length(0) => Rest::Whole,
            Framing::Length(length) => Rest::Length(length),
            Framing::Chunked | Framing::UntilClose => Rest::Chunked(ChunkedDecoder::default()),
        };
        let piece = match w.memory.pressure() >= Pressure::Half {
            true => Buffers::SMALL,
            false => Buffers::LARGE,
        };
        let memory = match (&action, piece) {
            (Action::Pool(_), Buffers::SMALL) => w.limits.content_memory.min(piece as u64),
            (Action::Pool(_), _) => w.limits.content_memory,
            _ => u64::MAX,
        };
        Content {
            head,
            bytes: Vec::new(),
            length: 0,
            rest,
            max: w.limits.content_max,
            memory,
            piece,
            reserved: 0,
            lent: 0,
            spool: None,
            arrival: Arrival::begin(w.now),
            meta,
            action,
        }
    }

    /// Reserves what it lacks, unless memory would be as scarce as `level` then. `counted` is its
    /// owner's.
    pub(crate) fn reserve(
        &mut self,
        level: Pressure,
        counted: &mut u64,
        memory: &mut Memory,
    ) -> bool {
        let more = self.lacks();
        let fits = more == 0 || memory.take(more, level);
        if fits {
            self.reserved += more;
            *counted += more;
        }
        fits
    }

    /// Bytes of memory that it needs and has not reserved: at once what a pool's content can need,
    /// otherwise what has arrived.
    fn lacks(&self) -> u64 {
        let need = match self.rest {
            _ if matches!(self.action, Action::Handler(_)) => self.in_memory() + self.growth(),
            Rest::Length(left) if self.length + left <= self.memory => self.length + left,
            Rest::Whole if self.spool.is_none() => self.in_memory(),
            _ => self.memory.max(2 * self.piece as u64),
        };
        need.saturating_sub(self.reserved)
    }

    /// Bytes of memory that it owns or has reserved.
    pub(crate) fn footprint(&self) -> u64 {
        let writing = self.spool.as_ref().map_or(0, SpoolFile::writing_bytes) as u64;
        self.head.capacity() as u64 + self.reserved.max(self.in_memory() + writing)
    }

    /// Bytes by which its buffer may grow before it is asked again.
    fn growth(&self) -> u64 {
        let room = (self.bytes.capacity() - self.bytes.len()) as u64;
        let quarter = self.bytes.len() as u64 / 4;
        let growth = match self.rest {
            Rest::Length(left) => left.min(quarter.max(Content::STEP)),
            Rest::Chunked(_) => quarter.max(Buffers::SMALL as u64),
            Rest::Whole => 0,
        };
        growth.saturating_sub(room)
    }

    fn in_memory(&self) -> u64 {
        (self.bytes.capacity() + self.lent) as u64
    }

    /// When the client will have sent too little, if it sends no more; none while it is not the
    /// client that is waited for.
    pub(crate) fn late_at(&mut self, limits: &Limits, now: Time) -> Option<Time> {
        if !self.wants_input() {
            self.arrival.hold(now);
            return None;
        }
        self.arrival.go_on(now);
        Some(now.after(limits.client_body_timeout).min(self.drips_at(limits)))
    }

    /// When it will have been less than `rate_min`.
    pub(crate) fn drips_at(&self, limits: &Limits) -> Time {
        match limits.rate_min {
            0 => Time(u64::MAX),
            rate_min => self.arrival.late_at(self.length, rate_min),
        }
    }

    /// Its average is below `rate_min` already, though it may yet become more.
    pub(crate) fn is_slow(&self, rate_min: u64, now: Time) -> bool {
        self.wants_input() && self.arrival.is_slow(self.length, rate_min, now)
    }

    /// All of it is here, and where it is to be.
    pub(crate) fn is_whole(&self) -> bool {
        let is_spooled =
            self.spool.as_ref().is_none_or(|spool| spool.is_ready() && self.bytes.is_empty());
        self.has_arrived() && is_spooled
    }

    /// The client has sent all of it.
    pub(crate) fn has_arrived(&self) -> bool {
        matches!(self.rest, Rest::Whole)
    }

    /// Something is missing, and there is room for it.
    pub(crate) fn wants_input(&self) -> bool {
        let has_room = self.bytes.len() + self.piece / 8 <= self.piece;
        !self.has_arrived() && (has_room || self.spool.is_none())
    }

    /// It is, or will be, too much for memory, and has no spool file.
    pub(crate) fn needs_spool(&self) -> bool {
        self.spool.is_none() && self.announced() > self.memory
    }

    /// Bytes that are known to come, with those that have.
    pub(crate) fn announced(&self) -> u64 {
        match self.rest {
            Rest::Length(left) => self.length + left,
            _ => self.length,
        }
    }

    /// What is to be written now: a large piece, or the last.
    pub(crate) fn next_write(&mut self, buffers: &mut Buffers) -> Option<Outgoing> {
        let is_ready = self.spool.as_ref().is_some_and(SpoolFile::is_ready);
        let is_last = self.has_arrived() && !self.bytes.is_empty();
        let is_due = is_ready && (is_last || self.bytes.len() >= self.piece / 2);
        is_due.then(|| {
            let next = Content::buffer(self.piece, buffers);
            let bytes = std::mem::replace(&mut self.bytes, next);
            Outgoing::new(bytes, Body::None)
        })
    }

    /// Takes what belongs to the content from the start of `input`; says how many bytes.
    pub(crate) fn absorb(&mut self, input: &[u8]) -> Result<usize, Reject> {
        match &mut self.rest {
            Rest::Whole => Ok(0),
            Rest::Length(left) => {
                let count = input.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                extend(&mut self.bytes, &input[..count]);
                self.length += count as u64;
                *left -= count as u64;
                if *left == 0 {
                    self.rest = Rest::Whole;
                }
                Ok(count)
            }
            Rest::Chunked(decoder) => {
                let mut at = 0;
                loop {
                    let (consumed, piece) = decoder.step(&input[at..])?;
                    at += consumed;
                    match piece {
                        Piece::Data(data) => {
                            self.length += data.len() as u64;
                            if self.length > self.max {
                                return Err(Reject::ContentTooLarge);
                            }
                            extend(&mut self.bytes, data);
                        }
                        Piece::More => return Ok(at),
                        Piece::End => {
                            self.rest = Rest::Whole;
                            return Ok(at);
                        }
                    }
                }
            }
        }
    }

    /// The rest is to be received into a buffer directly, which is worth it: much is missing and
    /// its length is known.
    pub(crate) fn wants_buffer(&self) -> bool {
        matches!(self.rest, Rest::Length(left) if left >= Content::WORTH_IT as u64)
    }

    /// That buffer, if it is wanted. Give it back with [`Content::filled`].
    pub(crate) fn take_buffer(&mut self, buffers: &mut Buffers) -> Option<Vec<u8>> {
        match self.rest {
            Rest::Length(left) if left >= Content::WORTH_IT as u64 => {
                let mut bytes = std::mem::take(&mut self.bytes);
                if self.spool.is_none() {
                    // Grows with what arrives: a client cannot reserve memory by announcing
                    // content.
                    let quarter = bytes.len() as u64 / 4;
                    bytes.reserve_exact(left.min(quarter.max(Content::STEP)) as usize);
                } else if bytes.capacity() < self.piece {
                    let mut piece = Content::buffer(self.piece, buffers);
                    piece.extend_from_slice(&bytes);
                    buffers.give(std::mem::replace(&mut bytes, piece));
                }
                self.lent = bytes.capacity();
                Some(bytes)
            }
            _ => None,
        }
    }

    /// `count` more bytes are in `buf`. Says what came behind the content.
    pub(crate) fn filled(&mut self, mut buf: Vec<u8>, count: usize) -> Vec<u8> {
        let Rest::Length(left) = &mut self.rest else { unreachable!("only known lengths") };
        let surplus = count.saturating_sub(usize::try_from(*left).unwrap_or(usize::MAX));
        let behind = buf.split_off(buf.len() - surplus);
        *left -= (count - surplus) as u64;
        self.length += (count - surplus) as u64;
        if *left == 0 {
            self.rest = Rest::Whole;
        }
        self.lent = 0;
        self.bytes = buf;
        behind
    }

    pub(crate) fn into_whole(mut self) -> (Whole, Action) {
        debug_assert!(self.is_whole());
        let file = self.spool.as_ref().and_then(|spool| spool.file().cloned());
        if file.is_some() {
            http::announce_file(&mut self.head);
        }
        let Content { head, bytes: content, meta, action, .. } = self;
        let content_length = Some(self.length);
        (Whole { head, content, file, content_length, meta }, action)
    }

    fn buffer(piece: usize, buffers: &mut Buffers) -> Vec<u8> {
        match piece {
            Buffers::SMALL => buffers.small(),
            _ => buffers.large(),
        }
    }

    /// What nobody will need.
    pub(crate) fn dispose(self, buffers: &mut Buffers) {
        buffers.give(self.head);
        buffers.give(self.bytes);
    }

    /// A buffer to receive into grows by so much, or by a quarter.
    const STEP: u64 = 64 << 10;
    /// Fewer bytes are received like any others.
    const WORTH_IT: usize = 8 << 10;
}

/// Grows by a quarter: much less is unused in the end than if a buffer doubled.
fn extend(bytes: &mut Vec<u8>, more: &[u8]) {
    if bytes.capacity() - bytes.len() < more.len() {
        bytes.reserve_exact(more.len().max(bytes.len() / 4));
    }
    bytes.extend_from_slice(more);
}
