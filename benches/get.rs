//! What does a whole request cost the edge without a kernel: a file from memory, a file that is
//! sent from its descriptor, a GET and a POST through a worker?
//!
//! Everything from received bytes to sent bytes on the simulated kernel, whose own work is part
//! of it; the differences count, and the instructions that a change adds or saves.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use forebay::bench::SimulatedEdge;
use std::hint::black_box;

const SMALL: &[u8] = b"GET /1k.txt HTTP/1.1\r\nHost: example.com\r\n\r\n";
const UNCHANGED: &[u8] = b"GET /1k.txt HTTP/1.1\r\nHost: example.com\r\nIf-None-Match: *\r\n\r\n";
const LARGE: &[u8] = b"GET /1m.txt HTTP/1.1\r\nHost: example.com\r\n\r\n";
const HANDLER: &[u8] = b"GET /handler HTTP/1.1\r\nHost: example.com\r\nAccept: */*\r\n\r\n";
const APP: &[u8] = b"GET /app/hello HTTP/1.1\r\nHost: example.com\r\nAccept: */*\r\n\r\n";

const POST: &[u8] = b"POST /app/notes HTTP/1.1\r\nHost: example.com\r\n\
    Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 27\r\n\r\n\
    title=Hello&text=Hello+you!";

fn exchange(edge: &mut SimulatedEdge, request: &[u8], status: &str, content: &[u8]) {
    let response = black_box(edge.exchange(black_box(request)));
    assert!(response.starts_with(status.as_bytes()));
    assert!(response.ends_with(content));
}

fn get(criterion: &mut Criterion) {
    let (small, large) = ([b'x'; 1 << 10], vec![b'y'; 1 << 20]);
    let mut edge = SimulatedEdge::new(&[("1k.txt", &small), ("1m.txt", &large)]);
    let hello = SimulatedEdge::HELLO.as_bytes();
    let (ok, not_modified) = ("HTTP/1.1 200 OK\r\n", "HTTP/1.1 304 Not Modified\r\n");
    let mut group = criterion.benchmark_group("get");

    group.throughput(Throughput::Elements(1));
    for (name, request, status, content) in [
        ("1 KiB file", SMALL, ok, &small[..]),
        ("unchanged file", UNCHANGED, not_modified, b""),
        ("of a handler", HANDLER, ok, hello),
        ("through a worker", APP, ok, hello),
        ("POST through a worker", POST, ok, hello),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| exchange(&mut edge, request, status, content));
        });
    }

    let pipelined = SMALL.repeat(16);
    group.throughput(Throughput::Elements(16));
    group.bench_function("1 KiB file, 16 pipelined", |bencher| {
        bencher.iter(|| {
            let response = edge.exchange(black_box(&pipelined));
            assert!(response.len() > 16 * small.len() && response.ends_with(&small));
        });
    });

    group.throughput(Throughput::Bytes(large.len() as u64));
    group.bench_function("1 MiB file", |bencher| {
        bencher.iter(|| exchange(&mut edge, LARGE, ok, &large));
    });
}

criterion_group!(benches, get);
criterion_main!(benches);
