//! The floor: an io_uring loop that parses nothing and answers whatever comes with the same bytes.
//!
//! Owns the least that a server on this kernel can do for a request: a receive that stays armed,
//! one send, one system call for all connections that are ready. Whoever is measured beside it
//! shows what parsing, time-outs, limits and files cost. Must not know HTTP.
#![allow(unsafe_code)]

use io_uring::types::{BufRingEntry, Fd};
use io_uring::{IoUring, cqueue, opcode, squeue};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};

/// Answers at `port` with the content of `file`, until it is killed.
///
/// # Errors
/// The port is taken, the file is not there, or the kernel has no io_uring.
pub(crate) fn listen(port: u16, file: &Path) -> io::Result<()> {
    let answer = std::fs::read(file)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    let mut ring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_cqsize(16 << 10)
        .build(4096)?;
    let mut buffers = Buffers::register(&ring)?;
    push(&mut ring, &accept(listener.as_raw_fd()))?;
    let mut completions = Vec::new();
    loop {
        ring.submit_and_wait(1)?;
        completions.extend(ring.completion());
        for completion in completions.drain(..) {
            handle(&mut ring, &mut buffers, &completion, &listener, &answer)?;
        }
    }
}

fn handle(
    ring: &mut IoUring,
    buffers: &mut Buffers,
    completion: &cqueue::Entry,
    listener: &TcpListener,
    answer: &[u8],
) -> io::Result<()> {
    let (kind, fd) = (completion.user_data() >> 32, completion.user_data() as RawFd);
    let stays_armed = cqueue::more(completion.flags());
    match (kind, completion.result()) {
        (ACCEPT, result) => {
            if result >= 0 {
                push(ring, &receive(result))?;
            }
            if !stays_armed {
                push(ring, &accept(listener.as_raw_fd()))?;
            }
        }
        (RECEIVE, 1..) => {
            buffers.give_back(completion.flags());
            push(ring, &send(fd, answer))?;
            if !stays_armed {
                push(ring, &receive(fd))?;
            }
        }
        (RECEIVE, result) if result == -libc::ENOBUFS => push(ring, &receive(fd))?,
        (RECEIVE, _) => {
            // SAFETY: accepted by this loop, and its receive, which has just ended, was the last
            // that knew it.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
        }
        // A client that has gone is seen by the receive.
        _ => {}
    }
    Ok(())
}

fn push(ring: &mut IoUring, entry: &squeue::Entry) -> io::Result<()> {
    // SAFETY: what entries point to, the answer and the buffers, outlives the ring.
    while unsafe { ring.submission().push(entry) }.is_err() {
        ring.submit()?;
    }
    Ok(())
}

fn accept(listener: RawFd) -> squeue::Entry {
    opcode::AcceptMulti::new(Fd(listener)).build().user_data(ACCEPT << 32)
}

fn receive(fd: RawFd) -> squeue::Entry {
    opcode::RecvMulti::new(Fd(fd), GROUP).build().user_data(RECEIVE << 32 | fd as u64)
}

fn send(fd: RawFd, answer: &[u8]) -> squeue::Entry {
    let send = opcode::Send::new(Fd(fd), answer.as_ptr(), answer.len() as u32);
    send.flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL).build().user_data(SEND << 32 | fd as u64)
}

/// The ring of buffers that the kernel receives into. Nobody reads them, so they are all the same.
struct Buffers {
    entries: *mut BufRingEntry,
    memory: *mut libc::c_void,
    tail: u16,
}

impl Buffers {
    fn register(ring: &IoUring) -> io::Result<Buffers> {
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping; it is never unmapped.
        let map =
            |size| unsafe { libc::mmap(std::ptr::null_mut(), size, protection, flags, -1, 0) };
        let entries = map(usize::from(COUNT) * size_of::<BufRingEntry>());
        let memory = map(SIZE as usize);
        if entries == libc::MAP_FAILED || memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: COUNT entries, on a page's boundary, for ever.
        unsafe { ring.submitter().register_buf_ring_with_flags(entries as u64, COUNT, GROUP, 0) }?;
        let mut buffers = Buffers { entries: entries.cast(), memory, tail: 0 };
        (0..COUNT).for_each(|id| buffers.provide(id));
        Ok(buffers)
    }

    fn give_back(&mut self, flags: u32) {
        if let Some(id) = cqueue::buffer_select(flags) {
            self.provide(id);
        }
    }

    fn provide(&mut self, id: u16) {
        // SAFETY: the index is below COUNT, and the kernel does not look at entries from the tail
        // on; the tail is that of this ring and aligned (io_uring_register_buf_ring(3)).
        unsafe {
            let entry = &mut *self.entries.add(usize::from(self.tail % COUNT));
            entry.set_addr(self.memory as u64);
            entry.set_len(SIZE);
            entry.set_bid(id);
            self.tail = self.tail.wrapping_add(1);
            let tail = BufRingEntry::tail(self.entries).cast_mut();
            AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
        }
    }
}

const ACCEPT: u64 = 0;
const RECEIVE: u64 = 1;
const SEND: u64 = 2;
const GROUP: u16 = 0;
/// A power of two.
const COUNT: u16 = 1024;
const SIZE: u32 = 4096;
