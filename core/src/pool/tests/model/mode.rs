//! The oracle of controlled delay: keeps every dispatch and reads the whole list each time.

use std::time::Duration;

use super::{Request, RequestState, World};
use crate::io::Time;
use crate::pool::StillWaiting;

/// Three times the default target, and less than any `boot_grace` here.
const PATIENCE: Duration = Duration::from_millis(300);

/// The dispatches since the queue was short.
#[derive(Default)]
pub(super) struct Mode {
    dispatches: Vec<Dispatch>,
    stood: u64,
}

struct Dispatch {
    at: Time,
    waited: Duration,
    waiting: usize,
    slots: usize,
}

impl Mode {
    pub(super) fn on_dispatch(&mut self, at: Time, waited: Duration, waiting: usize, slots: usize) {
        let stood = self.stands();
        if waited <= Duration::from_millis(100) || waiting <= slots {
            self.dispatches.clear();
        } else {
            self.dispatches.push(Dispatch { at, waited, waiting, slots });
        }
        self.stood += u64::from(self.stands() && !stood);
    }

    pub(super) fn on_length(&mut self, waiting: usize, slots: usize) {
        if waiting <= slots {
            self.dispatches.clear();
        }
    }

    pub(super) fn stood(&self) -> u64 {
        self.stood
    }

    /// Cuts the list into windows: at least 200 ms, and at least as many dispatches as slots. The
    /// queue stands after the third one in a row at whose end it is not shorter, once somebody has
    /// waited too long at the end of one.
    pub(super) fn stands(&self) -> bool {
        let (mut begin, mut without_shrinking) = (0, 0);
        for (number, end) in self.dispatches.iter().enumerate() {
            let first = &self.dispatches[begin];
            let is_over = end.at.since(first.at) >= Duration::from_millis(200)
                && number - begin >= end.slots.max(1);
            if is_over {
                let shrank = end.waiting < first.waiting;
                without_shrinking = if shrank { 0 } else { without_shrinking + 1 };
                if without_shrinking >= 3 && end.waited >= PATIENCE {
                    return true;
                }
                begin = number;
            }
        }
        false
    }
}

impl World {
    /// The owner of a request asks whether it may wait on, in time, early or late.
    pub(super) fn ask(&mut self) {
        let candidates: Vec<_> = (0..self.requests.len()).rev().take(100).collect();
        if candidates.is_empty() {
            return;
        }
        let number = candidates[self.random.within(0..=candidates.len() - 1)];
        let Request { state, place, came_at, last_id, .. } = self.requests[number];
        let Some(id) = last_id else { return };
        let answer = self.pool.still_waiting(id, self.now);
        let may_be_delayed = place >= 0 && self.now >= came_at.after(PATIENCE);
        if state != RequestState::Waiting {
            assert_eq!(answer, StillWaiting::Assigned);
        } else if self.now >= self.patience_ends(number) {
            assert_eq!(answer, StillWaiting::TimedOut);
            self.requests[number].state = RequestState::TimedOut;
        } else if may_be_delayed && self.mode.stands() && self.has_workers() {
            assert_eq!(answer, StillWaiting::Delayed);
            self.requests[number].state = RequestState::Delayed;
        } else {
            let StillWaiting::Until(at) = answer else { panic!("{answer:?} before its time") };
            assert!(self.now < at && at <= self.asks_at_latest(number), "it asks too late");
        }
        self.note_length();
    }

    /// If its owner asks then, it learns in time that the queue stands, or the last worker leaves.
    pub(super) fn asks_at_latest(&self, number: usize) -> Time {
        let has_returned = self.requests[number].place < 0;
        let interval = if has_returned { self.limits.boot_grace } else { PATIENCE };
        self.patience_ends(number).min(self.now.after(interval))
    }

    fn has_workers(&self) -> bool {
        self.usable() > 0 || self.now.since(self.worker_seen) < Duration::from_millis(200)
    }

    fn patience_ends(&self, number: usize) -> Time {
        let Request { ticket, came_at, .. } = self.requests[number];
        let give_up_at = ticket.expect("it waits").give_up_at;
        match self.usable() {
            0 => give_up_at.min(came_at.max(self.worker_seen).after(self.limits.boot_grace)),
            _ => give_up_at,
        }
    }
}
