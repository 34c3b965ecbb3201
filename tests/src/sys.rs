//! The system calls that the standard library lacks.

#![allow(unsafe_code)]

/// Asks a server to drain and end.
pub const TERM: i32 = libc::SIGTERM;
/// Asks a server to end quickly.
pub const INT: i32 = libc::SIGINT;
/// Asks a server to read its configuration again.
pub const HUP: i32 = libc::SIGHUP;
/// Asks a server to reopen its logs.
pub const USR1: i32 = libc::SIGUSR1;
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

fn pid_of(pid: u32) -> libc::pid_t {
    // 0 and 1 would mean our own group, and everybody.
    assert!(pid > 1, "{pid} is not a process that a test may signal");
    libc::pid_t::try_from(pid).expect("process ids fit")
}

fn send(target: libc::pid_t, signal: i32) -> bool {
    // SAFETY: kill(2) takes two integers and touches no memory.
    unsafe { libc::kill(target, signal) == 0 }
}
