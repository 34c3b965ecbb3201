//! Serving an edge: dial in, become a slot, answer what comes, say goodbye.
//!
//! Owns the life of the connection to the edge. Must not know requests.

use crate::log;
use crate::private::Private;
use crate::signals::{Stop, end_if_forked};
use crate::socket::{Socket, wait_readable};
use crate::wire::{Exchanger, Outcome, Service, Terms};
use forebay::http::slot::{GOODBYE, UPGRADE};
use forebay::http::{FIELDS_MOST, HeadLimits};
use socket2::{Domain, SockAddr, Type};
use std::fmt::Display;
use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// Serves the edge that listens at `path` until told to stop; dials again when it goes away.
/// `accepted` is called each time the edge has taken us.
pub(crate) fn serve<S: Service + ?Sized>(
    path: &Path,
    service: &S,
    stop: &Stop,
    mut accepted: impl FnMut(),
) {
    let mut exchanger = Exchanger::new(HEAD_BYTES);
    let mut outage = Outage::new(path);
    let at = path.display();
    let no_edge = |why: &dyn Display| format!("no edge at {at}: {why}; dialling until there is");
    loop {
        end_if_forked();
        let outcome = dial(path, stop).map(|slot| {
            accepted();
            outage.is_over();
            serve_slot(&slot, &mut exchanger, service, stop)
        });
        let pause = match outcome {
            Ok(Outcome::Stopped) | Err(DialError::Stopped) => return,
            // A stream whose client has gone costs the slot. Not for want of an edge.
            Ok(Outcome::Last) => Duration::ZERO,
            Ok(_) => outage.begins(&no_edge(&"it has closed the slot")),
            Err(DialError::Unreachable(error)) => outage.begins(&no_edge(&error)),
            Err(DialError::Closed) => outage.begins(&format!(
                "the edge at {at} closes the connection: perhaps this user is not in \
                 `allowed_users` of its pool, or `slots` are taken; dialling until it does not"
            )),
            Err(DialError::Refused(answer)) => {
                outage.begins(&no_edge(&format_args!("it says {answer:?}")))
            }
        };
        let stopped = wait_readable([stop.as_fd()], Some(pause));
        if stopped.is_ok_and(|[stopped]| stopped) {
            return;
        }
    }
}

fn serve_slot<S: Service + ?Sized>(
    slot: &Socket,
    exchanger: &mut Exchanger,
    service: &S,
    stop: &Stop,
) -> Outcome {
    let terms = Terms {
        from_edge: true,
        head: HeadLimits { bytes: HEAD_BYTES, fields: FIELDS_MOST, target_bytes: HEAD_BYTES },
        content_max: u64::MAX,
        header_timeout: None,
        body_timeout: None,
        stop: Some(stop),
        keep_alive: true,
        yields_to: &[],
        peer: None,
        trusts_peer: false,
        logs_access: false,
    };
    let mut has_served = false;
    loop {
        end_if_forked();
        match exchanger.exchange(slot, service, &terms) {
            Outcome::Next => has_served = true,
            Outcome::Nothing => {}
            Outcome::Ended if !has_served => return Outcome::Ended,
            Outcome::Last | Outcome::Lingers | Outcome::Ended => return Outcome::Last,
            Outcome::Stopped => {
                say_goodbye(slot);
                return Outcome::Stopped;
            }
        }
    }
}

fn say_goodbye(slot: &Socket) {
    // An edge that is gone needs none.
    let _ = slot.send_all(&mut [IoSlice::new(GOODBYE)]);
    slot.shutdown_write();
}

enum DialError {
    Stopped,
    Unreachable(io::Error),
    /// Without an answer.
    Closed,
    Refused(String),
}

impl From<io::Error> for DialError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => DialError::Closed,
            _ => DialError::Unreachable(error),
        }
    }
}

fn dial(path: &Path, stop: &Stop) -> Result<Private<Socket>, DialError> {
    let socket = connect(path)?;
    socket.send_all(&mut [IoSlice::new(UPGRADE)])?;
    let answer = receive_head(&socket, stop)?;
    if answer.starts_with(b"HTTP/1.1 101 ") {
        return Ok(socket);
    }
    let line = answer.split(|&byte| byte == b'\r').next().unwrap_or_default();
    Err(DialError::Refused(String::from_utf8_lossy(line).into_owned()))
}

/// Never waits: an edge whose backlog is full is one that cannot be reached.
fn connect(path: &Path) -> io::Result<Private<Socket>> {
    let address = SockAddr::unix(path)?;
    Private::make(|| {
        let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.connect(&address)?;
        socket.set_nonblocking(false)?;
        Ok(Socket::new(socket))
    })
}

/// Takes the answer's head and nothing beyond: the first request may be right behind it.
fn receive_head(socket: &Socket, stop: &Stop) -> Result<Vec<u8>, DialError> {
    let until = Instant::now() + ANSWER_TIMEOUT;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < ANSWER_BYTES {
        let left = until.saturating_duration_since(Instant::now());
        match wait_readable([stop.as_fd(), socket.as_fd()], Some(left))? {
            [true, _] => {
                // The edge may have taken us already, and have sent a request.
                say_goodbye(socket);
                return Err(DialError::Stopped);
            }
            [false, false] => return Err(io::Error::from(ErrorKind::TimedOut).into()),
            [false, true] => {}
        }
        let mut byte = [0];
        if socket.receive(&mut byte)? == 0 {
            return Err(DialError::Closed);
        }
        head.extend_from_slice(&byte);
    }
    Ok(head)
}

/// A time without an edge: told once, and waited out with pauses that grow.
struct Outage<'a> {
    path: &'a Path,
    pauses: u32,
    up_since: Option<Instant>,
}

impl Outage<'_> {
    fn new(path: &Path) -> Outage<'_> {
        Outage { path, pauses: 0, up_since: None }
    }

    fn is_over(&mut self) {
        if self.pauses > 1 {
            log::info!("the edge at {} is back", self.path.display());
        }
        self.up_since = Some(Instant::now());
    }

    /// How long to wait before dialling again; `why` is told.
    fn begins(&mut self, why: &str) -> Duration {
        if self.up_since.take().is_some_and(|since| since.elapsed() > LONGEST_PAUSE) {
            self.pauses = 0;
        }
        self.pauses += 1;
        if self.pauses == 2 {
            log::warning!("{why}");
        }
        let pause = SHORTEST_PAUSE.saturating_mul(1 << (self.pauses - 1).min(16));
        pause.min(LONGEST_PAUSE).mul_f64(jitter())
    }
}

/// From 0.75 to 1.25, so that workers of a restarted edge do not all dial at once.
fn jitter() -> f64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanos = now.map_or(0, |since| since.subsec_nanos()) ^ std::process::id().rotate_left(7);
    0.75 + 0.5 * f64::from(nanos % 1024) / 1024.0
}

/// The edge has its own limit; this one only bounds the buffer.
const HEAD_BYTES: usize = 1 << 20;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_BYTES: usize = 4096;
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
