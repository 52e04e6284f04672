//! Health: finds out which backends can serve, on a thread of its own, and publishes a new table at each change.
//!
//! Several sources feed one state per backend: checks that this thread makes, what sessions met, which the workers count,
//! and what operators want. Nothing here can hold up a worker: news goes down through the table and the gates alone.

pub(crate) mod board;
mod ejection;
mod order;
mod probe;
mod ramp;
mod schedule;
mod sessions;
mod state;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{self, MissedTickBehavior};

use crate::config::Config;
use crate::epoch::Publisher;
use crate::stats::Stats;
use crate::table::BackendId;

use board::{Board, Pace};
use probe::{Finding, Target};

pub use order::{ORDERS_MAX, Order, Refusal, WEIGHT_MAX};
pub use probe::{Probes, Unusable};

/// Checks over a socket that may be under way at once: each holds a descriptor.
pub const CHECKS_AT_ONCE: usize = 1024;
/// Checks by a program that may be under way at once: each is a process.
pub const COMMANDS_AT_ONCE: usize = 32;
/// The first checks are spread over this, or over the interval if that is shorter.
const SPREAD: Duration = Duration::from_secs(1);
/// How often the workers' counts and the clock are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// Between two tables that are published.
const PUBLISH_PAUSE: Duration = Duration::from_millis(5);

/// What the health thread is made from.
pub struct Setup {
    /// What was asked for.
    pub config: Arc<Config>,
    /// How the backends of each pool are checked.
    pub probes: Probes,
    /// Where tables go.
    pub publisher: Publisher,
    /// Where the workers count failures.
    pub stats: Arc<Stats>,
    /// What operators want.
    pub orders: mpsc::Receiver<Order>,
    /// What its dice come from.
    pub seed: u64,
    /// Ends the thread when its sender is dropped.
    pub stop: oneshot::Receiver<()>,
}

/// Checks until it is told to stop.
pub fn run(setup: Setup) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let Setup { config, probes, publisher, stats, orders, seed, stop } = setup;
    let board = Board::new(config, stats, publisher, Instant::now());
    let (watched, changed) = (board.checked(), board.changed());
    let shared = Rc::new(Shared {
        board: RefCell::new(board),
        probes,
        permits: Semaphore::new(CHECKS_AT_ONCE),
        command_permits: Semaphore::new(COMMANDS_AT_ONCE),
    });
    LocalSet::new().block_on(&runtime, async {
        let mut tasks = JoinSet::new();
        let begun = Instant::now();
        for (place, &id) in watched.iter().enumerate() {
            let interval = shared.board.borrow().spec(id).interval;
            let first = begun + schedule::spread(place, watched.len(), interval.min(SPREAD));
            let dice = Rng::with_seed(seed.wrapping_add(place as u64));
            tasks.spawn_local(check_for_ever(Rc::clone(&shared), id, first, dice));
        }
        tasks.spawn_local(look_for_ever(Rc::clone(&shared)));
        tasks.spawn_local(obey_for_ever(Rc::clone(&shared), orders));
        tasks.spawn_local(publish_for_ever(shared, changed));
        tokio::select! {
            // Both ways of ending it are the same: a message, or nobody left who could send one.
            _ = stop => {}
            // None of them ends by itself. One that panicked would leave its backend unchecked for ever: die aloud.
            Some(Err(error)) = tasks.join_next() => std::panic::resume_unwind(error.into_panic()),
        }
    });
    Ok(())
}

/// What the tasks of this thread share.
struct Shared {
    board: RefCell<Board>,
    probes: Probes,
    permits: Semaphore,
    command_permits: Semaphore,
}

async fn check_for_ever(shared: Rc<Shared>, id: BackendId, first: Instant, mut dice: Rng) {
    let (target, timeout, paced) = {
        let board = shared.board.borrow();
        (target(&board, id), board.spec(id).timeout, board.paced(id))
    };
    let probe = shared.probes.of_pool(shared.board.borrow().backend(id).pool);
    let permits = if probe.is_a_process() { &shared.command_permits } else { &shared.permits };
    let mut turns = Turns { id, last: None, next: first };
    let mut able = true;
    loop {
        turns.next(&shared, &paced, &mut dice).await;
        let finding = {
            let _permit = permits.acquire().await.expect("the semaphore is never closed");
            probe.look(&target, timeout).await
        };
        let (passed, reason) = match finding {
            Finding::Passed => (true, String::from("check passed")),
            Finding::Failed(why) => (false, format!("check failed: {why}")),
            Finding::Unable(error) => {
                // Once for each time that it begins: it can last, and there can be thousands.
                if std::mem::replace(&mut able, false) {
                    tracing::warn!(backend = %target.address, %error, "checks cannot be made; the backend is not blamed");
                }
                continue;
            }
        };
        able = true;
        shared.board.borrow_mut().observe(id, passed, || reason, Instant::now());
    }
}

fn target(board: &Board, id: BackendId) -> Target {
    let name = Arc::clone(&board.backend(id).name);
    Target { pool: board.pool_name(id).to_owned(), name, address: board.check_address(id) }
}

/// The places of one backend's checks on its grid.
struct Turns {
    id: BackendId,
    last: Option<Instant>,
    next: Instant,
}

impl Turns {
    /// Until the next check is due.
    async fn next(&mut self, shared: &Shared, paced: &Notify, dice: &mut Rng) {
        let mut resting = false;
        loop {
            let (pace, jitter) = {
                let board = shared.board.borrow();
                (board.pace(self.id), board.spec(self.id).jitter)
            };
            let Pace::Every(interval) = pace else {
                paced.notified().await;
                resting = true;
                continue;
            };
            if resting {
                // What it was before is over: a new grid.
                (self.last, self.next) = (None, Instant::now());
            } else if let Some(last) = self.last {
                self.next = schedule::next(last, interval, Instant::now());
            }
            let due = schedule::jittered(self.next, interval, jitter, dice.f64());
            resting = false;
            tokio::select! {
                () = time::sleep_until(due.into()) => break,
                // It may be due earlier now, or not at all.
                () = paced.notified() => {}
            }
        }
        self.last = Some(self.next);
    }
}

/// Looks at what sessions met and at what time has brought.
async fn look_for_ever(shared: Rc<Shared>) {
    let mut turns = time::interval(LOOK_INTERVAL);
    turns.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        turns.tick().await;
        shared.board.borrow_mut().look(Instant::now());
    }
}

/// Does what operators want.
async fn obey_for_ever(shared: Rc<Shared>, mut orders: mpsc::Receiver<Order>) {
    while let Some(order) = orders.recv().await {
        shared.board.borrow_mut().obey(order, Instant::now());
    }
    // Nobody is left who could want anything; the thread is told to stop in a moment.
    std::future::pending().await
}

/// Publishes changes: the first one at once, those that follow closely together. A table is copied whole each time, and
/// thousands of backends can change in the same moment.
async fn publish_for_ever(shared: Rc<Shared>, changed: Rc<Notify>) {
    loop {
        changed.notified().await;
        shared.board.borrow_mut().publish();
        time::sleep(PUBLISH_PAUSE).await;
    }
}
