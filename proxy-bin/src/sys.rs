//! The few system calls that the standard library lacks, and all `unsafe` of this program.
//!
//! Owns their safety. Must not know why they are made.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::OnceLock;

/// Raises the soft limit of descriptors to the hard one: every connection needs one.
pub(crate) fn raise_descriptor_limit() -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid for the call, which writes nothing else.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) })?;
    let _ = ORIGINAL_LIMIT.set(limit);
    let raised = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
    // SAFETY: `raised` is valid for the call, which only reads it.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raised) })?;
    Ok(())
}

/// Makes the process that `command` starts end with the calling *thread* (PR_SET_PDEATHSIG in
/// prctl(2)), inherit `inherited`, and have the limit of descriptors that we were started with.
pub(crate) fn bind_to_this_thread(command: &mut Command, inherited: BorrowedFd<'_>) {
    let (inherited, parent) = (inherited.as_raw_fd(), std::process::id());
    let limit = ORIGINAL_LIMIT.get().copied();
    // SAFETY: the closure runs between fork and exec and makes async-signal-safe system calls
    // only; it neither allocates nor takes locks.
    unsafe { command.pre_exec(move || prepare(inherited, parent, limit)) };
}

/// In the child, between fork and exec.
fn prepare(inherited: RawFd, parent: u32, limit: Option<libc::rlimit>) -> io::Result<()> {
    // SAFETY: a system call without pointers.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) })?;
    // The parent may have ended before prctl. SAFETY: cannot fail and has no arguments.
    if unsafe { libc::getppid() }.cast_unsigned() != parent {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    // SAFETY: a system call without pointers, on a descriptor of this process's own table.
    check(unsafe { libc::fcntl(inherited, libc::F_SETFD, 0) })?;
    if let Some(limit) = limit {
        // SAFETY: `limit` is valid for the call, which only reads it.
        check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) })?;
    }
    Ok(())
}

/// A descriptor that becomes readable when process `pid` ends (pidfd_open(2)).
pub(crate) fn pidfd(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: a system call without pointers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = check(fd as libc::c_int)?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Waits until one of `fds` is readable or at its end, and says which; looked at in order.
pub(crate) fn wait_readable<const N: usize>(fds: [BorrowedFd<'_>; N]) -> io::Result<[bool; N]> {
    let mut polled =
        fds.map(|fd| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 });
    loop {
        // SAFETY: `polled` is valid for N entries during the call.
        match check(unsafe { libc::poll(polled.as_mut_ptr(), N as libc::nfds_t, -1) }) {
            Ok(_) => return Ok(polled.map(|fd| fd.revents != 0)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Sends `signal` to a process, or to its group. The caller knows that it is not reaped yet.
pub(crate) fn kill(pid: u32, signal: i32, to: To) -> io::Result<()> {
    let pid = pid.cast_signed();
    assert!(pid > 1, "0, 1 and negative numbers mean others than our child");
    let target = match to {
        To::Process => pid,
        To::Group => -pid,
    };
    // SAFETY: a system call without pointers.
    check(unsafe { libc::kill(target, signal) })?;
    Ok(())
}

/// Who gets a signal.
#[derive(Clone, Copy, Debug)]
pub(crate) enum To {
    Process,
    Group,
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

static ORIGINAL_LIMIT: OnceLock<libc::rlimit> = OnceLock::new();
