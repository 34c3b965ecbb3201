//! The server: binds, checks, starts one reactor per core, stops them.
//!
//! Owns the life of an edge. Must not know HTTP.

mod bound_pool;
mod builder;
mod control;
mod error;
mod handle;
mod listen;
mod plan;
mod pool;
mod spool_dir;
mod start;
mod unix_socket;

pub use builder::{Builder, Target};
pub use error::{BuildError, RunError, SocketError};
pub use handle::Handle;
pub use pool::Pool;
pub use unix_socket::{SocketAccess, UnixSocket};

use crate::handler::{Remains, dispose};
use crate::reactor::Change;
use control::Control;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};

/// A server that is bound and ready to run. Connections may be made already; they are served
/// from [`Server::run`] on.
pub struct Server {
    addresses: Vec<SocketAddr>,
    /// For each reactor one listener per address.
    listeners: Vec<Vec<TcpListener>>,
    /// How each reactor begins.
    changes: Vec<Change>,
    control: Arc<Control>,
    /// What reactors must not drop. Nobody locks it, but a server can be shared.
    remains: Mutex<Receiver<Remains>>,
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

    /// Stops the server, changes its routes and reads its counters, from any thread.
    pub fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.control))
    }

    /// Serves until [`Handle::stop`] or [`Handle::stop_now`], then returns when nothing is left
    /// to finish.
    ///
    /// # Errors
    /// A reactor cannot be started, or its ring fails. The other reactors are stopped first.
    pub fn run(self) -> Result<(), RunError> {
        self.run_and(|| {})
    }

    /// As [`Server::run`], and calls `begun` once every reactor has its ring: from then on all
    /// connections are served. It is not called if one gets none.
    ///
    /// # Errors
    /// As for [`Server::run`].
    ///
    /// # Panics
    /// If `begun` does: the reactors are ended first.
    pub fn run_and(mut self, begun: impl FnOnce()) -> Result<(), RunError> {
        start::run(&mut self, begun)
    }

    fn remains(&mut self) -> &mut Receiver<Remains> {
        self.remains.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.control.close();
        self.changes.clear();
        self.remains().try_iter().for_each(dispose);
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// Not to be guessed: the standard library seeds its hashers from the kernel.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
