//! What does it cost to hold a worker's response head to the rules and to write the client's?

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use forebay::http::{
    FIELDS_MOST, FieldRoom, Framing, HeadLimits, Version, parse_whole_response, write_response,
};
use std::hint::black_box;

const LIMITS: HeadLimits =
    HeadLimits { bytes: 64 << 10, fields: FIELDS_MOST, target_bytes: usize::MAX };
const DATE: &str = "Tue, 15 Nov 1994 08:12:31 GMT";

const SMALL: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\n";

const FLASK: &str = "HTTP/1.1 200 OK\r\n\
    Content-Type: text/html; charset=utf-8\r\n\
    Content-Length: 5120\r\n\
    Cache-Control: private, max-age=0\r\n\
    ETag: W/\"1400-d4f8\"\r\n\
    Vary: Cookie, Accept-Encoding\r\n\
    Set-Cookie: session=5f0c1d2e3b4a59687786a5b4c3d2e1f0; HttpOnly; Path=/; SameSite=Lax\r\n\
    X-Frame-Options: DENY\r\n\
    Connection: keep-alive\r\n\r\n";

fn pass_on(head: &[u8], out: &mut Vec<u8>) {
    let mut room = FieldRoom::default();
    let parsed = parse_whole_response(black_box(head), &mut room, &LIMITS, false);
    let parsed = parsed.expect("it is good and whole");
    let Framing::Length(length) = parsed.framing else { panic!("it has a length") };
    out.clear();
    write_response(out, &parsed, Framing::Length(length), Version::Http11, true, DATE.as_bytes());
    assert!(out.starts_with(b"HTTP/1.1 200 OK\r\n") && out.ends_with(b"\r\n\r\n"));
}

fn response(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("response head");
    let mut out = Vec::with_capacity(1024);
    for (name, head) in [("small", SMALL), ("flask", FLASK)] {
        pass_on(head.as_bytes(), &mut out);
        let text = String::from_utf8_lossy(&out);
        assert!(text.contains("Date: ") && !text.contains("Connection"), "{text}");
        group.throughput(Throughput::Bytes(head.len() as u64));
        group.bench_function(name, |bencher| bencher.iter(|| pass_on(head.as_bytes(), &mut out)));
    }
}

criterion_group!(benches, response);
criterion_main!(benches);
