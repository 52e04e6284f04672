//! Health: finds out which backends can serve, on a thread of its own, and publishes a new table at each change.
//!
//! Two sources feed one state per backend: checks that this thread makes, and the connects of sessions that failed,
//! which the workers count. Nothing here can hold up a worker: news goes down through the table alone.

mod probe;
mod state;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{self, MissedTickBehavior};

use crate::config::{self, Check, Config};
use crate::epoch::Publisher;
use crate::stats::Stats;
use crate::table::{BackendId, BackendTable, Health, State};

use probe::Finding;
pub use state::{Change, HealthState};

/// Checks that may be under way at once: each holds a descriptor.
pub const CHECKS_AT_ONCE: usize = 1024;
/// The first checks are spread over this, or over the interval if that is shorter.
const SPREAD: Duration = Duration::from_secs(1);
/// How often the workers' counts of failed connects are read.
const PASSIVE_INTERVAL: Duration = Duration::from_millis(50);

/// Between two tables that are published.
const PUBLISH_PAUSE: Duration = Duration::from_millis(5);

/// What the health thread is made from.
pub struct Setup {
    /// What was asked for.
    pub config: Arc<Config>,
    /// Where tables go.
    pub publisher: Publisher,
    /// Where the workers count failed connects.
    pub stats: Arc<Stats>,
    /// Ends the thread when its sender is dropped.
    pub stop: oneshot::Receiver<()>,
}

/// Checks until it is told to stop.
pub fn run(setup: Setup) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let Setup { config, publisher, stats, stop } = setup;
    let watched: Vec<BackendId> = checked(&config, &publisher);
    let board = Rc::new(Board::new(config, publisher));
    let permits = Rc::new(Semaphore::new(CHECKS_AT_ONCE));
    LocalSet::new().block_on(&runtime, async {
        let mut tasks = JoinSet::new();
        for (place, &id) in watched.iter().enumerate() {
            let delay = board.spec(id).interval.min(SPREAD).mul_f64(place as f64 / watched.len() as f64);
            tasks.spawn_local(check_for_ever(Rc::clone(&board), Rc::clone(&permits), id, delay));
        }
        tasks.spawn_local(heed_sessions_for_ever(Rc::clone(&board), stats, watched));
        tasks.spawn_local(publish_for_ever(board));
        tokio::select! {
            // Both ways of ending it are the same: a message, or nobody left who could send one.
            _ = stop => {}
            // None of them ends by itself. One that panicked would leave its backend unchecked for ever: die aloud.
            Some(Err(error)) = tasks.join_next() => std::panic::resume_unwind(error.into_panic()),
        }
    });
    Ok(())
}

/// Backends whose pool wants checks.
fn checked(config: &Config, publisher: &Publisher) -> Vec<BackendId> {
    let table = publisher.current();
    let wants = |pool: usize| config.pools[pool].health.check != Check::None;
    table.backends.iter().filter(|backend| wants(backend.pool)).map(|backend| backend.id).collect()
}

async fn check_for_ever(board: Rc<Board>, permits: Rc<Semaphore>, id: BackendId, delay: Duration) {
    let spec = board.spec(id);
    let address = board.address(id);
    let mut turns = time::interval_at(time::Instant::now() + delay, spec.interval);
    // After a gap (the process was stopped) go on in step instead of making up for every missed check at once.
    turns.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut able = true;
    loop {
        turns.tick().await;
        let finding = {
            let _permit = permits.acquire().await.expect("the semaphore is never closed");
            probe::tcp(address, spec.timeout).await
        };
        match finding {
            Finding::Passed => board.observe(id, true, || String::from("check passed")),
            Finding::Failed(why) => board.observe(id, false, || format!("check failed: {why}")),
            Finding::Unable(error) => {
                // Once for each time that it begins: it can last, and there can be thousands.
                if std::mem::replace(&mut able, false) {
                    tracing::warn!(backend = %address, %error, "checks cannot be made; the backend is not blamed");
                }
                continue;
            }
        }
        able = true;
    }
}

/// Feeds the failed connects of sessions into the states, where the pool wants that.
async fn heed_sessions_for_ever(board: Rc<Board>, stats: Arc<Stats>, watched: Vec<BackendId>) {
    let mut failures_seen = 0;
    let mut failed_before: Vec<u64> = vec![0; watched.len()];
    let mut turns = time::interval(PASSIVE_INTERVAL);
    turns.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        turns.tick().await;
        let failures = stats.sum(|worker| &worker.connect_failures);
        if failures == failures_seen {
            continue;
        }
        failures_seen = failures;
        for (&id, before) in watched.iter().zip(&mut failed_before) {
            let failed = stats.backend(id, |backend| &backend.connect_failures);
            if failed == *before {
                continue;
            }
            let in_row = stats.backend(id, |backend| &backend.failures_in_row);
            let news = state::Sessions { failed: failed - *before, in_row };
            *before = failed;
            if board.spec(id).passive {
                board.heed(id, news);
            }
        }
    }
}

/// Publishes changes: the first one at once, those that follow closely together. A table is copied whole each time, and
/// thousands of backends can change in the same moment.
async fn publish_for_ever(board: Rc<Board>) {
    loop {
        board.changed.notified().await;
        board.publish();
        time::sleep(PUBLISH_PAUSE).await;
    }
}

/// The states of all backends, and the table that will be published next.
struct Board {
    config: Arc<Config>,
    states: RefCell<Vec<HealthState>>,
    next: RefCell<BackendTable>,
    changed: Notify,
    publisher: RefCell<Publisher>,
}

impl Board {
    fn new(config: Arc<Config>, publisher: Publisher) -> Board {
        let next = publisher.current().as_ref().clone();
        let state =
            |pool: usize| HealthState::new(config.pools[pool].health.rise, config.pools[pool].health.fall);
        let states = next.backends.iter().map(|backend| state(backend.pool)).collect();
        Board {
            config,
            states: RefCell::new(states),
            next: RefCell::new(next),
            changed: Notify::new(),
            publisher: RefCell::new(publisher),
        }
    }

    fn spec(&self, id: BackendId) -> config::Health {
        let pool = self.next.borrow().backends[id.index()].pool;
        self.config.pools[pool].health
    }

    fn address(&self, id: BackendId) -> SocketAddr {
        self.next.borrow().backends[id.index()].address
    }

    fn observe(&self, id: BackendId, passed: bool, reason: impl FnOnce() -> String) {
        let change = self.states.borrow_mut()[id.index()].observe(passed);
        if let Some(change) = change {
            self.note(id, change, reason());
        }
    }

    fn heed(&self, id: BackendId, news: state::Sessions) {
        let change = self.states.borrow_mut()[id.index()].heed(news);
        if let Some(change) = change {
            self.note(id, change, format!("sessions could not connect ({} in a row)", news.in_row));
        }
    }

    /// Writes a change into the next table, and into the log.
    fn note(&self, id: BackendId, change: Change, reason: String) {
        let backend = &mut self.next.borrow_mut().backends[id.index()];
        let now = Instant::now();
        let (pool, lasted) = (&self.config.pools[backend.pool].name, now - backend.health.since);
        let (name, address, lasted) =
            (&backend.name, backend.address, format!("{:.1}s", lasted.as_secs_f64()));
        let (state, since) = match change {
            Change::Up => {
                tracing::info!(%pool, backend = %name, %address, %reason, was_down = %lasted, "backend is up");
                (State::Up, now)
            }
            Change::Down => {
                tracing::warn!(%pool, backend = %name, %address, %reason, was_up = %lasted, "backend is down");
                (State::Down, now)
            }
            // No change for anybody but who reads the table.
            Change::Confirmed => (State::Up, backend.health.since),
        };
        backend.health = Health { state, since, reason: reason.into() };
        self.changed.notify_one();
    }

    fn publish(&self) {
        let mut next = self.next.borrow_mut();
        next.epoch += 1;
        self.publisher.borrow_mut().publish(next.clone());
    }
}
