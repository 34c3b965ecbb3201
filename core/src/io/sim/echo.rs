//! The simulator's own proof: an echo server on two reactors, whatever the kernel does.

use super::super::{
    Backend, Body, Completion, Direction, Done, Errno, Fd, Op, Outgoing, Time, Token, Transit, Wait,
};
use super::{DescriptorKind, Faults, Peer, Random, SimBackend, SimKernel};
use std::fmt::Write;
use std::time::Duration;

/// Echoes what it receives; closes by the rules.
struct Echo {
    backend: SimBackend,
    listener: Fd,
    accepting: bool,
    leaving: bool,
    /// When to accept again after `EMFILE`.
    accept_at: Option<Time>,
    connections: Vec<Connection>,
    /// Connections that ended by an error.
    broken: usize,
}

struct Connection {
    fd: Fd,
    in_flight: u32,
    ending: bool,
    closed: bool,
}

impl Echo {
    const LISTENER: Token = Token::new(1, 0, 0);

    fn new(backend: SimBackend, listener: Fd) -> Echo {
        let mut echo = Echo {
            backend,
            listener,
            accepting: false,
            leaving: false,
            accept_at: None,
            connections: Vec::new(),
            broken: 0,
        };
        echo.accept();
        echo
    }

    fn turn(&mut self, done: &mut Vec<Completion>, trace: &mut String) {
        let now = self.backend.now();
        if self.accept_at.take_if(|moment| *moment <= now).is_some() {
            self.accept();
        }
        let wait = self.accept_at.map_or(Wait::Forever, Wait::Until);
        self.backend.turn(wait, done).unwrap();
        for Completion { token, done } in done.drain(..) {
            writeln!(trace, "{:?} {token:?} {done:?}", self.backend.id()).unwrap();
            match done {
                Done::Accept { result, armed } => self.accepted(result, armed),
                done => self.handle(token.index() as usize, done),
            }
        }
    }

    fn accept(&mut self) {
        self.accepting = true;
        self.backend.submit(Echo::LISTENER, Op::Accept { listener: self.listener });
    }

    fn accepted(&mut self, result: Result<Fd, Errno>, armed: bool) {
        self.accepting = armed;
        match result {
            Ok(fd) => {
                let (ending, closed) = (false, false);
                self.connections.push(Connection { fd, in_flight: 0, ending, closed });
                let index = self.connections.len() - 1;
                self.submit(index, Op::AwaitHangUp { fd });
                self.receive(index);
            }
            Err(errno) if self.leaving => assert_eq!(errno.0, libc::ECANCELED),
            Err(errno) => {
                assert_eq!((errno.0, armed), (libc::EMFILE, false));
                self.accept_at = Some(self.backend.now().after(Duration::from_millis(10)));
            }
        }
        if !armed && !self.leaving && self.accept_at.is_none() {
            self.accept();
        }
    }

    fn handle(&mut self, index: usize, done: Done) {
        self.connections[index].in_flight -= 1;
        match done {
            Done::Recv { result: Ok(Some(piece)), .. } => self.echo_piece(index, piece),
            Done::Recv { result: Err(Errno(libc::ENOBUFS)), .. } => self.receive(index),
            Done::Recv { result: Ok(None), .. } | Done::Fill { result: Ok(0), .. } => {
                self.end(index)
            }
            Done::Fill { buf, result: Ok(count) } => {
                assert_eq!(buf.len(), count);
                self.send(index, Outgoing::new(Vec::new(), Body::Owned(buf, 0..count)));
            }
            Done::Send { out, result: Ok(_) } if out.remaining() > 0 => self.send(index, out),
            Done::Send { result: Ok(_), .. } => self.receive(index),
            Done::Awaited => {}
            Done::Recv { result: Err(_), .. }
            | Done::Fill { result: Err(_), .. }
            | Done::Send { result: Err(_), .. } => {
                self.broken += 1;
                self.end(index);
            }
            other => panic!("unexpected {other:?}"),
        }
        self.close_if_joined(index);
    }

    fn echo_piece(&mut self, index: usize, piece: Transit) {
        let bytes = self.backend.transit(&piece).to_vec();
        self.backend.recycle(piece);
        self.send(index, Outgoing::new(bytes, Body::None));
    }

    /// By turns into the transit pool and into memory of its own.
    fn receive(&mut self, index: usize) {
        let fd = self.connections[index].fd;
        let op = match self.backend.now().0.wrapping_add(index as u64) % 3 {
            0 => Op::Fill { fd, buf: Vec::with_capacity(700), poll_first: false },
            1 => Op::Recv { fd, poll_first: true, repeat: false },
            _ => Op::Recv { fd, poll_first: false, repeat: false },
        };
        self.submit(index, op);
    }

    fn send(&mut self, index: usize, out: Outgoing) {
        let fd = self.connections[index].fd;
        self.submit(index, Op::Send { fd, out, more: false });
    }

    fn submit(&mut self, index: usize, op: Op) {
        if !self.connections[index].ending {
            self.connections[index].in_flight += 1;
            self.backend.submit(Token::new(0, index as u32, 0), op);
        }
    }

    fn end(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        if !std::mem::replace(&mut connection.ending, true) {
            let (fd, direction) = (connection.fd, Direction::Both);
            self.backend.submit(Token::new(0, index as u32, 0), Op::Shutdown { fd, direction });
        }
    }

    fn close_if_joined(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        if connection.ending && connection.in_flight == 0 && !connection.closed {
            connection.closed = true;
            let fd = connection.fd;
            self.backend.submit(Token::new(0, index as u32, 0), Op::Close { fd });
        }
    }

    fn leave(&mut self) {
        self.leaving = true;
        self.accept_at = None;
        if self.accepting {
            self.backend.submit(Echo::LISTENER, Op::Cancel { target: Echo::LISTENER });
        }
    }
}

struct Client {
    peer: Peer,
    message: Vec<u8>,
    sent: usize,
    received: Vec<u8>,
}

impl Client {
    fn new(peer: Peer, random: &mut Random) -> Client {
        let message = (0..random.within(0..=6000)).map(|_| random.next() as u8).collect();
        Client { peer, message, sent: 0, received: Vec::new() }
    }

    /// Sends a little, receives a little; at the end says so.
    fn act(&mut self, random: &mut Random) {
        let rest = &self.message[self.sent..];
        let piece = random.within(0..=rest.len().min(1500));
        if piece > 0 {
            self.sent += self.peer.send(&rest[..piece]);
        }
        self.peer.receive_into(random.within(0..=2000), &mut self.received);
        if self.received.len() == self.message.len() {
            self.peer.finish();
        }
    }

    fn is_over(&self) -> bool {
        self.peer.at_end() || self.peer.was_reset()
    }
}

struct Outcome {
    trace: String,
    complete: usize,
    broken: usize,
}

/// Runs `CLIENTS` connections to their ends.
fn run(seed: u64, faults: Faults, unix: bool) -> Outcome {
    let kernel = SimKernel::new(seed, faults);
    kernel.set_capacity(1024);
    let listener = if unix { kernel.listen_unix() } else { kernel.listen() };
    let mut random = Random::new(!seed);
    let mut reactors = [kernel.backend(), kernel.backend()].map(|b| Echo::new(b, listener));
    let mut clients: Vec<Client> =
        (0..CLIENTS).map(|_| Client::new(kernel.connect(listener), &mut random)).collect();
    let (mut trace, mut done) = (String::new(), Vec::new());
    let mut rounds = 0;
    while !clients.iter().all(Client::is_over) {
        rounds += 1;
        assert!(rounds < 50_000, "it does not end");
        for client in &mut clients {
            client.act(&mut random);
        }
        for echo in &mut reactors {
            echo.turn(&mut done, &mut trace);
        }
        if kernel.is_idle()
            && let Some(deadline) = kernel.next_deadline()
        {
            kernel.advance_to(deadline);
        }
    }
    reactors.iter_mut().for_each(Echo::leave);
    while !kernel.is_idle() {
        reactors.iter_mut().for_each(|echo| echo.turn(&mut done, &mut trace));
    }
    for Client { message, received, .. } in &clients {
        assert!(message.starts_with(received), "bytes out of order");
    }
    for Echo { backend, .. } in &reactors {
        assert_eq!(kernel.in_flight(backend.id()), 0);
        assert_eq!(kernel.transit_outstanding(backend.id()), 0);
    }
    assert_eq!(kernel.open_descriptors(), [(listener, DescriptorKind::Listener)]);
    let broken = reactors.iter().map(|echo| echo.broken).sum();
    let complete = clients.iter().filter(|client| client.received == client.message).count();
    assert!(complete + broken >= CLIENTS, "{complete} complete, {broken} broken");
    Outcome { trace, complete, broken }
}

/// Runs a test with each seed, and says which of them failed.
pub(crate) fn for_seeds(seeds: std::ops::Range<u64>, mut test: impl FnMut(u64)) {
    struct Seed(u64);
    impl Drop for Seed {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("failing seed: {}", self.0);
            }
        }
    }
    for seed in seeds {
        let _named = Seed(seed);
        test(seed);
    }
}

const CLIENTS: usize = 12;

#[test]
fn every_byte_comes_back_whatever_the_kernel_does() {
    let (mut complete, mut broken) = (0, 0);
    for_seeds(0..200, |seed| {
        let outcome = run(seed, Faults::all(), seed % 2 == 1);
        complete += outcome.complete;
        broken += outcome.broken;
    });
    assert!(complete > broken && broken > 0, "{complete} complete, {broken} broken");
}

#[test]
fn every_fault_strikes() {
    let mut traces = String::new();
    for_seeds(0..20, |seed| traces += &run(seed, Faults::all(), false).trace);
    let answers = [
        Errno(libc::ENOBUFS),
        Errno(libc::EMFILE),
        Errno(libc::ECONNRESET),
        Errno(libc::ENOMEM),
        Errno(libc::ECANCELED),
    ]
    .map(|errno| format!("Err({errno})"));
    for answer in answers.iter().map(String::as_str).chain(["armed: false"]) {
        assert!(traces.contains(answer), "no {answer}");
    }
    let ended_with_one = |line: &str| line.contains("Ok(") && line.contains("armed: false");
    assert!(traces.lines().any(ended_with_one));
}

#[test]
fn nothing_breaks_without_faults() {
    for_seeds(0..20, |seed| {
        let outcome = run(seed, Faults::none(), seed % 2 == 1);
        assert_eq!((outcome.complete, outcome.broken), (CLIENTS, 0));
    });
}

#[test]
fn delays_and_parts_alone_break_nothing() {
    let harmless = Faults { reset: 0, no_memory: 0, ..Faults::all() };
    for_seeds(0..50, |seed| {
        let outcome = run(seed, harmless, seed % 2 == 1);
        assert_eq!((outcome.complete, outcome.broken), (CLIENTS, 0));
    });
}

#[test]
fn same_seed_means_same_trace() {
    for_seeds(0..10, |seed| {
        let trace = run(seed, Faults::all(), false).trace;
        assert!(trace == run(seed, Faults::all(), false).trace);
        assert!(trace != run(seed + 1, Faults::all(), false).trace);
    });
}
