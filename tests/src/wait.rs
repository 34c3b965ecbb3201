//! Waiting for something to become true.

use std::thread;
use std::time::{Duration, Instant};

/// How long tests wait for what should happen at once: long enough for a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Returns as soon as `condition` holds.
///
/// A machine that stands still, as virtual ones do for a minute, uses up no patience: whoever is
/// awaited stands still, too.
///
/// # Panics
/// When `timeout` passes first; the message names `what` was awaited.
pub fn wait_until(what: &str, timeout: Duration, mut condition: impl FnMut() -> bool) {
    let mut left = timeout;
    loop {
        let begin = Instant::now();
        if condition() {
            return;
        }
        assert!(!left.is_zero(), "not within {timeout:?}: {what}");
        thread::sleep(Duration::from_millis(5));
        left = left.saturating_sub(begin.elapsed().min(LOOK));
    }
}

/// One look takes no longer, if anything runs at all.
const LOOK: Duration = Duration::from_millis(500);
