//! The peers' application: 13 bytes as cheaply as possible, over connections that stay open.
//!
//! One thread, epoll(7), no limit to connections, so that no peer waits for it or has to connect
//! again. It can also dial in to our edge, with 16 slots; then everybody has the same application
//! behind it. A request is whatever ends with an empty line: nobody sends content here.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// Listens on `socket`, and serves until it is killed.
///
/// # Errors
/// The socket cannot be made, or epoll fails.
pub(crate) fn listen(socket: &Path) -> io::Result<()> {
    let listener = UnixListener::bind(socket)?;
    listener.set_nonblocking(true)?;
    let epoll = Epoll::new()?;
    epoll.add(listener.as_raw_fd())?;
    serve(&epoll, Some(&listener), HashMap::new())
}

/// Dials in to the edge at `socket`, and serves its slots until it is killed.
///
/// # Errors
/// The edge is not there or refuses, or epoll fails.
pub(crate) fn dial_in(socket: &Path) -> io::Result<()> {
    let (epoll, mut connections) = (Epoll::new()?, HashMap::new());
    for _ in 0..SLOTS {
        let mut stream = UnixStream::connect(socket)?;
        stream.write_all(UPGRADE)?;
        let mut answer = [0; 1024];
        let count = stream.read(&mut answer)?;
        if !answer[..count].starts_with(b"HTTP/1.1 101 ") {
            return Err(io::Error::other("the edge refuses the slot"));
        }
        stream.set_nonblocking(true)?;
        epoll.add(stream.as_raw_fd())?;
        connections.insert(stream.as_raw_fd(), stream);
    }
    serve(&epoll, None, connections)
}

fn serve(
    epoll: &Epoll,
    listener: Option<&UnixListener>,
    mut connections: HashMap<RawFd, UnixStream>,
) -> io::Result<()> {
    let mut ready = Vec::new();
    loop {
        epoll.wait(&mut ready)?;
        for &fd in &ready {
            let ended = match (connections.get_mut(&fd), listener) {
                (Some(stream), _) => answer(stream).is_err(),
                (None, Some(listener)) => {
                    accept(listener, epoll, &mut connections).map(|()| false)?
                }
                (None, None) => false,
            };
            if ended {
                connections.remove(&fd);
            }
        }
    }
}

fn accept(
    listener: &UnixListener,
    epoll: &Epoll,
    connections: &mut HashMap<RawFd, UnixStream>,
) -> io::Result<()> {
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(true)?;
                epoll.add(stream.as_raw_fd())?;
                connections.insert(stream.as_raw_fd(), stream);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// An error means that the connection has ended.
fn answer(stream: &mut UnixStream) -> io::Result<()> {
    let mut bytes = [0; 16 << 10];
    let count = match stream.read(&mut bytes) {
        Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
        other => other?,
    };
    if bytes[..count].ends_with(b"\r\n\r\n") { stream.write_all(RESPONSE) } else { Ok(()) }
}

struct Epoll(OwnedFd);

impl Epoll {
    fn new() -> io::Result<Epoll> {
        // SAFETY: takes a flag, returns a descriptor.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the descriptor is new and nobody else's.
        Ok(Epoll(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Level-triggered; closing the descriptor takes it out again.
    fn add(&self, fd: RawFd) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: fd as u64 };
        let (epoll, add) = (self.0.as_raw_fd(), libc::EPOLL_CTL_ADD);
        // SAFETY: `event` is read during the call only.
        check(unsafe { libc::epoll_ctl(epoll, add, fd, &mut event) }).map(|_| ())
    }

    fn wait(&self, ready: &mut Vec<RawFd>) -> io::Result<()> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 64];
        let (epoll, most) = (self.0.as_raw_fd(), events.len() as i32);
        // SAFETY: `events` has room for `most` events.
        let count = check(unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), most, -1) })?;
        ready.clear();
        ready.extend(events[..count as usize].iter().map(|event| event.u64 as RawFd));
        Ok(())
    }
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Of the edge; peers make as many connections as they like.
const SLOTS: usize = 16;

const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: forebay\r\n\
    Connection: Upgrade\r\nUpgrade: forebay-slot/1\r\n\r\n";

const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world!";
