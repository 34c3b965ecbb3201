//! Listening sockets and their life: armed, cancelled, emptied, closed.
//!
//! Owns the order in which a listener ends, so that no waiting connection is reset: cancel the
//! accept, wait for its last completion, accept what waits in the queue, close.

use super::{Phase, Reactor, kind};
use crate::conn::{Client, Slot};
use crate::io::{Backend, Errno, Fd, Op, Token};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A listening socket, and what its connections are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    Clients(Fd),
    /// Workers of pool number `.1`. Shared by all reactors; whoever made it closes it.
    Workers(Fd, usize),
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
    Closed,
}

/// How long a reactor without descriptors waits before it accepts again.
const REST: Duration = Duration::from_millis(100);

impl Listener {
    pub(super) fn new(source: Source) -> Listener {
        Listener { source, state: State::Armed }
    }

    pub(super) fn is_for_clients(&self) -> bool {
        matches!(self.source, Source::Clients(_))
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    fn fd(&self) -> Fd {
        match self.source {
            Source::Clients(fd) | Source::Workers(fd, _) => fd,
        }
    }
}

impl<B: Backend> Reactor<B> {
    pub(super) fn listen(&mut self) {
        for index in 0..self.listeners.len() {
            self.arm(index);
        }
    }

    pub(super) fn on_accept(&mut self, token: Token, result: Result<Fd, Errno>, armed: bool) {
        let index = token.index() as usize;
        match result {
            Ok(fd) => self.on_connection(index, fd),
            Err(Errno(libc::EAGAIN | libc::ECANCELED | libc::ECONNABORTED)) => {}
            Err(_) => self.world.counters.accept_failed.count(),
        }
        if armed {
            return;
        }
        match self.listeners[index].state {
            State::Armed if result.is_err_and(|errno| errno.is_exhaustion()) => {
                self.listeners[index].state = State::Resting;
                self.timers.insert(token, self.world.now.after(REST));
            }
            State::Armed => self.arm(index),
            State::Cancelled => {
                self.listeners[index].state = State::Emptying;
                self.empty(index);
            }
            State::Emptying if result.is_ok() => self.empty(index),
            State::Emptying => self.close(index),
            State::Resting | State::Closed => {}
        }
    }

    /// A resting listener tries again.
    pub(super) fn on_listener_timer(&mut self, token: Token) {
        let index = token.index() as usize;
        if self.listeners[index].state == State::Resting {
            self.arm(index);
        }
    }

    /// Ends the listeners for clients, or those for workers.
    pub(super) fn stop_listening(&mut self, for_clients: bool) {
        for index in 0..self.listeners.len() {
            let listener = &mut self.listeners[index];
            if listener.is_for_clients() != for_clients {
                continue;
            }
            match listener.state {
                State::Armed => {
                    listener.state = State::Cancelled;
                    self.world.submit(token(index), Op::Cancel { target: token(index) });
                }
                State::Resting => {
                    listener.state = State::Emptying;
                    self.empty(index);
                }
                State::Cancelled | State::Emptying | State::Closed => {}
            }
        }
    }

    fn arm(&mut self, index: usize) {
        self.listeners[index].state = State::Armed;
        let listener = self.listeners[index].fd();
        self.world.submit(token(index), Op::Accept { listener });
    }

    fn empty(&mut self, index: usize) {
        match self.listeners[index].source {
            Source::Clients(listener) => {
                self.world.submit(token(index), Op::AcceptNow { listener });
            }
            Source::Workers(..) => self.close(index),
        }
    }

    fn close(&mut self, index: usize) {
        self.listeners[index].state = State::Closed;
        if let Source::Clients(fd) = self.listeners[index].source {
            self.world.submit(token(index), Op::Close { fd });
        }
    }

    fn on_connection(&mut self, index: usize, fd: Fd) {
        let world = &mut self.world;
        match self.listeners[index].source {
            // It came while the accept was being cancelled.
            Source::Workers(..) if self.phase == Phase::Ending => {
                world.submit(Token::NOBODY, Op::Close { fd });
            }
            Source::Clients(_) if self.stopped => world.submit(Token::NOBODY, Op::Close { fd }),
            Source::Workers(_, pool) => {
                let process = self.backend.peer_process(fd);
                let slot = |token| Slot::new(token, fd, process, pool, world);
                let token = self.slots.insert_with(slot);
                self.settle_slot(token);
            }
            Source::Clients(_) => {
                let open = self.shared.connections.fetch_add(1, Ordering::Relaxed);
                let addresses = self.backend.addresses(fd);
                match addresses {
                    Ok(addresses) if open < world.limits.connections => {
                        let client = |token| Client::new(token, fd, addresses, world);
                        let token = self.clients.insert_with(client);
                        self.settle_client(token);
                    }
                    _ => {
                        self.shared.connections.fetch_sub(1, Ordering::Relaxed);
                        if addresses.is_ok() {
                            world.counters.connections.count();
                        }
                        world.submit(Token::NOBODY, Op::Close { fd });
                    }
                }
            }
        }
    }
}

fn token(index: usize) -> Token {
    Token::new(kind::LISTENER, index as u32, 0)
}
