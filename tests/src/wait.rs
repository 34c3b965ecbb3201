//! Waiting for something to become true.

use std::thread;
use std::time::{Duration, Instant};

/// How long tests wait for what should happen at once: long enough for a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Returns as soon as `condition` holds.
///
/// # Panics
/// When `timeout` passes first; the message names `what` was awaited.
pub fn wait_until(what: &str, timeout: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + timeout;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {timeout:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
