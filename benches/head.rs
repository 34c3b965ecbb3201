//! What does strictness cost: parsing a request head, beside bare httparse?
//!
//! `forebay` finds the head's end, parses, and checks target, host and framing; `httparse` only
//! parses. Both have room for 272 fields that is not initialised.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use forebay::http::{FIELDS_MOST, FieldRoom, HeadLimits, parse_whole_request};
use std::hint::black_box;
use std::mem::MaybeUninit;

const LIMITS: HeadLimits = HeadLimits { bytes: 32 << 10, fields: 100, target_bytes: 8 << 10 };

const SMALL: &str = "GET /1k.txt HTTP/1.1\r\nHost: example.com\r\n\r\n";

const BROWSER: &str = "GET /articles/2025/06/io_uring?page=2&order=newest HTTP/1.1\r\n\
    Host: www.example.com\r\n\
    Connection: keep-alive\r\n\
    Cache-Control: max-age=0\r\n\
    sec-ch-ua: \"Chromium\";v=\"137\", \"Not/A)Brand\";v=\"24\"\r\n\
    sec-ch-ua-mobile: ?0\r\n\
    sec-ch-ua-platform: \"Linux\"\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
    Chrome/137.0.0.0 Safari/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8\r\n\
    Sec-Fetch-Site: same-origin\r\n\
    Sec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-User: ?1\r\n\
    Sec-Fetch-Dest: document\r\n\
    Referer: https://www.example.com/articles/2025/06/\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n\
    Cookie: session=5f0c1d2e3b4a59687786a5b4c3d2e1f0; theme=dark; consent=all\r\n\
    If-None-Match: \"6841b2c0-1f40\"\r\n\r\n";

fn hundred_fields() -> String {
    let mut head = String::from("GET / HTTP/1.1\r\nHost: example.com\r\n");
    for number in 1..100 {
        head += &format!("X-Field-{number}: the value of field {number}\r\n");
    }
    head + "\r\n"
}

fn forebay_fields(head: &[u8]) -> usize {
    let mut room = FieldRoom::default();
    let parsed = parse_whole_request(black_box(head), &mut room, &LIMITS);
    let parsed = parsed.expect("it is good and whole");
    assert_eq!(parsed.len, head.len());
    black_box(parsed.fields()).len()
}

fn httparse_fields(head: &[u8]) -> usize {
    let mut room = [const { MaybeUninit::uninit() }; FIELDS_MOST];
    let mut request = httparse::Request::new(&mut []);
    let parsed = request.parse_with_uninit_headers(black_box(head), &mut room);
    assert_eq!(parsed, Ok(httparse::Status::Complete(head.len())));
    black_box(&request.headers).len()
}

fn head(criterion: &mut Criterion) {
    let hundred = hundred_fields();
    let mut group = criterion.benchmark_group("head");
    for (name, head, fields) in
        [("small", SMALL, 1), ("browser", BROWSER, 18), ("100 fields", &hundred, 100)]
    {
        let head = head.as_bytes();
        assert_eq!((forebay_fields(head), httparse_fields(head)), (fields, fields));
        group.throughput(Throughput::Bytes(head.len() as u64));
        group.bench_with_input(BenchmarkId::new("forebay", name), head, |bencher, head| {
            bencher.iter(|| forebay_fields(head));
        });
        group.bench_with_input(BenchmarkId::new("httparse", name), head, |bencher, head| {
            bencher.iter(|| httparse_fields(head));
        });
    }
}

criterion_group!(benches, head);
criterion_main!(benches);
