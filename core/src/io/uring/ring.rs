//! One io_uring: its two queues and entering the kernel.
//!
//! Owns the ring and the message headers of queued sends. Must not know what the entries mean.

use super::patience::Want;
use super::{SetupError, UringOptions};
use crate::io::transit::TransitPool;
use crate::io::{Errno, sys};
use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{
    Builder, CompletionQueue, EnterFlags, IoUring, SubmissionQueue, Submitter, cqueue, squeue,
    types,
};
use std::collections::VecDeque;
use std::time::Duration;
use std::{io, mem, ptr};

/// A ring, for the thread that made it (`IORING_SETUP_SINGLE_ISSUER`).
pub(super) struct Ring {
    submitter: Submitter<'static>,
    queue: SubmissionQueue<'static>,
    completions: CompletionQueue<'static>,
    /// Taken out of a full completion queue, to be returned first.
    saved: VecDeque<cqueue::Entry>,
    /// One header per place in the submission queue, so that it stays put until the kernel has
    /// consumed the entry, which copies it (`IORING_FEAT_SUBMIT_STABLE`).
    messages: Box<[Message]>,
    pushed: usize,
    enter_flags: EnterFlags,
    /// The kernel can wait for several completions only so long (Linux 6.12).
    has_min_wait: bool,
    /// What the three above borrow. Dropped after them, as the last field.
    _memory: Memory,
}

/// Header and parts of a sendmsg(2).
pub(super) struct Message {
    header: libc::msghdr,
    parts: [libc::iovec; 3],
}

impl Ring {
    pub(super) fn new(options: &UringOptions) -> Result<Ring, SetupError> {
        Ring::build(options).map_err(|error| SetupError::from_errno(sys::errno_of(&error)))
    }

    fn build(options: &UringOptions) -> io::Result<Ring> {
        let ring = builder(options, true).build(options.submissions).or_else(|error| {
            // IORING_SETUP_NO_SQARRAY came with Linux 6.6, all the others until 6.1.
            match error.raw_os_error() {
                Some(libc::EINVAL) => builder(options, false).build(options.submissions),
                _ => Err(error),
            }
        })?;
        let params = ring.params();
        if !params.is_feature_submit_stable() || !params.is_feature_nodrop() {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let mut enter_flags = EnterFlags::GETEVENTS;
        enter_flags.set(EnterFlags::NO_IOWAIT, params.is_feature_no_iowait());
        let has_min_wait = params.is_feature_min_timeout();
        let places = params.sq_entries() as usize;

        let memory = Memory(Box::into_raw(Box::new(ring)));
        // SAFETY: the ring lives until `Memory` is dropped, which happens after the three parts,
        // and nobody else uses it in between.
        let (mut submitter, queue, completions) = unsafe { &mut *memory.0 }.split();
        // Saves a look-up of the descriptor per call. A thread has room for 16 rings: no error.
        let _ = submitter.register_ring_fd();
        submitter
            .register_iowq_max_workers(&mut [options.bounded_workers, options.unbounded_workers])?;
        Ok(Ring {
            submitter,
            queue,
            completions,
            saved: VecDeque::new(),
            messages: (0..places).map(|_| Message::empty()).collect(),
            pushed: 0,
            enter_flags,
            has_min_wait,
            _memory: memory,
        })
    }

    /// Makes `pool` the buffer group [`TRANSIT_GROUP`].
    ///
    /// # Safety
    ///
    /// The pool must outlive the ring.
    pub(super) unsafe fn register(&self, pool: &TransitPool) -> Result<(), SetupError> {
        // SAFETY: the address is that of `count` entries; the caller keeps them until the ring is
        // gone.
        unsafe {
            self.submitter.register_buf_ring_with_flags(
                pool.address(),
                pool.count(),
                TRANSIT_GROUP,
                0,
            )
        }
        .map_err(|error| SetupError::from_errno(sys::errno_of(&error)))
    }

    /// Makes room for one entry, by submitting if need be. Returns the message header that belongs
    /// to its place.
    pub(super) fn reserve(&mut self) -> Result<&mut Message, Errno> {
        for _ in 0..RESERVE_ATTEMPTS {
            if !self.queue.is_full() {
                let place = self.pushed % self.messages.len();
                return Ok(&mut self.messages[place]);
            }
            self.enter(Want::NOTHING, None)?;
            if self.queue.is_full() {
                // EBUSY: the kernel holds back completions for which the queue has no room.
                self.saved.extend(&mut self.completions);
            }
        }
        Err(Errno(libc::EBUSY))
    }

    /// Queues an entry for which [`Ring::reserve`] has made room.
    ///
    /// # Safety
    ///
    /// What the entry points to must stay valid until its completion.
    pub(super) unsafe fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: as the caller promises.
        unsafe { self.queue.push(entry) }.expect("room has been reserved");
        self.pushed = self.pushed.wrapping_add(1);
    }

    /// Whether entering the kernel would do anything: entries to submit, task work to run, or
    /// completions that it holds back.
    pub(super) fn has_work(&self) -> bool {
        !self.queue.is_empty() || self.queue.taskrun() || self.queue.cq_overflow()
    }

    pub(super) fn has_completions(&mut self) -> bool {
        self.completions.sync();
        !self.saved.is_empty() || !self.completions.is_empty()
    }

    /// Submits, runs deferred task work, and waits for what is wanted until `timeout`.
    pub(super) fn enter(&mut self, want: Want, timeout: Option<Duration>) -> Result<(), Errno> {
        let want = if self.has_min_wait { want } else { want.at_once() };
        self.queue.sync();
        self.completions.sync();
        let count = self.queue.len() as u32;
        // SAFETY: the arguments of the extended form live until the call returns; the other form
        // has none.
        let result = unsafe {
            match timeout {
                Some(timeout) => {
                    let timeout = Timespec::from(timeout);
                    let arguments =
                        SubmitArgs::new().timespec(&timeout).min_wait_usec(want.microseconds);
                    let flags = self.enter_flags | EnterFlags::EXT_ARG;
                    self.submitter.enter(count, want.count, flags.bits(), Some(&arguments))
                }
                None => {
                    let flags = self.enter_flags.bits();
                    self.submitter.enter::<libc::sigset_t>(count, want.at_once().count, flags, None)
                }
            }
        };
        self.queue.sync();
        self.completions.sync();
        if self.queue.is_empty() {
            // The same few headers again, which are still in the cache.
            self.pushed = 0;
        }
        match result.map_err(|error| sys::errno_of(&error)) {
            Ok(_) | Err(Errno(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN)) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// The next completion, if one is there.
    pub(super) fn next(&mut self) -> Option<cqueue::Entry> {
        self.saved.pop_front().or_else(|| self.completions.next())
    }

    /// Cancels everything in flight; the operations complete.
    pub(super) fn cancel_all(&self) {
        let timeout = Some(Timespec::new());
        // ENOENT: nothing was in flight. ETIME: something is still ending.
        let _ = self.submitter.register_sync_cancel(timeout, types::CancelBuilder::any());
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // A registered ring lives as long as its thread otherwise.
        let _ = self.submitter.unregister_ring_fd();
    }
}

impl Message {
    fn empty() -> Message {
        // SAFETY: both consist of integers and pointers, for which zero is a value.
        unsafe { mem::zeroed() }
    }

    /// Pieces as a vector.
    pub(super) fn parts(&mut self, pieces: [&[u8]; 3]) -> &[libc::iovec; 3] {
        self.parts = pieces.map(|piece| libc::iovec {
            iov_base: piece.as_ptr().cast_mut().cast(),
            iov_len: piece.len(),
        });
        &self.parts
    }

    /// Points the header at pieces.
    pub(super) fn describe(&mut self, pieces: [&[u8]; 3]) -> *const libc::msghdr {
        self.parts(pieces);
        self.header.msg_iov = self.parts.as_mut_ptr();
        self.header.msg_iovlen = self.parts.len();
        ptr::from_ref(&self.header)
    }
}

/// A ring on the heap, so that its parts can be kept beside it.
struct Memory(*mut IoUring);

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: made by `Box::into_raw`, and dropped once.
        drop(unsafe { Box::from_raw(self.0) });
    }
}

/// The buffer group of the transit pool.
pub(super) const TRANSIT_GROUP: u16 = 0;

const RESERVE_ATTEMPTS: usize = 64;

fn builder(options: &UringOptions, no_sqarray: bool) -> Builder {
    let mut builder = IoUring::builder();
    builder
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .setup_submit_all()
        .setup_cqsize(options.completions)
        .dontfork();
    if no_sqarray {
        builder.setup_no_sqarray();
    }
    builder
}
