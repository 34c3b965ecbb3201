//! The threads of a worker process: each serves by itself, and they stop together.
//!
//! Owns starting them. Must not know what they serve.

use crate::signals::Stop;
use crate::socket::wait_readable;
use std::io;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{self, Builder};
use std::time::Duration;

/// Runs `serve` in this thread and in `threads - 1` others, each with its number, until all have
/// returned.
///
/// Panics of applications do not come as far as this. Any other ends what the thread is doing,
/// and neither the thread nor the others.
pub(crate) fn run(threads: usize, stop: &Stop, serve: impl Fn(usize) + Sync) -> io::Result<()> {
    let work = |number| {
        let mut attempt = || serve(number);
        while catch_unwind(AssertUnwindSafe(&mut attempt)).is_err() && !pause(stop) {}
    };
    thread::scope(|scope| {
        let start = |number| {
            let thread = Builder::new().name(format!("slot-{number}")).stack_size(STACK);
            thread.spawn_scoped(scope, move || work(number))
        };
        let started = (1..threads).try_for_each(|number| start(number).map(drop));
        match started {
            Ok(()) => work(0),
            Err(_) => stop.request(),
        }
        started
    })
}

/// Whether it has been told to stop.
fn pause(stop: &Stop) -> bool {
    wait_readable([stop.as_fd()], Some(PAUSE)).is_ok_and(|[stopped]| stopped)
}

/// Bytes, as the main thread mostly has; memory only where it is used. Interpreters are hungry.
const STACK: usize = 8 << 20;
/// Between a panic and the next attempt.
const PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn each_has_its_number() {
        let (stop, seen, all) = (Stop::new().unwrap(), AtomicUsize::new(0), Barrier::new(3));
        let serve = |number| {
            seen.fetch_add(1_usize << (8 * number), Ordering::Relaxed);
            all.wait();
        };
        run(3, &stop, serve).unwrap();
        assert_eq!(seen.into_inner(), 0x1_0101);
    }

    #[test]
    fn a_panic_ends_neither_its_thread_nor_the_others() {
        let (stop, calls, both) = (Stop::new().unwrap(), AtomicUsize::new(0), Barrier::new(2));
        let serve = |_| {
            if calls.fetch_add(1, Ordering::Relaxed) == 0 {
                panic!("on purpose");
            }
            // The other one, and the second attempt.
            both.wait();
        };
        run(2, &stop, serve).unwrap();
        assert_eq!(calls.into_inner(), 3);
    }

    #[test]
    fn a_stopped_thread_is_not_tried_again() {
        let (stop, calls) = (Stop::new().unwrap(), AtomicUsize::new(0));
        let serve = |_| {
            calls.fetch_add(1, Ordering::Relaxed);
            stop.request();
            panic!("on purpose");
        };
        run(1, &stop, serve).unwrap();
        assert_eq!(calls.into_inner(), 1);
    }
}
