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
//!
//! # Patience
//!
//! A request is given up when it has waited `queue_timeout`: in the queue, so what it has spent on
//! slots of workers that left does not count. Or when, while it waits, no worker has been there for
//! `boot_grace`. Its owner asks again after `boot_grace` at the latest, so it learns in time that
//! the last worker has left, and nothing has to be sent to anybody.
//!
//! # Controlled delay
//!
//! A queue is there for bursts. Under lasting overload, first come, first served makes everybody
//! wait until nobody needs the answer any more. Therefore:
//!
//! - A queue is *long* while more requests wait than there are slots, and the oldest one has
//!   waited longer than `queue_target` whenever a slot goes to the queue.
//! - It *stands* once it has been long for three windows in a row, none of which has made it
//!   shorter, and the oldest has waited three times the target. A window is 200 ms, and longer
//!   if some slot has not had its turn. So a burst never makes a queue stand, however large: it
//!   gets shorter. A queue that stands does so until it is not long any more.
//! - While it does not stand, the oldest request goes first, and waits up to `queue_timeout`.
//! - While it stands, the newest goes first, and whoever has waited three times the target is
//!   refused. The owner of each request learns that by asking ([`PoolCore::still_waiting`]), at
//!   three times the target and from then on every window: nothing has to be sent to anybody
//!   when the queue begins to stand, and nothing is searched.
//! - Requests that return go before all others in either case, and only their patience ends their
//!   waiting.
//! - Without any worker for 200 ms nobody is refused for that. Workers that come and go, as those
//!   do that rest after each request, change nothing: the queue is what it was when the last one
//!   left.

mod delay;
mod dispatch;
mod evidence;
mod limits;
mod queue;
#[cfg(test)]
mod tests;

#[cfg(any(test, feature = "fuzz"))]
pub(crate) use dispatch::PoolCounts;
pub(crate) use dispatch::{
    Admission, AfterRelease, Assignment, PoolCore, ReactorId, SlotId, StillWaiting,
};
#[cfg(any(test, feature = "fuzz"))]
pub(crate) use evidence::CRASHES_MOST;
pub(crate) use evidence::{EndedBy, Evidence, Verdict, judge};
pub(crate) use limits::PoolLimits;
pub(crate) use queue::{Ticket, TicketId};
