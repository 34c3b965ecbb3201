//! An open loop: requests come at drawn times, however many still wait for their answers.
//!
//! A closed loop would slow down with the server and so hide what overload does.

use crate::client::{Client, Failure};
use crate::random::Random;
use crate::sys;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Requests that arrive at random times, the same ones for the same seed, sent by one thread.
#[derive(Clone, Debug)]
pub struct OpenLoop {
    /// Who is asked.
    pub address: SocketAddr,
    /// What each client asks for.
    pub target: &'static str,
    /// Arrivals of a second, on average (Poisson).
    pub per_second: f64,
    /// Requests arrive for so long; then their answers are awaited.
    pub duration: Duration,
    /// How long a client waits before it resets its connection.
    pub patience: Duration,
    /// Of the arrivals.
    pub seed: u64,
}

/// What became of one request.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// When it was drawn to arrive, since the begin.
    pub at: Duration,
    /// How much later it was sent, because we were busy.
    pub late: Duration,
    /// From `at` to its end.
    pub latency: Duration,
    /// Its end.
    pub outcome: Outcome,
}

/// How a request ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered with this status.
    Answered(u16),
    /// Its client went away.
    GaveUp,
    /// There was no whole response.
    Failed(Failure),
}

impl OpenLoop {
    /// Sends all requests and waits for what becomes of them.
    pub fn run(&self) -> Vec<Arrival> {
        let mut state = State::new(self);
        while let Some(until) = state.next() {
            state.wait(until);
            state.send_due();
            state.give_up();
        }
        state.ended.sort_unstable_by_key(|arrival| arrival.at);
        state.ended
    }

    fn draw(&self) -> VecDeque<Duration> {
        let (mut random, mut at) = (Random::new(self.seed), Duration::ZERO);
        let next = || {
            at += random.gap(self.per_second);
            Some(at).filter(|at| *at < self.duration)
        };
        std::iter::from_fn(next).collect()
    }
}

impl Arrival {
    /// Whether it was answered with this status.
    pub fn has(&self, status: u16) -> bool {
        self.outcome == Outcome::Answered(status)
    }
}

struct State<'a> {
    plan: &'a OpenLoop,
    begin: Instant,
    due: VecDeque<Duration>,
    /// In the order of their arrival.
    waiting: VecDeque<Waiting>,
    idle: Vec<Client>,
    ended: Vec<Arrival>,
}

struct Waiting {
    client: Client,
    at: Duration,
    late: Duration,
}

impl<'a> State<'a> {
    fn new(plan: &'a OpenLoop) -> State<'a> {
        State {
            plan,
            begin: Instant::now(),
            due: plan.draw(),
            waiting: VecDeque::new(),
            idle: Vec::new(),
            ended: Vec::new(),
        }
    }

    /// When something is to be done, whatever the server does.
    fn next(&self) -> Option<Duration> {
        let leaves = self.waiting.front().map(|first| first.at + self.plan.patience);
        self.due.front().copied().into_iter().chain(leaves).min()
    }

    /// Reads answers until then, at most once.
    fn wait(&mut self, until: Duration) {
        let timeout = until.saturating_sub(self.begin.elapsed());
        let files: Vec<_> = self.waiting.iter().map(|waiting| waiting.client.as_fd()).collect();
        let readable = sys::readable(&files, timeout);
        let waiting = std::mem::take(&mut self.waiting);
        for (one, is_readable) in waiting.into_iter().zip(readable) {
            if is_readable { self.read(one) } else { self.waiting.push_back(one) }
        }
    }

    /// Answers are so small that whoever has begun to send one has sent it.
    fn read(&mut self, Waiting { mut client, at, late }: Waiting) {
        let outcome = match client.try_response(false) {
            Ok(response) => {
                if !response.closes() {
                    self.idle.push(client);
                }
                Outcome::Answered(response.status)
            }
            Err(failure) => Outcome::Failed(failure),
        };
        self.end(at, late, outcome);
    }

    fn send_due(&mut self) {
        while let Some(at) = self.due.pop_front_if(|at| *at <= self.begin.elapsed()) {
            let late = self.begin.elapsed() - at;
            match self.send() {
                Ok(client) => self.waiting.push_back(Waiting { client, at, late }),
                Err(failure) => self.end(at, late, Outcome::Failed(failure)),
            }
        }
    }

    fn send(&mut self) -> Result<Client, Failure> {
        let mut client = match self.idle.pop() {
            Some(client) => client,
            None => Client::try_connect(self.plan.address)?,
        };
        client.try_send(format!("GET {} HTTP/1.1\r\nHost: test\r\n\r\n", self.plan.target))?;
        Ok(client)
    }

    fn give_up(&mut self) {
        let now = self.begin.elapsed();
        let patience = self.plan.patience;
        while let Some(gone) = self.waiting.pop_front_if(|first| first.at + patience <= now) {
            gone.client.reset();
            self.end(gone.at, gone.late, Outcome::GaveUp);
        }
    }

    fn end(&mut self, at: Duration, late: Duration, outcome: Outcome) {
        let latency = self.begin.elapsed() - at;
        self.ended.push(Arrival { at, late, latency, outcome });
    }
}
