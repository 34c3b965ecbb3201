//! A load that does not wait: requests come when they come, whatever has become of those before.
//!
//! Owns the clients' side: a connection for each open request, kept for later ones. Must not know
//! servers, nor what the records mean.

use super::connection::Reading;
use super::{EVENTS, Expected, READ_SIZE};
use crate::Failure;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// A request that somebody wants answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Arrival {
    /// After the beginning.
    pub(crate) at: Duration,
    /// Which of the plan's requests.
    pub(crate) kind: usize,
}

/// What is asked, and when.
pub(crate) struct Plan<'a> {
    /// By kind; all get the same kind of answer.
    pub(crate) requests: Vec<Vec<u8>>,
    pub(crate) expected: Expected,
    /// In the order of their times.
    pub(crate) arrivals: &'a [Arrival],
    /// After so long without an answer a client closes its connection.
    pub(crate) patience: Duration,
}

/// What a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Right,
    /// Another answer than expected, of this status.
    Wrong(u16),
    /// No connection, or closed without an answer.
    Lost,
    GaveUp,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) kind: usize,
    pub(crate) at: Duration,
    /// From when it was due, even if it could not be sent then.
    pub(crate) took: Duration,
    pub(crate) end: End,
}

/// Plays the plan; a record of each arrival, in the order of their ends.
///
/// # Errors
/// This process cannot open connections any more.
pub(crate) fn run(port: u16, plan: &Plan<'_>) -> Result<Vec<Record>, Failure> {
    let mut open = Open {
        port,
        plan,
        epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
        began: Instant::now(),
        clients: Vec::new(),
        free: Vec::new(),
        idle: Vec::new(),
        client_of: Vec::new(),
        oldest: 0,
        records: Vec::new(),
        buffer: vec![0; READ_SIZE],
    };
    loop {
        let now = open.began.elapsed();
        while plan.arrivals.get(open.client_of.len()).is_some_and(|arrival| arrival.at <= now) {
            open.ask()?;
        }
        open.give_up(now);
        if open.records.len() == plan.arrivals.len() {
            return Ok(open.records);
        }
        open.serve(now)?;
    }
}

struct Open<'a> {
    port: u16,
    plan: &'a Plan<'a>,
    epoll: OwnedFd,
    began: Instant,
    clients: Vec<Option<Client>>,
    /// Indices of clients that are not there.
    free: Vec<usize>,
    /// Indices of clients that wait for nothing.
    idle: Vec<usize>,
    /// Of each arrival that has been, until its end.
    client_of: Vec<Option<usize>>,
    /// All arrivals before this one have ended.
    oldest: usize,
    records: Vec<Record>,
    buffer: Vec<u8>,
}

struct Client {
    stream: TcpStream,
    reading: Reading,
    is_connected: bool,
    /// The number of the arrival.
    asks: Option<usize>,
    /// It was answered before and has been sent nothing since: if it is closed now, the server has
    /// not begun, and clients may ask elsewhere (RFC 9110, 9.2.2).
    is_reused: bool,
}

impl Open<'_> {
    /// The next arrival.
    fn ask(&mut self) -> Result<(), Failure> {
        let number = self.client_of.len();
        self.client_of.push(None);
        match self.idle.pop() {
            Some(index) => {
                let request = &self.plan.requests[self.plan.arrivals[number].kind];
                if let Some(client) = self.clients[index].as_mut() {
                    (client.asks, client.is_reused) = (Some(number), true);
                    // What is lost is seen when the answer is read.
                    let _ = client.stream.write_all(request);
                }
                self.client_of[number] = Some(index);
                Ok(())
            }
            None => self.connect(number),
        }
    }

    fn connect(&mut self, number: usize) -> Result<(), Failure> {
        let Some(stream) = start_connection(self.port)? else {
            self.finish(number, End::Lost);
            return Ok(());
        };
        let index = self.free.pop().unwrap_or_else(|| {
            self.clients.push(None);
            self.clients.len() - 1
        });
        let data = epoll::EventData::new_u64(index as u64);
        epoll::add(&self.epoll, &stream, data, epoll::EventFlags::OUT)?;
        let reading = Reading::default();
        let client =
            Client { stream, reading, is_connected: false, asks: Some(number), is_reused: false };
        self.clients[index] = Some(client);
        self.client_of[number] = Some(index);
        Ok(())
    }

    /// Of those who have waited for too long.
    fn give_up(&mut self, now: Duration) {
        while let Some(client) = self.client_of.get(self.oldest) {
            if let Some(index) = *client {
                if self.plan.arrivals[self.oldest].at + self.plan.patience > now {
                    return;
                }
                self.close(index);
                self.finish(self.oldest, End::GaveUp);
            }
            self.oldest += 1;
        }
    }

    /// Waits until the next arrival, or the end of somebody's patience, and takes what comes.
    fn serve(&mut self, now: Duration) -> Result<(), Failure> {
        let arrives = self.plan.arrivals.get(self.client_of.len()).map(|next| next.at);
        let gives_up = self.plan.arrivals.get(self.oldest).map(|old| old.at + self.plan.patience);
        let next = [arrives, gives_up].into_iter().flatten().min().unwrap_or(now);
        let timeout = Timespec::try_from(next.saturating_sub(now))?;
        let mut events = Vec::with_capacity(EVENTS);
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        events.iter().try_for_each(|event| self.event(event.data.u64() as usize))
    }

    fn event(&mut self, index: usize) -> Result<(), Failure> {
        let Some(client) = self.clients[index].as_mut() else { return Ok(()) };
        if !client.is_connected {
            return self.connected(index);
        }
        let count = match client.stream.read(&mut self.buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            result => result.unwrap_or(0),
        };
        if count == 0 {
            return self.closed(index);
        }
        client.is_reused = false;
        let found = client.reading.feed(&self.buffer[..count], &self.plan.expected);
        match (found, client.asks) {
            (Ok(found), _) if found.answers == 0 => {}
            (Ok(found), Some(number)) => {
                client.asks = None;
                let end = if found.wrong == 0 { End::Right } else { End::Wrong(found.status) };
                self.finish(number, end);
                if found.closes {
                    self.close(index);
                } else {
                    self.idle.push(index);
                }
            }
            (_, asks) => {
                self.close(index);
                asks.into_iter().for_each(|number| self.finish(number, End::Lost));
            }
        }
        Ok(())
    }

    /// Or refused.
    fn connected(&mut self, index: usize) -> Result<(), Failure> {
        let Some(client) = self.clients[index].as_mut() else { return Ok(()) };
        if !matches!(client.stream.take_error(), Ok(None)) {
            return self.closed(index);
        }
        client.is_connected = true;
        let data = epoll::EventData::new_u64(index as u64);
        epoll::modify(&self.epoll, &client.stream, data, epoll::EventFlags::IN)?;
        if let Some(number) = client.asks {
            let request = &self.plan.requests[self.plan.arrivals[number].kind];
            let _ = client.stream.write_all(request);
        }
        Ok(())
    }

    /// By the server.
    fn closed(&mut self, index: usize) -> Result<(), Failure> {
        match self.close(index) {
            Some(Client { asks: Some(number), is_reused: true, .. }) => self.connect(number),
            Some(Client { asks: Some(number), .. }) => {
                self.finish(number, End::Lost);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn close(&mut self, index: usize) -> Option<Client> {
        self.idle.retain(|idle| *idle != index);
        self.free.push(index);
        self.clients[index].take()
    }

    fn finish(&mut self, number: usize, end: End) {
        let Arrival { at, kind } = self.plan.arrivals[number];
        let took = self.began.elapsed().saturating_sub(at);
        self.client_of[number] = None;
        self.records.push(Record { kind, at, took, end });
    }
}

/// None if nobody listens.
fn start_connection(port: u16) -> io::Result<Option<TcpStream>> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    match connect(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(Errno::CONNREFUSED | Errno::CONNRESET) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    Ok(Some(stream))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;
    use std::thread;

    /// Answers as the path says, on as many connections as come.
    fn server() -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming() {
                thread::spawn(move || answer(stream.unwrap()));
            }
        });
        port
    }

    fn answer(stream: TcpStream) {
        let (mut reader, mut line, mut asked) =
            (BufReader::new(stream), String::new(), String::new());
        while reader.read_line(&mut line).is_ok_and(|count| count > 0) {
            if line.starts_with("GET") {
                asked = line.clone();
            } else if line == "\r\n" {
                let close = if asked.contains("close") { "Connection: close\r\n" } else { "" };
                let status = if asked.contains("busy") { "503 Busy" } else { "200 OK" };
                let text = format!("HTTP/1.1 {status}\r\n{close}Content-Length: 2\r\n\r\nhi");
                if asked.contains("drop") {
                    return;
                }
                if !asked.contains("never") {
                    let _ = reader.get_mut().write_all(text.as_bytes());
                }
                if asked.contains("close") || asked.contains("leave") {
                    return;
                }
            }
            line.clear();
        }
    }

    fn ends(paths: &[&str], gap: Duration) -> Vec<End> {
        let requests =
            paths.iter().map(|path| format!("GET /{path} HTTP/1.1\r\n\r\n").into_bytes());
        let arrival = |kind: usize| Arrival { at: gap * kind as u32, kind };
        let arrivals: Vec<Arrival> = (0..paths.len()).map(arrival).collect();
        let plan = Plan {
            requests: requests.collect(),
            expected: Expected { status: 200, length: 2 },
            arrivals: &arrivals,
            patience: Duration::from_millis(500),
        };
        let mut records = run(server(), &plan).unwrap();
        records.sort_by_key(|record| record.kind);
        records.into_iter().map(|record| record.end).collect()
    }

    #[test]
    fn every_arrival_has_an_end() {
        let ends = ends(&["right", "busy", "drop", "never", "close"], Duration::ZERO);
        let right = [End::Right, End::Wrong(503), End::Lost, End::GaveUp, End::Right];
        assert_eq!(ends, right);
    }

    #[test]
    fn a_connection_that_was_closed_while_idle_loses_nothing() {
        let paths = ["right", "leave", "right", "close", "right"];
        assert_eq!(ends(&paths, Duration::from_millis(20)), [End::Right; 5]);
    }

    #[test]
    fn nobody_listens() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let arrivals = [Arrival { at: Duration::ZERO, kind: 0 }];
        let plan = Plan {
            requests: vec![b"GET / HTTP/1.1\r\n\r\n".to_vec()],
            expected: Expected { status: 200, length: 2 },
            arrivals: &arrivals,
            patience: Duration::from_millis(500),
        };
        assert_eq!(run(port, &plan).unwrap()[0].end, End::Lost);
    }
}
