//! A closed loop of clients: each sends its next request when it has the answer to the last.

use crate::client::{Client, Failure};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Clients at work. See [`Load::start`].
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Report>>,
}

struct Shared {
    address: SocketAddr,
    request: Vec<u8>,
    stop: AtomicBool,
    answered: AtomicUsize,
}

/// What clients have seen.
#[derive(Debug, Default)]
pub struct Report {
    /// Time from sending a request to having its whole answer, one per answer, sorted.
    pub latencies: Vec<Duration>,
    /// Statuses other than 200, as they came.
    pub statuses: Vec<u16>,
    /// Requests without an answer.
    pub failures: Vec<Failure>,
}

impl Load {
    /// Starts `connections` clients that repeat `request` on connections that they keep.
    pub fn start(address: SocketAddr, request: impl Into<Vec<u8>>, connections: usize) -> Load {
        let request = request.into();
        let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
        let shared = Arc::new(Shared { address, request, stop, answered });
        let start = |_| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.client())
        };
        let threads = (0..connections).map(start).collect();
        Load { shared, threads }
    }

    /// Runs clients for a time.
    pub fn run(
        address: SocketAddr,
        request: impl Into<Vec<u8>>,
        connections: usize,
        duration: Duration,
    ) -> Report {
        let load = Load::start(address, request, connections);
        thread::sleep(duration);
        load.stop()
    }

    /// Answers so far.
    pub fn answered(&self) -> usize {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Waits for the answers under way and ends.
    ///
    /// # Panics
    /// When a client panicked.
    pub fn stop(self) -> Report {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.join()
    }

    /// Waits until all clients have ended by themselves, because nobody listens any more.
    ///
    /// # Panics
    /// When a client panicked.
    pub fn join(self) -> Report {
        let mut whole = Report::default();
        for thread in self.threads {
            let report = thread.join().expect("clients report failures, they do not panic");
            whole.latencies.extend(report.latencies);
            whole.statuses.extend(report.statuses);
            whole.failures.extend(report.failures);
        }
        whole.latencies.sort_unstable();
        whole
    }
}

impl Shared {
    fn client(&self) -> Report {
        let mut report = Report::default();
        let mut connection = None;
        while !self.stop.load(Ordering::Relaxed) {
            let started = Instant::now();
            match self.exchange(&mut connection) {
                Ok(status) => {
                    report.latencies.push(started.elapsed());
                    report.statuses.extend(Some(status).filter(|status| *status != 200));
                    self.answered.fetch_add(1, Ordering::Relaxed);
                }
                Err(failure) => {
                    connection = None;
                    let is_over = failure == Failure::Refused;
                    report.failures.push(failure);
                    if is_over {
                        break;
                    }
                }
            }
        }
        report
    }

    fn exchange(&self, connection: &mut Option<Client>) -> Result<u16, Failure> {
        let mut client = match connection.take() {
            Some(client) => client,
            None => Client::try_connect(self.address)?,
        };
        client.try_send(&self.request)?;
        let response = client.try_response(false)?;
        if !response.closes() {
            *connection = Some(client);
        }
        Ok(response.status)
    }
}

impl Report {
    /// The latency that this share of the answers did not exceed: `percentile(99.0)`.
    ///
    /// # Panics
    /// When there was no answer.
    pub fn percentile(&self, percent: f64) -> Duration {
        assert!(!self.latencies.is_empty(), "no answers: {:?}", self.failures.first());
        let last = self.latencies.len() - 1;
        self.latencies[((percent / 100.0) * last as f64).ceil() as usize]
    }

    /// # Panics
    /// Unless every request was answered with 200.
    pub fn assert_all_answered(&self) {
        let answers = self.latencies.len();
        assert!(self.failures.is_empty(), "beside {answers} answers: {:?}", self.failures);
        assert!(self.statuses.is_empty(), "among {answers} answers: {:?}", self.statuses);
        assert!(!self.latencies.is_empty(), "no request was sent");
    }
}
