//! Serving whoever connects: curl, or another front server. No edge, no slots.
//!
//! Owns accepting and keep-alive. Must not know requests.
//!
//! Silent and kept connections wait together, and any thread serves the one that has something to
//! say: none of them keeps a thread from another. A kept connection is not closed for a new one,
//! because its client may be sending on it already: while as many as threads wait, responses
//! announce the close instead, because another worker process may be idle. Who may not have heard
//! of the close waits here as well, so that it holds no thread until it has read its answer.

use crate::address::Listener;
use crate::log;
use crate::plan::WorkerSettings;
use crate::private::Private;
use crate::signals::{Deferred, Stop, end_if_forked};
use crate::socket::{Socket, timespec, wait_readable};
use crate::wire::{Exchanger, Outcome, Service, Terms};
use forebay::Limits;
use forebay::http::HeadLimits;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What the threads of a worker process share.
pub(crate) struct Server<'a> {
    listeners: Vec<Private<&'a Listener>>,
    /// To these everything else yields.
    yields_to: Vec<BorrowedFd<'a>>,
    stop: &'a Stop,
    settings: &'a WorkerSettings,
    limits: Limits,
    /// A waiting connection is reported to one thread, which then owns it.
    epoll: OwnedFd,
    waiting: Mutex<Waiting>,
}

/// Connections without a request, and those after their last one. The one that has waited longest
/// is the first.
struct Waiting {
    connections: Vec<Connection>,
    /// Each wait has its own key, so that no late event is taken for another.
    next_key: u64,
}

struct Connection {
    key: u64,
    socket: Private<Socket>,
    peer: Option<SocketAddr>,
    until: Instant,
    /// Its last answer is on its way, and what its client says is thrown away.
    lingers: bool,
}

enum Event {
    Stop,
    /// This waiting connection has something to say, or has ended.
    Input(Connection),
    /// A new one at this listener, if no other worker takes it.
    Newcomer(usize),
    /// One may have waited long enough, or nothing at all.
    Time,
}

impl<'a> Server<'a> {
    /// For the connections of `listeners`; other workers accept from them as well.
    pub(crate) fn new(
        listeners: &'a [Listener],
        settings: &'a WorkerSettings,
        stop: &'a Stop,
    ) -> io::Result<Server<'a>> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, stop, EventData::new_u64(STOP), EventFlags::IN)?;
        if let Some(deferred) = Deferred::get() {
            epoll::add(&epoll, deferred, EventData::new_u64(SIGNAL), EventFlags::IN)?;
        }
        let mut key = STOP;
        for listener in listeners {
            key += 1;
            epoll::add(&epoll, listener, EventData::new_u64(key), EventFlags::IN)?;
        }
        let mut limits = Limits::default();
        limits.content_max = settings.content_max;
        let fds = listeners.iter().map(AsFd::as_fd);
        let private = listeners.iter().map(|listener| Private::make(|| Ok(listener)));
        Ok(Server {
            yields_to: std::iter::once(stop.as_fd()).chain(fds).collect(),
            listeners: private.collect::<io::Result<_>>()?,
            stop,
            settings,
            limits,
            epoll,
            waiting: Mutex::new(Waiting { connections: Vec::new(), next_key: key + 1 }),
        })
    }

    /// Serves until told to stop: the life of one thread.
    pub(crate) fn serve<S: Service + ?Sized>(&self, service: &S) {
        let mut exchanger = Exchanger::new(self.limits.head_bytes);
        loop {
            end_if_forked();
            let done = match self.wait() {
                Ok(Event::Stop) => return self.serve_the_last(service, &mut exchanger),
                Ok(Event::Input(connection)) if connection.lingers => self.let_linger(connection),
                Ok(Event::Input(connection)) => {
                    self.serve_connection(connection, service, &mut exchanger)
                }
                Ok(Event::Newcomer(listener)) => self.accept(&self.listeners[listener]),
                Ok(Event::Time) => self.close_the_idle(),
                Err(error) => Err(error),
            };
            if let Err(error) = done {
                log::error!("cannot serve connections: {error}");
                // Out of descriptors or memory: the listener stays readable.
                let _ = wait_readable([self.stop.as_fd()], Some(PAUSE));
            }
        }
    }

    /// What to do next. A wish to stop goes before requests.
    fn wait(&self) -> io::Result<Event> {
        // What another thread adds meanwhile is in its own next look.
        let until = self.waiting().connections.iter().map(|connection| connection.until).min();
        let mut space = [MaybeUninit::uninit()];
        let key = match epoll::wait(&self.epoll, &mut space, timespec(until).as_ref()) {
            Ok((events, _)) => events.first().map(|event| event.data.u64()),
            Err(Errno::INTR) => Some(SIGNAL),
            Err(error) => return Err(error.into()),
        };
        if key == Some(SIGNAL) {
            Deferred::get().into_iter().for_each(Deferred::run);
        }
        let [stopped] = wait_readable([self.stop.as_fd()], Some(Duration::ZERO))?;
        Ok(match key {
            _ if stopped => Event::Stop,
            Some(SIGNAL) => Event::Time,
            Some(key) if (1..=self.listeners.len() as u64).contains(&key) => {
                Event::Newcomer(key as usize - 1)
            }
            Some(key) => self.waiting().take(key).map_or(Event::Time, Event::Input),
            None => Event::Time,
        })
    }

    /// A newcomer waits like everybody, but others are accepted only a moment later: mostly its
    /// request is here by then, and another worker can take the next connection.
    fn accept(&self, listener: &Listener) -> io::Result<()> {
        let mut peer = None;
        let accepted = Private::make(|| match listener.accept()? {
            Some((socket, from)) => {
                peer = from;
                Ok(socket)
            }
            None => Err(io::ErrorKind::WouldBlock.into()),
        });
        let socket = match accepted {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            accepted => accepted?,
        };
        socket.set_send_timeout(self.limits.send_timeout)?;
        // Its events come when it waits.
        epoll::add(&self.epoll, &*socket, EventData::new_u64(0), EventFlags::ONESHOT)?;
        let _ = wait_readable([self.stop.as_fd(), socket.as_fd()], Some(FIRST_PATIENCE));
        let until = Instant::now() + self.limits.client_header_timeout;
        self.let_wait(Connection { key: 0, socket, peer, until, lingers: false })
    }

    /// Told to stop: requests that have come on accepted connections are answered, which no other
    /// worker can do. The silent are closed.
    fn serve_the_last<S: Service + ?Sized>(&self, service: &S, exchanger: &mut Exchanger) {
        let mut lingering = Vec::new();
        while let Some(connection) = self.take_any() {
            if connection.lingers {
                lingering.push(connection);
                continue;
            }
            if !connection.has_input() {
                continue;
            }
            if let Err(error) = self.serve_connection(connection, service, exchanger) {
                log::error!("cannot serve connections: {error}");
            }
        }
        let until = Instant::now() + LAST_PATIENCE;
        for connection in lingering {
            connection.socket.discard_until(until.min(connection.until));
        }
    }

    fn take_any(&self) -> Option<Connection> {
        self.waiting().connections.pop()
    }

    fn serve_connection<S: Service + ?Sized>(
        &self,
        mut connection: Connection,
        service: &S,
        exchanger: &mut Exchanger,
    ) -> io::Result<()> {
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
            yields_to: &self.yields_to,
            keep_alive: self.waiting().count(false) < self.settings.threads
                && !self.stop.is_requested(),
            peer: connection.peer,
            trusts_peer: self.settings.trusted.contains(connection.peer.map(|peer| peer.ip())),
            logs_access: self.settings.access_log.is_some(),
        };
        match exchanger.exchange(&connection.socket, service, &terms) {
            Outcome::Next => connection.until = Instant::now() + IDLE_TIMEOUT,
            // Its time goes on.
            Outcome::Nothing if connection.until > Instant::now() && !self.stop.is_requested() => {}
            Outcome::Lingers => {
                connection.socket.shutdown_write();
                connection.lingers = true;
                connection.until = Instant::now() + limits.lingering_timeout;
            }
            _ => return Ok(()),
        }
        self.let_wait(connection)
    }

    fn let_linger(&self, connection: Connection) -> io::Result<()> {
        match connection.socket.discard() && connection.until > Instant::now() {
            true => self.let_wait(connection),
            false => Ok(()),
        }
    }

    /// Known before it is armed: whoever hears of it finds it.
    fn let_wait(&self, mut connection: Connection) -> io::Result<()> {
        let mut waiting = self.waiting();
        if waiting.count(connection.lingers) >= MOST_WAITING * self.settings.threads {
            waiting.drop_first(connection.lingers);
        }
        connection.key = waiting.next_key;
        waiting.next_key += 1;
        let key = EventData::new_u64(connection.key);
        let flags = EventFlags::IN | EventFlags::RDHUP | EventFlags::ONESHOT;
        epoll::modify(&self.epoll, &*connection.socket, key, flags)?;
        waiting.connections.push(connection);
        Ok(())
    }

    /// A request that has come in time is served, though nobody has looked at it in time.
    fn close_the_idle(&self) -> io::Result<()> {
        let now = Instant::now();
        let is_late = |connection: &mut Connection| connection.until <= now;
        let late: Vec<_> = self.waiting().connections.extract_if(.., is_late).collect();
        let mut asking = late.into_iter().filter(|late| !late.lingers && late.has_input());
        asking.try_for_each(|connection| self.let_wait(connection))
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    fn has_input(&self) -> bool {
        let arrived = wait_readable([self.socket.as_fd()], Some(Duration::ZERO));
        arrived.is_ok_and(|[arrived]| arrived)
    }
}

impl Waiting {
    /// None: it was closed in the same moment.
    fn take(&mut self, key: u64) -> Option<Connection> {
        let place = self.connections.iter().position(|connection| connection.key == key)?;
        Some(self.connections.remove(place))
    }

    /// Of those that linger, or of the others: neither make room for the other.
    fn count(&self, lingers: bool) -> usize {
        self.connections.iter().filter(|connection| connection.lingers == lingers).count()
    }

    fn drop_first(&mut self, lingers: bool) {
        let mut all = self.connections.iter();
        let place = all.position(|connection| connection.lingers == lingers);
        place.into_iter().for_each(|place| drop(self.connections.remove(place)));
    }
}

/// Then come the listeners, then the connections.
const STOP: u64 = 0;
const SIGNAL: u64 = u64::MAX;
/// Connections for each thread, and as many that linger.
const MOST_WAITING: usize = 32;
const FIRST_PATIENCE: Duration = Duration::from_millis(5);
const IDLE_TIMEOUT: Duration = Duration::from_secs(2);
/// With those that linger when the worker is told to stop.
const LAST_PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(100);
