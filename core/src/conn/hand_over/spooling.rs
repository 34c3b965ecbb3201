//! A response that is more than memory may hold for its client.
//!
//! Owns when it goes to a spool file. Must not know the order of its parts: that is the relay's.

use super::HandOver;
use crate::conn::world::World;
use crate::io::Done;

impl HandOver {
    /// The spool file has been made or written, or not.
    pub(crate) fn on_spooled(&mut self, done: Done, w: &mut World) {
        match done {
            Done::CreateFile { result } => self.relay.on_created(result, w),
            Done::WriteFile { out, result } => self.relay.on_written(out, result, self.token, w),
            _ => unreachable!("spool files are only made and written"),
        }
        if self.client.is_none() {
            self.relay.clear(&mut w.buffers);
        }
        self.relay.spool_on(self.token, w);
        self.receive(w);
        self.notify_client(w);
    }
}
