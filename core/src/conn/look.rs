//! Looks whether a client takes its answers, from what is unsent in its socket's buffer.
//!
//! Owns the part of [`Client`] that ends who takes nothing, or too little. Must not know what the
//! answers are.

use super::client::{Client, HURRY, State};
use super::memory::Pressure;
use super::pace::{Delivery, TooSlow};
use super::world::World;
use crate::io::{Fd, Time};
use std::time::Duration;

impl Client {
    /// Whether it is to be looked at now: its socket, for [`Client::on_look`].
    pub(crate) fn wants_look(&self, now: Time) -> Option<Fd> {
        self.look_at.is_some_and(|at| at <= now).then_some(self.fd)
    }

    /// So many bytes are still in the socket's buffer.
    pub(crate) fn on_look(&mut self, unsent: u64, w: &mut World) {
        if self.is_waiting_to_break_off() {
            return self.on_breaking_off(unsent, w);
        }
        self.look_at = Some(w.now.after(Delivery::interval(&w.limits)));
        if unsent == 0 {
            // What it still has to get is not here yet.
            return self.delivery.caught_up();
        }
        let is_scarce = w.memory.pressure() >= Pressure::Timeouts;
        let patience = w.limits.send_timeout / if is_scarce { HURRY } else { 1 };
        match self.delivery.look(unsent, patience, w.limits.rate_min, w.now) {
            None => return,
            Some(TooSlow::Stalled) => {
                w.counters.send_timeout.count();
                w.counters.memory_timeouts.add(u64::from(is_scarce));
            }
            Some(TooSlow::Drips) => w.counters.rate_min.count(),
        }
        self.reset(w);
        self.settle(w);
    }

    fn on_breaking_off(&mut self, unsent: u64, w: &mut World) {
        self.look_at = Some(w.now.after(BREAK_OFF_LOOKS));
        if unsent == 0 {
            self.abort(w);
        }
        self.settle(w);
    }

    /// Everything is in the socket's buffer.
    pub(super) fn is_waiting_to_break_off(&self) -> bool {
        matches!(self.state, State::BreakingOff) && self.receive_deadline.is_some()
    }
}

/// Between two looks whether a client has got all of an answer that breaks off.
const BREAK_OFF_LOOKS: Duration = Duration::from_millis(20);
