//! An application whose work the arbiter can see.
//!
//! Owns what is written to the liveness table, and when a worker has done enough. Must not know
//! connections: time that a receiver takes is not the application's.

use crate::app::{App, Request};
use crate::arbiter::{Word, Words};
use crate::liveness::Entry;
use crate::response::Response;
use crate::signals;
use crate::wire::{Answered, Arrival, Gone, Responder, Service};
use bytes::Bytes;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What the threads of a worker have in common.
#[derive(Debug)]
pub(crate) struct Duty {
    words: Words,
    /// For a response, and for each piece of a stream.
    timeout: Option<Duration>,
    /// Requests until the worker should be replaced; none, if 0 at the start.
    left: AtomicU64,
    /// Threads that were never ready.
    unready: AtomicUsize,
}

impl Duty {
    /// `max_requests` 0 is no limit. The worker is ready when each of its `threads` has been.
    pub(crate) fn new(
        words: Words,
        timeout: Option<Duration>,
        max_requests: u64,
        threads: usize,
    ) -> Arc<Duty> {
        let (left, unready) = (AtomicU64::new(max_requests), AtomicUsize::new(threads));
        Arc::new(Duty { words, timeout, left, unready })
    }

    /// Another thread can take requests. The last one tells the arbiter.
    fn ready(&self) {
        if self.unready.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.words.say(Word::Ready);
        }
    }

    /// One request is done. The last one of the budget asks for a replacement, and those that
    /// come until then are served all the same.
    fn count(&self) {
        let less = |left: u64| left.checked_sub(1);
        if self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less) == Ok(1) {
            self.words.say(Word::Spent);
        }
    }
}

/// One thread of a worker, as the arbiter sees it.
#[derive(Clone, Debug)]
pub struct Seat(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    duty: Arc<Duty>,
    entry: Entry,
    was_ready: AtomicBool,
}

impl Seat {
    /// `entry` is this thread's.
    pub(crate) fn new(duty: Arc<Duty>, entry: Entry) -> Seat {
        Seat(Arc::new(Inner { duty, entry, was_ready: AtomicBool::new(false) }))
    }

    /// This thread can take requests, perhaps again.
    pub(crate) fn ready(&self) {
        self.0.entry.ready();
        if !self.0.was_ready.swap(true, Ordering::Relaxed) {
            self.0.duty.ready();
        }
    }

    /// The request that should have ended: its id, perhaps without its end, and its age.
    pub fn overdue(&self) -> Option<(String, Duration)> {
        let snapshot = self.0.entry.snapshot()?;
        snapshot.overdue.map(|_| (snapshot.request_id, snapshot.age))
    }

    /// A request begins, as far as the arbiter can see. It is late when the edge waits no longer,
    /// or after the worker's own timeout.
    ///
    /// That is before it is taken: so the arbiter knows of every request that may have been started
    /// what has become of it, whenever this process is killed, and sees what keeps one waiting that
    /// is here.
    pub fn begin<'a>(&self, arrival: Arrival<'a>) -> Begun<'a> {
        let running = self.run(arrival.request());
        Begun { arrival, running }
    }

    /// The entry is the parent's, and so is the request, if the application has forked this
    /// process: that ends here.
    fn of_this_process(&self) -> &Inner {
        signals::end_if_forked();
        &self.0
    }

    fn run(&self, request: &Request) -> Running {
        let now = Instant::now();
        let patience = request.deadline().map(|at| at.saturating_duration_since(now));
        let running = Running { seat: self.clone(), patience, is_taken: false };
        self.0.entry.begin(request.request_id(), running.deadline(now));
        running
    }
}

/// A request that the arbiter sees, and that is still to be taken. Dropped, it never was here.
#[derive(Debug)]
pub struct Begun<'a> {
    arrival: Arrival<'a>,
    running: Running,
}

impl<'a> Begun<'a> {
    /// The request.
    pub fn request(&self) -> &Request {
        self.arrival.request()
    }

    /// Takes its last bytes. It ends when [`Running`] is dropped.
    ///
    /// # Errors
    /// See [`Arrival::take`].
    pub fn take(self) -> Result<(Request, Responder<'a>, Running), Gone> {
        let (request, responder) = self.arrival.take()?;
        Ok((request, responder, self.running.taken()))
    }
}

/// The application, as one thread of a worker calls it.
#[derive(Debug)]
pub(crate) struct Watched<'a, A: ?Sized> {
    app: &'a A,
    seat: Seat,
}

impl<'a, A: App + ?Sized> Watched<'a, A> {
    pub(crate) fn new(app: &'a A, seat: Seat) -> Watched<'a, A> {
        Watched { app, seat }
    }

    fn call(&self, request: Request, running: Running) -> Response {
        self.app.call(request).map_stream(|pieces| {
            running.sending();
            WatchedPieces { pieces, running }
        })
    }
}

impl<A: App + ?Sized> Service for Watched<'_, A> {
    fn answer(&self, arrival: Arrival<'_>) -> Result<Answered, Gone> {
        let (request, responder, running) = self.seat.begin(arrival).take()?;
        Ok(responder.send_result_of(|| self.call(request, running)))
    }
}

/// A request, until it is dropped.
#[derive(Debug)]
pub struct Running {
    seat: Seat,
    /// How long the edge waits, for a response and for each piece of it.
    patience: Option<Duration>,
    is_taken: bool,
}

impl Running {
    /// A piece of the response is on its way: how long that takes is not the application's affair.
    pub fn sending(&self) {
        self.seat.of_this_process().entry.sending();
    }

    /// The application is at work again, and late after another timeout.
    pub fn resume(&self) {
        let deadline = self.deadline(Instant::now());
        self.seat.of_this_process().entry.resume(deadline);
    }

    fn deadline(&self, now: Instant) -> Option<Instant> {
        let least = self.patience.into_iter().chain(self.seat.0.duty.timeout).min();
        least.and_then(|least| now.checked_add(least))
    }

    fn taken(mut self) -> Running {
        self.is_taken = true;
        self
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Inner { duty, entry, .. } = self.seat.of_this_process();
        if !self.is_taken {
            return entry.ready();
        }
        entry.end();
        duty.count();
    }
}

struct WatchedPieces<I> {
    /// First: a destructor is the application's work, too.
    pieces: I,
    running: Running,
}

impl<I: Iterator<Item = io::Result<Bytes>>> Iterator for WatchedPieces<I> {
    type Item = io::Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        self.running.resume();
        let piece = self.pieces.next();
        self.running.sending();
        piece
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::liveness::{State, Table};
    use crate::response::Body;
    use std::io::Read;

    #[test]
    fn a_worker_is_ready_when_each_of_its_threads_has_been() {
        let table = Table::new(1, 2).unwrap();
        let (mut said, words) = io::pipe().unwrap();
        let duty = Duty::new(Words::new(words), None, 0, 2);
        let thread = |slot| Seat::new(Arc::clone(&duty), table.row(0, 0).entry(slot));
        let (one, two) = (thread(0), thread(1));
        one.ready();
        one.ready();
        duty.words.say(Word::Spent);
        two.ready();
        let mut words = [[0; 8]; 2];
        said.read_exact(words.as_flattened_mut()).unwrap();
        let words = words.map(|word| Words::understand(word).unwrap().1);
        assert_eq!(words, [Word::Spent, Word::Ready]);
    }

    #[test]
    fn a_piece_is_late_when_the_edge_waits_no_longer_or_after_the_timeout() {
        let table = Table::new(1, 1).unwrap();
        let second = Duration::from_secs(1);
        for (patience, timeout) in [(1, Some(60)), (60, Some(1)), (1, None)] {
            let words = Words::new(io::pipe().unwrap().1);
            let duty = Duty::new(words, timeout.map(Duration::from_secs), 0, 1);
            let seat = Seat::new(duty, table.row(0, 0).entry(0));
            let patience = Some(Duration::from_secs(patience));
            let running = Running { seat, patience, is_taken: true };
            let now = Instant::now();
            assert_eq!(running.deadline(now), Some(now + second));
        }
    }

    #[test]
    fn calls_and_pieces_are_seen_and_counted() {
        let table = Table::new(1, 1).unwrap();
        let look = |table: &Table| {
            let snapshot = table.snapshot(0, 0).unwrap();
            (snapshot.state, snapshot.requests)
        };
        let (mut said, words) = io::pipe().unwrap();
        let duty = Duty::new(Words::new(words), Some(Duration::from_secs(60)), 2, 1);
        let app = |request: Request| match request.path() {
            "/stream" => Response::stream(["", "a", "", "b"].map(|it| Ok(it.into())).into_iter()),
            "/panic" => panic!("as asked"),
            _ => Response::text("ok"),
        };
        let watched = Watched::new(&app, Seat::new(duty, table.row(0, 0).entry(0)));
        let call = |path| {
            let request = Request::new("GET", path);
            let running = watched.seat.run(&request).taken();
            assert_eq!(look(&table).0, State::Busy);
            watched.call(request, running)
        };
        let untaken = watched.seat.run(&Request::new("GET", "/"));
        assert_eq!(look(&table), (State::Busy, 0), "whatever keeps it from being taken");
        drop(untaken);
        assert_eq!(look(&table), (State::Idle, 0));
        call("/");
        assert_eq!(look(&table), (State::Idle, 1));
        let Body::Stream(mut pieces) = call("/stream").into_body() else { panic!("a stream") };
        assert_eq!(look(&table), (State::Sending, 1));
        // In the time for one: an empty one is none.
        assert_eq!(pieces.next().unwrap().unwrap(), "a");
        assert_eq!(look(&table), (State::Sending, 1));
        drop(pieces);
        assert_eq!(look(&table), (State::Idle, 2));
        let mut word = [0; 8];
        said.read_exact(&mut word).unwrap();
        let spent = (std::process::id().cast_signed(), Word::Spent);
        assert_eq!(Words::understand(word), Some(spent));
        let panics = std::panic::AssertUnwindSafe(|| call("/panic"));
        assert!(std::panic::catch_unwind(panics).is_err());
        assert_eq!(look(&table), (State::Idle, 3));
    }
}
