//! What the arbiter decides: events and the time in, actions out.
//!
//! Owns how many workers there should be, who replaces whom, and when the server ends. Must not
//! know processes: no system call here. Signals only change targets; [`Core::converge`] then does
//! whatever leads there.

use super::backoff::Backoff;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A process id.
pub(crate) type Pid = i32;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A worker was forked, as asked.
    Spawned(Pid),
    /// A worker could not be forked.
    SpawnFailed,
    /// A worker has booted and can take requests.
    Ready(Pid),
    /// A child has ended; perhaps none of ours.
    Exited(Pid, End),
    /// The operator or the supervisor wants something.
    Asked(Request),
    /// A time given by [`Core::next_wakeup`] has come.
    Tick,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It exited with this code.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
}

/// What can be asked of the arbiter, by signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// TERM: finish what runs, then end. Once more: [`Request::Quit`].
    Stop,
    /// INT, QUIT: end now.
    Quit,
    /// HUP: replace every worker, new before old.
    Reload,
    /// TTIN: one more.
    More,
    /// TTOU: one less, but never none.
    Less,
}

/// What the shell should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Fork a worker, then tell by [`Event::Spawned`] or [`Event::SpawnFailed`].
    Spawn,
    /// Send a signal.
    Signal(Pid, Kill),
    /// All workers are ready for the first time.
    Announce,
    /// End, with this exit code.
    Exit(i32),
}

/// How a worker is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kill {
    /// TERM: finish the current request.
    Gracefully,
    /// QUIT: at once.
    Quickly,
    /// KILL: it did not.
    Forcibly,
}

/// The arbiter's state.
#[derive(Debug)]
pub(crate) struct Core {
    target: usize,
    graceful_timeout: Duration,
    generation: u64,
    workers: Vec<Worker>,
    backoff: Backoff,
    /// One entry per spawn that was asked for: how often in a row its place has failed.
    spawning: VecDeque<u32>,
    announced: bool,
    ending: Option<Ending>,
    actions: Vec<Action>,
}

#[derive(Debug)]
struct Worker {
    pid: Pid,
    generation: u64,
    ready: bool,
    failures: u32,
    since: Instant,
    /// It was asked to end, and is killed at this time.
    kill_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Ending {
    code: i32,
    quick: bool,
}

impl Core {
    /// Wants `workers` workers, and gives those that should end `graceful_timeout` to do so.
    /// `seed` spreads the restarts of crashed workers.
    pub(crate) fn new(workers: usize, graceful_timeout: Duration, seed: u64) -> Core {
        assert!(workers > 0, "a server has at least one worker");
        Core {
            target: workers,
            graceful_timeout,
            generation: 0,
            workers: Vec::new(),
            backoff: Backoff::new(seed),
            spawning: VecDeque::new(),
            announced: false,
            ending: None,
            actions: Vec::new(),
        }
    }

    /// Takes note of an event and says what to do now, in this order.
    pub(crate) fn on(&mut self, event: Event, now: Instant) -> Vec<Action> {
        match event {
            Event::Spawned(pid) => self.on_spawned(pid, now),
            Event::SpawnFailed => {
                let failures = self.spawned();
                self.backoff.failed(failures, now);
            }
            Event::Ready(pid) => self.on_ready(pid),
            Event::Exited(pid, end) => self.on_exited(pid, end, now),
            Event::Asked(request) => self.on_asked(request, now),
            Event::Tick => {}
        }
        self.converge(now);
        std::mem::take(&mut self.actions)
    }

    /// When to send [`Event::Tick`], if nothing else happens before.
    pub(crate) fn next_wakeup(&self) -> Option<Instant> {
        let kills = self.workers.iter().filter_map(|worker| worker.kill_at);
        let restarts = self.ending.is_none().then(|| self.backoff.next()).flatten();
        kills.chain(restarts).min()
    }

    /// Whether this is a living worker of ours.
    pub(crate) fn is_worker(&self, pid: Pid) -> bool {
        self.workers.iter().any(|worker| worker.pid == pid)
    }

    /// Whether this worker was asked to end.
    pub(crate) fn is_leaving(&self, pid: Pid) -> bool {
        self.workers.iter().any(|worker| worker.pid == pid && worker.kill_at.is_some())
    }

    fn on_spawned(&mut self, pid: Pid, now: Instant) {
        let failures = self.spawned();
        self.workers.push(Worker {
            pid,
            generation: self.generation,
            ready: false,
            failures,
            since: now,
            kill_at: None,
        });
    }

    fn spawned(&mut self) -> u32 {
        self.spawning.pop_front().expect("the shell answers each Spawn once")
    }

    fn on_ready(&mut self, pid: Pid) {
        if let Some(worker) = self.workers.iter_mut().find(|worker| worker.pid == pid) {
            worker.ready = true;
        }
        let ready = self.workers.iter().filter(|worker| worker.ready).count();
        if !self.announced && self.ending.is_none() && ready >= self.target {
            self.announced = true;
            self.actions.push(Action::Announce);
        }
    }

    fn on_exited(&mut self, pid: Pid, end: End, now: Instant) {
        let Some(index) = self.workers.iter().position(|worker| worker.pid == pid) else { return };
        let worker = self.workers.remove(index);
        if worker.kill_at.is_some() || self.ending.is_some() {
            return;
        }
        if let (End::Code(code @ (CANNOT_BOOT | CANNOT_LOAD)), false) = (end, self.announced) {
            return self.end(Ending { code, quick: true }, now);
        }
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
            Request::Reload => self.generation += 1,
            Request::More => self.target += 1,
            Request::Less => self.target = (self.target - 1).max(1),
        }
    }

    /// An end that has begun keeps its exit code, and can only become quicker.
    fn end(&mut self, ending: Ending, now: Instant) {
        let before = self.ending;
        let code = before.map_or(ending.code, |before| before.code);
        let quick = ending.quick || before.is_some_and(|before| before.quick);
        self.ending = Some(Ending { code, quick });
        let (kill, grace) = match quick {
            true => (Kill::Quickly, QUICK_TIMEOUT),
            false => (Kill::Gracefully, self.graceful_timeout),
        };
        for worker in &mut self.workers {
            let kill_at = now + grace;
            worker.kill_at = Some(worker.kill_at.map_or(kill_at, |before| before.min(kill_at)));
            self.actions.push(Action::Signal(worker.pid, kill));
        }
    }

    fn converge(&mut self, now: Instant) {
        self.kill_the_late(now);
        match self.ending {
            Some(ending) if self.workers.is_empty() && self.spawning.is_empty() => {
                self.actions.push(Action::Exit(ending.code));
            }
            Some(_) => {}
            None => {
                self.retire_the_superfluous(now);
                self.spawn_the_missing(now);
            }
        }
    }

    fn kill_the_late(&mut self, now: Instant) {
        for worker in &mut self.workers {
            if worker.kill_at.is_some_and(|at| at <= now) {
                self.actions.push(Action::Signal(worker.pid, Kill::Forcibly));
                // A process in an uninterruptible wait outlives even this: ask again, but rarely.
                worker.kill_at = Some(now + KILL_AGAIN);
            }
        }
    }

    fn retire_the_superfluous(&mut self, now: Instant) {
        while self.staying().count() > self.target {
            let Some(index) = self.superfluous() else { return };
            let worker = &mut self.workers[index];
            worker.kill_at = Some(now + self.graceful_timeout);
            self.actions.push(Action::Signal(worker.pid, Kill::Gracefully));
        }
    }

    /// Who goes first when there are too many: old generations, and of these one that is of no
    /// use yet, else the eldest; but none that is ready before its replacement is.
    fn superfluous(&self) -> Option<usize> {
        let is_old = |worker: &Worker| worker.generation < self.generation;
        let any_old = self.staying().any(is_old);
        let candidates = || {
            let all = self.workers.iter().enumerate();
            all.filter(|(_, w)| w.kill_at.is_none() && (is_old(w) || !any_old))
        };
        let useless = candidates().find(|(_, worker)| !worker.ready);
        let enough_without = self.staying().filter(|worker| worker.ready).count() > self.target;
        let eldest = enough_without.then(|| candidates().next()).flatten();
        useless.or(eldest).map(|(index, _)| index)
    }

    /// While old workers are replaced there is one more than the target: new before old.
    fn spawn_the_missing(&mut self, now: Instant) {
        let rolling = self.staying().any(|worker| worker.generation < self.generation);
        let wanted = self.target + usize::from(rolling);
        let missing = wanted.saturating_sub(self.staying().count() + self.spawning.len());
        self.backoff.forget_beyond(missing);
        for _ in self.backoff.len()..missing {
            self.spawn(0);
        }
        while let Some(failures) = self.backoff.take_due(now) {
            self.spawn(failures);
        }
    }

    fn spawn(&mut self, failures: u32) {
        self.spawning.push_back(failures);
        self.actions.push(Action::Spawn);
    }

    /// Workers that nobody asked to end, eldest first.
    fn staying(&self) -> impl Iterator<Item = &Worker> {
        self.workers.iter().filter(|worker| worker.kill_at.is_none())
    }
}

/// The worker could not boot; ends the server if it never served.
pub(crate) const CANNOT_BOOT: i32 = 3;
/// The application could not be loaded; likewise.
pub(crate) const CANNOT_LOAD: i32 = 4;
/// A worker that was ready and lived this long has no failures behind it.
const HEALTHY_AFTER: Duration = Duration::from_secs(10);
/// A quick stop is immediate unless a process is stuck in the kernel.
const QUICK_TIMEOUT: Duration = Duration::from_secs(2);
const KILL_AGAIN: Duration = Duration::from_secs(5);

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;
