//! Health: finds out which backends can serve, on a thread of its own, and publishes a new table at each change.
//!
//! Several sources feed one state per backend: checks that this thread makes, what sessions met, which the workers count,
//! and what operators want. Nothing here can hold up a worker: news goes down through the table and the gates alone.

mod adoption;
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

use crate::changes::Changes;
use crate::config::Config;
use crate::epoch::Publisher;
use crate::stats::Stats;
use crate::table::BackendId;

use board::{Board, Pace, Ticket};
use probe::{Finding, Target};

pub use adoption::Adoption;
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
    /// Where changes of state are kept.
    pub changes: Arc<Changes>,
    /// What operators want.
    pub wishes: mpsc::Receiver<Wish>,
    /// What its dice come from.
    pub seed: u64,
    /// Ends the thread when its sender is dropped.
    pub stop: oneshot::Receiver<()>,
}

/// What is wanted of the health thread. One channel for both: an order means the configuration that was there when it was
/// given.
pub enum Wish {
    /// Something of a backend.
    Order(Order),
    /// That it goes on under another configuration.
    Adopt(Box<Adoption>),
}

/// Checks until it is told to stop.
pub fn run(setup: Setup) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let Setup { config, probes, publisher, stats, changes, wishes, seed, stop } = setup;
    let mut board = Board::new(config, stats, publisher, Instant::now());
    board.keep_changes_in(changes);
    let (tickets, changed) = (board.tickets(), board.changed());
    let shared = Rc::new(Shared {
        board: RefCell::new(board),
        probes: RefCell::new(probes),
        dice: RefCell::new(Rng::with_seed(seed)),
        permits: Semaphore::new(CHECKS_AT_ONCE),
        command_permits: Semaphore::new(COMMANDS_AT_ONCE),
    });
    LocalSet::new().block_on(&runtime, async {
        let (adopt, mut adopted) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        begin_checks(&mut tasks, &shared, &tickets);
        tasks.spawn_local(look_for_ever(Rc::clone(&shared)));
        tasks.spawn_local(obey_for_ever(Rc::clone(&shared), wishes, adopt));
        tasks.spawn_local(publish_for_ever(Rc::clone(&shared), changed));
        let mut stop = stop;
        loop {
            tokio::select! {
                // Both ways of ending it are the same: a message, or nobody left who could send one.
                _ = &mut stop => return,
                Some(tickets) = adopted.recv() => begin_checks(&mut tasks, &shared, &tickets),
                // One that panicked would leave its backend unchecked for ever: die aloud. Those of a backend that is gone end.
                Some(ended) = tasks.join_next() => {
                    if let Err(error) = ended {
                        std::panic::resume_unwind(error.into_panic());
                    }
                }
            }
        }
    });
    Ok(())
}

/// What the tasks of this thread share.
struct Shared {
    board: RefCell<Board>,
    probes: RefCell<Probes>,
    dice: RefCell<Rng>,
    permits: Semaphore,
    command_permits: Semaphore,
}

/// Begins the checks of some backends, spread over a moment.
fn begin_checks(tasks: &mut JoinSet<()>, shared: &Rc<Shared>, tickets: &[Rc<Ticket>]) {
    let begun = Instant::now();
    for (place, ticket) in tickets.iter().enumerate() {
        let Some(id) = ticket.id() else { continue };
        let interval = shared.board.borrow().spec(id).interval;
        let first = begun + schedule::spread(place, tickets.len(), interval.min(SPREAD));
        let dice = shared.dice.borrow_mut().fork();
        tasks.spawn_local(check(Rc::clone(shared), Rc::clone(ticket), first, dice));
    }
}

/// Checks a backend for as long as there is one that is checked like this.
async fn check(shared: Rc<Shared>, ticket: Rc<Ticket>, first: Instant, mut dice: Rng) {
    let mut turns = Turns { last: None, next: first };
    let mut able = true;
    while let Some(id) = turns.next(&shared, &ticket, &mut dice).await {
        let (target, timeout, probe) = {
            let board = shared.board.borrow();
            let probe = shared.probes.borrow().of_pool(board.backend(id).pool);
            (target(&board, id), board.spec(id).timeout, probe)
        };
        let permits = if probe.is_a_process() { &shared.command_permits } else { &shared.permits };
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
        // A reload may have moved it meanwhile, or removed it.
        let Some(id) = ticket.id() else { return };
        shared.board.borrow_mut().observe(id, passed, || reason, Instant::now());
    }
}

fn target(board: &Board, id: BackendId) -> Target {
    let name = Arc::clone(&board.backend(id).name);
    Target { pool: board.pool_name(id).to_owned(), name, address: board.check_address(id) }
}

/// The places of one backend's checks on its grid.
struct Turns {
    last: Option<Instant>,
    next: Instant,
}

impl Turns {
    /// Until the next check is due; whose it is, or `None` when these checks are over.
    async fn next(&mut self, shared: &Shared, ticket: &Ticket, dice: &mut Rng) -> Option<BackendId> {
        let mut resting = false;
        loop {
            let id = ticket.id()?;
            let (pace, jitter) = {
                let board = shared.board.borrow();
                (board.pace(id), board.spec(id).jitter)
            };
            let Pace::Every(interval) = pace else {
                ticket.paced().await;
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
                () = ticket.paced() => {}
            }
        }
        self.last = Some(self.next);
        ticket.id()
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
async fn obey_for_ever(
    shared: Rc<Shared>,
    mut wishes: mpsc::Receiver<Wish>,
    adopted: mpsc::UnboundedSender<Vec<Rc<Ticket>>>,
) {
    while let Some(wish) = wishes.recv().await {
        match wish {
            Wish::Order(order) => shared.board.borrow_mut().obey(order, Instant::now()),
            Wish::Adopt(adoption) => {
                let Adoption { config, lineage, probes, stats, reply } = *adoption;
                let (tables, fresh) =
                    shared.board.borrow_mut().adopt(config, stats, &lineage, Instant::now());
                shared.probes.replace(probes);
                // They are over only with the thread.
                let _ = adopted.send(fresh);
                // Whoever wanted it may have given up; the next one will find this configuration.
                let _ = reply.send(tables);
            }
        }
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
