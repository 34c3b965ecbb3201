//! How long answers took, in little memory.
//!
//! Owns the buckets: microseconds up to 10 ms, then tenths of milliseconds. Must not know clocks.

use std::time::Duration;

/// Counts by duration.
#[derive(Debug)]
pub(super) struct Histogram {
    counts: Vec<u32>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { counts: vec![0; FINE + COARSE], total: 0 }
    }
}

impl Histogram {
    pub(super) fn add(&mut self, duration: Duration, count: usize) {
        let micros = duration.as_micros() as usize;
        let bucket = if micros < FINE { micros } else { FINE + (micros - FINE) / STEP };
        self.counts[bucket.min(FINE + COARSE - 1)] += count as u32;
        self.total += count as u64;
    }

    /// Milliseconds; 0 of nothing.
    pub(super) fn percentile(&self, percent: f64) -> f64 {
        let rank = (self.total as f64 * percent / 100.0).ceil() as u64;
        let mut seen = 0;
        let reaches = |count: &u32| {
            seen += u64::from(*count);
            seen >= rank
        };
        let bucket = self.counts.iter().position(reaches).unwrap_or(0);
        let micros = if bucket < FINE { bucket } else { FINE + (bucket - FINE) * STEP };
        micros as f64 / 1e3
    }

    pub(super) fn clear(&mut self) {
        self.counts.fill(0);
        self.total = 0;
    }
}

/// Of a microsecond each.
const FINE: usize = 10_000;
/// The rest, up to 10 s.
const COARSE: usize = 100_000;
const STEP: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_a_sorted_list() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentile(99.0), 0.0);
        for millis in (1..=100).rev() {
            histogram.add(Duration::from_millis(millis), 1);
        }
        assert_eq!((histogram.percentile(50.0), histogram.percentile(99.0)), (50.0, 99.0));
        histogram.add(Duration::from_secs(3600), 100);
        assert_eq!(histogram.percentile(50.0), 100.0);
        histogram.clear();
        assert_eq!(histogram.percentile(50.0), 0.0);
    }
}
