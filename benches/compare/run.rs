//! One server's turn: start, verify, warm up, measure, end.
//!
//! Owns the order. Must not know configurations.

use crate::Failure;
use crate::fetch;
use crate::load;
use crate::measure::{CLIENT_CORE, SERVER_CORE, core_busy_seconds, cpu_seconds};
use crate::peers::{Place, Server};
use crate::process::Component;
use crate::report::Sample;
use crate::scenario::Scenario;
use sha2::{Digest, Sha256};
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
    pub(crate) fn new() -> Result<Files, Failure> {
        let dir = scratch()?;
        for scenario in Scenario::ALL.iter().filter(|scenario| !scenario.is_proxied()) {
            let name = scenario.path().trim_start_matches('/');
            std::fs::write(dir.path().join(name), scenario.content())?;
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

/// Starts a server, measures it for so many seconds, and ends it.
///
/// # Errors
/// It does not start, or answers wrongly.
pub(crate) fn once(
    server: Server,
    scenario: Scenario,
    seconds: u32,
    files: &Files,
    binaries: &Path,
) -> Result<Sample, Failure> {
    let dir = scratch()?;
    let socket = dir.path().join("app.sock");
    let place = Place {
        scenario,
        dir: dir.path(),
        root: files.dir.path(),
        socket: &socket,
        port: free_port()?,
        binaries,
    };
    let mut stack = Stack::start(server, &place)?;
    stack.wait_until_ready(&place)?;
    for _ in 0..3 {
        verify(&place)?;
    }
    if scenario.transfer().is_none() {
        load::run(scenario, place.port, WARM_UP_SECONDS, dir.path())?;
    }
    let sample = measure(&stack, &place, seconds)?;
    verify(&place)?;
    stack.check()?;
    Ok(sample)
}

fn measure(stack: &Stack, place: &Place<'_>, seconds: u32) -> Result<Sample, Failure> {
    let read = || (stack.cpu_seconds(place.scenario), core_busy_seconds(SERVER_CORE));
    let (process_before, core_before) = read();
    let load = load::run(place.scenario, place.port, seconds, place.dir)?;
    let (process_after, core_after) = read();
    if load.requests == 0 {
        return Err("no request was answered".into());
    }
    let per_unit = |seconds: f64| seconds / (load.requests as f64 * place.scenario.unit().1);
    let process_cpu = per_unit(process_after - process_before);
    let core_busy = per_unit(core_after - core_before);
    Ok(Sample {
        cpu: Sample::counted(place.scenario, process_cpu, core_busy),
        process_cpu,
        core_busy,
        requests_per_second: load.requests as f64 / load.seconds,
        p50_ms: load.p50_ms,
        p99_ms: load.p99_ms,
        errors: load.errors,
    })
}

/// A server and the application behind it, if there is one.
struct Stack {
    // The application outlives nobody: fields are dropped in order.
    front: Component,
    backend: Option<Component>,
}

impl Stack {
    fn start(server: Server, place: &Place<'_>) -> Result<Stack, Failure> {
        let front = || {
            let log = place.dir.join("server.log");
            Component::start(server.name(), SERVER_CORE, &server.command(place)?, log)
        };
        let backend = || {
            let log = place.dir.join("backend.log");
            // What counts as a part of the server has the server's core.
            let core = place.scenario.transfer().map_or(CLIENT_CORE, |_| SERVER_CORE);
            Component::start("the application", core, &server.backend(place)?, log)
        };
        if !place.scenario.is_proxied() {
            return Ok(Stack { front: front()?, backend: None });
        }
        // Whoever listens on the socket comes first.
        if server.is_dialled() {
            let mut front = front()?;
            wait_for_socket(&mut front, place.socket)?;
            return Ok(Stack { front, backend: Some(backend()?) });
        }
        let mut backend = backend()?;
        wait_for_socket(&mut backend, place.socket)?;
        Ok(Stack { front: front()?, backend: Some(backend) })
    }

    /// So far. Of the application, too, if that is part of the server.
    fn cpu_seconds(&self, scenario: Scenario) -> f64 {
        let backend = self.backend.as_ref().filter(|_| scenario.transfer().is_some());
        cpu_seconds(self.front.id()) + backend.map_or(0.0, |backend| cpu_seconds(backend.id()))
    }

    /// # Errors
    /// Something has ended.
    fn check(&mut self) -> Result<(), Failure> {
        self.front.check()?;
        self.backend.as_mut().map_or(Ok(()), Component::check)
    }

    fn wait_until_ready(&mut self, place: &Place<'_>) -> Result<(), Failure> {
        let until = Instant::now() + START_TIMEOUT;
        loop {
            self.check()?;
            match fetch::get(place.port, place.scenario.path()) {
                Ok(answer) if answer.status == 200 => return Ok(()),
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

/// Status, length and content are those of the scenario; files have their validators.
fn verify(place: &Place<'_>) -> Result<(), Failure> {
    let scenario = place.scenario;
    let (answer, expected) = (fetch::get(place.port, scenario.path())?, scenario.content());
    if answer.status != 200 {
        return Err(format!("status {} instead of 200", answer.status).into());
    }
    let length = answer.field("content-length").map(str::to_owned);
    if length != Some(expected.len().to_string()) || answer.content.len() != expected.len() {
        let found = answer.content.len();
        return Err(format!(
            "Content-Length {length:?} and {found} bytes instead of {}",
            expected.len()
        )
        .into());
    }
    if Sha256::digest(&answer.content) != Sha256::digest(&expected) {
        return Err("the content has another SHA-256 than it should".into());
    }
    let has_validators = ["etag", "last-modified"].iter().all(|name| answer.field(name).is_some());
    if !scenario.is_proxied() && !has_validators {
        return Err("a file without ETag or Last-Modified is not a fair comparison".into());
    }
    match scenario.transfer() {
        Some(transfer) => Ok(transfer.verify(place.port)?),
        None => Ok(()),
    }
}

/// Free a moment ago; nobody else is expected to take it.
fn free_port() -> Result<u16, Failure> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

const AGE: Duration = Duration::from_secs(5);
const WARM_UP_SECONDS: u32 = 1;
const START_TIMEOUT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);
