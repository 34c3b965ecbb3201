//! The end of a reactor that may have left something open.
//!
//! Owns which descriptors are a reactor's own. Must not know why it has ended. After a stop there
//! are none. After an error, a panic, or the end of another reactor they would stay open for as
//! long as the process runs: clients would wait for nothing, and nobody could listen there again.

use super::Reactor;
use crate::conn::{Connection, Slot};
use crate::io::{self, Backend, Completion, Fd, Op};
use std::collections::BTreeSet;

/// Closed when it is dropped, even by a panic.
#[derive(Default)]
struct Leftovers(BTreeSet<Fd>);

impl<B: Backend> Reactor<B> {
    /// Ends it, and closes whatever it has left open.
    pub(crate) fn dismantle(self) {
        // Declared first, so dropped last: a number must not become another file's while the ring
        // may still use it.
        let mut open = Leftovers::default();
        let Reactor { backend, mut world, clients, exchanges, slots, listeners, .. } = self;
        open.0.extend(clients.iter().filter_map(Connection::descriptor));
        open.0.extend(slots.iter().filter_map(Slot::descriptor));
        open.0.extend(listeners.iter().filter_map(super::Listener::descriptor));
        let brought = |completion: Completion| completion.done.descriptor();
        open.0.extend(self.completions.into_iter().filter_map(brought));
        for (_, op) in world.ops.drain(..) {
            if let Op::Close { fd } = op {
                open.0.insert(fd);
            }
        }
        drop(backend);
        drop((world, clients, exchanges));
        while let Some(fd) = self.graveyard.pop() {
            open.0.insert(fd);
        }
    }
}

impl Drop for Leftovers {
    fn drop(&mut self) {
        for &fd in &self.0 {
            io::close(fd);
        }
    }
}
