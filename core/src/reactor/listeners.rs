//! Listening sockets and their life: armed, cancelled, emptied, closed.
//!
//! Owns the order in which a listener ends, so that no connection is reset: let no new one begin,
//! accept those whose handshake is under way, cancel the accept, wait for its last completion,
//! accept what waits in the queue, close. Workers are not waited for, unless their pool goes on.

use super::Reactor;
use crate::conn::{Connection, Slot, World};
use crate::io::{Backend, Errno, Fd, Op, Peer, Time, Token};
use crate::per_address::Permit;
use crate::route::SharedPool;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A listening socket, and what its connections are.
pub(crate) enum Source {
    /// Closed by the reactor.
    Clients(Fd),
    /// Workers of a pool. Shared by all reactors; whoever lets go of `_open` last closes it.
    Workers { fd: Fd, _open: Arc<dyn Send + Sync>, pool: Arc<SharedPool> },
}

pub(super) struct Listener {
    source: Source,
    /// Ours of all its connections, unless it listens on every address of the machine: saves a
    /// system call for each.
    address: Option<SocketAddr>,
    /// An accept is in flight.
    armed: bool,
    phase: Phase,
    /// Nothing is to be done by itself before.
    rests_until: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Without an accept in flight: out of descriptors or memory, and armed again by a timer.
    Serving,
    /// Accepts what had begun, for the time of [`HANDSHAKE`].
    Leaving,
    Cancelled,
    /// Accepts what still waits.
    Emptying,
}

/// A new connection's, and its permit among those of its address, if that needs one.
struct Place(Option<Permit>);

/// How long a reactor without descriptors waits before it accepts again.
const REST: Duration = Duration::from_millis(100);

/// The same if a connection is being closed to make room.
const CLOSING: Duration = Duration::from_millis(1);

/// Time for the last packet of a handshake whose first one we have answered: a slow round trip.
const HANDSHAKE: Duration = Duration::from_millis(200);

impl Source {
    fn pool(&self) -> Option<&Arc<SharedPool>> {
        match self {
            Source::Clients(_) => None,
            Source::Workers { pool, .. } => Some(pool),
        }
    }
}

impl Listener {
    pub(super) fn is_for_clients(&self) -> bool {
        matches!(self.source, Source::Clients(_))
    }

    /// Its socket, if no other reactor has a share in it.
    pub(super) fn descriptor(&self) -> Option<Fd> {
        self.is_for_clients().then(|| self.fd())
    }

    fn is_of(&self, pool: &Arc<SharedPool>) -> bool {
        self.source.pool().is_some_and(|other| Arc::ptr_eq(other, pool))
    }

    fn fd(&self) -> Fd {
        match self.source {
            Source::Clients(fd) | Source::Workers { fd, .. } => fd,
        }
    }
}

impl<B: Backend> Reactor<B> {
    /// A pool's workers dial in at one socket: it is done with an earlier one, but for those who
    /// have dialled in there already.
    pub(super) fn listen(&mut self, source: Source) {
        let address = match source {
            Source::Clients(fd) => self.backend.local_address(fd).ok(),
            Source::Workers { .. } => None,
        };
        let address = address.filter(|address| !address.ip().is_unspecified());
        let pool = source.pool().cloned();
        let (phase, rests_until) = (Phase::Serving, Time::default());
        let listener = |_| Listener { source, address, armed: false, phase, rests_until };
        let token = self.listeners.insert_with(listener);
        self.arm(token);
        if let Some(pool) = pool {
            self.stop_listeners(|other, listener| other != token && listener.is_of(&pool));
        }
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
        listener.armed = false;
        let is_exhausted = result.is_err_and(|errno| errno.is_exhaustion());
        match listener.phase {
            Phase::Serving if is_exhausted => {
                let rest = if self.makes_room(result) { CLOSING } else { REST };
                self.wake_after(token, rest);
            }
            Phase::Leaving if is_exhausted => {}
            Phase::Serving | Phase::Leaving => self.arm(token),
            Phase::Cancelled => self.empty(token),
            Phase::Emptying if result.is_ok() => self.empty(token),
            Phase::Emptying => self.close(token),
        }
    }

    /// Whether a descriptor will be there soon, of a file that nobody is sent or, if there is none,
    /// of an idle connection.
    fn makes_room(&mut self, result: Result<Fd, Errno>) -> bool {
        let Err(errno @ Errno(libc::EMFILE | libc::ENFILE)) = result else { return false };
        self.world.files.give_way(errno) || self.evict()
    }

    pub(super) fn on_listener_timer(&mut self, token: Token) {
        match self.listeners.get_mut(token) {
            Some(&mut Listener { rests_until, .. }) if rests_until > self.world.now => {
                self.timers.set(token, rests_until);
            }
            Some(Listener { phase: Phase::Serving, armed: false, .. }) => self.arm(token),
            Some(Listener { phase: Phase::Leaving, .. }) => self.cancel(token),
            _ => {}
        }
    }

    /// Ends the listeners for clients, or those for workers.
    pub(super) fn stop_listening(&mut self, for_clients: bool) {
        self.stop_listeners(|_, listener| listener.is_for_clients() == for_clients);
    }

    /// Workers of this pool cannot dial in any more.
    pub(super) fn stop_listening_for(&mut self, pool: &Arc<SharedPool>) {
        self.stop_listeners(|_, listener| listener.is_of(pool));
    }

    /// Its workers can dial in.
    fn listens_for(&self, pool: &Arc<SharedPool>) -> bool {
        self.listeners.iter().any(|other| other.phase == Phase::Serving && other.is_of(pool))
    }

    fn stop_listeners(&mut self, which: impl Fn(Token, &Listener) -> bool) {
        for token in self.listeners.tokens() {
            let Some(listener) = self.listeners.get_mut(token).filter(|l| which(token, l)) else {
                continue;
            };
            let is_waited_for = listener.is_for_clients() && !self.stopped;
            match listener.phase {
                Phase::Serving if is_waited_for => {
                    listener.phase = Phase::Leaving;
                    self.backend.begin_no_connection(listener.fd());
                    self.wake_after(token, HANDSHAKE);
                }
                Phase::Leaving if is_waited_for => {}
                Phase::Serving | Phase::Leaving => self.cancel(token),
                Phase::Cancelled | Phase::Emptying => {}
            }
        }
    }

    fn wake_after(&mut self, token: Token, after: Duration) {
        let Some(listener) = self.listeners.get_mut(token) else { return };
        listener.rests_until = self.world.now.after(after);
        self.timers.set(token, listener.rests_until);
    }

    fn arm(&mut self, token: Token) {
        let Some(entry) = self.listeners.get_mut(token) else { return };
        entry.armed = true;
        let listener = entry.fd();
        self.world.submit(token, Op::Accept { listener });
    }

    fn cancel(&mut self, token: Token) {
        let Some(entry) = self.listeners.get_mut(token) else { return };
        if !entry.armed {
            return self.empty(token);
        }
        entry.phase = Phase::Cancelled;
        self.world.submit(token, Op::Cancel { target: token });
    }

    fn empty(&mut self, token: Token) {
        let Some(entry) = self.listeners.get_mut(token) else { return };
        entry.phase = Phase::Emptying;
        let (listener, pool) = (entry.fd(), entry.source.pool().cloned());
        if pool.is_some_and(|pool| !self.listens_for(&pool)) {
            return self.close(token);
        }
        self.world.submit(token, Op::AcceptNow { listener });
    }

    fn close(&mut self, token: Token) {
        if let Some(Listener { source: Source::Clients(fd), .. }) = self.listeners.remove(token) {
            self.world.submit(Token::NOBODY, Op::Close { fd });
        }
    }

    fn on_connection(&mut self, token: Token, fd: Fd) {
        match self.listeners.get_mut(token) {
            Some(&mut Listener { source: Source::Clients(_), address, .. }) if !self.stopped => {
                self.on_client(fd, address);
            }
            Some(Listener { source: Source::Workers { pool, .. }, .. }) => {
                let pool = Arc::clone(pool);
                self.on_worker(fd, pool);
            }
            _ => self.world.submit(Token::NOBODY, Op::Close { fd }),
        }
    }

    fn on_worker(&mut self, fd: Fd, pool: Arc<SharedPool>) {
        let peer = self.backend.peer(fd);
        // The accept may be one that is being cancelled.
        if !self.listens_for(&pool) || !self.admit_worker(peer, &pool) {
            return self.world.submit(Token::NOBODY, Op::Close { fd });
        }
        let world = &mut self.world;
        let slot = |token| Slot::new(token, fd, peer.process, pool, world);
        let token = self.slots.insert_with(slot);
        self.settle_slot(token);
    }

    /// Whether it may be a worker, and there is a place for one more of its connections; or the
    /// reason counted.
    fn admit_worker(&mut self, peer: Peer, pool: &SharedPool) -> bool {
        let (socket, Peer { process, user }) = (pool.socket().display(), peer);
        if !pool.admits(user) {
            self.world.counters.slots_refused.count();
            if self.world.may_warn() {
                tracing::warn!(
                    %socket, process, user,
                    "this user's processes may not be workers: add it to the pool's `allowed_users`"
                );
            }
            return false;
        }
        let open = self.shared.slots.fetch_add(1, Ordering::Relaxed);
        let has_place = open < self.world.limits.slots;
        if !has_place {
            self.shared.slots.fetch_sub(1, Ordering::Relaxed);
            self.world.counters.slots.count();
            if self.world.may_warn() {
                tracing::warn!(
                    %socket, process,
                    "as many workers have dialled in as `slots` says: it needs room for those, \
                     too, that are to replace others"
                );
            }
        }
        has_place
    }

    /// `local` is our address, as far as the listener tells.
    fn on_client(&mut self, fd: Fd, local: Option<SocketAddr>) {
        let peer = self.backend.peer_address(fd);
        let local = local.map_or_else(|| self.backend.local_address(fd), Ok);
        let admitted = peer.and_then(|peer| Ok((peer, local?))).ok().and_then(|addresses| {
            let Place(permit) = self.admit(addresses.0.ip())?;
            Some((addresses, permit))
        });
        let world = &mut self.world;
        match admitted {
            Some((addresses, permit)) => {
                let connection = |token| Connection::new(token, fd, addresses, permit, world);
                let token = self.clients.insert_with(connection);
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
