//! Signals of a worker process, which children that an application forks must not inherit.
//!
//! Owns the handlers, and the end of children that come back to the server all the same. Must not
//! know what stopping means for a connection.
#![allow(unsafe_code)]

use crate::log_file::{ACCESS, ERRORS};
use rustix::event::{EventfdFlags, eventfd};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};
use std::sync::{Once, OnceLock};
use std::time::Duration;

/// The wish to stop, as a descriptor that becomes readable and stays so: whoever waits for input
/// waits for it as well, and no wish is lost between a look and a wait.
#[derive(Debug)]
pub(crate) struct Stop {
    fd: OwnedFd,
    /// The same, for a look that costs nothing.
    requested: AtomicBool,
}

impl Stop {
    pub(crate) fn new() -> io::Result<Stop> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Stop { fd, requested: AtomicBool::new(false) })
    }

    /// From now on TERM is this wish, USR1 opens the log file anew, and INT and QUIT end the
    /// process at once: what is unconsumed tells the edge that it was not started. If the arbiter
    /// is gone, nobody is left to enforce `grace`: the process does so itself.
    ///
    /// Lives as long as the process.
    pub(crate) fn on_signals(self, arbiter: u32, grace: Duration) -> io::Result<&'static Stop> {
        let stop: &'static Stop = Box::leak(Box::new(self));
        ARBITER.store(arbiter, Ordering::Relaxed);
        GRACE.store(u32::try_from(grace.as_secs()).unwrap_or(u32::MAX).max(1), Ordering::Relaxed);
        STOP.store(ptr::from_ref(stop).cast_mut(), Ordering::Release);
        WORKER.store(std::process::id(), Ordering::Release);
        protect_forks();
        leave_others()?;
        handle(libc::SIGUSR1, on_reopen as *const () as libc::sighandler_t)?;
        handle(libc::SIGTERM, on_term as *const () as libc::sighandler_t)?;
        handle(libc::SIGINT, on_quick as *const () as libc::sighandler_t)?;
        handle(libc::SIGQUIT, on_quick as *const () as libc::sighandler_t)?;
        Ok(stop)
    }

    /// This wish.
    pub(crate) fn request(&self) {
        self.requested.store(true, Ordering::Relaxed);
        // The counter cannot fill up, and if it did the descriptor would be readable all the same.
        let _ = rustix::io::write(&self.fd, &1u64.to_ne_bytes());
    }

    /// Whether it is there.
    pub(crate) fn is_requested(&self) -> bool {
        self.requested.load(Ordering::Relaxed)
    }
}

impl AsFd for Stop {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Leaves those to the arbiter that are meant for it, though sent to all: to a group, or by a name.
/// The application may have another use for them.
pub(crate) fn leave_others() -> io::Result<()> {
    for signal in [libc::SIGHUP, libc::SIGUSR2] {
        if is_default(signal)? {
            handle(signal, on_others as *const () as libc::sighandler_t)?;
        }
    }
    Ok(())
}

/// A mold: the arbiter tells it to end, when it is time. What a signal to all does until then is
/// nothing, unless the arbiter is gone.
#[derive(Debug)]
pub(crate) struct Deaf([(libc::c_int, libc::sigaction); 2]);

impl Deaf {
    /// From now on.
    pub(crate) fn new(arbiter: u32) -> io::Result<Deaf> {
        ARBITER.store(arbiter, Ordering::Relaxed);
        let before = |signal| Ok::<_, io::Error>((signal, present(signal)?));
        let before = [before(libc::SIGTERM)?, before(libc::SIGINT)?];
        handle(libc::SIGTERM, on_term_of_mold as *const () as libc::sighandler_t)?;
        handle(libc::SIGINT, on_others as *const () as libc::sighandler_t)?;
        Ok(Deaf(before))
    }

    /// In a worker that it has made: as before.
    pub(crate) fn hear(&self) {
        for (signal, action) in &self.0 {
            // SAFETY: what this process has had, and that lives through the call.
            unsafe { libc::sigaction(*signal, action, ptr::null_mut()) };
        }
    }
}

/// To a worker whose request takes too long, if it has a handler: for languages whose threads can
/// be interrupted. ABRT is the application's own.
pub(crate) fn interruption() -> libc::c_int {
    libc::SIGRTMAX() - 1
}

/// To a worker that will be killed, likewise: it may say what it is doing.
pub(crate) fn explanation() -> libc::c_int {
    libc::SIGRTMAX() - 2
}

/// The wish to stop of this process. One that is no worker, not yet or because the application of
/// one has forked it, ends as by TERM. May be called in a handler.
pub(crate) fn request_stop() {
    if is_for_child(libc::SIGTERM) {
        return;
    }
    // SAFETY: getppid and alarm are async-signal-safe, and so is a request; `STOP` is null or lives
    // as long as the process.
    unsafe {
        if let Some(stop) = STOP.load(Ordering::Acquire).as_ref() {
            stop.request();
        }
        if libc::getppid().cast_unsigned() != ARBITER.load(Ordering::Relaxed) {
            libc::alarm(GRACE.load(Ordering::Relaxed));
        }
    }
}

/// TERM, which may come again while the process ends, has the worker's handler once more.
pub(crate) fn keep_term() -> io::Result<()> {
    handle(libc::SIGTERM, on_term as *const () as libc::sighandler_t)
}

/// Handlers that a language does not run in the middle of other code, but when a wait has ended.
#[derive(Debug)]
pub(crate) struct Deferred {
    run: fn(),
    /// No signal is lost between a look and a wait.
    near: UnixStream,
    far: UnixStream,
}

impl Deferred {
    /// From now on `run` is called when a wait is interrupted by a signal, or by a byte that is
    /// written to the descriptor: for the first one of a process.
    pub(crate) fn set(run: fn()) -> io::Result<RawFd> {
        let (near, far) = UnixStream::pair()?;
        near.set_nonblocking(true)?;
        far.set_nonblocking(true)?;
        Ok(DEFERRED.get_or_init(|| Deferred { run, near, far }).far.as_raw_fd())
    }

    /// Those of this process.
    pub(crate) fn get() -> Option<&'static Deferred> {
        DEFERRED.get()
    }

    pub(crate) fn run(&self) {
        while matches!((&self.near).read(&mut [0; 64]), Ok(1..)) {}
        (self.run)();
    }
}

/// Is readable when they are to be run.
impl AsFd for Deferred {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.near.as_fd()
    }
}

/// Ends the process as a crash would: nothing is flushed, no destructor runs.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: never returns, touches no memory.
    unsafe { libc::_exit(code) }
}

/// Whether this process is no worker, but a child that the application of one has forked.
pub(crate) fn is_forked() -> bool {
    IS_FORKED.load(Ordering::Relaxed)
}

/// Ends the process, if the application has forked it. It has come back from the application by
/// mistake: it would be a second worker, which nobody has started and nobody can end.
pub(crate) fn end_if_forked() {
    if is_forked() {
        // Standard output is flushed, if no thread of the parent was using it.
        std::process::exit(i32::from(std::thread::panicking()));
    }
}

/// Seconds.
const END_OF_MOLD: u32 = 2;

static DEFERRED: OnceLock<Deferred> = OnceLock::new();
static IS_FORKED: AtomicBool = AtomicBool::new(false);
static STOP: AtomicPtr<Stop> = AtomicPtr::new(ptr::null_mut());
/// The process that the handlers are for.
static WORKER: AtomicU32 = AtomicU32::new(0);
static ARBITER: AtomicU32 = AtomicU32::new(0);
static GRACE: AtomicU32 = AtomicU32::new(1);

/// A signal to the child of an application would stop its parent.
fn protect_forks() {
    static REGISTER: Once = Once::new();
    // SAFETY: the handler calls async-signal-safe functions only.
    REGISTER.call_once(|| unsafe {
        libc::pthread_atfork(None, None, Some(after_fork_in_child));
    });
}

unsafe extern "C" fn after_fork_in_child() {
    IS_FORKED.store(true, Ordering::Relaxed);
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT, libc::SIGUSR1] {
        // SAFETY: async-signal-safe.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Nobody has seen to it.
fn is_default(signal: libc::c_int) -> io::Result<bool> {
    Ok(present(signal)?.sa_sigaction == libc::SIG_DFL)
}

fn present(signal: libc::c_int) -> io::Result<libc::sigaction> {
    // SAFETY: all-zero is a valid sigaction.
    let mut present: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: `present` lives through the call, which changes nothing else.
    if unsafe { libc::sigaction(signal, ptr::null(), &raw mut present) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(present)
}

fn handle(signal: libc::c_int, handler: libc::sighandler_t) -> io::Result<()> {
    // SAFETY: all-zero is a valid sigaction: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    // The application's system calls go on; ours wait for `Stop` as well.
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: `action` lives through the call, the handler is async-signal-safe.
    if unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// A child of the worker may get a signal before [`after_fork_in_child`] has run there, or may have
/// come past fork(3). Then this is no worker's business: the signal does what it does by default as
/// soon as the handler has returned.
fn is_for_child(signal: libc::c_int) -> bool {
    // SAFETY: async-signal-safe, and without pointers.
    unsafe {
        let is_for_child = libc::getpid().cast_unsigned() != WORKER.load(Ordering::Relaxed);
        if is_for_child {
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal);
        }
        is_for_child
    }
}

extern "C" fn on_term(_signal: libc::c_int) {
    // SAFETY: reads and writes this thread's errno.
    unsafe {
        let errno = *libc::__errno_location();
        request_stop();
        *libc::__errno_location() = errno;
    }
}

/// Nobody is left to kill it if it does not end.
extern "C" fn on_term_of_mold(_signal: libc::c_int) {
    // SAFETY: async-signal-safe, without pointers, and cannot fail.
    unsafe {
        if libc::getppid().cast_unsigned() != ARBITER.load(Ordering::Relaxed) {
            libc::alarm(END_OF_MOLD);
        }
    }
}

extern "C" fn on_reopen(signal: libc::c_int) {
    if is_for_child(signal) {
        return;
    }
    // SAFETY: reads and writes this thread's errno.
    unsafe {
        let errno = *libc::__errno_location();
        // Nobody can be told: not from here, and not in a log that cannot be opened.
        let _ = ERRORS.reopen();
        let _ = ACCESS.reopen();
        *libc::__errno_location() = errno;
    }
}

/// Unlike an ignored signal this is not ignored by programs that the application starts, too.
extern "C" fn on_others(_signal: libc::c_int) {}

extern "C" fn on_quick(signal: libc::c_int) {
    if !is_for_child(signal) {
        exit_now(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::wait_readable;

    #[test]
    fn a_wish_to_stop_stays() {
        let stop = Stop::new().unwrap();
        let now = Some(Duration::ZERO);
        assert_eq!(wait_readable([stop.as_fd()], now).unwrap(), [false]);
        stop.request();
        stop.request();
        assert_eq!(wait_readable([stop.as_fd()], now).unwrap(), [true]);
        assert_eq!(wait_readable([stop.as_fd()], now).unwrap(), [true]);
    }
}
