//! Everything at random, from a seed.
//!
//! `FOREBAY_SEEDS=N` runs so many seeds, `FOREBAY_SEED=n` only that one.

use super::client::Client;
use super::oracle::Oracle;
use super::worker::{Manners, Worker};
use super::{Edge, Settings};
use crate::io::Time;
#[cfg(test)]
use crate::io::sim::for_seeds;
use crate::io::sim::{Faults, Random};
use crate::limits::Limits;
use crate::pool::PoolLimits;
use std::time::Duration;

struct Simulation {
    edge: Edge,
    clients: Vec<Client>,
    workers: Vec<Worker>,
    oracle: Oracle,
    random: Random,
    begin: Time,
    memory_budget: u64,
}

/// The default, and one that the few workers here exceed.
const QUEUE_TARGETS: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(5)];

impl Simulation {
    fn new(seed: u64, faults: Faults, calm: bool) -> Simulation {
        Simulation::with(Random::new(seed ^ 0x5eed), seed, faults, calm, false)
    }

    /// With little memory and little room in the spool.
    #[cfg(test)]
    fn scarce(seed: u64, faults: Faults) -> Simulation {
        Simulation::with(Random::new(seed ^ 0x5eed), seed, faults, false, true)
    }

    fn with(mut random: Random, seed: u64, faults: Faults, calm: bool, scarce: bool) -> Simulation {
        let lacks_budget = !calm && random.chance(200) || scarce;
        let lacks_memory = !calm && random.chance(200) || scarce;
        let memory_budget = match lacks_memory {
            true => [100_000, 400_000, 1 << 20][random.within(0..=2)],
            false => 256 << 20,
        };
        let limits = Limits {
            client_header_timeout: Duration::from_secs(100),
            client_body_timeout: Duration::from_secs(100),
            content_memory: [500, 10_000, 64 << 10][random.within(0..=2)],
            response_memory: [300, 20_000, 256 << 10][random.within(0..=2)],
            response_max: [5_000, 100_000, 1 << 30][random.within(0..=2)],
            spool_budget: if lacks_budget { 100_000 } else { 4 << 30 },
            memory_budget,
            // Who is slow where memory is scarce is another test's.
            rate_min: if lacks_memory { 0 } else { 500 },
            pipelined: [1, 3, 16][random.within(0..=2)],
            ..Limits::default()
        };
        let pool = PoolLimits {
            queue: if calm { 1_000 } else { [2, 1_000][random.within(0..=1)] },
            queue_timeout: Duration::from_secs(if calm { 1_000 } else { 10 }),
            queue_target: if calm { Duration::MAX } else { QUEUE_TARGETS[seed as usize % 2] },
            boot_grace: Duration::from_secs(if calm { 1_000 } else { 5 }),
            deadline: DEADLINE,
        };
        let reactors = random.within(1..=3);
        let edge = Edge::new(&Settings { seed, faults, reactors, limits, pool });
        let mut oracle = Oracle {
            is_calm: calm,
            fails_at_random: faults.no_memory > 0,
            lacks_memory,
            lacks_descriptors: faults.no_descriptors > 0,
            disk_fails: faults.disk > 0 || lacks_budget,
            ..Oracle::default()
        };
        let begin = edge.kernel.now();
        let start = |random: &mut Random| {
            let most = [0, 0, 300][random.within(0..=2)];
            begin.after(Duration::from_millis(random.within(0..=most) as u64))
        };
        let count = random.within(1..=12);
        let child = Random::child;
        let clients = (0..count)
            .map(|_| Client::new(child(&mut random), &mut oracle, start(&mut random)))
            .collect();
        let workers = (0..random.within(2..=6)).map(|n| {
            let manners = if calm { calm_manners(&mut random) } else { manners(&mut random) };
            Worker::new(child(&mut random), n % 2, manners, start(&mut random))
        });
        let workers = workers.collect();
        Simulation { edge, clients, workers, oracle, random, begin, memory_budget }
    }

    /// Until every client is over, then until every reactor is.
    fn run(&mut self) {
        let drains_early = self.random.chance(250);
        let drain_at = if drains_early { self.random.within(1..=400) } else { usize::MAX };
        let stop_at = if self.random.chance(50) { self.random.within(1..=600) } else { usize::MAX };
        let mut round = 0;
        while !self.clients.iter().all(Client::is_over) {
            round += 1;
            if round == drain_at {
                self.drain();
            } else if round == stop_at {
                self.stop();
            }
            self.step();
            assert!(round < 200_000, "it does not end: {}", self.describe());
        }
        if !self.oracle.is_draining {
            self.drain();
        }
        self.clients.clear();
        while !self.edge.has_ended() {
            round += 1;
            self.step();
            assert!(round < 300_000, "the edge does not end: {}", self.describe());
        }
        self.workers.clear();
        let left: u64 = self.edge.pools.iter().map(|pool| pool.core().left).sum();
        assert!(self.oracle.left <= left, "{} of {left} have left", self.oracle.left);
        self.edge.assert_clean();
        self.oracle.check_counters(&self.edge.stats());
    }

    fn drain(&mut self) {
        self.oracle.is_draining = true;
        self.edge.drain();
        self.workers.iter_mut().for_each(Worker::behave);
    }

    /// From now on nothing is promised but that everything ends.
    fn stop(&mut self) {
        self.drain();
        self.oracle.is_stopped = true;
        self.edge.stop();
    }

    fn step(&mut self) {
        let mut acted = false;
        for client in &mut self.clients {
            acted |= client.act(&self.edge, &mut self.oracle);
        }
        for worker in &mut self.workers {
            acted |= worker.act(&self.edge, &mut self.oracle);
        }
        for _ in 0..self.random.within(1..=3) {
            acted |= self.edge.turn_all();
        }
        self.check_budgets();
        if !acted {
            self.wait();
        }
    }

    /// What may be refused is refused below the budget.
    fn check_budgets(&self) {
        let (used, budget) = (self.edge.memory.used(), self.memory_budget);
        let unrefused = self.edge.unrefused();
        let is_kept = used <= budget / 16 * 15 + unrefused;
        assert!(is_kept, "{used} bytes of {budget}, {unrefused} never refused");
    }

    /// Nobody has anything to do now: the clock moves on.
    fn wait(&mut self) {
        let now = self.edge.kernel.now();
        let clients = self.clients.iter().filter_map(|client| client.wakes_at(now));
        let workers = self.workers.iter().filter_map(|worker| worker.wakes_at(now));
        let next = clients.chain(workers).chain(self.edge.next_deadline()).min();
        let Some(next) = next else { panic!("nothing will ever happen: {}", self.describe()) };
        self.edge.kernel.advance_to(next);
        let passed = next.since(self.begin);
        assert!(passed < PATIENCE, "{passed:?} have passed: {}", self.describe());
    }

    fn describe(&self) -> String {
        let waiting = self.clients.iter().filter(|client| !client.is_over());
        let waiting: Vec<_> = waiting.map(Client::describe).collect();
        let workers: Vec<_> = self.workers.iter().map(Worker::describe).collect();
        format!("{waiting:#?} {workers:#?} {}", self.edge.describe())
    }
}

fn calm_manners(random: &mut Random) -> Manners {
    Manners {
        leaves: [0, 200][random.within(0..=1)],
        pause: random.within(0..=20),
        ..Manners::default()
    }
}

fn manners(random: &mut Random) -> Manners {
    let mut rate = |most| [0, most][random.within(0..=1)];
    Manners {
        dies: rate(200),
        leaves: rate(200),
        babbles: rate(100),
        hangs: rate(30),
        pause: random.within(0..=20),
        hang: DEADLINE + Duration::from_secs(2),
    }
}

const DEADLINE: Duration = Duration::from_secs(5);
/// Virtual time in which everything must be over.
const PATIENCE: Duration = Duration::from_secs(600);

/// Clients, workers and the kernel act as `data` says, as far as it goes.
pub fn operations(data: &[u8]) {
    let [kind, data @ ..] = data else { return };
    let harmless = Faults { reset: 0, no_memory: 0, disk: 0, no_descriptors: 0, ..Faults::all() };
    let (faults, calm) = match kind % 5 {
        0 => (Faults::none(), true),
        1 => (harmless, true),
        2 => (Faults::none(), false),
        3 => (Faults { no_memory: 0, ..Faults::all() }, false),
        _ => (Faults::all(), false),
    };
    let mut random = Random::of_bytes(data);
    let of_kernel = random.child();
    let mut simulation = Simulation::with(random, u64::from(*kind), faults, calm, false);
    simulation.edge.kernel.set_random(of_kernel);
    simulation.run();
}

/// Runs `usual` seeds, or as many as the environment says.
#[cfg(test)]
fn seeds(usual: u64, test: impl FnMut(u64)) {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    match (number("FOREBAY_SEED"), number("FOREBAY_SEEDS")) {
        (Some(one), _) => for_seeds(one..one + 1, test),
        (None, count) => for_seeds(0..count.unwrap_or(usual), test),
    }
}

#[test]
fn everything_is_answered_when_all_behave() {
    let (mut loans, mut left) = (0, 0);
    seeds(100, |seed| {
        let mut simulation = Simulation::new(seed, Faults::none(), true);
        simulation.run();
        loans += simulation.oracle.loans;
        left += simulation.oracle.left;
    });
    let everything_happens = loans > 0 && left > 0;
    assert!(everything_happens || std::env::var("FOREBAY_SEED").is_ok(), "{loans}, {left}");
}

#[test]
fn everything_is_answered_however_slow_the_kernel() {
    let harmless = Faults { reset: 0, no_memory: 0, disk: 0, no_descriptors: 0, ..Faults::all() };
    seeds(100, |seed| Simulation::new(seed, harmless, true).run());
}

#[test]
fn nothing_is_lost_or_started_twice_when_workers_fail() {
    let (mut answered, mut failures, mut requeued) = (0, [0; 3], 0);
    seeds(100, |seed| {
        let mut simulation = Simulation::new(seed, Faults::none(), false);
        simulation.run();
        answered += simulation.oracle.answered;
        requeued += simulation.edge.stats().requeued;
        let more = simulation.oracle.failures;
        failures = std::array::from_fn(|status| failures[status] + more[status]);
    });
    let everything_happens = answered > 0 && requeued > 0 && failures.iter().all(|&n| n > 0);
    let is_single = std::env::var("FOREBAY_SEED").is_ok();
    assert!(everything_happens || is_single, "{answered}, {failures:?}, {requeued}");
}

#[test]
fn nothing_is_lost_or_started_twice_when_connections_break() {
    let breaking = Faults { no_memory: 0, ..Faults::all() };
    seeds(100, |seed| Simulation::new(seed, breaking, false).run());
}

#[test]
fn memory_that_lacks_costs_only_what_may_be_refused() {
    let (mut refused, mut parked, mut waited, mut spooled) = (0, 0, 0, 0);
    seeds(100, |seed| {
        let mut simulation = Simulation::scarce(seed, Faults::none());
        simulation.run();
        let stats = simulation.edge.stats();
        refused += stats.memory_budget;
        parked += stats.memory_parked;
        waited += stats.memory_responses;
        spooled += stats.requests_spooled;
    });
    let everything_happens = [refused, parked, waited, spooled].iter().all(|&count| count > 0);
    let is_single = std::env::var("FOREBAY_SEED").is_ok();
    assert!(everything_happens || is_single, "{refused}, {parked}, {waited}, {spooled}");
}

#[test]
fn memory_that_lacks_keeps_nobody_waiting_whatever_happens() {
    seeds(100, |seed| Simulation::scarce(seed, Faults::all()).run());
}

#[test]
fn nothing_is_lost_or_started_twice_whatever_happens() {
    seeds(100, |seed| Simulation::new(seed, Faults::all(), false).run());
}
