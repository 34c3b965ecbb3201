//! The arbiter: keeps N workers alive. Single-threaded, runs no application code.
//!
//! Owns the loop between [`decisions`] and [`process`] (system calls). Must not know what
//! workers do.

mod backoff;
mod decisions;
mod events;
mod inheritance;
mod launch;
mod member;
mod memory;
mod molds;
mod notes;
pub(crate) mod process;
mod status;
mod supervisor;
mod watch;
mod words;

pub(crate) use self::events::{Pid, Targets};
use self::inheritance::Inheritance;
pub(crate) use self::inheritance::{Inherited, Station};
pub(crate) use self::launch::{Handover, Program, Recipe, Task, start_directory};
use self::launch::{Release, Successor};
pub(crate) use self::process::Signals;
pub(crate) use self::status::Status;
pub(crate) use self::supervisor::is_supervised;
pub(crate) use self::words::{Word, Words};

use self::decisions::Core;
use self::events::{Action, Event, Request};
use self::memory::OutOfMemory;
use self::molds::{Mold, Molds};
use self::process::Signal;
use self::supervisor::Supervisor;
use self::watch::{Sight, Watch};
use crate::control::Control;
use crate::exit::CANNOT_BOOT;
use crate::liveness::Table;
use crate::log;
use crate::options::Options;
use crate::socket::{Socket, wait_readable};
use crate::whereabouts::Whereabouts;
use std::collections::BTreeMap;
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

/// What the arbiter needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) targets: Targets,
    /// Threads of each worker: entries in the liveness table.
    pub(crate) slots: usize,
}

/// Whose workers these are.
pub(crate) trait Host {
    /// The life of a worker, in its own process; returns its exit code.
    fn work(&self, station: Station) -> u8;
    /// All workers are ready for the first time.
    fn announce(&self);
    /// The settings as they are now, for a reload; or why there is none.
    fn settings(&self) -> Result<Settings, String>;
    /// All workers are made with these settings from now on.
    fn adopt(&self, options: &Options);
    /// All that was set when `settings` were read last.
    fn options(&self) -> Options;
    /// What all workers accept from.
    fn listeners(&self) -> Vec<BorrowedFd<'_>>;
    /// How to start a mold, if that is what makes the workers.
    fn recipe(&self) -> Option<Recipe>;
}

/// Runs workers until told to stop by `signals`, and returns the exit code. Later generations
/// execute `program`.
pub(crate) fn run(
    settings: &Settings,
    program: &Program,
    signals: Signals,
    whereabouts: &Whereabouts,
    host: &dyn Host,
) -> io::Result<u8> {
    let supervisor = Supervisor::from_environment()?;
    let table = Table::new(ROWS, settings.slots)?;
    let (words, workers_words) = io::pipe()?;
    let started = Instant::now();
    let shell = Shell {
        host,
        program,
        generations: BTreeMap::new(),
        molds: Molds::default(),
        watch: Watch::new(table, settings.targets.max_memory, started),
        supervisor,
        signals,
        words,
        workers_words: Words::new(workers_words),
        whereabouts,
        out_of_memory: OutOfMemory::watch(),
        started,
    };
    if host.recipe().is_some() {
        process::adopt_orphans()?;
    }
    let seed = u64::from(std::process::id()) << 32 | u64::from(subsecond_nanos());
    shell.run(Core::new(settings.targets, seed))
}

struct Shell<'a> {
    host: &'a dyn Host,
    program: &'a Program,
    /// What each is made of, from its first worker on.
    generations: BTreeMap<u64, Release>,
    molds: Molds,
    watch: Watch,
    supervisor: Supervisor,
    signals: Signals,
    words: PipeReader,
    workers_words: Words,
    whereabouts: &'a Whereabouts,
    out_of_memory: OutOfMemory,
    started: Instant,
}

impl Shell<'_> {
    fn run(mut self, mut core: Core) -> io::Result<u8> {
        let mut events = vec![Event::Tick];
        loop {
            for event in std::mem::take(&mut events) {
                notes::event(&core, event, &mut self.out_of_memory, &self.watch);
                for action in core.on(event, Instant::now()) {
                    notes::action(action);
                    if let Some(code) = self.act(action, &core, &mut events) {
                        return Ok(code);
                    }
                }
                if let Event::Exited(pid, _) = event {
                    self.watch.leave(pid);
                }
            }
            if core.is_ending() {
                self.supervisor.tell_stopping();
                self.keep(|_| false);
            }
            events.extend(self.molds.failures());
            if events.is_empty() {
                let is_used = |generation| {
                    core.workers().iter().any(|worker| worker.generation == generation)
                };
                self.molds.end_the_unused(is_used, Instant::now());
                events = self.wait(&core)?;
            }
        }
    }

    /// Does what was decided; what comes of it at once is among `events`. Some: the end, with this
    /// exit code.
    fn act(&mut self, action: Action, core: &Core, events: &mut Vec<Event>) -> Option<u8> {
        match action {
            Action::Spawn(generation) => {
                let current = core.generation();
                self.keep(|other| !is_overtaken(other, current, generation));
                events.extend(self.spawn(generation));
            }
            Action::Signal(pid, kill) => process::signal(pid, kill),
            Action::Reopen(pid) => process::reopen_log(pid),
            Action::Announce => {
                self.host.announce();
                self.supervisor.tell_ready();
            }
            Action::Adopted(current) => {
                self.watch.set_max_memory(core.max_memory());
                let release = self.generations.get(&current);
                if let Some(options) = release.and_then(Release::options) {
                    self.host.adopt(options);
                }
                // Older ones that still live are not started any more.
                self.keep(|generation| generation >= current);
            }
            Action::Rejected(..) => self.keep(|generation| generation <= core.generation()),
            Action::NotBooted(_) | Action::TooLargeAgain(_) => {}
            // It is asked for again until then.
            Action::Exit(code) => return self.molds.have_ended().then_some(code),
        }
        None
    }

    /// None: a mold will tell.
    fn spawn(&mut self, generation: u64) -> Option<Event> {
        match self.start(generation) {
            Ok(pid) => Some(Event::Spawned(generation, pid?)),
            Err(error) => {
                log::error!("cannot start a worker: {error}");
                Some(Event::SpawnFailed(generation, None))
            }
        }
    }

    fn start(&mut self, generation: u64) -> io::Result<Option<Pid>> {
        let number = self.watch.free_row(|row| self.molds.has_promised(row));
        let number = number.ok_or_else(|| io::Error::other("there are too many"))?;
        if !self.generations.contains_key(&generation) {
            self.generations.insert(generation, self.release(generation)?);
        }
        if let Some(Release::Mold(recipe)) = self.generations.get(&generation) {
            if !self.molds.has(generation) {
                let mold = self.start_mold(generation, recipe.clone())?;
                self.molds.add(mold);
            }
            self.molds.order(generation, number);
            return Ok(None);
        }
        let pid = process::fork_worker(self.private(), || self.work(generation, number))?;
        self.watch.enter(pid, number);
        Ok(Some(pid))
    }

    /// As things are now.
    fn release(&self, generation: u64) -> io::Result<Release> {
        if let Some(recipe) = self.host.recipe() {
            return Ok(Release::Mold(recipe));
        }
        match generation {
            0 => Ok(Release::Own),
            _ => Successor::new(self.program, self.host.options()).map(Release::Successor),
        }
    }

    fn start_mold(&self, generation: u64, recipe: Recipe) -> io::Result<Mold> {
        let (orders, told) = UnixStream::pair()?;
        let arbiter = std::process::id();
        let patience = recipe.boot_timeout;
        let python = recipe.python.clone();
        let pid = process::fork_worker(self.private(), || {
            let inheritance = self.inheritance(arbiter, generation, &recipe.options);
            cannot_boot(&recipe.execute(inheritance, told.as_fd()))
        })?;
        Ok(Mold::new(pid, generation, Socket::new(orders), python, patience))
    }

    /// What only the arbiter should have.
    fn private(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let private = [self.signals.as_fd(), self.words.as_fd()];
        let control = self.whereabouts.control().map(|control| control.as_fd());
        let private = private.into_iter().chain(control);
        private.chain(self.supervisor.pipe().map(|pipe| pipe.as_fd()))
    }

    /// Nobody is started any more of other generations.
    fn keep(&mut self, is_kept: impl Fn(u64) -> bool) {
        self.generations.retain(|&generation, _| is_kept(generation));
        self.molds.keep(is_kept);
    }

    /// In the worker's process.
    fn work(&self, generation: u64, number: usize) -> u8 {
        let arbiter = std::os::unix::process::parent_id();
        if let Some(Release::Successor(successor)) = self.generations.get(&generation) {
            let inheritance = self.inheritance(arbiter, generation, &successor.options);
            return cannot_boot(&self.program.execute(successor, number, inheritance));
        }
        let words = match self.workers_words.as_fd().try_clone_to_owned() {
            Ok(pipe) => Words::new(pipe),
            Err(error) => return cannot_boot(&error),
        };
        let row = self.watch.table().row(number, generation);
        self.host.work(Station { arbiter, number, row, words })
    }

    /// For processes that are started by `arbiter`, this process or its parent.
    fn inheritance(&self, arbiter: u32, generation: u64, options: &Options) -> Inheritance {
        let (table, words, listeners) =
            (self.watch.table(), &self.workers_words, self.host.listeners());
        Inheritance::new(arbiter, generation, table, words, &listeners, options.clone())
    }

    /// What has happened until something has, or may have: at least a tick.
    fn wait(&mut self, core: &Core) -> io::Result<Vec<Event>> {
        let control = self.whereabouts.control();
        let rest = control.and_then(Control::rests_until);
        let times = core.next_wakeup().into_iter().chain(self.molds.next()).chain(rest);
        let times = times.chain(self.whereabouts.look_at());
        let until = times.fold(self.watch.next(), Instant::min);
        let timeout = until.saturating_duration_since(Instant::now());
        let (signals, words) = (self.signals.as_fd(), self.words.as_fd());
        let control = control.filter(|_| rest.is_none());
        // Without a control socket, the signals twice.
        let asked = control.map_or(signals, AsFd::as_fd);
        let readable = wait_readable([signals, words, asked], Some(timeout))?;
        // Before its time is up.
        let mut events = self.on_time(core);
        events.push(Event::Tick);
        if readable[1] {
            events.extend(self.hear()?);
        }
        self.take_signals(&mut events, core.generation());
        self.molds.kill_the_late(Instant::now());
        if let (Some(control), true) = (control, readable[2]) {
            control.answer(&status::status(core, &self.watch, self.started));
        }
        self.whereabouts.look();
        events.extend(self.look(core));
        Ok(events)
    }

    /// All that was said until now: a signal that comes later must not overtake it.
    fn hear(&mut self) -> io::Result<Vec<Event>> {
        let mut said = [0; 512];
        // Words are written whole, so they are read whole (pipe(7)).
        let count = self.words.read(&mut said)?;
        let (words, _) = said[..count].as_chunks();
        let words: Vec<_> = words.iter().filter_map(|&word| Words::understand(word)).collect();
        Ok(words.into_iter().filter_map(|(pid, word)| self.event_of(pid, word)).collect())
    }

    fn event_of(&mut self, pid: Pid, word: Word) -> Option<Event> {
        Some(match word {
            Word::Booted => Event::Booted(pid),
            Word::Ready => Event::Ready(pid),
            Word::Spent => Event::Spent(pid),
            Word::Loaded => {
                self.molds.loaded(pid);
                return None;
            }
            Word::Born(number) => {
                let event = self.molds.born(pid, number)?;
                if let Event::Spawned(..) = event {
                    self.watch.enter(pid, number);
                }
                event
            }
            Word::Unborn(number) => self.molds.unborn(number)?,
            // One that has been replaced may see it, too.
            Word::Changed if !self.molds.is_in_use(pid) => return None,
            Word::Changed => self.reload()?,
        })
    }

    /// None: the settings are wrong, which was said.
    fn reload(&self) -> Option<Event> {
        match self.host.settings() {
            Ok(settings) => Some(Event::Asked(Request::Reload(settings.targets))),
            Err(error) => {
                log::error!("the reload has failed, the old workers stay: {error}");
                None
            }
        }
    }

    fn take_signals(&mut self, events: &mut Vec<Event>, current: u64) {
        let mut child = false;
        while let Some(signal) = self.signals.next() {
            let request = match signal {
                Signal::Child => {
                    child = true;
                    continue;
                }
                Signal::Stop => Request::Stop,
                Signal::Quit => Request::Quit,
                Signal::More => Request::More,
                Signal::Less => Request::Less,
                Signal::Reload => {
                    events.extend(self.reload());
                    continue;
                }
                Signal::Reopen => {
                    log::reopen();
                    Request::Reopen
                }
                // The size of a terminal's window has changed, and nobody has asked for anything.
                Signal::Rest if process::has_terminal() => continue,
                Signal::Rest => Request::Rest,
                Signal::Ignored => {
                    log::info!("USR2 has no meaning here yet");
                    continue;
                }
            };
            events.push(Event::Asked(request));
        }
        if child {
            for (pid, end) in std::iter::from_fn(process::reap) {
                match self.molds.ended(pid, end, current) {
                    Some(unmade) => events.extend(unmade),
                    None => events.push(Event::Exited(pid, end)),
                }
            }
        }
    }

    /// Workers whose requests that took too long have ended.
    fn on_time(&self, core: &Core) -> Vec<Event> {
        let overdue = core.workers().iter().filter(|worker| worker.is_overdue());
        let on_time = overdue.filter(|worker| !self.watch.is_overdue(worker.pid));
        on_time.map(|worker| Event::OnTime(worker.pid)).collect()
    }

    fn look(&mut self, core: &Core) -> Vec<Event> {
        let mut events = Vec::new();
        for sight in self.watch.look(Instant::now()) {
            let (pid, event) = match sight {
                Sight::Overdue { pid, .. } => (pid, Event::Overdue(pid)),
                Sight::TooLarge { pid, .. } => (pid, Event::TooLarge(pid)),
            };
            let is_known = |worker: &member::Worker| match sight {
                Sight::Overdue { .. } => worker.is_overdue(),
                Sight::TooLarge { .. } => {
                    worker.spent || worker.spent_at.is_some() || worker.is_leaving()
                }
            };
            if core.worker(pid).is_some_and(|worker| !is_known(worker)) {
                notes::sight(&sight);
                events.push(event);
            }
        }
        events
    }
}

/// Whether a generation between the proven one and that of the next worker is of no use any more.
/// While the proven one gets that worker, a candidate goes on.
fn is_overtaken(generation: u64, proven: u64, next: u64) -> bool {
    proven < generation && generation < next
}

fn cannot_boot(error: &io::Error) -> u8 {
    log::error!("cannot boot: {error}");
    CANNOT_BOOT
}

fn subsecond_nanos() -> u32 {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.subsec_nanos())
}

/// Workers that can live at a time, those that are leaving included.
const ROWS: usize = 4096;

#[cfg(test)]
mod tests {
    use super::is_overtaken;

    #[test]
    fn only_a_newer_candidate_overtakes() {
        let left = |proven, next| -> Vec<u64> {
            (0..5).filter(|&generation| !is_overtaken(generation, proven, next)).collect()
        };
        assert_eq!(left(1, 1), [0, 1, 2, 3, 4], "a worker of the proven one leaves a candidate");
        assert_eq!(left(1, 2), [0, 1, 2, 3, 4]);
        assert_eq!(left(1, 4), [0, 1, 4]);
    }
}
