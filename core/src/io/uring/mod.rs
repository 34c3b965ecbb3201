//! The kernel, through io_uring: the [`Backend`] of production.
//!
//! Owns one ring, its transit pool, and everything in flight. Must not know HTTP or connections.
//! Needs Linux 6.1; every call must come from the thread that made it.

#![allow(unsafe_code)]

mod ending;
mod in_flight;
mod operation;
mod patience;
mod probe;
mod residency;
mod ring;
mod setup_error;
#[cfg(test)]
mod tests;
mod windows;

use super::creation::Next;
use super::transit::TransitPool;
use super::{
    Backend, Completion, Done, Errno, Fd, Op, Peer, Time, Token, Transit, Wait, Wake, sys,
};
use in_flight::{InFlight, InFlightOp};
use io_uring::{cqueue, opcode, squeue, types};
use operation::Tried;
use patience::Want;
use residency::Scratch;
use ring::Ring;
use std::collections::VecDeque;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;
use windows::{Postponed, Windows, perform};

pub use probe::probe;
pub use setup_error::SetupError;

/// Sizes of a [`Uring`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct UringOptions {
    /// Places in the submission queue. Default: 1024.
    pub(crate) submissions: u32,
    /// Places in the completion queue; more than completions that may come at once. Default: 8192.
    pub(crate) completions: u32,
    /// Buffers of the transit pool, a power of two: few, so that they stay in the cache.
    /// Default: 256.
    pub(crate) transit_count: u16,
    /// Bytes of each. Default: 4096.
    pub(crate) transit_size: u32,
    /// Kernel threads for what may block on a file. Default: 4.
    pub(crate) bounded_workers: u32,
    /// Kernel threads for what may block otherwise. Default: 2.
    pub(crate) unbounded_workers: u32,
}

impl Default for UringOptions {
    fn default() -> Self {
        UringOptions {
            submissions: 1024,
            completions: 8192,
            transit_count: 256,
            transit_size: 4096,
            bounded_workers: 4,
            unbounded_workers: 2,
        }
    }
}

/// A [`Backend`] on io_uring.
pub(crate) struct Uring {
    // First, so that the ring is gone before the memory that it was given.
    ring: Ring,
    transit: TransitPool,
    scratch: Scratch,
    in_flight: InFlight,
    /// Where the wake-up descriptor is read to.
    wake_count: Box<u64>,
    waker: Arc<Waker>,
    /// A wake-up that no call to `turn` has ended by yet.
    woken: bool,
    /// Answers to operations that needed no waiting.
    local: VecDeque<Completion>,
    /// Entries in the ring that no operation stands for: wake-up, closes, cancellations.
    internal: usize,
    /// What the next wait is for.
    want: Want,
    windows: Windows,
    closing: bool,
}

impl Uring {
    /// Makes a ring for the calling thread.
    pub(crate) fn new(options: UringOptions) -> Result<Uring, SetupError> {
        let ring = Ring::new(&options)?;
        let transit = TransitPool::new(options.transit_count, options.transit_size)
            .map_err(|error| SetupError::from_errno(sys::errno_of(&error)))?;
        // SAFETY: both move into the same value, from which the pool is dropped after the ring.
        unsafe { ring.register(&transit)? };
        let waker = Arc::new(Waker(sys::eventfd().map_err(SetupError::from_errno)?));
        let mut uring = Uring {
            ring,
            transit,
            scratch: Scratch::new(),
            in_flight: InFlight::default(),
            wake_count: Box::new(0),
            waker,
            woken: false,
            local: VecDeque::with_capacity(LOCAL_LEAST),
            internal: 0,
            want: Want::ONE,
            windows: Windows::new(),
            closing: false,
        };
        uring.arm_wake().map_err(SetupError::from_errno)?;
        Ok(uring)
    }

    /// Hands an operation to the ring.
    fn start(&mut self, token: Token, op: Op) {
        let key = self.in_flight.insert(token, op);
        self.issue(key);
    }

    fn issue(&mut self, key: u32) {
        let InFlightOp { mut op, is_cold, .. } =
            self.in_flight.get_mut(key).expect("issued by its key");
        match self.ring.reserve() {
            Ok(message) => {
                let entry = match &mut *op {
                    Op::SendFile { file, offset, len, .. } if *is_cold => {
                        self.scratch.read(file, *offset, *len)
                    }
                    op => operation::entry(op, message, self.transit.size()),
                };
                // SAFETY: the entry points to heap memory of the operation, which `in_flight`
                // keeps unchanged until the last completion, to `scratch`, which is kept as long,
                // to statics, and to the message header of its place.
                unsafe { self.ring.push(&entry.user_data(u64::from(key))) };
            }
            Err(errno) => {
                let (token, op) = self.in_flight.remove(key);
                self.conclude(token, op, Err(errno));
            }
        }
    }

    /// Answers an operation that needed no waiting.
    fn conclude(&mut self, token: Token, op: Op, result: Result<usize, Errno>) {
        let done = operation::answer(op, result, None, &mut self.transit);
        self.local.push_back(Completion { token, done });
    }

    /// Performs an operation of which the ring only says when, or lets it wait.
    fn perform_or_start(&mut self, token: Token, mut op: Op) {
        if matches!(op, Op::SendFile { .. }) && !self.windows.may_go(false) {
            let key = self.in_flight.insert(token, op);
            return self.windows.postpone(Postponed { key, count: 0 }, false);
        }
        let tried = perform(&mut op, None, &mut self.windows);
        if let Tried::Done(done) = tried {
            return self.local.push_back(Completion { token, done });
        }
        let key = self.in_flight.insert(token, op);
        self.wait_for(key, matches!(tried, Tried::Cold));
    }

    /// For the socket of an operation, or for its file.
    fn wait_for(&mut self, key: u32, is_cold: bool) {
        *self.in_flight.get_mut(key).expect("just looked at").is_cold = is_cold;
        self.issue(key);
    }

    /// Answers with `result` unless that says that waiting is needed.
    fn conclude_or_start(&mut self, token: Token, op: Op, result: Result<usize, Errno>) {
        match result {
            Err(Errno(libc::EAGAIN)) => self.start(token, op),
            result => self.conclude(token, op, result),
        }
    }

    fn push_internal(&mut self, entry: squeue::Entry, user_data: u64) -> Result<(), Errno> {
        self.ring.reserve()?;
        // SAFETY: closes and cancellations point to no memory; the wake-up's eight bytes are kept
        // until nothing is in flight.
        unsafe { self.ring.push(&entry.user_data(user_data)) };
        self.internal += 1;
        Ok(())
    }

    fn arm_wake(&mut self) -> Result<(), Errno> {
        let fd = types::Fd(self.waker.0.as_raw_fd());
        let target: *mut u64 = &mut *self.wake_count;
        self.push_internal(opcode::Read::new(fd, target.cast(), 8).build(), WAKE)
    }

    fn close(&mut self, fd: Fd) {
        if self.push_internal(opcode::Close::new(types::Fd(fd)).build(), CLOSE).is_err() {
            sys::close(fd);
        }
    }

    fn cancel(&mut self, target: Token, is_meant: fn(&Op) -> bool) {
        while let Some(key) = self.in_flight.cancel_next(target, is_meant) {
            let entry = opcode::AsyncCancel::new(u64::from(key)).build();
            if let Err(errno) = self.push_internal(entry, CANCEL) {
                tracing::error!(%errno, "cannot cancel an operation");
                return;
            }
        }
    }

    fn drain_local(&mut self, limit: usize, done: &mut Vec<Completion>) {
        let room = limit.saturating_sub(done.len()).min(self.local.len());
        done.extend(self.local.drain(..room));
    }

    fn reap(&mut self, limit: usize, done: &mut Vec<Completion>) -> Result<(), Errno> {
        while done.len() < limit {
            let Some(completion) = self.ring.next() else { break };
            if let Some(completion) = self.completed(&completion)? {
                done.push(completion);
            }
        }
        Ok(())
    }

    fn completed(&mut self, completion: &cqueue::Entry) -> Result<Option<Completion>, Errno> {
        let result = match completion.result() {
            errno if errno < 0 => Err(Errno(-errno)),
            value => Ok(value as usize),
        };
        match completion.user_data() {
            WAKE => self.completed_wake(result).map(|()| None),
            CLOSE | CANCEL => {
                self.internal -= 1;
                if let (CLOSE, Err(errno)) = (completion.user_data(), result) {
                    tracing::debug!(%errno, "close failed");
                }
                Ok(None)
            }
            key => Ok(self.completed_operation(key as u32, result, completion.flags())),
        }
    }

    fn completed_wake(&mut self, result: Result<usize, Errno>) -> Result<(), Errno> {
        self.internal -= 1;
        self.woken = true;
        match result {
            _ if self.closing => Ok(()),
            Ok(_) | Err(Errno(libc::EINTR | libc::EAGAIN | libc::ECANCELED)) => self.arm_wake(),
            Err(errno) => Err(errno),
        }
    }

    fn completed_operation(
        &mut self,
        key: u32,
        result: Result<usize, Errno>,
        flags: u32,
    ) -> Option<Completion> {
        let Some(mut entry) = self.in_flight.get_mut(key) else {
            tracing::error!(key, "completion of an unknown operation");
            return None;
        };
        let token = entry.token;
        let buffer = cqueue::buffer_select(flags);
        let result = match &mut *entry.op {
            Op::Accept { .. } if cqueue::more(flags) => {
                let done = Done::Accept { result: result.map(|fd| fd as Fd), armed: true };
                return Some(Completion { token, done });
            }
            Op::Recv { .. } if cqueue::more(flags) => {
                let result = operation::received(result, buffer, &mut self.transit);
                return Some(Completion { token, done: Done::Recv { result, armed: true } });
            }
            Op::CreateFile { directory, creation } => match creation.advance(directory, result) {
                Next::Step => {
                    self.issue(key);
                    return None;
                }
                Next::Finished(result) => result.map(|fd| fd as usize),
                Next::Failed(fd, errno) => {
                    self.close(fd);
                    Err(errno)
                }
            },
            op if operation::is_only_awaited(op) => match result {
                Ok(_) if entry.cancelled => Err(Errno(libc::ECANCELED)),
                Ok(count) => return self.completed_wait(key, count),
                failed => failed,
            },
            _ => result,
        };
        let (token, op) = self.in_flight.remove(key);
        let done = operation::answer(op, result, buffer, &mut self.transit);
        Some(Completion { token, done })
    }

    /// What an operation waited for has come: its socket, or `count` bytes of its file. A window
    /// may have to wait once more.
    fn completed_wait(&mut self, key: u32, count: usize) -> Option<Completion> {
        let InFlightOp { op, is_cold, .. } = self.in_flight.get_mut(key).expect("just looked at");
        let was_read = *is_cold;
        if matches!(*op, Op::SendFile { .. }) && !self.windows.may_go(was_read) {
            self.windows.postpone(Postponed { key, count }, was_read);
            return None;
        }
        self.perform_awaited(key, count)
    }

    fn perform_awaited(&mut self, key: u32, count: usize) -> Option<Completion> {
        let InFlightOp { mut op, is_cold, .. } =
            self.in_flight.get_mut(key).expect("just looked at");
        let read = is_cold.then_some(count as u32);
        match perform(&mut op, read, &mut self.windows) {
            Tried::Done(done) => {
                let (token, _) = self.in_flight.remove(key);
                return Some(Completion { token, done });
            }
            Tried::Early => self.wait_for(key, false),
            Tried::Cold => self.wait_for(key, true),
        }
        None
    }
}

impl Backend for Uring {
    fn submit(&mut self, token: Token, op: Op) {
        match op {
            Op::Shutdown { fd, direction } => sys::shutdown(fd, direction),
            Op::Close { fd } => self.close(fd),
            Op::Cancel { target } => self.cancel(target, |_| true),
            Op::EndRecv { target } => self.cancel(target, |op| matches!(op, Op::Recv { .. })),
            Op::AcceptNow { listener } => {
                let accepted = sys::accept(listener).map(|fd| fd as usize);
                self.conclude(token, op, accepted);
            }
            Op::StatOpen { .. } => self.conclude(token, op, Ok(0)),
            Op::Send { ref out, .. } if out.remaining() == 0 => self.conclude(token, op, Ok(0)),
            Op::SendIfSilent { fd, out } => {
                let op = Op::Send { fd, out, more: false };
                match sys::has_input(fd) {
                    true => self.conclude(token, op, Err(Errno(libc::EBUSY))),
                    false => self.submit(token, op),
                }
            }
            Op::FillWithFile { poll_first: true, .. } => self.start(token, op),
            op if operation::is_only_awaited(&op) => self.perform_or_start(token, op),
            op @ (Op::OpenFile { .. } | Op::StatFile { .. } | Op::OpenDirectory { .. }) => {
                let opened = operation::open_cached(&op);
                self.conclude_or_start(token, op, opened);
            }
            op => self.start(token, op),
        }
    }

    fn close_now(&mut self, fd: Fd) {
        sys::close(fd);
    }

    fn turn(&mut self, wait: Wait, done: &mut Vec<Completion>) -> Result<(), Errno> {
        let before = done.len();
        let limit = before + TURN_LIMIT;
        loop {
            let timeout = match wait {
                Wait::Poll => Some(Duration::ZERO),
                Wait::Until(end) => Some(end.since(self.now())),
                Wait::Forever => None,
            };
            let waits = timeout != Some(Duration::ZERO)
                && self.windows.is_empty()
                && !self.woken
                && self.local.is_empty()
                && !self.ring.has_completions();
            if waits {
                self.ring.enter(self.want, timeout)?;
            } else if self.ring.has_work() {
                self.ring.enter(Want::NOTHING, None)?;
            }
            // What others are sent has reached the kernel.
            self.resume(done);
            // Half of the room each, so that neither side starves the other.
            self.drain_local(before + TURN_LIMIT / 2, done);
            self.reap(limit, done)?;
            self.drain_local(limit, done);
            self.want = Want::after(done.len() - before);
            let woken = mem::take(&mut self.woken);
            if done.len() > before || woken || timeout == Some(Duration::ZERO) {
                return Ok(());
            }
        }
    }

    fn peer_address(&self, fd: Fd) -> Result<SocketAddr, Errno> {
        sys::peer_address(fd)
    }

    fn local_address(&self, fd: Fd) -> Result<SocketAddr, Errno> {
        sys::local_address(fd)
    }

    fn begin_no_connection(&self, listener: Fd) {
        sys::drop_connection_requests(listener);
    }

    fn peer(&self, fd: Fd) -> Peer {
        sys::peer(fd)
    }

    fn unsent(&self, fd: Fd) -> u64 {
        sys::unsent(fd)
    }

    fn transit(&self, piece: &Transit) -> &[u8] {
        self.transit.bytes(piece)
    }

    fn recycle(&mut self, piece: Transit) {
        self.transit.recycle(piece.buffer);
    }

    fn has_spare(&self) -> bool {
        self.transit.has_spare()
    }

    fn trim(&mut self, heap: bool) {
        // The ring defers its work (IORING_SETUP_DEFER_TASKRUN): the kernel fills buffers while
        // this thread is inside `enter`, and a completion names each that it has filled. A receive
        // for which it cannot allocate a poll is another thread's, which says that there is work
        // for us right after it has filled one.
        if !self.ring.has_completions() && !self.ring.has_work() {
            self.transit.trim();
        }
        if heap {
            self.in_flight.trim();
            self.local.shrink_to(LOCAL_LEAST);
            self.windows.trim();
            sys::trim_heap();
        }
    }

    fn now(&mut self) -> Time {
        sys::monotonic()
    }

    fn unix_seconds(&mut self) -> u64 {
        sys::unix_seconds()
    }

    fn in_flight(&self) -> usize {
        self.in_flight.len() + self.local.len()
    }

    fn waker(&self) -> Arc<dyn Wake> {
        self.waker.clone()
    }
}

/// Bytes for the operation that an idle connection has in flight.
pub(crate) const PARKED_OPERATION: usize = InFlight::PARKED;

/// The eventfd behind [`Backend::waker`]; the last owner closes it.
struct Waker(OwnedFd);

impl Wake for Waker {
    fn wake(&self) {
        sys::signal(self.0.as_raw_fd());
    }
}

/// Room for completions of operations that needed no waiting.
const LOCAL_LEAST: usize = 64;

/// Completions returned by one turn.
const TURN_LIMIT: usize = 512;

// `user_data` of entries that stand for no operation; keys of operations are below 2^32.
const WAKE: u64 = u64::MAX;
const CLOSE: u64 = u64::MAX - 1;
const CANCEL: u64 = u64::MAX - 2;
