//! The same file on ever more connections, with one and with two threads that serve.
//!
//! Owns these cases, and their picture. Must not know configurations.

use crate::Failure;
use crate::case::{Case, Counted, Doing, Site};
use crate::exchange::Exchange;
use crate::lines::{self, Line, Panel};
use crate::load::Crowd;
use crate::memory::Memory;
use crate::report::{Report, Sample};
use crate::run::Stack;
use crate::server::{FOREBAY, FOREBAY_2, H2O, H2O_2, NGINX, NGINX_2, Place};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) const CASES: &[Case] = &[
    Case { is_quick: true, ..case("scaling-100", "a file of 1 KiB, 100 connections", 100) },
    case("scaling-1000", "a file of 1 KiB, 1,000 connections", 1_000),
    case("scaling-5000", "a file of 1 KiB, 5,000 connections", 5_000),
    case("scaling-15000", "a file of 1 KiB, 15,000 connections", 15_000),
];

const fn case(name: &'static str, what: &'static str, connections: usize) -> Case {
    Case {
        name,
        what,
        site: Site::Files,
        doing: Doing::Scaling(Exchange { connections, ..Exchange::of("/1k.txt") }),
        counted: Counted::Processes,
        servers: &[FOREBAY, FOREBAY_2, NGINX, NGINX_2, H2O, H2O_2],
        is_quick: false,
    }
}

/// All connections ask again and again; then they rest, and what they cost in memory is seen.
///
/// # Errors
/// A wrong answer.
pub(crate) fn measure(
    exchange: &Exchange,
    stack: &Stack,
    place: &Place<'_>,
    time: Duration,
) -> Result<Sample, Failure> {
    let clients = exchange.clients(place)?;
    let started = Memory::of(stack.front())?;
    let mut crowd = Crowd::connect(place.port, vec![clients])?;
    crowd.run(WARM_UP)?;
    let before = stack.used();
    let load = crowd.run(time)?.remove(0);
    let used = stack.used() - before;
    let resting = Memory::of(stack.front())?;
    let each = resting.per(exchange.connections, &started);
    drop(crowd);
    exchange.clients(place)?;
    Ok(Sample::new(place.case, &load, &used)
        .with("MiB at start", started.processes / MIB)
        .with("MiB", resting.processes / MIB)
        .with(PER_CONNECTION, each.processes / 1024.0))
}

/// `scaling.svg` in that directory, of what was measured of these cases; None of fewer than two.
///
/// # Errors
/// It cannot be written.
pub(crate) fn draw(reports: &[Report], dir: &Path) -> Result<Option<PathBuf>, Failure> {
    let of_these: Vec<(&Report, usize)> =
        reports.iter().filter_map(|report| Some((report, connections(report.case())?))).collect();
    if of_these.len() < 2 {
        return Ok(None);
    }
    let lines = |figure: fn(&Sample) -> f64| {
        let medians = of_these.iter().map(|(report, _)| report.medians(figure));
        Line::through(&medians.collect::<Vec<_>>())
    };
    let panels = [
        Panel { title: "CPU s per 100k requests", lines: lines(|sample| sample.figure) },
        Panel { title: PER_CONNECTION, lines: lines(per_connection) },
        Panel { title: "MiB in all", lines: lines(|sample| sample.more("MiB")) },
    ];
    let ticks: Vec<String> = of_these.iter().map(|(_, count)| count.to_string()).collect();
    let path = dir.join("scaling.svg");
    let svg = lines::svg("A file of 1 KiB, by connections; shorter is better", &ticks, &panels);
    std::fs::write(&path, svg)?;
    Ok(Some(path))
}

fn per_connection(sample: &Sample) -> f64 {
    sample.more(PER_CONNECTION)
}

fn connections(case: &Case) -> Option<usize> {
    match case.doing {
        Doing::Scaling(exchange) => Some(exchange.connections),
        _ => None,
    }
}

const PER_CONNECTION: &str = "KiB per connection";
const MIB: f64 = (1 << 20) as f64;
const WARM_UP: Duration = Duration::from_millis(400);
