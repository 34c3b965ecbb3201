//! Random operations on a pool, against an oracle that keeps lists and searches them.
//!
//! The oracle knows requests and slots by when they came and when they were used, and nothing of
//! how the pool finds them. Each step is checked in full, so that a failure is at its cause.

use std::time::Duration;

use super::PrintOnPanic;
use crate::io::sim::Random;
use crate::io::{Fd, Time, Token};
use crate::pool::{
    Admission, AfterRelease, Assignment, PoolCore, PoolCounts, PoolLimits, ReactorId, SlotId,
    Ticket, TicketId,
};

mod mode;

use mode::Mode;

const SEEDS: u64 = 32;
const STEPS: u32 = 3_000;

#[test]
fn no_request_is_lost_overtaken_or_served_twice() {
    let (mut stood, mut delayed, mut timed_out) = (0, 0, 0);
    for seed in 0..SEEDS {
        let _print = PrintOnPanic(seed);
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step();
            world.check();
        }
        world.drain();
        stood += world.pool.counts().stood;
        let ended = |state| world.requests.iter().filter(|r| r.state == state).count() as u64;
        delayed += ended(RequestState::Delayed);
        timed_out += ended(RequestState::TimedOut);
    }
    assert!(stood.min(delayed).min(timed_out) >= 20, "{stood} {delayed} {timed_out}");
}

/// The pool under test, the oracle's lists, and what has happened.
struct World {
    random: Random,
    limits: PoolLimits,
    pool: PoolCore,
    now: Time,
    mode: Mode,
    /// When a worker was there last.
    worker_seen: Time,
    requests: Vec<Request>,
    slots: Vec<Slot>,
    /// Where the next request stands that returns to the head, and that comes new.
    head: i64,
    tail: i64,
}

struct Request {
    reactor: ReactorId,
    token: Token,
    place: i64,
    came_at: Time,
    state: RequestState,
    /// As the pool said, once it waited.
    ticket: Option<Ticket>,
    /// What it may still wait when it has to again.
    patience: Duration,
    last_id: Option<TicketId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RequestState {
    Waiting,
    Running,
    Refused,
    Cancelled,
    Delayed,
    TimedOut,
    Finished,
}

struct Slot {
    id: SlotId,
    fd: Fd,
    warden: ReactorId,
    warden_token: Token,
    used_at: i64,
    state: SlotState,
    hung_up: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SlotState {
    Idle,
    Busy(usize),
    Closed,
}

impl World {
    fn new(seed: u64) -> World {
        let mut random = Random::new(seed);
        let limits = PoolLimits {
            queue: [0, 1, 5, 40][random.within(0..=3)],
            queue_timeout: Duration::from_secs([1, 10][random.within(0..=1)]),
            boot_grace: Duration::from_secs([3, 30][random.within(0..=1)]),
            ..PoolLimits::default()
        };
        World {
            random,
            limits,
            pool: PoolCore::new(limits),
            now: Time(0),
            mode: Mode::default(),
            worker_seen: Time(0),
            requests: Vec::new(),
            slots: Vec::new(),
            head: -1,
            tail: 0,
        }
    }

    fn step(&mut self) {
        self.now = self.now.after(Duration::from_millis(self.random.within(0..=49) as u64));
        if self.usable() > 0 {
            self.worker_seen = self.now;
        }
        // Some hundred steps many workers are there, then few, so that both ends are reached.
        let plenty = (self.requests.len() / 256).is_multiple_of(2);
        match self.random.within(0..=99) {
            0..3 => self.join(),
            3..6 if plenty => self.join(),
            3..45 => self.request(),
            45..75 => self.end_exchange(),
            75..78 => self.cancel(),
            78..85 => self.ask(),
            85..91 => self.hang_up(),
            _ => self.use_stale_ids(),
        }
    }

    fn join(&mut self) {
        let number = self.slots.len();
        let (fd, warden) = (number as Fd + 100, self.random.within(0..=3) as ReactorId);
        let warden_token = Token::new(7, number as u32, 0);
        let process = process(number);
        let (id, assignment) = self.pool.join(fd, warden, warden_token, process, self.now);
        assert!(self.slots.iter().all(|slot| slot.id != id), "{id:?} names two slots");
        assert_eq!(self.pool.process(id), Some(process));
        let state = SlotState::Idle;
        let used_at = self.tick();
        self.slots.push(Slot { id, fd, warden, warden_token, used_at, state, hung_up: false });
        self.check_assignment(number, assignment);
        self.note_length();
    }

    fn request(&mut self) {
        let number = self.requests.len();
        let (reactor, token) =
            (self.random.within(0..=3) as ReactorId, Token::new(3, number as u32, 1));
        let place = self.tick();
        let state = RequestState::Refused;
        let came_at = self.now;
        let (ticket, last_id, patience) = (None, None, self.limits.queue_timeout);
        let request = Request { reactor, token, place, came_at, state, ticket, patience, last_id };
        self.requests.push(request);
        let (idle, waiting) = (self.idle_used_last(|_| true), self.waiting());
        match self.pool.request(reactor, token, self.now) {
            Admission::Assigned { slot, fd } => self.check_assigned(number, idle, slot, fd),
            Admission::Queued(id, ask_at) => {
                assert!(waiting < self.limits.queue, "the queue exceeds its bound");
                let give_up_at = self.now.after(patience);
                self.requests[number].ticket = Some(Ticket { reactor, token, give_up_at });
                self.queued(number, idle, id);
                assert_eq!(ask_at, self.asks_at_latest(number));
            }
            Admission::Full => {
                assert_eq!(idle, None, "refused while a slot is idle");
                assert!(waiting >= self.limits.queue, "refused while there is room");
            }
        }
    }

    /// An exchange ends: well, with a slot that cannot be used again, or before it was started.
    fn end_exchange(&mut self) {
        let busy = |slot: &Slot| matches!(slot.state, SlotState::Busy(_));
        let Some(slot) = self.any_slot(busy) else { return };
        let SlotState::Busy(request) = self.slots[slot].state else { unreachable!() };
        let reusable = self.random.within(0..=9) > 0;
        let not_started = !reusable && self.random.within(0..=1) == 0;
        self.release(slot, reusable);
        if not_started {
            self.request_again(request);
        } else {
            self.requests[request].state = RequestState::Finished;
        }
    }

    fn release(&mut self, slot: usize, reusable: bool) {
        let used_at = self.tick();
        let entry = &mut self.slots[slot];
        let SlotState::Busy(request) = entry.state else { unreachable!() };
        assert_eq!(self.pool.is_hung_up(entry.id), entry.hung_up);
        let after = self.pool.release(entry.id, reusable, self.now);
        assert_eq!(self.requests[request].state, RequestState::Running);
        if entry.hung_up || !reusable {
            let Slot { id: slot, fd, warden, warden_token, .. } = *entry;
            assert_eq!(after, AfterRelease::Close { warden, slot, fd, warden_token });
            entry.state = SlotState::Closed;
        } else {
            entry.state = SlotState::Idle;
            entry.used_at = used_at;
            let assignment = match after {
                AfterRelease::None => None,
                AfterRelease::Assign(assignment) => Some(assignment),
                AfterRelease::Close { .. } => panic!("closed in the middle of its life"),
            };
            self.check_assignment(slot, assignment);
        }
        self.note_length();
    }

    fn request_again(&mut self, number: usize) {
        let left = process(self.random.within(0..=self.slots.len() - 1));
        let other = self.idle_used_last(|slot| process(slot) != left);
        let idle = other.or_else(|| self.idle_used_last(|_| true));
        let request = &mut self.requests[number];
        let Request { reactor, token, patience, .. } = *request;
        let ticket = Ticket { reactor, token, give_up_at: self.now.after(patience) };
        (request.place, request.ticket) = (self.head, Some(ticket));
        self.head -= 1;
        match self.pool.request_again(ticket, left, self.now) {
            Admission::Assigned { slot, fd } => self.check_assigned(number, idle, slot, fd),
            Admission::Queued(id, ask_at) => {
                self.queued(number, idle, id);
                assert_eq!(ask_at, self.asks_at_latest(number));
            }
            Admission::Full => panic!("a request that returns is refused"),
        }
    }

    /// Of a waiting request, or of one that has a slot already.
    fn cancel(&mut self) {
        let candidates: Vec<_> = self.requests.iter().enumerate().rev().take(100).collect();
        if candidates.is_empty() {
            return;
        }
        let (number, request) = candidates[self.random.within(0..=candidates.len() - 1)];
        let (state, Some(id)) = (request.state, request.last_id) else { return };
        assert_eq!(self.pool.cancel(id), state == RequestState::Waiting);
        if state == RequestState::Waiting {
            self.requests[number].state = RequestState::Cancelled;
        }
        self.note_length();
    }

    fn hang_up(&mut self) {
        let Some(slot) = self.any_slot(|slot| slot.state != SlotState::Closed) else { return };
        let entry = &mut self.slots[slot];
        let close = self.pool.hang_up(entry.id, self.now);
        let busy = matches!(entry.state, SlotState::Busy(_));
        assert_eq!(close, !busy, "closed while used, or not closed while unused");
        entry.hung_up = true;
        if close {
            entry.state = SlotState::Closed;
        }
        self.note_length();
    }

    fn use_stale_ids(&mut self) {
        let Some(slot) = self.any_slot(|slot| slot.state == SlotState::Closed) else { return };
        let id = self.slots[slot].id;
        assert!(!self.pool.hang_up(id, self.now), "closed twice");
        assert_eq!(self.pool.release(id, true, self.now), AfterRelease::None);
        assert!(self.pool.is_hung_up(id));
        assert_eq!(self.pool.process(id), None);
    }

    /// What holds after every step.
    fn check(&self) {
        let idle = self.slots.iter().filter(|slot| slot.state == SlotState::Idle).count();
        let queued = self.waiting();
        assert!(idle == 0 || queued == 0, "{queued} requests wait while {idle} slots are idle");
        let (slots, stood) = (self.usable(), self.mode.stood());
        assert_eq!(self.pool.counts(), PoolCounts { slots, idle, queued, stood });
    }

    /// Requests end, workers come while somebody waits, then all leave: nothing may be left over.
    fn drain(&mut self) {
        while self.waiting() > 0 {
            self.join();
            self.end_exchange();
            self.check();
        }
        while self.slots.iter().any(|slot| slot.state != SlotState::Closed) {
            self.hang_up();
            self.end_exchange();
            while self.waiting() > 0 {
                self.join();
            }
            self.check();
        }
        let stood = self.mode.stood();
        assert_eq!(self.pool.counts(), PoolCounts { stood, ..PoolCounts::default() });
        let over = |state| !matches!(state, RequestState::Waiting | RequestState::Running);
        assert!(self.requests.iter().all(|request| over(request.state)));
    }

    /// The slot has become free: the request whose turn it is must have it, and only that.
    fn check_assignment(&mut self, slot: usize, assignment: Option<Assignment>) {
        let Some(number) = self.next_waiting() else {
            return assert_eq!(assignment, None, "a request that does not wait got a slot");
        };
        let assignment = assignment.expect("a request waits, and the slot is free");
        let request = &self.requests[number];
        assert_eq!(Some(assignment.ticket), request.ticket, "overtaken");
        assert_eq!(Some(assignment.id), request.last_id);
        self.check_assigned(number, Some(slot), assignment.slot, assignment.fd);
    }

    fn check_assigned(&mut self, number: usize, expected: Option<usize>, slot: SlotId, fd: Fd) {
        let index = expected.expect("assigned while no slot is idle");
        let entry = &mut self.slots[index];
        assert_eq!((slot, fd), (entry.id, entry.fd), "not the idle slot used last");
        assert_eq!(entry.state, SlotState::Idle);
        entry.state = SlotState::Busy(number);
        let request = &mut self.requests[number];
        if request.state == RequestState::Waiting {
            let ticket = request.ticket.expect("it waits");
            request.patience = ticket.give_up_at.since(self.now);
        }
        request.state = RequestState::Running;
    }

    fn queued(&mut self, number: usize, idle: Option<usize>, id: TicketId) {
        assert_eq!(idle, None, "queued while a slot is idle");
        self.requests[number].last_id = Some(id);
        self.requests[number].state = RequestState::Waiting;
    }

    /// Who gets the slot that has just become free: those that have returned go first, the last
    /// one before the others.
    fn next_waiting(&mut self) -> Option<usize> {
        let place = |&n: &usize| self.requests[n].place;
        let waiting = |&n: &usize| self.requests[n].state == RequestState::Waiting;
        let waiting: Vec<_> = (0..self.requests.len()).filter(waiting).collect();
        let first = *waiting.iter().min_by_key(|n| place(n))?;
        if self.requests[first].place < 0 {
            return Some(first);
        }
        let waited = self.now.since(self.requests[first].came_at);
        self.mode.on_dispatch(self.now, waited, waiting.len(), self.usable());
        let newest = waiting.iter().copied().max_by_key(place);
        if self.mode.stands() { newest } else { Some(first) }
    }

    fn note_length(&mut self) {
        let (waiting, usable) = (self.waiting(), self.usable());
        self.mode.on_length(waiting, usable);
    }

    fn usable(&self) -> usize {
        self.slots.iter().filter(|slot| slot.usable()).count()
    }

    fn waiting(&self) -> usize {
        self.requests.iter().filter(|r| r.state == RequestState::Waiting).count()
    }

    fn idle_used_last(&self, suits: impl Fn(usize) -> bool) -> Option<usize> {
        let idle = |&n: &usize| self.slots[n].state == SlotState::Idle && suits(n);
        (0..self.slots.len()).filter(idle).max_by_key(|&n| self.slots[n].used_at)
    }

    fn any_slot(&mut self, suitable: impl Fn(&Slot) -> bool) -> Option<usize> {
        let all: Vec<_> = (0..self.slots.len()).filter(|&n| suitable(&self.slots[n])).collect();
        (!all.is_empty()).then(|| all[self.random.within(0..=all.len() - 1)])
    }

    fn tick(&mut self) -> i64 {
        self.tail += 1;
        self.tail
    }
}

impl Slot {
    fn usable(&self) -> bool {
        !self.hung_up && matches!(self.state, SlotState::Idle | SlotState::Busy(_))
    }
}

/// Three slots each.
fn process(slot: usize) -> u32 {
    slot as u32 / 3
}
