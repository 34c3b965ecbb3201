//! The arbiter: keeps N workers alive. Single-threaded, runs no application code.
//!
//! Owns the loop between [`core`] (decisions) and [`process`] (system calls). Must not know what
//! workers do.

mod backoff;
pub(crate) mod core;
pub(crate) mod process;

use self::core::{Action, Core, End, Event, Pid};
use self::process::{Signal, Signals};
use crate::log;
use crate::socket::wait_readable;
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// How many workers, and how long they may take to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) workers: usize,
    pub(crate) graceful_timeout: Duration,
}

/// A worker's way to say that it can take requests.
#[derive(Debug)]
pub(crate) struct Readiness(Option<PipeWriter>);

impl Readiness {
    /// Says so, the first time.
    pub(crate) fn announce(&mut self) {
        if let Some(mut pipe) = self.0.take() {
            let pid = std::process::id().cast_signed();
            // Without a reader the arbiter is gone, and a signal about that is on its way.
            let _ = pipe.write_all(&pid.to_ne_bytes());
        }
    }
}

/// Runs workers until told to stop, and returns the exit code. `announce` is called when all of
/// them are ready for the first time; `work` is the life of one, in its own process.
pub(crate) fn run(
    settings: Settings,
    announce: impl FnOnce(),
    work: impl Fn(Readiness) -> i32,
) -> io::Result<i32> {
    let supervisor = Supervisor::from_environment()?;
    let signals = Signals::new()?;
    let (ready, worker_ready) = io::pipe()?;
    let shell = Shell { supervisor, signals, ready, worker_ready, work };
    let seed = u64::from(std::process::id()) << 32 | u64::from(subsecond_nanos());
    let core = Core::new(settings.workers, settings.graceful_timeout, seed);
    shell.run(core, announce)
}

struct Shell<W> {
    supervisor: Supervisor,
    signals: Signals,
    ready: PipeReader,
    worker_ready: PipeWriter,
    work: W,
}

impl<W: Fn(Readiness) -> i32> Shell<W> {
    fn run(mut self, mut core: Core, announce: impl FnOnce()) -> io::Result<i32> {
        let mut announce = Some(announce);
        let mut events = vec![Event::Tick];
        loop {
            for event in std::mem::take(&mut events) {
                note(&core, event);
                for action in core.on(event, Instant::now()) {
                    match action {
                        Action::Spawn => events.push(self.spawn()),
                        Action::Signal(pid, kill) => process::signal(pid, kill),
                        Action::Announce => {
                            announce.take().into_iter().for_each(|announce| announce());
                            self.supervisor.tell_ready();
                        }
                        Action::Exit(code) => return Ok(code),
                    }
                }
            }
            if events.is_empty() {
                events = self.wait(core.next_wakeup())?;
            }
        }
    }

    fn spawn(&self) -> Event {
        let ready = self.supervisor.ready.as_ref().map(AsFd::as_fd);
        let fds = [Some(self.signals.as_fd()), Some(self.ready.as_fd()), ready];
        let born = process::fork_worker(fds.into_iter().flatten(), || {
            match self.worker_ready.try_clone() {
                Ok(pipe) => (self.work)(Readiness(Some(pipe))),
                Err(_) => core::CANNOT_BOOT,
            }
        });
        match born {
            Ok(pid) => Event::Spawned(pid),
            Err(error) => {
                log::error!("cannot fork a worker: {error}");
                Event::SpawnFailed
            }
        }
    }

    /// What has happened until `until`, at least a tick.
    fn wait(&mut self, until: Option<Instant>) -> io::Result<Vec<Event>> {
        let timeout = until.map(|at| at.saturating_duration_since(Instant::now()));
        let fds = [self.signals.as_fd(), self.ready.as_fd()];
        let [_, ready] = wait_readable(fds, timeout)?;
        let mut events = vec![Event::Tick];
        if ready {
            let mut pid = [0; size_of::<Pid>()];
            self.ready.read_exact(&mut pid)?;
            events.push(Event::Ready(Pid::from_ne_bytes(pid)));
        }
        let mut child = false;
        while let Some(signal) = self.signals.next() {
            match signal {
                Signal::Child => child = true,
                Signal::Asked(request) => events.push(Event::Asked(request)),
                Signal::Ignored(number) => log::info!("signal {number} has no meaning here"),
            }
        }
        if child {
            events.extend(
                std::iter::from_fn(process::reap).map(|(pid, end)| Event::Exited(pid, end)),
            );
        }
        Ok(events)
    }
}

/// One line for whatever the operator did not ask for.
fn note(core: &Core, event: Event) {
    match event {
        Event::Exited(pid, end) if core.is_worker(pid) && !core.is_leaving(pid) => match end {
            End::Code(code) => log::error!("worker {pid} has exited with code {code}"),
            End::Signal(9) => log::error!("worker {pid} was killed by signal 9, not by us"),
            End::Signal(signal) => log::error!("worker {pid} was killed by signal {signal}"),
        },
        Event::Exited(pid, End::Signal(9)) if core.is_worker(pid) => {
            log::warning!("worker {pid} did not stop in time and was killed");
        }
        Event::Asked(request) => log::info!("{}", describe(request)),
        _ => {}
    }
}

fn describe(request: core::Request) -> &'static str {
    match request {
        core::Request::Stop => "stopping: workers finish their requests",
        core::Request::Quit => "stopping at once",
        core::Request::Reload => "replacing the workers one by one",
        core::Request::More => "one worker more",
        core::Request::Less => "one worker less",
    }
}

/// Whoever started us, if it wants to hear of us.
struct Supervisor {
    ready: Option<File>,
}

impl Supervisor {
    const READY_FD: &str = "FOREBAY_READY_FD";
    const SUPERVISED: &str = "FOREBAY_SUPERVISED";

    fn from_environment() -> io::Result<Supervisor> {
        let variable = |name| std::env::var(name).ok();
        if variable(Self::SUPERVISED).as_deref() == Some("1") {
            process::end_with_parent()?;
        }
        let ready = match variable(Self::READY_FD).map(|text| text.parse()) {
            None => None,
            Some(Ok(fd)) if fd > 2 => Some(File::from(process::inherited(fd)?)),
            Some(_) => return Err(io::Error::other("FOREBAY_READY_FD is not a descriptor")),
        };
        process::forget_environment(&[Self::READY_FD, Self::SUPERVISED]);
        Ok(Supervisor { ready })
    }

    /// Says so, and closes the pipe.
    fn tell_ready(&mut self) {
        if let Some(mut pipe) = self.ready.take() {
            // A supervisor that no longer listens has other sorrows.
            let _ = pipe.write_all(b"READY\n");
        }
    }
}

fn subsecond_nanos() -> u32 {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.subsec_nanos())
}
