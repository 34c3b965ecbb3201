//! When a place whose worker has died may be filled again.
//!
//! Owns the exponential delay and its jitter. Must not know workers.

use std::time::{Duration, Instant};

/// Places to be filled later, the earliest first.
#[derive(Debug)]
pub(crate) struct Backoff {
    places: Vec<Place>,
    random: u64,
}

#[derive(Debug)]
struct Place {
    due: Instant,
    failures: u32,
}

impl Backoff {
    /// Delays before the first and at most before any restart, before jitter.
    pub(crate) const DELAYS: (Duration, Duration) =
        (Duration::from_millis(100), Duration::from_secs(10));

    pub(crate) fn new(seed: u64) -> Backoff {
        Backoff { places: Vec::new(), random: seed | 1 }
    }

    /// A place has become empty, after failing `failures` times in a row before.
    pub(crate) fn failed(&mut self, failures: u32, now: Instant) {
        let due = now + self.delay(failures);
        self.places.push(Place { due, failures: failures.saturating_add(1) });
        self.places.sort_by_key(|place| place.due);
    }

    /// How long a place waits that has failed `failures` times in a row before.
    pub(crate) fn delay(&mut self, failures: u32) -> Duration {
        let (first, most) = Self::DELAYS;
        let delay = first.saturating_mul(1 << failures.min(20)).min(most);
        delay.mul_f64(self.jitter())
    }

    /// Fewer places are needed.
    pub(crate) fn forget_beyond(&mut self, places: usize) {
        self.places.truncate(places);
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// When the earliest place is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.places.first().map(|place| place.due)
    }

    /// Gives away a place that is due, as the number of its failures in a row.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<u32> {
        let is_due = self.next().is_some_and(|due| due <= now);
        is_due.then(|| self.places.remove(0).failures)
    }

    /// From 0.75 to 1.25, so that workers that died together do not come back together.
    fn jitter(&mut self) -> f64 {
        // xorshift64
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        0.75 + 0.5 * (self.random >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_ten_seconds() {
        let now = Instant::now();
        let mut backoff = Backoff::new(42);
        for (failures, expected) in [(0, 0.1), (1, 0.2), (4, 1.6), (7, 10.0), (u32::MAX, 10.0)] {
            backoff.failed(failures, now);
            let delay = backoff.next().unwrap().duration_since(now).as_secs_f64();
            assert!((0.74..1.26).contains(&(delay / expected)), "{failures}: {delay}");
            assert_eq!(backoff.take_due(now), None);
            let later = now + Duration::from_secs(13);
            assert_eq!(backoff.take_due(later), Some(failures.saturating_add(1)));
        }
    }

    #[test]
    fn the_earliest_places_are_kept() {
        let now = Instant::now();
        let mut backoff = Backoff::new(7);
        backoff.failed(5, now);
        backoff.failed(0, now);
        backoff.forget_beyond(1);
        assert_eq!(backoff.take_due(now + Duration::from_secs(1)), Some(1));
        assert_eq!(backoff.len(), 0);
    }
}
