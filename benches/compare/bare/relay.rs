//! Carries bytes between a client and a connection to the application that is the client's own.
//!
//! Owns the least that a proxy on this kernel can do for a request: two receives and two sends.
//! Must not know where requests begin and end.

use super::{Event, Kind, Memory, Ring};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Listens at `port` for those who want to talk to the application at `socket`, until it is killed.
///
/// # Errors
/// The port is taken, the application is not there, or the kernel has no io_uring.
pub(crate) fn listen(port: u16, socket: &Path) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    let mut relay = Relay { ring: Ring::new(COUNT, Memory::Each)?, halves: HashMap::new() };
    relay.ring.accept(listener.as_raw_fd())?;
    let mut events = Vec::new();
    loop {
        relay.ring.wait(&mut events)?;
        for event in events.drain(..) {
            relay.handle(&event, socket)?;
        }
    }
}

struct Relay {
    ring: Ring,
    halves: HashMap<RawFd, Half>,
}

/// One of two connections that belong together.
struct Half {
    _connection: OwnedFd,
    /// Until that has ended.
    other: RawFd,
    /// What is to be sent here: the buffer, and how much is in it. The first is on its way.
    out: VecDeque<(u16, u32)>,
    has_ended: bool,
}

impl Relay {
    fn handle(&mut self, event: &Event, socket: &Path) -> io::Result<()> {
        if let Some(client) = event.connection() {
            self.join(client, UnixStream::connect(socket)?.into())?;
        }
        let fd = event.fd;
        match (event.kind, &event.result) {
            (Kind::Accept, _) if !event.stays_armed => self.ring.accept(fd)?,
            (Kind::Receive, Ok(count @ 1..)) => {
                if let Some(buffer) = event.buffer {
                    self.pass_on(fd, buffer, *count as u32)?;
                }
                if !event.stays_armed && self.halves.contains_key(&fd) {
                    self.ring.receive(fd)?;
                }
            }
            (Kind::Receive, Err(_)) if event.lacks_buffers() => self.ring.receive(fd)?,
            (Kind::Receive, _) => self.end(fd)?,
            (Kind::Send, _) => self.sent(fd)?,
            _ => {}
        }
        Ok(())
    }

    fn join(&mut self, one: OwnedFd, two: OwnedFd) -> io::Result<()> {
        let fds = (one.as_raw_fd(), two.as_raw_fd());
        for (connection, other) in [(one, fds.1), (two, fds.0)] {
            let fd = connection.as_raw_fd();
            self.ring.receive(fd)?;
            let half =
                Half { _connection: connection, other, out: VecDeque::new(), has_ended: false };
            self.halves.insert(fd, half);
        }
        Ok(())
    }

    /// Sends on the other connection what has come on this one.
    fn pass_on(&mut self, from: RawFd, buffer: u16, count: u32) -> io::Result<()> {
        let to = self.halves.get(&from).map_or(NOBODY, |half| half.other);
        match self.halves.get_mut(&to) {
            Some(half) if !half.has_ended => half.out.push_back((buffer, count)),
            _ => {
                self.ring.buffers.provide(buffer);
                return Ok(());
            }
        }
        let is_first = self.halves.get(&to).is_some_and(|half| half.out.len() == 1);
        if is_first { self.send_first(to) } else { Ok(()) }
    }

    fn send_first(&mut self, to: RawFd) -> io::Result<()> {
        let first = self.halves.get(&to).and_then(|half| half.out.front().copied());
        let Some((buffer, count)) = first else { return Ok(()) };
        let start = self.ring.buffers.address(buffer).cast_const();
        self.ring.send(to, (start, count), false)
    }

    fn sent(&mut self, to: RawFd) -> io::Result<()> {
        let Some(half) = self.halves.get_mut(&to) else { return Ok(()) };
        if let Some((buffer, _)) = half.out.pop_front() {
            self.ring.buffers.provide(buffer);
        }
        self.forget_if_over(to);
        self.send_first(to)
    }

    /// Nothing more will come from there, so the other one ends, too.
    fn end(&mut self, fd: RawFd) -> io::Result<()> {
        let Some(half) = self.halves.get_mut(&fd) else { return Ok(()) };
        half.has_ended = true;
        let on_its_way = half.out.len().min(1);
        for (buffer, _) in half.out.drain(on_its_way..) {
            self.ring.buffers.provide(buffer);
        }
        let other = std::mem::replace(&mut half.other, NOBODY);
        self.forget_if_over(fd);
        match self.halves.get_mut(&other) {
            Some(half) => {
                half.other = NOBODY;
                self.ring.shutdown(other, libc::SHUT_RDWR)
            }
            None => Ok(()),
        }
    }

    /// A descriptor's number means somebody else once it is closed, so that nothing may be on its
    /// way there.
    fn forget_if_over(&mut self, fd: RawFd) {
        if self.halves.get(&fd).is_some_and(|half| half.has_ended && half.out.is_empty()) {
            self.halves.remove(&fd);
        }
    }
}

/// More than there are answers on their way.
const COUNT: u16 = 512;
const NOBODY: RawFd = -1;
