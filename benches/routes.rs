//! Does a look-up get slower with more routes, or with longer paths?

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use forebay::bench::Routes;
use std::hint::black_box;

/// `/` and so many more, of two segments each.
fn routes(count: usize) -> Routes {
    let mut routes = Routes::default();
    routes.add("/", 0);
    (1..count).for_each(|number| routes.add(&format!("/section-{number}/files/"), number));
    routes
}

fn find(routes: &Routes, path: &str, expected: (usize, &str)) {
    let found = routes.find(black_box("www.example.com"), black_box(path));
    assert_eq!(found, Some(expected));
}

fn lookup(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("routes");
    group.throughput(Throughput::Elements(1));
    let deep = format!("/{}x", "a/".repeat(4000));
    for count in [10, 1000] {
        let routes = routes(count);
        group.bench_with_input(BenchmarkId::new("a file", count), &routes, |bencher, routes| {
            bencher.iter(|| find(routes, "/section-7/files/css/main.css", (7, "css/main.css")));
        });
        group.bench_with_input(BenchmarkId::new("the rest", count), &routes, |bencher, routes| {
            bencher.iter(|| find(routes, "/articles/2025/x", (0, "articles/2025/x")));
        });
        group.bench_with_input(BenchmarkId::new("8 KiB", count), &routes, |bencher, routes| {
            bencher.iter(|| find(routes, &deep, (0, &deep[1..])));
        });
    }
}

criterion_group!(benches, lookup);
criterion_main!(benches);
