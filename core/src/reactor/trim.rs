//! What a reactor lets go of when less happens than before.
//!
//! Owns when: every [`PERIOD`], as long as there is something. Must not know what it is.

use super::Reactor;
use crate::growth;
use crate::io::Backend;
use std::time::Duration;

/// What has not been needed for so long is dropped. A new burst takes as long to be handed the
/// memory again as a few requests take.
const PERIOD: Duration = Duration::from_millis(200);

impl<B: Backend> Reactor<B> {
    /// At the end of each turn.
    pub(super) fn trim(&mut self) {
        let now = self.world.now;
        self.world.files.sweep(now);
        match self.trim_at {
            Some(due) if now < due => {}
            Some(_) => {
                let heap = self.world.trim();
                if !self.world.has_spare() {
                    self.trim_tables();
                }
                self.backend.trim(heap);
                self.trim_at = self.has_spare().then(|| now.after(PERIOD));
            }
            None if self.has_spare() => self.trim_at = Some(now.after(PERIOD)),
            None => {}
        }
    }

    fn trim_tables(&mut self) {
        self.clients.trim();
        self.exchanges.trim();
        growth::trim(&mut self.fired);
        growth::trim(&mut self.completions);
    }

    fn has_spare(&self) -> bool {
        self.world.has_spare() || self.backend.has_spare()
    }
}
