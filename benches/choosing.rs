//! What does it cost to choose a backend, and to notice that nothing has changed?
//!
//! `cargo bench --bench choosing`. A pick must not be noticed beside a connect (about 30 us on loopback).

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use ringway::balance::{Balancer, Tried};
use ringway::config::{self, Algorithm};
use ringway::epoch;
use ringway::pool::Pool;
use ringway::stats::Stats;
use ringway::table::BackendTable;

fn table(backends: usize) -> BackendTable {
    let mut text =
        String::from("[[listener]]\nname = 'a'\nbind = '127.0.0.1:1'\npool = 'p'\n[[pool]]\nname = 'p'\n");
    for backend in 0..backends {
        let (port, weight) = (1000 + backend, 1 + backend % 7);
        text += &format!("[[pool.backend]]\naddress = '127.0.0.1:{port}'\nweight = {weight}\n");
    }
    let config = config::parse("bench", &text).unwrap_or_else(|errors| panic!("{errors}"));
    BackendTable::first(&config.pools, Instant::now())
}

/// A pick with its lease given back: what each session pays.
fn pick(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pick");
    for (name, algorithm) in [
        ("round-robin", Algorithm::RoundRobin),
        ("weighted-round-robin", Algorithm::WeightedRoundRobin),
        ("least-connections", Algorithm::LeastConnections),
    ] {
        for backends in [2, 16, 128, 1024] {
            let stats = Stats::new(1, 1, backends);
            let mut pool = Pool::new(0, Balancer::new(algorithm, 0), Arc::clone(&stats.workers[0]));
            pool.adopt(&table(backends));
            let tried = Tried::default();
            group.bench_function(BenchmarkId::new(name, backends), |bencher| {
                bencher.iter(|| black_box(pool.pick(&tried)));
            });
        }
    }
    group.finish();
}

/// The look for news that comes before each pick.
fn refresh(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("refresh");
    let (mut publisher, mut subscriber) = epoch::channel(table(16));
    group.bench_function("unchanged", |bencher| bencher.iter(|| black_box(subscriber.refresh().epoch)));
    let stats = Stats::new(1, 1, 16);
    let mut pool = Pool::new(0, Balancer::new(Algorithm::RoundRobin, 0), Arc::clone(&stats.workers[0]));
    group.bench_function("changed, 16 backends", |bencher| {
        bencher.iter_batched(
            || {
                let mut next = publisher.current().as_ref().clone();
                next.epoch += 1;
                publisher.publish(next);
            },
            |()| pool.adopt(subscriber.refresh()),
            criterion::BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, pick, refresh);
criterion_main!(benches);
