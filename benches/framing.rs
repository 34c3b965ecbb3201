//! What does it cost to find where content ends: chunks of several sizes, beside a plain copy?

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use forebay::http::{CHUNK_END, ChunkedDecoder, LAST_CHUNK, write_chunk_head};
use std::hint::black_box;

const CONTENT: usize = 64 << 10;

/// The content in chunks of this size.
fn chunked(size: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..CONTENT / size {
        write_chunk_head(&mut bytes, size);
        bytes.resize(bytes.len() + size, b'x');
        bytes.extend_from_slice(CHUNK_END);
    }
    bytes.extend_from_slice(LAST_CHUNK);
    bytes
}

/// Decodes in place, as the edge does.
fn decode(input: &[u8], buf: &mut Vec<u8>) {
    buf.clear();
    buf.extend_from_slice(black_box(input));
    let done = ChunkedDecoder::default().compact(buf, 0).expect("the chunks are good");
    assert!(done.ended && done.data_len == CONTENT && done.surplus == 0);
    assert!(buf[0] == b'x' && buf[CONTENT - 1] == b'x');
}

fn framing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("chunked");
    group.throughput(Throughput::Bytes(CONTENT as u64));
    let mut buf = Vec::new();
    for size in [64, 1024, 16 << 10] {
        let input = chunked(size);
        group.bench_with_input(BenchmarkId::new("decode", size), &input, |bencher, input| {
            bencher.iter(|| decode(input, &mut buf));
        });
    }
    let input = vec![b'x'; CONTENT];
    group.bench_function("copy only", |bencher| {
        bencher.iter(|| {
            buf.clear();
            buf.extend_from_slice(black_box(&input));
            assert_eq!(buf[CONTENT - 1], b'x');
        });
    });
}

criterion_group!(benches, framing);
criterion_main!(benches);
