//! A pool of four workers under load: a discrete-event simulation of minutes in no time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use super::PrintOnPanic;
use crate::io::sim::Random;
use crate::io::{Time, Token};
use crate::pool::{
    Admission, AfterRelease, Assignment, PoolCore, PoolLimits, SlotId, StillWaiting, TicketId,
};

const WORKERS: usize = 4;
const SERVICE: Duration = Duration::from_millis(20);
/// What four workers can answer.
const CAPACITY: usize = 200;

#[test]
fn three_times_the_capacity_is_answered_in_time_and_leaves_nothing_behind() {
    for seed in 0..20 {
        let _print = PrintOnPanic(seed);
        let mut random = Random::new(seed);
        let mut arrivals = poisson(&mut random, 600, seconds(0), seconds(10));
        arrivals.extend(poisson(&mut random, 60, seconds(10), seconds(15)));
        let requests = World::run(&arrivals);

        let burst = requests.iter().filter(|r| r.came_at < seconds(10));
        let useful = burst.filter(|r| r.latency().is_some_and(|l| l <= Duration::from_secs(1)));
        let useful = useful.count();
        assert!(useful * 100 >= CAPACITY * 10 * 97, "{useful} useful answers in ten seconds");
        let mut latencies: Vec<_> = requests.iter().filter_map(Request::latency).collect();
        latencies.sort();
        let p99 = latencies[latencies.len() * 99 / 100];
        assert!(p99 <= Duration::from_millis(600), "p99 is {p99:?}");
        for late in requests.iter().filter(|r| r.refused_at.is_some()) {
            let waited = late.refused_at.unwrap().since(late.came_at);
            assert!(waited <= Duration::from_secs(1), "refused after {waited:?}");
        }
        let after = requests.iter().filter(|r| r.came_at >= seconds(11));
        for request in after {
            let latency = request.latency().expect("a second later everybody is served");
            assert!(latency <= Duration::from_millis(200), "{latency:?} a second later");
        }
    }
}

#[test]
fn without_overload_nobody_is_refused_or_overtaken() {
    for seed in 0..20 {
        let _print = PrintOnPanic(seed);
        let mut random = Random::new(seed);
        let mut arrivals = poisson(&mut random, 140, seconds(0), seconds(60));
        for burst in 0..12 {
            arrivals.extend([seconds(5 * burst + 1); 100]);
        }
        arrivals.sort();
        assert_all_served_in_order(&World::run(&arrivals));
    }
}

#[test]
fn a_short_burst_is_served_whole() {
    let at_once = vec![seconds(1); 300];
    assert_all_served_in_order(&World::run(&at_once));
    for seed in 0..20 {
        let _print = PrintOnPanic(seed);
        let half_a_second = Time(1_500_000_000);
        let within = poisson(&mut Random::new(seed), 600, seconds(1), half_a_second);
        assert_all_served_in_order(&World::run(&within));
    }
}

#[test]
fn slow_requests_are_no_overload() {
    let service = Duration::from_secs(5);
    // Three quarters of the capacity; two of six wait for five seconds each time.
    let arrivals: Vec<_> = (0..60).flat_map(|n| [seconds(10 * n); 6]).collect();
    assert_all_served_in_order(&World::run_with(&arrivals, service, PoolLimits::default()));
}

#[test]
fn without_a_target_a_queue_never_stands() {
    let arrivals = poisson(&mut Random::new(1), 600, seconds(0), seconds(2));
    let limits = PoolLimits { queue_target: Duration::MAX, ..PoolLimits::default() };
    assert_all_served_in_order(&World::run_with(&arrivals, SERVICE, limits));
}

fn assert_all_served_in_order(requests: &[Request]) {
    let ended: Vec<_> = requests.iter().map(|r| r.answered_at.expect("served")).collect();
    assert!(ended.is_sorted(), "overtaken");
}

/// Arrivals in order, so many a second.
fn poisson(random: &mut Random, rate: usize, begin: Time, end: Time) -> Vec<Time> {
    let mut now = begin;
    let gap = || {
        let unit = random.within(1..=1 << 30) as f64 / f64::from(1 << 30);
        now = now.after(Duration::from_secs_f64(-unit.ln() / rate as f64));
        Some(now).filter(|&at| at < end)
    };
    std::iter::from_fn(gap).collect()
}

fn seconds(count: u64) -> Time {
    Time(0).after(Duration::from_secs(count))
}

struct World {
    pool: PoolCore,
    service: Duration,
    now: Time,
    requests: Vec<Request>,
    events: BinaryHeap<Reverse<(Time, Event)>>,
    waiting: BTreeMap<usize, TicketId>,
    slots: Vec<SlotId>,
}

struct Request {
    came_at: Time,
    answered_at: Option<Time>,
    refused_at: Option<Time>,
}

/// Numbers are those of requests and of slots, by descriptor.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrives(usize),
    Asks(usize),
    Ends { request: usize, slot: usize },
}

impl World {
    fn run(arrivals: &[Time]) -> Vec<Request> {
        World::run_with(arrivals, SERVICE, PoolLimits::default())
    }

    fn run_with(arrivals: &[Time], service: Duration, limits: PoolLimits) -> Vec<Request> {
        let request = |&came_at| Request { came_at, answered_at: None, refused_at: None };
        let arrive = |(number, &at)| Reverse((at, Event::Arrives(number)));
        let mut world = World {
            pool: PoolCore::new(limits),
            service,
            now: Time(0),
            requests: arrivals.iter().map(request).collect(),
            events: arrivals.iter().enumerate().map(arrive).collect(),
            waiting: BTreeMap::new(),
            slots: Vec::new(),
        };
        for fd in 0..WORKERS {
            let (slot, none) = world.pool.join(fd as i32, 0, Token::NOBODY, 0, world.now);
            assert_eq!(none, None);
            world.slots.push(slot);
        }
        while let Some(Reverse((at, event))) = world.events.pop() {
            world.now = at;
            world.on_event(event);
        }
        assert_eq!(world.waiting.len(), 0, "neither served nor refused");
        world.requests
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Arrives(number) => {
                match self.pool.request(0, Token::new(0, number as u32, 0), self.now) {
                    Admission::Assigned { fd, .. } => self.serve(number, fd),
                    Admission::Queued(id, ask_at) => {
                        self.waiting.insert(number, id);
                        self.at(ask_at, Event::Asks(number));
                    }
                    Admission::Full => self.requests[number].refused_at = Some(self.now),
                }
            }
            Event::Asks(number) => {
                let Some(&id) = self.waiting.get(&number) else { return };
                match self.pool.still_waiting(id, self.now) {
                    StillWaiting::Until(ask_at) => self.at(ask_at, Event::Asks(number)),
                    StillWaiting::Assigned => panic!("assigned unseen"),
                    StillWaiting::TimedOut | StillWaiting::Delayed => {
                        self.waiting.remove(&number);
                        self.requests[number].refused_at = Some(self.now);
                    }
                }
            }
            Event::Ends { request, slot } => {
                self.requests[request].answered_at = Some(self.now);
                let after = self.pool.release(self.slots[slot], true, self.now);
                if let AfterRelease::Assign(Assignment { ticket, fd, .. }) = after {
                    let number = ticket.token.index() as usize;
                    self.waiting.remove(&number).expect("it waited");
                    self.serve(number, fd);
                }
            }
        }
    }

    fn serve(&mut self, request: usize, fd: i32) {
        self.at(self.now.after(self.service), Event::Ends { request, slot: fd as usize });
    }

    fn at(&mut self, at: Time, event: Event) {
        self.events.push(Reverse((at, event)));
    }
}

impl Request {
    fn latency(&self) -> Option<Duration> {
        self.answered_at.map(|at| at.since(self.came_at))
    }
}
