//! The threads of a worker process: each serves by itself, and they stop together.
//!
//! Owns starting them, and when the process counts as ready. Must not know what they serve.

use crate::signals::Stop;
use crate::socket::wait_readable;
use std::io;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Builder};
use std::time::Duration;

/// A thread's way to say that it can take requests.
pub(crate) struct Ready<'a, F> {
    told: &'a mut bool,
    boot: &'a Mutex<Boot<F>>,
}

/// What is missing until the process is ready.
struct Boot<F> {
    missing: usize,
    all_ready: Option<F>,
}

impl<F: FnOnce()> Ready<'_, F> {
    /// Says so, the first time.
    pub(crate) fn tell(&mut self) {
        if std::mem::replace(self.told, true) {
            return;
        }
        let mut boot = self.boot.lock().unwrap_or_else(PoisonError::into_inner);
        boot.missing -= 1;
        if boot.missing == 0
            && let Some(all_ready) = boot.all_ready.take()
        {
            all_ready();
        }
    }
}

/// Runs `serve` in this thread and in `threads - 1` others until all have returned. `all_ready`
/// is called once, when each has told its [`Ready`].
///
/// Panics of applications do not come as far as this. Any other ends what the thread is doing,
/// and neither the thread nor the others.
pub(crate) fn run<F: FnOnce() + Send>(
    threads: usize,
    stop: &Stop,
    all_ready: F,
    serve: impl Fn(Ready<'_, F>) + Sync,
) -> io::Result<()> {
    let boot = Mutex::new(Boot { missing: threads, all_ready: Some(all_ready) });
    let work = || {
        let mut told = false;
        let mut attempt = || serve(Ready { told: &mut told, boot: &boot });
        while catch_unwind(AssertUnwindSafe(&mut attempt)).is_err() && !pause(stop) {}
    };
    thread::scope(|scope| {
        let start =
            |number| Builder::new().name(format!("slot-{number}")).spawn_scoped(scope, work);
        let started = (1..threads).try_for_each(|number| start(number).map(drop));
        match started {
            Ok(()) => work(),
            Err(_) => stop.request(),
        }
        started
    })
}

/// Whether it has been told to stop.
fn pause(stop: &Stop) -> bool {
    wait_readable([stop.as_fd()], Some(PAUSE)).is_ok_and(|[stopped]| stopped)
}

/// Between a panic and the next attempt.
const PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn all_are_ready_when_the_last_one_is() {
        let (stop, said, all) = (Stop::new().unwrap(), AtomicUsize::new(0), Barrier::new(3));
        run(
            3,
            &stop,
            || {
                said.fetch_add(1, Ordering::Relaxed);
            },
            |mut ready| {
                if all.wait().is_leader() {
                    assert_eq!(said.load(Ordering::Relaxed), 0);
                    all.wait();
                    ready.tell();
                    assert_eq!(said.load(Ordering::Relaxed), 1);
                } else {
                    // More than once, as after a new connection.
                    ready.tell();
                    ready.tell();
                    all.wait();
                }
            },
        )
        .unwrap();
        assert_eq!(said.into_inner(), 1);
    }

    #[test]
    fn a_panic_ends_neither_its_thread_nor_the_others() {
        let (stop, calls, both) = (Stop::new().unwrap(), AtomicUsize::new(0), Barrier::new(2));
        let said = AtomicUsize::new(0);
        run(
            2,
            &stop,
            || {
                said.fetch_add(1, Ordering::Relaxed);
            },
            |mut ready| {
                ready.tell();
                if calls.fetch_add(1, Ordering::Relaxed) == 0 {
                    panic!("on purpose");
                }
                // The other one, and the second attempt.
                both.wait();
            },
        )
        .unwrap();
        assert_eq!((calls.into_inner(), said.into_inner()), (3, 1));
    }

    #[test]
    fn a_stopped_thread_is_not_tried_again() {
        let (stop, calls) = (Stop::new().unwrap(), AtomicUsize::new(0));
        let serve = |_: Ready<'_, fn()>| {
            calls.fetch_add(1, Ordering::Relaxed);
            stop.request();
            panic!("on purpose");
        };
        run(1, &stop, (|| {}) as fn(), serve).unwrap();
        assert_eq!(calls.into_inner(), 1);
    }
}
