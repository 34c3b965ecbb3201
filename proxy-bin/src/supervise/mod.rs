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
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{io, thread};

/// What to run for a pool.
#[derive(Clone, Debug)]
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
    /// The command of this pool has said that it is ready, for the first or a later time.
    Ready(String),
    /// The first start failed; it is not repeated. The message is one line.
    StartFailed(String),
    /// The last process of this pool has ended; no other follows. Comes once for each pool.
    Ended(String),
}

/// The running commands. Dropped, it kills them.
pub(crate) struct Supervisor {
    commands: Vec<(Arc<Shared>, thread::JoinHandle<()>)>,
}

impl Supervisor {
    /// Starts all commands, each watched by a thread of its own. `report` is called there.
    ///
    /// # Errors
    /// No thread.
    pub(crate) fn start(
        commands: Vec<WorkerCommand>,
        report: impl Fn(Report) + Send + Sync + 'static,
    ) -> io::Result<Supervisor> {
        let report: Arc<dyn Fn(Report) + Send + Sync> = Arc::new(report);
        let mut supervisor = Supervisor { commands: Vec::new() };
        for command in commands {
            let (shared, report) = (Arc::new(Shared::default()), Arc::clone(&report));
            let watch = {
                let shared = Arc::clone(&shared);
                move || worker::watch(&command, &shared, &*report)
            };
            let thread = thread::Builder::new().name("supervise".into()).spawn(watch)?;
            supervisor.commands.push((shared, thread));
        }
        Ok(supervisor)
    }

    /// Passes a signal on to every process that is ready. Others may not handle it yet, and the
    /// default of most is to end.
    pub(crate) fn signal(&self, signal: i32) {
        for (shared, _) in &self.commands {
            let state = shared.lock();
            if state.is_ready {
                state.signal(signal, To::Process);
            }
        }
    }

    /// Starts nothing any more and sends a signal that means to end. [`Report::Ended`] follows.
    pub(crate) fn stop(&self, signal: i32) {
        for (shared, _) in &self.commands {
            let mut state = shared.lock();
            state.is_stopping = true;
            state.signal(signal, To::Process);
            shared.changed.notify_all();
        }
    }

    /// Ends every process and what it has started, if that is in its process group.
    pub(crate) fn kill(&self) {
        self.stop(libc::SIGKILL);
        for (shared, _) in &self.commands {
            shared.lock().signal(libc::SIGKILL, To::Group);
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.kill();
        for (_, thread) in self.commands.drain(..) {
            let _ = thread.join();
        }
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
    fn signal(&self, signal: i32, to: To) {
        let Some(pid) = self.pid else { return };
        if let Err(error) = sys::kill(pid, signal, to) {
            tracing::warn!(pid, signal, %error, "cannot send a signal to workers");
        }
    }
}

#[cfg(test)]
mod tests;
