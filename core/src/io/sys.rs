//! The few system calls that Linux performs without waiting, as safe functions.
//!
//! Owns the conversion of their results. Must not know rings, nor decide anything.

#![allow(unsafe_code)]

use super::{Direction, Errno, Fd, FileKind, Peer, Stat, Time};
use io_uring::types::OpenHow;
use socket2::{SockAddr, SockFilter, SockRef};
use std::ffi::CStr;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};

/// sendfile(2). An end that the peer has closed raises `SIGPIPE` besides `EPIPE`, and there is no
/// flag against it: see [`block_broken_pipes`].
pub(super) fn sendfile(socket: Fd, file: Fd, offset: u64, len: u32) -> Result<usize, Errno> {
    let mut position = offset.min(i64::MAX as u64) as libc::off64_t;
    // SAFETY: `position` outlives the call; no other memory is passed.
    retried(|| unsafe { libc::sendfile64(socket, file, &mut position, len as usize) as i64 })
        .map(|sent| sent as usize)
}

/// Blocks `SIGPIPE` in this thread, to which alone the kernel sends it. Rust's runtime ignores it
/// in the whole process, but the process may be another language's, or may not want that.
pub(crate) fn block_broken_pipes() {
    // SAFETY: the set is initialized before it is used, and no signal's action changes.
    unsafe {
        let mut signals: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&mut signals);
        libc::sigaddset(&mut signals, libc::SIGPIPE);
        libc::pthread_sigmask(libc::SIG_BLOCK, &signals, std::ptr::null_mut());
    }
}

/// preadv2(2) of one byte that does not wait for a disk (`RWF_NOWAIT`): how many bytes were there.
pub(super) fn read_byte_now(file: Fd, offset: u64) -> Result<usize, Errno> {
    let mut byte = 0u8;
    let part = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let offset = offset.min(i64::MAX as u64) as libc::off_t;
    // SAFETY: one byte may be written to `byte`, which outlives the call, as `part` does.
    retried(|| unsafe { libc::preadv2(file, &part, 1, offset, libc::RWF_NOWAIT) as i64 })
        .map(|count| count as usize)
}

/// Takes `O_NONBLOCK` from a regular file. It means nothing to the file, but a ring takes it for
/// the promise that a read does not wait, and reads inline what it should have left to a thread,
/// on file systems that cannot be asked without waiting.
pub(super) fn let_wait(file: Fd) {
    // SAFETY: no memory is passed.
    unsafe { libc::fcntl(file, libc::F_SETFL, 0) };
}

/// malloc_trim(3): gives the pages of the heap that hold nothing back to the system. Other C
/// libraries than glibc do that by themselves, or not at all.
pub(super) fn trim_heap() {
    // SAFETY: no memory is passed, and none in use is touched.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0)
    };
}

/// openat2(2).
pub(super) fn openat2(directory: Fd, path: &CStr, how: &OpenHow) -> Result<Fd, Errno> {
    // SAFETY: `path` ends with a zero byte, `how` is laid out as struct open_how of the size that
    // we pass, and both outlive the call.
    retried(|| unsafe {
        libc::syscall(
            libc::SYS_openat2,
            directory,
            path.as_ptr(),
            how as *const OpenHow,
            mem::size_of::<OpenHow>(),
        )
    })
    .map(|fd| fd as Fd)
}

/// fstat(2).
pub(super) fn fstat(fd: Fd) -> Result<Stat, Errno> {
    // SAFETY: struct stat consists of integers, for which zero is a value.
    let mut stat: libc::stat = unsafe { mem::zeroed() };
    // SAFETY: `stat` may be written for the whole call.
    retried(|| i64::from(unsafe { libc::fstat(fd, &mut stat) }))?;
    let kind = match stat.st_mode & libc::S_IFMT {
        libc::S_IFREG => FileKind::Regular,
        libc::S_IFDIR => FileKind::Directory,
        _ => FileKind::Other,
    };
    Ok(Stat {
        kind,
        size: stat.st_size.max(0) as u64,
        mtime: (stat.st_mtime, stat.st_mtime_nsec as u32),
        ctime: (stat.st_ctime, stat.st_ctime_nsec as u32),
        device: stat.st_dev,
        inode: stat.st_ino,
    })
}

/// accept4(2) that never waits. The listener stays non-blocking from then on.
pub(super) fn accept(listener: Fd) -> Result<Fd, Errno> {
    // SAFETY: fcntl(2) with F_GETFL and F_SETFL, and accept4(2) without addresses, pass no memory.
    unsafe {
        let flags = retried(|| i64::from(libc::fcntl(listener, libc::F_GETFL)))? as libc::c_int;
        if flags & libc::O_NONBLOCK == 0 {
            let flags = flags | libc::O_NONBLOCK;
            retried(|| i64::from(libc::fcntl(listener, libc::F_SETFL, flags)))?;
        }
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        let (address, len) = (std::ptr::null_mut(), std::ptr::null_mut());
        retried(|| i64::from(libc::accept4(listener, address, len, flags))).map(|fd| fd as Fd)
    }
}

/// getpeername(2) of a TCP socket.
pub(super) fn peer_address(fd: Fd) -> Result<SocketAddr, Errno> {
    // SAFETY: the caller holds the descriptor open for the whole call.
    let socket = unsafe { BorrowedFd::borrow_raw(fd) };
    internet(SockRef::from(&socket).peer_addr())
}

/// getsockname(2) of a TCP socket.
pub(super) fn local_address(fd: Fd) -> Result<SocketAddr, Errno> {
    // SAFETY: the caller holds the descriptor open for the whole call.
    let socket = unsafe { BorrowedFd::borrow_raw(fd) };
    internet(SockRef::from(&socket).local_addr())
}

fn internet(address: std::io::Result<SockAddr>) -> Result<SocketAddr, Errno> {
    let address = address.map_err(|error| errno_of(&error))?;
    address.as_socket().ok_or(Errno(libc::EAFNOSUPPORT))
}

/// A socket filter (BPF) that drops what begins a connection. The client sends it again a second
/// later, which finds no listener any more, or another one.
pub(super) fn drop_connection_requests(listener: Fd) {
    const FLAGS: u32 = 13;
    const SYN: u32 = 0x02;
    let ret = |bytes| SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, bytes);
    let filter = [
        // A filter of a TCP socket sees segments from their TCP header on (RFC 9293 section 3.1).
        SockFilter::new((libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16, 0, 0, FLAGS),
        SockFilter::new((libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16, 0, 1, SYN),
        ret(0),
        ret(u32::MAX),
    ];
    // SAFETY: the caller holds the descriptor open for the whole call.
    let socket = unsafe { BorrowedFd::borrow_raw(listener) };
    if let Err(error) = SockRef::from(&socket).attach_filter(&filter) {
        tracing::debug!(%error, "a connection that begins while we stop may be reset");
    }
}

/// The user that this process acts as.
pub(crate) fn effective_user() -> u32 {
    // SAFETY: a system call without arguments that cannot fail.
    unsafe { libc::geteuid() }
}

/// Who connected a Unix socket.
pub(super) fn peer(socket: Fd) -> Peer {
    let mut peer = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    let (level, name) = (libc::SOL_SOCKET, libc::SO_PEERCRED);
    // SAFETY: `len` bytes may be written to `peer`, and both outlive the call.
    unsafe { libc::getsockopt(socket, level, name, (&raw mut peer).cast(), &mut len) };
    Peer { process: peer.pid.max(0) as u32, user: peer.uid }
}

/// Whether something has arrived that was not received (`FIONREAD`, unix(7)). An end of file is
/// nothing.
pub(super) fn has_input(socket: Fd) -> bool {
    let mut unread: libc::c_int = 0;
    // SAFETY: the kernel writes one int to `unread`, which outlives the call.
    let result = unsafe { libc::ioctl(socket, libc::FIONREAD, &raw mut unread) };
    result == 0 && unread > 0
}

/// Whether the socket has failed with `ECONNRESET`, which it says once. Takes no bytes.
pub(super) fn was_reset(socket: Fd) -> bool {
    let (mut byte, flags) = (0_u8, libc::MSG_PEEK | libc::MSG_DONTWAIT);
    // SAFETY: one byte may be written to `byte`, which outlives the call.
    let result = retried(|| unsafe { libc::recv(socket, (&raw mut byte).cast(), 1, flags) as i64 });
    result == Err(Errno(libc::ECONNRESET))
}

/// Bytes sent that the peer has not acknowledged (`SIOCOUTQ`, tcp(7)) or, on a Unix socket, not
/// received, with what the kernel adds for itself; 0 if nobody knows.
pub(super) fn unsent(socket: Fd) -> u64 {
    let mut unsent: libc::c_int = 0;
    // SAFETY: the kernel writes one int to `unsent`, which outlives the call.
    let result = unsafe { libc::ioctl(socket, libc::TIOCOUTQ, &raw mut unsent) };
    if result == 0 { unsent.max(0) as u64 } else { 0 }
}

/// Whether the files of a directory are in memory, as far as statfs(2) says.
pub(super) fn is_in_memory(directory: &CStr) -> bool {
    // SAFETY: struct statfs consists of integers, for which zero is a value.
    let mut found: libc::statfs = unsafe { mem::zeroed() };
    // SAFETY: the path ends with a zero byte, and `found` may be written for the whole call.
    let result = unsafe { libc::statfs(directory.as_ptr(), &mut found) };
    result == 0 && matches!(found.f_type as i64, TMPFS_MAGIC | RAMFS_MAGIC)
}

// From `<linux/magic.h>`.
const TMPFS_MAGIC: i64 = 0x0102_1994;
const RAMFS_MAGIC: i64 = 0x8584_58f6;

/// shutdown(2); its errors mean that the connection has ended already.
pub(super) fn shutdown(fd: Fd, direction: Direction) {
    let how = match direction {
        Direction::Write => libc::SHUT_WR,
        Direction::Both => libc::SHUT_RDWR,
        Direction::Abort => return disconnect(fd),
    };
    // SAFETY: no memory is passed.
    unsafe { libc::shutdown(fd, how) };
}

/// connect(2) to nothing, which dissolves a TCP connection.
fn disconnect(fd: Fd) {
    // SAFETY: zero is a value of the address, of which as much is read as is said.
    unsafe {
        let mut nothing: libc::sockaddr = mem::zeroed();
        nothing.sa_family = libc::AF_UNSPEC as libc::sa_family_t;
        libc::connect(fd, &nothing, size_of::<libc::sockaddr>() as libc::socklen_t);
    }
}

/// close(2). Whatever it answers, the descriptor is gone.
pub(crate) fn close(fd: Fd) {
    // SAFETY: no memory is passed; the caller gives up the descriptor.
    unsafe { libc::close(fd) };
}

/// eventfd(2), blocking: a ring must be able to wait for it.
pub(super) fn eventfd() -> Result<OwnedFd, Errno> {
    // SAFETY: no memory is passed.
    let fd = retried(|| i64::from(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) }))? as Fd;
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Adds one to an eventfd.
pub(super) fn signal(eventfd: Fd) {
    let one = 1u64;
    // SAFETY: eight bytes are read from `one`, which outlives the call.
    let write = || unsafe { libc::write(eventfd, (&raw const one).cast(), 8) as i64 };
    // The counter would overflow after 2^64 signals that nobody read: it cannot fail.
    let _ = retried(write);
}

/// The monotonic clock.
pub(crate) fn monotonic() -> Time {
    let now = clock(libc::CLOCK_MONOTONIC);
    Time(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
}

/// Seconds since 1970. A coarse clock is exact enough, and cheaper.
pub(super) fn unix_seconds() -> u64 {
    clock(libc::CLOCK_REALTIME_COARSE).tv_sec.max(0) as u64
}

/// The running kernel's release, as uname(2) says it.
pub(super) fn kernel_release() -> String {
    // SAFETY: struct utsname consists of bytes, for which zero is a value.
    let mut name: libc::utsname = unsafe { mem::zeroed() };
    // SAFETY: `name` may be written for the whole call.
    unsafe { libc::uname(&mut name) };
    let release = name.release.iter().map(|&byte| byte as u8).take_while(|&byte| byte != 0);
    String::from_utf8_lossy(&release.collect::<Vec<u8>>()).into_owned()
}

fn clock(clock: libc::clockid_t) -> libc::timespec {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` may be written for the whole call. With these clocks it cannot fail.
    unsafe { libc::clock_gettime(clock, &mut now) };
    now
}

pub(super) fn retried(mut call: impl FnMut() -> i64) -> Result<i64, Errno> {
    loop {
        match call() {
            -1 => match last_errno() {
                Errno(libc::EINTR) => continue,
                errno => return Err(errno),
            },
            value => return Ok(value),
        }
    }
}

fn last_errno() -> Errno {
    errno_of(&std::io::Error::last_os_error())
}

/// The error number of an error that a system call has answered.
pub(super) fn errno_of(error: &std::io::Error) -> Errno {
    Errno(error.raw_os_error().unwrap_or(libc::EIO))
}
