//! Small requests beside clients who are slow: what a pre-fork worker needs an edge for.
//!
//! Owns these cases and the slow clients. Must not know configurations.

use crate::Failure;
use crate::beside::Beside;
use crate::case::{Case, Counted, Doing, Site};
use crate::exchange::Exchange;
use crate::load::Crowd;
use crate::run::Stack;
use crate::server::{BJOERN, FOREBAY_WSGI, GRANIAN, GUNICORN, NGINX_GUNICORN, Place, Server};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// What they are slow at.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Slow {
    /// A byte of a head in a second, without end.
    Headers,
    /// 10 KiB of 1 MiB of content in a tenth of a second.
    Bodies,
    /// The same of an answer.
    Readers,
}

pub(crate) const CASES: &[Case] = &[
    case("slow-headers", "a small answer, beside 500 clients with endless heads", Slow::Headers),
    case("slow-bodies", "a small answer, beside 200 clients who send 100 KiB/s", Slow::Bodies),
    case("slow-readers", "a small answer, beside 200 clients who take 100 KiB/s", Slow::Readers),
];

const SERVERS: &[Server] = &[FOREBAY_WSGI, NGINX_GUNICORN, GUNICORN, GRANIAN, BJOERN];

const fn case(name: &'static str, what: &'static str, slow: Slow) -> Case {
    Case {
        name,
        what,
        site: Site::Whole { module: "app", workers: "2" },
        doing: Doing::Slow(slow),
        counted: Counted::Larger,
        servers: SERVERS,
        is_quick: matches!(slow, Slow::Headers),
    }
}

impl Slow {
    /// First without slow clients, then with them.
    ///
    /// # Errors
    /// A wrong answer while nobody is slow.
    pub(crate) fn measure(
        self,
        stack: &Stack,
        place: &Place<'_>,
        time: Duration,
    ) -> Result<(Beside, usize), Failure> {
        let exchange = Exchange { connections: 8, ..Exchange::of("/hello") };
        let mut crowd = Crowd::connect(place.port, vec![exchange.clients(place)?])?;
        crowd.run(time / 2)?;
        let alone = crowd.run(time)?.remove(0);
        let (port, ends) = (place.port, AtomicBool::new(false));
        thread::scope(|scope| {
            let slow = scope.spawn(|| self.hold(port, &ends));
            thread::sleep(ARRIVAL);
            let before = stack.used();
            let load = crowd.run(time);
            let used = stack.used() - before;
            ends.store(true, Ordering::Relaxed);
            let closed = slow.join().map_err(|_| "the slow clients have panicked")??;
            Ok((Beside { load: load?.remove(0), used, alone }, closed))
        })
    }

    /// Until the end. How many have been answered or closed before.
    fn hold(self, port: u16, ends: &AtomicBool) -> io::Result<usize> {
        let open = |_| {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
            stream.write_all(self.beginning().as_bytes())?;
            stream.set_nonblocking(true)?;
            Ok(stream)
        };
        let mut streams: Vec<TcpStream> = (0..self.count()).map(open).collect::<io::Result<_>>()?;
        let mut buffer = vec![b'x'; PIECE];
        for tick in 0.. {
            if ends.load(Ordering::Relaxed) {
                break;
            }
            thread::sleep(TICK);
            let mut index = 0;
            streams.retain_mut(|stream| {
                index += 1;
                let moved = match self {
                    Slow::Headers if (index + tick) % 10 != 0 => return true,
                    Slow::Headers => stream.write(b"x"),
                    Slow::Bodies => stream.write(&buffer),
                    Slow::Readers => stream.read(&mut buffer),
                };
                match moved {
                    Ok(count) => count > 0,
                    Err(error) => error.kind() == ErrorKind::WouldBlock,
                }
            });
        }
        Ok(self.count() - streams.len())
    }

    fn count(self) -> usize {
        if matches!(self, Slow::Headers) { 500 } else { 200 }
    }

    fn beginning(self) -> String {
        match self {
            Slow::Headers => "GET /hello HTTP/1.1\r\nHost: localhost\r\nX-Slow: ".into(),
            Slow::Bodies => format!(
                "POST /length HTTP/1.1\r\nHost: localhost\r\nContent-Length: {SIZE}\r\n\r\n"
            ),
            Slow::Readers => format!("GET /bytes/{SIZE} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        }
    }
}

const SIZE: usize = 1 << 20;
const PIECE: usize = 10 << 10;
const TICK: Duration = Duration::from_millis(100);
/// Until all of them have begun.
const ARRIVAL: Duration = Duration::from_secs(1);
