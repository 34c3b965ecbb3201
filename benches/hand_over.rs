//! How long does a request take to a worker and back over a Unix socket: through our ring, through
//! tokio-uring, and with blocking calls?
//!
//! The worker is the same thread for all three: it answers whatever it reads with the same bytes.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use forebay::bench::Slot;
use std::hint::black_box;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: example.com\r\nX-Request-Id: 0123456789abcdef\r\n\
    X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\n\r\n";
const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world!";

/// The near end of a worker that lives until that is closed.
fn worker() -> (UnixStream, JoinHandle<()>) {
    let (near, mut far) = UnixStream::pair().expect("a pair of sockets");
    let thread = thread::spawn(move || {
        let mut request = [0; 4096];
        while far.read(&mut request).is_ok_and(|count| count == REQUEST.len()) {
            far.write_all(RESPONSE).expect("the edge reads");
        }
    });
    (near, thread)
}

fn hand_over(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hand-over");
    group.throughput(Throughput::Elements(1));

    group.bench_function("forebay", |bencher| {
        let (near, thread) = worker();
        let mut slot = Slot::new(near.as_raw_fd()).expect("io_uring");
        let mut request = REQUEST.to_vec();
        bencher.iter(|| {
            let (sent, response) = slot.exchange(std::mem::take(&mut request));
            assert_eq!(black_box(response), RESPONSE);
            request = sent;
        });
        drop((slot, near));
        thread.join().expect("the worker ends with its socket");
    });

    group.bench_function("tokio-uring", |bencher| {
        let (near, thread) = worker();
        bencher.iter_custom(|times| {
            let near = near.try_clone().expect("a descriptor");
            tokio_uring::start(async {
                let stream = tokio_uring::net::UnixStream::from_std(near);
                let (mut request, mut buf) = (REQUEST.to_vec(), Vec::with_capacity(4096));
                let began = std::time::Instant::now();
                for _ in 0..times {
                    let (sent, same) = stream.write_all(request).await;
                    sent.expect("the worker reads");
                    let (received, filled) = stream.read(buf).await;
                    assert_eq!(&filled[..received.expect("an answer")], RESPONSE);
                    (request, buf) = (same, filled);
                    buf.clear();
                }
                began.elapsed()
            })
        });
        drop(near);
        thread.join().expect("the worker ends with its socket");
    });

    group.bench_function("blocking", |bencher| {
        let (mut near, thread) = worker();
        let mut buf = [0; 4096];
        bencher.iter(|| {
            near.write_all(black_box(REQUEST)).expect("the worker reads");
            let count = near.read(&mut buf).expect("an answer");
            assert_eq!(&buf[..count], RESPONSE);
        });
        drop(near);
        thread.join().expect("the worker ends with its socket");
    });
}

criterion_group!(benches, hand_over);
criterion_main!(benches);
