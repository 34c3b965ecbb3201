//! What a reactor does while memory is scarce.
//!
//! Owns when: every [`PAUSE`], as long as that lasts. The order of the steps is the account's.

use super::{Message, Reactor};
use crate::conn::{Connection, Pressure};
use crate::io::{Backend, Time};
use std::time::Duration;

/// Idle connections are few bytes each; but each that stays may become a request.
const EVICTED_AT_ONCE: usize = 16;

/// Who is silent for less is about to ask again, and has hardly anything that others need.
const IDLE_AFTER: Duration = Duration::from_secs(1);

const PAUSE: Duration = Duration::from_millis(50);

/// How far it has come.
#[derive(Default)]
pub(super) struct Shedding {
    /// When the next step is due, while memory is scarce.
    due: Option<Time>,
    /// What the other reactors have been told, and when it was more than before.
    told: Pressure,
    told_at: Option<Time>,
}

impl Shedding {
    pub(super) fn due(&self) -> Option<Time> {
        self.due
    }
}

impl<B: Backend> Reactor<B> {
    /// At the end of each turn.
    pub(super) fn shed(&mut self) {
        let world = &mut self.world;
        world.count_buffers();
        let mut pressure = world.memory.pressure();
        if pressure >= Pressure::Half {
            world.shed();
            pressure = world.memory.pressure();
        }
        if pressure != self.shedding.told {
            self.tell(pressure);
        }
        if pressure < Pressure::Parked {
            self.shedding.due = None;
        } else if self.shedding.due.is_none_or(|due| due <= self.world.now) {
            self.shedding.due = Some(self.world.now.after(PAUSE));
            self.relieve(pressure);
        }
    }

    /// One that sleeps does not notice how scarce memory has become.
    fn tell(&mut self, pressure: Pressure) {
        let now = self.world.now;
        if pressure < self.shedding.told {
            self.shedding.told = pressure;
        } else if self.shedding.told_at.is_none_or(|at| at.after(PAUSE) <= now) {
            (self.shedding.told, self.shedding.told_at) = (pressure, Some(now));
            self.tell_others(|| Message::MemoryIsScarce);
        }
    }

    fn relieve(&mut self, pressure: Pressure) {
        let patience = self.world.limits.keepalive_timeout.saturating_sub(IDLE_AFTER);
        let by = self.world.now.after(patience);
        for _ in 0..EVICTED_AT_ONCE {
            if !self.end_oldest_parked(by, Connection::end) {
                break;
            }
            self.world.counters.memory_parked.count();
        }
        for token in self.clients.tokens() {
            if let Some(connection) = self.clients.get_mut(token) {
                connection.hurry(token, pressure, &mut self.world);
                self.settle_client(token);
                self.pass_on();
            }
        }
    }
}
