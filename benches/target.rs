//! What does it cost to make a target safe: one that is clean, one with dots, the longest?

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use forebay::bench::file_name;
use forebay::http::clean_target;
use std::hint::black_box;

fn target(criterion: &mut Criterion) {
    let (long, long_clean) = (format!("/{}b", "a/../".repeat(1600)), "/b".to_string());
    let cases = [
        ("clean", "/articles/2025/06/io_uring?page=2&order=newest", None),
        ("dots", "/articles/./2025/../2026/a.html", Some("/articles/2026/a.html")),
        ("8 KiB of dots", &long, Some(&*long_clean)),
    ];
    let mut group = criterion.benchmark_group("target");
    for (name, target, clean) in cases {
        let clean = clean.unwrap_or(target);
        group.throughput(Throughput::Bytes(target.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let cleaned = clean_target(black_box(target)).expect("it is a good target");
                assert_eq!(cleaned, clean);
            });
        });
    }
    let (path, decoded) = ("caf%C3%A9/men%C3%BC.html", c"caf\u{e9}/men\u{fc}.html");
    group.throughput(Throughput::Bytes(path.len() as u64));
    group.bench_function("name of a file", |bencher| {
        bencher.iter(|| {
            let name = file_name(black_box(path)).expect("it can be a file's");
            assert_eq!(&*name, decoded);
        });
    });
}

criterion_group!(benches, target);
criterion_main!(benches);
