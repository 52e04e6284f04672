//! Simulation: tables, health, pools and leases driven by a seed, with no socket and no clock.
//!
//! `RINGWAY_SEED=n cargo test --test simulation` replays one run; a failure prints its seed.

#![allow(unreachable_pub, reason = "common is shared by several test binaries")]

mod common;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringway::balance::{Balancer, Tried};
use ringway::config::{self, Algorithm, Config};
use ringway::epoch;
use ringway::health::{Change, HealthState};
use ringway::load::Lease;
use ringway::pool::Pool;
use ringway::stats::Stats;
use ringway::table::{BackendId, BackendTable, Health, State};

use common::Noise;

const ALGORITHMS: [Algorithm; 3] =
    [Algorithm::RoundRobin, Algorithm::WeightedRoundRobin, Algorithm::LeastConnections];

/// Two pools of random backends.
fn config(dice: &mut Noise) -> Config {
    let mut text = String::new();
    for pool in ["one", "two"] {
        let port = if pool == "one" { 1 } else { 2 };
        text += &format!("[[listener]]\nname = '{pool}'\nbind = '127.0.0.1:{port}'\npool = '{pool}'\n");
        text += &format!("[[pool]]\nname = '{pool}'\n");
        for backend in 0..=dice.below(12) {
            let weight = dice.below(10) + 1;
            text +=
                &format!("[[pool.backend]]\naddress = '127.0.0.1:{}'\nweight = {weight}\n", backend + 1000);
        }
    }
    config::parse("simulation", &text).unwrap_or_else(|errors| panic!("{errors}"))
}

/// One session of the simulation.
struct Session {
    lease: Lease,
    worker: usize,
    pool: usize,
}

/// Runs one world for a while and checks, at each step, what must always hold.
fn run(seed: u64, algorithm: Algorithm) {
    let mut dice = Noise::new(seed);
    let config = config(&mut dice);
    let begun = Instant::now();
    let first = BackendTable::first(&config.pools, begun);
    let count = first.backends.len();
    let (rise, fall) = (1 + dice.below(3) as u32, 1 + dice.below(3) as u32);
    let new_state = || HealthState::new(NonZeroU32::new(rise).unwrap(), NonZeroU32::new(fall).unwrap());
    let mut states: Vec<HealthState> = (0..count).map(|_| new_state()).collect();
    let (mut publisher, subscriber) = epoch::channel(first);
    let workers = 1 + dice.below(4);
    let stats = Stats::new(workers, 2, count);
    let mut subscribers: Vec<_> = (0..workers).map(|_| subscriber.clone()).collect();
    let mut pools: Vec<Vec<Pool>> = (0..workers)
        .map(|worker| {
            let own = &stats.workers[worker];
            (0..2).map(|pool| Pool::new(pool, Balancer::new(algorithm, worker), Arc::clone(own))).collect()
        })
        .collect();
    let mut sessions: Vec<Session> = Vec::new();
    let mut picks = 0;
    for step in 0..2000_u64 {
        match dice.below(10) {
            // A check of some backend.
            0..2 => {
                let id = BackendId::new(dice.below(count));
                let passed = dice.chance(70);
                let change = states[id.index()].observe(passed);
                if let Some(change) = change {
                    let state = if change == Change::Down { State::Down } else { State::Up };
                    let health =
                        Health { state, since: begun + Duration::from_millis(step), reason: "".into() };
                    let mut next = publisher.current().as_ref().clone();
                    next.epoch += 1;
                    next.backends[id.index()].health = health;
                    publisher.publish(next);
                }
            }
            // A new session, which may fail to connect a few times.
            2..7 => {
                let (worker, pool) = (dice.below(workers), dice.below(2));
                let mut tried = Tried::default();
                while let Some(lease) =
                    pick(&mut pools[worker][pool], &mut subscribers[worker], &tried, &publisher)
                {
                    picks += 1;
                    if dice.chance(20) {
                        lease.failed();
                        tried.add(lease.backend());
                        continue;
                    }
                    lease.connected();
                    sessions.push(Session { lease, worker, pool });
                    break;
                }
            }
            // The end of one.
            _ if !sessions.is_empty() => drop(sessions.swap_remove(dice.below(sessions.len()))),
            _ => {}
        }
        check(&sessions, &pools, &stats, count);
    }
    assert!(picks > 100, "the simulation did nothing");
    sessions.clear();
    check(&sessions, &pools, &stats, count);
}

/// Refreshes once and picks. What is picked must be up in the newest table, of the right pool, and not tried; where
/// nothing is picked, nothing must have been left.
fn pick(
    pool: &mut Pool,
    subscriber: &mut epoch::Subscriber,
    tried: &Tried,
    publisher: &epoch::Publisher,
) -> Option<Lease> {
    let epoch_before = pool.epoch();
    pool.adopt(subscriber.refresh());
    let table = publisher.current();
    assert_eq!(pool.epoch(), table.epoch, "a refresh did not see what had been published");
    assert!(pool.epoch() >= epoch_before);
    let picked = pool.pick(tried);
    let left = pool.members().iter().filter(|member| !tried.contains(member.id)).count();
    match &picked {
        Some((lease, address)) => {
            let backend = &table.backends[lease.backend().index()];
            assert_eq!(backend.health.state, State::Up);
            assert_eq!(backend.address, *address);
            assert!(!tried.contains(lease.backend()));
        }
        None => assert_eq!(left, 0, "a backend was left and nobody was picked"),
    }
    picked.map(|(lease, _)| lease)
}

/// What is counted is what is there: per worker and backend, in the loads and in the counters.
fn check(sessions: &[Session], pools: &[Vec<Pool>], stats: &Stats, count: usize) {
    for (worker, own_pools) in pools.iter().enumerate() {
        for (index, pool) in own_pools.iter().enumerate() {
            let mine = sessions.iter().filter(|session| session.worker == worker && session.pool == index);
            assert_eq!(pool.active().sum::<u32>() as usize, mine.count());
        }
    }
    for backend in 0..count {
        let live = sessions.iter().filter(|session| session.lease.backend().index() == backend).count();
        let counted = stats.backend(BackendId::new(backend), |counters| &counters.sessions);
        assert_eq!(counted as usize, live);
    }
}

#[test]
fn tables_health_pools_and_leases_agree_whatever_happens() {
    let seeds: Vec<u64> = match std::env::var("RINGWAY_SEED") {
        Ok(seed) => vec![seed.parse().expect("RINGWAY_SEED is a number")],
        Err(_) => (1..=150).collect(),
    };
    assert!(!seeds.is_empty());
    for seed in seeds {
        for algorithm in ALGORITHMS {
            let outcome = std::panic::catch_unwind(|| run(seed, algorithm));
            assert!(outcome.is_ok(), "failed with {algorithm:?}; replay: RINGWAY_SEED={seed}");
        }
    }
}

#[test]
fn every_backend_that_is_up_gets_its_turn() {
    for seed in 1..=50 {
        for algorithm in ALGORITHMS {
            let mut dice = Noise::new(seed);
            let config = config(&mut dice);
            let table = BackendTable::first(&config.pools, Instant::now());
            let stats = Stats::new(1, 2, table.backends.len());
            let mut pool = Pool::new(0, Balancer::new(algorithm, 0), Arc::clone(&stats.workers[0]));
            pool.adopt(&table);
            // A full round: as many picks as the weights add up to. Sessions stay, so that loads matter too.
            let weights: u32 = pool.members().iter().map(|member| member.weight.get()).sum();
            let kept: Vec<_> = (0..weights).map(|_| pool.pick(&Tried::default()).unwrap()).collect();
            assert_eq!(kept.len(), weights as usize);
            for member in pool.members() {
                let expected = match algorithm {
                    Algorithm::RoundRobin => 1..=weights,
                    // Exactly its weight.
                    Algorithm::WeightedRoundRobin | Algorithm::LeastConnections => {
                        member.weight.get()..=member.weight.get()
                    }
                };
                let got = member.load.active();
                assert!(expected.contains(&got), "seed {seed}, {algorithm:?}: {got} not in {expected:?}");
            }
        }
    }
}
