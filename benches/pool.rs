//! What does the lock around a pool cost when 1, 2 and 8 reactors want slots at the same time?

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use forebay::bench::Pool;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

const SLOTS: u32 = 16;

/// Each thread takes a slot and gives it back, so often. Says how long all of them took.
fn contend(pool: &Pool, threads: usize, times: u64) -> Duration {
    let barrier = Barrier::new(threads + 1);
    let began = thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                barrier.wait();
                for _ in 0..times {
                    let slot = pool.take().expect("there are more slots than threads");
                    pool.give_back(slot);
                }
            });
        }
        barrier.wait();
        Instant::now()
    });
    began.elapsed()
}

fn dispatch(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pool");
    for threads in [1, 2, 8] {
        let pool = Pool::new(SLOTS);
        group.throughput(Throughput::Elements(threads as u64));
        group.bench_function(BenchmarkId::new("take and give back", threads), |bencher| {
            bencher.iter_custom(|times| contend(&pool, threads, times));
        });
        assert_eq!(pool.idle(), SLOTS as usize, "every slot has been given back");
    }
}

criterion_group!(benches, dispatch);
criterion_main!(benches);
