//! The hand-over's decisions: which request gets which worker, and what to do when a worker leaves.
//!
//! Owns the slots of one pool, the queue in front of them, and the rules by which a request may
//! go to another worker. Pure: no sockets, clocks, threads or locks. Reactors share one
//! [`PoolCore`] behind a lock, do what it returns after they have let go of that lock, and read
//! the wire themselves.
//!
//! A worker dials in, and its connection is a *slot*: one request at a time. So an idle slot is
//! an idle worker, and requests are bound to workers as late as possible: never is a request
//! queued while a slot is idle.
//!
//! Each slot has a *warden*, the reactor that accepted it and watches for the hang-up, and while
//! it is busy a *user*, the reactor of the request. Its descriptor is closed by the warden, once,
//! when the worker has hung up and no user is left.

mod dispatch;
mod evidence;
#[cfg(test)]
mod model;
mod queue;

#[cfg(test)]
pub(crate) use dispatch::PoolCounts;
pub(crate) use dispatch::{
    Admission, AfterRelease, Assignment, PoolCore, PoolLimits, ReactorId, SlotId,
};
#[cfg(test)]
pub(crate) use evidence::{CRASHES_MOST, GOODBYE};
pub(crate) use evidence::{EndedBy, Evidence, Goodbye, Verdict, begins_like_goodbye, judge};
pub(crate) use queue::{Ticket, TicketId};
