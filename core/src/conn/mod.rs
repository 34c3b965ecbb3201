//! The state machines of the edge: client connections, exchanges with workers, slots.
//!
//! Owns what happens on them. Must not know the ring, the clock or other reactors: events come
//! in as calls; operations ([`Op`](crate::io::Op)) and notices to the reactor go out through
//! [`World`].
//!
//! **Invariant:** closing is a join. A connection shuts its socket down, waits until nothing of
//! its own is in flight, closes, and only then leaves its table.

mod address;
mod address_text;
mod attached;
mod backlog;
mod buffers;
mod client;
mod connection;
mod content;
mod hand_over;
mod input;
pub(crate) mod loan;
mod look;
mod memory;
mod output;
mod own_answer;
mod pace;
mod piece;
mod records;
mod relay;
mod request_id;
mod routing;
mod slot;
mod spare;
mod spool;
mod upload;
mod upstream;
mod world;

use crate::io::{Time, Token};

pub(crate) use connection::Connection;
pub(crate) use hand_over::HandOver;
pub(crate) use memory::{Memory, Pressure};
pub(crate) use slot::Slot;
pub(crate) use spool::Spool;
pub(crate) use world::{Notice, Whole, World, WorldParts};

/// What all state machines have in common.
pub(crate) trait Machine {
    /// When [`Machine::on_deadline`] is due.
    fn deadline(&self) -> Option<Time>;

    /// The deadline has passed of what has this token.
    fn on_deadline(&mut self, token: Token, w: &mut World);

    /// Tells the account what it holds now.
    fn account(&mut self, memory: &mut Memory);

    /// Nothing of it is in flight and nobody needs it: its entry can be removed.
    fn is_over(&self) -> bool;
}
