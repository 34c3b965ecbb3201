//! The transit buffers of one simulated reactor.
//!
//! Owns their memory and who has them. Must not know sockets.

use super::super::Transit;
use std::cell::Cell;
use std::rc::Rc;

/// Number and size of a reactor's transit buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TransitSize {
    pub(crate) buffers: u16,
    /// Bytes of each.
    pub(crate) bytes: usize,
}

impl TransitSize {
    /// As the real backend has them.
    pub(crate) const USUAL: TransitSize = TransitSize { buffers: 256, bytes: 4096 };
    /// So few that they run out.
    pub(crate) const SCARCE: TransitSize = TransitSize { buffers: 8, bytes: 512 };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    Pool,
    /// Filled; the completion has not been delivered.
    Kernel,
    /// Delivered, to be recycled before the next turn.
    Reactor,
}

pub(super) struct TransitPool {
    memory: Vec<u8>,
    bytes: usize,
    holders: Vec<Holder>,
    free: Vec<u16>,
    lent: usize,
    /// Buffers outside the pool; the kernel's ring has a clone.
    outstanding: Rc<Cell<usize>>,
}

impl TransitPool {
    pub(super) fn new(size: TransitSize, outstanding: Rc<Cell<usize>>) -> TransitPool {
        let count = usize::from(size.buffers);
        assert!(size.bytes > 0, "simulator: transit buffers need room");
        TransitPool {
            memory: vec![0; count * size.bytes],
            bytes: size.bytes,
            holders: vec![Holder::Pool; count],
            free: (0..size.buffers).rev().collect(),
            lent: 0,
            outstanding,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.free.is_empty()
    }

    /// Bytes of one buffer.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Fills a buffer, which the pool must have; `fill` says how many bytes it wrote.
    pub(super) fn fill<E>(
        &mut self,
        fill: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<Option<Transit>, E> {
        let buffer = *self.free.last().expect("the caller has looked");
        let start = usize::from(buffer) * self.bytes;
        let len = fill(&mut self.memory[start..start + self.bytes])?;
        if len == 0 {
            return Ok(None);
        }
        self.free.pop();
        self.holders[usize::from(buffer)] = Holder::Kernel;
        self.outstanding.set(self.outstanding.get() + 1);
        Ok(Some(Transit { buffer, len: len as u32 }))
    }

    /// The reactor gets this piece now.
    pub(super) fn lend(&mut self, piece: &Transit) {
        self.holders[usize::from(piece.buffer)] = Holder::Reactor;
        self.lent += 1;
    }

    pub(super) fn read(&self, piece: &Transit) -> &[u8] {
        self.assert_lent(piece, "read");
        let start = usize::from(piece.buffer) * self.bytes;
        &self.memory[start..start + piece.len as usize]
    }

    pub(super) fn recycle(&mut self, piece: Transit) {
        self.assert_lent(&piece, "recycled");
        self.holders[usize::from(piece.buffer)] = Holder::Pool;
        self.free.push(piece.buffer);
        self.lent -= 1;
        self.outstanding.set(self.outstanding.get() - 1);
    }

    /// Transit buffers never store anything.
    pub(super) fn assert_recycled(&self) {
        assert!(self.lent == 0, "simulator: {} transit buffers kept over a turn", self.lent);
    }

    fn assert_lent(&self, piece: &Transit, what: &str) {
        let holder = self.holders.get(usize::from(piece.buffer));
        assert!(
            holder == Some(&Holder::Reactor),
            "simulator: transit buffer {} {what}, but its holder is {holder:?}",
            piece.buffer,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool() -> TransitPool {
        TransitPool::new(TransitSize { buffers: 2, bytes: 4 }, Rc::default())
    }

    fn lent(pool: &mut TransitPool, content: &[u8]) -> Transit {
        let fill = |buf: &mut [u8]| {
            buf[..content.len()].copy_from_slice(content);
            Ok::<_, ()>(content.len())
        };
        let piece = pool.fill(fill).unwrap().unwrap();
        pool.lend(&piece);
        piece
    }

    #[test]
    fn buffers_go_out_and_come_back() {
        let mut pool = pool();
        let one = lent(&mut pool, b"one");
        let two = lent(&mut pool, b"two");
        assert!(pool.is_empty());
        assert_eq!((pool.read(&one), pool.read(&two)), (&b"one"[..], &b"two"[..]));
        assert_eq!(pool.outstanding.get(), 2);
        pool.recycle(one);
        pool.recycle(two);
        pool.assert_recycled();
        assert_eq!(pool.outstanding.get(), 0);
    }

    #[test]
    #[should_panic(expected = "transit buffer 0 recycled, but its holder is Some(Pool)")]
    fn recycling_twice_is_a_mistake() {
        let mut pool = pool();
        let piece = lent(&mut pool, b"x");
        let again = Transit { buffer: piece.buffer, len: piece.len };
        pool.recycle(piece);
        pool.recycle(again);
    }

    #[test]
    #[should_panic(expected = "1 transit buffers kept over a turn")]
    fn keeping_one_is_a_mistake() {
        let mut pool = pool();
        lent(&mut pool, b"x");
        pool.assert_recycled();
    }
}
