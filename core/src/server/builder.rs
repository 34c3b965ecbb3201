//! The description of a server, and the making of it.

use super::control::Control;
use super::error::BuildError;
use super::pool::Pool;
use super::{Server, listen};
use crate::access_log::AccessLog;
use crate::files::Files;
use crate::handler::{Handler, Response};
use crate::io;
use crate::limits::Limits;
use crate::route::{Network, Redirect};
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

/// Describes a server; see [`Server::builder`].
#[derive(Default)]
pub struct Builder {
    pub(super) addresses: Vec<String>,
    pub(super) reactors: usize,
    pub(super) limits: Limits,
    pub(super) spool_dir: Option<PathBuf>,
    pub(super) trusted_proxies: Vec<Network>,
    pub(super) routes: Vec<Route>,
    pub(super) log: Option<AccessLog>,
}

pub(super) struct Route {
    pub(super) host: Option<String>,
    pub(super) path: String,
    pub(super) target: Target,
}

/// What answers the requests of a route. Made from [`Files`], [`Pool`], a [`Handler`], a
/// [`Response`] or a [`Redirect`] by `into()`.
///
/// A target may have bounds for each client address (IPv6: each /64). What is beyond them is
/// answered 429, with `Retry-After`. The client of a request is who it is for the log, so it may
/// be behind a trusted proxy. A reload that leaves a route's rate as it is does not forget what has
/// been counted.
///
/// ```
/// # use forebay::{Pool, Target};
/// # use std::time::Duration;
/// let login = Target::from(Pool::at("run/app.sock"))
///     .rate(30, Duration::from_secs(60))
///     .burst(5)
///     .concurrent(2);
/// ```
pub struct Target {
    pub(super) kind: Kind,
    pub(super) rate: Option<(u32, Duration)>,
    pub(super) burst: Option<u32>,
    pub(super) concurrent: Option<usize>,
}

pub(super) enum Kind {
    Files(Files),
    Pool(Pool),
    Handler(Arc<dyn Handler>),
    Fixed(Response),
    Redirect(Redirect),
}

impl Builder {
    /// An address to listen on, `IP:PORT`; port 0 takes a free one. May be repeated. `[::]` is
    /// every address of the machine, but leaves IPv4 to other listeners of the same port.
    pub fn listen(mut self, address: impl Into<String>) -> Builder {
        self.addresses.push(address.into());
        self
    }

    /// More reactors than any machine has cores for.
    pub const REACTORS_MOST: usize = 1_024;

    /// How many reactors, at most [`Builder::REACTORS_MOST`]; 0, the default, means one per core
    /// that this process may use, by its affinity and by the quota of its control group
    /// (cgroups(7)).
    ///
    /// Each is a thread that is pinned to a core, and so are the threads that handlers start, as
    /// they inherit that (sched_setaffinity(2)): start those that are to have other cores before
    /// [`Server::run`]. A process's next server begins with the core behind its last one's.
    pub fn reactors(mut self, count: usize) -> Builder {
        self.reactors = count;
        self
    }

    /// Bounds and timeouts.
    pub fn limits(mut self, limits: Limits) -> Builder {
        self.limits = limits;
        self
    }

    /// Where spool files are made unless something else is said: on a disk, by convention.
    pub const SPOOL_DIR: &str = "/var/tmp";

    /// The directory of the spool files, which take what is too large for memory: content of
    /// requests above `content_memory`, and what clients have not taken of responses above
    /// `response_memory`. The files have no names and go with their requests. Default:
    /// [`Builder::SPOOL_DIR`]; a file system in memory would be no gain.
    pub fn spool_dir(mut self, directory: impl Into<PathBuf>) -> Builder {
        self.spool_dir = Some(directory.into());
        self
    }

    /// The proxies in front of this server. What they say about their clients is believed, and of
    /// nobody else: the client of a request is the last address of `X-Forwarded-For` that is not
    /// in one of these networks, its scheme the last of `X-Forwarded-Proto`; `X-Forwarded-Host`
    /// and `X-Request-Id` are taken over. Default: none.
    pub fn trusted_proxies(mut self, networks: impl IntoIterator<Item = Network>) -> Builder {
        self.trusted_proxies = networks.into_iter().collect();
        self
    }

    /// Answers requests whose path begins with `path`, a prefix that matches on segment
    /// boundaries. The longest one wins.
    ///
    /// Both paths are compared as an application may understand them: percent-decoded once, and
    /// with one slash for several. So `/admin/` is also for `/admin%2Fusers` and `//admin/users`,
    /// and `/%40x/` the same route as `/@x/`. What answers gets the path as the client has spelled
    /// it, in normal form; files are found by what stands behind the prefix, and never where
    /// `%2F` or `//` is in the path. `..` beside `%2F`, on whose meaning applications do not
    /// agree, is answered 400.
    pub fn route(self, path: impl Into<String>, target: impl Into<Target>) -> Builder {
        self.add(None, path.into(), target.into())
    }

    /// Like [`Builder::route`], for one host only: a name, or an address, without port. It is
    /// compared without case. Such routes come before those for any host.
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
        io::probe()?;
        let most = Builder::REACTORS_MOST;
        let count = match self.reactors {
            0 => thread::available_parallelism().map_or(1, NonZero::get).min(most),
            count if count > most => {
                return Err(BuildError::Limits(format!("at most {most} reactors")));
            }
            count => count,
        };
        let addresses = self.addresses.clone();
        let (sender, remains) = mpsc::channel();
        let (control, changes) = Control::new(self, count, sender)?;
        let (addresses, listeners) = listen::bind_all(&addresses, count)?;
        let (control, remains) = (Arc::new(control), Mutex::new(remains));
        Ok(Server { addresses, listeners, changes, control, remains })
    }

    fn add(mut self, host: Option<String>, path: String, target: Target) -> Builder {
        self.routes.push(Route { host, path, target });
        self
    }
}

impl Target {
    /// So many requests of one client address in every `per`, at least one. Default: no bound.
    pub fn rate(mut self, requests: u32, per: Duration) -> Target {
        self.rate = Some((requests, per));
        self
    }

    /// How many of them may come at once, at least one. Default: all of one `per`.
    pub fn burst(mut self, requests: u32) -> Target {
        self.burst = Some(requests);
        self
    }

    /// So many requests of one client address at the same time, at least one: from the head until
    /// the answer has been sent, and as long as a worker works on it. Those of one connection
    /// count as one, because they are answered one after the other. Default: no bound.
    pub fn concurrent(mut self, requests: usize) -> Target {
        self.concurrent = Some(requests);
        self
    }

    fn of(kind: Kind) -> Target {
        Target { kind, rate: None, burst: None, concurrent: None }
    }
}

impl From<Files> for Target {
    fn from(files: Files) -> Target {
        Target::of(Kind::Files(files))
    }
}

impl From<Pool> for Target {
    fn from(pool: Pool) -> Target {
        Target::of(Kind::Pool(pool))
    }
}

impl From<Response> for Target {
    fn from(response: Response) -> Target {
        Target::of(Kind::Fixed(response))
    }
}

impl From<Redirect> for Target {
    fn from(redirect: Redirect) -> Target {
        Target::of(Kind::Redirect(redirect))
    }
}

impl<H: Handler> From<H> for Target {
    fn from(handler: H) -> Target {
        Target::of(Kind::Handler(Arc::new(handler)))
    }
}
