//! The control socket: whoever connects is told how the server is.
//!
//! Owns the socket and what is said. Must not know how it is shown: that is `status`.

use super::{Event, RunError, Running, Stop};
use crate::config::Config;
use crate::edge::{self, UnixSocket};
use crate::status::{Connections, PoolStatus, Status};
use crate::users::Identity;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

/// The socket, and a thread that waits at it. Dropped, both end.
pub(super) struct Control {
    path: PathBuf,
    socket: Arc<UnixSocket>,
}

impl Control {
    /// Begins to listen where `config` says, if it does; `None`, too, if the `old` one does.
    pub(super) fn start(
        config: &Config,
        identity: Option<Identity>,
        events: &Sender<Event>,
        old: Option<&Control>,
    ) -> Result<Option<Control>, RunError> {
        let Some(path) = &config.control else { return Ok(None) };
        let old = old.map(|old| &*old.socket);
        let Some(socket) = edge::control(&path.value, identity, old)? else { return Ok(None) };
        let socket = Arc::new(socket);
        let (listener, events) = (Arc::clone(&socket), events.clone());
        let accept = move || accept(&listener, &events);
        let spawned = thread::Builder::new().name("control".into()).spawn(accept);
        spawned.map_err(|error| RunError::System("start a thread", error))?;
        Ok(Some(Control { path: path.value.clone(), socket }))
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.socket.close();
    }
}

/// Until the socket is closed.
fn accept(socket: &UnixSocket, events: &Sender<Event>) {
    loop {
        match socket.accept() {
            Ok(stream) => {
                if events.send(Event::Asked(stream)).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return,
            // Descriptors have run out, or somebody did not wait.
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

impl Running {
    /// The control socket for another configuration; `None`: the one that is there.
    pub(super) fn changed_control(
        &self,
        config: &Config,
    ) -> Result<Option<Option<Control>>, RunError> {
        let wanted = config.control.as_ref().map(|path| &path.value);
        let is_same = wanted == self.control.as_ref().map(|control| &control.path);
        let old = self.control.as_ref().filter(|_| is_same);
        let started = Control::start(config, edge::identity(config)?, &self.events, old)?;
        Ok((!is_same || started.is_some()).then_some(started))
    }

    /// Who takes nothing holds us up only for a moment.
    pub(super) fn answer(&self, mut stream: &UnixStream) {
        let mut text = serde_json::to_vec(&self.status()).expect("it has only text and numbers");
        text.push(b'\n');
        // Who is gone needs no answer.
        let _ = stream.set_write_timeout(Some(PATIENCE));
        let _ = stream.write_all(&text);
    }

    fn status(&self) -> Status {
        let stats = self.handle.stats();
        let state = match self.stop {
            Stop::No => "serving",
            Stop::Drain => "draining",
            Stop::Quick => "stopping",
        };
        let counters = stats.counters().map(|(name, count)| (name.to_owned(), count));
        Status {
            pid: std::process::id(),
            state: state.into(),
            uptime_seconds: Instant::now().duration_since(self.started).as_secs(),
            generation: self.generation,
            reactors: stats.reactors,
            addresses: self.addresses.clone(),
            connections: Connections { open: stats.open(), parked: stats.parked },
            access_log_dropped: self.log.as_ref().map_or(0, edge::AccessLog::dropped),
            pools: stats.pools.iter().map(|pool| self.pool_status(pool)).collect(),
            counters: counters.collect(),
        }
    }

    fn pool_status(&self, pool: &forebay::PoolStats) -> PoolStatus {
        let mut configured = self.config.pools.iter();
        let configured = configured.find(|configured| configured.socket.value == pool.socket);
        PoolStatus {
            name: configured.map(|configured| configured.name.value.clone()),
            socket: pool.socket.display().to_string(),
            is_routed: pool.is_routed,
            slots: pool.slots,
            busy: pool.slots - pool.idle,
            idle: pool.idle,
            queued: pool.queued,
            oldest_wait_ms: u64::try_from(pool.oldest_wait.as_millis()).unwrap_or(u64::MAX),
            queue_full: pool.queue_full,
            queue_timeout: pool.queue_timeout,
            queue_delay: pool.queue_delay,
            stood: pool.stood,
        }
    }
}

const PATIENCE: Duration = Duration::from_millis(200);
/// Before the next try to accept.
const PAUSE: Duration = Duration::from_millis(100);
