//! The bounds of one pool and their defaults.

use std::time::Duration;

/// Bounds of one pool.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct PoolLimits {
    /// Requests that may wait for a slot. Default: 1,000.
    pub(crate) queue: usize,
    /// How long a request may wait for a slot; its time on slots does not count. Default: 10 s.
    pub(crate) queue_timeout: Duration,
    /// How long a request may wait before the queue counts as long; one that stands refuses after
    /// some multiple of it (see [`super`]). `Duration::MAX`: it never stands. Default: 100 ms.
    pub(crate) queue_target: Duration,
    /// How long an exchange may take, from the complete request to the complete response; kept
    /// by the exchange's owner. Default: 60 s.
    pub(crate) deadline: Duration,
    /// How long a request waits on while no worker is there, if its `queue_timeout` does not end
    /// before. Default: 10 s.
    pub(crate) boot_grace: Duration,
}

impl Default for PoolLimits {
    fn default() -> Self {
        PoolLimits {
            queue: 1000,
            queue_timeout: Duration::from_secs(10),
            queue_target: Duration::from_millis(100),
            deadline: Duration::from_secs(60),
            boot_grace: Duration::from_secs(10),
        }
    }
}
