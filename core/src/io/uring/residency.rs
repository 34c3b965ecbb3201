//! Whether the next part of a file is in memory, and how the ring brings it there.
//!
//! Owns the probe, and the memory that such reads go to. Must not know what the part is for.
//!
//! sendfile(2) of a part that is not in memory waits for the disk, and everybody else with it. So
//! the part is read through the ring first, to memory that nobody looks at: what counts is that the
//! kernel has it afterwards.

use crate::io::sys;
use crate::io::{Errno, Fd, Seen, SharedFile, Time};
use io_uring::{opcode, squeue, types};
use std::time::Duration;

/// Where reads go whose bytes nobody wants. Any number of them may write at the same time.
pub(super) struct Scratch(Box<[u8]>);

impl Scratch {
    pub(super) fn new() -> Scratch {
        Scratch(vec![0; STEP as usize].into_boxed_slice())
    }

    /// An entry that brings the beginning of a part to memory.
    pub(super) fn read(&mut self, file: &SharedFile, offset: u64, len: u32) -> squeue::Entry {
        let (fd, start) = (types::Fd(file.fd()), self.0.as_mut_ptr());
        opcode::Read::new(fd, start, len.min(STEP as u32)).offset(offset).build()
    }

    /// The kernel may still write to it.
    pub(super) fn leak(&mut self) {
        Box::leak(std::mem::take(&mut self.0));
    }
}

/// How many bytes from `offset` on are in memory, as far as one byte in each step tells: the kernel
/// reads ahead in steps of that size. What has just been seen there is not looked at again. 0: the
/// first one is not, or the file system does not say.
pub(super) fn resident(file: &SharedFile, offset: u64, len: u32, now: Time) -> u32 {
    let mut seen = file.seen();
    let goes_on = now < seen.at.after(FRESH) && (seen.from..=seen.to).contains(&offset);
    if !goes_on {
        seen = Seen { from: offset, to: offset, at: now };
    }
    let end = offset + u64::from(len);
    while seen.to < end && is_resident(file.fd(), seen.to) {
        let next = end.min(seen.to + STEP);
        if next == end && !is_resident(file.fd(), end - 1) {
            break;
        }
        seen.to = next;
    }
    file.set_seen(seen);
    (seen.to.min(end) - offset) as u32
}

/// The end of the file is: nothing has to be waited for.
fn is_resident(file: Fd, offset: u64) -> bool {
    match sys::read_byte_now(file, offset) {
        Ok(_) => true,
        // Let sendfile(2) say what is wrong.
        Err(Errno(errno)) => !matches!(errno, libc::EAGAIN | libc::EOPNOTSUPP),
    }
}

/// Linux's usual read-ahead.
const STEP: u64 = 128 << 10;

/// What is in use leaves memory last, not within this time.
const FRESH: Duration = Duration::from_millis(100);
