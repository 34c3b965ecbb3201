//! The few system calls that the standard library lacks, and all `unsafe` of this program.
//!
//! Owns their safety. Must not know why they are made.
#![allow(unsafe_code)]

use crate::users::Identity;
use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;
use std::sync::OnceLock;

/// Raises the soft limit of descriptors to the hard one: every connection needs one. Says how many
/// that are.
pub(crate) fn raise_descriptor_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid for the call, which writes nothing else.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) })?;
    let _ = ORIGINAL_LIMIT.set(limit);
    let raised = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
    // SAFETY: `raised` is valid for the call, which only reads it.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raised) })?;
    Ok(limit.rlim_max)
}

/// Makes a file that has reached the limit of its size (`RLIMIT_FSIZE`) an error of the write, not
/// the end of this process.
pub(crate) fn survive_large_files() {
    // SAFETY: no handler is installed.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// Lets every signal through to this thread and to those that it starts: a mask that whoever
/// started us had stays in force (execve(2)).
pub(crate) fn unblock_signals() -> io::Result<()> {
    let mut none = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset(3) fills `none` and cannot fail; the old mask is not asked for.
    let error = unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut())
    };
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}

/// Lets go of ended processes whose parent is this *thread* (`__WNOTHREAD` in wait(2)).
pub(crate) fn reap_children_of_this_thread() {
    let flags = libc::WNOHANG | libc::__WNOTHREAD;
    // SAFETY: no status is asked for.
    while unsafe { libc::waitpid(-1, ptr::null_mut(), flags) } > 0 {}
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
    // HUP asks to reload, and may be ignored here: nohup(1) has it so. XFSZ is ignored by us.
    for signal in [libc::SIGHUP, libc::SIGXFSZ] {
        // SAFETY: signal(2) may be called between fork and exec (signal-safety(7)).
        unsafe { libc::signal(signal, libc::SIG_DFL) };
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

/// Sends `signal` to the process that a [`pidfd`] stands for, and to no other one
/// (pidfd_send_signal(2)).
pub(crate) fn kill_exactly(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let none = ptr::null::<libc::siginfo_t>();
    // SAFETY: without a siginfo_t the call reads no memory.
    let result =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, none, 0) };
    check(result as libc::c_int)?;
    Ok(())
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

/// A line of the user database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UserEntry {
    pub(crate) user: u32,
    pub(crate) group: u32,
}

/// getpwnam_r(3).
pub(crate) fn user_by_name(name: &str) -> io::Result<Option<UserEntry>> {
    let Ok(name) = CString::new(name) else { return Ok(None) };
    // SAFETY: as `look_up` asks; `name` outlives the call.
    let entry = unsafe {
        look_up(|entry, buffer, len, found| {
            libc::getpwnam_r(name.as_ptr(), entry, buffer, len, found)
        })
    };
    Ok(entry?.map(|e: libc::passwd| UserEntry { user: e.pw_uid, group: e.pw_gid }))
}

/// getpwuid_r(3).
pub(crate) fn user_by_number(user: u32) -> io::Result<Option<UserEntry>> {
    // SAFETY: as `look_up` asks.
    let entry = unsafe {
        look_up(|entry, buffer, len, found| libc::getpwuid_r(user, entry, buffer, len, found))
    };
    Ok(entry?.map(|e: libc::passwd| UserEntry { user: e.pw_uid, group: e.pw_gid }))
}

/// getgrnam_r(3): the group's number.
pub(crate) fn group_by_name(name: &str) -> io::Result<Option<u32>> {
    let Ok(name) = CString::new(name) else { return Ok(None) };
    // SAFETY: as `look_up` asks; `name` outlives the call.
    let entry = unsafe {
        look_up(|entry, buffer, len, found| {
            libc::getgrnam_r(name.as_ptr(), entry, buffer, len, found)
        })
    };
    Ok(entry?.map(|e: libc::group| e.gr_gid))
}

/// Asks a database with larger and larger buffers. The pointers in the answer lead nowhere.
///
/// # Safety
/// `ask` is one of the functions `get…_r(3)`: it writes to its arguments only, and on success the
/// last one is null or leads to the first, filled.
unsafe fn look_up<E>(
    ask: impl Fn(*mut E, *mut libc::c_char, usize, *mut *mut E) -> libc::c_int,
) -> io::Result<Option<E>> {
    let mut buffer = vec![0; 1 << 10];
    loop {
        let mut entry = MaybeUninit::<E>::uninit();
        let mut found = ptr::null_mut();
        match ask(entry.as_mut_ptr(), buffer.as_mut_ptr(), buffer.len(), &mut found) {
            0 if found.is_null() => return Ok(None),
            // SAFETY: it has been found, so it has been filled.
            0 => return Ok(Some(unsafe { entry.assume_init() })),
            libc::ERANGE if buffer.len() < 1 << 20 => buffer.resize(buffer.len() * 2, 0),
            // "Not found", as some systems say it.
            libc::ENOENT | libc::ESRCH => return Ok(None),
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}

/// Whose process this is.
pub(crate) fn identity() -> Identity {
    // SAFETY: system calls without arguments that cannot fail.
    unsafe { Identity { user: libc::geteuid(), group: libc::getegid() } }
}

/// Makes all threads of this process the user's and the group's, without other groups. The C
/// library sees to it that all threads change.
pub(crate) fn assume(identity: Identity) -> io::Result<()> {
    let Identity { user, group } = identity;
    // SAFETY: one number may be read at the pointer.
    check(unsafe { libc::setgroups(1, &group) })?;
    // SAFETY: a system call without pointers.
    check(unsafe { libc::setgid(group) })?;
    // SAFETY: a system call without pointers.
    check(unsafe { libc::setuid(user) })?;
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
