//! A response on its way from a worker to a client.
//!
//! Owns the pieces that the client has not taken yet, and how the response ends. The exchange
//! puts in, the client takes out. What is more than `response_memory` goes through the spool; a
//! worker waits for a client only where that cannot be.

use super::backlog::Backlog;
use super::buffers::Buffers;
use super::world::World;
use crate::io::{Body, Errno, Fd, Outgoing, SharedFile, Time, Token};
use crate::limits::Limits;
use std::collections::VecDeque;
use std::rc::Rc;

/// See the module's documentation.
pub(crate) struct Relay {
    ready: VecDeque<Piece>,
    /// Bytes of `ready` in memory.
    bytes: usize,
    /// Behind `ready`.
    backlog: Option<Box<Backlog>>,
    /// The application has not forbidden it.
    pub(crate) may_spool: bool,
    has_spooled: bool,
    end: Option<End>,
    /// The status sent to the client.
    pub(crate) status: u16,
    /// Bytes of content put in.
    pub(crate) content_bytes: u64,
    /// The client's connection outlives this response.
    pub(crate) keep_alive: bool,
    /// Nothing but the end of the connection tells the client where the content ends.
    pub(crate) ends_by_close: bool,
    /// When the request got its slot, and when the response's head had arrived.
    pub(crate) dispatched_at: Option<Time>,
    pub(crate) responded_at: Option<Time>,
}

/// A part of a response.
pub(crate) enum Piece {
    Bytes(Outgoing),
    File { file: Rc<SharedFile>, offset: u64, len: u64 },
}

/// How a response ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Every byte has been put in.
    Complete,
    /// The application failed after its first byte: the client must be able to tell.
    Broken,
    /// Nothing was put in; the client gets an answer of ours.
    Failed(Failure),
}

/// Why a request has no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    QueueFull,
    QueueTimeout,
    /// The same, and no worker was there.
    NoWorker,
    BadGateway,
    Deadline,
}

impl Failure {
    pub(crate) fn status(self) -> u16 {
        match self {
            Failure::QueueFull | Failure::QueueTimeout | Failure::NoWorker => 503,
            Failure::BadGateway => 502,
            Failure::Deadline => 504,
        }
    }
}

impl Relay {
    pub(crate) fn new(buffers: &mut Buffers) -> Relay {
        Relay {
            ready: buffers.queue(),
            bytes: 0,
            backlog: None,
            may_spool: true,
            has_spooled: false,
            end: None,
            status: 0,
            content_bytes: 0,
            keep_alive: true,
            ends_by_close: false,
            dispatched_at: None,
            responded_at: None,
        }
    }

    pub(crate) fn put(&mut self, piece: Outgoing) {
        debug_assert!(self.end.is_none(), "the response has ended");
        match &mut self.backlog {
            Some(backlog) => backlog.put(piece),
            None => {
                self.bytes += piece.remaining();
                self.ready.push_back(Piece::Bytes(piece));
            }
        }
    }

    /// Puts in a part of a file, behind the head only.
    pub(crate) fn put_file(&mut self, file: Rc<SharedFile>, offset: u64, len: u64) {
        debug_assert!(self.end.is_none() && self.backlog.is_none());
        self.ready.push_back(Piece::File { file, offset, len });
    }

    /// Puts in a few bytes, behind the last piece where that costs nothing.
    pub(crate) fn append(&mut self, bytes: &[u8], buffers: &mut Buffers) {
        if !self.add_to_last(bytes) {
            let mut head = buffers.small();
            head.extend_from_slice(bytes);
            self.put(Outgoing::new(head, Body::None));
        }
    }

    /// Puts in a piece that may be much smaller than its buffer.
    pub(crate) fn put_small(&mut self, piece: Vec<u8>, buffers: &mut Buffers) {
        if piece.is_empty() || self.add_to_last(&piece) {
            buffers.give(piece);
        } else {
            self.put(Outgoing::new(piece, Body::None));
        }
    }

    /// As far as its buffer goes: `response_memory` counts bytes, not buffers.
    fn add_to_last(&mut self, bytes: &[u8]) -> bool {
        if let Some(backlog) = &mut self.backlog {
            return backlog.add_to_last(bytes);
        }
        match self.ready.back_mut() {
            Some(Piece::Bytes(Outgoing { head, body: Body::None, .. }))
                if head.capacity() - head.len() >= bytes.len() =>
            {
                head.extend_from_slice(bytes);
                self.bytes += bytes.len();
                true
            }
            _ => false,
        }
    }

    /// How the response ends is known.
    pub(crate) fn is_finished(&self) -> bool {
        self.end.is_some()
    }

    pub(crate) fn finish(&mut self, end: End) {
        self.end.get_or_insert(end);
    }

    pub(crate) fn take(&mut self, buffers: &mut Buffers) -> Option<Piece> {
        let piece = match self.ready.pop_front() {
            Some(piece) => {
                if let Piece::Bytes(out) = &piece {
                    self.bytes -= out.remaining();
                }
                Some(piece)
            }
            None => self.backlog.as_mut()?.take(),
        };
        self.drop_drained(buffers);
        piece
    }

    /// More of the response may be put in.
    pub(crate) fn has_room(&self, limits: &Limits) -> bool {
        match &self.backlog {
            Some(backlog) if !backlog.has_failed() => backlog.has_room(limits.response_max),
            Some(backlog) => self.bytes + backlog.memory() < limits.response_memory,
            None => self.bytes < limits.response_memory,
        }
    }

    /// The client has taken what it can. If memory is full, what still comes goes through a file.
    pub(crate) fn overflow(&mut self, token: Token, w: &mut World) {
        let is_full = self.backlog.is_none() && !self.has_room(&w.limits);
        if is_full && self.may_spool && !self.is_finished() {
            self.backlog = Some(Box::new(Backlog::begin(token, w)));
            if !std::mem::replace(&mut self.has_spooled, true) {
                w.counters.responses_spooled.count();
            }
        }
    }

    /// Writes what waits for that.
    pub(crate) fn spool_on(&mut self, token: Token, w: &mut World) {
        if let Some(backlog) = &mut self.backlog {
            backlog.write_on(token, w);
        }
    }

    /// What is put in now is written to the spool file, unless the client is faster than that.
    pub(crate) fn goes_to_file(&self) -> bool {
        self.backlog.as_ref().is_some_and(|backlog| !backlog.has_failed())
    }

    /// An operation on the spool file is in flight.
    pub(crate) fn is_spooling(&self) -> bool {
        self.backlog.as_ref().is_some_and(|backlog| backlog.is_busy())
    }

    /// The spool file has been made, or not.
    pub(crate) fn on_created(&mut self, result: Result<Fd, Errno>, w: &mut World) {
        self.backlog.as_mut().expect("asked for the file").on_created(result, w);
        self.drop_drained(&mut w.buffers);
    }

    /// A piece has been written to the spool file, or not.
    pub(crate) fn on_written(
        &mut self,
        out: Outgoing,
        result: Result<usize, Errno>,
        token: Token,
        w: &mut World,
    ) {
        let backlog = self.backlog.as_mut().expect("asked for the write");
        backlog.on_written(out, result, token, w);
    }

    /// How the response ended, once everything has been taken.
    pub(crate) fn end(&self) -> Option<End> {
        self.end.filter(|_| self.ready.is_empty() && self.backlog.is_none())
    }

    /// Forgets everything that is not in flight; for a client that has gone.
    pub(crate) fn clear(&mut self, buffers: &mut Buffers) {
        self.bytes = 0;
        for piece in self.ready.drain(..) {
            buffers.give_piece(piece);
        }
        if let Some(backlog) = &mut self.backlog {
            backlog.clear(buffers);
        }
        self.drop_drained(buffers);
    }

    pub(crate) fn dispose(mut self, buffers: &mut Buffers) {
        debug_assert!(!self.is_spooling());
        self.clear(buffers);
        buffers.give_queue(self.ready);
    }

    /// Memory is enough again. The file goes, so that no long stream makes it grow for ever.
    fn drop_drained(&mut self, buffers: &mut Buffers) {
        let is_over = |backlog: &mut Box<Backlog>| self.ready.is_empty() && backlog.is_drained();
        if let Some(backlog) = self.backlog.take_if(is_over) {
            backlog.dispose(buffers);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_in_drops_fills_its_buffers() {
        let mut buffers = Buffers::default();
        let mut relay = Relay::new(&mut buffers);
        for _ in 0..10_000 {
            let mut drop = buffers.small();
            drop.extend_from_slice(b"1\r\nx\r\n");
            relay.put_small(drop, &mut buffers);
        }
        assert_eq!(relay.bytes, 60_000);
        let mut taken = Vec::new();
        while let Some(Piece::Bytes(piece)) = relay.take(&mut buffers) {
            assert!(piece.head.capacity() <= 2 * Buffers::SMALL);
            taken.push(piece.remaining());
        }
        assert_eq!(taken.iter().sum::<usize>(), 60_000);
        assert!(taken.len() <= 60_000 / Buffers::SMALL + 1, "{} buffers", taken.len());
        assert_eq!(relay.bytes, 0);
    }
}
