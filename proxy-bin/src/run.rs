//! Carries out a configuration: edge, workers and signals, from start to end.
//!
//! Owns the order of starting and stopping. Must not know how the edge or the supervision work.

use crate::config::{Config, Pool};
use crate::edge::{self, EdgeError, Handle, ServeError, Server};
use crate::supervise::{ProgramError, Report, Supervisor, WorkerCommand, find_program};
use crate::sys;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
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

/// Serves until a signal ends it, and everything that it started has ended.
///
/// # Errors
/// The edge or the workers cannot be started, or the edge fails.
pub(crate) fn run(config: &Config) -> Result<(), RunError> {
    if let Err(error) = sys::raise_descriptor_limit() {
        tracing::warn!(%error, "cannot raise the limit of descriptors, it stays as it is");
    }
    let (sender, events) = mpsc::channel();
    watch_signals(sender.clone()).map_err(|e| RunError::System("watch signals", e))?;
    let commands = commands(config)?;
    let server = edge::build(config)?;
    let addresses = server.addresses().to_vec();
    let handle = server.handle();
    let not_ready = commands.iter().map(|command| command.pool.clone()).collect::<BTreeSet<_>>();
    let workers_running = not_ready.len();
    let reports = sender.clone();
    let supervisor = Supervisor::start(commands, move |report| {
        // Nobody listens any more: the end is already decided.
        let _ = reports.send(Event::Workers(report));
    })
    .map_err(|e| RunError::System("start a thread", e))?;
    serve(server, sender).map_err(|e| RunError::System("start a thread", e))?;
    let mut running = Running {
        handle,
        supervisor,
        addresses,
        not_ready,
        is_edge_running: true,
        workers_running,
        stop: Stop::No,
        deadline: None,
        failure: None,
    };
    running.announce_if_ready();
    running.attend(&events);
    running.failure.map_or(Ok(()), Err)
}

enum Event {
    Signal(i32),
    Workers(Report),
    Served(Result<(), RunError>),
}

fn watch_signals(events: Sender<Event>) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGQUIT, SIGHUP])?;
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
        let served = match catch_unwind(AssertUnwindSafe(|| server.run())) {
            Ok(result) => result.map_err(RunError::Serve),
            Err(_) => Err(RunError::Panic),
        };
        let _ = events.send(Event::Served(served));
    };
    thread::Builder::new().name("edge".into()).spawn(serve)?;
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
    supervisor: Supervisor,
    addresses: Vec<SocketAddr>,
    /// Pools whose workers have not been ready yet.
    not_ready: BTreeSet<String>,
    is_edge_running: bool,
    workers_running: usize,
    stop: Stop,
    /// When patience with those who have been told to end is over.
    deadline: Option<Instant>,
    failure: Option<RunError>,
}

impl Running {
    fn attend(&mut self, events: &Receiver<Event>) {
        while self.is_edge_running || self.workers_running > 0 {
            let patience = self
                .deadline
                .map_or(NOTE_EVERY, |deadline| deadline.saturating_duration_since(Instant::now()));
            match events.recv_timeout(patience) {
                Ok(event) => self.on(event),
                Err(RecvTimeoutError::Timeout) if self.deadline.is_none() => self.note(),
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
        }
    }

    fn on(&mut self, event: Event) {
        match event {
            Event::Signal(SIGHUP) => self.supervisor.signal(SIGHUP),
            Event::Signal(SIGTERM) if self.stop == Stop::No => self.drain(),
            Event::Signal(_) => self.end_quickly(),
            Event::Workers(Report::Ready(pool)) => {
                if self.not_ready.remove(&pool) {
                    self.announce_if_ready();
                }
            }
            Event::Workers(Report::StartFailed(message)) => self.fail(RunError::Workers(message)),
            Event::Workers(Report::Ended(_)) => self.workers_running -= 1,
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

    /// Whoever reads this line may send requests: the edge serves and somebody will answer.
    fn announce_if_ready(&mut self) {
        if !self.not_ready.is_empty() || self.stop != Stop::No {
            return;
        }
        let mut lines = String::new();
        for address in &self.addresses {
            lines.push_str(&format!("listening on http://{address}\n"));
        }
        let mut stdout = io::stdout().lock();
        if let Err(error) = stdout.write_all(lines.as_bytes()).and_then(|()| stdout.flush()) {
            self.fail(RunError::System("write to standard output", error));
        }
    }

    fn drain(&mut self) {
        tracing::info!("draining: open requests are finished");
        self.stop = Stop::Drain;
        self.handle.stop();
    }

    /// The edge has drained, so no worker has anything left to do for it.
    fn end_workers(&mut self) {
        self.supervisor.stop(SIGTERM);
        self.deadline = Some(Instant::now() + GRACEFUL);
    }

    fn end_quickly(&mut self) {
        self.stop = Stop::Quick;
        self.handle.stop_now();
        self.supervisor.stop(SIGQUIT);
        let deadline = Instant::now() + QUICK;
        self.deadline = Some(self.deadline.map_or(deadline, |earlier| earlier.min(deadline)));
    }

    /// The first failure is the cause; what follows from it is not told.
    fn fail(&mut self, error: RunError) {
        self.failure.get_or_insert(error);
        self.end_quickly();
    }

    fn note(&self) {
        if !self.not_ready.is_empty() && self.stop == Stop::No {
            let pools: Vec<_> = self.not_ready.iter().map(String::as_str).collect();
            tracing::warn!("still waiting for READY from workers of: {}", pools.join(", "));
        }
    }
}

/// What worker-bin gives requests to finish (30 s), and a margin.
const GRACEFUL: Duration = Duration::from_secs(35);
/// For everybody to end who has been told to end at once.
const QUICK: Duration = Duration::from_secs(5);
/// Between two notes that something is still awaited.
const NOTE_EVERY: Duration = Duration::from_secs(10);
