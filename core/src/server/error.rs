//! Why a server or a socket cannot be made or run: one line each, with what to do.

use crate::io::SetupError;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why [`Builder::build`](super::Builder::build) failed.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Nothing to listen on.
    #[error("no address to listen on: give one, like 127.0.0.1:8080")]
    NoAddress,
    /// Not an address.
    #[error("{0:?} is not an address to listen on: write IP:PORT, like 127.0.0.1:8080 or [::]:80")]
    Address(String),
    /// Somebody else listens there.
    #[error("{0} is in use: stop the program that listens there, or choose another port")]
    AddressInUse(String),
    /// The address cannot be bound for another reason.
    #[error("cannot listen on {address}: {error}{hint}")]
    Listen {
        /// The address as given.
        address: String,
        /// What the kernel said.
        error: io::Error,
        /// What to do, or nothing.
        hint: &'static str,
    },
    /// A route's path.
    #[error(
        "{0:?} is not a route's path: it begins with `/`, has no `?`, `#` or dot segments, and is \
         in normal form, as `/~user` and `/caf%C3%A9`"
    )]
    RoutePath(String),
    /// A route's host.
    #[error("{0:?} is not a route's host: write a name like example.com, without port or `*`")]
    RouteHost(String),
    /// The same host and path twice.
    #[error("there are two routes for {0}: remove one")]
    DuplicateRoute(String),
    /// A files route's settings.
    #[error("the files route {directory}: {why}")]
    Files {
        /// Its directory.
        directory: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
    /// A files route's directory.
    #[error("cannot serve files from {directory}: {error}: {}", remedy(error))]
    Root {
        /// The directory as given.
        directory: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
    /// The directory of the spool.
    #[error(
        "cannot make files in the spool directory {directory}: {error}: create it, make it \
         writable, or choose another one with `spool_dir`"
    )]
    SpoolDir {
        /// The directory as given.
        directory: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
    /// A redirect that no client could follow.
    #[error("{0:?} is not a location to redirect to: it may not contain control characters")]
    Location(String),
    /// A redirect with a status that sends nobody elsewhere.
    #[error("status {0} does not redirect: give 301, 302, 303, 307 or 308")]
    RedirectStatus(u16),
    /// Two routes that say different things of one pool.
    #[error("the pool at {0} has different settings in two routes: give both the same")]
    PoolSettings(PathBuf),
    /// The socket of a pool.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// A reload that would have to move connections.
    #[error("{0} cannot change while the server runs: that needs a restart")]
    NeedsRestart(&'static str),
    /// There is nothing to reload any more.
    #[error("the server has ended")]
    Stopped,
    /// Limits that contradict each other.
    #[error("{0}")]
    Limits(String),
    /// io_uring is missing or forbidden.
    #[error(transparent)]
    Ring(#[from] SetupError),
}

/// Why there is no Unix socket to listen at.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum SocketError {
    /// Longer than [`UnixSocket::PATH_BYTES_MOST`](super::UnixSocket::PATH_BYTES_MOST).
    #[error("the socket path {path} has {length} bytes, 103 at most may be: use a shorter one")]
    PathTooLong {
        /// The path.
        path: PathBuf,
        /// Its length in bytes.
        length: usize,
    },
    /// Another process listens there.
    #[error("another server has the socket {0}: stop it, or choose another path")]
    InUse(PathBuf),
    /// The socket's path is that of a file which somebody may need.
    #[error("{0} exists and is not a socket: remove it, or use another path")]
    NotASocket(PathBuf),
    /// The socket cannot be made.
    #[error("cannot make the socket {path}: {error}: its directory must exist and be writable")]
    Make {
        /// The path.
        path: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
    /// The file beside the socket that says whose it is.
    #[error("cannot open the lock file {path}: {error}: give it to this user, or remove it")]
    Lock {
        /// The path.
        path: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
    /// The mode or the owner of the socket.
    #[error("cannot set mode and owner of the socket {path}: {error}{}", only_root(error))]
    Access {
        /// The path.
        path: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
}

/// Why [`Server::run`](super::Server::run) ended.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A thread cannot be started.
    #[error("cannot start a reactor's thread: {0}")]
    Thread(io::Error),
    /// A ring cannot be set up.
    #[error(transparent)]
    Ring(#[from] SetupError),
    /// The ring of a running reactor failed.
    #[error("the ring of reactor {reactor} failed: {error}")]
    Kernel {
        /// Which reactor, from 0.
        reactor: usize,
        /// What the kernel said.
        error: io::Error,
    },
    /// A reactor panicked. Please file a bug.
    #[error("reactor {0} panicked; please file a bug")]
    Panic(usize),
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "give this user the right to read it",
        _ => "create it, or correct the path",
    }
}

fn only_root(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => ": only root can give files away",
        _ => "",
    }
}

/// As [`std::fmt::Display`]: a `main` that returns the error prints it so.
impl fmt::Debug for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// As [`std::fmt::Display`]: a `main` that returns the error prints it so.
impl fmt::Debug for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// As [`std::fmt::Display`]: a `main` that returns the error prints it so.
impl fmt::Debug for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
