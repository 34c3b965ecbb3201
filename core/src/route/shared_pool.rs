//! A pool as routes, requests and slots hold it.
//!
//! Owns the lock around the pool's decisions, who may dial in, and when nobody can send it
//! requests any more. Must not know sockets or connections.

use crate::io;
use crate::pool::{PoolCore, PoolLimits};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A pool, as long as anybody has anything of it: a slot, a listener, a message.
pub(crate) struct SharedPool {
    socket: PathBuf,
    core: Mutex<PoolCore>,
    allowed: Mutex<Option<Arc<[u32]>>>,
}

impl SharedPool {
    /// `allowed`: the users whose processes may be workers; `None`: this process's, and root.
    pub(crate) fn new(
        socket: &Path,
        limits: PoolLimits,
        allowed: Option<Arc<[u32]>>,
    ) -> Arc<SharedPool> {
        let core = Mutex::new(PoolCore::new(limits));
        Arc::new(SharedPool { socket: socket.into(), core, allowed: Mutex::new(allowed) })
    }

    /// Where workers dial in.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// For one short look: nothing logs or calls the kernel meanwhile. Only what has never been so
    /// large allocates: the set of slots when one joins, and a queue longer than its reserve.
    pub(crate) fn core(&self) -> MutexGuard<'_, PoolCore> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_allowed(&self, allowed: Option<Arc<[u32]>>) {
        *self.allowed.lock().unwrap_or_else(PoisonError::into_inner) = allowed;
    }

    /// Whether a process of this user may be a worker.
    pub(crate) fn admits(&self, user: u32) -> bool {
        let allowed = self.allowed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match allowed {
            Some(allowed) => allowed.contains(&user),
            None => user == 0 || user == io::effective_user(),
        }
    }
}

/// A pool that can be sent requests: routes have it, and every request from its route to its end.
pub(crate) struct RoutedPool {
    pool: Arc<SharedPool>,
    on_unused: Box<dyn Fn(Arc<SharedPool>) + Send + Sync>,
}

impl RoutedPool {
    /// `on_unused` is called when the last one is gone, in whatever thread.
    pub(crate) fn new(
        pool: Arc<SharedPool>,
        on_unused: impl Fn(Arc<SharedPool>) + Send + Sync + 'static,
    ) -> Arc<RoutedPool> {
        Arc::new(RoutedPool { pool, on_unused: Box::new(on_unused) })
    }

    pub(crate) fn shared(&self) -> &Arc<SharedPool> {
        &self.pool
    }

    /// See [`SharedPool::core`].
    pub(crate) fn core(&self) -> MutexGuard<'_, PoolCore> {
        self.pool.core()
    }
}

impl Drop for RoutedPool {
    fn drop(&mut self) {
        (self.on_unused)(Arc::clone(&self.pool));
    }
}
