//! Listening sockets and their life: armed, cancelled, emptied, closed.
//!
//! Owns the order in which a listener ends, so that no waiting connection is reset: cancel the
//! accept, wait for its last completion, accept what waits in the queue, close.

use super::Reactor;
use crate::conn::{Client, Slot, World};
use crate::io::{Backend, Errno, Fd, Op, Peer, Token};
use crate::per_address::Permit;
use crate::route::SharedPool;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A listening socket, and what its connections are.
pub(crate) enum Source {
    /// Closed by the reactor.
    Clients(Fd),
    /// Workers of a pool. Shared by all reactors; whoever lets go of `open` last closes it.
    Workers {
        fd: Fd,
        #[allow(dead_code)] // Held, not read.
        open: Arc<dyn Send + Sync>,
        pool: Arc<SharedPool>,
    },
}

pub(super) struct Listener {
    source: Source,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Armed,
    /// Out of descriptors or memory; armed again by a timer.
    Resting,
    Cancelled,
    /// Accepts what still waits.
    Emptying,
}

/// A new connection's, and its permit among those of its address, if that needs one.
struct Place(Option<Permit>);

/// How long a reactor without descriptors waits before it accepts again.
const REST: Duration = Duration::from_millis(100);

impl Listener {
    pub(super) fn is_for_clients(&self) -> bool {
        matches!(self.source, Source::Clients(_))
    }

    fn is_of(&self, pool: &Arc<SharedPool>) -> bool {
        matches!(&self.source, Source::Workers { pool: other, .. } if Arc::ptr_eq(other, pool))
    }

    fn fd(&self) -> Fd {
        match self.source {
            Source::Clients(fd) | Source::Workers { fd, .. } => fd,
        }
    }
}

impl<B: Backend> Reactor<B> {
    pub(super) fn listen(&mut self, source: Source) {
        let token = self.listeners.insert_with(|_| Listener { source, state: State::Armed });
        self.arm(token);
    }

    pub(super) fn on_accept(&mut self, token: Token, result: Result<Fd, Errno>, armed: bool) {
        match result {
            Ok(fd) => self.on_connection(token, fd),
            Err(Errno(libc::EAGAIN | libc::ECANCELED | libc::ECONNABORTED)) => {}
            Err(_) => self.world.counters.accept_failed.count(),
        }
        if armed {
            return;
        }
        let Some(listener) = self.listeners.get_mut(token) else { return };
        match listener.state {
            State::Armed if result.is_err_and(|errno| errno.is_exhaustion()) => {
                listener.state = State::Resting;
                self.timers.insert(token, self.world.now.after(REST));
            }
            State::Armed => self.arm(token),
            State::Cancelled => self.empty(token),
            State::Emptying if result.is_ok() => self.empty(token),
            State::Emptying => self.close(token),
            State::Resting => {}
        }
    }

    /// A resting listener tries again.
    pub(super) fn on_listener_timer(&mut self, token: Token) {
        if self.listeners.get_mut(token).is_some_and(|l| l.state == State::Resting) {
            self.arm(token);
        }
    }

    /// Ends the listeners for clients, or those for workers.
    pub(super) fn stop_listening(&mut self, for_clients: bool) {
        self.stop_listeners(|listener| listener.is_for_clients() == for_clients);
    }

    /// Workers of this pool cannot dial in any more.
    pub(super) fn stop_listening_for(&mut self, pool: &Arc<SharedPool>) {
        self.stop_listeners(|listener| listener.is_of(pool));
    }

    fn stop_listeners(&mut self, which: impl Fn(&Listener) -> bool) {
        for token in self.listeners.tokens() {
            let Some(listener) = self.listeners.get_mut(token) else { continue };
            match listener.state {
                _ if !which(listener) => {}
                State::Armed => {
                    listener.state = State::Cancelled;
                    self.world.submit(token, Op::Cancel { target: token });
                }
                State::Resting => self.empty(token),
                State::Cancelled | State::Emptying => {}
            }
        }
    }

    fn arm(&mut self, token: Token) {
        let Some(entry) = self.listeners.get_mut(token) else { return };
        entry.state = State::Armed;
        let listener = entry.fd();
        self.world.submit(token, Op::Accept { listener });
    }

    fn empty(&mut self, token: Token) {
        let Some(entry) = self.listeners.get_mut(token) else { return };
        entry.state = State::Emptying;
        match entry.source {
            Source::Clients(listener) => self.world.submit(token, Op::AcceptNow { listener }),
            Source::Workers { .. } => self.close(token),
        }
    }

    fn close(&mut self, token: Token) {
        if let Some(Listener { source: Source::Clients(fd), .. }) = self.listeners.remove(token) {
            self.world.submit(Token::NOBODY, Op::Close { fd });
        }
    }

    fn on_connection(&mut self, token: Token, fd: Fd) {
        match self.listeners.get_mut(token) {
            Some(Listener { source: Source::Clients(_), .. }) if !self.stopped => {
                self.on_client(fd);
            }
            Some(Listener { source: Source::Workers { pool, .. }, state: State::Armed }) => {
                let pool = Arc::clone(pool);
                self.on_worker(fd, pool);
            }
            // It came while the accept was being cancelled.
            _ => self.world.submit(Token::NOBODY, Op::Close { fd }),
        }
    }

    fn on_worker(&mut self, fd: Fd, pool: Arc<SharedPool>) {
        let world = &mut self.world;
        let peer = self.backend.peer(fd);
        if !pool.admits(peer.user) {
            world.counters.slots_refused.count();
            if world.may_warn() {
                let (socket, Peer { process, user }) = (pool.socket().display(), peer);
                tracing::warn!(%socket, process, user, "this user's processes may not be workers");
            }
            world.submit(Token::NOBODY, Op::Close { fd });
            return;
        }
        let slot = |token| Slot::new(token, fd, peer.process, pool, world);
        let token = self.slots.insert_with(slot);
        self.settle_slot(token);
    }

    fn on_client(&mut self, fd: Fd) {
        let admitted = self.backend.addresses(fd).ok().and_then(|addresses| {
            let Place(permit) = self.admit(addresses.0.ip())?;
            Some((addresses, permit))
        });
        let world = &mut self.world;
        match admitted {
            Some((addresses, permit)) => {
                let client = |token| Client::new(token, fd, addresses, permit, world);
                let token = self.clients.insert_with(client);
                self.settle_client(token);
            }
            None => world.submit(Token::NOBODY, Op::Close { fd }),
        }
    }

    /// A place for one more connection, or the reason counted why there is none.
    fn admit(&mut self, peer: IpAddr) -> Option<Place> {
        let World { limits, policy, counters, .. } = &self.world;
        let most = limits.connections;
        let permit = if policy.trusts(peer) {
            None
        } else {
            let permit = self.shared.headless.enter(peer, limits.connections_per_address);
            if permit.is_none() {
                counters.connections_per_address.count();
                return None;
            }
            permit
        };
        let open = self.shared.connections.fetch_add(1, Ordering::Relaxed);
        if open >= most && !self.evict() {
            self.shared.connections.fetch_sub(1, Ordering::Relaxed);
            self.world.counters.connections.count();
            return None;
        }
        Some(Place(permit))
    }
}
