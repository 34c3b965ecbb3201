//! What the arbiter decides: events and the time in, actions out.
//!
//! Owns how many workers there should be, who replaces whom, and when the server ends. Must not
//! know processes: no system call here. Signals only change targets; [`Core::converge`] then does
//! whatever leads there.
//!
//! A reload starts a *candidate* generation, of which there is a single worker, the canary, until
//! it is ready. Then the candidate is adopted: the others are outdated and replaced one by one.

use super::backoff::Backoff;
use super::events::{Action, End, Event, Flaw, Kill, Pid, Request, Targets};
use super::member::{Candidate, Spawning, Worker};
use crate::exit::{CANNOT_BOOT, CANNOT_LOAD};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The arbiter's state.
#[derive(Debug)]
pub(crate) struct Core {
    targets: Targets,
    /// WINCH: no workers for now.
    resting: bool,
    /// The generation that is known to boot.
    generation: u64,
    candidate: Option<Candidate>,
    /// The last generation that was a candidate.
    newest: u64,
    workers: Vec<Worker>,
    backoff: Backoff,
    /// Spawns that were asked for and not answered yet.
    spawning: VecDeque<Spawning>,
    /// Workers that have ended without being asked to.
    crashes: u64,
    announced: bool,
    ending: Option<Ending>,
    actions: Vec<Action>,
}

#[derive(Clone, Copy, Debug)]
struct Ending {
    code: u8,
    quick: bool,
}

impl Core {
    /// `seed` spreads the restarts of crashed workers.
    pub(crate) fn new(targets: Targets, seed: u64) -> Core {
        assert!(targets.workers > 0, "a server has at least one worker");
        Core {
            targets,
            resting: false,
            generation: 0,
            candidate: None,
            newest: 0,
            workers: Vec::new(),
            backoff: Backoff::new(seed),
            spawning: VecDeque::new(),
            crashes: 0,
            announced: false,
            ending: None,
            actions: Vec::new(),
        }
    }

    /// Takes note of an event and says what to do now, in this order.
    pub(crate) fn on(&mut self, event: Event, now: Instant) -> Vec<Action> {
        match event {
            Event::Spawned(generation, pid) => self.on_spawned(generation, pid, now),
            Event::SpawnFailed(generation, end) => self.on_spawn_failed(generation, end, now),
            Event::Booted(pid) => self.with_worker(pid, |worker| worker.booted = true),
            Event::Ready(pid) => self.on_ready(pid),
            Event::Spent(pid) => self.with_worker(pid, |worker| worker.spent = true),
            Event::TooLarge(pid) => self.on_too_large(pid, now),
            Event::Overdue(pid) => self.on_overdue(pid, now),
            Event::OnTime(pid) => self.with_worker(pid, |worker| {
                (worker.overdue, worker.explained) = (None, false);
            }),
            Event::Exited(pid, end) => self.on_exited(pid, end, now),
            Event::Asked(request) => self.on_asked(request, now),
            Event::Tick => {}
        }
        self.converge(now);
        std::mem::take(&mut self.actions)
    }

    /// When to send [`Event::Tick`], if nothing else happens before.
    pub(crate) fn next_wakeup(&self) -> Option<Instant> {
        let kills = self.workers.iter().filter_map(Worker::dies_at);
        let boots = self.workers.iter().filter(|worker| self.is_booting(worker));
        let boots = boots.map(|worker| worker.since + self.boot_timeout(worker));
        let spent = self.workers.iter().filter(|worker| !worker.spent && self.stays(worker));
        let spent = spent.filter_map(|worker| worker.spent_at);
        let restarts = spent.chain(self.backoff.next()).filter(|_| self.ending.is_none());
        kills.chain(boots).chain(restarts).min()
    }

    /// Living workers, eldest first.
    pub(crate) fn workers(&self) -> &[Worker] {
        &self.workers
    }

    /// A living worker of ours.
    pub(crate) fn worker(&self, pid: Pid) -> Option<&Worker> {
        self.workers.iter().find(|worker| worker.pid == pid)
    }

    /// The generation that is known to boot.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Bytes that a worker may use.
    pub(crate) fn max_memory(&self) -> Option<u64> {
        self.targets.max_memory
    }

    /// Workers that there should be.
    pub(crate) fn target(&self) -> usize {
        if self.resting { 0 } else { self.targets.workers }
    }

    /// The server will end when the last worker has.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// Workers that have ended without being asked to.
    pub(crate) fn crashes(&self) -> u64 {
        self.crashes
    }

    fn with_worker(&mut self, pid: Pid, change: impl FnOnce(&mut Worker)) {
        if let Some(worker) = self.workers.iter_mut().find(|worker| worker.pid == pid) {
            change(worker);
        }
    }

    fn on_spawned(&mut self, generation: u64, pid: Pid, now: Instant) {
        let Spawning { failures, .. } = self.spawned(generation);
        self.workers.push(Worker::new(pid, generation, failures, now));
    }

    fn on_spawn_failed(&mut self, generation: u64, end: Option<End>, now: Instant) {
        let Spawning { failures, .. } = self.spawned(generation);
        if self.ending.is_some() {
            return;
        }
        if self.is_candidate(generation) {
            return self.reject(end.map_or(Flaw::NotStarted, Flaw::Ended));
        }
        if generation == self.generation && !self.cannot_ever(end, now) {
            self.backoff.failed(failures, now);
        }
    }

    /// A server that has never served, and cannot, ends.
    fn cannot_ever(&mut self, end: Option<End>, now: Instant) -> bool {
        let Some(End::Code(code @ (CANNOT_BOOT | CANNOT_LOAD))) = end else { return false };
        if !self.announced {
            self.end(Ending { code, quick: true }, now);
        }
        !self.announced
    }

    fn spawned(&mut self, generation: u64) -> Spawning {
        let place = self.spawning.iter().position(|spawning| spawning.generation == generation);
        let spawning = place.and_then(|place| self.spawning.remove(place));
        spawning.expect("the shell answers each Spawn once")
    }

    fn on_ready(&mut self, pid: Pid) {
        let Some(worker) = self.workers.iter_mut().find(|worker| worker.pid == pid) else { return };
        (worker.booted, worker.ready) = (true, true);
        let (generation, is_leaving) = (worker.generation, worker.is_leaving());
        if let Some(candidate) =
            self.candidate.take_if(|c| c.generation == generation && !is_leaving)
        {
            (self.generation, self.targets) = (candidate.generation, candidate.targets);
            self.resting = false;
            self.actions.push(Action::Adopted(self.generation));
        }
        let ready = self.workers.iter().filter(|worker| worker.ready).count();
        if !self.announced && self.ending.is_none() && ready >= self.target() {
            self.announced = true;
            self.actions.push(Action::Announce);
        }
    }

    /// One that is so large soon after its start may be as small as any: if nothing but its
    /// replacement came of that, they would replace each other without end.
    fn on_too_large(&mut self, pid: Pid, now: Instant) {
        let Some(worker) = self.workers.iter_mut().find(|worker| worker.pid == pid) else { return };
        if worker.spent || worker.spent_at.is_some() {
            return;
        }
        if now.duration_since(worker.since) >= HEALTHY_AFTER {
            (worker.failures, worker.spent_at) = (0, Some(now));
            return;
        }
        if worker.failures > 0 {
            self.actions.push(Action::TooLargeAgain(pid));
        }
        worker.spent_at = Some(now + self.backoff.delay(worker.failures));
        worker.failures = worker.failures.saturating_add(1);
    }

    /// The worker takes nothing new. The request gets a little more time; if it ends within that,
    /// those of other threads get as much as in any worker that is to end.
    fn on_overdue(&mut self, pid: Pid, now: Instant) {
        let Some(worker) = self.workers.iter_mut().find(|worker| worker.pid == pid) else { return };
        if !worker.is_overdue() {
            worker.overdue = Some(now + OVERDUE_GRACE);
            worker.leave_by(now + self.targets.graceful_timeout.max(OVERDUE_GRACE));
            self.actions.push(Action::Signal(pid, Kill::Interrupt));
        }
    }

    fn on_exited(&mut self, pid: Pid, end: End, now: Instant) {
        let Some(index) = self.workers.iter().position(|worker| worker.pid == pid) else { return };
        let worker = self.workers.remove(index);
        if worker.is_leaving() || self.ending.is_some() {
            return;
        }
        if self.is_candidate(worker.generation) {
            return self.reject(Flaw::Ended(end));
        }
        // One that was ready has booted: its code is the application's.
        if !worker.ready && self.cannot_ever(Some(end), now) {
            return;
        }
        self.crashes += 1;
        let was_healthy = worker.ready && now.duration_since(worker.since) >= HEALTHY_AFTER;
        self.backoff.failed(if was_healthy { 0 } else { worker.failures }, now);
    }

    fn on_asked(&mut self, request: Request, now: Instant) {
        match request {
            Request::Stop => {
                let quick = self.ending.is_some();
                self.end(Ending { code: 0, quick }, now);
            }
            Request::Quit => self.end(Ending { code: 0, quick: true }, now),
            Request::Reload(targets) => {
                self.newest += 1;
                self.candidate = Some(Candidate { generation: self.newest, targets });
            }
            Request::More if self.resting => (self.targets.workers, self.resting) = (1, false),
            Request::More => self.change_workers(|workers| workers + 1),
            Request::Less => self.change_workers(|workers| (workers - 1).max(1)),
            Request::Rest => (self.resting, self.candidate) = (true, None),
            Request::Reopen => {
                self.actions.extend(self.workers.iter().map(|worker| Action::Reopen(worker.pid)));
            }
        }
    }

    fn change_workers(&mut self, change: impl Fn(usize) -> usize) {
        let coming = self.candidate.as_mut().map(|candidate| &mut candidate.targets);
        for targets in coming.into_iter().chain([&mut self.targets]) {
            targets.workers = change(targets.workers);
        }
    }

    fn is_candidate(&self, generation: u64) -> bool {
        self.candidate.is_some_and(|candidate| candidate.generation == generation)
    }

    fn reject(&mut self, flaw: Flaw) {
        if let Some(candidate) = self.candidate.take() {
            self.actions.push(Action::Rejected(candidate.generation, flaw));
        }
    }

    /// An end that has begun keeps its exit code, and can only become quicker.
    fn end(&mut self, ending: Ending, now: Instant) {
        let before = self.ending;
        let code = before.map_or(ending.code, |before| before.code);
        let quick = ending.quick || before.is_some_and(|before| before.quick);
        self.ending = Some(Ending { code, quick });
        let grace = if quick { QUICK_TIMEOUT } else { self.targets.graceful_timeout };
        for worker in &mut self.workers {
            worker.leave_by(now + grace);
            // QUIT would make a process dump its core that does not handle it yet.
            let kill = if quick && worker.booted { Kill::Quickly } else { Kill::Gracefully };
            self.actions.push(Action::Signal(worker.pid, kill));
        }
    }

    fn converge(&mut self, now: Instant) {
        self.kill_the_late(now);
        match self.ending {
            Some(ending) if self.workers.is_empty() && self.spawning.is_empty() => {
                self.actions.push(Action::Exit(ending.code));
            }
            // A fork that was under way when the end began.
            Some(ending) => self.end_the_born(ending, now),
            None => {
                self.give_up_the_unbooted(now);
                self.spend_the_large(now);
                self.retire_the_rejected(now);
                self.retire_the_superfluous(now);
                self.spawn_the_missing(now);
                self.spawn_the_canary();
            }
        }
    }

    fn kill_the_late(&mut self, now: Instant) {
        for worker in &mut self.workers {
            if worker.dies_at().is_none_or(|at| at > now) {
                continue;
            }
            if worker.is_overdue() && !std::mem::replace(&mut worker.explained, true) {
                self.actions.push(Action::Signal(worker.pid, Kill::Explain));
                worker.postpone(now + EXPLANATION);
            } else {
                self.actions.push(Action::Signal(worker.pid, Kill::Forcibly));
                // A process in an uninterruptible wait outlives even this: ask again, but rarely.
                worker.postpone(now + KILL_AGAIN);
            }
        }
    }

    fn end_the_born(&mut self, ending: Ending, now: Instant) {
        if self.workers.iter().any(|worker| !worker.is_leaving()) {
            self.end(ending, now);
        }
    }

    fn give_up_the_unbooted(&mut self, now: Instant) {
        while let Some(index) = self.workers.iter().position(|worker| {
            self.is_booting(worker) && now.duration_since(worker.since) >= self.boot_timeout(worker)
        }) {
            let Worker { pid, generation, failures, .. } = self.workers[index];
            if self.is_candidate(generation) {
                self.reject(Flaw::Late);
            } else {
                self.actions.push(Action::NotBooted(pid));
                self.backoff.failed(failures, now);
            }
            self.retire(index, QUICK_TIMEOUT, now);
        }
    }

    /// The canary has until it is ready; others until they have booted, because from then on it
    /// is up to the edge.
    fn is_booting(&self, worker: &Worker) -> bool {
        let is_canary = self.is_candidate(worker.generation);
        self.ending.is_none() && !worker.is_leaving() && (!worker.booted || is_canary)
    }

    fn boot_timeout(&self, worker: &Worker) -> Duration {
        let candidate = self.candidate.filter(|c| c.generation == worker.generation);
        candidate.map_or(self.targets, |candidate| candidate.targets).boot_timeout
    }

    fn spend_the_large(&mut self, now: Instant) {
        for worker in &mut self.workers {
            worker.spent |= worker.spent_at.is_some_and(|at| at <= now);
        }
    }

    /// Candidates that have failed, or that a newer one has overtaken.
    fn retire_the_rejected(&mut self, now: Instant) {
        while let Some(index) = self.workers.iter().position(|worker| {
            let is_wanted = worker.generation <= self.generation;
            !worker.is_leaving() && !is_wanted && !self.is_candidate(worker.generation)
        }) {
            self.retire(index, self.targets.graceful_timeout, now);
        }
    }

    fn retire_the_superfluous(&mut self, now: Instant) {
        while self.staying().count() > self.target() {
            let Some(index) = self.superfluous() else { return };
            self.retire(index, self.targets.graceful_timeout, now);
        }
    }

    fn retire(&mut self, index: usize, grace: Duration, now: Instant) {
        let worker = &mut self.workers[index];
        worker.leave_by(now + grace);
        self.actions.push(Action::Signal(worker.pid, Kill::Gracefully));
    }

    /// Who goes first when there are too many: the outdated, and of these one that is of no use
    /// yet, else the eldest; but none that is ready before its replacement is.
    fn superfluous(&self) -> Option<usize> {
        let any_outdated = self.staying().any(|worker| self.is_outdated(worker));
        let candidates = || {
            let all = self.workers.iter().enumerate();
            all.filter(|(_, w)| self.stays(w) && (self.is_outdated(w) || !any_outdated))
        };
        let useless = candidates().find(|(_, worker)| !worker.ready);
        let ready = self.staying().filter(|worker| worker.ready).count();
        let eldest = if ready > self.target() { candidates().next() } else { None };
        useless.or(eldest).map(|(index, _)| index)
    }

    /// While outdated workers are replaced there is one more than the target: new before old.
    fn spawn_the_missing(&mut self, now: Instant) {
        let any_outdated = self.staying().any(|worker| self.is_outdated(worker));
        let rolling = any_outdated && self.candidate.is_none();
        let wanted = self.target() + usize::from(rolling);
        let coming = self.spawning.iter().filter(|s| s.generation == self.generation).count();
        let missing = wanted.saturating_sub(self.staying().count() + coming);
        self.backoff.forget_beyond(missing);
        // A place that is too small does not become larger by another worker.
        let large = self.staying().filter(|worker| worker.spent && worker.spent_at.is_some());
        let failures = large.map(|worker| worker.failures).max().unwrap_or(0);
        for _ in self.backoff.len()..missing {
            self.spawn(self.generation, failures);
        }
        while let Some(failures) = self.backoff.take_due(now) {
            self.spawn(self.generation, failures);
        }
    }

    fn spawn_the_canary(&mut self) {
        let Some(Candidate { generation: candidate, .. }) = self.candidate else { return };
        let is_alive = self.workers.iter().any(|worker| worker.generation == candidate);
        if !is_alive && self.spawning.iter().all(|spawning| spawning.generation != candidate) {
            self.spawn(candidate, 0);
        }
    }

    fn spawn(&mut self, generation: u64, failures: u32) {
        self.spawning.push_back(Spawning { generation, failures });
        self.actions.push(Action::Spawn(generation));
    }

    fn is_outdated(&self, worker: &Worker) -> bool {
        worker.generation < self.generation || worker.spent
    }

    /// Workers of proven generations that nobody asked to end, eldest first.
    fn staying(&self) -> impl Iterator<Item = &Worker> {
        self.workers.iter().filter(|worker| self.stays(worker))
    }

    fn stays(&self, worker: &Worker) -> bool {
        !worker.is_leaving() && worker.generation <= self.generation
    }
}

/// A worker that was ready and lived this long has no failures behind it.
const HEALTHY_AFTER: Duration = Duration::from_secs(10);
/// A quick stop is immediate unless a process is stuck in the kernel.
const QUICK_TIMEOUT: Duration = Duration::from_secs(2);
/// Between the interruption of a request that takes too long and that question.
const OVERDUE_GRACE: Duration = Duration::from_millis(800);
/// After the question what it is doing.
const EXPLANATION: Duration = Duration::from_millis(200);
const KILL_AGAIN: Duration = Duration::from_secs(5);

#[cfg(test)]
#[path = "reload_tests.rs"]
mod reload_tests;
#[cfg(test)]
#[path = "decision_tests.rs"]
mod tests;
