//! The load: connections that ask again as soon as they are answered, in one thread on core 1.
//!
//! Owns the clients' side of a measurement: epoll(7), large reads, a look at status and length of
//! every answer. Must not know servers.

mod connection;
mod histogram;
pub(crate) mod open;

use crate::Failure;
use connection::Reading;
use histogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// Status and length of content that every answer must have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Expected {
    pub(crate) status: u16,
    /// Bytes.
    pub(crate) length: usize,
}

/// Some connections that do the same.
pub(crate) struct Clients {
    /// Each connection takes the next of them; all get the same kind of answer.
    pub(crate) requests: Vec<Vec<u8>>,
    pub(crate) expected: Expected,
    pub(crate) connections: usize,
    /// Requests that are sent at once.
    pub(crate) pipelined: usize,
    /// The server closes after an answer, and the client connects anew.
    pub(crate) closes: bool,
    /// Is told the number of each request that was answered.
    pub(crate) answered: Option<Box<dyn Fn(usize)>>,
}

/// What clients have seen in one run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Load {
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    /// Wrong answers, connections lost or refused, answers that did not come in time.
    pub(crate) errors: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

impl Load {
    /// Requests per second.
    pub(crate) fn rate(&self) -> f64 {
        self.requests as f64 / self.seconds
    }
}

/// All clients of one server, connected.
pub(crate) struct Crowd {
    port: u16,
    epoll: OwnedFd,
    clients: Vec<Group>,
    connections: Vec<Connection>,
    buffer: Vec<u8>,
}

struct Group {
    of: Clients,
    next: usize,
    answers: u64,
    errors: u64,
    latencies: Histogram,
}

struct Connection {
    group: usize,
    stream: TcpStream,
    reading: Reading,
    request: usize,
    /// Answers that are still to come.
    pending: usize,
    asked_at: Instant,
}

impl Crowd {
    /// # Errors
    /// The server refuses.
    pub(crate) fn connect(port: u16, clients: Vec<Clients>) -> Result<Crowd, Failure> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut connections = Vec::new();
        for (group, clients) in clients.iter().enumerate() {
            for _ in 0..clients.connections {
                let stream = open(&epoll, port, connections.len())?;
                let (reading, asked_at) = (Reading::default(), Instant::now());
                let connection =
                    Connection { group, stream, reading, request: 0, pending: 0, asked_at };
                connections.push(connection);
            }
        }
        let clients = clients.into_iter().map(Group::new).collect();
        Ok(Crowd { port, epoll, clients, connections, buffer: vec![0; READ_SIZE] })
    }

    /// Everybody asks for so long, and takes what was asked for. A load for each kind of clients.
    ///
    /// # Errors
    /// The server refuses connections.
    pub(crate) fn run(&mut self, time: Duration) -> Result<Vec<Load>, Failure> {
        let began = Instant::now();
        for index in 0..self.connections.len() {
            if self.clients[self.connections[index].group].of.closes {
                self.connect_again(index)?;
            }
            self.ask(index, began);
        }
        self.serve_until(began + time, true)?;
        self.serve_until(Instant::now() + PATIENCE, false)?;
        for index in 0..self.connections.len() {
            if self.connections[index].pending > 0 {
                self.fail(index, false)?;
            }
        }
        let seconds = began.elapsed().as_secs_f64();
        Ok(self.clients.iter_mut().map(|group| group.finish(seconds)).collect())
    }

    /// Asks again after answers or not; then it ends with the last answer.
    fn serve_until(&mut self, end: Instant, asks: bool) -> Result<(), Failure> {
        let mut events = Vec::with_capacity(EVENTS);
        let mut now = Instant::now();
        while now < end && (asks || self.connections.iter().any(|c| c.pending > 0)) {
            let left = Timespec::try_from(end - now)?;
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&left)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in events.drain(..) {
                self.receive(event.data.u64() as usize, asks)?;
            }
            now = Instant::now();
        }
        Ok(())
    }

    fn ask(&mut self, index: usize, now: Instant) {
        let connection = &mut self.connections[index];
        let group = &mut self.clients[connection.group];
        connection.request = group.next;
        group.next = (group.next + 1) % group.of.requests.len();
        connection.pending = group.of.pipelined;
        connection.asked_at = now;
        // What is lost is seen when the answer is read.
        let _ = connection.stream.write_all(&group.of.requests[connection.request]);
    }

    /// Level-triggered, so that the one read cannot wait.
    fn receive(&mut self, index: usize, asks: bool) -> Result<(), Failure> {
        let connection = &mut self.connections[index];
        let group = &mut self.clients[connection.group];
        let count = connection.stream.read(&mut self.buffer).unwrap_or(0);
        if count == 0 {
            return self.end(index, asks);
        }
        let Ok(found) = connection.reading.feed(&self.buffer[..count], &group.of.expected) else {
            return self.fail(index, asks);
        };
        if found.answers == 0 {
            return Ok(());
        }
        let now = Instant::now();
        group.latencies.add(now - connection.asked_at, found.answers);
        group.answers += found.answers as u64;
        group.errors += found.wrong as u64;
        connection.pending = connection.pending.saturating_sub(found.answers);
        let is_done = connection.pending == 0;
        if let Some(answered) = group.of.answered.as_ref().filter(|_| is_done) {
            answered(connection.request);
        }
        if is_done && asks && !group.of.closes {
            self.ask(index, now);
        }
        Ok(())
    }

    /// The server has closed.
    fn end(&mut self, index: usize, asks: bool) -> Result<(), Failure> {
        let connection = &self.connections[index];
        if connection.pending > 0 || !self.clients[connection.group].of.closes {
            return self.fail(index, asks);
        }
        self.start_again(index, asks)
    }

    /// What was asked is lost.
    fn fail(&mut self, index: usize, asks: bool) -> Result<(), Failure> {
        let connection = &mut self.connections[index];
        self.clients[connection.group].errors += connection.pending.max(1) as u64;
        connection.pending = 0;
        self.start_again(index, asks)
    }

    fn start_again(&mut self, index: usize, asks: bool) -> Result<(), Failure> {
        self.connect_again(index)?;
        if asks {
            self.ask(index, Instant::now());
        }
        Ok(())
    }

    fn connect_again(&mut self, index: usize) -> Result<(), Failure> {
        let connection = &mut self.connections[index];
        connection.reading = Reading::default();
        connection.stream = open(&self.epoll, self.port, index)?;
        Ok(())
    }
}

impl Group {
    fn new(of: Clients) -> Group {
        Group { of, next: 0, answers: 0, errors: 0, latencies: Histogram::default() }
    }

    fn finish(&mut self, seconds: f64) -> Load {
        let load = Load {
            requests: std::mem::take(&mut self.answers),
            seconds,
            errors: std::mem::take(&mut self.errors),
            p50_ms: self.latencies.percentile(50.0),
            p99_ms: self.latencies.percentile(99.0),
        };
        self.latencies.clear();
        load
    }
}

/// On one machine a connection is there when connect(2) returns. An old one leaves epoll by itself.
fn open(epoll: &OwnedFd, port: u16, index: usize) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    let data = epoll::EventData::new_u64(index as u64);
    epoll::add(epoll, &stream, data, epoll::EventFlags::IN)?;
    Ok(stream)
}

/// Large contents in few reads, from a cache of the core.
const READ_SIZE: usize = 256 << 10;
const EVENTS: usize = 256;
/// For what was asked before the end.
const PATIENCE: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;
    use std::thread;

    /// Answers each request, and perhaps closes then.
    fn server(answer: &'static str, closes: bool) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut reader = BufReader::new(stream.unwrap());
                thread::spawn(move || {
                    let mut line = String::new();
                    while reader.read_line(&mut line).is_ok_and(|count| count > 0) {
                        if line == "\r\n" {
                            let _ = reader.get_mut().write_all(answer.as_bytes());
                            if closes {
                                return;
                            }
                        }
                        line.clear();
                    }
                });
            }
        });
        port
    }

    fn clients(pipelined: usize, closes: bool) -> Clients {
        Clients {
            requests: vec!["GET / HTTP/1.1\r\n\r\n".repeat(pipelined).into_bytes()],
            expected: Expected { status: 200, length: 2 },
            connections: 3,
            pipelined,
            closes,
            answered: None,
        }
    }

    const RIGHT: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

    #[test]
    fn every_right_answer_counts_once() {
        for (pipelined, closes) in [(1, false), (16, false), (1, true)] {
            let port = server(RIGHT, closes);
            let mut crowd = Crowd::connect(port, vec![clients(pipelined, closes)]).unwrap();
            for _ in 0..2 {
                let load = crowd.run(Duration::from_millis(50)).unwrap()[0];
                assert_eq!(load.errors, 0, "{pipelined} at once, closes: {closes}");
                assert!(load.requests >= 3 * pipelined as u64);
                assert_eq!(load.requests % pipelined as u64, 0);
            }
        }
    }

    #[test]
    fn what_is_wrong_or_lost_is_an_error() {
        let wrong = [
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi!", false),
            ("HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\nhi", false),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", true),
        ];
        for (answer, closes) in wrong {
            let mut crowd =
                Crowd::connect(server(answer, closes), vec![clients(1, false)]).unwrap();
            let load = crowd.run(Duration::from_millis(20)).unwrap()[0];
            assert!(load.errors >= 3, "{load:?} after {answer:?}");
        }
    }
}
