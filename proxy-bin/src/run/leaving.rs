//! Workers that the configuration does not have any more, on their way out.
//!
//! Owns when they are told to end: when their successors are ready, or when no request can come to
//! them. Must not know configurations.

use super::{GRACEFUL, Running, Stop};
use crate::supervise::CommandId;
use signal_hook::consts::SIGTERM;
use std::path::PathBuf;
use std::time::Instant;

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Leaving(Vec<(CommandId, Until)>);

/// What a command stays for.
enum Until {
    /// Another one at the same socket.
    IsReady(CommandId),
    /// The last request for its pool, if that comes before this moment.
    IsUnused(PathBuf, Instant),
    /// Its own end; later it is killed.
    HasEnded(Instant),
}

impl Leaving {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn has(&self, id: CommandId) -> bool {
        self.0.iter().any(|(leaving, _)| *leaving == id)
    }

    /// A new configuration decides anew about all that have not been told to end.
    pub(super) fn reconsider(&mut self) {
        self.0.retain(|(_, until)| matches!(until, Until::HasEnded(_)));
    }

    /// Stays until `successor` is ready.
    pub(super) fn replace(&mut self, id: CommandId, successor: CommandId) {
        self.0.push((id, Until::IsReady(successor)));
    }

    /// Stays until the edge has no request for its pool any more.
    pub(super) fn remove(&mut self, id: CommandId, socket: PathBuf) {
        self.0.push((id, Until::IsUnused(socket, Instant::now() + GRACEFUL)));
    }
}

impl Running {
    /// Looks who can go.
    pub(super) fn let_go(&mut self) {
        if self.leaving.is_empty() {
            return;
        }
        let pools = self.handle.stats().pools;
        let now = Instant::now();
        let leaving = std::mem::take(&mut self.leaving.0).into_iter().filter_map(|(id, until)| {
            self.supervisor.pool(id)?;
            let may_go = match &until {
                Until::IsReady(successor) => !self.not_ready.contains(successor),
                Until::IsUnused(socket, latest) => {
                    let is_used = |pool: &forebay::PoolStats| pool.socket == *socket;
                    *latest <= now || !pools.iter().any(is_used)
                }
                Until::HasEnded(latest) => {
                    if *latest <= now {
                        tracing::warn!("workers that are not wanted any more are killed");
                        self.supervisor.kill_one(id);
                    }
                    let latest = if *latest <= now { now + GRACEFUL } else { *latest };
                    return Some((id, Until::HasEnded(latest)));
                }
            };
            if !may_go || self.stop != Stop::No {
                return Some((id, until));
            }
            self.supervisor.stop_one(id, SIGTERM);
            Some((id, Until::HasEnded(now + GRACEFUL)))
        });
        self.leaving.0 = leaving.collect();
    }
}
