//! The server's remote control.

use crate::pool::PoolCore;
use crate::reactor::{Message, Shared};
use crate::stats::{Counters, PoolStats, Stats};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// Stops a server and reads its counters. Cheap to clone; usable from any thread.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
    counters: Vec<Arc<Counters>>,
    pools: Arc<[(PathBuf, Arc<Mutex<PoolCore>>)]>,
}

impl Handle {
    pub(super) fn new(
        shared: Arc<Shared>,
        counters: Vec<Arc<Counters>>,
        pools: Vec<(PathBuf, Arc<Mutex<PoolCore>>)>,
    ) -> Handle {
        Handle { shared, counters, pools: pools.into() }
    }

    /// Drains: takes no new connections, finishes every request that has begun, then ends. No
    /// connection is reset.
    pub fn stop(&self) {
        self.tell(|| Message::Drain);
    }

    /// Ends at once, whatever is unfinished.
    pub fn stop_now(&self) {
        self.tell(|| Message::Stop);
    }

    /// What has been counted so far.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        for counters in &self.counters {
            stats.add(counters);
        }
        stats.pools = self.pools.iter().map(pool_stats).collect();
        stats
    }

    fn tell(&self, message: impl Fn() -> Message) {
        for mailbox in &self.shared.mailboxes {
            mailbox.post(message());
        }
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handle")
    }
}

fn pool_stats((socket, core): &(PathBuf, Arc<Mutex<PoolCore>>)) -> PoolStats {
    let counts = core.lock().unwrap_or_else(PoisonError::into_inner).counts();
    PoolStats {
        socket: socket.clone(),
        slots: counts.slots,
        idle: counts.idle,
        queued: counts.queued,
        stood: counts.stood,
    }
}
