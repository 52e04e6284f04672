//! Shared: what the sessions of one worker share. Never leaves its thread.
//!
//! One part lasts as long as the worker. The other is of one configuration: a session keeps the one under which it was
//! accepted, to its end.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use hdrhistogram::Histogram;
use tokio::sync::Notify;

use crate::answer::SpeaksFirst;
use crate::arrivals::Arrivals;
use crate::config::{self, Config};
use crate::epoch::Subscriber;
use crate::generation::Generation;
use crate::load::Links;
use crate::pool::{self, Pool};
use crate::queue::Queue;
use crate::relay::Supplies;
use crate::samples::Samples;
use crate::session_id::SessionId;
use crate::stats::WorkerStats;
use crate::table::BackendId;
use crate::watch::{Watch, Watches};

/// What lasts as long as the worker.
pub struct Core {
    /// Its number, from 0.
    pub worker: usize,
    /// What this worker measured since the last tick.
    pub samples: Rc<Samples>,
    /// This worker's dice.
    pub dice: RefCell<Rng>,
    /// What relays carry bytes with.
    pub supplies: Supplies,
    /// Told whenever a session has ended.
    pub freed: Notify,
    /// Sessions that wait for a descriptor or memory to connect with.
    pub short_of_resources: Cell<usize>,
    /// The worker's clock, as of the last tick.
    pub now: Cell<Duration>,
    /// Sessions so far.
    pub sessions_begun: Cell<u64>,
    /// What measured moments are told from.
    pub begun: Instant,
    /// Whether the next pick is to be written down; set by the tick.
    pub explains: Cell<bool>,
    /// How long connecting took, in microseconds.
    pub connect_times: RefCell<Histogram<u64>>,
    /// The sessions that ended since the last tick, if they are recorded.
    pub arrivals: Option<Arrivals>,
}

impl Core {
    /// Whether sessions wait for descriptors or memory: then nobody more should be let in.
    pub fn is_short_of_resources(&self) -> bool {
        self.short_of_resources.get() > 0
    }

    /// What a session that begins now is called.
    pub fn next_id(&self) -> SessionId {
        self.sessions_begun.set(self.sessions_begun.get() + 1);
        SessionId::new(self.worker, self.sessions_begun.get())
    }

    /// The time since the process began to serve.
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }
}

/// What is of one configuration.
pub struct Shared {
    /// What lasts longer.
    pub core: Rc<Core>,
    /// Which configuration it is: they are counted.
    pub generation: u64,
    /// What was asked for.
    pub config: Arc<Config>,
    /// Where news of backends come from.
    pub tables: RefCell<Subscriber>,
    /// This worker's copies of the pools, in the order of the configuration.
    pub pools: RefCell<Vec<Pool>>,
    /// This worker's counters.
    pub stats: Arc<WorkerStats>,
    /// The sessions that are running.
    pub watches: Watches,
    /// Where sessions wait, by pool.
    pub queues: Arc<[Arc<Queue>]>,
    /// Whether the backends of each pool speak first.
    pub speaks_first: Vec<SpeaksFirst>,
    /// The table whose losses have been heeded.
    pub epoch: Cell<u64>,
    /// What became of its backends; nothing under the present configuration.
    fates: RefCell<Vec<Fate>>,
}

/// What became of a backend after a reload.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// It is this one now.
    Kept(BackendId),
    /// It was removed then, on the worker's clock.
    Removed(Duration),
}

impl Shared {
    /// One worker's part of a generation.
    pub fn new(core: Rc<Core>, generation: &Generation) -> Rc<Shared> {
        let pools = generation.config.pools.iter().zip(&*generation.queues).enumerate();
        let pools = pools.map(|(index, (spec, queue))| {
            let links = Links {
                stats: Arc::clone(&generation.stats),
                samples: Rc::clone(&core.samples),
                signal: spec.response_time.signal,
                queue: Arc::clone(queue),
            };
            let times = Arc::clone(&generation.times);
            Pool::new(spec, pool::Setup { index, worker: core.worker, links, times })
        });
        Rc::new(Shared {
            generation: generation.number,
            config: Arc::clone(&generation.config),
            tables: RefCell::new(generation.tables.clone()),
            pools: RefCell::new(pools.collect()),
            stats: Arc::clone(&generation.stats.workers[core.worker]),
            watches: Watches::default(),
            queues: Arc::clone(&generation.queues),
            speaks_first: generation.config.pools.iter().map(|_| SpeaksFirst::default()).collect(),
            epoch: Cell::new(0),
            fates: RefCell::default(),
            core,
        })
    }

    /// The listener of a session.
    pub fn listener(&self, watch: &Watch) -> &config::Listener {
        &self.config.listeners[watch.listener]
    }

    /// The pool that serves a session.
    pub fn pool(&self, watch: &Watch) -> &config::Pool {
        &self.config.pools[self.listener(watch).pool]
    }

    /// Where a session waits if it has to.
    pub fn queue(&self, watch: &Watch) -> &Queue {
        &self.queues[self.listener(watch).pool]
    }

    /// Has the sessions counted under the configuration that follows this one. `heirs` are the ids of its backends there.
    pub fn succeed(&self, next: &Shared, heirs: &[Option<BackendId>]) {
        let pools = next.pools.borrow();
        let find = |id: BackendId| {
            pools.iter().find_map(|pool| Some((Rc::clone(pool.loads()), pool.loads().place(id)?)))
        };
        for pool in &*self.pools.borrow() {
            let loads = pool.loads();
            let heir = |place: usize| heirs[loads.id(place).index()].and_then(find);
            loads.succeed((0..loads.len()).map(heir).collect());
        }
        let fate = |heir: &Option<BackendId>| heir.map_or(Fate::Removed(self.core.now.get()), Fate::Kept);
        self.fates.replace(heirs.iter().map(fate).collect());
    }

    /// The same for one that has been succeeded before: `heirs` are the ids of what its backends were until now.
    pub fn follow(&self, heirs: &[Option<BackendId>]) {
        self.pools.borrow().iter().for_each(|pool| pool.loads().shorten());
        for fate in &mut *self.fates.borrow_mut() {
            if let Fate::Kept(id) = *fate {
                *fate = heirs[id.index()].map_or(Fate::Removed(self.core.now.get()), Fate::Kept);
            }
        }
    }

    /// Since when a backend has been removed, if it has.
    pub fn removed_at(&self, id: BackendId) -> Option<Duration> {
        match self.fates.borrow().get(id.index()) {
            Some(&Fate::Removed(at)) => Some(at),
            Some(Fate::Kept(_)) | None => None,
        }
    }

    /// Whether one of its backends has been removed.
    pub fn has_removed(&self) -> bool {
        self.fates.borrow().iter().any(|fate| matches!(fate, Fate::Removed(_)))
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! What lasts as long as a worker that there is not.

    use super::*;
    use crate::buffers::{Arena, Layout};
    use crate::pipes::Pipes;
    use crate::relay::Carried;
    use crate::samples;

    pub(crate) fn core() -> Rc<Core> {
        let layout = Layout { cells: 16, cell_size: 4096, large_cells: 0, large_cell_size: 4096 };
        Rc::new(Core {
            worker: 0,
            samples: Rc::new(Samples::new(samples::channel(1).0)),
            dice: RefCell::new(Rng::with_seed(1)),
            supplies: Supplies {
                arena: Arena::plain(layout),
                pipes: Pipes::new(0),
                multishot: None,
                ticks: Cell::new(0),
                carried: Carried::default(),
            },
            freed: Notify::new(),
            short_of_resources: Cell::new(0),
            now: Cell::new(Duration::ZERO),
            sessions_begun: Cell::new(0),
            begun: Instant::now(),
            explains: Cell::new(true),
            connect_times: RefCell::new(Histogram::new(3).unwrap()),
            arrivals: None,
        })
    }
}
