//! The description of a server, and the making of it.

use super::error::BuildError;
use super::pool_socket::PoolSocket;
use super::{BoundPool, Server, listen, spool_dir};
use crate::access_log::AccessLog;
use crate::files::Files;
use crate::handler::{Handler, Response};
use crate::http;
use crate::io;
use crate::limits::Limits;
use crate::pool::{PoolCore, PoolLimits};
use crate::reactor::{Mailbox, Shared};
use crate::route::{Action, Policy, Redirect};
use crate::stats::Counters;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Describes a server; see [`Server::builder`].
#[derive(Default)]
pub struct Builder {
    addresses: Vec<String>,
    reactors: usize,
    limits: Limits,
    spool_dir: Option<PathBuf>,
    routes: Vec<Route>,
    log: Option<AccessLog>,
}

struct Route {
    host: Option<String>,
    path: String,
    target: Target,
}

/// What answers the requests of a route. Made from [`Files`], [`Pool`], a [`Handler`], a
/// [`Response`] or a [`Redirect`] by `into()`.
pub struct Target(Kind);

enum Kind {
    Files(Files),
    Pool(Pool),
    Handler(Arc<dyn Handler>),
    Fixed(Response),
    Redirect(Redirect),
}

/// A pool of workers that dial in at one Unix socket. Routes that name the same socket share the
/// pool; the first one's settings count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    socket: PathBuf,
    limits: PoolLimits,
}

impl Pool {
    /// The pool whose workers dial in at `socket`, which the server makes.
    ///
    /// # Defaults
    /// `queue` 1,000 requests; `queue_timeout` 10 s; `queue_target` 100 ms; `deadline` 60 s;
    /// `boot_grace` 10 s.
    pub fn at(socket: impl Into<PathBuf>) -> Pool {
        Pool { socket: socket.into(), limits: PoolLimits::default() }
    }

    /// How many requests may wait for a worker. More are answered 503 at once.
    pub fn queue(mut self, requests: usize) -> Pool {
        self.limits.queue = requests;
        self
    }

    /// How long a request may wait for a worker. Then it is answered 503.
    pub fn queue_timeout(mut self, timeout: Duration) -> Pool {
        self.limits.queue_timeout = timeout;
        self
    }

    /// How long requests may wait before the queue counts as long. A queue that is long and does
    /// not get shorter for a while *stands*: more comes than the workers can do. Until it is short
    /// again, the newest request goes first, and whoever has waited three times this target is
    /// answered 503; so most answers are in time, instead of all being late. A queue with at most
    /// one request per worker is never long. `Duration::MAX`: only `queue_timeout` counts.
    pub fn queue_target(mut self, target: Duration) -> Pool {
        self.limits.queue_target = target;
        self
    }

    /// How long a worker may take to begin its response, and between two pieces of it. Then the
    /// request is answered 504, or the begun response is cut off.
    pub fn deadline(mut self, deadline: Duration) -> Pool {
        self.limits.deadline = deadline;
        self
    }

    /// How long a request waits while the pool has no worker at all, if that is less than
    /// `queue_timeout`.
    pub fn boot_grace(mut self, grace: Duration) -> Pool {
        self.limits.boot_grace = grace;
        self
    }

    /// Where its workers dial in.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Builder {
    /// An address to listen on, `IP:PORT`; port 0 takes a free one. May be repeated.
    pub fn listen(mut self, address: impl Into<String>) -> Builder {
        self.addresses.push(address.into());
        self
    }

    /// How many reactors; 0, the default, means one per core that this process may use.
    pub fn reactors(mut self, count: usize) -> Builder {
        self.reactors = count;
        self
    }

    /// Bounds and timeouts.
    pub fn limits(mut self, limits: Limits) -> Builder {
        self.limits = limits;
        self
    }

    /// The directory of the spool files, which take what is too large for memory: content of
    /// requests above `content_memory`, and what clients have not taken of responses above
    /// `response_memory`. The files have no names and go with their requests. Default: `/var/tmp`;
    /// a file system in memory would be no gain.
    pub fn spool_dir(mut self, directory: impl Into<PathBuf>) -> Builder {
        self.spool_dir = Some(directory.into());
        self
    }

    /// Answers requests whose path begins with `path`, a prefix that matches on segment
    /// boundaries. The longest one wins.
    pub fn route(self, path: impl Into<String>, target: impl Into<Target>) -> Builder {
        self.add(None, path.into(), target.into())
    }

    /// Like [`Builder::route`], for one host only. Such routes come before those for any host.
    pub fn route_for_host(
        self,
        host: impl Into<String>,
        path: impl Into<String>,
        target: impl Into<Target>,
    ) -> Builder {
        self.add(Some(host.into()), path.into(), target.into())
    }

    /// Logs every answered request.
    pub fn access_log(mut self, log: AccessLog) -> Builder {
        self.log = Some(log);
        self
    }

    /// Checks everything, binds the addresses and the pools' sockets.
    ///
    /// # Errors
    /// One line that says what is wrong and what to do; nothing stays bound.
    pub fn build(self) -> Result<Server, BuildError> {
        if self.addresses.is_empty() {
            return Err(BuildError::NoAddress);
        }
        check(&self.limits)?;
        io::probe()?;
        let spool_dir = self.spool_dir.unwrap_or_else(|| spool_dir::DEFAULT.into());
        let spool_dir = spool_dir::check(&spool_dir)?;
        let count = match self.reactors {
            0 => core_affinity::get_core_ids().map_or(1, |cores| cores.len().max(1)),
            count => count,
        };
        let resolved = resolve(self.routes)?;
        let mut addresses = Vec::new();
        let mut listeners: Vec<Vec<_>> = (0..count).map(|_| Vec::new()).collect();
        for address in &self.addresses {
            let (bound, of_reactors) = listen::bind(address, count)?;
            addresses.push(bound);
            for (mine, listener) in listeners.iter_mut().zip(of_reactors) {
                mine.push(listener);
            }
        }
        let shared = Shared {
            mailboxes: (0..count).map(|_| Arc::new(Mailbox::default())).collect(),
            connections: AtomicUsize::new(0),
            serving: AtomicUsize::new(count),
        };
        Ok(Server {
            addresses,
            listeners,
            pools: resolved.pools,
            files: resolved.files,
            policy: Arc::new(resolved.policy),
            spool_dir,
            spool_budget: io::Budget::new(self.limits.spool_budget),
            limits: Arc::new(self.limits),
            log: self.log,
            shared: Arc::new(shared),
            counters: (0..count).map(|_| Arc::new(Counters::default())).collect(),
        })
    }

    fn add(mut self, host: Option<String>, path: String, target: Target) -> Builder {
        self.routes.push(Route { host, path, target });
        self
    }
}

/// Routes as the reactors use them, and what they refer to by number.
#[derive(Default)]
struct Resolved {
    policy: Policy,
    files: Vec<Files>,
    pools: Vec<BoundPool>,
}

fn resolve(routes: Vec<Route>) -> Result<Resolved, BuildError> {
    let mut resolved = Resolved::default();
    for Route { host, path, target } in routes {
        let is_clean = http::clean_target(&path).is_ok_and(|clean| clean == path);
        if !path.starts_with('/') || path.contains(['?', '#']) || !is_clean {
            return Err(BuildError::RoutePath(path));
        }
        let action = resolved.action(target)?;
        if resolved.policy.routes.add(host.as_deref(), &path, action).is_err() {
            let host = host.unwrap_or_default();
            return Err(BuildError::DuplicateRoute(format!("{host}{path}")));
        }
    }
    Ok(resolved)
}

impl Resolved {
    fn action(&mut self, target: Target) -> Result<Action, BuildError> {
        Ok(match target.0 {
            Kind::Files(files) => {
                check_files(&files)?;
                self.files.push(files);
                Action::Files(self.files.len() - 1)
            }
            Kind::Pool(pool) => Action::Pool(self.pool(&pool)?),
            Kind::Handler(handler) => Action::Handler(handler),
            Kind::Fixed(response) => Action::Fixed(Arc::new(response)),
            Kind::Redirect(redirect) => {
                if !http::is_field_value(redirect.template().as_bytes()) {
                    return Err(BuildError::Location(redirect.template().into()));
                }
                Action::Redirect(Arc::new(redirect))
            }
        })
    }

    fn pool(&mut self, pool: &Pool) -> Result<usize, BuildError> {
        if let Some(known) = self.pools.iter().position(|p| p.socket.path() == pool.socket) {
            return Ok(known);
        }
        let socket = PoolSocket::bind(&pool.socket)?;
        let core = Arc::new(Mutex::new(PoolCore::new(pool.limits)));
        self.pools.push(BoundPool { core, socket });
        Ok(self.pools.len() - 1)
    }
}

fn check_files(files: &Files) -> Result<(), BuildError> {
    let directory = files.directory.clone();
    if let Err(why) = files.validate() {
        return Err(BuildError::Files { directory, why });
    }
    match std::fs::read_dir(&directory) {
        Ok(_) => Ok(()),
        Err(error) => Err(BuildError::Root { directory, error }),
    }
}

fn check(limits: &Limits) -> Result<(), BuildError> {
    let wrong = |text: &str| Err(BuildError::Limits(text.into()));
    if limits.head_fields > Limits::HEAD_FIELDS_MOST {
        return wrong("head_fields is at most 256");
    }
    if limits.pipelined == 0 || limits.connections == 0 || limits.keepalive_requests == 0 {
        return wrong("pipelined, connections and keepalive_requests are at least 1");
    }
    if limits.response_memory == 0 || limits.head_bytes == 0 || limits.response_head_bytes == 0 {
        return wrong("response_memory, head_bytes and response_head_bytes are at least 1");
    }
    Ok(())
}

impl From<Files> for Target {
    fn from(files: Files) -> Target {
        Target(Kind::Files(files))
    }
}

impl From<Pool> for Target {
    fn from(pool: Pool) -> Target {
        Target(Kind::Pool(pool))
    }
}

impl From<Response> for Target {
    fn from(response: Response) -> Target {
        Target(Kind::Fixed(response))
    }
}

impl From<Redirect> for Target {
    fn from(redirect: Redirect) -> Target {
        Target(Kind::Redirect(redirect))
    }
}

impl<H: Handler> From<H> for Target {
    fn from(handler: H) -> Target {
        Target(Kind::Handler(Arc::new(handler)))
    }
}
