//! Simulation: tables, health, pools and leases driven by a seed, with no socket and no clock.
//!
//! `RINGWAY_SEED=n cargo test --test simulation` replays one run; a failure prints its seed.

#![allow(unreachable_pub, reason = "common is shared by several test binaries")]

mod common;

use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use ringway::balance::Tried;
use ringway::config::{self, Address, Algorithm, Choice, Config};
use ringway::epoch;
use ringway::load::{Lease, Links};
use ringway::pool::{self, Nobody, Pool, Request};
use ringway::queue::Queue;
use ringway::samples::{self, Samples};
use ringway::stats::{Stats, Waits};
use ringway::table::{Backend, BackendId, BackendTable, Mode, State};
use ringway::times::{Figure, Times};

use common::Noise;

/// Two pools of random backends.
fn config(dice: &mut Noise, algorithm: Algorithm) -> Config {
    let mut text = String::new();
    for pool in ["one", "two"] {
        let port = if pool == "one" { 1 } else { 2 };
        text += &format!("[[listener]]\nname = '{pool}'\nbind = '127.0.0.1:{port}'\npool = '{pool}'\n");
        text += &format!("[[pool]]\nname = '{pool}'\nalgorithm = '{}'\n", algorithm.word());
        for backend in 0..=dice.below(12) {
            let weight = dice.below(10) + 1;
            text +=
                &format!("[[pool.backend]]\naddress = '127.0.0.1:{}'\nweight = {weight}\n", backend + 1000);
        }
    }
    let mut config = config::parse("simulation", &text).unwrap_or_else(|errors| panic!("{errors}"));
    for backend in config.pools.iter_mut().flat_map(|pool| &mut pool.backends) {
        backend.backup = dice.chance(20);
        backend.max_connections =
            if dice.chance(30) { std::num::NonZeroU32::new(1 + dice.below(20) as u32) } else { None };
    }
    for pool in &mut config.pools {
        pool.panic_threshold = if dice.chance(30) { 50 } else { 0 };
    }
    config
}

/// Everything that is shared by the workers of one world, and what each has of its own.
struct World {
    config: Config,
    stats: Arc<Stats>,
    times: Arc<Times>,
    publisher: epoch::Publisher,
    subscribers: Vec<epoch::Subscriber>,
    /// By worker and pool.
    pools: Vec<Vec<Pool>>,
    inbox: samples::Inbox,
    samples: Vec<Rc<Samples>>,
    rng: Rng,
}

impl World {
    fn new(config: Config, workers: usize, seed: u64) -> World {
        let first = BackendTable::first(&config.pools, Instant::now());
        let count = first.backends.len();
        let stats = Arc::new(Stats::new(workers, 2, count));
        let times = Arc::new(Times::new(count));
        let (publisher, subscriber) = epoch::channel(first);
        let (sender, inbox) = samples::channel(workers);
        let queues: Vec<Arc<Queue>> = config.pools.iter().map(|_| Arc::default()).collect();
        let samples: Vec<Rc<Samples>> = (0..workers).map(|_| Rc::new(Samples::new(sender.clone()))).collect();
        let pool = |worker: usize, index: usize| {
            let links = Links {
                stats: Arc::clone(&stats),
                samples: Rc::clone(&samples[worker]),
                signal: config.pools[index].response_time.signal,
                queue: Arc::clone(&queues[index]),
            };
            let setup = pool::Setup { index, worker, links, times: Arc::clone(&times) };
            Pool::new(&config.pools[index], setup)
        };
        let pools =
            (0..workers).map(|worker| (0..config.pools.len()).map(|index| pool(worker, index)).collect());
        let pools = pools.collect();
        let subscribers = (0..workers).map(|_| subscriber.clone()).collect();
        let rng = Rng::with_seed(seed);
        World { config, stats, times, publisher, subscribers, pools, inbox, samples, rng }
    }

    fn table(&self) -> Arc<BackendTable> {
        self.publisher.current()
    }

    /// Publishes a table in which one backend has changed.
    fn change(&mut self, id: BackendId, change: impl FnOnce(&mut Backend)) {
        let mut next = self.table().as_ref().clone();
        next.epoch += 1;
        change(&mut next.backends[id.index()]);
        self.publisher.publish(next);
    }

    fn pick(
        &mut self,
        worker: usize,
        index: usize,
        client: IpAddr,
        tried: &Tried,
    ) -> Result<(Lease, Address), Nobody> {
        let pool = &mut self.pools[worker][index];
        let before = pool.epoch();
        pool.adopt(self.subscribers[worker].refresh());
        assert!(pool.epoch() >= before);
        assert_eq!(pool.epoch(), self.publisher.current().epoch, "a refresh did not see what was published");
        pool.pick(&Request { client, tried }, &mut self.rng)
    }

    /// Whether so few are up that all are let through.
    fn is_in_panic(&self, index: usize) -> bool {
        let table = self.table();
        let wanted: Vec<&Backend> = table.backends[table.pools[index].clone()]
            .iter()
            .filter(|backend| !backend.backup && backend.is_wanted())
            .collect();
        let up = wanted.iter().filter(|backend| backend.health.state == State::Up).count();
        up * 100 < wanted.len() * self.config.pools[index].panic_threshold as usize
    }

    fn sessions(&self, id: BackendId) -> u64 {
        self.stats.sessions(id)
    }
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
    let config = config(&mut dice, algorithm);
    let workers = 1 + dice.below(4);
    let mut world = World::new(config, workers, seed);
    let count = world.table().backends.len();
    let mut sessions: Vec<Session> = Vec::new();
    let mut picks = 0;
    for _ in 0..1500 {
        let id = BackendId::new(dice.below(count));
        match dice.below(20) {
            0..2 => {
                let state =
                    [State::Up, State::Up, State::Down, State::Ejected, State::OnTrial][dice.below(5)];
                world.change(id, |backend| {
                    if state == State::OnTrial {
                        backend.gate.open_trial();
                    }
                    backend.health.state = state;
                });
            }
            2 => {
                let mode = [Mode::Ready, Mode::Ready, Mode::Drain, Mode::Maintenance][dice.below(4)];
                let (weight, ramp) = (dice.below(11) as u32, 1 + dice.below(100) as u32);
                world.change(id, |backend| {
                    (backend.mode, backend.weight, backend.ramp) = (mode, weight, ramp);
                });
            }
            3 => {
                let nanos = dice.below(1_000_000) as u64;
                let figures = [Figure::UNKNOWN, Figure::fresh(nanos), Figure::stale(nanos)];
                world.times.set(id, figures[dice.below(3)]);
            }
            // A new session, which may fail to connect a few times.
            4..14 => {
                let (worker, pool) = (dice.below(workers), dice.below(2));
                let client = IpAddr::V4(Ipv4Addr::from(dice.below(1 << 20) as u32));
                let mut tried = Tried::default();
                while let Some(lease) = pick(&mut world, worker, pool, client, &tried) {
                    picks += 1;
                    if dice.chance(20) {
                        lease.failed();
                        tried.add(lease.backend());
                        continue;
                    }
                    lease.measured(config::Signal::Connect, Duration::from_micros(50));
                    lease.expect(config::Signal::FirstByte, Duration::from_micros(dice.below(1000) as u64));
                    sessions.push(Session { lease, worker, pool });
                    break;
                }
            }
            // The end of one.
            _ if !sessions.is_empty() => {
                let session = sessions.swap_remove(dice.below(sessions.len()));
                if dice.chance(80) {
                    session.lease.measured(config::Signal::FirstByte, Duration::from_micros(9));
                }
            }
            _ => {}
        }
        if dice.chance(5) {
            world.samples.iter().for_each(|samples| samples.hand_over());
            assert!(world.inbox.drain(1).all(|sample| sample.backend.index() < count));
        }
        check(&sessions, &world);
    }
    assert!(picks > 100, "the simulation did nothing");
    sessions.clear();
    check(&sessions, &world);
}

/// Refreshes once and picks. What is picked must be wanted and up in the newest table, of the right pool, within its
/// limit and not tried; where nothing is picked, nothing must have been left.
fn pick(world: &mut World, worker: usize, index: usize, client: IpAddr, tried: &Tried) -> Option<Lease> {
    let in_panic = world.is_in_panic(index);
    let table = world.table();
    let places = table.pools[index].clone();
    let is_open =
        |backend: &Backend| backend.is_open() || (in_panic && !backend.backup && backend.is_wanted());
    let has_room = |backend: &Backend, taken: u64| {
        backend.max_connections.is_none_or(|max| taken < u64::from(max.get()))
    };
    let before: Vec<u64> = places.clone().map(|place| world.sessions(BackendId::new(place))).collect();
    let left: Vec<&Backend> = table.backends[places.clone()]
        .iter()
        .filter(|backend| is_open(backend) && !tried.contains(backend.id))
        .collect();
    let with_room = |backend: &&&Backend| has_room(backend, before[backend.id.index() - places.start]);
    match world.pick(worker, index, client, tried) {
        Ok((lease, address)) => {
            let backend = &table.backends[lease.backend().index()];
            assert!(places.contains(&lease.backend().index()));
            assert!(is_open(backend) || (backend.is_on_trial() && lease.is_trial()));
            assert!(has_room(backend, before[lease.backend().index() - places.start]), "over its limit");
            assert!(!tried.contains(lease.backend()));
            assert_eq!(backend.address, address);
            if backend.backup && !lease.is_trial() {
                assert!(left.iter().filter(with_room).all(|other| other.backup), "a backup before its time");
            }
            Some(lease)
        }
        Err(nobody) => {
            assert_eq!(left.iter().filter(with_room).count(), 0, "a backend was left and nobody was picked");
            assert_eq!(nobody, if left.is_empty() { Nobody::Left } else { Nobody::Full });
            None
        }
    }
}

/// What is counted is what is there: per worker and backend, in the loads and in the counters.
fn check(sessions: &[Session], world: &World) {
    for (worker, own_pools) in world.pools.iter().enumerate() {
        for (index, pool) in own_pools.iter().enumerate() {
            let mine = sessions.iter().filter(|session| session.worker == worker && session.pool == index);
            let loads = pool.loads();
            let counted: u32 = (0..loads.len()).map(|place| loads.own(place)).sum();
            assert_eq!(counted as usize, mine.count());
        }
    }
    for backend in 0..world.table().backends.len() {
        let id = BackendId::new(backend);
        let live = sessions.iter().filter(|session| session.lease.backend() == id).count();
        assert_eq!(world.sessions(id) as usize, live);
        if sessions.is_empty() {
            assert_eq!(world.stats.waits(id, Duration::from_secs(1_000)), Waits::default());
        }
    }
}

#[test]
fn tables_pools_limits_and_leases_agree_whatever_happens() {
    let seeds: Vec<u64> = match std::env::var("RINGWAY_SEED") {
        Ok(seed) => vec![seed.parse().expect("RINGWAY_SEED is a number")],
        Err(_) => (1..=40).collect(),
    };
    assert!(!seeds.is_empty());
    for seed in seeds {
        for &algorithm in Algorithm::ALL {
            let outcome = std::panic::catch_unwind(|| run(seed, algorithm));
            assert!(outcome.is_ok(), "failed with {algorithm:?}; replay: RINGWAY_SEED={seed}");
        }
    }
}

#[test]
fn every_worker_sees_the_sessions_of_all_at_its_next_pick() {
    let mut dice = Noise::new(5);
    let mut config = config(&mut dice, Algorithm::LeastConnections);
    for backend in config.pools.iter_mut().flat_map(|pool| &mut pool.backends) {
        (backend.backup, backend.max_connections) = (false, None);
        backend.weight = std::num::NonZeroU32::MIN;
    }
    let mut world = World::new(config, 4, 1);
    let backends = world.pools[0][1].loads().len().max(world.table().pools[1].len());
    let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let tried = Tried::default();
    // Workers take turns: together they must spread as one would.
    let leases: Vec<Lease> =
        (0..backends * 12).map(|turn| world.pick(turn % 4, 1, client, &tried).unwrap().0).collect();
    let held: Vec<u64> =
        world.table().pools[1].clone().map(|at| world.sessions(BackendId::new(at))).collect();
    assert_eq!(held, vec![12; backends]);
    drop(leases);
}

#[test]
fn whoever_measures_or_throws_dice_picks_every_backend_within_a_bound() {
    use Algorithm::{LeastResponseTime, PeakEwma, PowerOfTwo, Random};
    for seed in 1..=50 {
        for algorithm in [LeastResponseTime, PeakEwma, PowerOfTwo, Random] {
            let mut dice = Noise::new(seed);
            let mut config = config(&mut dice, algorithm);
            for backend in config.pools.iter_mut().flat_map(|pool| &mut pool.backends) {
                (backend.backup, backend.max_connections) = (false, None);
            }
            let mut world = World::new(config, 1, seed);
            let places = world.table().pools[0].clone();
            // Whatever is known of them: nothing, good, bad, or something old.
            for at in places.clone() {
                let nanos = 1 + dice.below(1_000_000_000) as u64;
                let figures = [Figure::UNKNOWN, Figure::fresh(nanos), Figure::stale(nanos)];
                world.times.set(BackendId::new(at), figures[dice.below(3)]);
            }
            let (client, tried) = (IpAddr::V4(Ipv4Addr::LOCALHOST), Tried::default());
            let weights = &world.config.pools[0].backends;
            let sum: u32 = weights.iter().map(|backend| backend.weight.get()).sum();
            // Sessions stay: those that measure go to a slow one when the fast are full, or when it is its turn to be
            // tried again. With dice, e^-30 is the chance that the lightest one has not come.
            let picks = match algorithm {
                Random | PowerOfTwo => 30 * sum as usize,
                _ => 40_000,
            };
            let mut seen = vec![0_u32; places.len()];
            let mut kept: Vec<Lease> = Vec::new();
            for _ in 0..picks {
                let (lease, _) = world.pick(0, 0, client, &tried).unwrap();
                seen[lease.backend().index() - places.start] += 1;
                kept.push(lease);
                // One was fast and is known to be: it is stale no more only if somebody measures it.
                if seen.iter().all(|&count| count > 0) {
                    break;
                }
            }
            let worst = world.config.pools[0].backends.iter().zip(&seen).find(|(_, count)| **count == 0);
            // A fresh time a billion times that of another is no reason to go there, however many sessions those have.
            let may_starve = |at: usize| world.times.get(BackendId::new(places.start + at)).is_fresh();
            let starved = seen.iter().enumerate().any(|(at, &count)| count == 0 && !may_starve(at));
            assert!(!starved, "seed {seed}, {algorithm:?}: {worst:?} was never picked: {seen:?}");
        }
    }
}

#[test]
fn every_backend_that_is_up_gets_its_turn() {
    for seed in 1..=50 {
        for algorithm in [Algorithm::RoundRobin, Algorithm::WeightedRoundRobin, Algorithm::LeastConnections] {
            let mut dice = Noise::new(seed);
            let mut config = config(&mut dice, algorithm);
            for backend in config.pools.iter_mut().flat_map(|pool| &mut pool.backends) {
                (backend.backup, backend.max_connections) = (false, None);
            }
            let mut world = World::new(config, 1, seed);
            let (client, tried) = (IpAddr::V4(Ipv4Addr::LOCALHOST), Tried::default());
            // A full round: as many picks as the weights add up to. Sessions stay, so that loads matter too.
            let weights: u32 =
                world.config.pools[0].backends.iter().map(|backend| backend.weight.get()).sum();
            let kept: Vec<Lease> =
                (0..weights).map(|_| world.pick(0, 0, client, &tried).unwrap().0).collect();
            assert_eq!(kept.len(), weights as usize);
            for (place, backend) in world.config.pools[0].backends.iter().enumerate() {
                let got = world.pools[0][0].loads().active(place);
                match algorithm {
                    Algorithm::RoundRobin => assert!(got >= 1),
                    // Exactly its weight.
                    _ => assert_eq!(got, backend.weight.get(), "seed {seed}, {algorithm:?}"),
                }
            }
        }
    }
}
