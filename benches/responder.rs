//! What does our ring add to a request over TCP: a whole edge whose handler says a line, beside
//! tokio-uring and a bare ring that answer without looking?
//!
//! One thread serves, the benchmark's own asks on all connections before it reads any answer.

#[path = "compare/bare/mod.rs"]
#[expect(dead_code, reason = "the relay is for comparisons")]
mod bare;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use forebay::{Limits, Reply, Request, Response, Server};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

const CONNECTIONS: usize = 32;
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Date: Tue, 15 Nov 1994 08:12:31 GMT\r\nContent-Length: 14\r\n\r\nHello, world!\n";

struct Clients {
    streams: Vec<TcpStream>,
    /// Bytes of every answer.
    answer: usize,
}

impl Clients {
    /// Waits until somebody listens, and learns how long an answer is.
    fn connect(address: SocketAddr) -> Clients {
        let streams: Vec<_> = (0..CONNECTIONS).map(|_| connect(address)).collect();
        let mut clients = Clients { streams, answer: 0 };
        let mut answer = Vec::new();
        let first = &mut clients.streams[0];
        first.write_all(REQUEST).expect("the server reads");
        while !answer.ends_with(b"Hello, world!\n") {
            let mut byte = [0];
            first.read_exact(&mut byte).expect("an answer");
            answer.push(byte[0]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
        clients.answer = answer.len();
        clients
    }

    fn ask_all(&mut self) {
        for stream in &mut self.streams {
            stream.write_all(REQUEST).expect("the server reads");
        }
        let mut answer = [0; 512];
        for stream in &mut self.streams {
            let answer = &mut answer[..self.answer];
            stream.read_exact(answer).expect("an answer");
            assert!(answer.ends_with(b"Hello, world!\n"));
        }
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => break stream,
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                thread::sleep(Duration::from_millis(1));
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn forebay() -> SocketAddr {
    let mut limits = Limits::default();
    // The last answer on a connection is longer.
    limits.keepalive_requests = u64::MAX;
    let server = Server::builder()
        .listen("127.0.0.1:0")
        .reactors(1)
        .limits(limits)
        .route("/", |_: Request, reply: Reply| reply.send(Response::text("Hello, world!\n")))
        .build()
        .expect("io_uring");
    let address = server.addresses()[0];
    thread::spawn(move || server.run());
    address
}

fn tokio() -> SocketAddr {
    let address = free_address();
    thread::spawn(move || {
        tokio_uring::start(async move {
            let listener = tokio_uring::net::TcpListener::bind(address).expect("a free port");
            while let Ok((stream, _)) = listener.accept().await {
                tokio_uring::spawn(async move {
                    let (mut buf, mut response) = (vec![0; 4096], RESPONSE.to_vec());
                    loop {
                        let (received, filled) = stream.read(buf).await;
                        if !received.is_ok_and(|count| count > 0) {
                            break;
                        }
                        let (sent, same) = stream.write_all(response).await;
                        if sent.is_err() {
                            break;
                        }
                        (buf, response) = (filled, same);
                    }
                });
            }
        });
    });
    address
}

fn bare() -> SocketAddr {
    let address = free_address();
    let answer = std::env::temp_dir().join(format!("forebay-bare-{}", std::process::id()));
    std::fs::write(&answer, RESPONSE).expect("a file for the answer");
    thread::spawn(move || bare::responder::listen(address.port(), &answer, false));
    address
}

/// Free when we looked.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("it is bound")
}

fn responder(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("responder");
    group.throughput(Throughput::Elements(CONNECTIONS as u64));
    for (name, address) in [("forebay", forebay()), ("tokio-uring", tokio()), ("bare", bare())] {
        let mut clients = Clients::connect(address);
        group.bench_function(name, |bencher| bencher.iter(|| clients.ask_all()));
    }
}

criterion_group!(benches, responder);
criterion_main!(benches);
