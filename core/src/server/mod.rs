//! The server: binds, checks, starts one reactor per core, stops them.
//!
//! Owns the life of the process's edge. Must not know HTTP.

mod builder;
mod error;
mod handle;
mod listen;
mod pool_socket;
mod spool_dir;
mod start;

pub use builder::{Builder, Pool, Target};
pub use error::{BuildError, RunError};
pub use handle::Handle;

use crate::access_log::AccessLog;
use crate::files::Files;
use crate::io::Budget;
use crate::limits::Limits;
use crate::pool::PoolCore;
use crate::reactor::Shared;
use crate::route::Policy;
use crate::stats::Counters;
use pool_socket::PoolSocket;
use std::ffi::CString;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

/// A server that is bound and ready to run. Connections may be made already; they are served
/// from [`Server::run`] on.
pub struct Server {
    addresses: Vec<SocketAddr>,
    /// For each reactor one listener per address.
    listeners: Vec<Vec<TcpListener>>,
    pools: Vec<BoundPool>,
    files: Vec<Files>,
    policy: Arc<Policy>,
    limits: Arc<Limits>,
    spool_dir: CString,
    spool_budget: Budget,
    log: Option<AccessLog>,
    shared: Arc<Shared>,
    counters: Vec<Arc<Counters>>,
}

struct BoundPool {
    core: Arc<Mutex<PoolCore>>,
    socket: PoolSocket,
}

impl Server {
    /// Begins the description of a server.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The addresses that it listens on, with the real ports.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Stops the server and reads its counters, from any thread.
    pub fn handle(&self) -> Handle {
        let pools = self.pools.iter().map(|p| (p.socket.path().into(), Arc::clone(&p.core)));
        Handle::new(Arc::clone(&self.shared), self.counters.clone(), pools.collect())
    }

    /// Serves until [`Handle::stop`] or [`Handle::stop_now`], then returns when nothing is left
    /// to finish.
    ///
    /// # Errors
    /// A reactor cannot be started, or its ring fails. The other reactors are stopped first.
    pub fn run(self) -> Result<(), RunError> {
        start::run(self)
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}
