//! Three times as many requests as workers can answer: what do clients get then?
//!
//! Owns this case and how its records are counted. Must not know configurations.

use crate::Failure;
use crate::arrivals::{Arrivals, Kind, Outcome, percentile_ms};
use crate::case::{Case, Counted, Doing, Site};
use crate::exchange::Exchange;
use crate::load::Load;
use crate::load::open::{End, Record};
use crate::report::Sample;
use crate::run::Stack;
use crate::server::{
    FOREBAY_WSGI, HAPROXY_GUNICORN, NGINX_GRANIAN, NGINX_GTHREAD, NGINX_GUNICORN,
    NGINX_LIMITED_GUNICORN, NGINX_UWSGI, Place,
};
use std::thread::sleep;
use std::time::{Duration, Instant};

pub(crate) const CASES: &[Case] = &[Case {
    name: "overload",
    what: "600 requests a second for 4 workers that sleep 20 ms, by clients who wait 1 s",
    site: Site::Whole { module: "app", workers: "4" },
    doing: Doing::Overload(Arrivals {
        per_second: 3.0 * CAPACITY,
        kinds: &[Kind { path: "/sleep/20", weight: 1.0 }],
        patience: Duration::from_secs(1),
    }),
    counted: Counted::Figure { name: "answers, % of capacity", is_better: "longer" },
    servers: &[
        FOREBAY_WSGI,
        NGINX_GUNICORN,
        NGINX_LIMITED_GUNICORN,
        NGINX_GTHREAD,
        NGINX_UWSGI,
        NGINX_GRANIAN,
        HAPROXY_GUNICORN,
    ],
    is_quick: true,
}];

/// Four workers of 20 ms each.
const CAPACITY: f64 = 200.0;

/// # Errors
/// A wrong answer before, or none long after.
pub(crate) fn measure(
    arrivals: &Arrivals,
    stack: &Stack,
    place: &Place<'_>,
    time: Duration,
) -> Result<Sample, Failure> {
    let outcome = arrivals.measure(stack, place, time, || Ok(()))?;
    let recovered = recovery(place)?;
    Ok(sample(place.case, &outcome).with("s until it answers again", recovered))
}

fn sample(case: &Case, outcome: &Outcome) -> Sample {
    let in_time = |record: &Record| record.at + record.took <= outcome.time;
    let load = Load { errors: outcome.count(|r| r.end == End::Lost), ..outcome.load(in_time) };
    let refused = outcome.took(|record| matches!(record.end, End::Wrong(_)));
    let per_second = |count: u64| count as f64 / outcome.time.as_secs_f64();
    Sample::new(case, &load, &outcome.used)
        .counting(100.0 * load.rate() / CAPACITY)
        .with("refused/s", per_second(refused.len() as u64))
        .with("p50 ms of refusals", percentile_ms(&refused, 50))
        .with("left/s", per_second(outcome.count(|record| record.end == End::GaveUp)))
}

/// Seconds until somebody who asks after the overload is answered.
fn recovery(place: &Place<'_>) -> Result<f64, Failure> {
    let began = Instant::now();
    loop {
        match Exchange::of("/sleep/20").clients(place) {
            Ok(_) => return Ok(began.elapsed().as_secs_f64()),
            Err(error) if began.elapsed() > RECOVERY => return Err(error),
            Err(_) => sleep(Duration::from_millis(10)),
        }
    }
}

const RECOVERY: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrivals::tests::outcome;

    #[test]
    fn only_who_waits_is_answered() {
        let sample = sample(
            &CASES[0],
            &outcome(&[
                (0, 0, 20, End::Right),
                (0, 100, 40, End::Right),
                (0, 990, 20, End::Right),
                (0, 0, 1000, End::GaveUp),
                (0, 0, 3, End::Wrong(503)),
                (0, 0, 1, End::Lost),
            ]),
        );
        // One came after the end.
        assert_eq!((sample.figure, sample.p99_ms, sample.errors), (1.0, 40.0, 1));
        let more: Vec<f64> = sample.more.iter().map(|(_, figure)| *figure).collect();
        assert_eq!(more, [1.0, 3.0, 1.0]);
    }
}
