//! Controlled delay: whether a queue absorbs a burst or only makes everybody late.
//!
//! Owns the rule that [`super`] describes. Must not know who waits, or for which slot.

use std::time::Duration;

use crate::io::Time;

/// Watches one queue.
#[derive(Debug)]
pub(super) struct Delay {
    target: Duration,
    state: State,
    stood: u64,
}

/// How much waits for how many.
#[derive(Copy, Clone, Debug)]
pub(super) struct Length {
    pub(super) queued: usize,
    pub(super) slots: usize,
}

impl Delay {
    pub(super) fn new(target: Duration) -> Delay {
        Delay { target, state: State::Short, stood: 0 }
    }

    /// From now on.
    pub(super) fn set_target(&mut self, target: Duration) {
        self.target = target;
    }

    /// A slot is about to go to the queue, whose oldest request has waited so long.
    pub(super) fn on_dispatch(&mut self, waited: Duration, length: Length, now: Time) {
        if waited <= self.target || length.is_short() {
            self.state = State::Short;
            return;
        }
        match &mut self.state {
            State::Short => self.state = State::Long(Window::new(now, length, 0)),
            State::Long(window) => {
                window.dispatches += 1;
                if !window.is_over(length, now) {
                    return;
                }
                let grew = length.queued >= window.queued;
                let windows = if grew { window.before + 1 } else { 0 };
                if windows >= WINDOWS && waited >= patience(self.target) {
                    self.state = State::Standing;
                    self.stood += 1;
                } else {
                    *window = Window::new(now, length, windows);
                }
            }
            State::Standing => {}
        }
    }

    /// The queue or the number of slots has changed.
    pub(super) fn on_length(&mut self, length: Length) {
        if length.is_short() {
            self.state = State::Short;
        }
    }

    pub(super) fn stands(&self) -> bool {
        matches!(self.state, State::Standing)
    }

    /// Whether a request that has waited so long must go.
    pub(super) fn refuses(&self, waited: Duration) -> bool {
        self.stands() && waited >= patience(self.target)
    }

    /// When a request that waits since then may have to go, as far as is known now.
    pub(super) fn ask_at(&self, since: Time, now: Time) -> Time {
        let earliest = since.after(patience(self.target));
        if earliest > now { earliest } else { now.after(WINDOW) }
    }

    /// How often the queue has begun to stand.
    pub(super) fn stood(&self) -> u64 {
        self.stood
    }
}

impl Length {
    /// At most one request per slot: nobody waits much longer than a request takes, however long
    /// that is.
    fn is_short(self) -> bool {
        self.queued <= self.slots
    }
}

#[derive(Debug)]
enum State {
    Short,
    Long(Window),
    Standing,
}

/// A while in which the queue is long.
#[derive(Debug)]
struct Window {
    begin: Time,
    /// The queue's length at its begin.
    queued: usize,
    /// Requests that have been given a slot since.
    dispatches: usize,
    /// How many windows without a shorter queue went directly before.
    before: u32,
}

impl Window {
    fn new(begin: Time, length: Length, before: u32) -> Window {
        Window { begin, queued: length.queued, dispatches: 0, before }
    }

    /// Each slot has had its turn, too, so that slow requests are judged at their own pace.
    fn is_over(&self, length: Length, now: Time) -> bool {
        now.since(self.begin) >= WINDOW && self.dispatches >= length.slots
    }
}

/// How long a request may wait in a queue that stands: three times the target. Less would refuse
/// what the next gap between arrivals lets through, more would only keep what is late.
pub(super) fn patience(target: Duration) -> Duration {
    target.saturating_mul(3)
}

/// Long enough for the trend to show through the noise of arrivals.
const WINDOW: Duration = Duration::from_millis(200);

/// Windows until a queue stands. At three times the capacity a wait grows by two thirds of the
/// time that passes: a second of hesitation would already cost 0.7 s.
const WINDOWS: u32 = 3;
