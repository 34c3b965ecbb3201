//! A new configuration and new workers while requests come: does anybody notice?
//!
//! Owns this case, when it reloads, and how its records are counted. Must not know signals.

use crate::Failure;
use crate::arrivals::{Arrivals, Kind, Outcome, percentile_ms};
use crate::case::{Case, Counted, Doing, Site};
use crate::load::Load;
use crate::load::open::{End, Record};
use crate::report::Sample;
use crate::run::Stack;
use crate::server::{Place, WHOLE_SITES};
use std::thread::sleep;
use std::time::Duration;

pub(crate) const CASES: &[Case] = &[Case {
    name: "reload",
    what: "200 requests a second for 4 workers of Flask that sleep 5 ms, while edge and workers \
           reload",
    site: Site::Whole { module: "app_flask", workers: "4" },
    doing: Doing::Reload(Arrivals {
        per_second: 200.0,
        kinds: &[Kind { path: "/sleep/5", weight: 1.0 }],
        patience: Duration::from_secs(5),
    }),
    counted: Counted::Figure { name: "p99 ms", is_better: "shorter" },
    servers: WHOLE_SITES,
    is_quick: false,
}];

/// The edge reloads, then its application; then there is time for both to be done with it.
///
/// # Errors
/// A wrong answer before; a process that cannot be signalled.
pub(crate) fn measure(
    arrivals: &Arrivals,
    stack: &Stack,
    place: &Place<'_>,
    time: Duration,
) -> Result<Sample, Failure> {
    let reload = || {
        sleep(time / 4);
        stack.reload_front(place.server)?;
        sleep(time / 4);
        stack.reload_application()
    };
    Ok(sample(place.case, &arrivals.measure(stack, place, time, reload)?))
}

fn sample(case: &Case, outcome: &Outcome) -> Sample {
    let all = outcome.load(|_| true);
    let load = Load { errors: outcome.count(|record| record.end != End::Right), ..all };
    // The last of them ends before anything happens.
    let before = |record: &Record| record.at + record.took < outcome.time / 4;
    Sample::new(case, &load, &outcome.used)
        .counting(load.p99_ms)
        .with("failed, ‰", 1e3 * load.errors as f64 / outcome.records.len().max(1) as f64)
        .with("p99 ms before", outcome.load(before).p99_ms)
        .with("longest, ms", percentile_ms(&outcome.took(|record| record.end == End::Right), 100))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrivals::tests::outcome;

    #[test]
    fn what_was_before_is_told_apart() {
        let sample = sample(
            &CASES[0],
            &outcome(&[
                (0, 0, 5, End::Right),
                (0, 249, 6, End::Right),
                (0, 500, 90, End::Right),
                (0, 500, 3, End::Lost),
            ]),
        );
        assert_eq!((sample.figure, sample.errors), (90.0, 1));
        let more: Vec<f64> = sample.more.iter().map(|(_, figure)| *figure).collect();
        assert_eq!(more, [250.0, 5.0, 90.0]);
    }
}
