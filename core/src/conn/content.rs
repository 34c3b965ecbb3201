//! A request's content while it arrives.
//!
//! Owns the decoding, the bounds, and what goes to the spool. Must not know where the content
//! goes in the end.

use super::buffers::Buffers;
use super::pace::Arrival;
use super::spool::SpoolFile;
use super::world::{Meta, Whole};
use crate::http::{self, ChunkedDecoder, Piece, Reject};
use crate::io::{Body, Budget, Outgoing, Share, Time};
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
    /// What it has of `memory_budget`.
    share: Share,
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
    pub(crate) fn with_length(
        head: Vec<u8>,
        length: u64,
        meta: Meta,
        action: Action,
        budget: &Budget,
    ) -> Content {
        let rest = if length == 0 { Rest::Whole } else { Rest::Length(length) };
        Content::new(head, rest, length, meta, action, budget)
    }

    pub(crate) fn chunked(
        head: Vec<u8>,
        max: u64,
        meta: Meta,
        action: Action,
        budget: &Budget,
    ) -> Content {
        let rest = Rest::Chunked(ChunkedDecoder::default());
        Content::new(head, rest, max, meta, action, budget)
    }

    fn new(
        head: Vec<u8>,
        rest: Rest,
        max: u64,
        meta: Meta,
        action: Action,
        budget: &Budget,
    ) -> Content {
        Content {
            head,
            bytes: Vec::new(),
            length: 0,
            rest,
            max,
            memory: u64::MAX,
            piece: Buffers::LARGE,
            share: budget.share(),
            spool: None,
            arrival: Arrival::begin(Time::default()),
            meta,
            action,
        }
    }

    /// The head has arrived now. `content_memory` bounds what stays in memory, if that is not for
    /// a handler; above half of `memory_budget` it is a small buffer.
    pub(crate) fn begin(mut self, now: Time, limits: &Limits, budget: &Budget) -> Content {
        self.arrival = Arrival::begin(now);
        if budget.used() > limits.memory_budget / 2 {
            self.piece = Buffers::SMALL;
        }
        if matches!(self.action, Action::Pool(_)) {
            self.memory = match self.piece {
                Buffers::SMALL => limits.content_memory.min(Buffers::SMALL as u64),
                _ => limits.content_memory,
            };
        }
        self
    }

    /// Takes its share of `memory_budget`: at once what a pool's content can need, otherwise what
    /// has arrived. False: that is not left.
    pub(crate) fn reserve(&mut self, limits: &Limits) -> bool {
        let spooled = self.memory.max(2 * self.piece as u64);
        let need = match self.rest {
            _ if matches!(self.action, Action::Handler(_)) => self.bytes.len() as u64,
            Rest::Length(left) if self.length + left <= self.memory => self.length + left,
            Rest::Whole if self.spool.is_none() => self.bytes.len() as u64,
            _ => spooled,
        };
        self.share.grow_to(need, limits.memory_budget)
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
            rate_min => self.arrival.is_late_at(self.length, rate_min),
        }
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
        let left = match self.rest {
            Rest::Length(left) => left,
            _ => 0,
        };
        self.spool.is_none() && self.length.saturating_add(left) > self.memory
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
                self.bytes.extend_from_slice(&input[..count]);
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
                            self.bytes.extend_from_slice(data);
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
        const STEP: u64 = 64 << 10;
        match self.rest {
            Rest::Length(left) if left >= Content::WORTH_IT as u64 => {
                let mut bytes = std::mem::take(&mut self.bytes);
                if self.spool.is_none() {
                    // Grows with what arrives: a client cannot reserve memory by announcing
                    // content.
                    bytes.reserve(left.min(STEP.max(bytes.len() as u64)) as usize);
                } else if bytes.capacity() < self.piece {
                    let mut piece = Content::buffer(self.piece, buffers);
                    piece.extend_from_slice(&bytes);
                    buffers.give(std::mem::replace(&mut bytes, piece));
                }
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
        self.bytes = buf;
        behind
    }

    pub(crate) fn into_whole(mut self) -> (Whole, Action) {
        debug_assert!(self.is_whole());
        let file = self.spool.as_ref().and_then(|spool| spool.file().cloned());
        if file.is_some() {
            http::announce_file(&mut self.head);
        }
        let Content { head, bytes: content, mut share, meta, action, .. } = self;
        share.shrink_to(content.len() as u64);
        let (content_length, share) = (Some(self.length), Some(share));
        (Whole { head, content, file, content_length, share, meta }, action)
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

    /// Fewer bytes are received like any others.
    const WORTH_IT: usize = 8 << 10;
}
