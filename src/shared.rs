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

use crate::access::{Door, Refused};
use crate::answer::SpeaksFirst;
use crate::arrivals::Arrivals;
use crate::config::{self, Address, Config};
use crate::entries::{self, Entries};
use crate::epoch::Subscriber;
use crate::generation::Generation;
use crate::lineage::Lineage;
use crate::load::{Links, Loads};
use crate::pool::{self, Pool};
use crate::queue::Queue;
use crate::relay::{Direction, Supplies};
use crate::routing::{Hello, Routes};
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
    /// Where those go that are logged, if there is an access log.
    pub entries: Option<entries::Sender>,
    /// Sessions that it has ever had.
    pub begun_sessions: Cell<u64>,
}

impl Core {
    /// Whether sessions wait for descriptors or memory: then nobody more should be let in.
    pub fn is_short_of_resources(&self) -> bool {
        self.short_of_resources.get() > 0
    }

    /// What a session that begins now is called.
    pub fn next_id(&self) -> SessionId {
        self.begun_sessions.set(self.begun_sessions.get() + 1);
        SessionId::new(self.worker, self.begun_sessions.get())
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
    /// Who is let in, by listener.
    pub doors: Arc<[Door]>,
    /// Where sessions wait, by pool.
    pub queues: Arc<[Arc<Queue>]>,
    /// Who goes to another pool, by listener.
    pub routes: Vec<Routes>,
    /// Whether the backends of each pool speak first.
    pub speaks_first: Vec<SpeaksFirst>,
    /// How often each backend has been connected to from addresses that take turns.
    turns: Vec<Cell<u64>>,
    /// The sessions that ended since the last tick, if there is an access log.
    pub entries: Option<Entries>,
    /// The table whose losses have been heeded.
    pub epoch: Cell<u64>,
    /// What became of all of it; nothing under the present configuration.
    afterwards: RefCell<Option<Afterwards>>,
}

/// What a reload has made of a configuration.
struct Afterwards {
    /// What is of the present one.
    present: Rc<Shared>,
    /// By listener: its place there.
    listeners: Vec<Option<usize>>,
    /// By backend.
    fates: Vec<Fate>,
}

/// What became of a backend after a reload.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// It is this one now.
    Kept(BackendId),
    /// It was removed then, on the worker's clock.
    Removed(Duration),
    /// It was removed, and the time of its sessions is over.
    Over,
}

impl Shared {
    /// Adds what a session has carried lately to the counters of its listener.
    pub fn sum_up(&self, watch: &Watch) {
        let counters = &self.stats.listeners[watch.listener()];
        counters.bytes_to_backend.add(watch.meter.more_bytes(Direction::ToBackend));
        counters.bytes_to_client.add(watch.meter.more_bytes(Direction::ToClient));
    }

    /// Counts a client that is not let in.
    pub fn count_refused(&self, listener: usize, reason: Refused, client: Address) {
        // First: whoever sees the count finds a client.
        self.doors[listener].example().offer(client);
        self.stats.listeners[listener].refused[reason as usize].add(1);
    }

    /// One worker's part of a generation.
    pub fn new(core: Rc<Core>, generation: &Arc<Generation>) -> Rc<Shared> {
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
            doors: Arc::clone(&generation.doors),
            queues: Arc::clone(&generation.queues),
            routes: generation
                .config
                .listeners
                .iter()
                .map(|listener| Routes::new(&listener.routes))
                .collect(),
            speaks_first: generation.config.pools.iter().map(|_| SpeaksFirst::default()).collect(),
            // Each worker begins elsewhere.
            turns: generation.config.backends().map(|_| Cell::new(core.worker as u64)).collect(),
            entries: core.entries.clone().map(|sender| Entries::new(sender, Arc::clone(generation))),
            epoch: Cell::new(0),
            afterwards: RefCell::default(),
            core,
        })
    }

    /// Whose turn it is of the addresses from which a backend is connected to. By backend: where these take turns as well,
    /// each comes to be reached from every address.
    pub fn turn(&self, backend: BackendId) -> u64 {
        let turn = &self.turns[backend.index()];
        turn.replace(turn.get().wrapping_add(1))
    }

    /// The listener of a session.
    pub fn listener(&self, watch: &Watch) -> &config::Listener {
        &self.config.listeners[watch.listener()]
    }

    /// The pool that serves a session.
    pub fn pool(&self, watch: &Watch) -> &config::Pool {
        &self.config.pools[watch.pool()]
    }

    /// The pool for a client of this listener, by its hello if it said one.
    pub fn route(&self, listener: usize, hello: Option<&Hello>) -> usize {
        let routed = hello.and_then(|hello| self.routes[listener].choose(hello));
        routed.unwrap_or(self.config.listeners[listener].pool)
    }

    /// Where a session waits if it has to.
    ///
    /// By reference: every pick looks at it, and its count of owners lies where all workers would write.
    pub fn queue(&self, watch: &Watch) -> &Arc<Queue> {
        &self.queues[watch.pool()]
    }

    /// Has the sessions counted under the configuration that follows this one.
    pub fn succeed(&self, next: &Rc<Shared>, lineage: &Lineage) {
        let heirs = lineage.heirs(self.stats.backends.len());
        let find = next.loads();
        for pool in &*self.pools.borrow() {
            let loads = pool.loads();
            let heir = |place: usize| heirs[loads.id(place).index()].and_then(&find);
            loads.succeed((0..loads.len()).map(heir).collect());
        }
        let now = self.core.now.get();
        self.afterwards.replace(Some(Afterwards {
            present: Rc::clone(next),
            listeners: lineage.listener_heirs(self.config.listeners.len()),
            fates: heirs.iter().map(|heir| heir.map_or(Fate::Removed(now), Fate::Kept)).collect(),
        }));
    }

    /// The same for one that has been succeeded before. A backend that was removed and is there again is the same one.
    pub fn follow(&self, next: &Rc<Shared>, lineage: &Lineage) {
        let mut afterwards = self.afterwards.borrow_mut();
        let Some(Afterwards { present, listeners, fates }) = &mut *afterwards else { return };
        let heirs = lineage.heirs(present.stats.backends.len());
        let listener_heirs = lineage.listener_heirs(present.config.listeners.len());
        for listener in listeners {
            *listener = listener.and_then(|place| listener_heirs[place]);
        }
        let has_removed = fates.iter().any(|fate| !matches!(fate, Fate::Kept(_)));
        let returned = if has_removed { self.config.found_in(&next.config) } else { Vec::new() };
        let find = next.loads();
        let places = self.places();
        self.pools.borrow().iter().for_each(|pool| pool.loads().shorten());
        for (index, fate) in fates.iter_mut().enumerate() {
            *fate = match *fate {
                Fate::Kept(id) => heirs[id.index()].map_or(Fate::Removed(self.core.now.get()), Fate::Kept),
                gone => match returned[index] {
                    Some(id) => {
                        let (loads, place) = &places[index];
                        find(id).into_iter().for_each(|heir| loads.adopt_again(*place, heir));
                        Fate::Kept(id)
                    }
                    None => gone,
                },
            };
        }
        *present = Rc::clone(next);
    }

    /// Finds the loads of a backend.
    fn loads(&self) -> impl Fn(BackendId) -> Option<(Rc<Loads>, usize)> + use<> {
        let loads: Vec<Rc<Loads>> = self.pools.borrow().iter().map(|pool| Rc::clone(pool.loads())).collect();
        move |id| {
            // They stand in the order of the ids.
            let at = loads.partition_point(|loads| loads.is_before(id));
            let loads = loads.get(at)?;
            Some((Rc::clone(loads), loads.place(id)?))
        }
    }

    /// The loads of each backend, and its place there.
    fn places(&self) -> Vec<(Rc<Loads>, usize)> {
        let pools = self.pools.borrow();
        let of_pool = |pool: &Pool| {
            let loads = Rc::clone(pool.loads());
            (0..loads.len()).map(move |place| (Rc::clone(&loads), place)).collect::<Vec<_>>()
        };
        pools.iter().flat_map(of_pool).collect()
    }

    /// Takes over what was made for the pools of the configuration before, where it is the same.
    pub fn inherit(&self, before: &Shared, lineage: &Lineage) {
        let before = before.pools.borrow();
        for (pool, place) in self.pools.borrow_mut().iter_mut().zip(&lineage.pools) {
            if let Some(place) = place {
                pool.inherit(&before[*place]);
            }
        }
    }

    /// Where a session of this listener goes on after a reload, if there was one and the listener is still there.
    pub fn successor(&self, listener: usize) -> Option<(Rc<Shared>, usize)> {
        let afterwards = self.afterwards.borrow();
        let Afterwards { present, listeners, .. } = afterwards.as_ref()?;
        Some((Rc::clone(present), listeners[listener]?))
    }

    /// What a backend is under the present configuration, if there was a reload and it is still there.
    pub fn heir(&self, id: BackendId) -> Option<BackendId> {
        match self.afterwards.borrow().as_ref()?.fates[id.index()] {
            Fate::Kept(id) => Some(id),
            Fate::Removed(_) | Fate::Over => None,
        }
    }

    /// Backends that were removed for as long as this, told once.
    pub fn over_for(&self, limit: Duration) -> Vec<BackendId> {
        let mut afterwards = self.afterwards.borrow_mut();
        let Some(Afterwards { fates, .. }) = &mut *afterwards else { return Vec::new() };
        let now = self.core.now.get();
        let mut over = Vec::new();
        for (index, fate) in fates.iter_mut().enumerate() {
            if let Fate::Removed(at) = *fate
                && now - at >= limit
            {
                *fate = Fate::Over;
                over.push(BackendId::new(index));
            }
        }
        over
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
            entries: None,
            begun_sessions: Cell::new(0),
        })
    }
}
