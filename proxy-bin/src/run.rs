//! Carries out a configuration: edge, workers and signals, from start to end.
//!
//! Owns the order of starting and stopping. Must not know how the edge or the supervision work.

mod control;
mod leaving;
mod reload;

use crate::banner::{self, Reader};
use crate::config::{Config, Pool};
use crate::edge::{self, AccessLog, Builder, EdgeError, Handle, ServeError, Server};
use crate::supervise::{
    CommandId, FirstStart, ProgramError, Report, Supervisor, WorkerCommand, find_program,
};
use crate::users::UserError;
use crate::{notify, sys};
use control::Control;
use leaving::Leaving;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTTIN, SIGTTOU, SIGUSR1};
use signal_hook::iterator::Signals;
use std::collections::BTreeSet;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// Why serving did not begin or did not end well. One line each.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// The edge cannot be built.
    #[error(transparent)]
    Edge(#[from] EdgeError),
    /// The edge stopped by itself.
    #[error("the edge stopped: {0}")]
    Serve(#[from] ServeError),
    /// The edge's thread panicked; the panic's message is above.
    #[error("the edge stopped by a panic, please report it")]
    Panic,
    /// Whose process it is to be.
    #[error(transparent)]
    User(#[from] UserError),
    /// A program that is not there.
    #[error("workers of pool `{pool}`: {error}")]
    Program { pool: String, error: ProgramError },
    /// Workers that do not start.
    #[error("{0}")]
    Workers(String),
    /// No thread, no signal handler, no standard output.
    #[error("cannot {0}: {1}")]
    System(&'static str, io::Error),
}

/// What is served besides the configuration, after every reload, too.
pub(crate) type More = Arc<dyn Fn(Builder) -> Builder + Send + Sync>;

/// Nothing.
pub(crate) fn no_more() -> More {
    Arc::new(|edge| edge)
}

/// What the signal HUP means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hangup {
    /// The configuration is to be read again.
    Reloads,
    /// The terminal is gone, and with it whoever was to see this.
    Ends,
}

/// Serves until a signal ends it, and everything that it started has ended.
///
/// # Errors
/// The edge or the workers cannot be started, or the edge fails.
pub(crate) fn run(config: Config, more: More, hangup: Hangup) -> Result<(), RunError> {
    raise_descriptor_limit(config.limits.connections);
    sys::survive_large_files();
    let (sender, events) = mpsc::channel();
    watch_signals(sender.clone()).map_err(|e| RunError::System("watch signals", e))?;
    let commands = commands(&config)?;
    let log = edge::open_log(&config)?;
    let edge = more(edge::describe(&config, log.clone())?);
    let server = edge.build().map_err(EdgeError::from)?;
    let identity = edge::identity(&config)?;
    let control = Control::start(&config, identity, &sender, None)?;
    // Bound and opened; what comes now, threads and workers, needs no privileges.
    if let Some(identity) = identity {
        edge::assume(identity, &config)?;
    }
    let reports = sender.clone();
    let mut supervisor = Supervisor::new(move |report| {
        // Nobody listens any more: the end is already decided.
        let _ = reports.send(Event::Workers(report));
    });
    let mut not_ready = BTreeSet::new();
    for command in commands {
        let started = supervisor.start(command, FirstStart::MustSucceed);
        not_ready.insert(started.map_err(|e| RunError::System("start a thread", e))?);
    }
    let mut running = Running {
        handle: server.handle(),
        events: sender.clone(),
        supervisor,
        addresses: server.addresses().to_vec(),
        config,
        more,
        hangup,
        generation: 1,
        log,
        control,
        not_ready,
        leaving: Leaving::default(),
        is_serving: false,
        is_announced: false,
        is_edge_running: true,
        stop: Stop::No,
        deadline: None,
        started: Instant::now(),
        noted: Instant::now(),
        failure: None,
    };
    serve(server, sender).map_err(|e| RunError::System("start a thread", e))?;
    running.attend(&events);
    running.failure.map_or(Ok(()), Err)
}

/// Without descriptors nobody is let in, and workers cannot dial in either.
fn raise_descriptor_limit(connections: usize) {
    match sys::raise_descriptor_limit() {
        Ok(limit) if limit < connections as u64 => tracing::warn!(
            "`connections` is {connections}, but this process may have {limit} descriptors: raise \
             the hard limit (`ulimit -Hn`, `LimitNOFILE=`), or lower `connections`"
        ),
        Ok(_) => {}
        Err(error) => {
            tracing::warn!(%error, "cannot raise the limit of descriptors, it stays as it is");
        }
    }
}

enum Event {
    Signal(i32),
    Workers(Report),
    /// Somebody asks for the status.
    Asked(UnixStream),
    /// Clients are served from now on.
    Serving,
    /// That has been said on standard output, or could not be.
    Announced(io::Result<()>),
    Served(Result<(), RunError>),
}

fn watch_signals(events: Sender<Event>) -> io::Result<()> {
    // With a handler CHLD is not ignored, as whoever started us may have had it: ended processes
    // would be gone before anybody has asked how they ended.
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGCHLD, SIGTTIN])?;
    // A terminal sends it, without end, until who writes in the background is stopped (termios(3)).
    if !io::stdout().is_terminal() && !io::stderr().is_terminal() {
        signals.add_signal(SIGTTOU)?;
    }
    sys::unblock_signals()?;
    let forward = move || {
        for signal in signals.forever() {
            if events.send(Event::Signal(signal)).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("signals".into()).spawn(forward)?;
    Ok(())
}

/// gunicorn's signals for one worker more, one less. Their default is to stop the process, which
/// nobody wants who tries them here (signal(7)).
fn tell_where_workers_are_set(signal: i32) {
    let name = if signal == SIGTTIN { "TTIN" } else { "TTOU" };
    tracing::info!(
        "{name} changes nothing: `workers` of [pool.NAME] says how many there are, and HUP reads it"
    );
}

fn commands(config: &Config) -> Result<Vec<WorkerCommand>, RunError> {
    let command = |pool: &Pool| {
        let written = pool.workers.as_ref()?;
        let argv: Vec<_> = written.iter().map(|word| word.value.clone()).collect();
        let name = pool.name.value.clone();
        Some(match find_program(&argv[0], &config.directory) {
            Ok(program) => Ok(WorkerCommand {
                pool: name,
                program,
                argv,
                socket: pool.socket.value.clone(),
                directory: config.directory.clone(),
            }),
            Err(error) => Err(RunError::Program { pool: name, error }),
        })
    };
    config.pools.iter().filter_map(command).collect()
}

fn serve(server: Server, events: Sender<Event>) -> io::Result<()> {
    let serve = move || {
        let begun = || drop(events.send(Event::Serving));
        let served = match catch_unwind(AssertUnwindSafe(|| server.run_and(begun))) {
            Ok(result) => result.map_err(RunError::Serve),
            Err(_) => Err(RunError::Panic),
        };
        let _ = events.send(Event::Served(served));
    };
    thread::Builder::new().name("edge".into()).spawn(serve)?;
    Ok(())
}

/// Nobody waits for standard output: the access log may be waiting there already, for whoever is
/// to read it.
fn announce(text: String, events: Sender<Event>) -> io::Result<()> {
    let write = move || {
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
        let _ = events.send(Event::Announced(written));
    };
    thread::Builder::new().name("announce".into()).spawn(write)?;
    Ok(())
}

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    No,
    /// Requests are finished first, then the workers are told.
    Drain,
    /// Everybody has been told to end at once.
    Quick,
}

struct Running {
    handle: Handle,
    events: Sender<Event>,
    supervisor: Supervisor,
    addresses: Vec<SocketAddr>,
    /// What is served.
    config: Config,
    more: More,
    hangup: Hangup,
    /// How many configurations have been in force.
    generation: u64,
    log: Option<AccessLog>,
    control: Option<Control>,
    /// Commands whose workers have not been ready yet.
    not_ready: BTreeSet<CommandId>,
    /// Commands that the configuration does not have any more.
    leaving: Leaving,
    /// All parts of the edge have begun.
    is_serving: bool,
    /// It has been said that it serves.
    is_announced: bool,
    is_edge_running: bool,
    stop: Stop,
    /// When patience with those who have been told to end is over.
    deadline: Option<Instant>,
    started: Instant,
    /// When something began to be awaited, or it was last looked whether to say so.
    noted: Instant,
    failure: Option<RunError>,
}

impl Running {
    fn attend(&mut self, events: &Receiver<Event>) {
        while self.is_edge_running || !self.supervisor.is_empty() {
            match events.recv_timeout(self.patience()) {
                Ok(event) => self.on(event),
                Err(RecvTimeoutError::Timeout) if self.deadline.is_none() => {}
                Err(_) if self.is_edge_running && self.stop == Stop::Drain => {
                    tracing::warn!("`drain_timeout` is over, open requests are cut off");
                    self.end_quickly();
                }
                Err(_) if self.is_edge_running => {
                    tracing::error!("the edge does not end, it is abandoned");
                    return;
                }
                Err(_) => {
                    tracing::warn!("workers do not end, they are killed");
                    self.supervisor.kill();
                    self.deadline = Some(Instant::now() + NOTE_EVERY);
                }
            }
            self.note();
            self.let_go();
        }
    }

    fn patience(&self) -> Duration {
        match self.deadline {
            Some(deadline) => deadline.saturating_duration_since(Instant::now()),
            None if self.leaving.is_empty() => NOTE_EVERY.saturating_sub(self.noted.elapsed()),
            None => LOOK_EVERY,
        }
    }

    fn on(&mut self, event: Event) {
        match event {
            Event::Signal(SIGHUP) if self.hangup == Hangup::Reloads => {
                if self.stop == Stop::No {
                    self.reload();
                }
            }
            Event::Signal(SIGUSR1) => self.reopen_logs(),
            Event::Signal(signal @ (SIGTTIN | SIGTTOU)) => tell_where_workers_are_set(signal),
            // The kernel gives orphans to the first thread, this one, if we are process 1 of a
            // container. What we have started ourselves has another thread for its parent.
            Event::Signal(SIGCHLD) => sys::reap_children_of_this_thread(),
            Event::Signal(SIGTERM) if self.stop == Stop::No => self.drain(),
            Event::Signal(_) => self.end_quickly(),
            Event::Asked(stream) => self.answer(&stream),
            Event::Serving => {
                self.is_serving = true;
                self.announce_if_ready();
            }
            Event::Announced(Ok(())) => {}
            Event::Announced(Err(error)) => {
                self.fail(RunError::System("write to standard output", error));
            }
            Event::Workers(Report::Ready(id)) => self.on_settled(id),
            Event::Workers(Report::StartFailed(id, message)) if self.leaving.has(id) => {
                tracing::warn!("{message}; the configuration does not have it any more");
            }
            Event::Workers(Report::StartFailed(_, message)) => {
                self.fail(RunError::Workers(message));
            }
            Event::Workers(Report::Ended(id)) => {
                self.supervisor.remove(id);
                self.on_settled(id);
            }
            Event::Served(result) => {
                self.is_edge_running = false;
                match result {
                    Ok(()) if self.stop != Stop::Quick => self.end_workers(),
                    Ok(()) => {}
                    Err(error) => self.fail(error),
                }
            }
        }
    }

    /// A command is ready, or has ended: it is not waited for.
    fn on_settled(&mut self, id: CommandId) {
        if self.not_ready.remove(&id) {
            self.announce_if_ready();
        }
    }

    fn reopen_logs(&self) {
        if let Some(log) = &self.log {
            log.reopen();
        }
        self.supervisor.signal(SIGUSR1);
    }

    /// Whoever reads this line may send requests: the edge serves and somebody will answer.
    fn announce_if_ready(&mut self) {
        let is_awaited = !self.is_serving || !self.not_ready.is_empty();
        if self.is_announced || is_awaited || self.stop != Stop::No {
            return;
        }
        self.is_announced = true;
        let facts = banner::Facts {
            addresses: &self.addresses,
            configuration: &self.config.file,
            reactors: self.handle.stats().reactors,
            pid: std::process::id(),
        };
        let text = banner::text(&facts, Reader::of(io::stdout().is_terminal()));
        match announce(text, self.events.clone()) {
            Ok(()) => self.tell_supervisor("READY=1"),
            Err(error) => self.fail(RunError::System("start a thread", error)),
        }
    }

    /// Nothing hangs on it: who has not been told waits, and says so.
    fn tell_supervisor(&self, what: &str) {
        if let Err(error) = notify::notify(what) {
            tracing::warn!(%error, "cannot tell NOTIFY_SOCKET {what}");
        }
    }

    fn drain(&mut self) {
        tracing::info!("draining: open requests are finished");
        self.tell_supervisor("STOPPING=1");
        self.stop = Stop::Drain;
        // One that no clock reaches is none.
        self.deadline = self.config.drain_timeout.and_then(|t| Instant::now().checked_add(t));
        self.handle.stop();
    }

    /// The edge has drained, so no worker has anything left to do for it.
    fn end_workers(&mut self) {
        self.supervisor.stop(SIGTERM);
        self.deadline = Some(Instant::now() + GRACEFUL);
    }

    fn end_quickly(&mut self) {
        // That of draining is over with it.
        let is_draining = self.stop == Stop::Drain && self.is_edge_running;
        let earlier = self.deadline.filter(|_| !is_draining);
        self.stop = Stop::Quick;
        self.handle.stop_now();
        self.supervisor.stop(SIGQUIT);
        let deadline = Instant::now() + QUICK;
        self.deadline = Some(earlier.map_or(deadline, |earlier| earlier.min(deadline)));
    }

    /// The first failure is the cause; what follows from it is not told.
    fn fail(&mut self, error: RunError) {
        self.failure.get_or_insert(error);
        self.end_quickly();
    }

    fn note(&mut self) {
        if self.noted.elapsed() < NOTE_EVERY {
            return;
        }
        self.noted = Instant::now();
        if !self.not_ready.is_empty() && self.stop == Stop::No {
            let pools = self.not_ready.iter().filter_map(|id| self.supervisor.pool(*id));
            let pools: BTreeSet<_> = pools.collect();
            let pools = pools.into_iter().collect::<Vec<_>>().join(", ");
            tracing::warn!("still waiting for READY from workers of: {pools}");
        }
    }
}

/// What worker-bin gives requests to finish (30 s), and a margin.
const GRACEFUL: Duration = Duration::from_secs(35);
/// For everybody to end who has been told to end at once.
const QUICK: Duration = Duration::from_secs(5);
/// Between two notes that something is still awaited.
const NOTE_EVERY: Duration = Duration::from_secs(10);
/// Between two looks whether commands that are not wanted any more can go.
const LOOK_EVERY: Duration = Duration::from_millis(50);
