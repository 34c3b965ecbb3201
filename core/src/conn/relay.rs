//! A response on its way from a worker to a client.
//!
//! Owns the pieces that the client has not taken yet, and how the response ends. The exchange
//! puts in, the client takes out; neither waits for the other within `response_memory`.

use super::buffers::Buffers;
use crate::io::{Body, Outgoing, Time};
use std::collections::VecDeque;

/// See the module's documentation.
pub(crate) struct Relay {
    ready: VecDeque<Outgoing>,
    bytes: usize,
    end: Option<End>,
    /// The status sent to the client.
    pub(crate) status: u16,
    /// Bytes of content put in.
    pub(crate) content_bytes: u64,
    /// The client's connection outlives this response.
    pub(crate) keep_alive: bool,
    /// When the request got its slot, and when the response's head had arrived.
    pub(crate) dispatched_at: Option<Time>,
    pub(crate) responded_at: Option<Time>,
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
            end: None,
            status: 0,
            content_bytes: 0,
            keep_alive: true,
            dispatched_at: None,
            responded_at: None,
        }
    }

    pub(crate) fn put(&mut self, piece: Outgoing) {
        debug_assert!(self.end.is_none(), "the response has ended");
        self.bytes += piece.remaining();
        self.ready.push_back(piece);
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
        match self.ready.back_mut() {
            Some(Outgoing { head, body: Body::None, .. })
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

    pub(crate) fn take(&mut self) -> Option<Outgoing> {
        let piece = self.ready.pop_front()?;
        self.bytes -= piece.remaining();
        Some(piece)
    }

    /// Bytes put in and not taken.
    pub(crate) fn waiting(&self) -> usize {
        self.bytes
    }

    /// How the response ended, once everything has been taken.
    pub(crate) fn end(&self) -> Option<End> {
        self.end.filter(|_| self.ready.is_empty())
    }

    /// Forgets everything; for a client that has gone.
    pub(crate) fn clear(&mut self, buffers: &mut Buffers) {
        while let Some(piece) = self.take() {
            buffers.give_outgoing(piece);
        }
    }

    pub(crate) fn dispose(self, buffers: &mut Buffers) {
        buffers.give_queue(self.ready);
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
        assert_eq!(relay.waiting(), 60_000);
        let mut taken = Vec::new();
        while let Some(piece) = relay.take() {
            assert!(piece.head.capacity() <= 2 * Buffers::SMALL);
            taken.push(piece.remaining());
        }
        assert_eq!(taken.iter().sum::<usize>(), 60_000);
        assert!(taken.len() <= 60_000 / Buffers::SMALL + 1, "{} buffers", taken.len());
        assert_eq!(relay.waiting(), 0);
    }
}
