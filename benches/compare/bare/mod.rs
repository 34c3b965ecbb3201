//! The floor: what a request costs if nobody looks at it.
//!
//! Owns the ring that both floors run on, and the buffers that it receives into: a receive that
//! stays armed, and one system call for all connections that are ready. Whoever is measured beside
//! them shows what parsing, time-outs, limits and files cost. Must not know HTTP.
#![allow(unsafe_code)]

pub(crate) mod relay;
pub(crate) mod responder;

use io_uring::types::{BufRingEntry, Fd};
use io_uring::{IoUring, cqueue, opcode, squeue};
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU16, Ordering};

/// A ring, and the buffers that it receives into.
struct Ring {
    ring: IoUring,
    buffers: Buffers,
}

/// What has happened to one descriptor.
struct Event {
    kind: Kind,
    fd: RawFd,
    /// Bytes, or the descriptor of a connection.
    result: io::Result<i32>,
    /// Of what has been received.
    buffer: Option<u16>,
    /// More of its kind will come without being asked for.
    stays_armed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Accept = 0,
    Receive = 1,
    Send = 2,
    Shutdown = 3,
}

impl Ring {
    /// With `count` buffers, a power of two, of 64 KiB.
    fn new(count: u16, memory: Memory) -> io::Result<Ring> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_cqsize(16 << 10)
            .build(4096)?;
        let buffers = Buffers::register(&ring, count, memory)?;
        Ok(Ring { ring, buffers })
    }

    /// Submits everything, and waits until something has happened.
    fn wait(&mut self, events: &mut Vec<Event>) -> io::Result<()> {
        self.ring.submit_and_wait(1)?;
        events.extend(self.ring.completion().map(|completion| Event::of(&completion)));
        Ok(())
    }

    /// Accepts until the listener is gone.
    fn accept(&mut self, listener: RawFd) -> io::Result<()> {
        self.push(&opcode::AcceptMulti::new(Fd(listener)).build(), Kind::Accept, listener)
    }

    /// Receives until the connection ends, or all buffers are in use.
    fn receive(&mut self, fd: RawFd) -> io::Result<()> {
        self.push(&opcode::RecvMulti::new(Fd(fd), GROUP).build(), Kind::Receive, fd)
    }

    /// Sends all of `bytes`, which must not change or move until that has ended. The next entry
    /// waits for it, if it is so `linked`.
    fn send(&mut self, fd: RawFd, (start, length): Bytes, linked: bool) -> io::Result<()> {
        let send = opcode::Send::new(Fd(fd), start, length);
        let send = send.flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL).build();
        let flags = if linked { squeue::Flags::IO_LINK } else { squeue::Flags::empty() };
        self.push(&send.flags(flags), Kind::Send, fd)
    }

    fn shutdown(&mut self, fd: RawFd, how: i32) -> io::Result<()> {
        self.push(&opcode::Shutdown::new(Fd(fd), how).build(), Kind::Shutdown, fd)
    }

    fn push(&mut self, entry: &squeue::Entry, kind: Kind, fd: RawFd) -> io::Result<()> {
        let entry = entry.clone().user_data((kind as u64) << 32 | fd as u64);
        // SAFETY: what entries point to, answers and buffers, outlives the ring.
        while unsafe { self.ring.submission().push(&entry) }.is_err() {
            self.ring.submit()?;
        }
        Ok(())
    }
}

/// Where bytes begin, and how many there are.
type Bytes = (*const u8, u32);

impl Event {
    fn of(completion: &cqueue::Entry) -> Event {
        let kinds = [Kind::Accept, Kind::Receive, Kind::Send, Kind::Shutdown];
        let result = completion.result();
        Event {
            kind: kinds[(completion.user_data() >> 32) as usize % kinds.len()],
            fd: completion.user_data() as RawFd,
            result: if result < 0 {
                Err(io::Error::from_raw_os_error(-result))
            } else {
                Ok(result)
            },
            buffer: cqueue::buffer_select(completion.flags()),
            stays_armed: cqueue::more(completion.flags()),
        }
    }

    /// The connection that has been accepted.
    fn connection(&self) -> Option<OwnedFd> {
        let fd = self.result.as_ref().ok().filter(|_| self.kind == Kind::Accept)?;
        // SAFETY: the kernel has just made it for us, and each event is looked at once.
        Some(unsafe { OwnedFd::from_raw_fd(*fd) })
    }

    /// Its buffers are all in use.
    fn lacks_buffers(&self) -> bool {
        self.result.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::ENOBUFS))
    }
}

/// Whether buffers are different memory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Memory {
    /// Nobody reads what arrives.
    Shared,
    Each,
}

/// The ring of buffers that the kernel receives into.
struct Buffers {
    entries: *mut BufRingEntry,
    memory: *mut u8,
    count: u16,
    /// From one to the next.
    stride: usize,
    tail: u16,
}

impl Buffers {
    fn register(ring: &IoUring, count: u16, memory: Memory) -> io::Result<Buffers> {
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping; it is never unmapped.
        let map =
            |size| unsafe { libc::mmap(std::ptr::null_mut(), size, protection, flags, -1, 0) };
        let entries = map(usize::from(count) * size_of::<BufRingEntry>());
        let stride = if memory == Memory::Each { SIZE as usize } else { 0 };
        let memory = map(SIZE as usize + stride * usize::from(count));
        if entries == libc::MAP_FAILED || memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: so many entries, on a page's boundary, for ever.
        unsafe { ring.submitter().register_buf_ring_with_flags(entries as u64, count, GROUP, 0) }?;
        let (entries, memory) = (entries.cast(), memory.cast());
        let mut buffers = Buffers { entries, memory, count, stride, tail: 0 };
        (0..count).for_each(|id| buffers.provide(id));
        Ok(buffers)
    }

    /// Where that buffer is.
    fn address(&self, id: u16) -> *mut u8 {
        self.memory.wrapping_add(self.stride * usize::from(id))
    }

    /// Gives it to the kernel.
    fn provide(&mut self, id: u16) {
        let address = self.address(id) as u64;
        // SAFETY: the index is below the number of entries, and the kernel does not look at those
        // from the tail on; the tail is that of this ring and aligned
        // (io_uring_register_buf_ring(3)).
        unsafe {
            let entry = &mut *self.entries.add(usize::from(self.tail % self.count));
            entry.set_addr(address);
            entry.set_len(SIZE);
            entry.set_bid(id);
            self.tail = self.tail.wrapping_add(1);
            let tail = BufRingEntry::tail(self.entries).cast_mut();
            AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
        }
    }
}

const GROUP: u16 = 0;
const SIZE: u32 = 64 << 10;
