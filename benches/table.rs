//! What does a completion cost to find its connection among 10,000, and an old one to find none?

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use forebay::bench::Connections;
use std::hint::black_box;

const COUNT: usize = 10_000;

/// An order that looks random and visits all.
fn order() -> impl Iterator<Item = usize> {
    (0..COUNT).map(|step| step * 7_919 % COUNT)
}

fn table(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("connections");
    group.throughput(Throughput::Elements(COUNT as u64));
    let mut connections = Connections::new(COUNT as u64);
    group.bench_function("find", |bencher| {
        bencher.iter(|| {
            for number in order() {
                assert_eq!(connections.find(black_box(number)), Some(number as u64));
            }
        });
    });
    group.bench_function("replace", |bencher| {
        bencher.iter(|| {
            for number in order() {
                assert_eq!(connections.replace(black_box(number)), None);
            }
        });
    });
}

criterion_group!(benches, table);
criterion_main!(benches);
