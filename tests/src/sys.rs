//! The system calls that the standard library lacks.

#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

/// Asks a server to drain and end.
pub const TERM: i32 = libc::SIGTERM;
/// Asks a server to end quickly.
pub const INT: i32 = libc::SIGINT;
/// Asks a server to read its configuration again.
pub const HUP: i32 = libc::SIGHUP;
/// Asks a server to reopen its logs.
pub const USR1: i32 = libc::SIGUSR1;
/// For the application, if it wants it.
pub const USR2: i32 = libc::SIGUSR2;
/// Asks an arbiter for one worker more.
pub const TTIN: i32 = libc::SIGTTIN;
/// Asks an arbiter for one worker less.
pub const TTOU: i32 = libc::SIGTTOU;
/// Stops a process that is not asked, until it gets [`CONT`].
pub const STOP: i32 = libc::SIGSTOP;
/// Lets a stopped process go on.
pub const CONT: i32 = libc::SIGCONT;
/// Ends a process that is not asked.
pub const KILL: i32 = libc::SIGKILL;

/// kill(2) of one process; whether it existed.
pub(crate) fn kill(pid: u32, signal: i32) -> bool {
    send(pid_of(pid), signal)
}

/// kill(2) of a process group; whether it existed.
pub(crate) fn kill_group(leader: u32, signal: i32) -> bool {
    send(-pid_of(leader), signal)
}

/// poll(2): waits until some of these can be read or have ended, and says which.
pub(crate) fn readable(files: &[BorrowedFd<'_>], timeout: Duration) -> Vec<bool> {
    let poll = |file: &BorrowedFd<'_>| libc::pollfd {
        fd: file.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let mut polls: Vec<libc::pollfd> = files.iter().map(poll).collect();
    let seconds = libc::time_t::try_from(timeout.as_secs()).expect("tests are short");
    let timeout = libc::timespec { tv_sec: seconds, tv_nsec: timeout.subsec_nanos().into() };
    let count = libc::nfds_t::try_from(polls.len()).expect("counts fit");
    // SAFETY: `polls` has `count` elements and outlives the call; no signal mask is given.
    unsafe { libc::ppoll(polls.as_mut_ptr(), count, &timeout, std::ptr::null()) };
    polls.iter().map(|poll| poll.revents != 0).collect()
}

/// Makes the process that `command` starts a subreaper (PR_SET_CHILD_SUBREAPER in prctl(2)).
pub(crate) fn adopt_orphans(command: &mut Command) {
    let adopt = || {
        // SAFETY: a system call without pointers.
        let result = unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
        if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    // SAFETY: between fork and exec one system call is made and nothing allocated.
    unsafe { command.pre_exec(adopt) };
}

/// Whether this test may become other users.
pub fn is_root() -> bool {
    // SAFETY: geteuid(2) has no arguments and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Runs `act` in a thread that is this user's and this group's, which needs root.
///
/// # Panics
/// When it may not, or `act` panics.
pub fn as_user<T: Send>(user: u32, act: impl FnOnce() -> T + Send) -> T {
    let change_and_act = || {
        for call in [libc::SYS_setresgid, libc::SYS_setresuid] {
            // SAFETY: a system call without pointers. Made directly it concerns this thread only,
            // which runs nothing but `act`.
            let result = unsafe { libc::syscall(call, user, user, user) };
            assert_eq!(result, 0, "only root can become user {user}");
        }
        act()
    };
    std::thread::scope(|scope| scope.spawn(change_and_act).join()).expect("it does not panic")
}

/// Lets a process have at most so many descriptors open (`RLIMIT_NOFILE`, prlimit(2)): no new one
/// if it has as many. The limit that it had.
///
/// # Panics
/// When there is no such process, or it is not ours.
pub fn limit_descriptors(pid: u32, most: u64) -> u64 {
    limit(pid, libc::RLIMIT_NOFILE, most)
}

/// Lets a process write files up to this size in bytes (`RLIMIT_FSIZE`, prlimit(2)). The limit that
/// it had.
///
/// # Panics
/// When there is no such process, or it is not ours.
pub fn limit_file_size(pid: u32, most: u64) -> u64 {
    limit(pid, libc::RLIMIT_FSIZE, most)
}

fn limit(pid: u32, resource: libc::__rlimit_resource_t, most: u64) -> u64 {
    let mut before = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `before` may be written for the whole call; no new limit is passed.
    let read = unsafe { libc::prlimit(pid_of(pid), resource, std::ptr::null(), &mut before) };
    let after = libc::rlimit { rlim_cur: most, ..before };
    // SAFETY: `after` is only read; no old limit is asked for.
    let set = unsafe { libc::prlimit(pid_of(pid), resource, &after, std::ptr::null_mut()) };
    assert_eq!((read, set), (0, 0), "{pid} is not a process whose limits a test may change");
    before.rlim_cur
}

/// Lets this process have as many descriptors open as it may ask for.
pub fn raise_descriptor_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` outlives both calls, of which the first may write it.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
    }
}

/// Time that a process has spent on a CPU, in user and in kernel mode, with all its threads.
///
/// # Panics
/// When there is no such process.
pub fn cpu_time(pid: u32) -> Duration {
    let (mut clock, mut time) = (0, libc::timespec { tv_sec: 0, tv_nsec: 0 });
    // SAFETY: `clock` and `time` may be written for the whole calls.
    let result = unsafe {
        libc::clock_getcpuclockid(pid_of(pid), &mut clock) | libc::clock_gettime(clock, &mut time)
    };
    assert_eq!(result, 0, "{pid} is not a process");
    let part = |number: i64| u64::try_from(number).expect("clocks count from zero");
    Duration::from_secs(part(time.tv_sec)) + Duration::from_nanos(part(time.tv_nsec))
}

fn pid_of(pid: u32) -> libc::pid_t {
    // 0 and 1 would mean our own group, and everybody.
    assert!(pid > 1, "{pid} is not a process that a test may signal");
    libc::pid_t::try_from(pid).expect("process ids fit")
}

fn send(target: libc::pid_t, signal: i32) -> bool {
    // SAFETY: kill(2) takes two integers and touches no memory.
    unsafe { libc::kill(target, signal) == 0 }
}
