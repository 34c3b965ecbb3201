//! Serving whoever connects: curl, or another front server. No edge, no slots.
//!
//! Owns accepting and keep-alive. Must not know requests.
//!
//! Silent and kept connections wait together, so that none of them keeps the worker from one that
//! has something to say. A kept connection is not closed for a new one, because its client may be
//! sending on it already: while several connections wait, responses announce the close instead.

use crate::address::Listener;
use crate::app::App;
use crate::log;
use crate::signals::{Private, Stop};
use crate::socket::{Socket, wait_any_readable, wait_readable};
use crate::wire::{Exchanger, Outcome, Terms};
use forebay::Limits;
use forebay::http::HeadLimits;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Serves the connections of `listener` until told to stop. Other workers do the same.
pub(crate) fn serve(listener: &Listener, app: &dyn App, stop: &Stop) {
    let _private = Private::new(listener.as_fd());
    let limits = Limits::default();
    let exchanger = Exchanger::new(limits.head_bytes);
    let mut server = Server { listener, app, stop, limits, exchanger, waiting: Vec::new() };
    while let Some(event) = server.wait() {
        match event {
            Event::Input(index) => server.serve_connection(index),
            Event::Newcomer => server.accept(),
            Event::Time => server.close_the_idle(),
        }
    }
}

struct Server<'a> {
    listener: &'a Listener,
    app: &'a dyn App,
    stop: &'a Stop,
    limits: Limits,
    exchanger: Exchanger,
    /// Connections without a request, the one that has waited longest first.
    waiting: Vec<Connection>,
}

struct Connection {
    /// First: dropped before the socket.
    _private: Private,
    socket: Socket,
    peer: Option<SocketAddr>,
    until: Instant,
}

enum Event {
    /// This waiting connection has something to say, or has ended.
    Input(usize),
    /// A new one, if no other worker takes it.
    Newcomer,
    /// One may have waited long enough.
    Time,
}

impl Server<'_> {
    /// What to do next; none: stop.
    fn wait(&self) -> Option<Event> {
        let mut fds = vec![self.stop.as_fd(), self.listener.as_fd()];
        fds.extend(self.waiting.iter().map(|connection| connection.socket.as_fd()));
        let until = self.waiting.iter().map(|connection| connection.until).min();
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        match wait_any_readable(&fds, left).as_deref() {
            Ok([true, ..]) => None,
            Ok([_, newcomer, input @ ..]) => {
                let input = input.iter().position(|&input| input).map(Event::Input);
                input.or(newcomer.then_some(Event::Newcomer)).or(Some(Event::Time))
            }
            _ => {
                log::error!("cannot wait for connections");
                None
            }
        }
    }

    /// A newcomer waits like everybody, but others are accepted only a moment later: mostly its
    /// request is here by then, and another worker can take the next connection.
    fn accept(&mut self) {
        let (socket, peer) = match self.listener.accept() {
            Ok(Some(accepted)) => accepted,
            Ok(None) => return,
            Err(error) => {
                log::error!("cannot accept a connection: {error}");
                // Out of descriptors or memory: the listener stays readable.
                let _ = wait_readable([self.stop.as_fd()], Some(ACCEPT_PAUSE));
                return;
            }
        };
        if socket.set_send_timeout(self.limits.send_timeout).is_err() {
            return;
        }
        if self.waiting.len() == MOST_WAITING {
            self.waiting.remove(0);
        }
        let _ = wait_readable([self.stop.as_fd(), socket.as_fd()], Some(FIRST_PATIENCE));
        let until = Instant::now() + self.limits.client_header_timeout;
        let private = Private::new(socket.as_fd());
        self.waiting.push(Connection { _private: private, socket, peer, until });
    }

    fn serve_connection(&mut self, index: usize) {
        let mut connection = self.waiting.remove(index);
        let limits = &self.limits;
        let terms = Terms {
            from_edge: false,
            head: HeadLimits {
                bytes: limits.head_bytes,
                fields: limits.head_fields,
                target_bytes: limits.target_bytes,
            },
            content_max: limits.content_max,
            header_timeout: Some(limits.client_header_timeout),
            body_timeout: Some(limits.client_body_timeout),
            // A request that has begun is finished: these clients know no goodbye.
            stop: None,
            yields_to: &[self.stop.as_fd(), self.listener.as_fd()],
            keep_alive: self.waiting.is_empty(),
            peer: connection.peer,
        };
        if self.exchanger.exchange(&connection.socket, self.app, &terms) == Outcome::Next {
            connection.until = Instant::now() + IDLE_TIMEOUT;
            self.waiting.push(connection);
        }
    }

    fn close_the_idle(&mut self) {
        let now = Instant::now();
        self.waiting.retain(|connection| connection.until > now);
    }
}

const MOST_WAITING: usize = 32;
const FIRST_PATIENCE: Duration = Duration::from_millis(5);
const IDLE_TIMEOUT: Duration = Duration::from_secs(2);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
