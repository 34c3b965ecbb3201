//! What a reactor does while memory is scarce.
//!
//! Owns when: every [`PAUSE`], as long as that lasts. The order of the steps is the account's.

use super::Reactor;
use crate::conn::{Connection, Pressure};
use crate::io::{Backend, Time};
use std::time::Duration;

/// Idle connections are few bytes each; but each that stays may become a request.
const EVICTED_AT_ONCE: usize = 16;

const PAUSE: Duration = Duration::from_millis(50);

/// When the next step is due, while memory is scarce.
#[derive(Default)]
pub(super) struct Shedding(Option<Time>);

impl Shedding {
    pub(super) fn due(&self) -> Option<Time> {
        self.0
    }
}

impl<B: Backend> Reactor<B> {
    /// At the end of each turn.
    pub(super) fn shed(&mut self) {
        let world = &mut self.world;
        world.count_buffers();
        let mut pressure = world.memory.pressure();
        if pressure >= Pressure::Half {
            world.buffers.shed();
            world.count_buffers();
            pressure = world.memory.pressure();
        }
        if pressure < Pressure::Parked {
            self.shedding.0 = None;
        } else if self.shedding.0.is_none_or(|due| due <= self.world.now) {
            self.shedding.0 = Some(self.world.now.after(PAUSE));
            self.relieve(pressure);
        }
    }

    fn relieve(&mut self, pressure: Pressure) {
        for _ in 0..EVICTED_AT_ONCE {
            if !self.end_oldest_parked() {
                break;
            }
            self.world.counters.memory_parked.count();
        }
        if pressure < Pressure::Timeouts {
            return;
        }
        for token in self.clients.tokens() {
            if let Some(client) = self.clients.get_mut(token).and_then(Connection::awake) {
                client.hurry(pressure, &mut self.world);
                self.settle_client(token);
                self.pass_on();
            }
        }
    }
}
