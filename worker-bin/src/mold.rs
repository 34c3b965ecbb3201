//! A mold, from inside: a process that loads an application of another language once, and forks
//! workers that share it.
//!
//! Owns what it hears from the arbiter, and how a worker begins that was forked here. Must not
//! know the language: whoever has loaded the application forks.
//!
//! Processes that the application forks while it is loaded do not keep what workers accept from,
//! nor hear what the mold is told.

use crate::arbiter::{Inherited, Station, Task, Word, process};
use crate::exit::CANNOT_BOOT;
use crate::plan::Plan;
use crate::private::Private;
use crate::signals::Deaf;
use crate::socket::{Socket, wait_readable};
use crate::watched::Seat;
use crate::wire::Service;
use crate::worker::{self, Source};
use crate::{log, log_file, signals};
use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

/// This process, if an arbiter has started it as a mold.
#[derive(Debug)]
pub struct Mold {
    /// Of the process that loads the application.
    pid: u32,
    task: Task,
    plan: Plan,
    orders: Private<Socket>,
    inherited: Inherited,
    /// From when workers can be made.
    deaf: OnceLock<Deaf>,
}

/// A worker that is to be made.
#[derive(Debug)]
pub struct Order {
    number: usize,
    /// A byte comes here when it may go on.
    go: File,
}

impl Mold {
    /// Takes over what the arbiter has left in the environment variable `FOREBAY_MOLD`. This
    /// process runs in `python`.
    ///
    /// # Errors
    /// Why it cannot be a mold, in one line.
    pub fn new(task: &str, python: &Path) -> Result<Mold, String> {
        let task = Task::parse(task, python)?;
        let plan = Plan::of(&task.inheritance.options).map_err(text)?;
        let orders = Private::make(|| process::inherited(task.orders).map(Socket::new));
        let orders = orders.map_err(text)?;
        let inherited = task.inheritance.adopt().map_err(text)?;
        log::set_least(plan.process.log_level);
        process::set_name(&format!("mold [{}]", plan.worker.name));
        signals::leave_others().map_err(text)?;
        let deaf = OnceLock::new();
        let pid = std::process::id();
        Ok(Mold { pid, task, plan, orders, inherited, deaf })
    }

    /// The application's name.
    pub fn application(&self) -> &str {
        &self.task.application
    }

    /// Directories with modules, which go before all others, seen from where this process works.
    pub fn pythonpath(&self) -> Vec<PathBuf> {
        let path = self.plan.options.pythonpath.as_deref().unwrap_or_default();
        let entries = path.split([':', ',']).filter(|entry| !entry.is_empty());
        let absolute = |entry: &str| std::path::absolute(entry).unwrap_or_else(|_| entry.into());
        entries.map(absolute).collect()
    }

    /// Whether the application is loaded here, and not by each worker.
    pub fn preloads(&self) -> bool {
        !self.plan.options.no_preload.unwrap_or(false)
    }

    /// Requests that run at the same time in one worker.
    pub fn threads(&self) -> usize {
        self.plan.worker.threads
    }

    /// Whether there is no other worker, and no other thread, that could take a request.
    pub fn is_alone(&self) -> bool {
        self.plan.arbiter.targets.workers == 1 && self.threads() == 1
    }

    /// Whether files that the application answers with are handed over, and not read here.
    pub fn sends_files(&self) -> bool {
        !self.plan.options.no_sendfile.unwrap_or(false)
    }

    /// For a worker that has been told to stop.
    pub fn graceful_timeout(&self) -> Duration {
        self.plan.worker.graceful_timeout
    }

    /// The signals to a worker that somebody may handle for it: one of its requests takes too long;
    /// it will be killed, and may say what it is doing.
    pub fn signals(&self) -> (i32, i32) {
        (signals::interruption(), signals::explanation())
    }

    /// The application's file, if it is named by a path.
    pub fn file(&self) -> Option<&Path> {
        let (path, _) = self.application().rsplit_once(':').unwrap_or((self.application(), ""));
        path.ends_with(".py").then(|| Path::new(path))
    }

    /// Prepares for another program in this process, which is to be a mold with this task, and
    /// does not load the application.
    ///
    /// # Errors
    /// It would not have its descriptors.
    pub fn pass_on(&mut self) -> io::Result<String> {
        self.task.inheritance.options.no_preload = Some(true);
        self.task.keep_on_exec()?;
        self.task.to_text()
    }

    /// Tells the operator why the application is not loaded here after all: `what` it leaves is not
    /// for forks.
    pub fn cannot_share(&self, what: &str) {
        let each = "each worker imports it for itself, as with --no-preload";
        log::warning!("the application has left what workers cannot share, so {each}: {what}");
    }

    /// Whether the application is loaded anew when its sources change.
    pub fn reloads(&self) -> bool {
        self.plan.options.reload.unwrap_or(false)
    }

    /// Tells the arbiter that they have: `file` is one of them.
    pub fn changed(&self, file: &Path) {
        log::info!("{} has changed", file.display());
        self.say(Word::Changed);
    }

    /// Waits until there is something for [`Mold::next`], but no longer than this.
    pub fn wait(&self, timeout: Duration) -> bool {
        wait_readable([self.orders.as_fd()], Some(timeout)).is_ok_and(|[readable]| readable)
    }

    /// Tells the arbiter that workers can be made. From now on this process ends when there are no
    /// more orders, and not by signals that are sent to all.
    pub fn loaded(&self) {
        // Nothing can go wrong: they are signals.
        if let Ok(deaf) = Deaf::new(self.inherited.arbiter) {
            let _ = self.deaf.set(deaf);
        }
        self.say(Word::Loaded);
    }

    /// Waits until a worker is to be made. None: no more.
    pub fn next(&self) -> Option<Order> {
        let (mut number, mut go) = ([0; size_of::<usize>()], None);
        self.orders.take(&mut number, &mut go).ok()?;
        Some(Order { number: usize::from_ne_bytes(number), go: go?.into() })
    }

    /// Tells the arbiter that it could not be made.
    pub fn failed(&self, order: &Order, why: &str) {
        log::error!("cannot fork a worker: {why}");
        self.say(Word::Unborn(order.number));
    }

    /// Processes that are forked from now on have what workers accept from.
    pub fn expose(&self) {
        self.inherited.expose();
    }

    /// They do not, as at first.
    pub fn hide(&self) {
        self.inherited.hide();
    }

    /// Forks, and runs nothing that was registered for that (pthread_atfork(3)): the child's id,
    /// and none in the child, which is to fork anew or to end. For a process of one thread.
    ///
    /// # Errors
    /// There is no room for another process.
    pub fn fork_bare(&self) -> io::Result<Option<u32>> {
        Ok(process::fork_raw()?.map(i32::cast_unsigned))
    }

    /// In a child that is to fork a worker: if that hangs, it ends with the mold.
    ///
    /// # Errors
    /// The mold has ended.
    pub fn follow(&self) -> io::Result<()> {
        process::die_with(self.pid)
    }

    /// Makes this process, which was forked and whose parent was forked for it alone, a worker of
    /// the arbiter, and waits until it may go on.
    ///
    /// # Errors
    /// Nobody wants it any more.
    pub fn join(&self, order: &Order) -> io::Result<()> {
        self.hide();
        self.deaf.get().into_iter().for_each(Deaf::hear);
        process::join(self.inherited.arbiter)?;
        self.say(Word::Born(order.number));
        match (&order.go).read(&mut [0])? {
            0 => Err(io::Error::other("the arbiter does not need it any more")),
            _ => Ok(()),
        }
    }

    /// Works until told to stop: the life of a worker, which ends with this exit code. Each
    /// thread makes its own `service`.
    pub fn work<S: Service>(&self, order: Order, service: impl Fn(Seat) -> S + Sync) -> u8 {
        let (station, source) = match self.take_over(&order) {
            Ok(taken) => taken,
            Err(error) => {
                log::error!("cannot boot: {error}");
                return CANNOT_BOOT;
            }
        };
        if let Some(path) = &self.plan.process.log_file {
            // Standard error is inherited, and good enough if this user may not open the file.
            let _ = log_file::use_file(path);
        }
        drop(order);
        worker::run(&source, &self.plan.worker, station, service)
    }

    fn take_over(&self, order: &Order) -> io::Result<(Station, Source)> {
        let (station, listeners) = self.inherited.station(order.number)?;
        Ok((station, Source::inherited(&self.plan.endpoints, listeners)?))
    }

    fn say(&self, word: Word) {
        if let Ok(words) = self.inherited.words() {
            words.say(word);
        }
    }
}

fn text(error: impl Display) -> String {
    error.to_string()
}
