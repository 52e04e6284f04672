//! World: one run of recorded arrivals with one algorithm, event by event, with a virtual clock.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use slab::Slab;

use super::super::choosing::Choosing;
use super::outcome::Outcome;
use super::past::{Came, Past, Service};
use crate::balance::Tried;
use crate::config::{Algorithm, Config, Signal, Statistic};
use crate::figures;
use crate::load::Lease;
use crate::pool::{Nobody, Request};

/// While nobody comes and nothing ends, a tick is later than the one before by one part in so many of how long that has been:
/// each second of the first ones is looked at as it is when serving, and a year takes a few hundred ticks.
const TICKS_PER_QUIET: u32 = 20;

/// Runs the arrivals. The same seed gives the same outcome.
pub(super) fn run(past: &Past, algorithm: Algorithm, seed: u64, speed: f64) -> Outcome {
    let mut world = World::new(past, algorithm, seed, speed);
    world.schedule(figures::PERIOD, Event::Tick);
    loop {
        let due = world.events.peek().map(|Reverse((at, ..))| *at);
        match (world.next_arrival(), due) {
            (Some((at, came)), due) if due.is_none_or(|due| at <= due) => {
                (world.now, world.changed) = (at, at);
                world.arrived += 1;
                world.arrival(came.client);
            }
            (_, Some(_)) => world.event(),
            (_, None) => return world.outcome,
        }
    }
}

struct World<'a> {
    past: &'a Past,
    speed: f64,
    now: Duration,
    /// When somebody came or something happened to a session, last.
    changed: Duration,
    /// By moment; of two at the same moment the one that was thought of first comes first.
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    count: u64,
    dice: Rng,
    choosing: Choosing,
    /// How many have come.
    arrived: usize,
    running: Slab<Session>,
    /// Who waits for a backend with room, first come, first served.
    queue: VecDeque<Waiting>,
    outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Connected(usize),
    FirstByte(usize),
    Ended(usize),
    /// Housekeeping of workers and figures.
    Tick,
}

struct Session {
    lease: Lease,
    arrived: Duration,
    picked: Duration,
    service: Service,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    client: IpAddr,
    arrived: Duration,
}

impl World<'_> {
    fn new(past: &Past, algorithm: Algorithm, seed: u64, speed: f64) -> World<'_> {
        let backends = past.config.pools[0].backends.len();
        World {
            past,
            speed,
            now: Duration::ZERO,
            changed: Duration::ZERO,
            events: BinaryHeap::new(),
            count: 0,
            dice: Rng::with_seed(seed),
            choosing: Choosing::new(Arc::new(with(&past.config, algorithm)), past.workers),
            arrived: 0,
            running: Slab::new(),
            queue: VecDeque::new(),
            outcome: Outcome { queued: Some(0), ..Outcome::new(backends) },
        }
    }

    fn schedule(&mut self, after: Duration, event: Event) {
        self.count += 1;
        self.events.push(Reverse((self.now + after, self.count, event)));
    }

    /// Who comes next, and when.
    fn next_arrival(&self) -> Option<(Duration, Came)> {
        let came = *self.past.came.get(self.arrived)?;
        Some((Duration::from_micros((came.at_us as f64 / self.speed) as u64), came))
    }

    fn event(&mut self) {
        let Some(Reverse((at, _, event))) = self.events.pop() else { return };
        self.now = at;
        if event != Event::Tick {
            self.changed = at;
        }
        match event {
            Event::Connected(key) => {
                let Session { lease, service, .. } = &self.running[key];
                lease.measured(Signal::Connect, service.connect);
                if service.first_byte.is_some() {
                    lease.expect(Signal::FirstByte, self.now);
                }
            }
            Event::FirstByte(key) => {
                let Session { lease, service, arrived, picked } = &self.running[key];
                let took = service.first_byte.unwrap_or_default();
                lease.measured(Signal::FirstByte, took);
                self.outcome.first_byte(*picked - *arrived + took);
            }
            Event::Ended(key) => self.ended(key),
            Event::Tick => self.tick(),
        }
    }

    fn arrival(&mut self, client: IpAddr) {
        self.let_those_go_who_have_waited_too_long();
        let waiting = Waiting { client, arrived: self.now };
        if self.queue.is_empty() && self.place(waiting) {
            return;
        }
        if self.queue.len() < self.past.config.pools[0].queue_max as usize {
            self.queue.push_back(waiting);
            *self.outcome.queued.get_or_insert_default() += 1;
        } else {
            self.outcome.failed += 1;
        }
    }

    /// Gives somebody a backend, unless all are full. Whether that is settled.
    fn place(&mut self, Waiting { client, arrived }: Waiting) -> bool {
        let tried = Tried::default();
        let worker = self.dice.usize(0..self.past.workers);
        let request = Request { client, tried: &tried };
        match self.choosing.pick(worker, &request, &mut self.dice) {
            Ok(lease) => self.serve(lease, arrived),
            Err(Nobody::Left) => self.outcome.failed += 1,
            Err(Nobody::Full) => return false,
        }
        true
    }

    fn serve(&mut self, lease: Lease, arrived: Duration) {
        let id = lease.backend();
        lease.expect(Signal::Session, self.now);
        lease.expect(Signal::Connect, self.now);
        self.outcome.served[id.index()] += 1;
        self.outcome.most_active = self.outcome.most_active.max(self.choosing.sessions(id));
        let at_us = (self.now.as_micros() as f64 * self.speed) as u64;
        let service = self.past.draw(id.index(), at_us, &mut self.dice);
        let key = self.running.insert(Session { lease, arrived, picked: self.now, service });
        self.schedule(service.connect, Event::Connected(key));
        if let Some(first_byte) = service.first_byte {
            self.schedule((service.connect + first_byte).min(service.session), Event::FirstByte(key));
        }
        self.schedule(service.session, Event::Ended(key));
    }

    fn ended(&mut self, key: usize) {
        let Session { lease, arrived, picked, .. } = self.running.remove(key);
        lease.measured(Signal::Session, self.now - picked);
        drop(lease);
        self.outcome.session(self.now - arrived);
        self.let_those_go_who_have_waited_too_long();
        while let Some(first) = self.queue.front().copied() {
            if !self.place(first) {
                return;
            }
            self.queue.pop_front();
        }
    }

    /// They are the first ones of the queue, because all wait equally long.
    fn let_those_go_who_have_waited_too_long(&mut self) {
        let patience = self.past.config.pools[0].queue_timeout;
        while self.queue.front().is_some_and(|first| self.now - first.arrived >= patience) {
            self.queue.pop_front();
            self.outcome.failed += 1;
        }
    }

    fn tick(&mut self) {
        self.choosing.tick(self.now);
        self.let_those_go_who_have_waited_too_long();
        let comes = self.next_arrival().map(|(at, _)| at);
        let is_idle = self.running.is_empty() && self.queue.is_empty();
        let happens = self.events.peek().map(|Reverse((at, ..))| *at);
        let next = comes.into_iter().chain(happens).min();
        if is_idle && next.is_none() {
            return;
        }
        // Until then nothing changes but what fades with time. A quiet night without any session is over in a moment, and
        // otherwise the figures are fresh when somebody comes.
        let until_then = next.map_or(Duration::ZERO, |next| next.saturating_sub(self.now));
        let quiet = self.now.saturating_sub(self.changed) / TICKS_PER_QUIET;
        let seldom = quiet.min(until_then.saturating_sub(figures::PERIOD));
        let pause = if is_idle { until_then } else { seldom }.max(figures::PERIOD);
        self.schedule(pause, Event::Tick);
    }
}

/// The configuration with another algorithm. What goes with one algorithm alone goes with it.
fn with(config: &Config, algorithm: Algorithm) -> Config {
    let mut config = config.clone();
    let pool = &mut config.pools[0];
    let was = std::mem::replace(&mut pool.algorithm, algorithm);
    match (was, algorithm, pool.response_time.statistic) {
        (was, now, _) if was == now => {}
        (_, Algorithm::PeakEwma, _) => pool.response_time.statistic = Statistic::PeakEwma,
        (Algorithm::PeakEwma, _, Statistic::PeakEwma) => pool.response_time.statistic = Statistic::P50,
        _ => {}
    }
    config
}
