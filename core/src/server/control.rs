//! What a server and its handles share: counters, mailboxes, and how requests are answered now.
//!
//! Owns the pools' sockets and the exchange of one policy for another. Must not know how reactors
//! carry it out.

use super::bound_pool::{BoundPool, LeavingPool};
use super::builder::Builder;
use super::error::BuildError;
use super::plan::{BoundsByRoute, Known, Plan, PlannedPool};
use super::random;
use super::unix_socket::UnixSocket;
use crate::access_log::AccessLog;
use crate::handler::Remains;
use crate::io::{self, Budget};
use crate::reactor::{Change, Message, Shared};
use crate::route::SharedPool;
use crate::stats::{Counters, PoolStats, Stats};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(super) struct Control {
    pub(super) shared: Arc<Shared>,
    pub(super) counters: Vec<Arc<Counters>>,
    /// Of all reactors.
    pub(super) spool_budget: Budget,
    /// Of all reactors.
    pub(super) memory_budget: Budget,
    pub(super) remains: Sender<Remains>,
    current: Mutex<Current>,
}

struct Current {
    /// As they were asked for.
    addresses: Vec<String>,
    reactors: usize,
    pools: Vec<BoundPool>,
    bounds: BoundsByRoute,
    /// Removed pools that still have something to finish.
    leaving: Vec<LeavingPool>,
    log: Option<AccessLog>,
    next_root: u32,
    /// The reactors have ended, and the pools were like this then.
    end: Option<Vec<PoolStats>>,
}

/// How long the end of a server waits for an access log that does not take its lines.
const LOG_PATIENCE: Duration = Duration::from_secs(1);

impl Control {
    /// With how each of `count` reactors begins.
    pub(super) fn new(
        builder: Builder,
        count: usize,
        remains: Sender<Remains>,
    ) -> Result<(Control, Vec<Change>), BuildError> {
        let shared = Arc::new(Shared::new(count, random()));
        let mut current = Current {
            addresses: builder.addresses.clone(),
            reactors: builder.reactors,
            pools: Vec::new(),
            bounds: BoundsByRoute::new(),
            leaving: Vec::new(),
            log: None,
            next_root: 0,
            end: None,
        };
        let bounds = &BoundsByRoute::new();
        let known = Known {
            pools: &[],
            leaving: &[],
            bounds,
            next_root: 0,
            shared: &shared,
            remains: &remains,
        };
        let plan = Plan::new(builder, &known)?;
        let changes = current.adopt(plan, |_| {});
        let counters = (0..count).map(|_| Arc::new(Counters::default())).collect();
        let (spool_budget, memory_budget) = (Budget::default(), Budget::default());
        let current = Mutex::new(current);
        Ok((Control { shared, counters, spool_budget, memory_budget, remains, current }, changes))
    }

    pub(super) fn reload(&self, builder: Builder) -> Result<(), BuildError> {
        let mut current = self.lock();
        if current.end.is_some() {
            return Err(BuildError::Stopped);
        }
        if builder.addresses != current.addresses {
            return Err(BuildError::NeedsRestart("the addresses to listen on"));
        }
        if builder.reactors != current.reactors {
            return Err(BuildError::NeedsRestart("the number of reactors"));
        }
        let Current { pools, leaving, bounds, next_root, .. } = &*current;
        let next_root = *next_root;
        let known = Known {
            pools,
            leaving,
            bounds,
            next_root,
            shared: &self.shared,
            remains: &self.remains,
        };
        let plan = Plan::new(builder, &known)?;
        current.adopt(plan, |changes| {
            for (mailbox, change) in self.shared.mailboxes.iter().zip(changes.drain(..)) {
                mailbox.post(Message::Change(Box::new(change)));
            }
        });
        Ok(())
    }

    pub(super) fn tell(&self, message: impl Fn() -> Message) {
        for mailbox in &self.shared.mailboxes {
            mailbox.post(message());
        }
    }

    pub(super) fn stats(&self) -> Stats {
        let mut stats = Stats { reactors: self.counters.len(), ..Stats::default() };
        for counters in &self.counters {
            stats.add(counters);
        }
        let mut current = self.lock();
        if let Some(pools) = &current.end {
            stats.pools.clone_from(pools);
            return stats;
        }
        current.leaving.retain(LeavingPool::is_there);
        let routed = current.pools.iter().map(|bound| pool_stats(bound.routed.shared(), true));
        stats.pools = routed.collect();
        let leaving = current.leaving.iter().filter_map(|leaving| leaving.shared.upgrade());
        stats.pools.extend(leaving.map(|pool| pool_stats(&pool, false)));
        stats
    }

    /// The reactors have ended: sockets and log are nobody's any more.
    pub(super) fn close(&self) {
        let pools = self.stats().pools;
        let mut current = self.lock();
        current.end = Some(pools);
        let bound = std::mem::take(&mut current.pools);
        bound.iter().for_each(|bound| bound.socket.remove());
        let log = current.log.take();
        // Others may ask for counters while the log is slow.
        drop(current);
        self.shared.mailboxes.iter().for_each(|mailbox| mailbox.close());
        // With the sockets, where workers would wait for who never comes.
        drop(bound);
        if log.is_some_and(|log| !log.flush_for(LOG_PATIENCE)) {
            tracing::error!("the access log takes nothing; its last lines are not written");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Current {
    /// From here on nothing fails. `post` sees one change per reactor, before any pool that has
    /// been removed can become unused.
    fn adopt(&mut self, plan: Plan, post: impl FnOnce(&mut Vec<Change>)) -> Vec<Change> {
        let is_kept = |old: &BoundPool| {
            plan.pools.iter().any(|planned| Arc::ptr_eq(&planned.bound.routed, &old.routed))
        };
        let removed: Vec<_> = self.pools.iter().filter(|old| !is_kept(old)).cloned().collect();
        let stays = |socket: &Arc<UnixSocket>| {
            plan.pools.iter().any(|planned| Arc::ptr_eq(&planned.bound.socket, socket))
        };
        let sockets = self.pools.iter().map(|old| &old.socket);
        sockets.filter(|socket| !stays(socket)).for_each(|socket| socket.remove());
        let gone = || removed.iter().map(|pool| Arc::clone(pool.routed.shared())).collect();
        let is_new = plan.pools.iter().filter(|planned| planned.is_new);
        let new: Vec<_> = is_new.map(|planned| planned.bound.clone()).collect();
        (self.log, self.bounds) = (plan.log, plan.bounds);
        let first_root = self.next_root;
        self.next_root = plan.next_root;
        let change = |file_routes| Change {
            policy: Arc::clone(&plan.policy),
            limits: Arc::clone(&plan.limits),
            log: self.log.clone(),
            spool_dir: plan.spool_dir.clone(),
            file_routes,
            first_root,
            sources: new.iter().map(BoundPool::source).collect(),
            removed: gone(),
        };
        let mut changes: Vec<_> = plan.file_routes.into_iter().map(change).collect();
        self.pools = plan.pools.into_iter().map(PlannedPool::adopt).collect();
        let is_back = |leaving: &LeavingPool| {
            let routed = leaving.routed.as_ptr();
            self.pools.iter().any(|bound| std::ptr::eq(Arc::as_ptr(&bound.routed), routed))
        };
        self.leaving.retain(|leaving| leaving.is_there() && !is_back(leaving));
        self.leaving.extend(removed.iter().map(LeavingPool::of));
        post(&mut changes);
        changes
    }
}

fn pool_stats(pool: &SharedPool, is_routed: bool) -> PoolStats {
    let core = pool.core();
    let (counts, refusals, oldest) = (core.counts(), core.refusals(), core.oldest_since());
    drop(core);
    PoolStats {
        socket: pool.socket().into(),
        is_routed,
        slots: counts.slots,
        idle: counts.idle,
        queued: counts.queued,
        oldest_wait: oldest.map_or(Duration::ZERO, |since| io::monotonic().since(since)),
        queue_full: refusals.queue_full,
        queue_timeout: refusals.queue_timeout,
        queue_delay: refusals.queue_delay,
        stood: counts.stood,
    }
}
