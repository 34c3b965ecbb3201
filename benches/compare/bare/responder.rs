//! Answers whatever comes with the same bytes.
//!
//! Owns the least that a server of files on this kernel can do for a request: one send. Must not
//! know what it sends.

use super::{Kind, Memory, Ring};
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsRawFd;
use std::path::Path;

/// Answers at `port` with the content of `file`, until it is killed; if `closes`, once for each
/// connection.
///
/// # Errors
/// The port is taken, the file is not there, or the kernel has no io_uring.
pub(crate) fn listen(port: u16, file: &Path, closes: bool) -> io::Result<()> {
    let answer = std::fs::read(file)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    let mut ring = Ring::new(COUNT, Memory::Shared)?;
    ring.accept(listener.as_raw_fd())?;
    let (mut connections, mut events) = (HashMap::new(), Vec::new());
    loop {
        ring.wait(&mut events)?;
        for event in events.drain(..) {
            if let Some(connection) = event.connection() {
                ring.receive(connection.as_raw_fd())?;
                connections.insert(connection.as_raw_fd(), connection);
            }
            if let Some(buffer) = event.buffer {
                ring.buffers.provide(buffer);
            }
            let fd = event.fd;
            match (event.kind, &event.result) {
                (Kind::Accept, _) if !event.stays_armed => ring.accept(fd)?,
                (Kind::Receive, Ok(1..)) => {
                    ring.send(fd, (answer.as_ptr(), answer.len() as u32), closes)?;
                    if closes {
                        ring.shutdown(fd, libc::SHUT_WR)?;
                    }
                    if !event.stays_armed {
                        ring.receive(fd)?;
                    }
                }
                (Kind::Receive, Err(_)) if event.lacks_buffers() => ring.receive(fd)?,
                (Kind::Receive, _) => drop(connections.remove(&fd)),
                // A client that has gone is seen by the receive.
                _ => {}
            }
        }
    }
}

/// Nobody reads them, so that there need not be many.
const COUNT: u16 = 1024;
