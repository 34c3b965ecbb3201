//! The load of large contents: eight clients at 10 MB/s each, who look at every byte.
//!
//! Owns the pace and what a right answer is. Must not know how servers do it.

use crate::Failure;
use crate::case::{Case, Counted, Doing, Site};
use crate::load::Load;
use crate::measure::Used;
use crate::run::Stack;
use crate::server::{FOREBAY, FOREBAY_WSGI, NGINX_GUNICORN, Place};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) const CASES: &[Case] = &[
    Case {
        is_quick: true,
        ..case(
            "upload",
            "10 MB to an application, by 8 clients at 10 MB/s",
            Transfer::Up(10_000_000),
        )
    },
    case(
        "download",
        "100 MB from an application, for 8 clients at 10 MB/s",
        Transfer::Down(100_000_000),
    ),
    Case {
        servers: &[FOREBAY_WSGI, NGINX_GUNICORN],
        ..case(
            "download-file",
            "100 MB in a file of the application, for 8 clients at 10 MB/s",
            Transfer::File(100_000_000),
        )
    },
];

const fn case(name: &'static str, what: &'static str, transfer: Transfer) -> Case {
    Case {
        name,
        what,
        site: Site::Whole { module: "app", workers: "2" },
        doing: Doing::Transfer(transfer),
        counted: Counted::Processes,
        servers: &[FOREBAY, NGINX_GUNICORN],
        is_quick: false,
    }
}

/// One direction of content, and how much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transfer {
    /// So many bytes to the application, which says how many it has read.
    Up(usize),
    /// So many bytes from the application, in pieces of 64 KiB.
    Down(usize),
    /// So many bytes from the application, by `wsgi.file_wrapper`.
    File(usize),
}

/// Clients at a time.
const CLIENTS: usize = 8;
const BYTES_PER_SECOND: usize = 10_000_000;

impl Transfer {
    pub(crate) fn bytes(self) -> usize {
        match self {
            Transfer::Up(bytes) | Transfer::Down(bytes) | Transfer::File(bytes) => bytes,
        }
    }

    fn path(self) -> String {
        match self {
            Transfer::Up(_) => "/length".into(),
            Transfer::Down(bytes) => format!("/bytes/{bytes}/{APPLICATION_PIECE}"),
            Transfer::File(bytes) => format!("/file/{bytes}"),
        }
    }

    /// How many of them one client does in about so many seconds.
    fn count(self, time: Duration) -> usize {
        let bytes = time.as_secs_f64() * BYTES_PER_SECOND as f64;
        (bytes as usize).div_ceil(self.bytes()).max(1)
    }

    /// # Errors
    /// A wrong answer, or none.
    pub(crate) fn measure(
        self,
        stack: &Stack,
        place: &Place<'_>,
        time: Duration,
    ) -> Result<(Load, Used), Failure> {
        self.verify(place.port)?;
        let before = stack.used();
        let load = self.run(place.port, self.count(time))?;
        let used = stack.used() - before;
        self.verify(place.port)?;
        Ok((load, used))
    }

    /// One after the other on one connection, as fast as it goes.
    ///
    /// # Errors
    /// Nobody answers, or wrongly.
    fn verify(self, port: u16) -> io::Result<()> {
        Client::connect(port)?.exchange(self, None)
    }

    /// `count` of them by each client at its pace. A wrong answer is an error of its client.
    ///
    /// # Errors
    /// A client cannot connect.
    fn run(self, port: u16, count: usize) -> Result<Load, Failure> {
        let began = Instant::now();
        let clients =
            (0..CLIENTS).map(|_| Client::connect(port)).collect::<io::Result<Vec<_>>>()?;
        let work = |mut client: Client| move || client.work(self, count);
        let threads: Vec<_> = clients.into_iter().map(|c| thread::spawn(work(c))).collect();
        let done = threads.into_iter().map(|thread| thread.join().unwrap_or_default());
        let mut durations: Vec<Duration> = done.flatten().collect();
        durations.sort_unstable();
        let seconds = began.elapsed().as_secs_f64();
        let percentile = |percent: usize| {
            let last = durations.len().saturating_sub(1);
            durations.get(last * percent / 100).map_or(0.0, |d| d.as_secs_f64() * 1e3)
        };
        Ok(Load {
            requests: durations.len() as u64,
            seconds,
            errors: (CLIENTS * count - durations.len()) as u64,
            p50_ms: percentile(50),
            p99_ms: percentile(99),
        })
    }
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(port: u16) -> io::Result<Client> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Client(BufReader::with_capacity(8 << 10, stream)))
    }

    /// How long each took, up to the first that failed.
    fn work(&mut self, transfer: Transfer, count: usize) -> Vec<Duration> {
        let mut one = || {
            let began = Instant::now();
            self.exchange(transfer, Some(BYTES_PER_SECOND)).map(|()| began.elapsed())
        };
        (0..count).map_while(|_| one().inspect_err(|e| eprintln!("a client: {e}")).ok()).collect()
    }

    fn exchange(&mut self, transfer: Transfer, per_second: Option<usize>) -> io::Result<()> {
        let path = transfer.path();
        match transfer {
            Transfer::Up(bytes) => {
                let head = format!(
                    "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {bytes}\r\n\r\n"
                );
                self.0.get_mut().write_all(head.as_bytes())?;
                let piece = vec![b'x'; PIECE];
                paced(bytes, per_second, |at| {
                    self.0.get_mut().write_all(&piece[..PIECE.min(bytes - at)])
                })?;
                let mut content = vec![0; self.read_head()?];
                self.0.read_exact(&mut content)?;
                right(content == bytes.to_string().as_bytes(), "another length was read")
            }
            Transfer::Down(bytes) | Transfer::File(bytes) => {
                let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
                self.0.get_mut().write_all(head.as_bytes())?;
                right(self.read_head()? == bytes, "another length than asked for")?;
                let pattern = ALPHABET.repeat(PIECE / ALPHABET.len() + 2);
                let mut piece = vec![0; PIECE];
                paced(bytes, per_second, |at| {
                    let piece = &mut piece[..PIECE.min(bytes - at)];
                    self.0.read_exact(piece)?;
                    let expected = &pattern[at % ALPHABET.len()..][..piece.len()];
                    right(piece == expected, "other bytes than asked for")
                })
            }
        }
    }

    /// Of a 200; says how much content follows.
    fn read_head(&mut self) -> io::Result<usize> {
        let (mut length, mut line) = (None, String::new());
        self.0.read_line(&mut line)?;
        right(line.starts_with("HTTP/1.1 200 "), &format!("not a 200: {line:?}"))?;
        loop {
            line.clear();
            self.0.read_line(&mut line)?;
            match line.trim_end().split_once(':') {
                None => break,
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse().ok();
                }
                Some(_) => {}
            }
        }
        length.ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "no Content-Length"))
    }
}

/// Moves so many bytes in pieces, so many a second.
fn paced(
    bytes: usize,
    per_second: Option<usize>,
    mut move_piece: impl FnMut(usize) -> io::Result<()>,
) -> io::Result<()> {
    let began = Instant::now();
    for at in (0..bytes).step_by(PIECE) {
        if let Some(per_second) = per_second {
            let due = began + Duration::from_secs_f64(at as f64 / per_second as f64);
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        move_piece(at)?;
    }
    Ok(())
}

fn right(is_right: bool, what: &str) -> io::Result<()> {
    if is_right { Ok(()) } else { Err(io::Error::new(ErrorKind::InvalidData, what)) }
}

/// What a client moves at a time: a hundredth of a second.
const PIECE: usize = BYTES_PER_SECOND / 100;
/// What the application produces and reads at a time.
const APPLICATION_PIECE: usize = 64 << 10;
const ALPHABET: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_client_does_about_as_much_as_fits() {
        let seconds = Duration::from_secs;
        assert_eq!(Transfer::Up(10_000_000).count(seconds(5)), 5);
        assert_eq!(Transfer::Down(100_000_000).count(seconds(5)), 1);
        assert_eq!(Transfer::Down(100_000_000).count(seconds(25)), 3);
    }

    #[test]
    fn every_byte_is_looked_at() {
        for (last, is_right) in [(b'2', true), (b'x', false)] {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let port = listener.local_addr().unwrap().port();
            let server = thread::spawn(move || {
                let mut stream = listener.accept().unwrap().0;
                assert!(stream.read(&mut [0; 1000]).unwrap() > 0);
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n01").unwrap();
                stream.write_all(&[last]).unwrap();
            });
            assert_eq!(Transfer::Down(3).verify(port).is_ok(), is_right);
            server.join().unwrap();
        }
    }
}
