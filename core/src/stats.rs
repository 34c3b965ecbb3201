//! Counters: one set per reactor, written by it alone, added up when somebody asks.
//!
//! Owns their names. Must not know what is counted.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts events of one reactor. Others only read.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// One more. There is one writer, so no locked instruction is needed.
    pub(crate) fn count(&self) {
        self.add(1);
    }

    pub(crate) fn add(&self, more: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
    }

    /// One less, of what is now and not of what has been.
    pub(crate) fn uncount(&self) {
        self.add(u64::MAX);
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The counters of one reactor.
        #[derive(Debug, Default)]
        pub(crate) struct Counters { $(pub(crate) $name: Counter,)* }

        /// What a server has counted since it was built, over all reactors.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
            /// Threads that serve.
            pub reactors: usize,
            /// The pools, in the order of their first route.
            pub pools: Vec<PoolStats>,
        }

        impl Stats {
            pub(crate) fn add(&mut self, counters: &Counters) {
                $(self.$name += counters.$name.value();)*
            }

            /// The counters by name: all that is here but reactors and pools.
            pub fn counters(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

impl Counters {
    /// Answers of the class of this status (RFC 9110 §15).
    pub(crate) fn responses(&self, status: u16) -> &Counter {
        match status / 100 {
            2 => &self.responses_2xx,
            3 => &self.responses_3xx,
            4 => &self.responses_4xx,
            _ => &self.responses_5xx,
        }
    }
}

impl Stats {
    /// Client connections that are open now.
    pub fn open(&self) -> u64 {
        // Reactors go on counting while they are added up.
        self.accepted.saturating_sub(self.closed)
    }
}

counters! {
    /// Client connections accepted.
    accepted,
    /// Client connections that have ended.
    closed,
    /// Client connections that wait for their next request now, with nothing to send. No sum of
    /// the past, unlike all others.
    parked,
    /// Client connections closed at once because of `connections`.
    connections,
    /// Idle client connections that ended because others came, and there were `connections` or no
    /// more descriptors.
    connections_evicted,
    /// Client connections closed at once because of `connections_per_address`.
    connections_per_address,
    /// accept(2) failed for lack of descriptors or memory.
    accept_failed,
    /// Whole request heads.
    requests,
    /// Requests refused because they break the protocol or a limit (4xx, 501, 505).
    refused,
    /// Answers with a status from 200 to 299, whole or begun.
    responses_2xx,
    /// Answers with a status from 300 to 399.
    responses_3xx,
    /// Answers with a status from 400 to 499.
    responses_4xx,
    /// Answers with a status of 500 or more.
    responses_5xx,
    /// Requests refused because of their route's `rate` (429).
    rate,
    /// Requests refused because of their route's `concurrent` (429).
    concurrent,
    /// Field lines dropped because of `_` or `.` in their name.
    fields_dropped,
    /// Bytes received from clients.
    bytes_in,
    /// Bytes sent to clients.
    bytes_out,
    /// Connections ended by `client_header_timeout`.
    client_header_timeout,
    /// Connections ended by `client_body_timeout`.
    client_body_timeout,
    /// Connections ended by `send_timeout`.
    send_timeout,
    /// Connections ended by `rate_min`, because of their content or because of their answers.
    rate_min,
    /// Connections ended by `keepalive_timeout`.
    keepalive_timeout,
    /// Receives that waited for a transit buffer.
    starved,
    /// Completions for a connection that had ended.
    stale,
    /// Handlers that took longer than a millisecond.
    handler_overruns,
    /// Requests whose handler missed `handler_timeout`.
    handler_timeout,
    /// Handlers that panicked.
    handler_panics,
    /// Requests refused because the pool's queue was full.
    queue_full,
    /// Requests refused because they waited longer than `queue_timeout` or `boot_grace`.
    queue_timeout,
    /// Requests refused because they waited longer than three times `queue_target` in a queue that
    /// stood.
    queue_delay,
    /// Requests whose application missed the pool's `deadline`.
    deadline,
    /// Requests answered 502.
    bad_gateway,
    /// Requests that went to another worker because the first one had surely not started them.
    requeued,
    /// Idempotent requests that went to another worker though the first one may have started them.
    repeated,
    /// Responses cut off after their first byte because the application failed.
    responses_aborted,
    /// Requests whose content went through a spool file.
    requests_spooled,
    /// Responses of which a part went to a spool file.
    responses_spooled,
    /// Requests refused because they had no room in `memory_budget` (503).
    memory_budget,
    /// Idle client connections that ended because `memory_budget` was nearly used up.
    memory_parked,
    /// Connections ended by a timeout that was shortened because of `memory_budget`.
    memory_timeouts,
    /// Uploads below `rate_min` that ended early because of `memory_budget` (408).
    memory_uploads,
    /// Responses received in small pieces because of `memory_budget`.
    memory_responses,
    /// Spool files that could not be made or written, or were over `spool_budget`.
    spool_refused,
    /// Connections of workers closed at once because of `slots`.
    slots,
    /// Connections of workers closed because of their user, or because they broke the protocol.
    slots_refused,
}

/// The state of one pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// The path of its socket.
    pub socket: std::path::PathBuf,
    /// False: a reload has removed it, and it finishes what has begun; then it is no longer told.
    pub is_routed: bool,
    /// Slots: requests that its workers can run at the same time.
    pub slots: usize,
    /// Slots that wait for a request.
    pub idle: usize,
    /// Requests that wait for a slot.
    pub queued: usize,
    /// How long the one of them that came first has waited; zero if none waits, or if all of them
    /// have had a slot before.
    pub oldest_wait: std::time::Duration,
    /// Requests refused because the queue was full.
    pub queue_full: u64,
    /// Requests refused because they waited longer than `queue_timeout` or `boot_grace`.
    pub queue_timeout: u64,
    /// Requests refused because they waited too long in a queue that stood.
    pub queue_delay: u64,
    /// How often its queue has begun to stand: to refuse early instead of making everybody late.
    pub stood: u64,
}
