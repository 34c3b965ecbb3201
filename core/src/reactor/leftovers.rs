//! The end of a reactor that may have left something open.
//!
//! Owns which descriptors are a reactor's own. Must not know why it has ended. After a stop there
//! are none. After an error, a panic, or the end of another reactor they would stay open for as
//! long as the process runs: clients would wait for nothing, and nobody could listen there again.

use super::Reactor;
use crate::conn::{Connection, Slot};
use crate::io::{self, Backend, Fd, Op};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// Closed when it is dropped: not before every reactor of the server has ended. Others may use a
/// slot of this one, and a number that is free can be a client's next.
#[derive(Debug, Default)]
pub(crate) struct Leftovers(Mutex<BTreeSet<Fd>>);

impl Leftovers {
    fn extend(&self, more: impl IntoIterator<Item = Fd>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(more);
    }
}

impl<B: Backend> Reactor<B> {
    /// Ends it, and adds whatever it has left open.
    pub(crate) fn dismantle(self, open: &Leftovers) {
        let Reactor { backend, mut world, clients, exchanges, slots, listeners, .. } = self;
        open.extend(clients.iter().filter_map(Connection::descriptor));
        open.extend(slots.iter().filter_map(Slot::descriptor));
        open.extend(listeners.iter().filter_map(super::Listener::descriptor));
        open.extend(self.completions.into_iter().filter_map(|done| done.done.descriptor()));
        open.extend(world.ops.drain(..).filter_map(|(_, op)| match op {
            Op::Close { fd } => Some(fd),
            _ => None,
        }));
        drop((backend, world, clients, exchanges));
        open.extend(std::iter::from_fn(|| self.graveyard.pop()));
    }
}

impl Drop for Leftovers {
    fn drop(&mut self) {
        for &fd in self.0.get_mut().unwrap_or_else(PoisonError::into_inner).iter() {
            io::close(fd);
        }
    }
}
