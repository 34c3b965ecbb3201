//! The kernel seam: operations and completions as plain data, and the trait that performs them.
//!
//! Owns every system call on the data path and nearly all `unsafe`. Must not know HTTP.
//!
//! **Invariant: an operation owns the memory and the files that the kernel may touch.** They move
//! into [`Op`], stay with the backend while the operation is in flight, and come back in
//! [`Done`]. A connection that is gone by then cannot have freed them; whoever receives the
//! completion disposes of what it carries.
//!
//! Operations that Linux performs without waiting (`shutdown`, `sendfile`, opening a cached name)
//! are operations like the others, completed by the same call to [`Backend::turn`]. So the
//! simulator sees every one of them, and state machines have one way in and one way out.

mod budget;
mod creation;
mod outgoing;
mod passing;
mod peer_end;
mod shared_file;
#[cfg(any(test, feature = "bench"))]
#[cfg_attr(not(test), allow(dead_code, unused_imports))]
pub(crate) mod sim;
mod sys;
mod transit;
mod uring;

use std::ffi::CStr;
use std::fmt;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use budget::{Budget, Share};
pub(crate) use creation::Creation;
pub(crate) use outgoing::{Body, Outgoing};
pub(crate) use peer_end::{Death, PeerEnd};
use shared_file::Seen;
pub(crate) use shared_file::{Graveyard, SharedFile};
pub(crate) use sys::{block_broken_pipes, close, effective_user, monotonic};
pub(crate) use uring::{PARKED_OPERATION, Uring, UringOptions};
pub use uring::{SetupError, probe};

/// Whether what is written to files in this directory stays in memory.
pub(crate) fn is_in_memory(directory: &CStr) -> bool {
    sys::is_in_memory(directory)
}

/// A file descriptor: a number the kernel (or the simulator) knows. Whoever holds the table entry
/// that it belongs to closes it, by [`Op::Close`].
pub(crate) type Fd = RawFd;

/// A moment on the monotonic clock, in nanoseconds since an arbitrary start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time(pub(crate) u64);

impl Time {
    /// The moment `after` from here; saturates.
    pub(crate) fn after(self, after: Duration) -> Time {
        Time(self.0.saturating_add(after.as_nanos().min(u128::from(u64::MAX)) as u64))
    }

    /// The moment `before` this one; saturates.
    pub(crate) fn before(self, before: Duration) -> Time {
        Time(self.0.saturating_sub(before.as_nanos().min(u128::from(u64::MAX)) as u64))
    }

    /// Time passed since `earlier`; zero if that is in the future.
    pub(crate) fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Names the receiver of a completion: which table (`kind`), which entry (`index`), and which
/// life of that entry (`generation`, 24 bits). A completion whose generation is not the entry's
/// current one is stale.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Token(u64);

impl Token {
    /// Generations wrap here.
    pub(crate) const GENERATIONS: u32 = 1 << 24;

    /// For operations that have no answer.
    pub(crate) const NOBODY: Token = Token(u64::MAX);

    pub(crate) const fn new(kind: u8, index: u32, generation: u32) -> Token {
        debug_assert!(generation < Token::GENERATIONS);
        Token((generation as u64) << 40 | (kind as u64) << 32 | index as u64)
    }

    pub(crate) const fn kind(self) -> u8 {
        (self.0 >> 32) as u8
    }

    pub(crate) const fn index(self) -> u32 {
        self.0 as u32
    }

    pub(crate) const fn generation(self) -> u32 {
        (self.0 >> 40) as u32
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}#{}", self.kind(), self.index(), self.generation())
    }
}

/// A positive Linux error number, as in errno(3).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) i32);

impl Errno {
    /// Descriptors or memory have run out; later it may go.
    pub(crate) fn is_exhaustion(self) -> bool {
        matches!(self.0, libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS)
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", std::io::Error::from_raw_os_error(self.0))
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl From<Errno> for std::io::Error {
    fn from(errno: Errno) -> Self {
        std::io::Error::from_raw_os_error(errno.0)
    }
}

/// A received piece in a buffer of the reactor's transit pool. Read it with
/// [`Backend::transit`], then give it back with [`Backend::recycle`], within the same turn:
/// transit buffers never store anything.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Transit {
    pub(crate) buffer: u16,
    pub(crate) len: u32,
}

/// Which direction [`Op::Shutdown`] ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// We send no more: the peer sees end of file.
    Write,
    /// Neither direction; operations in flight on the socket end.
    Both,
    /// The same at once, by a reset (RFC 9293 §3.10.5, ABORT): the peer sees no end of file. Of a
    /// TCP connection only.
    Abort,
}

/// The process at the other end of a Unix socket, as it was when it connected (`SO_PEERCRED`,
/// unix(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Its number; 0 if the kernel does not say.
    pub(crate) process: u32,
    /// Its effective user; nobody's number if the kernel does not say.
    pub(crate) user: u32,
}

/// What kind of file a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    Regular,
    Directory,
    /// Device, FIFO, socket: never served.
    Other,
}

/// Which symbolic links a name beneath a directory may lead through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Links {
    /// Those that stay beneath it.
    Beneath,
    /// None; one is `ELOOP`.
    Deny,
}

/// What fstat(2) says of a file, as far as we use it. Two equal values mean an unchanged file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) kind: FileKind,
    pub(crate) size: u64,
    /// Modification time: seconds and nanoseconds since 1970.
    pub(crate) mtime: (i64, u32),
    /// Change time, likewise.
    pub(crate) ctime: (i64, u32),
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

/// What came along with received bytes (`SCM_RIGHTS`, unix(7)).
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum Passed {
    #[default]
    Nothing,
    /// A descriptor; whoever receives this owns it.
    File(PassedFile),
    /// More than one, or one that got lost; none is left open.
    Broken,
}

/// A descriptor that the peer has passed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PassedFile {
    pub(crate) fd: Fd,
    pub(crate) stat: Stat,
    /// It was opened for reading.
    pub(crate) readable: bool,
}

/// What a reactor asks of the kernel. See [`Done`] for the answers.
#[derive(Debug)]
pub(crate) enum Op {
    /// Accept connections until cancelled or failed (multishot): one [`Done::Accept`] each.
    /// Accepted sockets are non-blocking and close-on-exec.
    Accept { listener: Fd },
    /// Accept one connection that already waits, else `EAGAIN`. For draining a listener.
    AcceptNow { listener: Fd },
    /// Receive into a transit buffer. `poll_first` skips the first try, for a socket that is
    /// surely empty. Answers `ENOBUFS` when the pool is empty: try again after a recycle.
    /// `repeat`: one [`Done::Recv`] for each piece, until the end of the input, a failure, an
    /// [`Op::EndRecv`] or whenever the kernel likes (multishot). Never both: if a piece and the
    /// reset behind it are there already, a multishot that polls first misses the reset (Linux
    /// 6.18), and waits for ever.
    Recv { fd: Fd, poll_first: bool, repeat: bool },
    /// Receive once into the spare capacity of `buf`, which must not be zero. `poll_first` as for
    /// `Recv`.
    Fill { fd: Fd, buf: Vec<u8>, poll_first: bool },
    /// Like `Fill`, and takes a descriptor that comes along; the other receives lose it.
    FillWithFile { fd: Fd, buf: Vec<u8>, poll_first: bool },
    /// Send what remains of `out`, with its descriptor before the first byte; may end short. At
    /// most one in flight per socket. `more`: the kernel may wait for what follows (`MSG_MORE`).
    Send { fd: Fd, out: Outgoing, more: bool },
    /// Like `Send`, for a peer that must be silent now: answers [`Done::Send`] with `EBUSY`, and
    /// sends nothing, if it has sent something that was not received.
    SendIfSilent { fd: Fd, out: Outgoing },
    /// sendfile(2) of at most `len` bytes at `offset`; waits for the socket to be writable, not
    /// for more than one window, and for the disk as `ReadFile` does. May end short; 0 bytes means
    /// that the file has become shorter.
    SendFile { fd: Fd, file: Rc<SharedFile>, offset: u64, len: u32 },
    /// Wait until the peer hangs up or the socket is shut down (`POLLRDHUP`, `POLLHUP`,
    /// `POLLERR`). Never for input, so nothing is stolen from a receive elsewhere.
    AwaitHangUp { fd: Fd },
    /// Wait for something to receive, the end of the input included. Answers [`Done::Awaited`].
    /// Needs less of the kernel's memory than a receive that waits.
    AwaitInput { fd: Fd },
    /// Wait for the end of the process that connected a Unix socket. Answers an error at once
    /// where the kernel does not tell.
    PeerEnd(PeerEnd),
    /// Open a file for reading beneath the directory `root` (openat2 with `RESOLVE_BENEATH`,
    /// `RESOLVE_NO_MAGICLINKS`; never blocks on a FIFO) and fstat it. An empty path is an error.
    OpenFile { root: Rc<SharedFile>, path: Rc<CStr>, links: Links },
    /// Like `OpenFile`, but says only what is there. For revalidation.
    StatFile { root: Rc<SharedFile>, path: Rc<CStr>, links: Links },
    /// Open the directory at an absolute path, to open files beneath it, and fstat it. Answers
    /// [`Done::OpenFile`].
    OpenDirectory { path: Rc<CStr> },
    /// Read at `offset` into the spare capacity of `buf`; may end short.
    ReadFile { file: Rc<SharedFile>, buf: Vec<u8>, offset: u64 },
    /// Make a file without a name in a directory, for writing and reading (`O_TMPFILE`, or
    /// with a name that is removed).
    CreateFile { directory: Rc<CStr>, creation: Creation },
    /// Write what remains of `out` at `offset`; may end short. Never waits for a disk inline.
    WriteFile { file: Rc<SharedFile>, out: Outgoing, offset: u64 },
    /// fstat(2) an open file.
    StatOpen { file: Rc<SharedFile> },
    /// shutdown(2), performed at once. No answer; errors mean that the connection has ended
    /// already.
    Shutdown { fd: Fd, direction: Direction },
    /// Close a descriptor on which nothing is in flight. No answer.
    Close { fd: Fd },
    /// Cancel every operation in flight that was submitted with `target`. No answer; the
    /// operations themselves complete, usually with `ECANCELED`.
    Cancel { target: Token },
    /// Cancel only every [`Op::Recv`] in flight that was submitted with `target`. No answer.
    EndRecv { target: Token },
}

/// The end of an operation; carries back everything that the operation owned.
#[derive(Debug)]
pub(crate) enum Done {
    /// `armed`: more may follow from the same [`Op::Accept`].
    Accept {
        result: Result<Fd, Errno>,
        armed: bool,
    },
    /// `Ok(None)` is end of file. `armed`: more follows from the same [`Op::Recv`].
    Recv {
        result: Result<Option<Transit>, Errno>,
        armed: bool,
    },
    /// Bytes received are appended to `buf`; 0 is end of file.
    Fill {
        buf: Vec<u8>,
        result: Result<usize, Errno>,
    },
    /// As `Fill`. `passed` may be there only with bytes.
    FillWithFile {
        buf: Vec<u8>,
        passed: Passed,
        result: Result<usize, Errno>,
    },
    /// `out` has been advanced by the bytes sent.
    Send {
        out: Outgoing,
        result: Result<usize, Errno>,
    },
    SendFile {
        _file: Rc<SharedFile>,
        result: Result<usize, Errno>,
    },
    /// Also when it failed or was cancelled.
    Awaited,
    PeerEnd {
        result: Result<Death, Errno>,
    },
    OpenFile {
        result: Result<(Fd, Stat), Errno>,
    },
    StatFile {
        result: Result<Stat, Errno>,
    },
    /// Bytes read are appended to `buf`; 0 is end of file.
    ReadFile {
        buf: Vec<u8>,
        result: Result<usize, Errno>,
    },
    /// Whoever receives this owns the descriptor.
    CreateFile {
        result: Result<Fd, Errno>,
    },
    /// `out` has been advanced by the bytes written.
    WriteFile {
        out: Outgoing,
        result: Result<usize, Errno>,
    },
    StatOpen {
        result: Result<Stat, Errno>,
    },
}

impl Done {
    /// The descriptor that comes with it, for whoever does not want it.
    pub(crate) fn descriptor(&self) -> Option<Fd> {
        match self {
            Done::Accept { result: Ok(fd), .. }
            | Done::OpenFile { result: Ok((fd, _)) }
            | Done::CreateFile { result: Ok(fd) } => Some(*fd),
            Done::FillWithFile { passed: Passed::File(file), .. } => Some(file.fd),
            _ => None,
        }
    }
}

/// A [`Done`] and whom it is for.
#[derive(Debug)]
pub(crate) struct Completion {
    pub(crate) token: Token,
    pub(crate) done: Done,
}

/// How long [`Backend::turn`] may wait for the first completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Not at all.
    Poll,
    /// Until this moment.
    Until(Time),
    /// Until something happens.
    Forever,
}

/// Ends the wait of one reactor's [`Backend::turn`], from any thread.
pub(crate) trait Wake: Send + Sync {
    fn wake(&self);
}

/// The kernel, as one reactor sees it.
///
/// Implemented by `Uring` and by the simulator; reactors are generic over it.
pub(crate) trait Backend {
    /// Queues an operation; it reaches the kernel at the latest in the next [`Backend::turn`].
    /// What needs no waiting may act at once, so before operations that were queued earlier:
    /// shut a connection down only after the end of its last send.
    fn submit(&mut self, token: Token, op: Op);

    /// Closes a descriptor that no operation uses; it is free when this returns, if the backend can
    /// do that.
    fn close_now(&mut self, fd: Fd) {
        self.submit(Token::NOBODY, Op::Close { fd });
    }

    /// Submits everything queued, waits for at least one completion or a wake-up or the end of
    /// `wait`, and appends at most 512 completions to `done`. After a turn with many completions
    /// it may wait for more than one, and for a wake-up, a moment longer. Errors are fatal for the
    /// reactor.
    fn turn(&mut self, wait: Wait, done: &mut Vec<Completion>) -> Result<(), Errno>;

    /// The address at the other end of a TCP connection.
    fn peer_address(&self, fd: Fd) -> Result<SocketAddr, Errno>;

    /// Our address of a TCP connection, or that of a listener.
    fn local_address(&self, fd: Fd) -> Result<SocketAddr, Errno>;

    /// From now on a TCP listener leaves connection requests unanswered; connections that have
    /// begun are established and can be accepted.
    fn begin_no_connection(&self, listener: Fd);

    /// Who is at the other end of a Unix socket.
    fn peer(&self, fd: Fd) -> Peer;

    /// Bytes sent on a TCP connection that the peer has not acknowledged.
    fn unsent(&self, fd: Fd) -> u64;

    /// The bytes of a received piece.
    fn transit(&self, piece: &Transit) -> &[u8];

    /// Gives a transit buffer back to the pool.
    fn recycle(&mut self, piece: Transit);

    /// Whether [`Backend::trim`] may have something to do sooner or later.
    fn has_spare(&self) -> bool;

    /// Gives memory that nobody needs back to the system: that of the transit buffers, if nothing
    /// has been received since the last call and all of them have been recycled; with `heap`, what
    /// the allocator keeps, too.
    fn trim(&mut self, heap: bool);

    /// The monotonic clock.
    fn now(&mut self) -> Time;

    /// Seconds since 1970, for `Date` and log lines.
    fn unix_seconds(&mut self) -> u64;

    /// Operations submitted whose completion has not been returned yet. A multishot one counts
    /// until its last completion.
    fn in_flight(&self) -> usize;

    /// What other threads use to end this reactor's wait.
    fn waker(&self) -> Arc<dyn Wake>;
}
