//! Tells the page how the server is, and does what its buttons ask for.
//!
//! Owns the addresses below `/demo/` and who may use them. Must not know how the page looks.
//! Handlers run on reactors and must not wait, so a thread of its own asks, kills and answers.

use super::visitors::Visitors;
use super::witness::Witness;
use crate::edge::{Builder, Reply, Request, Response};
use crate::status::{self, Status};
use crate::sys;
use serde_json::{Value, json};
use signal_hook::consts::SIGKILL;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

/// What answers below `/demo/`.
pub(super) struct Desk {
    requests: Sender<(Request, Reply)>,
    may_act: bool,
}

impl Desk {
    /// For the server whose control sockets are in `directory`. Without `may_act` it only tells.
    ///
    /// # Errors
    /// No thread.
    pub(super) fn start(directory: &Path, may_act: bool) -> io::Result<Desk> {
        let (requests, taken) = mpsc::channel();
        let clerk = Clerk {
            edge: directory.join("edge.sock"),
            workers: directory.join("worker.sock"),
            may_act,
            visitors: Visitors::default(),
            witness: Witness::start()?,
        };
        thread::Builder::new().name("desk".into()).spawn(move || clerk.attend(&taken))?;
        Ok(Desk { requests, may_act })
    }

    /// The edge with these routes more.
    pub(super) fn routes(&self, edge: Builder) -> Builder {
        let mut paths = vec![STATE];
        if self.may_act {
            paths.extend([SLOW, DRIP, CROWD, KILL]);
        }
        paths.into_iter().fold(edge, |edge, path| {
            let requests = self.requests.clone();
            edge.route(path, move |request: Request, reply: Reply| {
                // Dropped, it is answered 500: the desk has ended by a panic.
                let _ = requests.send((request, reply));
            })
        })
    }
}

struct Clerk {
    edge: PathBuf,
    workers: PathBuf,
    may_act: bool,
    visitors: Visitors,
    witness: Witness,
}

/// A status and what to say with it.
type Answer = (u16, Value);

impl Clerk {
    fn attend(&self, requests: &Receiver<(Request, Reply)>) {
        for (request, reply) in requests {
            let (status, value) = self.answer(&request).unwrap_or_else(|error| {
                (503, json!({ "error": format!("the server does not answer: {error}") }))
            });
            reply.send(response(status, &value));
        }
    }

    fn answer(&self, request: &Request) -> io::Result<Answer> {
        let status: Status = serde_json::from_str(&status::ask(&self.edge)?)?;
        let address = status.addresses[0];
        if request.path() == STATE {
            self.witness.look(address);
            return self.state(&status).map(|state| (200, state));
        }
        if request.method() != "POST" || !is_from_our_page(request) {
            return Ok((403, json!({ "error": "only for buttons of the page" })));
        }
        match request.path() {
            SLOW => Ok(taken(self.visitors.slow(address))),
            DRIP => Ok(taken(self.visitors.drip(address))),
            CROWD => Ok(taken(self.visitors.crowd(address))),
            KILL => self.kill(),
            _ => Ok((404, json!({ "error": "no such button" }))),
        }
    }

    fn state(&self, status: &Status) -> io::Result<Value> {
        // While the arbiter starts it cannot be asked yet.
        let workers: Option<Value> =
            status::ask(&self.workers).ok().map(|text| serde_json::from_str(&text)).transpose()?;
        Ok(json!({
            "may_act": self.may_act,
            "edge": status,
            "workers": workers,
            "visitors": self.visitors.counts(),
            "others": self.witness.seen(),
        }))
    }

    /// The worker that is busiest: killing one that idles shows too little.
    fn kill(&self) -> io::Result<Answer> {
        let status: Value = serde_json::from_str(&status::ask(&self.workers)?)?;
        let workers = status["workers"].as_array().cloned().unwrap_or_default();
        let is_busy = |worker: &&Value| worker["current"].as_array().is_some_and(|c| !c.is_empty());
        let Some(victim) = workers.iter().find(is_busy).or(workers.first()) else {
            return Ok((409, json!({ "error": "there is no worker just now" })));
        };
        let (arbiter, pid) = (number(&status["pid"]), number(&victim["pid"]));
        kill_child(arbiter, pid)?;
        Ok((200, json!({ "killed": pid, "busy": is_busy(&victim) })))
    }
}

/// A number may pass from a dead process to a new one, a descriptor does not: it is opened first,
/// then it is made sure whose it is.
fn kill_child(parent: u32, pid: u32) -> io::Result<()> {
    let process = sys::pidfd(pid)?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may contain anything (proc_pid_stat(5)).
    let parent_now = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1));
    if parent_now.and_then(|pid| pid.parse().ok()) != Some(parent) {
        return Err(io::Error::from(io::ErrorKind::NotFound));
    }
    sys::kill_exactly(process.as_fd(), SIGKILL)
}

fn number(value: &Value) -> u32 {
    value.as_u64().and_then(|number| u32::try_from(number).ok()).unwrap_or_default()
}

fn taken(is_taken: bool) -> Answer {
    match is_taken {
        true => (200, json!({})),
        false => (409, json!({ "error": "there are enough of them already" })),
    }
}

/// Another site's page cannot send this field without asking first (CORS), and its name does not
/// lead to this machine.
fn is_from_our_page(request: &Request) -> bool {
    let text = |name| request.field(name).and_then(|value| std::str::from_utf8(value).ok());
    let host = text("Host").unwrap_or_default();
    let is_here = match host.parse::<SocketAddr>() {
        Ok(address) => address.ip().is_loopback(),
        Err(_) => {
            let name = host.split_once(':').map_or(host, |(name, _)| name);
            name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
        }
    };
    is_here && text("X-Forebay-Demo") == Some("1")
}

fn response(status: u16, value: &Value) -> Response {
    let response = Response::new(value.to_string()).with_status(status).and_then(|response| {
        response
            .with_field("Content-Type", "application/json")
            .and_then(|response| response.with_field("Cache-Control", "no-store"))
    });
    response.expect("status and fields are ours, and right")
}

/// Where the page asks.
pub(super) const STATE: &str = "/demo/state";
const SLOW: &str = "/demo/slow";
const DRIP: &str = "/demo/drip";
const CROWD: &str = "/demo/crowd";
const KILL: &str = "/demo/kill";
