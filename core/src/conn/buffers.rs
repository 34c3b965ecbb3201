//! Buffers that are used again: none is allocated per request in the steady state.
//!
//! Owns free lists of three sizes. Must not know what the buffers are for.

use super::relay::Piece;
use crate::io::Outgoing;
use std::collections::VecDeque;
use std::ops::RangeInclusive;

/// Free lists of one reactor.
#[derive(Default)]
pub(crate) struct Buffers {
    small: Vec<Vec<u8>>,
    large: Vec<Vec<u8>>,
    huge: Vec<Vec<u8>>,
    /// Bytes in those three.
    free: usize,
    queues: Vec<VecDeque<Piece>>,
    outgoing_queues: Vec<VecDeque<Outgoing>>,
}

impl Buffers {
    /// Room for a head, and for content small enough to be copied behind it.
    pub(crate) const SMALL: usize = 4 << 10;
    /// Reads of this size relay a response to a client that takes it; larger ones gain nothing.
    pub(crate) const LARGE: usize = 64 << 10;
    /// Reads of this size relay a response to a file: there each write costs two switches between
    /// threads, however large it is. A Unix socket hardly holds more.
    pub(crate) const HUGE: usize = 256 << 10;

    /// An empty buffer with [`Buffers::SMALL`] bytes of room.
    pub(crate) fn small(&mut self) -> Vec<u8> {
        Buffers::take(&mut self.small, &mut self.free, Buffers::SMALL)
    }

    /// An empty buffer with [`Buffers::LARGE`] bytes of room.
    pub(crate) fn large(&mut self) -> Vec<u8> {
        Buffers::take(&mut self.large, &mut self.free, Buffers::LARGE)
    }

    /// An empty buffer with [`Buffers::HUGE`] bytes of room.
    pub(crate) fn huge(&mut self) -> Vec<u8> {
        Buffers::take(&mut self.huge, &mut self.free, Buffers::HUGE)
    }

    /// One of these three.
    pub(crate) fn of_size(&mut self, size: usize) -> Vec<u8> {
        match size {
            Buffers::SMALL => self.small(),
            Buffers::LARGE => self.large(),
            _ => self.huge(),
        }
    }

    /// An empty queue.
    pub(crate) fn queue(&mut self) -> VecDeque<Piece> {
        self.queues.pop().unwrap_or_default()
    }

    /// Takes a buffer back. Unusual sizes, and more than are useful, are freed.
    pub(crate) fn give(&mut self, mut buf: Vec<u8>) {
        buf.clear();
        let (list, most) = match buf.capacity() {
            Buffers::HUGE => (&mut self.huge, 16),
            size if LARGES.contains(&size) => (&mut self.large, 64),
            size if SMALLS.contains(&size) => (&mut self.small, 1024),
            _ => return,
        };
        if list.len() < most {
            self.free += buf.capacity();
            list.push(buf);
        }
    }

    /// Bytes that nobody uses.
    pub(crate) fn free_bytes(&self) -> u64 {
        self.free as u64
    }

    /// Frees them.
    pub(crate) fn shed(&mut self) {
        [&mut self.small, &mut self.large, &mut self.huge].into_iter().for_each(Vec::clear);
        self.free = 0;
    }

    fn take(list: &mut Vec<Vec<u8>>, free: &mut usize, size: usize) -> Vec<u8> {
        let Some(buf) = list.pop() else { return Vec::with_capacity(size) };
        *free -= buf.capacity();
        buf
    }

    /// Takes back what a send owned.
    pub(crate) fn give_outgoing(&mut self, out: Outgoing) {
        self.give(out.head);
        if let crate::io::Body::Owned(buf, _) = out.body {
            self.give(buf);
        }
    }

    /// Takes back what a piece owns.
    pub(crate) fn give_piece(&mut self, piece: Piece) {
        if let Piece::Bytes(out) = piece {
            self.give_outgoing(out);
        }
    }

    /// An empty queue of bytes.
    pub(crate) fn outgoing_queue(&mut self) -> VecDeque<Outgoing> {
        self.outgoing_queues.pop().unwrap_or_default()
    }

    /// Takes such a queue back.
    pub(crate) fn give_outgoing_queue(&mut self, mut queue: VecDeque<Outgoing>) {
        queue.drain(..).for_each(|out| self.give_outgoing(out));
        if self.outgoing_queues.len() < 64 {
            self.outgoing_queues.push(queue);
        }
    }

    /// Takes a queue back.
    pub(crate) fn give_queue(&mut self, mut queue: VecDeque<Piece>) {
        queue.drain(..).for_each(|piece| self.give_piece(piece));
        if self.queues.len() < 1024 {
            self.queues.push(queue);
        }
    }
}

/// Capacities that are worth keeping.
const SMALLS: RangeInclusive<usize> = Buffers::SMALL..=4 * Buffers::SMALL;
const LARGES: RangeInclusive<usize> = Buffers::LARGE..=2 * Buffers::LARGE;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_empty() {
        let mut buffers = Buffers::default();
        let mut buf = buffers.small();
        buf.extend_from_slice(b"secret of another client");
        let place = buf.as_ptr();
        buffers.give(buf);
        let again = buffers.small();
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        buffers.give(Vec::with_capacity(10 << 20));
        assert!(buffers.large.is_empty(), "a huge buffer is not kept");
        assert_eq!(buffers.free_bytes(), 0);
        buffers.give(again);
        assert_eq!(buffers.free_bytes(), Buffers::SMALL as u64);
        buffers.shed();
        assert_eq!(buffers.free_bytes(), 0);
    }
}
