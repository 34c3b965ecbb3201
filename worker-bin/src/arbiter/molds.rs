//! The molds of an application that is not of this program: for each generation a process that
//! has loaded it and forks workers when told to.
//!
//! Owns starting and ending them, and what they were told. Must not decide how many workers there
//! should be.
//!
//! A worker that a mold has forked becomes the arbiter's child, says so, and waits for the arbiter
//! to let it go. A mold makes one at a time.
//!
//! What the import has made, such as processes and temporary directories, belongs to the mold and
//! is used by its workers: a mold that is dismissed stays until the last of them has ended, and
//! then ends as programs of its language do.

use super::events::{End, Event, Kill, Pid};
use super::process;
use crate::exit::{CANNOT_BOOT, CANNOT_LOAD};
use crate::log;
use crate::socket::Socket;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, PipeWriter, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// All molds that live.
#[derive(Debug, Default)]
pub(super) struct Molds {
    all: Vec<Mold>,
    /// Workers that could not be ordered.
    failures: Vec<Event>,
}

/// A process that was started as a mold.
#[derive(Debug)]
pub(super) struct Mold {
    pid: Pid,
    generation: u64,
    /// What it is told.
    orders: Socket,
    /// Its interpreter.
    python: PathBuf,
    stage: Stage,
    /// It is to make these next.
    waiting: VecDeque<usize>,
    /// It is making this one, which goes on when something is written here.
    making: Option<(usize, PipeWriter)>,
    /// For loading, and for a fork.
    patience: Duration,
    late_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Loading,
    /// It has the application.
    Loaded,
    /// It makes no more workers.
    Dismissed,
    /// It was told to end, or killed.
    Ending,
}

impl Mold {
    /// Of the process `pid`, which is given `patience` to load the application.
    pub(super) fn new(
        pid: Pid,
        generation: u64,
        orders: Socket,
        python: PathBuf,
        patience: Duration,
    ) -> Mold {
        Mold {
            pid,
            generation,
            orders,
            python,
            stage: Stage::Loading,
            waiting: VecDeque::new(),
            making: None,
            patience,
            late_at: Some(Instant::now() + patience),
        }
    }

    fn is_dismissed(&self) -> bool {
        matches!(self.stage, Stage::Dismissed | Stage::Ending)
    }

    fn numbers(&self) -> impl Iterator<Item = usize> {
        self.waiting.iter().copied().chain(self.making.as_ref().map(|(number, _)| *number))
    }

    /// Has the next worker made, if nothing is in the way; `failures` gets those that cannot be
    /// asked for.
    fn go_on(&mut self, failures: &mut Vec<Event>) {
        if self.stage != Stage::Loaded || self.making.is_some() {
            return;
        }
        while let Some(number) = self.waiting.pop_front() {
            match self.tell(number) {
                Ok(go) => {
                    self.making = Some((number, go));
                    self.late_at = Some(Instant::now() + self.patience);
                    return;
                }
                // Its exit answers for what it was to do.
                Err(error) if has_ended(&error) => return self.waiting.push_front(number),
                // Descriptors are short, perhaps not for long.
                Err(error) => {
                    log::error!("cannot have a worker made: {error}");
                    failures.push(Event::SpawnFailed(self.generation, None));
                }
            }
        }
    }

    fn kill(&mut self) {
        self.stage = Stage::Ending;
        self.late_at = None;
        process::signal(self.pid, Kill::Forcibly);
    }

    fn tell(&self, number: usize) -> io::Result<PipeWriter> {
        let (go, let_go) = io::pipe()?;
        self.orders.send_with(&number.to_ne_bytes(), go.as_fd())?;
        Ok(let_go)
    }

    /// `is_current`: another one is started.
    fn explain_end(&self, end: End, is_current: bool) -> End {
        let then = if is_current { "; trying again" } else { "" };
        match (self.stage != Stage::Loading, end) {
            (true, _) => {
                log::warning!(
                    "the mold of generation {} has ended: its next worker loads the application \
                     anew",
                    self.generation
                );
                end
            }
            // What Python says of a module that it cannot find.
            (false, End::Code(1)) => {
                let python = self.python.display();
                log::error!(
                    "{python} cannot run the package forebay. If it is not installed, in a copy of \
                     Forebay's repository: {python} -m pip install ./worker-bin"
                );
                End::Code(CANNOT_LOAD)
            }
            // These, and that it was late, have been said.
            (false, End::Code(CANNOT_BOOT | CANNOT_LOAD)) => end,
            (false, _) if self.late_at.is_none() => end,
            (false, _) => {
                let how = match end {
                    End::Code(code) => format!("has exited with code {code}"),
                    End::Signal(signal) => format!("was killed by signal {signal}"),
                };
                log::error!(
                    "the application was not loaded: its process {how} while importing{then}"
                );
                end
            }
        }
    }
}

impl Molds {
    pub(super) fn has(&self, generation: u64) -> bool {
        self.all.iter().any(|mold| mold.generation == generation && !mold.is_dismissed())
    }

    /// Nobody waits for those that were dismissed.
    pub(super) fn have_ended(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether this mold is to make more workers.
    pub(super) fn is_in_use(&self, pid: Pid) -> bool {
        self.all.iter().any(|mold| mold.pid == pid && !mold.is_dismissed())
    }

    pub(super) fn add(&mut self, mold: Mold) {
        self.all.push(mold);
    }

    /// Has a worker made, now or as soon as the application is loaded.
    pub(super) fn order(&mut self, generation: u64, number: usize) {
        let is_it = |mold: &&mut Mold| mold.generation == generation && !mold.is_dismissed();
        if let Some(mold) = self.all.iter_mut().find(is_it) {
            mold.waiting.push_back(number);
            mold.go_on(&mut self.failures);
        }
    }

    /// Workers that will not come, because their molds could not be told of them.
    pub(super) fn failures(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.failures)
    }

    /// Whether a worker that is to be made will have this number.
    pub(super) fn has_promised(&self, number: usize) -> bool {
        self.all.iter().flat_map(Mold::numbers).any(|promised| promised == number)
    }

    pub(super) fn loaded(&mut self, pid: Pid) {
        let is_it = |mold: &&mut Mold| mold.pid == pid && mold.stage == Stage::Loading;
        if let Some(mold) = self.all.iter_mut().find(is_it) {
            (mold.stage, mold.late_at) = (Stage::Loaded, None);
            mold.go_on(&mut self.failures);
        }
    }

    /// A worker with this number is there. None: nobody waits for it any more.
    pub(super) fn born(&mut self, pid: Pid, number: usize) -> Option<Event> {
        let (generation, mut go) = self.made(number)?;
        // It may have ended already, and then nobody would hear of that again.
        if !process::is_child(pid) {
            return Some(Event::SpawnFailed(generation, None));
        }
        // One that has just ended needs no word.
        let _ = go.write_all(&[0]);
        Some(Event::Spawned(generation, pid))
    }

    /// It could not be made.
    pub(super) fn unborn(&mut self, number: usize) -> Option<Event> {
        let (generation, _) = self.made(number)?;
        Some(Event::SpawnFailed(generation, None))
    }

    /// What the end of a child means, if it was a mold; those of generation `current` are replaced.
    pub(super) fn ended(&mut self, pid: Pid, end: End, current: u64) -> Option<Vec<Event>> {
        let place = self.all.iter().position(|mold| mold.pid == pid)?;
        let mold = self.all.remove(place);
        let end = match mold.is_dismissed() {
            true => end,
            false => mold.explain_end(end, mold.generation == current),
        };
        let failed = Event::SpawnFailed(mold.generation, Some(end));
        Some(mold.numbers().map(|_| failed).collect())
    }

    /// Dismisses those of other generations. What they were to make has failed; one that has not
    /// loaded the application has nothing that anybody needs, and answers by its exit.
    pub(super) fn keep(&mut self, is_kept: impl Fn(u64) -> bool) {
        let others = self.all.iter_mut().filter(|mold| !is_kept(mold.generation));
        for mold in others.filter(|mold| !mold.is_dismissed()) {
            if mold.stage == Stage::Loading {
                mold.kill();
                continue;
            }
            mold.stage = Stage::Dismissed;
            let failed = Event::SpawnFailed(mold.generation, None);
            self.failures.extend(mold.waiting.drain(..).map(|_| failed));
        }
    }

    /// Has those end that were dismissed and whose workers have all ended, but not wait for that.
    pub(super) fn end_the_unused(&mut self, is_used: impl Fn(u64) -> bool, now: Instant) {
        for mold in &mut self.all {
            let is_over = mold.stage == Stage::Dismissed && mold.making.is_none();
            if is_over && !is_used(mold.generation) {
                mold.stage = Stage::Ending;
                mold.late_at = Some(now + END_WITHIN);
                mold.orders.shutdown_write();
            }
        }
    }

    /// When one of them will be late.
    pub(super) fn next(&self) -> Option<Instant> {
        self.all.iter().filter_map(|mold| mold.late_at).min()
    }

    pub(super) fn kill_the_late(&mut self, now: Instant) {
        for mold in &mut self.all {
            if mold.late_at.take_if(|at| *at <= now).is_none() {
                continue;
            }
            match mold.stage {
                Stage::Loading => say_late("loaded the application"),
                Stage::Loaded | Stage::Dismissed => say_late("made a worker"),
                Stage::Ending => {
                    let within = END_WITHIN.as_secs();
                    log::warning!("the mold has not ended within {within} s: killing it");
                }
            }
            process::signal(mold.pid, Kill::Forcibly);
        }
    }

    fn made(&mut self, number: usize) -> Option<(u64, PipeWriter)> {
        let is_it = |mold: &&mut Mold| mold.making.as_ref().is_some_and(|(it, _)| *it == number);
        let mold = self.all.iter_mut().find(is_it)?;
        let (_, go) = mold.making.take()?;
        mold.late_at = None;
        mold.go_on(&mut self.failures);
        Some((mold.generation, go))
    }
}

impl Drop for Molds {
    /// Of an arbiter that has failed.
    fn drop(&mut self) {
        self.all.iter().for_each(|mold| process::kill_and_wait(mold.pid));
    }
}

fn say_late(what: &str) {
    log::error!("the mold has not {what} within the boot timeout: killing it");
}

/// A mold that is told something.
fn has_ended(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
}

/// For what is registered for the end of a program.
const END_WITHIN: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{IoSlice, Read};
    use std::os::unix::net::UnixStream;

    /// No process has this id.
    const PID: Pid = 1 << 30;
    const FAILED: Event = Event::SpawnFailed(7, None);

    fn molds() -> (Molds, UnixStream) {
        let (orders, told) = UnixStream::pair().unwrap();
        orders.set_nonblocking(true).unwrap();
        let patience = Duration::from_secs(600);
        let mold = Mold::new(PID, 7, Socket::new(orders), "python".into(), patience);
        (Molds { all: vec![mold], failures: Vec::new() }, told)
    }

    #[test]
    fn what_cannot_be_ordered_now_has_failed() {
        let (mut molds, told) = molds();
        molds.order(7, 0);
        molds.order(7, 1);
        assert_eq!(molds.failures(), []);
        // As without descriptors: nothing can be said, to a mold that is there.
        while molds.all[0].orders.send_all(&mut [IoSlice::new(&[0])]).is_ok() {}
        molds.loaded(PID);
        assert_eq!(molds.failures(), [FAILED, FAILED]);
        assert!(!molds.has_promised(0) && molds.next().is_none());
        let mut all = [0; 64 << 10];
        told.set_nonblocking(true).unwrap();
        while (&told).read(&mut all).is_ok() {}
        molds.order(7, 0);
        assert!(molds.failures().is_empty() && molds.has_promised(0));
    }

    #[test]
    fn a_mold_stays_for_its_workers_and_then_has_a_while_to_end() {
        let (mut molds, told) = molds();
        let now = Instant::now();
        molds.loaded(PID);
        molds.order(7, 0);
        molds.order(7, 1);
        molds.keep(|_| false);
        assert_eq!((molds.failures(), molds.has(7)), (vec![FAILED], false));
        assert!(molds.has_promised(0) && !molds.has_promised(1));
        molds.end_the_unused(|_| false, now);
        assert_eq!(molds.all[0].stage, Stage::Dismissed, "it is making a worker");
        assert_eq!(molds.unborn(0), Some(FAILED));
        molds.end_the_unused(|generation| generation == 7, now);
        assert_eq!((molds.all[0].stage, molds.next()), (Stage::Dismissed, None));
        molds.end_the_unused(|_| false, now);
        let told = Socket::new(told);
        let mut number = [0; 8];
        told.take(&mut number, &mut None).unwrap();
        assert_eq!(told.receive(&mut number).unwrap(), 0, "no more orders");
        assert_eq!(molds.next(), Some(now + END_WITHIN));
        molds.kill_the_late(now + END_WITHIN);
        assert!(molds.next().is_none() && !molds.have_ended());
        assert_eq!(molds.ended(PID, End::Signal(9), 8), Some(vec![]));
        assert!(molds.have_ended());
    }

    #[test]
    fn a_mold_that_has_ended_answers_by_its_exit() {
        let (mut molds, told) = molds();
        molds.loaded(PID);
        drop(told);
        molds.order(7, 0);
        assert!(molds.failures().is_empty() && molds.has_promised(0));
        let end = End::Signal(9);
        let failed = Event::SpawnFailed(7, Some(end));
        assert_eq!(molds.ended(PID, end, 7), Some(vec![failed]));
    }
}
