//! Beyond its capacity a pool answers as many as it can, in time, and refuses the others.
//!
//! With `FOREBAY_FULL=1` it takes longer and figures are asserted, too: in a short run on a shared
//! machine they are chance.

use forebay_tests::{
    Arrival, Client, Load, OpenLoop, Outcome, PATIENCE, Site, is_full, wait_until,
};
use std::fmt;
use std::time::{Duration, Instant};

const WORKERS: usize = 4;
/// Requests of a second that four workers can answer, 20 ms each.
const CAPACITY: f64 = 200.0;
const SEED: u64 = 11;

#[test]
fn three_times_the_capacity_is_answered_in_time_and_leaves_nothing_behind() {
    let site = Site::with_app("probe", WORKERS);
    let capacity = warm_up(&site);
    let seconds = if is_full() { 10 } else { 3 };
    let burst = offered(&site, 3.0, Duration::from_secs(seconds)).run();
    std::thread::sleep(Duration::from_secs(1));
    let after = offered(&site, 0.3, Duration::from_secs(2)).run();

    let figures = Figures::of(&burst);
    println!("3 times the capacity for {seconds} s: {figures}");
    println!("0.3 times the capacity, a second later: {}", Figures::of(&after));
    assert_no_failure(&burst);
    assert_eq!(figures.gave_up, 0, "nobody waits for 5 s");
    assert!(after.iter().all(|arrival| arrival.has(200)), "a second later all are answered");
    let useful = figures.useful as f64 / (capacity * seconds as f64);
    if is_full() {
        assert!(useful >= 0.97, "{useful} of the capacity was useful");
        assert!(figures.answered.p99 <= Duration::from_millis(600), "answers came late");
        let after = Figures::of(&after).answered;
        assert!(after.p99 <= Duration::from_millis(200), "it is not over after a second");
    } else {
        assert!(useful >= 0.4, "{useful} of the capacity was useful");
    }
}

/// The queue is so short that it never stands: all refusals are made at admission.
#[test]
fn refusals_at_admission_come_at_once() {
    let site = Site::builder().pool("queue = 8").app("probe", WORKERS).start();
    warm_up(&site);
    let seconds = if is_full() { 10 } else { 3 };
    let burst = offered(&site, 3.0, Duration::from_secs(seconds)).run();

    let figures = Figures::of(&burst);
    println!("3 times the capacity for {seconds} s, room for 8: {figures}");
    assert_no_failure(&burst);
    assert!(figures.refused.count > figures.answered.count, "two thirds are too many");
    let bound = Duration::from_millis(if is_full() { 20 } else { 2_000 });
    assert!(figures.refused.p99 <= bound, "refusals came late");
}

#[test]
fn clients_that_vanish_from_the_queue_cost_nothing() {
    const CLIENTS: usize = 400;
    let stay = Duration::from_millis(100);
    let site = Site::builder().app("probe", WORKERS).path_variable("PROBE_LOG", "log").start();
    warm_up(&site);
    let begin = Instant::now();
    let ask = |id| {
        let mut client = site.client();
        client.send(format!("GET /once/{id}/200 HTTP/1.1\r\nHost: test\r\n\r\n"));
        (Instant::now(), client)
    };
    let clients: Vec<(Instant, Client)> = (0..CLIENTS).map(ask).collect();
    for (since, client) in clients {
        std::thread::sleep((since + stay).saturating_duration_since(Instant::now()));
        client.reset();
    }
    let vanished = begin.elapsed();
    let started = Instant::now();
    assert_eq!(site.client().get("/hello").status, 200);
    let next = started.elapsed();
    // Whoever has not left the queue would be executed meanwhile.
    let mut client = site.client();
    (0..25).for_each(|_| assert_eq!(client.get("/sleep/20").status, 200));

    let executed = std::fs::read_to_string(site.path("log")).unwrap().lines().count();
    println!("{CLIENTS} came and left within {vanished:?}: {executed} executed, next {next:?}");
    let in_that_time = WORKERS * (vanished.as_millis() as usize / 200 + 1);
    let most = if is_full() { 8 } else { in_that_time + WORKERS };
    assert!(executed <= most, "{executed} executed, at most {most} while their clients were there");
    let bound = Duration::from_millis(if is_full() { 400 } else { 5_000 });
    assert!(next <= bound, "the next client waited for those that were gone");
}

/// All workers have booted; what they answer in a second without overload, on this machine, where
/// a sleep of 20 ms lasts longer.
fn warm_up(site: &Site) -> f64 {
    wait_until("workers", PATIENCE, || site.worker_pids().len() == WORKERS);
    let request = "GET /sleep/20 HTTP/1.1\r\nHost: test\r\n\r\n";
    let answers = |seconds| {
        let duration = Duration::from_secs(seconds);
        let report = Load::run(site.address(), request, 2 * WORKERS, duration);
        report.assert_all_answered();
        report.latencies.len() as f64 / seconds as f64
    };
    answers(1);
    let capacity = answers(if is_full() { 5 } else { 1 });
    println!("in a second without overload: {capacity:.1} answers");
    assert!(!is_full() || capacity > 0.9 * CAPACITY, "so much is not lost in sleeping");
    capacity
}

fn offered(site: &Site, capacities: f64, duration: Duration) -> OpenLoop {
    OpenLoop {
        address: site.address(),
        target: "/sleep/20",
        per_second: CAPACITY * capacities,
        duration,
        patience: Duration::from_secs(5),
        seed: SEED,
    }
}

fn assert_no_failure(arrivals: &[Arrival]) {
    let is_fine = |arrival: &&Arrival| {
        matches!(arrival.outcome, Outcome::Answered(200 | 503) | Outcome::GaveUp)
    };
    let bad: Vec<_> = arrivals.iter().filter(|arrival| !is_fine(arrival)).collect();
    assert!(bad.is_empty(), "{bad:?}");
}

struct Figures {
    arrived: usize,
    /// Answered with 200 within a second.
    useful: usize,
    answered: Latencies,
    refused: Latencies,
    gave_up: usize,
    /// How late we were ourselves.
    late: Latencies,
}

impl Figures {
    fn of(arrivals: &[Arrival]) -> Figures {
        let with = |status| arrivals.iter().filter(move |arrival| arrival.has(status));
        Figures {
            arrived: arrivals.len(),
            useful: with(200).filter(|arrival| arrival.latency <= Duration::from_secs(1)).count(),
            answered: Latencies::of(with(200).map(|arrival| arrival.latency)),
            refused: Latencies::of(with(503).map(|arrival| arrival.latency)),
            gave_up: arrivals.iter().filter(|a| a.outcome == Outcome::GaveUp).count(),
            late: Latencies::of(arrivals.iter().map(|arrival| arrival.late)),
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures { arrived, useful, answered, refused, gave_up, late } = self;
        write!(
            f,
            "{arrived} arrived (sent late: {late}), answered {answered}, {useful} of them within \
             a second, refused {refused}, {gave_up} gave up"
        )
    }
}

struct Latencies {
    count: usize,
    p50: Duration,
    p99: Duration,
    most: Duration,
}

impl Latencies {
    fn of(latencies: impl Iterator<Item = Duration>) -> Latencies {
        let mut sorted: Vec<_> = latencies.collect();
        sorted.sort_unstable();
        let at = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
            sorted.get(rank).copied().unwrap_or_default()
        };
        Latencies { count: sorted.len(), p50: at(50), p99: at(99), most: at(100) }
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Latencies { count, p50, p99, most } = self;
        write!(f, "{count} (p50 {p50:.1?}, p99 {p99:.1?}, most {most:.1?})")
    }
}
