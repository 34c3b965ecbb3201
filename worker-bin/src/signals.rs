//! Signals of a worker process, and what children that an application forks must not inherit.
//!
//! Owns the handlers. Must not know what stopping means for a connection.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::sync::Once;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::time::Duration;

/// The wish to stop, as a descriptor that becomes readable and stays so: whoever waits for input
/// waits for it as well, and no wish is lost between a look and a wait.
#[derive(Debug)]
pub(crate) struct Stop(OwnedFd);

impl Stop {
    pub(crate) fn new() -> io::Result<Stop> {
        // SAFETY: a system call without pointers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a new descriptor that nobody else owns.
        Ok(Stop(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// From now on TERM is this wish, and INT and QUIT end the process at once: what is
    /// unconsumed tells the edge that it was not started. If the arbiter is gone, nobody is left
    /// to enforce `grace`: the process does so itself.
    ///
    /// Lives as long as the process.
    pub(crate) fn on_signals(self, arbiter: u32, grace: Duration) -> io::Result<&'static Stop> {
        let stop: &'static Stop = Box::leak(Box::new(self));
        ARBITER.store(arbiter, Ordering::Relaxed);
        GRACE.store(u32::try_from(grace.as_secs()).unwrap_or(u32::MAX).max(1), Ordering::Relaxed);
        STOP.store(stop.0.as_raw_fd(), Ordering::Relaxed);
        protect_forks()?;
        handle(libc::SIGTERM, on_term as *const () as libc::sighandler_t)?;
        handle(libc::SIGINT, on_quick as *const () as libc::sighandler_t)?;
        handle(libc::SIGQUIT, on_quick as *const () as libc::sighandler_t)?;
        Ok(stop)
    }

    #[cfg(test)]
    pub(crate) fn request(&self) {
        wake(self.0.as_raw_fd());
    }
}

impl AsFd for Stop {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Keeps a descriptor out of the children that an application forks, for as long as this lives.
/// A child that keeps a slot would keep a dead worker's slot alive.
///
/// Drop it before the descriptor.
#[derive(Debug)]
pub(crate) struct Private(Option<&'static AtomicI32>);

impl Private {
    pub(crate) fn new(fd: BorrowedFd<'_>) -> Private {
        let free = |place: &&AtomicI32| {
            let (new, order) = (fd.as_raw_fd(), Ordering::Relaxed);
            place.compare_exchange(NONE, new, order, order).is_ok()
        };
        let place = PRIVATE.iter().find(free);
        debug_assert!(place.is_some(), "a worker has a listener and a bounded set of connections");
        Private(place)
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        if let Some(place) = self.0 {
            place.store(NONE, Ordering::Relaxed);
        }
    }
}

/// Ends the process as a crash would: nothing is flushed, no destructor runs.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: never returns, touches no memory.
    unsafe { libc::_exit(code) }
}

const NONE: i32 = -1;
static STOP: AtomicI32 = AtomicI32::new(NONE);
static NULL: AtomicI32 = AtomicI32::new(NONE);
static ARBITER: AtomicU32 = AtomicU32::new(0);
static GRACE: AtomicU32 = AtomicU32::new(1);
static PRIVATE: [AtomicI32; 64] = [const { AtomicI32::new(NONE) }; 64];

fn protect_forks() -> io::Result<()> {
    static REGISTER: Once = Once::new();
    NULL.store(File::open("/dev/null")?.into_raw_fd(), Ordering::Relaxed);
    // SAFETY: the handler calls async-signal-safe functions only.
    REGISTER.call_once(|| unsafe {
        libc::pthread_atfork(None, None, Some(after_fork_in_child));
    });
    Ok(())
}

/// The numbers stay taken, by /dev/null, so that a destructor in the child closes nothing else.
unsafe extern "C" fn after_fork_in_child() {
    let null = NULL.load(Ordering::Relaxed);
    for place in &PRIVATE {
        let fd = place.load(Ordering::Relaxed);
        if fd != NONE {
            // SAFETY: async-signal-safe calls on descriptors of this process.
            unsafe { libc::dup3(null, fd, libc::O_CLOEXEC) };
        }
    }
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT] {
        // SAFETY: async-signal-safe. Otherwise a signal to the child would stop its parent.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
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

extern "C" fn on_term(_signal: libc::c_int) {
    // SAFETY: reads and writes this thread's errno; getppid and alarm are async-signal-safe.
    unsafe {
        let errno = *libc::__errno_location();
        wake(STOP.load(Ordering::Relaxed));
        if libc::getppid().cast_unsigned() != ARBITER.load(Ordering::Relaxed) {
            libc::alarm(GRACE.load(Ordering::Relaxed));
        }
        *libc::__errno_location() = errno;
    }
}

extern "C" fn on_quick(_signal: libc::c_int) {
    exit_now(0);
}

fn wake(eventfd: i32) {
    let one = 1u64;
    // SAFETY: eight bytes that live through the call, as eventfd(2) wants. The counter cannot
    // fill up, and if it did the descriptor would be readable all the same.
    unsafe { libc::write(eventfd, (&raw const one).cast(), size_of_val(&one)) };
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

    #[test]
    fn places_for_private_descriptors_are_reused() {
        let stop = Stop::new().unwrap();
        for _ in 0..1000 {
            let (one, two) = (Private::new(stop.as_fd()), Private::new(stop.as_fd()));
            assert!(one.0.is_some() && two.0.is_some());
        }
    }
}
