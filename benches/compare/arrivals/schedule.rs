//! When requests come: independently of each other, at a rate; the same for every server.
//!
//! Owns chance. Must not know clocks, nor what is asked.

use crate::load::open::Arrival;
use std::time::Duration;

/// Poisson arrivals for so long, of kinds in the proportion of their weights.
pub(super) fn random(per_second: f64, weights: &[f64], time: Duration) -> Vec<Arrival> {
    let (mut numbers, mut arrivals, mut at) = (Numbers(SEED), Vec::new(), 0.0);
    loop {
        at -= (1.0 - numbers.next()).ln() / per_second;
        if at >= time.as_secs_f64() {
            return arrivals;
        }
        let kind = choose(weights, numbers.next());
        arrivals.push(Arrival { at: Duration::from_secs_f64(at), kind });
    }
}

/// The index of the weight at that point of their sum, which is from 0 to 1.
fn choose(weights: &[f64], point: f64) -> usize {
    let mut left = point * weights.iter().sum::<f64>();
    let reaches = |weight: &f64| {
        left -= weight;
        left < 0.0
    };
    weights.iter().position(reaches).unwrap_or(weights.len().saturating_sub(1))
}

/// SplitMix64: small, and good enough for this.
struct Numbers(u64);

impl Numbers {
    /// From 0 to 1, without 1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

const SEED: u64 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_have_their_rate_and_proportion() {
        let arrivals = random(1000.0, &[0.95, 0.05], Duration::from_secs(100));
        assert!((99_000..101_000).contains(&arrivals.len()), "{}", arrivals.len());
        assert!(arrivals.windows(2).all(|pair| pair[0].at <= pair[1].at));
        let second = arrivals.iter().filter(|arrival| arrival.kind == 1).count();
        assert!((4_600..5_400).contains(&second), "{second}");
        // Of exponential gaps a share of 1/e is longer than their mean.
        let mean = Duration::from_millis(1);
        let long = arrivals.windows(2).filter(|pair| pair[1].at - pair[0].at > mean).count();
        assert!((36_000..37_600).contains(&long), "{long}");
    }

    #[test]
    fn weights_are_relative() {
        assert_eq!([0.0, 0.2, 0.25, 0.99].map(|point| choose(&[1.0, 3.0], point)), [0, 0, 1, 1]);
    }
}
