//! The description of a pool.
//!
//! Owns its settings and their defaults. Must not bind or lock anything.

use super::unix_socket::SocketAccess;
use crate::pool::PoolLimits;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A pool of workers that dial in at one Unix socket. Routes that name the same socket share the
/// pool, and must say the same of it: clone one `Pool` for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    pub(super) socket: PathBuf,
    pub(super) limits: PoolLimits,
    pub(super) access: SocketAccess,
    pub(super) allowed: Option<Arc<[u32]>>,
}

impl Pool {
    /// The pool whose workers dial in at `socket`, which the server makes.
    ///
    /// # Defaults
    /// `queue` 1,000 requests; `queue_timeout` 10 s; `queue_target` 100 ms; `deadline` 60 s;
    /// `boot_grace` 10 s. The socket belongs to this process's user and group, and its mode is what
    /// the umask leaves; workers may be processes of this user and of root.
    pub fn at(socket: impl Into<PathBuf>) -> Pool {
        Pool {
            socket: socket.into(),
            limits: PoolLimits::default(),
            access: SocketAccess::default(),
            allowed: None,
        }
    }

    /// How many requests may wait for a worker. More are answered 503 at once.
    pub fn queue(mut self, requests: usize) -> Pool {
        self.limits.queue = requests;
        self
    }

    /// How long a request may wait for a worker; its time with one that then leaves does not count.
    /// Then it is answered 503.
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

    /// How long a request waits on while the pool has no worker at all, from when it came or the
    /// last worker left, if its `queue_timeout` does not end before. Then it is answered 503.
    pub fn boot_grace(mut self, grace: Duration) -> Pool {
        self.limits.boot_grace = grace;
        self
    }

    /// The mode of the socket, such as `0o660`: whoever may write to it may dial in.
    pub fn mode(mut self, mode: u32) -> Pool {
        self.access.mode = Some(mode & 0o777);
        self
    }

    /// The numbers of the user and the group that own the socket; `None`: this process's. Only
    /// root can give a socket to another user.
    pub fn owner(mut self, user: impl Into<Option<u32>>, group: impl Into<Option<u32>>) -> Pool {
        (self.access.user, self.access.group) = (user.into(), group.into());
        self
    }

    /// The numbers of the users whose processes may be workers, whatever the socket's mode is. The
    /// kernel says whose a process is that dials in (`SO_PEERCRED`, unix(7)); others are closed at
    /// once and counted in [`Stats::slots_refused`](crate::Stats::slots_refused).
    pub fn allowed_uids(mut self, users: impl IntoIterator<Item = u32>) -> Pool {
        self.allowed = Some(users.into_iter().collect());
        self
    }

    /// Where its workers dial in.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}
