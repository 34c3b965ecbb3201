//! What does a deadline cost when 100,000 are in the wheel?
//!
//! Most deadlines are never reached; what counts is to add one, to know how long to wait, and to
//! pass time without touching those that are not due.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use forebay::bench::Timers;
use std::hint::black_box;
use std::time::Duration;

const COUNT: u32 = 100_000;

/// Spread over 10 to 75 seconds, the usual timeouts, in an order that looks random.
fn after(key: u32) -> Duration {
    Duration::from_millis(10_000 + u64::from(key.wrapping_mul(2_654_435_761) % 65_000))
}

fn full() -> Timers {
    let mut timers = Timers::default();
    (0..COUNT).for_each(|key| timers.set(key, after(key)));
    timers
}

/// Time passes in steps of a millisecond, as in a busy reactor; says how many have fired.
fn pass(timers: &mut Timers, time: Duration) -> u32 {
    let (mut fired, step) = (0, Duration::from_millis(1));
    let mut passed = Duration::ZERO;
    while passed < time {
        timers.advance(step, |_| fired += 1);
        passed += step;
    }
    fired
}

fn timers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("timers");

    group.throughput(Throughput::Elements(u64::from(COUNT)));
    group.bench_function("insert 100,000", |bencher| {
        bencher.iter_batched(Timers::default, |_| black_box(full()), BatchSize::LargeInput);
    });
    group.bench_function("fire 100,000 in 80 s", |bencher| {
        let fire = |mut timers: Timers| {
            assert_eq!(pass(&mut timers, Duration::from_secs(80)), COUNT);
            assert_eq!(timers.wait(), None);
            timers
        };
        bencher.iter_batched(full, fire, BatchSize::LargeInput);
    });

    group.throughput(Throughput::Elements(1));
    group.bench_function("ask how long to wait", |bencher| {
        let timers = full();
        bencher.iter(|| black_box(&timers).wait().expect("there are timers"));
    });
    group.throughput(Throughput::Elements(5_000));
    group.bench_function("pass 5,000 turns in which none is due", |bencher| {
        let idle = |mut timers: Timers| {
            assert_eq!(pass(&mut timers, Duration::from_secs(5)), 0);
            timers
        };
        bencher.iter_batched(full, idle, BatchSize::LargeInput);
    });
}

criterion_group!(benches, timers);
criterion_main!(benches);
