//! Requests that come at a given rate, at random, whatever becomes of those before.
//!
//! Owns verifying, warming up and playing a schedule, and what is counted of any records. Must not
//! know which case they are of.

mod schedule;

use crate::Failure;
use crate::exchange::Exchange;
use crate::load::open::{self, Arrival, End, Plan, Record};
use crate::load::{Expected, Load};
use crate::measure::Used;
use crate::run::Stack;
use crate::server::Place;
use std::thread;
use std::time::Duration;

/// Who asks, how often and for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrivals {
    pub(crate) per_second: f64,
    pub(crate) kinds: &'static [Kind],
    /// A client leaves after so long without an answer.
    pub(crate) patience: Duration,
}

/// Some of the requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) path: &'static str,
    /// Of all requests, relative to the other kinds.
    pub(crate) weight: f64,
}

/// What all of a time have come to.
pub(crate) struct Outcome {
    pub(crate) records: Vec<Record>,
    pub(crate) time: Duration,
    pub(crate) used: Used,
}

impl Arrivals {
    /// Requests for so long, beside something that goes on meanwhile.
    ///
    /// # Errors
    /// A wrong answer before; what happens meanwhile fails.
    pub(crate) fn measure(
        &self,
        stack: &Stack,
        place: &Place<'_>,
        time: Duration,
        meanwhile: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<Outcome, Failure> {
        let (requests, expected) = self.verify(place)?;
        self.play(place.port, &requests, expected, (WARM_UP_RATE, WARM_UP))?;
        let before = stack.used();
        let records = thread::scope(|scope| {
            let play = || {
                let records = self.play(place.port, &requests, expected, (self.per_second, time));
                records.map_err(|error| error.to_string())
            };
            let player = scope.spawn(play);
            meanwhile()?;
            Ok::<_, Failure>(player.join().map_err(|_| "the clients have panicked")??)
        })?;
        Ok(Outcome { records, time, used: stack.used() - before })
    }

    /// A request of each kind, and what is answered.
    fn verify(&self, place: &Place<'_>) -> Result<(Vec<Vec<u8>>, Expected), Failure> {
        let mut requests = Vec::new();
        let mut expected = None;
        for kind in self.kinds {
            let mut clients = Exchange::of(kind.path).clients(place)?;
            requests.append(&mut clients.requests);
            if expected.replace(clients.expected).is_some_and(|other| other != clients.expected) {
                return Err("answers of different kinds differ".into());
            }
        }
        Ok((requests, expected.ok_or("nobody asks for anything")?))
    }

    fn play(
        &self,
        port: u16,
        requests: &[Vec<u8>],
        expected: Expected,
        (per_second, time): (f64, Duration),
    ) -> Result<Vec<Record>, Failure> {
        let weights: Vec<f64> = self.kinds.iter().map(|kind| kind.weight).collect();
        let arrivals: Vec<Arrival> = schedule::random(per_second, &weights, time);
        let (requests, patience) = (requests.to_vec(), self.patience);
        open::run(port, &Plan { requests, expected, arrivals: &arrivals, patience })
    }
}

impl Outcome {
    /// Right answers of these; errors are none of its business.
    pub(crate) fn load(&self, counts: impl Fn(&Record) -> bool) -> Load {
        let took = self.took(|record| record.end == End::Right && counts(record));
        Load {
            requests: took.len() as u64,
            seconds: self.time.as_secs_f64(),
            errors: 0,
            p50_ms: percentile_ms(&took, 50),
            p99_ms: percentile_ms(&took, 99),
        }
    }

    /// How many of them are such.
    pub(crate) fn count(&self, is_such: impl Fn(&Record) -> bool) -> u64 {
        self.records.iter().filter(|record| is_such(record)).count() as u64
    }

    /// How long these took, the shortest first.
    pub(crate) fn took(&self, counts: impl Fn(&Record) -> bool) -> Vec<Duration> {
        let counted = self.records.iter().filter(|record| counts(record));
        let mut took: Vec<Duration> = counted.map(|record| record.took).collect();
        took.sort_unstable();
        took
    }
}

/// Of sorted ones; 0 of none.
pub(crate) fn percentile_ms(sorted: &[Duration], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).map_or(0.0, |took| took.as_secs_f64() * 1e3)
}

/// Until each worker has had something to do.
const WARM_UP: Duration = Duration::from_millis(800);
const WARM_UP_RATE: f64 = 50.0;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What has happened: kind, when, how long it took, and how it ended.
    pub(crate) fn outcome(records: &[(usize, u64, u64, End)]) -> Outcome {
        let millis = Duration::from_millis;
        let record = |&(kind, at, took, end): &(usize, u64, u64, End)| Record {
            kind,
            at: millis(at),
            took: millis(took),
            end,
        };
        let records = records.iter().map(record).collect();
        Outcome { records, time: millis(1000), used: Used::default() }
    }

    #[test]
    fn percentiles_are_of_those_that_were_there() {
        let sorted: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!((percentile_ms(&sorted, 50), percentile_ms(&sorted, 99)), (100.0, 198.0));
        assert_eq!(percentile_ms(&sorted[..1], 99), 1.0);
        assert_eq!(percentile_ms(&[], 99), 0.0);
    }

    #[test]
    fn a_load_is_what_was_right() {
        let all = [(0, 0, 9, End::Right), (1, 0, 2, End::Right), (1, 0, 1, End::Wrong(503))];
        let load = outcome(&all).load(|record| record.kind == 1);
        assert_eq!((load.requests, load.p50_ms, load.seconds), (1, 2.0, 1.0));
        assert_eq!(outcome(&all).count(|record| record.end != End::Right), 1);
    }
}
