//! What the arbiter remembers of workers, and of those that are to come.
//!
//! Owns nothing but that. Must not decide anything.

use super::events::{Pid, Targets};
use std::time::Instant;

/// A living worker.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) pid: Pid,
    pub(crate) generation: u64,
    pub(crate) since: Instant,
    /// It has its application.
    pub(crate) booted: bool,
    /// It can take requests.
    pub(crate) ready: bool,
    /// It should go when its replacement is ready.
    pub(crate) spent: bool,
    /// It is too large, and counts as spent from this time on.
    pub(crate) spent_at: Option<Instant>,
    /// A request of it takes too long: it is killed at this time, unless that ends.
    pub(crate) overdue: Option<Instant>,
    /// It was asked what it is doing.
    pub(crate) explained: bool,
    /// How often in a row its place had failed before.
    pub(crate) failures: u32,
    /// It was asked to end, and is killed at this time.
    pub(crate) kill_at: Option<Instant>,
}

/// A generation that has yet to prove itself, and the targets that come with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) generation: u64,
    pub(super) targets: Targets,
}

/// A worker that was asked for and is not there yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spawning {
    pub(super) generation: u64,
    pub(super) failures: u32,
}

impl Worker {
    pub(crate) fn new(pid: Pid, generation: u64, failures: u32, now: Instant) -> Worker {
        Worker {
            pid,
            generation,
            since: now,
            booted: false,
            ready: false,
            spent: false,
            spent_at: None,
            overdue: None,
            explained: false,
            failures,
            kill_at: None,
        }
    }

    /// Whether it was asked to end.
    pub(crate) fn is_leaving(&self) -> bool {
        self.kill_at.is_some()
    }

    /// A request of it takes too long.
    pub(crate) fn is_overdue(&self) -> bool {
        self.overdue.is_some()
    }

    /// When it is killed, as things are.
    pub(super) fn dies_at(&self) -> Option<Instant> {
        self.kill_at.into_iter().chain(self.overdue).min()
    }

    /// It is not killed before this time, but then.
    pub(super) fn postpone(&mut self, at: Instant) {
        let times = self.kill_at.iter_mut().chain(&mut self.overdue);
        times.for_each(|time| *time = at.max(*time));
    }

    /// It is asked to end. An earlier time to be killed stays.
    pub(crate) fn leave_by(&mut self, at: Instant) {
        self.kill_at = Some(self.kill_at.map_or(at, |before| before.min(at)));
    }
}
