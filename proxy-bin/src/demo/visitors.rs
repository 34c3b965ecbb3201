//! Visitors that the page sends: some slow, some many.
//!
//! Owns how many there may be, and what has become of them. They come through the front door, as
//! everybody does: a browser has no more than six connections for one site.

use serde::Serialize;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Everybody who has been sent.
#[derive(Clone, Default)]
pub(super) struct Visitors(Arc<Mutex<Counts>>);

/// Who is there now, and what all have got since the start.
#[derive(Clone, Copy, Default, Serialize)]
pub(super) struct Counts {
    /// Requests that take a worker three seconds.
    slow: u32,
    /// Clients that send a byte now and then.
    dripping: u32,
    /// Clients that ask again and again.
    crowd: u32,
    /// Answered 200.
    answered: u64,
    /// Answered 503: more has come than the workers can do.
    refused: u64,
    /// Answered otherwise, or not at all.
    lost: u64,
}

impl Visitors {
    /// How they are.
    pub(super) fn counts(&self) -> Counts {
        *self.lock()
    }

    /// One request that occupies a worker for three seconds. Whether it has been sent: there are
    /// eight at most.
    pub(super) fn slow(&self, address: SocketAddr) -> bool {
        self.send(
            1,
            SLOW,
            |counts| &mut counts.slow,
            move |visitors| {
                visitors.count(visit(address, "/sleep/3000"));
            },
        )
    }

    /// Fifty clients whose request takes them five seconds to send, and the worker no time.
    pub(super) fn drip(&self, address: SocketAddr) -> bool {
        self.send(
            DRIPPING,
            DRIPPING,
            |counts| &mut counts.dripping,
            move |visitors| {
                for status in drip(address) {
                    visitors.count(status);
                }
            },
        )
    }

    /// For six seconds more requests than two workers can answer and the queue can hold.
    pub(super) fn crowd(&self, address: SocketAddr) -> bool {
        let until = Instant::now() + CROWD_STAYS;
        (0..CROWD).all(|_| {
            self.send(
                1,
                CROWD,
                |counts| &mut counts.crowd,
                move |visitors| {
                    while Instant::now() < until {
                        let status = visit(address, "/sleep/20");
                        if !visitors.count(status) {
                            thread::sleep(AFTER_REFUSAL);
                        }
                    }
                },
            )
        })
    }

    /// Runs `act` in a thread, if there are no more than `most` of them then.
    fn send(
        &self,
        count: u32,
        most: u32,
        present: fn(&mut Counts) -> &mut u32,
        act: impl FnOnce(&Visitors) + Send + 'static,
    ) -> bool {
        let visitors = self.clone();
        {
            let mut counts = self.lock();
            let present = present(&mut counts);
            if *present + count > most {
                return false;
            }
            *present += count;
        }
        let visit = move || {
            act(&visitors);
            *present(&mut visitors.lock()) -= count;
        };
        let thread = thread::Builder::new().name("visitor".into()).stack_size(STACK);
        let is_sent = thread.spawn(visit).is_ok();
        if !is_sent {
            *present(&mut self.lock()) -= count;
        }
        is_sent
    }

    /// Whether it was answered.
    fn count(&self, status: io::Result<u16>) -> bool {
        let mut counts = self.lock();
        match status {
            Ok(200) => counts.answered += 1,
            Ok(503) => counts.refused += 1,
            _ => counts.lost += 1,
        }
        matches!(status, Ok(200))
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The status of a GET on a connection of its own.
///
/// # Errors
/// No answer.
pub(super) fn visit(address: SocketAddr, path: &str) -> io::Result<u16> {
    let mut stream = connect(address)?;
    stream.write_all(request(path).as_bytes())?;
    status(stream)
}

fn drip(address: SocketAddr) -> Vec<io::Result<u16>> {
    let mut streams: Vec<_> = (0..DRIPPING).map(|_| connect(address)).collect();
    for byte in request("/hello").bytes() {
        thread::sleep(BETWEEN_BYTES);
        for stream in &mut streams {
            let written = stream.as_mut().map(|stream| stream.write_all(&[byte]));
            if let Ok(Err(error)) = written {
                *stream = Err(error);
            }
        }
    }
    streams.into_iter().map(|stream| stream.and_then(status)).collect()
}

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n")
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&reachable(address), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Where all addresses are listened on, one is as good as the other.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

fn status(mut stream: TcpStream) -> io::Result<u16> {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let line = answer.get(..12).and_then(|line| std::str::from_utf8(line).ok());
    let status = line.and_then(|line| line.strip_prefix("HTTP/1.1 ")?.parse().ok());
    status.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

const SLOW: u32 = 8;
const DRIPPING: u32 = 50;
/// Some more than run (2) and wait (100).
const CROWD: u32 = 160;
const CROWD_STAYS: Duration = Duration::from_secs(6);
/// A request of 53 bytes takes five seconds, half of `client_header_timeout`.
const BETWEEN_BYTES: Duration = Duration::from_millis(100);
const AFTER_REFUSAL: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(15);
const STACK: usize = 128 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dripping_ends_before_the_edge_loses_patience() {
        let dripping = BETWEEN_BYTES * u32::try_from(request("/hello").len()).unwrap();
        assert!(dripping < forebay::Limits::default().client_header_timeout, "{dripping:?}");
    }

    #[test]
    fn there_are_never_more_than_fit() {
        let visitors = Visitors::default();
        let nowhere = "127.0.0.1:1".parse().unwrap();
        visitors.lock().slow = 8;
        assert!(!visitors.slow(nowhere));
        visitors.lock().slow = 0;
        assert!(visitors.slow(nowhere));
        while visitors.counts().slow > 0 {
            thread::yield_now();
        }
        assert_eq!(visitors.counts().lost, 1);
    }
}
