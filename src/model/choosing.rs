//! Choosing: what chooses in a model is the real thing: pools, loads, leases, figures, the health rule and the table that it
//! publishes, for several workers. Only the clock is handed in.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use fastrand::Rng;
use tokio::sync::Notify;

use crate::config::Config;
use crate::epoch::{self, Subscriber};
use crate::figures::Figures;
use crate::health::board::Board;
use crate::load::{Lease, Links};
use crate::pool::{self, Nobody, Pool, Request};
use crate::samples::{self, Inbox, Samples};
use crate::stats::Stats;
use crate::table::{BackendId, BackendTable};
use crate::times::Times;

/// The choosing of one pool.
pub(super) struct Choosing {
    /// Health, as the thread of that name keeps it.
    board: Board,
    /// Told when there is something to publish.
    changed: Rc<Notify>,
    /// What the virtual clock counts from.
    begun: Instant,
    stats: Arc<Stats>,
    times: Arc<Times>,
    figures: Figures,
    inbox: Inbox,
    workers: Vec<Worker>,
}

struct Worker {
    pool: Pool,
    samples: Rc<Samples>,
    tables: Subscriber,
}

impl Choosing {
    /// For the first pool of a configuration; all its backends are up.
    pub(super) fn new(config: Arc<Config>, workers: usize) -> Choosing {
        let begun = Instant::now();
        let spec = &config.pools[0];
        let count = spec.backends.len();
        let stats = Arc::new(Stats::new(workers, 1, count));
        let times = Arc::new(Times::new(count));
        let (sender, inbox) = samples::channel(workers);
        let (publisher, subscriber) = epoch::channel(BackendTable::first(&config.pools, begun));
        let queue = Arc::default();
        let worker = |worker: usize| {
            let samples = Rc::new(Samples::new(sender.clone()));
            let links = Links {
                stats: Arc::clone(&stats),
                samples: Rc::clone(&samples),
                signal: spec.response_time.signal,
                queue: Arc::clone(&queue),
            };
            let setup = pool::Setup { index: 0, worker, links, times: Arc::clone(&times) };
            Worker { pool: Pool::new(spec, setup), samples, tables: subscriber.clone() }
        };
        let workers = (0..workers).map(worker).collect();
        let figures = Figures::new(&config);
        let board = Board::new(config, Arc::clone(&stats), publisher, begun);
        Choosing { changed: board.changed(), board, begun, stats, times, figures, inbox, workers }
    }

    /// Has a worker pick, as `session.rs` does.
    pub(super) fn pick(
        &mut self,
        worker: usize,
        request: &Request<'_>,
        dice: &mut Rng,
    ) -> Result<Lease, Nobody> {
        let worker = &mut self.workers[worker];
        worker.pool.adopt(worker.tables.refresh());
        worker.pool.pick(request, dice).map(|(lease, _)| lease)
    }

    /// Sessions now on a backend.
    pub(super) fn sessions(&self, id: BackendId) -> u64 {
        self.stats.sessions(id)
    }

    /// Takes the result of a health check.
    pub(super) fn check(&mut self, id: BackendId, passed: bool, now: Duration) {
        self.board.observe(id, passed, || String::from("modelled"), self.begun + now);
    }

    /// The housekeeping of workers, figures and health, every [`crate::figures::PERIOD`].
    pub(super) fn tick(&mut self, now: Duration) {
        for worker in &mut self.workers {
            worker.samples.hand_over();
            worker.pool.adopt(worker.tables.refresh());
            worker.pool.loads().look_around_widely(1);
        }
        self.inbox.drain(1).for_each(|sample| self.figures.take(sample));
        self.figures.turn(now, &self.stats, &self.times);
        self.board.look(self.begun + now);
        self.publish();
    }

    /// Publishes what has changed, if anything has.
    pub(super) fn publish(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        if pin!(self.changed.notified()).poll(&mut context).is_ready() {
            self.board.publish();
        }
    }
}
