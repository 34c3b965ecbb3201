//! The transit pool: a ring of provided buffers from which the kernel takes one when data arrives.
//!
//! Owns the mapping that holds the ring and its buffers. Must not know who receives. See
//! io_uring_register_buf_ring(3).

#![allow(unsafe_code)]

use super::Transit;
use io_uring::types::BufRingEntry;
use std::io;
use std::mem;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU16, Ordering};

/// Buffers of one size. A buffer belongs to the kernel until a completion names it, then to the
/// holder of the [`Transit`] until it is recycled.
#[derive(Debug)]
pub(super) struct TransitPool {
    /// The ring's entries, then the buffers; page-aligned, zeroed by the kernel.
    mapping: NonNull<u8>,
    /// Bytes to unmap in the end.
    len: usize,
    count: u16,
    size: u32,
    tail: u16,
    /// Buffers that have been handed out and not recycled.
    held: usize,
    used: Use,
}

/// What buffers have been used for since their memory was given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Nothing,
    /// Not since [`TransitPool::trim`] was called last.
    Before,
    Lately,
}

impl TransitPool {
    /// Maps `count` buffers, a power of two up to 32768, of `size` bytes each.
    pub(super) fn new(count: u16, size: u32) -> io::Result<TransitPool> {
        assert!(count.is_power_of_two() && count <= 1 << 15 && size > 0);
        let len = TransitPool::ring_len(count) + usize::from(count) * size as usize;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new anonymous mapping touches no memory of anybody.
        let address = unsafe { libc::mmap(ptr::null_mut(), len, protection, flags, -1, 0) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let mapping = NonNull::new(address.cast()).expect("mmap does not map page zero");
        let mut pool =
            TransitPool { mapping, len, count, size, tail: 0, held: 0, used: Use::Nothing };
        (0..count).for_each(|buffer| pool.provide(buffer));
        Ok(pool)
    }

    /// Where the ring's entries are, for its registration.
    pub(super) fn address(&self) -> u64 {
        self.mapping.as_ptr() as u64
    }

    /// Number of buffers, and of entries of the ring.
    pub(super) fn count(&self) -> u16 {
        self.count
    }

    /// Bytes of one buffer.
    pub(super) fn size(&self) -> u32 {
        self.size
    }

    /// The received bytes of a buffer that the kernel has handed out.
    pub(super) fn bytes(&self, piece: &Transit) -> &[u8] {
        assert!(piece.buffer < self.count && piece.len <= self.size, "not a piece of this pool");
        let start = self.buffer(piece.buffer);
        // SAFETY: the range lies within the mapping, which is initialised. The kernel does not
        // write a buffer between its completion and its recycling; `piece` stands for that time,
        // and recycling needs `&mut self`.
        unsafe { std::slice::from_raw_parts(start, piece.len as usize) }
    }

    /// Gives a buffer back to the kernel.
    pub(super) fn recycle(&mut self, buffer: u16) {
        assert!(buffer < self.count, "not a buffer of this pool");
        self.used = Use::Lately;
        self.held = self.held.saturating_sub(1);
        self.provide(buffer);
    }

    /// The kernel has handed out a buffer with so many bytes.
    pub(super) fn hold(&mut self, buffer: u16, len: u32) -> Transit {
        self.held += 1;
        Transit { buffer, len }
    }

    /// Whether [`TransitPool::trim`] may have something to do sooner or later.
    pub(super) fn has_spare(&self) -> bool {
        self.used != Use::Nothing
    }

    /// Gives the memory of the buffers back to the system, if none has been used since the last
    /// call, and none is held. The kernel has received nothing that the caller does not know of.
    pub(super) fn trim(&mut self) {
        if self.held > 0 {
            return;
        }
        self.used = match self.used {
            Use::Lately => Use::Before,
            Use::Before | Use::Nothing => {
                let len = usize::from(self.count) * self.size as usize;
                // SAFETY: the range is that of the buffers, which nobody reads before they are
                // written again, and no slice of it outlives a use of `self`. The ring's entries,
                // which the kernel has pinned, are on pages of their own.
                unsafe { libc::madvise(self.buffer(0).cast(), len, libc::MADV_DONTNEED) };
                Use::Nothing
            }
        };
    }

    /// Keeps the mapping for ever, for a ring that may still write to it.
    pub(super) fn leak(&mut self) {
        self.len = 0;
    }

    fn provide(&mut self, buffer: u16) {
        let index = usize::from(self.tail & (self.count - 1));
        let base = self.mapping.as_ptr().cast::<BufRingEntry>();
        let address = self.buffer(buffer) as u64;
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the ring has `count` entries at the start of the mapping, the index is below
        // that, and the kernel reads no entry at or behind the tail that it has seen. The tail is
        // an aligned u16 within the first entry, which the setters leave alone.
        unsafe {
            let entry = &mut *base.add(index);
            entry.set_addr(address);
            entry.set_len(self.size);
            entry.set_bid(buffer);
            let tail = BufRingEntry::tail(base).cast_mut();
            AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
        }
    }

    fn buffer(&self, buffer: u16) -> *mut u8 {
        let offset = usize::from(buffer) * self.size as usize;
        // SAFETY: the caller's buffer is below `count`, so the offset lies within the mapping.
        unsafe { self.mapping.as_ptr().add(TransitPool::ring_len(self.count) + offset) }
    }

    /// Bytes of the ring's entries, rounded up so that the buffers begin on a page.
    fn ring_len(count: u16) -> usize {
        (usize::from(count) * mem::size_of::<BufRingEntry>()).next_multiple_of(PAGE)
    }
}

impl Drop for TransitPool {
    fn drop(&mut self) {
        if self.len == 0 {
            return;
        }
        // SAFETY: exactly the mapping made in `new`; no slice of it outlives `self`.
        unsafe { libc::munmap(self.mapping.as_ptr().cast(), self.len) };
    }
}

const PAGE: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_do_not_overlap_each_other_or_the_ring() {
        let pool = TransitPool::new(4, 100).unwrap();
        let mut end = pool.address() + 4 * mem::size_of::<BufRingEntry>() as u64;
        for buffer in 0..4 {
            let start = pool.buffer(buffer) as u64;
            assert!(start >= end);
            end = start + 100;
        }
        assert_eq!(pool.bytes(&Transit { buffer: 3, len: 100 }), [0; 100]);
    }

    #[test]
    fn what_has_not_been_used_for_a_while_is_let_go_of() {
        let mut pool = TransitPool::new(2, 4096).unwrap();
        // SAFETY: within the mapping, and no kernel knows of it.
        let write = |pool: &TransitPool| unsafe { pool.buffer(1).copy_from(b"abc".as_ptr(), 3) };
        write(&pool);
        let piece = pool.hold(1, 3);
        (0..3).for_each(|_| pool.trim());
        assert_eq!(pool.bytes(&piece), b"abc", "somebody has it");
        pool.recycle(1);
        pool.trim();
        assert!(pool.has_spare());
        assert_eq!(pool.bytes(&piece), b"abc", "just used");
        pool.trim();
        assert!(!pool.has_spare());
        assert_eq!(pool.bytes(&piece), [0; 3]);
        write(&pool);
        assert_eq!(pool.bytes(&piece), b"abc");
    }

    #[test]
    fn the_tail_wraps() {
        let mut pool = TransitPool::new(1, 1).unwrap();
        for _ in 0..usize::from(u16::MAX) + 3 {
            pool.recycle(0);
        }
        assert_eq!(pool.tail, 3);
    }

    #[test]
    #[should_panic(expected = "not a piece")]
    fn refuses_a_foreign_piece() {
        TransitPool::new(2, 16).unwrap().bytes(&Transit { buffer: 0, len: 17 });
    }
}
