//! Pools that there are: with a socket, or only until their last request has ended.
//!
//! Owns what a server keeps of them. Must not know how they come and go.

use super::unix_socket::{SocketAccess, UnixSocket};
use crate::reactor::Source;
use crate::route::{RoutedPool, SharedPool};
use std::sync::{Arc, Weak};

/// A pool that workers can dial in to.
#[derive(Clone)]
pub(super) struct BoundPool {
    pub(super) routed: Arc<RoutedPool>,
    pub(super) socket: Arc<UnixSocket>,
    pub(super) access: SocketAccess,
}

/// A pool that no route leads to.
pub(super) struct LeavingPool {
    pub(super) shared: Weak<SharedPool>,
    /// As long as earlier requests have it.
    pub(super) routed: Weak<RoutedPool>,
}

impl BoundPool {
    pub(super) fn source(&self) -> Source {
        Source::Workers {
            fd: self.socket.fd(),
            _open: Arc::clone(&self.socket) as Arc<dyn Send + Sync>,
            pool: Arc::clone(self.routed.shared()),
        }
    }
}

impl LeavingPool {
    pub(super) fn of(pool: &BoundPool) -> LeavingPool {
        let shared = Arc::downgrade(pool.routed.shared());
        LeavingPool { shared, routed: Arc::downgrade(&pool.routed) }
    }

    /// Anybody has anything of it.
    pub(super) fn is_there(&self) -> bool {
        self.shared.strong_count() > 0
    }
}
