//! The peers' application: an answer as cheaply as possible, over connections that stay open.
//!
//! One thread, epoll(7), no limit to connections, so that no peer waits for it or has to connect
//! again. It can also dial in to our edge, with 16 slots; then everybody has the same application
//! behind it. A request is whatever ends with an empty line: nobody sends content here.

use crate::proxied;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// Listens on `socket`, and serves until it is killed.
///
/// # Errors
/// The socket cannot be made, or epoll fails.
pub(crate) fn listen(socket: &Path) -> io::Result<()> {
    let listener = UnixListener::bind(socket)?;
    let mut backend = Backend::new()?;
    add(&backend.epoll, &listener)?;
    backend.serve(Some(&listener))
}

/// Dials in to the edge at `socket`, and serves its slots until it is killed.
///
/// # Errors
/// The edge is not there or refuses, or epoll fails.
pub(crate) fn dial_in(socket: &Path) -> io::Result<()> {
    let mut backend = Backend::new()?;
    for _ in 0..SLOTS {
        let mut stream = UnixStream::connect(socket)?;
        stream.write_all(UPGRADE)?;
        let mut answer = [0; 1024];
        let count = stream.read(&mut answer)?;
        if !answer[..count].starts_with(b"HTTP/1.1 101 ") {
            return Err(io::Error::other("the edge refuses the slot"));
        }
        backend.take(stream)?;
    }
    backend.serve(None)
}

struct Backend {
    epoll: OwnedFd,
    connections: HashMap<RawFd, UnixStream>,
    small: Vec<u8>,
    large: Vec<u8>,
}

impl Backend {
    fn new() -> io::Result<Backend> {
        Ok(Backend {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            connections: HashMap::new(),
            small: response("/hello"),
            large: response("/bytes/102400"),
        })
    }

    fn take(&mut self, stream: UnixStream) -> io::Result<()> {
        add(&self.epoll, &stream)?;
        self.connections.insert(stream.as_raw_fd(), stream);
        Ok(())
    }

    /// Level-triggered, one read or accept for each event, so that none of them has to wait.
    fn serve(&mut self, listener: Option<&UnixListener>) -> io::Result<()> {
        let mut events = Vec::with_capacity(64);
        loop {
            epoll::wait(&self.epoll, spare_capacity(&mut events), None)?;
            for event in events.drain(..) {
                let fd = event.data.u64() as RawFd;
                match listener {
                    Some(listener) if listener.as_raw_fd() == fd => {
                        self.take(listener.accept()?.0)?;
                    }
                    _ if self.answer(fd).is_err() => drop(self.connections.remove(&fd)),
                    _ => {}
                }
            }
        }
    }

    /// An error means that the connection has ended.
    fn answer(&mut self, fd: RawFd) -> io::Result<()> {
        let Some(stream) = self.connections.get_mut(&fd) else { return Ok(()) };
        let mut bytes = [0; 16 << 10];
        let count = stream.read(&mut bytes)?;
        let request = &bytes[..count];
        match request {
            [] => Err(io::ErrorKind::UnexpectedEof.into()),
            _ if !request.ends_with(b"\r\n\r\n") => Ok(()),
            _ if request.starts_with(b"GET /bytes/") => stream.write_all(&self.large),
            _ => stream.write_all(&self.small),
        }
    }
}

fn add(epoll: &OwnedFd, socket: &(impl AsRawFd + std::os::fd::AsFd)) -> io::Result<()> {
    let data = epoll::EventData::new_u64(socket.as_raw_fd() as u64);
    Ok(epoll::add(epoll, socket, data, epoll::EventFlags::IN)?)
}

fn response(path: &str) -> Vec<u8> {
    let content = proxied::content_at(path).unwrap_or_default();
    let length = content.len();
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n");
    [head.as_bytes(), &content].concat()
}

/// Of the edge; peers make as many connections as they like.
const SLOTS: usize = 16;

const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: forebay\r\n\
    Connection: Upgrade\r\nUpgrade: forebay-slot/1\r\n\r\n";
