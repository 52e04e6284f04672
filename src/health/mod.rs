//! Health: finds out which backends can serve, on a thread of its own, and publishes a new table at each change.
//!
//! Two sources feed one state per backend: checks that this thread makes, and the connects of sessions that failed,
//! which the workers count. Nothing here can hold up a worker: news goes down through the table alone.

mod probe;
mod state;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, oneshot};
use tokio::task::LocalSet;
use tokio::time::{self, MissedTickBehavior};

use crate::config::{self, Check, Config};
use crate::epoch::Publisher;
use crate::stats::Stats;
use crate::table::{BackendId, Health, State};

use probe::Finding;
pub use state::{Change, HealthState};

/// Checks that may be under way at once: each holds a descriptor.
pub const CHECKS_AT_ONCE: usize = 256;
/// The first checks are spread over this, or over the interval if that is shorter.
const SPREAD: Duration = Duration::from_secs(1);
/// How often the workers' counts of failed connects are read.
const PASSIVE_INTERVAL: Duration = Duration::from_millis(50);

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
    let local = LocalSet::new();
    let Setup { config, publisher, stats, stop } = setup;
    let watched: Vec<BackendId> = checked(&config, &publisher);
    let board = Rc::new(Board::new(config, publisher));
    let permits = Rc::new(Semaphore::new(CHECKS_AT_ONCE));
    for (place, &id) in watched.iter().enumerate() {
        let delay = board.spec(id).interval.min(SPREAD).mul_f64(place as f64 / watched.len() as f64);
        local.spawn_local(check_for_ever(Rc::clone(&board), Rc::clone(&permits), id, delay));
    }
    local.spawn_local(heed_sessions_for_ever(board, stats, watched));
    local.block_on(&runtime, async {
        // Both ways of ending it are the same: a message, or nobody left who could send one.
        let _ = stop.await;
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
    let address = board.publisher.borrow().current().backends[id.index()].address;
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
    let mut seen: Vec<(u64, u64)> = vec![(0, 0); watched.len()];
    let mut turns = time::interval(PASSIVE_INTERVAL);
    turns.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        turns.tick().await;
        let failures = stats.sum(|worker| &worker.connect_failures);
        if failures == failures_seen {
            continue;
        }
        failures_seen = failures;
        for (&id, (connected_before, failed_before)) in watched.iter().zip(&mut seen) {
            let connected = stats.backend(id, |backend| &backend.connected);
            let failed = stats.backend(id, |backend| &backend.connect_failures);
            let news =
                state::Sessions { connected: connected - *connected_before, failed: failed - *failed_before };
            (*connected_before, *failed_before) = (connected, failed);
            if board.spec(id).passive {
                board.heed(id, news);
            }
        }
    }
}

/// The states of all backends, and the publisher that tells of their changes.
struct Board {
    config: Arc<Config>,
    states: RefCell<Vec<HealthState>>,
    publisher: RefCell<Publisher>,
}

impl Board {
    fn new(config: Arc<Config>, publisher: Publisher) -> Board {
        let table = publisher.current();
        let state =
            |pool: usize| HealthState::new(config.pools[pool].health.rise, config.pools[pool].health.fall);
        let states = table.backends.iter().map(|backend| state(backend.pool)).collect();
        Board { config, states: RefCell::new(states), publisher: RefCell::new(publisher) }
    }

    fn spec(&self, id: BackendId) -> config::Health {
        let pool = self.publisher.borrow().current().backends[id.index()].pool;
        self.config.pools[pool].health
    }

    fn observe(&self, id: BackendId, passed: bool, reason: impl FnOnce() -> String) {
        let change = self.states.borrow_mut()[id.index()].observe(passed);
        if let Some(change) = change {
            self.publish(id, change, reason());
        }
    }

    fn heed(&self, id: BackendId, news: state::Sessions) {
        let change = self.states.borrow_mut()[id.index()].heed(news);
        if let Some(change) = change {
            self.publish(id, change, format!("sessions could not connect ({} just now)", news.failed));
        }
    }

    fn publish(&self, id: BackendId, change: Change, reason: String) {
        let mut publisher = self.publisher.borrow_mut();
        let table = publisher.current();
        let backend = &table.backends[id.index()];
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
        publisher.publish(table.with_health(id, Health { state, since, reason: reason.into() }));
    }
}
