//! Operations as ring entries, and the results of ring entries as answers.
//!
//! Owns the translation, both ways side by side. Must not know when it happens.

use super::residency;
use super::ring::{Message, TRANSIT_GROUP};
use crate::io::transit::TransitPool;
use crate::io::{
    Creation, Done, Errno, Fd, FileKind, Links, Op, Outgoing, Passed, Stat, Transit, passing, sys,
};
use io_uring::types::{self, OpenHow};
use io_uring::{opcode, squeue};
use std::ffi::CStr;

/// The entry that performs an operation. It points into `op`'s heap memory and to `message`.
pub(super) fn entry(op: &mut Op, message: &mut Message, transit_size: u32) -> squeue::Entry {
    match op {
        Op::Accept { listener } => opcode::AcceptMulti::new(types::Fd(*listener))
            .flags(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC)
            .build(),
        Op::Recv { fd, poll_first, repeat } => {
            debug_assert!(!(*poll_first && *repeat), "resets would be missed");
            // A length would bound all pieces together.
            let len = if *repeat { 0 } else { transit_size };
            opcode::Recv::new(types::Fd(*fd), std::ptr::null_mut(), len)
                .buf_group(TRANSIT_GROUP)
                .ioprio(poll_first_flag(*poll_first) | repeat_flag(*repeat))
                .build()
                .flags(squeue::Flags::BUFFER_SELECT)
        }
        Op::Fill { fd, buf, poll_first } => {
            let (start, len) = spare(buf);
            opcode::Recv::new(types::Fd(*fd), start, len)
                .ioprio(poll_first_flag(*poll_first))
                .build()
        }
        Op::Send { fd, out, .. } if out.file_due().is_some() => poll(*fd, libc::POLLOUT),
        Op::Send { fd, out, more } => send(*fd, out, *more, message),
        Op::SendFile { fd, .. } => poll(*fd, libc::POLLOUT),
        Op::FillWithFile { fd, .. } => poll(*fd, libc::POLLIN | libc::POLLRDHUP),
        Op::AwaitHangUp { fd } => poll(*fd, libc::POLLRDHUP | libc::POLLHUP | libc::POLLERR),
        Op::AwaitInput { fd } => poll(*fd, libc::POLLIN | libc::POLLRDHUP),
        Op::PeerEnd(end) => {
            let (process, events) = end.event();
            poll(process, events)
        }
        Op::OpenFile { root, path, links } => open(root.fd(), path, &FILE.how(*links).waiting),
        Op::StatFile { root, path, links } => open(root.fd(), path, &PATH.how(*links).waiting),
        Op::OpenDirectory { path } => open(libc::AT_FDCWD, path, &DIRECTORY.waiting),
        Op::ReadFile { file, buf, offset } => {
            let (start, len) = spare(buf);
            opcode::Read::new(types::Fd(file.fd()), start, len).offset(*offset).build()
        }
        Op::CreateFile { directory, creation } => create(directory, creation),
        Op::WriteFile { file, out, offset } => {
            let parts = message.parts(out.slices());
            opcode::Writev::new(types::Fd(file.fd()), parts.as_ptr(), parts.len() as u32)
                .offset(*offset)
                .build()
        }
        Op::AcceptNow { .. }
        | Op::SendIfSilent { .. }
        | Op::StatOpen { .. }
        | Op::Shutdown { .. }
        | Op::Close { .. }
        | Op::Cancel { .. }
        | Op::EndRecv { .. } => unreachable!("never in flight"),
    }
}

/// The answer to an operation that has ended. `buffer` is the transit buffer that came along.
pub(super) fn answer(
    op: Op,
    result: Result<usize, Errno>,
    buffer: Option<u16>,
    transit: &mut TransitPool,
) -> Done {
    match op {
        Op::Accept { .. } | Op::AcceptNow { .. } => {
            Done::Accept { result: result.map(|fd| fd as Fd), armed: false }
        }
        Op::Recv { .. } => Done::Recv { result: received(result, buffer, transit), armed: false },
        Op::Fill { mut buf, .. } => {
            append(&mut buf, result);
            Done::Fill { buf, result }
        }
        Op::FillWithFile { buf, .. } => Done::FillWithFile { buf, passed: Passed::Nothing, result },
        Op::Send { mut out, .. } | Op::SendIfSilent { mut out, .. } => {
            out.advance(result.unwrap_or(0));
            Done::Send { out, result }
        }
        Op::SendFile { file, .. } => Done::SendFile { _file: file, result },
        Op::AwaitHangUp { .. } | Op::AwaitInput { .. } => Done::Awaited,
        Op::PeerEnd(end) => {
            let errno = result.err().unwrap_or(Errno(libc::EAGAIN));
            Done::PeerEnd { result: end.given_up(errno) }
        }
        Op::OpenFile { .. } | Op::OpenDirectory { .. } => {
            Done::OpenFile { result: result.and_then(|fd| opened(fd as Fd)) }
        }
        Op::StatFile { .. } => Done::StatFile { result: result.and_then(|fd| stat_once(fd as Fd)) },
        Op::ReadFile { mut buf, .. } => {
            append(&mut buf, result);
            Done::ReadFile { buf, result }
        }
        Op::CreateFile { creation, .. } => {
            if let (Creation::Unlinking(_, fd), Err(_)) = (creation, result) {
                sys::close(fd);
            }
            Done::CreateFile { result: result.map(|fd| fd as Fd) }
        }
        Op::WriteFile { mut out, .. } => {
            out.advance(result.unwrap_or(0));
            Done::WriteFile { out, result }
        }
        Op::StatOpen { file } => Done::StatOpen { result: sys::fstat(file.fd()) },
        Op::Shutdown { .. } | Op::Close { .. } | Op::Cancel { .. } | Op::EndRecv { .. } => {
            unreachable!("has no answer")
        }
    }
}

/// The ring only says when to try; then [`perform`] does it.
pub(super) fn is_only_awaited(op: &Op) -> bool {
    match op {
        Op::SendFile { .. } | Op::FillWithFile { .. } | Op::PeerEnd(_) => true,
        Op::Send { out, .. } => out.file_due().is_some(),
        _ => false,
    }
}

/// What has become of an operation that was tried.
pub(super) enum Tried {
    Done(Done),
    /// Its socket is not ready.
    Early,
    /// Its file is not in memory.
    Cold,
}

/// Tries an operation of which the ring only says when. `read`: so many bytes of its file have
/// just been read.
pub(super) fn perform(op: &mut Op, read: Option<u32>) -> Tried {
    if let Op::SendFile { fd, file, offset, len } = op {
        let len = match read {
            None => match residency::resident(file, *offset, *len, sys::monotonic()) {
                0 => return Tried::Cold,
                resident => resident,
            },
            // No byte: it has become shorter, which sendfile(2) says without waiting.
            Some(count) => count.max(1).min(*len),
        };
        return match sys::sendfile(*fd, file.fd(), *offset, len) {
            Err(Errno(libc::EAGAIN)) => Tried::Early,
            result => Tried::Done(Done::SendFile { _file: file.clone(), result }),
        };
    }
    pass(op).map_or(Tried::Early, Tried::Done)
}

/// Receives or sends with a descriptor.
fn pass(op: &mut Op) -> Option<Done> {
    match op {
        Op::FillWithFile { fd, buf, .. } => {
            let received = unless_early(passing::receive(*fd, buf))?;
            let (result, passed) = match received {
                Ok((count, passed)) => (Ok(count), passed),
                Err(errno) => (Err(errno), Passed::Nothing),
            };
            Some(Done::FillWithFile { buf: std::mem::take(buf), passed, result })
        }
        Op::Send { fd, out, .. } => {
            let file = out.file_due().expect("others are sent by the ring").fd();
            let result = unless_early(passing::send(*fd, out.slices(), file))?;
            out.advance(result.unwrap_or(0));
            Some(Done::Send { out: std::mem::take(out), result })
        }
        Op::PeerEnd(end) => Some(Done::PeerEnd { result: end.perform()? }),
        _ => unreachable!("performed by the ring"),
    }
}

fn poll_first_flag(poll_first: bool) -> u16 {
    if poll_first { IORING_RECVSEND_POLL_FIRST } else { 0 }
}

fn repeat_flag(repeat: bool) -> u16 {
    if repeat { IORING_RECV_MULTISHOT } else { 0 }
}

fn unless_early<T>(result: Result<T, Errno>) -> Option<Result<T, Errno>> {
    match result {
        Err(Errno(libc::EAGAIN)) => None,
        result => Some(result),
    }
}

/// Opens for an operation that opens by name, as far as that needs no waiting; else `EAGAIN`.
pub(super) fn open_cached(op: &Op) -> Result<usize, Errno> {
    let (directory, path, how) = match op {
        Op::OpenFile { root, path, links } => (root.fd(), path, FILE.how(*links)),
        Op::StatFile { root, path, links } => (root.fd(), path, PATH.how(*links)),
        Op::OpenDirectory { path } => (libc::AT_FDCWD, path, &DIRECTORY),
        op => unreachable!("{op:?} opens nothing by name"),
    };
    sys::openat2(directory, path, &how.cached).map(|fd| fd as usize)
}

fn send(fd: Fd, out: &Outgoing, more: bool, message: &mut Message) -> squeue::Entry {
    let flags = libc::MSG_NOSIGNAL | if more { libc::MSG_MORE } else { 0 };
    let pieces = out.slices();
    let piece = match pieces {
        [piece, [], []] | [[], piece, []] | [[], [], piece] => piece,
        several => {
            return opcode::SendMsg::new(types::Fd(fd), message.describe(several))
                .flags(flags as u32)
                .build();
        }
    };
    opcode::Send::new(types::Fd(fd), piece.as_ptr(), length(piece.len())).flags(flags).build()
}

fn poll(fd: Fd, events: libc::c_short) -> squeue::Entry {
    opcode::PollAdd::new(types::Fd(fd), events as u32).build()
}

fn open(directory: Fd, path: &CStr, how: &'static OpenHow) -> squeue::Entry {
    opcode::OpenAt2::new(types::Fd(directory), path.as_ptr(), how).build()
}

fn create(directory: &CStr, creation: &Creation) -> squeue::Entry {
    let here = types::Fd(libc::AT_FDCWD);
    let (path, flags) = match creation {
        // O_EXCL: it cannot get a name either.
        Creation::Unnamed => (directory, libc::O_TMPFILE | libc::O_EXCL),
        Creation::Named(path, _) => (&**path, libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW),
        Creation::Unlinking(path, _) => return opcode::UnlinkAt::new(here, path.as_ptr()).build(),
    };
    let flags = flags | libc::O_RDWR | libc::O_CLOEXEC;
    opcode::OpenAt::new(here, path.as_ptr()).flags(flags).mode(0o600).build()
}

fn spare(buf: &mut Vec<u8>) -> (*mut u8, u32) {
    let spare = buf.spare_capacity_mut();
    assert!(!spare.is_empty(), "no room to receive into");
    (spare.as_mut_ptr().cast(), length(spare.len()))
}

fn append(buf: &mut Vec<u8>, result: Result<usize, Errno>) {
    let count = result.unwrap_or(0);
    assert!(count <= buf.capacity() - buf.len(), "the kernel wrote more than it was given");
    // SAFETY: the kernel has written `count` bytes at the start of the spare capacity, which the
    // buffer has had all along: it is moved, never reallocated, while in flight.
    unsafe { buf.set_len(buf.len() + count) };
}

pub(super) fn received(
    result: Result<usize, Errno>,
    buffer: Option<u16>,
    transit: &mut TransitPool,
) -> Result<Option<Transit>, Errno> {
    match (result, buffer) {
        (Ok(len), Some(buffer)) if len > 0 => Ok(Some(transit.hold(buffer, len as u32))),
        (result, buffer) => {
            if let Some(buffer) = buffer {
                let nothing = transit.hold(buffer, 0);
                transit.recycle(nothing.buffer);
            }
            result.map(|_| None)
        }
    }
}

fn opened(fd: Fd) -> Result<(Fd, Stat), Errno> {
    let stat = sys::fstat(fd).inspect_err(|_| sys::close(fd))?;
    if stat.kind == FileKind::Regular {
        sys::let_wait(fd);
    }
    Ok((fd, stat))
}

fn stat_once(fd: Fd) -> Result<Stat, Errno> {
    let result = sys::fstat(fd);
    sys::close(fd);
    result
}

/// A length for an entry; one operation may end short anyway.
fn length(len: usize) -> u32 {
    len.min(1 << 30) as u32
}

/// How a name is opened: at once if the kernel has it cached, or taking its time.
struct How {
    cached: OpenHow,
    waiting: OpenHow,
}

/// For both kinds of links.
struct Hows {
    beneath: How,
    deny: How,
}

impl Hows {
    const fn new(flags: i32) -> Hows {
        let beneath = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_MAGICLINKS;
        let deny = beneath | libc::RESOLVE_NO_SYMLINKS;
        Hows { beneath: How::new(flags, beneath), deny: How::new(flags, deny) }
    }

    fn how(&'static self, links: Links) -> &'static How {
        match links {
            Links::Beneath => &self.beneath,
            Links::Deny => &self.deny,
        }
    }
}

impl How {
    const fn new(flags: i32, resolve: u64) -> How {
        let how = OpenHow::new().flags(flags as u64);
        How { cached: how.resolve(resolve | libc::RESOLVE_CACHED), waiting: how.resolve(resolve) }
    }
}

// O_NONBLOCK: opening a FIFO must not wait for a writer. Reading a regular file ignores it.
const READ: i32 = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
const LOOK: i32 = libc::O_PATH | libc::O_CLOEXEC;

static FILE: Hows = Hows::new(READ);
static PATH: Hows = Hows::new(LOOK);
// The operator's own path: it may lead through any links.
static DIRECTORY: How = How::new(LOOK | libc::O_DIRECTORY, 0);

/// From `<linux/io_uring.h>`: do not try before the socket is ready.
const IORING_RECVSEND_POLL_FIRST: u16 = 1;
/// Likewise: go on after a piece has been received.
const IORING_RECV_MULTISHOT: u16 = 2;
