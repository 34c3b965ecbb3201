//! Runs the workers' commands of pools: starts, watches, restarts and stops them.
//!
//! Owns processes and their output. Must not know the edge: it dials nobody and is dialled by
//! nobody; a command is ready when it says so.
//!
//! A command is started with `FOREBAY_EDGE=unix:SOCKET` (where to dial in), `FOREBAY_SUPERVISED=1`
//! and `FOREBAY_READY_FD=N`: the write end of a pipe, for the line `READY` when all its workers
//! hold their slots.

mod back_off;
mod output;
mod program;
mod worker;

pub(crate) use program::{ProgramError, find_program};

use crate::sys::{self, To};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{io, thread};

/// What to run for a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WorkerCommand {
    /// The pool's name.
    pub(crate) pool: String,
    /// The executable file.
    pub(crate) program: PathBuf,
    /// The command as it was written, program first.
    pub(crate) argv: Vec<String>,
    /// The pool's socket, absolute.
    pub(crate) socket: PathBuf,
    /// The working directory.
    pub(crate) directory: PathBuf,
}

/// What becomes of the commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// The command has said that it is ready, for the first or a later time.
    Ready(CommandId),
    /// The first start failed; it is not repeated. The message is one line.
    StartFailed(CommandId, String),
    /// The last process of the command has ended; no other follows. Comes once for each.
    Ended(CommandId),
}

/// Names one command that has been started, never another one.
pub(crate) type CommandId = usize;

/// What becomes of a command whose first process ends before it is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FirstStart {
    /// It is over.
    MustSucceed,
    /// It is started again, like later ones.
    IsRepeated,
}

/// The running commands. Dropped, it kills them.
pub(crate) struct Supervisor {
    commands: Vec<Running>,
    next: CommandId,
    report: Arc<dyn Fn(Report) + Send + Sync>,
}

struct Running {
    id: CommandId,
    command: WorkerCommand,
    shared: Arc<Shared>,
    thread: thread::JoinHandle<()>,
}

impl Supervisor {
    /// Runs nothing yet. `report` is called in threads of the commands.
    pub(crate) fn new(report: impl Fn(Report) + Send + Sync + 'static) -> Supervisor {
        Supervisor { commands: Vec::new(), next: 0, report: Arc::new(report) }
    }

    /// Starts a command, watched by a thread of its own.
    ///
    /// # Errors
    /// No thread.
    pub(crate) fn start(
        &mut self,
        command: WorkerCommand,
        first: FirstStart,
    ) -> io::Result<CommandId> {
        let id = self.next;
        let (shared, report) = (Arc::new(Shared::default()), Arc::clone(&self.report));
        let watch = {
            let (command, shared) = (command.clone(), Arc::clone(&shared));
            move || worker::watch(id, &command, first, &shared, &*report)
        };
        let thread = thread::Builder::new().name("supervise".into()).spawn(watch)?;
        self.commands.push(Running { id, command, shared, thread });
        self.next += 1;
        Ok(id)
    }

    /// The commands that have not been told to stop.
    pub(crate) fn active(&self) -> impl Iterator<Item = (CommandId, &WorkerCommand)> {
        let active = self.commands.iter().filter(|running| !running.shared.lock().is_stopping);
        active.map(|running| (running.id, &running.command))
    }

    /// Everything has ended.
    pub(crate) fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// The pool of a command.
    pub(crate) fn pool(&self, id: CommandId) -> Option<&str> {
        self.find(id).map(|running| running.command.pool.as_str())
    }

    /// Passes a signal on to every process, when it is ready: before, it may not handle it yet, and
    /// the default of most is to end.
    pub(crate) fn signal(&self, signal: i32) {
        self.commands.iter().for_each(|running| running.pass_on(signal));
    }

    /// The same for one command.
    pub(crate) fn signal_one(&self, id: CommandId, signal: i32) {
        self.find(id).into_iter().for_each(|running| running.pass_on(signal));
    }

    /// Starts nothing any more and sends a signal that means to end. [`Report::Ended`] follows.
    pub(crate) fn stop(&self, signal: i32) {
        self.commands.iter().for_each(|running| running.stop(signal));
    }

    /// The same for one command.
    pub(crate) fn stop_one(&self, id: CommandId, signal: i32) {
        self.find(id).into_iter().for_each(|running| running.stop(signal));
    }

    /// Ends every process and what it has started, if that is in its process group.
    pub(crate) fn kill(&self) {
        self.commands.iter().for_each(Running::kill);
    }

    /// The same for one command.
    pub(crate) fn kill_one(&self, id: CommandId) {
        self.find(id).into_iter().for_each(Running::kill);
    }

    /// Forgets a command that has been reported as ended.
    pub(crate) fn remove(&mut self, id: CommandId) {
        if let Some(at) = self.commands.iter().position(|running| running.id == id) {
            let _ = self.commands.swap_remove(at).thread.join();
        }
    }

    fn find(&self, id: CommandId) -> Option<&Running> {
        self.commands.iter().find(|running| running.id == id)
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.kill();
        for running in self.commands.drain(..) {
            let _ = running.thread.join();
        }
    }
}

impl Running {
    fn pass_on(&self, signal: i32) {
        self.shared.lock().pass_on(signal);
    }

    fn stop(&self, signal: i32) {
        self.end(signal, To::Process);
    }

    /// All of the group at once: when its first process has been reaped, nobody may signal it.
    fn kill(&self) {
        self.end(libc::SIGKILL, To::Group);
    }

    fn end(&self, signal: i32, to: To) {
        let mut state = self.shared.lock();
        state.is_stopping = true;
        state.signal(signal, to);
        self.shared.changed.notify_all();
    }
}

/// Between the thread that watches a command and those who stop it.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    is_stopping: bool,
    /// Set while the process exists, running or not yet reaped: the number means nobody else.
    pid: Option<u32>,
    /// The process has said that it is.
    is_ready: bool,
    /// Signals for the time when it is. What has begun before may have read old files.
    postponed: BTreeSet<i32>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True if `wait` has passed, false if it is time to stop.
    fn waits(&self, wait: Duration) -> bool {
        let state = self.lock();
        let waited = self.changed.wait_timeout_while(state, wait, |state| !state.is_stopping);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !state.is_stopping
    }
}

impl State {
    fn pass_on(&mut self, signal: i32) {
        match (self.pid, self.is_ready) {
            (Some(_), true) => self.signal(signal, To::Process),
            (Some(_), false) => drop(self.postponed.insert(signal)),
            // The next process begins with everything as it is then.
            (None, _) => {}
        }
    }

    fn ready(&mut self) {
        self.is_ready = true;
        for signal in std::mem::take(&mut self.postponed) {
            self.signal(signal, To::Process);
        }
    }

    fn ended(&mut self) {
        (self.pid, self.is_ready) = (None, false);
        self.postponed.clear();
    }

    fn signal(&self, signal: i32, to: To) {
        let Some(pid) = self.pid else { return };
        if let Err(error) = sys::kill(pid, signal, to) {
            tracing::warn!(pid, signal, %error, "cannot send a signal to workers");
        }
    }
}

#[cfg(test)]
mod tests;
