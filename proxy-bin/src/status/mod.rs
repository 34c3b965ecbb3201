//! `proxy-bin status`: what a running server tells of itself, and how it is shown.
//!
//! Owns the form of the answer, one JSON document, and the asking. Must not know how a server
//! knows it.

mod table;

use crate::cli;
use crate::config;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, IsTerminal, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A server.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) pid: u32,
    /// `serving`, `draining` or `stopping`.
    pub(crate) state: String,
    pub(crate) uptime_seconds: u64,
    /// Of the configuration: 1 at the start, one more with every reload that was taken over.
    pub(crate) generation: u64,
    pub(crate) reactors: usize,
    /// Where it listens, `IP:PORT`.
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) connections: Connections,
    /// Lines that disk or pipe were too slow for.
    pub(crate) access_log_dropped: u64,
    pub(crate) pools: Vec<PoolStatus>,
    /// All of `forebay::Stats`, by name.
    pub(crate) counters: BTreeMap<String, u64>,
}

/// Client connections now.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Connections {
    pub(crate) open: u64,
    /// Those of them that wait for their next request.
    pub(crate) parked: u64,
}

/// A pool; see `forebay::PoolStats`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PoolStatus {
    /// As in `[pool.NAME]`; not there any more after its removal.
    pub(crate) name: Option<String>,
    pub(crate) socket: String,
    pub(crate) is_routed: bool,
    pub(crate) slots: usize,
    pub(crate) busy: usize,
    pub(crate) idle: usize,
    pub(crate) queued: usize,
    pub(crate) oldest_wait_ms: u64,
    pub(crate) queue_full: u64,
    pub(crate) queue_timeout: u64,
    pub(crate) queue_delay: u64,
    pub(crate) stood: u64,
}

/// Asks a server, and prints what it says.
///
/// # Errors
/// There is none, or it does not answer: lines for people.
pub(crate) fn show(asked: &cli::Status) -> Result<(), Vec<String>> {
    let socket = socket(asked)?;
    let mut text = ask(&socket).map_err(|error| vec![unanswered(&socket, &error)])?;
    if !asked.json {
        let status = serde_json::from_str(&text);
        let status = status.map_err(|error| vec![unanswered(&socket, &error.into())])?;
        let is_coloured = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        text = table::table(&status, is_coloured);
    }
    let written = io::stdout().write_all(text.as_bytes());
    written.map_err(|error| vec![format!("cannot write to standard output: {error}")])
}

fn socket(asked: &cli::Status) -> Result<PathBuf, Vec<String>> {
    let file = match (&asked.socket, &asked.config) {
        (Some(socket), _) => return Ok(socket.clone()),
        (None, Some(file)) => file,
        (None, None) => unreachable!("the command line has one of them"),
    };
    let config = config::read(file)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    let control = config.control.map(|control| control.value);
    control.ok_or_else(|| {
        vec![format!(
            "{}: no `control` in [server]: write control = \"run/forebay.sock\" and send HUP to \
             the server, or name its socket with --socket",
            file.display()
        )]
    })
}

/// What is answered at a control socket, of a worker's arbiter, too.
///
/// # Errors
/// Nobody answers.
pub(crate) fn ask(socket: &Path) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    match text.is_empty() {
        true => Err(ErrorKind::UnexpectedEof.into()),
        false => Ok(text),
    }
}

fn unanswered(socket: &Path, error: &io::Error) -> String {
    let remedy = match error.kind() {
        ErrorKind::PermissionDenied => "ask as the server's user, or as root",
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
            "start it with this path as `control` in [server], or name another one"
        }
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "it is too busy to answer, try again",
        _ => "is that the control socket of proxy-bin, of the same version?",
    };
    format!("no server answers at {}: {error}: {remedy}", socket.display())
}

const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
