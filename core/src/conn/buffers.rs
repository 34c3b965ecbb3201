//! Buffers that are used again: none is allocated per request in the steady state.
//!
//! Owns free lists of four sizes. Must not know what the buffers are for.

use super::piece::Piece;
use super::spare::Spare;
use crate::io::Outgoing;
use std::collections::VecDeque;
use std::ops::{Range, RangeInclusive};

/// Free lists of one reactor.
pub(crate) struct Buffers {
    small: Spare<Vec<u8>>,
    medium: Spare<Vec<u8>>,
    large: Spare<Vec<u8>>,
    huge: Spare<Vec<u8>>,
    /// Bytes in those four.
    free: usize,
    queues: Spare<VecDeque<Piece>>,
}

impl Buffers {
    /// Room for a head, and for content small enough to be copied behind it.
    pub(crate) const SMALL: usize = 4 << 10;
    /// Reads of this size relay a response while memory is scarce: so much is held for a client
    /// that does not take it.
    pub(crate) const MEDIUM: usize = 16 << 10;
    /// Reads of this size relay a response to a client that takes it; larger ones gain nothing.
    pub(crate) const LARGE: usize = 64 << 10;
    /// Reads of this size relay a response to a file: there each write costs two switches between
    /// threads, however large it is. A Unix socket hardly holds more.
    pub(crate) const HUGE: usize = 256 << 10;

    /// An empty buffer with [`Buffers::SMALL`] bytes of room.
    pub(crate) fn small(&mut self) -> Vec<u8> {
        Buffers::take(&mut self.small, &mut self.free, Buffers::SMALL)
    }

    /// An empty buffer with [`Buffers::MEDIUM`] bytes of room.
    pub(crate) fn medium(&mut self) -> Vec<u8> {
        Buffers::take(&mut self.medium, &mut self.free, Buffers::MEDIUM)
    }

    /// An empty buffer with [`Buffers::LARGE`] bytes of room.
    pub(crate) fn large(&mut self) -> Vec<u8> {
        Buffers::take(&mut self.large, &mut self.free, Buffers::LARGE)
    }

    /// An empty buffer with [`Buffers::HUGE`] bytes of room.
    pub(crate) fn huge(&mut self) -> Vec<u8> {
        Buffers::take(&mut self.huge, &mut self.free, Buffers::HUGE)
    }

    /// One of these four.
    pub(crate) fn of_size(&mut self, size: usize) -> Vec<u8> {
        match size {
            Buffers::SMALL => self.small(),
            Buffers::MEDIUM => self.medium(),
            Buffers::LARGE => self.large(),
            _ => self.huge(),
        }
    }

    /// An empty queue.
    pub(crate) fn queue(&mut self) -> VecDeque<Piece> {
        self.queues.take().unwrap_or_default()
    }

    /// Takes a buffer back. Unusual sizes, and more than are useful, are dropped.
    pub(crate) fn give(&mut self, mut buf: Vec<u8>) {
        buf.clear();
        let size = buf.capacity();
        let list = match size {
            Buffers::HUGE => &mut self.huge,
            size if LARGES.contains(&size) => &mut self.large,
            size if MEDIUMS.contains(&size) => &mut self.medium,
            size if SMALLS.contains(&size) => &mut self.small,
            _ => return,
        };
        if list.give(buf) {
            self.free += size;
        }
    }

    /// Bytes that nobody uses.
    pub(crate) fn free_bytes(&self) -> u64 {
        self.free as u64
    }

    /// Drops them. How many bytes.
    pub(crate) fn shed(&mut self) -> usize {
        self.drop_each(|list| list.clear(Vec::capacity))
    }

    /// Drops what nobody has needed since the last call. How many bytes.
    pub(crate) fn trim(&mut self) -> usize {
        self.queues.trim(|_| 0);
        self.drop_each(|list| list.trim(Vec::capacity))
    }

    /// Whether [`Buffers::trim`] may have something to do sooner or later.
    pub(crate) fn has_spare(&self) -> bool {
        self.free > 0 || !self.queues.is_empty()
    }

    fn drop_each(&mut self, which: impl Fn(&mut Spare<Vec<u8>>) -> usize) -> usize {
        let lists = [&mut self.small, &mut self.medium, &mut self.large, &mut self.huge];
        let bytes = lists.into_iter().map(which).sum();
        self.free -= bytes;
        bytes
    }

    fn take(list: &mut Spare<Vec<u8>>, free: &mut usize, size: usize) -> Vec<u8> {
        let Some(buf) = list.take() else { return Vec::with_capacity(size) };
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

    /// Takes a queue back.
    pub(crate) fn give_queue(&mut self, mut queue: VecDeque<Piece>) {
        queue.drain(..).for_each(|piece| self.give_piece(piece));
        self.queues.give(queue);
    }
}

impl Default for Buffers {
    fn default() -> Buffers {
        Buffers {
            small: Spare::new(1024),
            medium: Spare::new(256),
            large: Spare::new(64),
            huge: Spare::new(16),
            free: 0,
            queues: Spare::new(1024),
        }
    }
}

/// Capacities that are worth keeping.
const SMALLS: Range<usize> = Buffers::SMALL..Buffers::MEDIUM;
const MEDIUMS: RangeInclusive<usize> = Buffers::MEDIUM..=2 * Buffers::MEDIUM;
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
        assert_eq!(buffers.free_bytes(), 0, "a huge buffer is not kept");
        buffers.give(again);
        assert_eq!(buffers.free_bytes(), Buffers::SMALL as u64);
        buffers.shed();
        assert_eq!(buffers.free_bytes(), 0);
    }

    #[test]
    fn what_has_not_been_needed_lately_is_dropped() {
        let mut buffers = Buffers::default();
        let four: Vec<_> = (0..4).map(|_| buffers.large()).collect();
        four.into_iter().for_each(|buf| buffers.give(buf));
        assert!(buffers.has_spare());
        assert_eq!(buffers.trim(), 0, "just used");
        let one = buffers.large();
        buffers.give(one);
        assert_eq!(buffers.trim(), 3 * Buffers::LARGE);
        assert_eq!(buffers.free_bytes(), Buffers::LARGE as u64);
        assert_eq!(buffers.trim(), Buffers::LARGE);
        assert!(!buffers.has_spare());
    }
}
