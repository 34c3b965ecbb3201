//! Nothing is lost and nothing runs twice, whatever happens to workers under load.
//!
//! About 1,000 requests a second with unique ids. The application appends the id to a log as its
//! first act. A worker that is killed before that may have begun the request all the same: the
//! arbiter says in which requests a worker has ended.

use forebay_tests::{
    HUP, KILL, Outcomes, PATIENCE, Random, Site, SiteBuilder, Storm, TERM, TTIN, TTOU, is_full,
    python, send_signal, wait_until, worker_bin,
};
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// As many as come while no worker is there, so that the others do not wait with them.
const CLIENTS: u32 = 512;

/// What happens to workers, and what it may cost.
struct Disturbance {
    name: &'static str,
    /// Of `worker-bin`; where one is unknown, the disturbance is left out.
    flags: &'static [&'static str],
    act: fn(&Site, &mut Random),
    /// The longest time between two acts.
    pause: Duration,
    /// Acts, and with `FOREBAY_FULL=1`.
    times: (usize, usize),
    /// Acts on each of its workers before a site is replaced: an arbiter waits longer and longer
    /// before it replaces workers that die young.
    wears_out: Option<usize>,
    /// Requests that run when their worker dies may be answered with 502.
    costs: bool,
}

const KILLED: Disturbance = Disturbance {
    name: "KILL of workers",
    flags: &[],
    act: |site, random| signal_some_worker(site, random, KILL),
    pause: Duration::from_millis(60),
    times: (50, 500),
    wears_out: Some(3),
    costs: true,
};

const DISTURBANCES: &[Disturbance] = &[
    KILLED,
    Disturbance {
        name: "TERM of workers",
        flags: &[],
        act: |site, random| signal_some_worker(site, random, TERM),
        pause: Duration::from_millis(60),
        times: (24, 500),
        wears_out: Some(3),
        costs: false,
    },
    Disturbance {
        name: "TTIN and TTOU",
        flags: &[],
        act: one_more_or_less,
        pause: Duration::from_millis(60),
        times: (30, 500),
        wears_out: None,
        costs: false,
    },
    Disturbance {
        name: "HUP",
        flags: &[],
        act: |site, _| send_signal(site.arbiter_pid(), HUP),
        pause: Duration::from_millis(300),
        times: (10, 200),
        wears_out: None,
        costs: false,
    },
    Disturbance {
        name: "retirement for memory",
        flags: &["--max-memory", "1K"],
        act: |_, _| {},
        pause: Duration::from_millis(300),
        times: (10, 200),
        wears_out: None,
        costs: false,
    },
    Disturbance {
        name: "retirement after 200 requests",
        flags: &["--max-requests", "200"],
        act: |_, _| {},
        pause: Duration::from_millis(300),
        times: (10, 200),
        wears_out: None,
        costs: false,
    },
];

/// Processes and their threads, and what they are asked.
struct Shape {
    workers: usize,
    threads: usize,
    method: &'static str,
    /// Requests: what it can answer also while its workers are replaced all the time.
    per_second: u32,
    /// The application with flags of `worker-bin`.
    app: fn(&[&str]) -> SiteBuilder,
}

const FOUR_WORKERS: Shape =
    Shape { workers: 4, threads: 1, method: "POST", per_second: 1_000, app: probe };

#[test]
fn four_workers() {
    all(&FOUR_WORKERS);
}

#[test]
fn two_workers_with_four_threads() {
    all(&Shape { workers: 2, threads: 4, ..FOUR_WORKERS });
}

#[test]
fn four_workers_in_python() {
    of_python(&Shape { app: |flags| of_wsgi("once:application", flags), ..FOUR_WORKERS });
}

#[test]
fn flask_with_two_threads() {
    let app = |flags: &[&str]| of_wsgi("once:site", flags);
    of_python(&Shape { workers: 2, threads: 2, per_second: 250, app, ..FOUR_WORKERS });
}

/// A process that dies closes one slot after the other, and a request that is sent to several of
/// them has seen one death.
#[test]
fn many_threads() {
    let shape = Shape { workers: 2, threads: 64, method: "GET", ..FOUR_WORKERS };
    let act = |site: &Site, random: &mut Random| {
        wait_until("both workers", PATIENCE, || site.worker_pids().len() == 2);
        signal_some_worker(site, random, KILL);
    };
    let sum = disturbed(&Disturbance { act, times: (20, 100), ..KILLED }, &shape);
    assert_eq!(sum.given_up, 0, "502 for what was not begun: {sum}");
}

fn of_python(shape: &Shape) {
    if python().is_none() {
        return;
    }
    disturbed(&Disturbance { times: (12, 100), ..KILLED }, shape);
    for disturbance in &DISTURBANCES[3..] {
        let (some, _) = disturbance.times;
        disturbed(&Disturbance { times: (some / 3, 24), ..*disturbance }, shape);
    }
    let retired = Disturbance {
        name: "retirement after 20 requests",
        flags: &["--max-requests", "20"],
        times: (10, 100),
        ..DISTURBANCES[3]
    };
    // Each of so many ends is that of an interpreter.
    let slower = Shape { per_second: shape.per_second / 4, ..*shape };
    disturbed(&Disturbance { act: |_, _| {}, ..retired }, &slower);
}

fn of_wsgi(application: &str, flags: &[&str]) -> SiteBuilder {
    python().expect("looked for before").site_builder(application, flags)
}

fn probe(flags: &[&str]) -> SiteBuilder {
    Site::builder().app_with("probe", flags)
}

fn all(shape: &Shape) {
    for disturbance in DISTURBANCES {
        if disturbance.flags.iter().any(|flag| flag.starts_with('-') && !is_flag(flag)) {
            println!("{}: worker-bin does not know {:?}", disturbance.name, disturbance.flags);
            continue;
        }
        disturbed(disturbance, shape);
    }
}

fn is_flag(flag: &str) -> bool {
    let help = Command::new(worker_bin()).arg("--help").output().expect("worker-bin runs");
    String::from_utf8_lossy(&help.stdout).contains(flag)
}

/// With another storm beside it there are more requests than workers can answer.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn disturbed(disturbance: &Disturbance, shape: &Shape) -> Sum {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let times = if is_full() { disturbance.times.1 } else { disturbance.times.0 };
    let per_site = disturbance.wears_out.map_or(times, |each| each * shape.workers);
    let mut random = Random::new(3);
    // What is idempotent may be repeated once, if nobody has told in time how the worker died.
    let repeats = usize::from(shape.method == "GET");
    let mut sum = Sum { repeats, ..Sum::default() };
    for begun in (0..times).step_by(per_site) {
        let acts = per_site.min(times - begun);
        let (site, outcomes) = on_one_site(disturbance, shape, acts, &mut random);
        sum.add(&site, &outcomes, acts);
    }
    let name = format!("{}, {}×{}", disturbance.name, shape.workers, shape.threads);
    println!("{name}: {sum}");
    sum.check(&name, if disturbance.costs { times * shape.threads } else { 0 });
    sum
}

fn on_one_site(
    disturbance: &Disturbance,
    shape: &Shape,
    acts: usize,
    random: &mut Random,
) -> (Site, Outcomes) {
    let (workers, threads) = (shape.workers.to_string(), shape.threads.to_string());
    let flags = [&["-w", &workers, "--threads", &threads], disturbance.flags].concat();
    // Slow machines are not overload, and CLIENTS bounds the queue.
    let app = (shape.app)(&flags).pool("queue_timeout = \"60s\"").pool("queue_target = \"60s\"");
    let site = app.path_variable("PROBE_LOG", "log").start();
    wait_until("workers", PATIENCE, || site.worker_pids().len() == shape.workers);
    let storm = Storm::start(site.address(), shape.method, CLIENTS, shape.per_second);
    let more = |count| {
        let sent = storm.sent();
        wait_until("answers", PATIENCE, || storm.sent() >= sent + count);
    };
    more(100);
    for _ in 0..acts {
        std::thread::sleep(random.duration(disturbance.pause));
        (disturbance.act)(&site, random);
    }
    more(100);
    let outcomes = storm.stop();
    (site, outcomes)
}

fn signal_some_worker(site: &Site, random: &mut Random, signal: i32) {
    let mut workers = Vec::new();
    wait_until("a worker", PATIENCE, || {
        workers = site.worker_pids();
        !workers.is_empty()
    });
    send_signal(*random.choose(&workers), signal);
}

/// There is always one, and there are never many.
fn one_more_or_less(site: &Site, random: &mut Random) {
    let signals = if site.worker_pids().len() < 8 { &[TTIN, TTOU][..] } else { &[TTOU] };
    send_signal(site.arbiter_pid(), *random.choose(signals));
}

/// What happened on all sites.
#[derive(Default)]
struct Sum {
    acts: usize,
    sites: usize,
    answered: usize,
    /// Answered with 502, and in the log.
    logged: usize,
    /// Answered with 502 and not in the log, but its worker had begun it, says the arbiter.
    begun: usize,
    /// Answered with 502 because three workers died before they began it, says the edge.
    given_up: usize,
    /// Answered with 502, and nobody says why.
    unexplained: Vec<usize>,
    /// How often one request may be executed again.
    repeats: usize,
    /// Executed more often.
    twice: Vec<String>,
    /// Answered with 200, but not in the log.
    pretended: Vec<usize>,
    other_statuses: Vec<(usize, u16)>,
    faults: Vec<(usize, String)>,
    longest: Duration,
    rates: Vec<f64>,
}

impl Sum {
    fn add(&mut self, site: &Site, outcomes: &Outcomes, acts: usize) {
        let log = fs::read_to_string(site.path("log")).expect("something was executed");
        let mut executed = BTreeMap::new();
        for id in log.lines() {
            *executed.entry(id).or_insert(0) += 1;
        }
        let too_often = executed.iter().filter(|(_, times)| **times > 1 + self.repeats);
        self.twice.extend(too_often.map(|(id, _)| (*id).to_owned()));
        let is_executed = |id: &usize| executed.contains_key(id.to_string().as_str());
        self.acts += acts;
        self.sites += 1;
        self.answered += outcomes.with(200).count();
        let said = site.stderr();
        let says = |id: &usize, what: &str| {
            let request = &outcomes.request_ids[id];
            said.lines().any(|line| line.contains(request) && line.contains(what))
        };
        for id in outcomes.with(502) {
            match id {
                id if says(&id, "before they began it") => match is_executed(&id) {
                    true => self.twice.push(format!("{id}, which no worker began")),
                    false => self.given_up += 1,
                },
                id if is_executed(&id) => self.logged += 1,
                id if says(&id, "has ended in request") => self.begun += 1,
                id => self.unexplained.push(id),
            }
        }
        self.pretended.extend(outcomes.with(200).filter(|id| !is_executed(id)));
        let others = outcomes.statuses.iter().filter(|(_, status)| !matches!(status, 200 | 502));
        let others: Vec<_> = others.map(|(id, status)| (*id, *status)).collect();
        if !others.is_empty() {
            eprintln!("{others:?}, the longest took {:?}:\n{said}", outcomes.longest);
        }
        self.other_statuses.extend(others);
        self.faults.extend(outcomes.faults.iter().cloned());
        self.longest = self.longest.max(outcomes.longest);
        self.rates.push(outcomes.rate);
    }

    fn check(&self, name: &str, bad_gateway_most: usize) {
        assert!(self.faults.is_empty(), "{name}: not answered exactly once: {:?}", self.faults);
        assert!(self.twice.is_empty(), "{name}: executed twice: {:?}", self.twice);
        assert!(self.pretended.is_empty(), "{name}: not executed: {:?}", self.pretended);
        assert!(self.other_statuses.is_empty(), "{name}: {:?}", self.other_statuses);
        let begun = self.logged + self.begun;
        assert!(begun + self.given_up <= bad_gateway_most, "{name}: too often 502: {self}");
        assert!(self.unexplained.is_empty(), "{name}: 502 for nothing: {self}");
        assert!(self.answered > 0, "{name}: no answers");
    }
}

impl std::fmt::Display for Sum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rate = self.rates.iter().sum::<f64>() / self.rates.len() as f64;
        write!(
            f,
            "{} times on {} sites at {rate:.0} requests a second: {} answered, longest {:?}, \
             {} times 502 in the log, {} times begun, {} times given up, without a reason {:?}, \
             {} executed twice",
            self.acts,
            self.sites,
            self.answered,
            self.longest,
            self.logged,
            self.begun,
            self.given_up,
            self.unexplained,
            self.twice.len()
        )
    }
}
