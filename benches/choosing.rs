//! What does it cost to choose a backend, by algorithm, number of backends and number of workers whose sessions count? And
//! to notice that nothing has changed?
//!
//! `cargo bench --bench choosing`. A pick must not be noticed beside a connect (about 30 us on loopback).

use std::cell::Cell;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use fastrand::Rng;
use ringway::balance::Tried;
use ringway::config::{self, Algorithm, Choice, Config};
use ringway::epoch;
use ringway::load::Links;
use ringway::pool::{self, Pool, Request};
use ringway::samples::{self, Samples};
use ringway::stats::Stats;
use ringway::table::{BackendId, BackendTable};
use ringway::times::{Figure, Times};

/// `backends` of different weights in one pool.
fn config(algorithm: Algorithm, backends: usize) -> Config {
    config_with(algorithm, backends, "")
}

/// The same with these keys of the pool.
fn config_with(algorithm: Algorithm, backends: usize, keys: &str) -> Config {
    let mut text = format!(
        "[[listener]]\nname = 'a'\nbind = '127.0.0.1:1'\npool = 'p'\n\
         [[pool]]\nname = 'p'\nalgorithm = '{}'\n{keys}\n",
        algorithm.word()
    );
    for backend in 0..backends {
        let (port, weight) = (1000 + backend, 1 + backend % 7);
        text += &format!("[[pool.backend]]\naddress = '127.0.0.1:{port}'\nweight = {weight}\n");
    }
    config::parse("bench", &text).unwrap_or_else(|errors| panic!("{errors}"))
}

/// One worker's pool beside others that have sessions too, all backends measured.
fn pool(algorithm: Algorithm, backends: usize, workers: usize) -> Pool {
    pool_of(&config(algorithm, backends), workers)
}

/// The same from a configuration.
fn pool_of(config: &Config, workers: usize) -> Pool {
    let backends = config.pools[0].backends.len();
    let stats = Arc::new(Stats::new(workers, 1, backends).with_shadows(&config.pools));
    let times = Arc::new(Times::new(backends));
    for place in 0..backends {
        let id = BackendId::new(place);
        times.set(id, Figure::fresh(1_000_000 + 37 * place as u64));
        stats.workers.iter().skip(1).for_each(|worker| worker.sessions.add(id));
    }
    let links = Links {
        stats,
        samples: Rc::new(Samples::new(samples::channel(1).0)),
        signal: config.pools[0].response_time.signal,
        queue: Arc::default(),
    };
    let mut pool = Pool::new(&config.pools[0], pool::Setup { index: 0, worker: 0, links, times });
    pool.adopt(&BackendTable::first(&config.pools, Instant::now()));
    pool.loads().look_around_widely(1);
    pool
}

/// A pick with its lease given back: what each session pays.
fn pick(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pick");
    for &algorithm in Algorithm::ALL {
        for (backends, workers) in sizes(algorithm) {
            let mut pool = pool(algorithm, backends, workers);
            let (tried, mut dice, client) = (Tried::default(), Rng::with_seed(1), Cell::new(0_u32));
            let name = format!("{backends} backends, {workers} workers");
            group.bench_function(BenchmarkId::new(algorithm.word(), name), |bencher| {
                bencher.iter(|| {
                    client.set(client.get().wrapping_add(1));
                    let client = IpAddr::V4(Ipv4Addr::from(client.get()));
                    black_box(pool.pick(&Request { client, tried: &tried }, &mut dice).is_ok())
                });
            });
        }
    }
    group.finish();
}

/// The part of a pick that counts it and gives the count back, without choosing.
fn lease(criterion: &mut Criterion) {
    let pool = pool(Algorithm::RoundRobin, 16, 1);
    let mut place = 0;
    criterion.bench_function("lease", |bencher| {
        bencher.iter(|| {
            place = (place + 1) % 16;
            black_box(pool.loads().lease(place));
        });
    });
}

/// A session's first pick with what shadows choose beside it, all given back: what shadows cost each session.
fn shadow(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("shadow");
    let shadows = ["least-connections", "least-response-time", "power-of-two", "maglev"];
    for count in [0, 1, 2, 4] {
        for backends in [2, 16, 128] {
            let keys = match count {
                0 => String::new(),
                _ => format!("shadow = {:?}", &shadows[..count]),
            };
            let mut pool = pool_of(&config_with(Algorithm::RoundRobin, backends, &keys), 1);
            let (tried, mut dice, client) = (Tried::default(), Rng::with_seed(1), Cell::new(0_u32));
            let name = format!("{backends} backends");
            group.bench_function(BenchmarkId::new(format!("{count} shadows"), name), |bencher| {
                bencher.iter(|| {
                    client.set(client.get().wrapping_add(1));
                    let request = Request { client: Ipv4Addr::from(client.get()).into(), tried: &tried };
                    let (lease, _) = pool.pick(&request, &mut dice).expect("all are up");
                    let shadow = pool.shadow(&request, &lease, &mut dice);
                    black_box((lease, shadow));
                });
            });
        }
    }
    group.finish();
}

/// Every size for one worker; more workers for two rules that look at sessions, of which every look is the same.
fn sizes(algorithm: Algorithm) -> Vec<(usize, usize)> {
    let workers: &[usize] = match algorithm {
        Algorithm::LeastConnections | Algorithm::LeastResponseTime => &[1, 8, 64],
        _ => &[1],
    };
    let backends = [2, 16, 128, 1024];
    workers.iter().flat_map(|&workers| backends.map(|backends| (backends, workers))).collect()
}

/// The look for news that comes before each pick.
fn refresh(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("refresh");
    let config = config(Algorithm::RoundRobin, 16);
    let (mut publisher, mut subscriber) = epoch::channel(BackendTable::first(&config.pools, Instant::now()));
    group.bench_function("unchanged", |bencher| bencher.iter(|| black_box(subscriber.refresh().epoch)));
    for algorithm in [Algorithm::RoundRobin, Algorithm::Maglev] {
        let mut pool = pool(algorithm, 16, 1);
        group.bench_function(format!("changed, 16 backends, {}", algorithm.word()), |bencher| {
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
    }
    group.finish();
}

criterion_group!(benches, pick, lease, shadow, refresh);
criterion_main!(benches);
