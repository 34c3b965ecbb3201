//! Clients that send requests with unique ids at a steady pace and account for every one.

use crate::client::{Client, Failure};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Clients at work. Each waits for its answer before its next request.
pub struct Storm {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Outcomes>>,
    begin: Instant,
}

/// What became of the requests.
#[derive(Debug, Default)]
pub struct Outcomes {
    /// Statuses by id: exactly one for each request that was answered.
    pub statuses: BTreeMap<usize, u16>,
    /// What the edge calls the requests that were not answered with 200 (`X-Request-Id`).
    pub request_ids: BTreeMap<usize, String>,
    /// Whatever else happened: no answer, another's answer, a second answer.
    pub faults: Vec<(usize, String)>,
    /// The longest time from sending a request to having its answer.
    pub longest: Duration,
    /// Requests of a second.
    pub rate: f64,
}

struct Shared {
    address: SocketAddr,
    method: &'static str,
    /// Between two requests of one client.
    interval: Duration,
    next: AtomicUsize,
    stop: AtomicBool,
}

impl Storm {
    /// Starts so many clients that together send so many requests a second, if there are more of
    /// them than requests that wait for their answers: `/once/ID/MS`, if the method is POST with
    /// contents of different lengths.
    pub fn start(
        address: SocketAddr,
        method: &'static str,
        clients: u32,
        per_second: u32,
    ) -> Storm {
        let interval = Duration::from_secs(1) * clients / per_second;
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let shared = Arc::new(Shared { address, method, interval, next, stop });
        let begin = Instant::now();
        let start = |number| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.client(begin + interval * number / clients))
        };
        let threads = (0..clients).map(start).collect();
        Storm { shared, threads, begin }
    }

    /// Requests sent so far.
    pub fn sent(&self) -> usize {
        self.shared.next.load(Ordering::Relaxed)
    }

    /// Waits for the answers under way and ends.
    ///
    /// # Panics
    /// When a client panicked.
    pub fn stop(self) -> Outcomes {
        let rate = self.sent() as f64 / self.begin.elapsed().as_secs_f64();
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut whole = Outcomes { rate, ..Outcomes::default() };
        for thread in self.threads {
            let part = thread.join().expect("clients report faults, they do not panic");
            whole.statuses.extend(part.statuses);
            whole.request_ids.extend(part.request_ids);
            whole.faults.extend(part.faults);
            whole.longest = whole.longest.max(part.longest);
        }
        whole
    }
}

impl Outcomes {
    /// The ids that were answered with this status.
    pub fn with(&self, status: u16) -> impl Iterator<Item = usize> {
        self.statuses.iter().filter(move |(_, had)| **had == status).map(|(id, _)| *id)
    }
}

impl Shared {
    fn client(&self, mut due: Instant) -> Outcomes {
        let mut outcomes = Outcomes::default();
        let mut connection = None;
        let mut id = 0;
        while !self.stop.load(Ordering::Relaxed) {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            // What could not be sent in time is made up for.
            due += self.interval;
            id = self.next.fetch_add(1, Ordering::Relaxed);
            let began = Instant::now();
            match self.exchange(id, &mut connection) {
                Ok((status, request_id)) => {
                    outcomes.statuses.insert(id, status);
                    outcomes.request_ids.extend(request_id.map(|request_id| (id, request_id)));
                }
                Err(fault) => outcomes.faults.push((id, fault)),
            }
            outcomes.longest = outcomes.longest.max(began.elapsed());
        }
        outcomes.faults.extend(connection.and_then(more).map(|fault| (id, fault)));
        outcomes
    }

    /// The status, and how the edge calls the request if that is not 200.
    fn exchange(
        &self,
        id: usize,
        connection: &mut Option<Client>,
    ) -> Result<(u16, Option<String>), String> {
        let mut exchange = || -> Result<_, Failure> {
            let mut client = match connection.take() {
                Some(client) => client,
                None => Client::try_connect(self.address)?,
            };
            client.try_send(request(self.method, id))?;
            Ok((client.try_response(false)?, client))
        };
        let (response, client) = exchange().map_err(|failure| failure.to_string())?;
        if response.status == 200 && response.content != id.to_string().as_bytes() {
            return Err(format!("answered with {:?}", String::from_utf8_lossy(&response.content)));
        }
        match response.closes() {
            true => more(client).map_or(Ok(()), Err)?,
            false => *connection = Some(client),
        }
        let failed = response.status != 200;
        let request_id = response.field("X-Request-Id").filter(|_| failed).map(str::to_owned);
        Ok((response.status, request_id))
    }
}

/// What a server says that was not asked.
fn more(mut client: Client) -> Option<String> {
    client.half_close();
    match client.try_response(false) {
        Err(Failure::Closed) => None,
        other => Some(format!("after the last answer: {other:?}")),
    }
}

/// Up to 3 ms of work, and contents below and above what one write and one buffer hold.
fn request(method: &str, id: usize) -> Vec<u8> {
    let length = match id % 50 {
        _ if method != "POST" => 0,
        0 => 100_000,
        1..10 => 5_000,
        10..30 => 100,
        _ => 0,
    };
    let milliseconds = id % 4;
    let line = format!("{method} /once/{id}/{milliseconds} HTTP/1.1");
    let head = format!("{line}\r\nHost: test\r\nContent-Length: {length}\r\n\r\n");
    let mut request = head.into_bytes();
    request.resize(request.len() + length, b'x');
    request
}
