//! The end of a ring: everything in flight ends first, or its memory is leaked.
//!
//! Owns how long that may take. Must not know what operations do.

use super::Uring;
use super::patience::Want;
use crate::io::{Completion, sys};
use std::mem;
use std::time::Duration;

impl Uring {
    /// Ends everything in flight. Whether that succeeded.
    pub(super) fn quiesce(&mut self) -> bool {
        self.closing = true;
        self.in_flight.cancel_all();
        let mut ended = Vec::new();
        while !self.windows.is_empty() {
            self.resume(&mut ended);
        }
        for _ in 0..QUIESCE_ATTEMPTS {
            if self.in_flight.len() + self.internal == 0 {
                break;
            }
            let entered = self.ring.enter(Want::NOTHING, None).and_then(|()| {
                self.ring.cancel_all();
                self.ring.enter(Want::ONE, Some(QUIESCE_WAIT))
            });
            if entered.and_then(|()| self.reap(usize::MAX, &mut ended)).is_err() {
                break;
            }
        }
        ended.extend(self.local.drain(..));
        ended.into_iter().for_each(discard);
        self.in_flight.len() + self.internal == 0
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        if !self.quiesce() {
            tracing::error!(
                operations = self.in_flight.len(),
                "operations do not end; leaking the memory that the kernel may still write"
            );
            mem::forget(mem::take(&mut self.in_flight));
            mem::forget(mem::take(&mut self.wake_count));
            self.transit.leak();
            self.scratch.leak();
        }
    }
}

/// Closes what a completion brings that nobody awaits any more.
fn discard(completion: Completion) {
    if let Some(fd) = completion.done.descriptor() {
        sys::close(fd);
    }
}

/// Together two seconds.
const QUIESCE_ATTEMPTS: usize = 200;
const QUIESCE_WAIT: Duration = Duration::from_millis(10);
