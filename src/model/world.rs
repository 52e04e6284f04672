//! World: one run of a scenario, event by event, with a virtual clock.
//!
//! The clock, the dice and the backends are a model; what chooses is the real thing.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use hdrhistogram::Histogram;

use super::backend::{Backend, Finish, Nature};
use super::choosing::Choosing;
use super::scenario::Plan;
use crate::balance::Tried;
use crate::config::{self, Algorithm, Choice, Config, Signal};
use crate::figures;
use crate::load::Lease;
use crate::pool::Request;
use crate::table::BackendId;

/// Each has its own pool, as in the process that serves.
const WORKERS: usize = 2;
/// From a connect to its success or refusal.
const CONNECT: Duration = Duration::from_micros(50);
/// From one check of a backend to the next.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// What happened in one run.
#[derive(Debug, Clone)]
pub struct Run {
    /// From a client's arrival to the end of its session, in nanoseconds.
    pub latencies: Histogram<u64>,
    /// Sessions that nobody served.
    pub failed: u64,
    /// Each pick: when, and which backend.
    pub picks: Vec<(Duration, usize)>,
    /// The most sessions that one backend had at once.
    pub most_active: u32,
}

/// Runs a plan with an algorithm. The same seed gives the same run.
pub fn run(plan: &Plan, algorithm: Algorithm, seed: u64) -> Run {
    let mut world = World::new(plan, algorithm, seed);
    world.schedule(Duration::ZERO, Event::Arrival);
    world.schedule(figures::PERIOD, Event::Tick);
    world.schedule(CHECK_INTERVAL, Event::Checks);
    while let Some(Reverse(Due { at, event, .. })) = world.events.pop() {
        world.now = at;
        match event {
            Event::Arrival => world.arrival(plan),
            Event::Retry(session) => world.connect(session),
            Event::Connected(backend, session) => world.connected(backend, session),
            Event::Answered(backend, session) => world.answered(backend, session),
            Event::Lost(backend, session) => world.lost(backend, session),
            // Housekeeping ends with the sessions, or the world would never end.
            Event::Tick if world.is_over(plan) => {}
            Event::Tick => world.tick(),
            Event::Checks if world.is_over(plan) => {}
            Event::Checks => world.checks(),
        }
    }
    assert!((0..plan.backends.len()).all(|at| world.choosing.sessions(BackendId::new(at)) == 0));
    world.run
}

struct World {
    now: Duration,
    events: BinaryHeap<Reverse<Due>>,
    /// Events so far: of two at the same moment the one that was thought of first comes first.
    count: u64,
    dice: Rng,
    backends: Vec<Backend<Session>>,
    choosing: Choosing,
    running: usize,
    run: Run,
}

struct Due {
    at: Duration,
    order: u64,
    event: Event,
}

enum Event {
    /// The next client comes.
    Arrival,
    /// A connect was refused: the session tries again.
    Retry(Session),
    /// A backend has been connected to, and is asked.
    Connected(usize, Session),
    /// A backend has answered.
    Answered(usize, Session),
    /// A backend has died with the session.
    Lost(usize, Session),
    /// Housekeeping of workers and figures.
    Tick,
    /// A round of health checks.
    Checks,
}

#[derive(Debug)]
struct Session {
    worker: usize,
    client: IpAddr,
    arrived: Duration,
    tried: Tried,
    /// What it has been given, and since when the backend owes its first byte.
    served: Option<(Lease, Duration)>,
}

impl PartialEq for Due {
    fn eq(&self, other: &Due) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Due) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Due) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

impl World {
    fn new(plan: &Plan, algorithm: Algorithm, seed: u64) -> World {
        let config = Arc::new(config(plan, algorithm));
        let latencies = Histogram::new(3).expect("three digits are allowed");
        World {
            now: Duration::ZERO,
            events: BinaryHeap::new(),
            count: 0,
            dice: Rng::with_seed(seed),
            backends: plan.backends.iter().cloned().map(Backend::new).collect(),
            choosing: Choosing::new(config, WORKERS),
            running: 0,
            run: Run { latencies, failed: 0, picks: Vec::new(), most_active: 0 },
        }
    }

    fn schedule(&mut self, after: Duration, event: Event) {
        self.count += 1;
        self.events.push(Reverse(Due { at: self.now + after, order: self.count, event }));
    }

    fn is_over(&self, plan: &Plan) -> bool {
        self.now >= plan.length && self.running == 0
    }

    fn arrival(&mut self, plan: &Plan) {
        if self.now < plan.length {
            // Arrivals that do not know of each other: the pause between two is exponential.
            let pause = -(1.0 - self.dice.f64()).ln() / plan.rate;
            self.schedule(Duration::from_secs_f64(pause), Event::Arrival);
        }
        self.running += 1;
        let client = IpAddr::V4(Ipv4Addr::from(self.dice.u32(..)));
        let worker = self.dice.usize(0..WORKERS);
        self.connect(Session { worker, client, arrived: self.now, tried: Tried::default(), served: None });
    }

    /// Picks and connects, as `session.rs` does.
    fn connect(&mut self, mut session: Session) {
        let request = Request { client: session.client, tried: &session.tried };
        let Ok(lease) = self.choosing.pick(session.worker, &request, &mut self.dice) else {
            self.run.failed += 1;
            self.running -= 1;
            return;
        };
        let id = lease.backend();
        self.run.picks.push((self.now, id.index()));
        self.run.most_active = self.run.most_active.max(self.choosing.sessions(id) as u32);
        lease.expect(Signal::Session, session.arrived);
        lease.expect(Signal::Connect, self.now);
        if self.backends[id.index()].is_dead(self.now) {
            lease.failed();
            session.tried.add(id);
            drop(lease);
            return self.schedule(CONNECT, Event::Retry(session));
        }
        session.served = Some((lease, self.now + CONNECT));
        self.schedule(CONNECT, Event::Connected(id.index(), session));
    }

    fn connected(&mut self, backend: usize, session: Session) {
        if let Some((lease, _)) = &session.served {
            lease.measured(Signal::Connect, CONNECT);
            lease.expect(Signal::FirstByte, self.now);
        }
        let begun = self.backends[backend].begin(session, self.now, &mut self.dice);
        self.follow(backend, begun);
    }

    /// What will come of a request that has been begun, if one has.
    fn follow(&mut self, backend: usize, begun: Option<(Session, Finish)>) {
        match begun {
            None => {}
            Some((session, Finish::Answered(at))) => {
                self.schedule(at - self.now, Event::Answered(backend, session))
            }
            Some((session, Finish::Lost(at))) => self.schedule(at - self.now, Event::Lost(backend, session)),
        }
    }

    fn answered(&mut self, backend: usize, session: Session) {
        let (lease, asked) = session.served.expect("only who was served is answered");
        lease.measured(Signal::FirstByte, self.now - asked);
        lease.measured(Signal::Session, self.now - session.arrived);
        drop(lease);
        // It grows to what it is given, so that this cannot fail.
        let _ = self.run.latencies.record((self.now - session.arrived).as_nanos() as u64);
        self.next(backend);
    }

    fn lost(&mut self, backend: usize, session: Session) {
        let (lease, _) = session.served.expect("only who was served is lost");
        lease.unanswered();
        drop(lease);
        self.run.failed += 1;
        self.next(backend);
    }

    /// A session has ended: its backend begins the next one in line.
    fn next(&mut self, backend: usize) {
        self.running -= 1;
        let begun = self.backends[backend].next(self.now, &mut self.dice);
        self.follow(backend, begun);
    }

    fn tick(&mut self) {
        self.choosing.tick(self.now);
        self.schedule(figures::PERIOD, Event::Tick);
    }

    fn checks(&mut self) {
        for index in 0..self.backends.len() {
            let passed = !self.backends[index].is_dead(self.now);
            self.choosing.check(BackendId::new(index), passed, self.now);
        }
        self.choosing.publish();
        self.schedule(CHECK_INTERVAL, Event::Checks);
    }
}

/// One pool of the plan's backends, all of the same weight, everything else as it is when nothing is said. But `first`
/// makes no sense without a limit: there a backend is full when as many wait as are worked on.
fn config(plan: &Plan, algorithm: Algorithm) -> Config {
    let head = format!(
        "[[listener]]\nname = 'model'\nbind = '127.0.0.1:1'\npool = 'model'\n\
         [[pool]]\nname = 'model'\nalgorithm = '{}'\n[[pool.backend]]\naddress = '10.0.0.0:80'\n",
        algorithm.word()
    );
    let mut config = config::parse("model", &head).expect("it is written above");
    let first = config.pools[0].backends.remove(0);
    let backend = |(index, nature): (u32, &Nature)| {
        let address = SocketAddr::from((Ipv4Addr::from(0x0A00_0000 + index), 80));
        let full = NonZeroU32::new(2 * nature.slots as u32).filter(|_| algorithm == Algorithm::First);
        config::Backend {
            name: address.to_string(),
            address: address.into(),
            max_connections: full,
            ..first.clone()
        }
    };
    config.pools[0].backends = (0..).zip(&plan.backends).map(backend).collect();
    config
}
