//! The arbiter's hands: fork, signals, waiting.
//!
//! Owns the system calls. Must not decide anything.
#![allow(unsafe_code)]

use super::events::{End, Kill, Pid};
use crate::exit::FAILED;
use crate::signals;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// The signals for the arbiter, blocked and read from a descriptor.
#[derive(Debug)]
pub(crate) struct Signals(OwnedFd);

/// A signal, by its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// CHLD: a child has ended.
    Child,
    /// TERM.
    Stop,
    /// INT, QUIT.
    Quit,
    /// HUP.
    Reload,
    /// TTIN.
    More,
    /// TTOU.
    Less,
    /// WINCH.
    Rest,
    /// USR1.
    Reopen,
    /// USR2: caught, so that it does not kill, but without a meaning yet.
    Ignored,
}

impl Signals {
    const ALL: [libc::c_int; 10] = [
        libc::SIGCHLD,
        libc::SIGTERM,
        libc::SIGINT,
        libc::SIGQUIT,
        libc::SIGHUP,
        libc::SIGTTIN,
        libc::SIGTTOU,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGWINCH,
    ];

    pub(crate) fn new() -> io::Result<Signals> {
        // SAFETY: `set` is initialised by sigemptyset before it is used, and lives through the
        // calls. The descriptor is new and ours.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            for signal in Self::ALL {
                libc::sigaddset(&raw mut set, signal);
            }
            check(libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()))?;
            // An ignored SIGCHLD, inherited, would hide the ends of our children (wait(2)).
            libc::signal(libc::SIGCHLD, libc::SIG_DFL);
            let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
            let fd = libc::signalfd(-1, &raw const set, flags);
            check(fd)?;
            Ok(Signals(OwnedFd::from_raw_fd(fd)))
        }
    }

    /// The next signal that has arrived.
    pub(super) fn next(&self) -> Option<Signal> {
        // SAFETY: all-zero is a valid value of this plain structure, which read(2) fills whole
        // or not at all (signalfd(2)).
        let info = unsafe {
            let mut info: libc::signalfd_siginfo = std::mem::zeroed();
            let size = size_of_val(&info);
            let count = libc::read(self.0.as_raw_fd(), (&raw mut info).cast(), size);
            (count == size.cast_signed()).then_some(info)?
        };
        Some(match info.ssi_signo.cast_signed() {
            libc::SIGCHLD => Signal::Child,
            libc::SIGTERM => Signal::Stop,
            libc::SIGINT | libc::SIGQUIT => Signal::Quit,
            libc::SIGHUP => Signal::Reload,
            libc::SIGTTIN => Signal::More,
            libc::SIGTTOU => Signal::Less,
            libc::SIGWINCH => Signal::Rest,
            libc::SIGUSR1 => Signal::Reopen,
            _ => Signal::Ignored,
        })
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Forks a worker that closes `not_for_workers`, runs `body` and exits with its result. The caller
/// is single-threaded.
pub(super) fn fork_worker<'fd>(
    not_for_workers: impl Iterator<Item = BorrowedFd<'fd>>,
    body: impl FnOnce() -> u8,
) -> io::Result<Pid> {
    let arbiter = std::process::id();
    match fork()? {
        None => {
            // Nothing may unwind into the arbiter's frames, which this process has inherited.
            let code = catch_unwind(AssertUnwindSafe(|| {
                become_worker(arbiter, not_for_workers);
                body()
            }));
            std::process::exit(code.unwrap_or(FAILED).into());
        }
        Some(pid) => Ok(pid),
    }
}

/// fork(2): the child's id, and none in the child.
pub(crate) fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: callers are single-threaded, or the child calls only what is async-signal-safe.
    match unsafe { libc::fork() } {
        0 => Ok(None),
        pid if pid > 0 => Ok(Some(pid)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The same without what fork(3) does besides: the child keeps what its handlers would have closed.
pub(crate) fn fork_raw() -> io::Result<Option<Pid>> {
    // SAFETY: the child has a copy of the memory and the stack, and calls only what is
    // async-signal-safe.
    match unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) } {
        0 => Ok(None),
        pid if pid > 0 => Ok(Some(pid as Pid)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sleeps without anything that a forked child of a threaded process may not do.
pub(crate) fn sleep(duration: Duration) {
    let time = libc::timespec {
        tv_sec: libc::time_t::try_from(duration.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    };
    // SAFETY: `time` lives through the call; nanosleep is async-signal-safe.
    unsafe { libc::nanosleep(&raw const time, std::ptr::null_mut()) };
}

/// The next child that has ended, whoever started it.
pub(super) fn reap() -> Option<(Pid, End)> {
    wait(-1)
}

/// Whether this child has ended; if so it is a zombie no more.
pub(crate) fn has_ended(child: Pid) -> bool {
    wait(child).is_some()
}

/// How this child ends, when it has. None: it is none, or another thread has waited for it.
pub(crate) fn end_of(child: Pid) -> Option<End> {
    wait_as(child, 0).map(|(_, end)| end)
}

/// Whether this process is a child, living or ended, that was not waited for.
pub(super) fn is_child(pid: Pid) -> bool {
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: all-zero is a valid `siginfo_t`, which waitid(2) may fill.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        libc::waitid(libc::P_PID, pid.cast_unsigned(), &raw mut info, flags) == 0
    }
}

/// Children of children that have ended become ours.
pub(super) fn adopt_orphans() -> io::Result<()> {
    // SAFETY: a system call without pointers.
    check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) })
}

/// Ends a child at once, and waits for that.
pub(super) fn kill_and_wait(child: Pid) {
    send(child, libc::SIGKILL);
    // SAFETY: a system call without pointers that are read or written.
    unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
}

/// For a process that was forked twice: waits until it is a child of `arbiter`, and from then on
/// ends with it.
pub(crate) fn join(arbiter: u32) -> io::Result<()> {
    let first = std::os::unix::process::parent_id();
    let parent = loop {
        match std::os::unix::process::parent_id() {
            parent if parent != first || parent == arbiter => break parent,
            // It may have ended so early that `first` is already whoever adopts orphans instead.
            _ if !exists(arbiter) => return Err(io::Error::other("the arbiter has ended")),
            _ => sleep(Duration::from_micros(100)),
        }
    };
    set_parent_death_signal(libc::SIGTERM)?;
    match parent == arbiter && std::os::unix::process::parent_id() == arbiter {
        true => Ok(()),
        false => Err(io::Error::other("the arbiter has ended")),
    }
}

fn exists(pid: u32) -> bool {
    // SAFETY: a system call without pointers; signal 0 does nothing.
    let result = unsafe { libc::kill(pid.cast_signed(), 0) };
    result == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
}

/// Signals a worker. That it is gone already will be seen when it is reaped.
pub(super) fn signal(pid: Pid, kill: Kill) {
    match kill {
        Kill::Gracefully => send(pid, libc::SIGTERM),
        Kill::Interrupt => {
            // First: a wait that TERM has interrupted goes on, and the handler of Python with it.
            send_caught(pid, &[signals::interruption(), libc::SIGABRT]);
            // An idle thread runs no Python, and would take another request.
            send(pid, libc::SIGTERM);
        }
        Kill::Explain => send_caught(pid, &[signals::explanation()]),
        Kill::Quickly => send(pid, libc::SIGQUIT),
        Kill::Forcibly => send(pid, libc::SIGKILL),
    }
}

/// Sends the first of these for which the process has a handler; to the main thread, where Python
/// handles signals.
fn send_caught(pid: Pid, signals: &[libc::c_int]) {
    if let Some(&signal) = signals.iter().find(|&&signal| catches(pid, signal)) {
        // SAFETY: a system call without pointers; the pid is of an unreaped child.
        unsafe { libc::syscall(libc::SYS_tgkill, pid, pid, signal) };
    }
}

/// Has a worker open its log file anew.
pub(super) fn reopen_log(pid: Pid) {
    send(pid, libc::SIGUSR1);
}

/// Whether this process has a handler for the signal (proc_pid_status(5), `SigCgt`).
fn catches(pid: Pid, signal: libc::c_int) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 << (signal - 1) != 0)
}

fn send(pid: Pid, signal: libc::c_int) {
    // SAFETY: a system call without pointers; the pid is of an unreaped child.
    unsafe { libc::kill(pid, signal) };
}

/// Has this process terminated when its parent ends.
pub(super) fn end_with_parent() -> io::Result<()> {
    let parent = std::os::unix::process::parent_id();
    set_parent_death_signal(libc::SIGTERM)?;
    if std::os::unix::process::parent_id() != parent {
        return Err(io::Error::other("the supervisor has already ended"));
    }
    Ok(())
}

/// Has this process, which `parent` has forked, killed when that ends.
pub(crate) fn die_with(parent: u32) -> io::Result<()> {
    set_parent_death_signal(libc::SIGKILL)?;
    match std::os::unix::process::parent_id() == parent {
        true => Ok(()),
        false => Err(io::Error::other("its parent has already ended")),
    }
}

/// Gives this process, whichever thread asks, the short name that ps and top show; more than 15
/// bytes are cut off (proc_pid_comm(5)).
pub(crate) fn set_name(name: &str) {
    let Ok(text) = std::ffi::CString::new(name) else { return };
    if std::fs::write("/proc/self/comm", name).is_err() {
        // Of a process that has changed its user only the thread's own can be changed, which is
        // the main one as yet.
        // SAFETY: prctl(2) reads at most 16 bytes of a string that lives through the call.
        unsafe { libc::prctl(libc::PR_SET_NAME, text.as_ptr()) };
    }
}

/// Bytes.
pub(super) fn page_size() -> u64 {
    // SAFETY: a system call without pointers.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// Whether a terminal can send us signals that nobody has meant.
pub(super) fn has_terminal() -> bool {
    std::fs::File::open("/dev/tty").is_ok()
}

/// Lets a descriptor survive exec(2).
pub(crate) fn keep_on_exec(fd: RawFd) -> io::Result<()> {
    // SAFETY: a system call, which fails on a number that is no open descriptor.
    check(unsafe { libc::fcntl(fd, libc::F_SETFD, 0) })
}

/// Takes over a descriptor that the supervisor has passed by number.
pub(crate) fn inherited(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: system calls that fail on a number that is no open descriptor; an open one was
    // named as ours by the supervisor, and nobody else in this process knows of it.
    unsafe {
        check(libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// Sets variables for the application.
pub(crate) fn set_environment(variables: &[(String, String)]) {
    for (name, value) in variables {
        // SAFETY: the arbiter, and a worker that begins, are single-threaded.
        unsafe { std::env::set_var(name, value) };
    }
}

/// Forgets what was meant for this process and not for its children.
pub(crate) fn forget_environment(names: &[&str]) {
    for name in names {
        // SAFETY: the arbiter is single-threaded.
        unsafe { std::env::remove_var(name) };
    }
}

fn become_worker<'fd>(arbiter: u32, not_for_workers: impl Iterator<Item = BorrowedFd<'fd>>) {
    for fd in not_for_workers {
        // SAFETY: their owners are in frames of the arbiter, to which a worker never returns.
        unsafe { libc::close(fd.as_raw_fd()) };
    }
    // SIGPIPE stays ignored, as Rust and Python want it; SIGSEGV and SIGBUS tell of a stack
    // overflow.
    let kept = [libc::SIGPIPE, libc::SIGSEGV, libc::SIGBUS];
    // SAFETY: system calls, which refuse what cannot be changed; `set` is initialised before it
    // is used.
    unsafe {
        for signal in (1..=libc::SIGRTMAX()).filter(|signal| !kept.contains(signal)) {
            libc::signal(signal, libc::SIG_DFL);
        }
        // Until the worker handles it: to open a log file anew must not kill it.
        libc::signal(libc::SIGUSR1, libc::SIG_IGN);
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    }
    wake_up_politely();
    let armed = set_parent_death_signal(libc::SIGTERM).is_ok();
    if !armed || std::os::unix::process::parent_id() != arbiter {
        std::process::exit(FAILED.into());
    }
}

/// A worker that wakes up does not interrupt who runs on its core (sched(7), `SCHED_BATCH`): waking
/// it costs the edge no interrupt to the other core, and several requests are served per switch.
/// Priorities and shares stay as they are.
fn wake_up_politely() {
    let priority = libc::sched_param { sched_priority: 0 };
    // SAFETY: `priority` lives through the call. Where the policy is not allowed, nothing changes.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const priority) };
}

fn set_parent_death_signal(signal: libc::c_int) -> io::Result<()> {
    // SAFETY: a system call without pointers.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal) })
}

fn wait(child: Pid) -> Option<(Pid, End)> {
    wait_as(child, libc::WNOHANG)
}

fn wait_as(child: Pid, flags: libc::c_int) -> Option<(Pid, End)> {
    let mut status = 0;
    // SAFETY: `status` lives through the call.
    let pid = unsafe { libc::waitpid(child, &raw mut status, flags) };
    if pid <= 0 {
        return None;
    }
    let end = match libc::WIFSIGNALED(status) {
        true => End::Signal(libc::WTERMSIG(status)),
        // Its parent gets no more than eight bits of it (exit(3)).
        false => End::Code(libc::WEXITSTATUS(status) as u8),
    };
    Some((pid, end))
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_joins_an_arbiter_that_has_ended_does_not_wait_for_it() {
        let mut ended = std::process::Command::new("true").spawn().unwrap();
        let pid = ended.id();
        ended.wait().unwrap();
        assert!(join(pid).is_err());
    }

    #[test]
    fn handlers_are_seen() {
        let own = std::process::id().cast_signed();
        // Rust's runtime reports stack overflows.
        assert!(catches(own, libc::SIGSEGV));
        assert!(!catches(own, libc::SIGABRT));
        assert!(!catches(-1, libc::SIGSEGV));
    }
}
