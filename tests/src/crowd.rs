//! A crowd: clients that send and read slowly but whole, all of them driven by one thread.
//!
//! It costs little: each client has a turn now and then, in which it makes one system call.

use crate::client::{Client, Failure};
use crate::response::Response;
use socket2::{Domain, Socket, Type};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How fast clients are. See [`Pace::start`]. Each differs from that by up to a tenth, so that they
/// do not all end at once.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Bytes per second that a client sends.
    pub sends: usize,
    /// Bytes per second that a client reads.
    pub reads: usize,
    /// Time between two turns of a client, if we are in time. What is missed is not made up for.
    pub turn: Duration,
}

/// The bytes of a request, in pieces of which requests may share some.
pub type Pieces = Vec<Arc<[u8]>>;

/// Clients at work.
pub struct Crowd(JoinHandle<Vec<Result<Response, Failure>>>);

impl Pace {
    /// Connects one client per request, and sends the requests and reads the responses at this
    /// pace; returns when all are connected. Requests should
    /// ask for the end of the connection.
    ///
    /// # Panics
    /// When the server does not accept the clients.
    pub fn start(self, address: SocketAddr, requests: Vec<Pieces>) -> Crowd {
        let count = requests.len();
        let connect = |(number, pieces)| {
            let speed = self.turn.as_secs_f64() * (0.9 + 0.2 * number as f64 / count as f64);
            let [sends, reads] = [self.sends, self.reads].map(|one| (one as f64 * speed) as usize);
            let member = Member::connect(address, pieces, sends, reads);
            member.unwrap_or_else(|e| panic!("a slow client: {e}"))
        };
        let members: Vec<Member> = requests.into_iter().enumerate().map(connect).collect();
        Crowd(thread::spawn(move || self.drive(members)))
    }

    fn drive(self, mut members: Vec<Member>) -> Vec<Result<Response, Failure>> {
        let count = u32::try_from(members.len().max(1)).expect("a crowd is countable");
        let mut begin = Instant::now();
        while members.iter().any(Member::is_at_work) {
            for (member, number) in members.iter_mut().zip(0..) {
                let due = begin + self.turn * number / count;
                let early = due.saturating_duration_since(Instant::now());
                if early > TICK {
                    thread::sleep(early);
                }
                member.turn();
            }
            begin = (begin + self.turn).max(Instant::now());
        }
        members.into_iter().map(Member::outcome).collect()
    }
}

impl Crowd {
    /// Whether all clients have ended.
    pub fn is_over(&self) -> bool {
        self.0.is_finished()
    }

    /// Waits until the server has closed all connections; the responses, in the order of the
    /// requests.
    ///
    /// # Panics
    /// When a client panicked.
    pub fn join(self) -> Vec<Result<Response, Failure>> {
        self.0.join().expect("clients report failures, they do not panic")
    }
}

struct Member {
    stream: TcpStream,
    /// Not sent yet, the first one from `sent` on.
    pieces: Pieces,
    sent: usize,
    read: Vec<u8>,
    /// Bytes of a turn.
    sends: usize,
    reads: usize,
    /// When something moved last.
    moved: Instant,
    ended: Option<Result<(), Failure>>,
}

impl Member {
    fn connect(
        address: SocketAddr,
        mut pieces: Pieces,
        sends: usize,
        reads: usize,
    ) -> io::Result<Member> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        // Small, so that the kernel does not read in our place.
        socket.set_recv_buffer_size(reads * 2)?;
        socket.connect(&address.into())?;
        socket.set_tcp_nodelay(true)?;
        socket.set_nonblocking(true)?;
        pieces.reverse();
        let (stream, moved) = (socket.into(), Instant::now());
        Ok(Member { stream, pieces, sends, reads, sent: 0, read: Vec::new(), moved, ended: None })
    }

    fn is_at_work(&self) -> bool {
        self.ended.is_none()
    }

    fn outcome(self) -> Result<Response, Failure> {
        self.ended.unwrap_or(Err(Failure::TimedOut))?;
        Response::parse_whole(&self.read)
    }

    fn turn(&mut self) {
        if self.ended.is_some() {
            return;
        }
        let moved = match self.pieces.is_empty() {
            false => self.send(),
            true => self.receive(),
        };
        match moved {
            Ok(()) => self.moved = Instant::now(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if self.moved.elapsed() > Client::TIMEOUT {
                    self.ended = Some(Err(Failure::TimedOut));
                }
            }
            Err(error) => self.ended = Some(Err(error.into())),
        }
    }

    fn send(&mut self) -> io::Result<()> {
        let Some(piece) = self.pieces.last() else { return Ok(()) };
        let until = piece.len().min(self.sent + self.sends);
        self.sent += self.stream.write(&piece[self.sent..until])?;
        if self.sent == piece.len() {
            self.pieces.pop();
            self.sent = 0;
        }
        Ok(())
    }

    fn receive(&mut self) -> io::Result<()> {
        let before = self.read.len();
        self.read.resize(before + self.reads, 0);
        let result = self.stream.read(&mut self.read[before..]);
        self.read.truncate(before + *result.as_ref().unwrap_or(&0));
        if result? == 0 {
            self.ended = Some(Ok(()));
        }
        Ok(())
    }
}

/// Sleeps are not shorter.
const TICK: Duration = Duration::from_millis(2);
