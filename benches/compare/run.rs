//! One server's turn: start, verify, warm up, measure, end.
//!
//! Owns the order, and the processes. Must not know configurations.

use crate::case::{Case, Doing, Site};
use crate::front::Front;
use crate::measure::{ALL_CORES, CLIENT_CORES, SERVER_CORES, Used};
use crate::process::{Component, raise_descriptor_limit};
use crate::report::Sample;
use crate::server::{BARE, Place, Server};
use crate::{Failure, cold, fetch, idle, mixed, overload, reload, scaling, statics};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The files that all servers serve.
pub(crate) struct Files {
    dir: TempDir,
    since: Instant,
}

impl Files {
    /// # Errors
    /// No room for what these cases need.
    pub(crate) fn new(cases: &[&Case]) -> Result<Files, Failure> {
        let dir = scratch()?;
        statics::write_files(dir.path())?;
        if cases.iter().any(|case| matches!(case.doing, Doing::Cold(_))) {
            cold::write_files(dir.path())?;
        }
        Ok(Files { dir, since: Instant::now() })
    }

    /// Waits until they are files like most: a server may look again and again at one that was
    /// changed so lately that a second change would not show in its times, as ours does.
    pub(crate) fn age(&self) {
        sleep(AGE.saturating_sub(self.since.elapsed()));
    }
}

fn scratch() -> io::Result<TempDir> {
    tempfile::Builder::new().prefix("forebay-compare-").tempdir()
}

/// Starts a server, measures it for so long, and ends it.
///
/// # Errors
/// It does not start, or answers wrongly.
pub(crate) fn once(
    server: Server,
    case: &'static Case,
    time: Duration,
    files: &Files,
    binaries: &Path,
) -> Result<Sample, Failure> {
    raise_descriptor_limit(case.doing.descriptors())?;
    let dir = scratch()?;
    let socket = dir.path().join("app.sock");
    let root = files.dir.path();
    let place = Place {
        case,
        server,
        dir: dir.path(),
        root,
        socket: &socket,
        port: free_port()?,
        binaries,
    };
    let mut stack = Stack::start(&place)?;
    stack.wait_until_ready(&place)?;
    let sample = match &case.doing {
        Doing::Exchange(exchange) => {
            let (load, used) = exchange.measure(&stack, &place, time)?;
            Sample::new(case, &load, &used)
        }
        Doing::Transfer(transfer) => {
            let (load, used) = transfer.measure(&stack, &place, time)?;
            Sample::new(case, &load, &used)
        }
        Doing::Cold(exchange) => {
            let (beside, cold) = cold::measure(exchange, &stack, &place, time)?;
            beside
                .sample(case)
                .with("cold MiB/s", cold.rate())
                .with("cold errors", cold.errors as f64)
        }
        Doing::Slow(slow) => {
            let (beside, closed) = slow.measure(&stack, &place, time)?;
            beside.sample(case).with("slow clients lost", closed as f64)
        }
        Doing::Idle => {
            let (beside, each) = idle::measure(&stack, &place, time)?;
            beside
                .sample(case)
                .with("idle", each.count as f64)
                .with("bytes of processes", each.processes)
                .with("bytes of the kernel", each.kernel)
                .with("both", each.processes + each.kernel)
                .with("bytes of the sockets", each.sockets)
                .with("idle clients lost", each.lost as f64)
        }
        Doing::Overload(arrivals) => overload::measure(arrivals, &stack, &place, time)?,
        Doing::Mixed(arrivals) => mixed::measure(arrivals, &stack, &place, time)?,
        Doing::Reload(arrivals) => reload::measure(arrivals, &stack, &place, time)?,
        Doing::Scaling(exchange) => scaling::measure(exchange, &stack, &place, time)?,
    };
    stack.check()?;
    Ok(sample)
}

/// A server and the application behind it, if there is one.
pub(crate) struct Stack {
    // The application outlives nobody: fields are dropped in order.
    front: Component,
    application: Option<Component>,
    site: Site,
}

impl Stack {
    fn start(place: &Place<'_>) -> Result<Stack, Failure> {
        let (site, server) = (place.case.site, place.server);
        let front = || {
            let log = place.dir.join("server.log");
            let cores = if server.threads == 1 { SERVER_CORES } else { ALL_CORES };
            Component::start(server.name, cores, &server.front.command(place)?, log)
        };
        let application = || {
            let log = place.dir.join("application.log");
            let is_counted = matches!(site, Site::Whole { .. });
            let cores = if is_counted { SERVER_CORES } else { CLIENT_CORES };
            let command = server.application.command(place)?;
            Component::start("the application", cores, &command, log)
        };
        if site == Site::Files || server.front == Front::None {
            return Ok(Stack { front: front()?, application: None, site });
        }
        // Whoever listens on the socket comes first.
        if server.is_dialled() {
            let mut front = front()?;
            wait_for_socket(&mut front, place.socket)?;
            return Ok(Stack { front, application: Some(application()?), site });
        }
        let mut application = application()?;
        wait_for_socket(&mut application, place.socket)?;
        Ok(Stack { front: front()?, application: Some(application), site })
    }

    /// So far. By the application, too, if that is part of the server.
    pub(crate) fn used(&self) -> Used {
        let application =
            self.application.as_ref().filter(|_| matches!(self.site, Site::Whole { .. }));
        Used::so_far([&self.front].into_iter().chain(application).map(Component::id))
    }

    /// The process that clients talk to, which leads all that the front has.
    pub(crate) fn front(&self) -> u32 {
        self.front.id()
    }

    /// # Errors
    /// It cannot be signalled.
    pub(crate) fn reload_front(&self, server: Server) -> Result<(), Failure> {
        self.front.ask_to_reload(server.front.reload_signal())
    }

    /// # Errors
    /// There is none, or it cannot be signalled.
    pub(crate) fn reload_application(&self) -> Result<(), Failure> {
        let application = self.application.as_ref().ok_or("there is no application")?;
        application.ask_to_reload(libc::SIGHUP)
    }

    /// # Errors
    /// Something has ended.
    fn check(&mut self) -> Result<(), Failure> {
        self.front.check()?;
        self.application.as_mut().map_or(Ok(()), Component::check)
    }

    fn wait_until_ready(&mut self, place: &Place<'_>) -> Result<(), Failure> {
        let path = if place.case.site == Site::Files { "/1k.txt" } else { "/hello" };
        let until = Instant::now() + START_TIMEOUT;
        loop {
            self.check()?;
            match fetch::get(place.port, path, "") {
                // One of them may have no such answer.
                Ok(answer) if answer.status == 200 || place.server == BARE => return Ok(()),
                _ if Instant::now() < until => sleep(POLL),
                Ok(answer) => {
                    let said = self.front.output();
                    return Err(format!("answers {} only: {said}", answer.status).into());
                }
                Err(error) => {
                    let said = self.front.output();
                    return Err(format!("does not answer ({error}): {said}").into());
                }
            }
        }
    }
}

fn wait_for_socket(listener: &mut Component, socket: &Path) -> Result<(), Failure> {
    let until = Instant::now() + START_TIMEOUT;
    while !socket.exists() {
        listener.check()?;
        if Instant::now() > until {
            return Err(format!("no socket at {}", socket.display()).into());
        }
        sleep(POLL);
    }
    Ok(())
}

/// Free a moment ago; nobody else is expected to take it.
fn free_port() -> Result<u16, Failure> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

const AGE: Duration = Duration::from_secs(5);
const START_TIMEOUT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);
