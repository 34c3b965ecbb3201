//! The server's remote control.

use super::builder::Builder;
use super::control::Control;
use super::error::BuildError;
use crate::reactor::Message;
use crate::stats::Stats;
use std::sync::Arc;

/// Stops a server, changes its routes and reads its counters. Cheap to clone; usable from any
/// thread.
#[derive(Clone)]
pub struct Handle(pub(super) Arc<Control>);

impl Handle {
    /// Drains: takes no new connections, finishes every request that has begun, then ends. No
    /// connection is reset. That takes as long as workers, clients and handlers do; whoever wants
    /// a bound calls [`Handle::stop_now`] after it.
    pub fn stop(&self) {
        self.0.tell(|| Message::Drain);
    }

    /// Ends at once, whatever is unfinished. Only an access log that takes nothing is waited for,
    /// one second.
    pub fn stop_now(&self) {
        self.0.tell(|| Message::Stop);
    }

    /// Answers requests as `builder` says, instead of how they have been answered so far: routes,
    /// pools, limits and access log are replaced as a whole. That holds for whatever is sent when
    /// this has returned. No connection is closed, and requests whose head has been read go on as
    /// they began.
    ///
    /// A pool of the same socket is the same pool, with its workers and its queue, under new
    /// settings. A pool to which no route leads any more takes no new workers and finishes its
    /// requests; then its workers' connections are closed.
    ///
    /// Addresses and number of reactors must be given as before.
    ///
    /// # Errors
    /// As for [`Builder::build`], and what cannot change without a restart. Everything is then as
    /// it was.
    pub fn reload(&self, builder: Builder) -> Result<(), BuildError> {
        self.0.reload(builder)
    }

    /// What has been counted so far.
    pub fn stats(&self) -> Stats {
        self.0.stats()
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handle")
    }
}
