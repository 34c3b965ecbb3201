//! Many fast requests and a few slow ones through the same workers: do the fast ones wait?
//!
//! Owns this case and how its records are counted. Must not know configurations.

use crate::Failure;
use crate::arrivals::{Arrivals, Kind, Outcome};
use crate::case::{Case, Counted, Doing, Site};
use crate::load::Load;
use crate::load::open::{End, Record};
use crate::report::Sample;
use crate::run::Stack;
use crate::server::{Place, WHOLE_SITES};
use std::time::Duration;

pub(crate) const CASES: &[Case] = &[Case {
    name: "mixed",
    what: "235 requests a second for 4 workers, 95 % of 2 ms and 5 % of 200 ms: 70 % of capacity",
    site: Site::Whole { module: "app", workers: "4" },
    doing: Doing::Mixed(Arrivals {
        per_second: 235.0,
        kinds: &[
            Kind { path: "/sleep/2", weight: 0.95 },
            Kind { path: "/sleep/200", weight: 0.05 },
        ],
        patience: Duration::from_secs(5),
    }),
    counted: Counted::Figure { name: "p99 ms of fast requests", is_better: "shorter" },
    servers: WHOLE_SITES,
    is_quick: false,
}];

/// Of the kinds.
const FAST: usize = 0;

/// # Errors
/// A wrong answer before.
pub(crate) fn measure(
    arrivals: &Arrivals,
    stack: &Stack,
    place: &Place<'_>,
    time: Duration,
) -> Result<Sample, Failure> {
    Ok(sample(place.case, &arrivals.measure(stack, place, time, || Ok(()))?))
}

/// Rate and CPU time are of all, p50 and p99 of the fast ones.
fn sample(case: &Case, outcome: &Outcome) -> Sample {
    let (fast, slow) =
        (outcome.load(|record| record.kind == FAST), outcome.load(|record| record.kind != FAST));
    let late = |record: &Record| record.kind == FAST && record.took > LATE;
    let load = Load {
        requests: fast.requests + slow.requests,
        errors: outcome.count(|record| record.end != End::Right),
        ..fast
    };
    Sample::new(case, &load, &outcome.used)
        .counting(fast.p99_ms)
        .with("% of the fast above 50 ms", percent(outcome.count(late), fast.requests))
        .with("p50 ms of slow", slow.p50_ms)
        .with("p99 ms of slow", slow.p99_ms)
}

fn percent(part: u64, whole: u64) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

/// For a request of 2 ms.
const LATE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrivals::tests::outcome;

    #[test]
    fn fast_and_slow_are_told_apart() {
        let sample = sample(
            &CASES[0],
            &outcome(&[
                (0, 0, 3, End::Right),
                (0, 0, 70, End::Right),
                (1, 0, 200, End::Right),
                (1, 0, 5000, End::GaveUp),
            ]),
        );
        assert_eq!((sample.figure, sample.p50_ms, sample.errors), (70.0, 3.0, 1));
        assert_eq!(sample.requests_per_second, 3.0);
        let more: Vec<f64> = sample.more.iter().map(|(_, figure)| *figure).collect();
        assert_eq!(more, [50.0, 200.0, 200.0]);
    }
}
