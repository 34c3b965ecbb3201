//! Against the real kernel; here what the tests have in common.

mod files;
mod passing;
mod sockets;
mod turns;

use super::*;
use crate::io::{Body, Direction, FileKind, Graveyard, Outgoing, SharedFile};
use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::IntoRawFd;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

/// A backend, and what has come out of it.
struct Bench {
    uring: Uring,
    done: Vec<Completion>,
}

impl Bench {
    fn new() -> Bench {
        Bench::with(UringOptions::default())
    }

    fn with(options: UringOptions) -> Bench {
        Bench { uring: Uring::new(options).unwrap(), done: Vec::new() }
    }

    fn submit(&mut self, index: u32, op: Op) {
        self.uring.submit(token(index), op);
    }

    /// Submits, and turns until it is answered.
    fn perform(&mut self, index: u32, op: Op) -> Done {
        self.submit(index, op);
        self.answer(index)
    }

    /// Turns until there is an answer for `index`.
    fn answer(&mut self, index: u32) -> Done {
        let deadline = self.uring.now().after(LIVENESS);
        loop {
            if let Some(done) = self.take(index) {
                return done;
            }
            assert!(self.uring.now() < deadline, "no answer to {index}; {:?}", self.done);
            self.uring.turn(Wait::Until(deadline), &mut self.done).unwrap();
        }
    }

    /// Turns without waiting until there is an answer for `index`, doing `step` in between.
    fn answer_while(&mut self, index: u32, mut step: impl FnMut()) -> Done {
        let deadline = self.uring.now().after(LIVENESS);
        loop {
            self.poll();
            if let Some(done) = self.take(index) {
                return done;
            }
            assert!(self.uring.now() < deadline, "no answer to {index}");
            step();
        }
    }

    fn take(&mut self, index: u32) -> Option<Done> {
        let at = self.done.iter().position(|completion| completion.token == token(index))?;
        Some(self.done.remove(at).done)
    }

    /// One turn without waiting.
    fn poll(&mut self) {
        self.uring.turn(Wait::Poll, &mut self.done).unwrap();
    }

    /// The bytes of an answer to [`Op::Recv`]; none at the end of file.
    fn received(&mut self, index: u32) -> Vec<u8> {
        match self.answer(index) {
            Done::Recv { result: Ok(Some(piece)), .. } => {
                let bytes = self.uring.transit(&piece).to_vec();
                self.uring.recycle(piece);
                bytes
            }
            Done::Recv { result: Ok(None), .. } => Vec::new(),
            other => panic!("{other:?}"),
        }
    }
}

fn token(index: u32) -> Token {
    Token::new(1, index, 7)
}

fn recv(socket: &impl AsRawFd) -> Op {
    Op::Recv { fd: socket.as_raw_fd(), poll_first: false, repeat: false }
}

fn recv_later(socket: &impl AsRawFd) -> Op {
    Op::Recv { fd: socket.as_raw_fd(), poll_first: true, repeat: false }
}

fn send(socket: &impl AsRawFd, head: &[u8], body: Body) -> Op {
    Op::Send { fd: socket.as_raw_fd(), out: Outgoing::new(head.to_vec(), body), more: false }
}

fn shared(file: impl IntoRawFd) -> Rc<SharedFile> {
    // The graveyard is nobody's; a test's descriptors end with its process.
    SharedFile::new(file.into_raw_fd(), &Graveyard::default())
}

fn path(name: &str) -> Rc<CStr> {
    Rc::from(CString::new(name).unwrap())
}

/// Two ends of a TCP connection; the first is non-blocking, as accepted sockets are.
fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let server = listener.accept().unwrap().0;
    server.set_nonblocking(true).unwrap();
    (server, client)
}

/// A directory `root` with a file, links, and a FIFO, beside a file that must not be reached.
fn tree() -> (tempfile::TempDir, Rc<SharedFile>) {
    let outer = tempfile::tempdir().unwrap();
    let root = outer.path().join("root");
    fs::create_dir_all(root.join("sub")).unwrap();
    fs::write(outer.path().join("secret"), "secret").unwrap();
    fs::write(root.join("file"), "content").unwrap();
    symlink("../file", root.join("sub/relative")).unwrap();
    symlink(root.join("file"), root.join("absolute")).unwrap();
    symlink("../secret", root.join("outward")).unwrap();
    let fifo = CString::new(root.join("fifo").to_str().unwrap()).unwrap();
    // SAFETY: the path ends with a zero byte.
    assert_eq!(unsafe { libc::mkfifo(fifo.as_ptr(), 0o600) }, 0);
    let root = shared(File::open(root).unwrap());
    (outer, root)
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n / 7 + n / 4096) as u8).collect()
}

/// The far end of a connection; reads a little when asked.
struct SlowReader {
    client: TcpStream,
    seen: Vec<u8>,
}

impl SlowReader {
    fn new(client: TcpStream) -> SlowReader {
        client.set_read_timeout(Some(LIVENESS)).unwrap();
        SlowReader { client, seen: Vec::new() }
    }

    fn read_some(&mut self) {
        self.client.set_nonblocking(true).unwrap();
        let mut piece = [0; 10_000];
        match self.client.read(&mut piece) {
            Ok(len) => self.seen.extend_from_slice(&piece[..len]),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }

    fn read_to(&mut self, len: usize) {
        self.client.set_nonblocking(false).unwrap();
        let start = self.seen.len();
        self.seen.resize(len, 0);
        self.client.read_exact(&mut self.seen[start..]).unwrap();
    }
}

/// How long something may take that is expected at once.
const LIVENESS: Duration = Duration::from_secs(20);
