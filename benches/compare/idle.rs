//! Small requests beside clients who wait for their next one, and what each of those costs in
//! memory.
//!
//! Owns this case and the idle clients. Must not know configurations.

use crate::Failure;
use crate::beside::Beside;
use crate::case::{Case, Counted, Doing, Site};
use crate::exchange::Exchange;
use crate::front::Front;
use crate::load::Crowd;
use crate::memory::{self, Memory};
use crate::run::Stack;
use crate::server::{CADDY, FOREBAY, H2O, HAPROXY, LIGHTTPD, NGINX, Place};
use rustix::net::sockopt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread::sleep;
use std::time::Duration;

pub(crate) const CASES: &[Case] = &[Case {
    name: "idle-memory",
    what: "13 bytes from an application, beside 10,000 idle connections",
    site: Site::Proxied,
    doing: Doing::Idle,
    counted: Counted::Larger,
    servers: &[FOREBAY, NGINX, H2O, HAPROXY, LIGHTTPD, CADDY],
    is_quick: true,
}];

/// Bytes per idle connection.
pub(crate) struct Each {
    /// How many there are.
    pub(crate) count: usize,
    /// Of the server's processes.
    pub(crate) processes: f64,
    /// Of the kernel, beyond what two connected sockets need that nobody waits for.
    pub(crate) kernel: f64,
    /// Of the kernel, for two such sockets.
    pub(crate) sockets: f64,
    /// Connections that the server has closed.
    pub(crate) lost: usize,
}

/// First without idle clients, then with them.
///
/// # Errors
/// A wrong answer.
pub(crate) fn measure(
    stack: &Stack,
    place: &Place<'_>,
    time: Duration,
) -> Result<(Beside, Each), Failure> {
    let sockets = memory_of_sockets()?;
    let count = count(place.server.front);
    let exchange = Exchange { connections: 8, ..Exchange::of("/hello") };
    let mut crowd = Crowd::connect(place.port, vec![exchange.clients(place)?])?;
    crowd.run(time / 2)?;
    let alone = crowd.run(time)?.remove(0);
    let before = Memory::of(stack.front())?;
    let idle: Vec<TcpStream> =
        (0..count).map(|_| ask_once(place.port)).collect::<Result<_, _>>()?;
    sleep(SETTLED);
    let grown = Memory::of(stack.front())?.per(count, &before);
    let before = stack.used();
    let load = crowd.run(time)?.remove(0);
    let used = stack.used() - before;
    let lost = idle.iter().filter(|stream| is_closed(stream)).count();
    idle.iter().try_for_each(close_at_once)?;
    let (processes, kernel) = (grown.processes, grown.kernel - sockets);
    Ok((Beside { load, used, alone }, Each { count, processes, kernel, sockets, lost }))
}

/// A client that has been answered, and now waits.
fn ask_once(port: u16) -> Result<TcpStream, Failure> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let (mut answer, mut end) = ([0; 1024], 0);
    while !answer[..end].ends_with(b"Hello, world!") {
        match stream.read(&mut answer[end..])? {
            0 => return Err("an idle client was not answered as it should".into()),
            count => end += count,
        }
    }
    stream.set_nonblocking(true)?;
    Ok(stream)
}

fn is_closed(mut stream: &TcpStream) -> bool {
    !matches!(stream.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
}

/// By a reset, which leaves nothing behind: what waits for late packets for a minute would count in
/// the next run.
fn close_at_once(stream: &TcpStream) -> io::Result<()> {
    Ok(sockopt::set_socket_linger(stream, Some(Duration::ZERO))?)
}

/// Bytes of the kernel for two connected sockets, both of which have sent something.
fn memory_of_sockets() -> Result<f64, Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    let pair = |_| {
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        let (mut server, _) = listener.accept()?;
        client.write_all(b"?")?;
        server.read_exact(&mut [0])?;
        server.write_all(b"!")?;
        client.read_exact(&mut [0])?;
        Ok((client, server))
    };
    sleep(SETTLED);
    let before = memory::kernel_bytes()?;
    let pairs = (0..PAIRS).map(pair).collect::<io::Result<Vec<(TcpStream, TcpStream)>>>()?;
    let grown = memory::kernel_bytes()? - before;
    pairs.iter().try_for_each(|(client, _)| close_at_once(client))?;
    // The reset first: who closes properly before it waits for late packets.
    for (client, server) in pairs {
        drop(client);
        drop(server);
    }
    sleep(SETTLED);
    Ok(grown / PAIRS as f64)
}

fn count(front: Front) -> usize {
    match front {
        // It takes half as many connections as it may have descriptors.
        Front::Lighttpd => COUNT / 2,
        _ => COUNT,
    }
}

const COUNT: usize = 10_000;
/// Two descriptors each.
const PAIRS: usize = 4_000;
/// For whatever a server or the kernel does a moment later.
const SETTLED: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(10);
