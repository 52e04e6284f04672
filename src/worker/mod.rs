//! Worker: one core's world. One thread, one runtime with its ring (and a second one for small messages), its own
//! listening sockets and its own sessions.

mod accepting;
mod errand;
mod listing;

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::{Duration, Instant};

use fastrand::Rng;
use hdrhistogram::Histogram;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::arrivals::{self, Arrivals};
use crate::buffers::{Arena, Layout, Registration};
use crate::config::{Engine, OnDown, Server};
use crate::datagrams::{self, Datagrams};
use crate::end::End;
use crate::entries::{self, Entries};
use crate::generation::Generation;
use crate::handover::Boxes;
use crate::net::{self, Inlet, Listening};
use crate::phase::{Phase, PhaseFlag};
use crate::pipes::Pipes;
use crate::relay::{Carried, Multishot, Supplies};
use crate::ring::{self, Unavailable};
use crate::samples::{List, Samples};
use crate::shared::{Core, Shared};
use crate::spread::{self, Neighbours};
use crate::stats::CoreStats;
use crate::table::{BackendId, BackendTable};
use crate::watch::{Stage, Watch};

use accepting::{Accepting, Leaving};
pub use errand::{Adoption, Errand, Shown};
pub use listing::{LISTED_MAX, Listed, Listing, Wanted};

/// From one housekeeping to the next: how late a deadline can be.
const TICK: Duration = Duration::from_millis(50);
/// From one look at how many clients wait to be accepted to the next: a second. Each socket is asked.
const QUEUE_TICKS: u64 = 20;
/// From one look whether it may accept to the next.
const START_PAUSE: Duration = Duration::from_millis(1);
/// The worker's clock advances by no more than this at a tick. After a gap (the process was stopped, the machine slept)
/// sessions have not been idle: nobody could have served them.
const CLOCK_STEP_MAX: Duration = Duration::from_secs(1);
/// Connections taken in one go before the sessions get their turn.
pub const ACCEPT_BATCH: usize = 64;
/// How often it says so, at most.
const PAUSE_REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// How long accepting rests when descriptors or memory are short.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// What the queues of a worker's rings take of the locked memory, at most: 65,536 completions of 16 bytes, and half as much
/// again for entries and the second ring; rounded up.
const RING_MEMORY: usize = 2 * 1024 * 1024;
/// How long sessions that were told to end may take to do so.
const LAST_CALL: Duration = Duration::from_secs(1);

/// How a worker's relay buffers are laid out.
pub fn layout(server: &Server) -> Layout {
    Layout {
        cells: server.buffers_per_worker,
        cell_size: server.buffer_size,
        large_cells: server.large_buffers_per_worker,
        large_cell_size: server.large_buffer_size(),
    }
}

/// What a worker is made from.
pub struct Setup {
    /// Its number, from 0.
    pub id: usize,
    /// Its sockets, each with its listener: an index into the configuration's listeners.
    pub sockets: Vec<(usize, Listening)>,
    /// The same for datagrams.
    pub inlets: Vec<(usize, Inlet)>,
    /// What carries small messages: never `Auto`.
    pub engine: Engine,
    /// What was asked for, and what is counted and measured under it.
    pub generation: Arc<Generation>,
    /// Where it hands over what it measured.
    pub samples: SyncSender<List>,
    /// Where it hands over the sessions that ended, if they are recorded.
    pub arrivals: Option<arrivals::Sender>,
    /// The same for the access log, if there is one.
    pub entries: Option<entries::Sender>,
    /// How it hands connections to others and gets theirs, if there are others.
    pub boxes: Option<Boxes>,
    /// What the process is about: running, draining, closing.
    pub phase: PhaseFlag,
    /// Sessions at once in the whole process.
    pub sessions_max: usize,
    /// What the server wants of it.
    pub errands: Receiver<Errand>,
}

/// How far a worker has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// It has all it needs, and waits for its phase.
    Ready,
    /// It accepts.
    Accepting,
}

/// What a worker has to say when it is done.
#[derive(Debug)]
pub struct Report {
    /// Sessions that did not end when they were told to.
    pub abandoned: usize,
    /// How long connecting took, in microseconds.
    pub connect_times: Histogram<u64>,
    /// Cells of the arena, and those of them that were free at the end.
    pub cells: (usize, usize),
    /// Pipes that were still lent at the end.
    pub pipes_lent: usize,
}

/// Runs a worker on the calling thread until the process drains. Fails only before it accepts anything.
pub fn run(setup: Setup, tell: impl Fn(Start)) -> Result<Report, Unavailable> {
    // Two operations for each session, and some that are the worker's own. A worker can hold all sessions. With the
    // multishot engine only those are on this ring that connect, or carry long transfers.
    let in_flight = match setup.engine {
        Engine::Multishot => setup.sessions_max / 4,
        Engine::Auto | Engine::Fixed => 2 * setup.sessions_max,
    };
    let in_flight = in_flight + setup.sockets.len() + 8;
    let runtime = ring::runtime(in_flight)?;
    let made: OnceCell<Rc<Worker>> = OnceCell::new();
    let served = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let worker = Worker::new(setup);
            let _ = made.set(Rc::clone(&worker));
            tell(Start::Ready);
            while worker.phase.get() == Phase::Starting {
                tokio::time::sleep(START_PAUSE).await;
            }
            worker.serve(tell).await
        })
    }));
    made.get().inspect(|worker| worker.shut_boxes());
    let is_clean = served.as_ref().is_ok_and(|report| report.abandoned == 0);
    // Polls on sockets that are lent do not end with us.
    let leaves_polls = made.get().is_some_and(|worker| worker.has_lent.get());
    if !is_clean || leaves_polls {
        // What it served must look cut to the peers, and not complete.
        made.get().inspect(|worker| worker.abort_all());
        // What has ended is to be in the record all the same. No list hands itself over by drop: tasks hold the worker.
        made.get().inspect(|worker| worker.core.arrivals.iter().for_each(Arrivals::hand_over));
        // Dropping the runtime waits for every operation, without a limit. The process is about to exit.
        #[allow(clippy::mem_forget)]
        std::mem::forget(runtime);
    }
    Ok(served.unwrap_or_else(|panic| resume_unwind(panic)))
}

struct Worker {
    id: usize,
    core: Rc<Core>,
    /// The configuration under which clients are accepted, and what is of it.
    shared: RefCell<Rc<Shared>>,
    /// The one before it, and those before that which still have sessions; the newest is last.
    earlier: RefCell<Vec<Rc<Shared>>>,
    /// What each worker counts, by its number.
    counts: Vec<Arc<CoreStats>>,
    phase: PhaseFlag,
    sessions_max: Cell<usize>,
    sockets: RefCell<Vec<Rc<Accepting>>>,
    /// Those that are removed and not yet ended.
    leaving: RefCell<Vec<Leaving>>,
    /// Whether one of its sockets is or was somebody else's.
    has_lent: Cell<bool>,
    /// Whether another process has taken them over.
    is_replaced: Cell<bool>,
    boxes: Option<Boxes>,
    errands: Receiver<Errand>,
    /// Its accept loops and the like.
    tasks: RefCell<Vec<JoinHandle<()>>>,
    /// Its sessions over UDP, once it has a socket for some.
    datagrams: RefCell<Option<Rc<Datagrams>>>,
    /// What it takes datagrams from when it begins to serve.
    inlets: RefCell<Vec<(usize, Inlet)>>,
    /// Tasks without an end.
    engines: RefCell<Vec<JoinHandle<()>>>,
    /// Whom it compares itself with.
    neighbours: RefCell<Neighbours>,
    /// How far it may be ahead of them.
    slack: Cell<u64>,
    /// Sessions that have ended, as of the last tick.
    ended: Cell<u64>,
    /// When a pause was last told of.
    pause_told: Cell<Option<Duration>>,
}

impl Worker {
    /// Needs the runtime: the arena is registered with its ring.
    fn new(setup: Setup) -> Rc<Worker> {
        let generation = &setup.generation;
        let server = &generation.config.server;
        let workers = generation.stats.workers.len();
        // The limit on locked memory holds for all rings together: the first worker must not take it all.
        let fair = net::locked_memory_limit()
            .map_or(usize::MAX, |limit| (limit as usize / workers).saturating_sub(RING_MEMORY));
        let (arena, registration) = Arena::register(layout(server), fair);
        report_registration(setup.id, &registration, layout(server));
        let multishot = multishot(&setup, &arena, fair);
        let supplies = Supplies {
            arena,
            pipes: Pipes::new(server.pipes_per_worker),
            multishot,
            ticks: Cell::new(0),
            carried: Carried::default(),
        };
        let core = Rc::new(Core {
            worker: setup.id,
            samples: Rc::new(Samples::new(setup.samples)),
            dice: RefCell::new(Rng::new()),
            supplies,
            freed: Notify::new(),
            short_of_resources: Cell::new(0),
            now: Cell::new(Duration::ZERO),
            sessions_begun: Cell::new(0),
            begun: generation.stats.begun,
            explains: Cell::new(true),
            connect_times: RefCell::new(histogram()),
            arrivals: setup.arrivals.map(Arrivals::new),
            entries: setup.entries,
            begun_sessions: Cell::new(0),
        });
        let has_lent = setup.sockets.iter().any(|(_, socket)| socket.is_lent());
        let sockets = setup.sockets.into_iter().map(|(listener, socket)| Accepting::new(listener, socket));
        Rc::new(Worker {
            id: setup.id,
            shared: RefCell::new(Shared::new(Rc::clone(&core), generation)),
            earlier: RefCell::default(),
            core,
            counts: generation.stats.workers.iter().map(|worker| Arc::clone(&worker.core)).collect(),
            phase: setup.phase,
            sessions_max: Cell::new(setup.sessions_max),
            sockets: RefCell::new(sockets.collect()),
            leaving: RefCell::default(),
            has_lent: Cell::new(has_lent),
            is_replaced: Cell::new(false),
            boxes: setup.boxes,
            errands: setup.errands,
            tasks: RefCell::default(),
            datagrams: RefCell::default(),
            inlets: RefCell::new(setup.inlets),
            engines: RefCell::default(),
            neighbours: RefCell::new(Neighbours::new(setup.id, workers)),
            slack: Cell::new(0),
            ended: Cell::new(0),
            pause_told: Cell::new(None),
        })
    }

    async fn serve(self: Rc<Self>, tell: impl Fn(Start)) -> Report {
        let sockets = self.sockets.borrow().clone();
        sockets.into_iter().for_each(|socket| self.accept_from(socket));
        tell(Start::Accepting);
        if self.boxes.is_some() {
            // Ends when no worker hands anything over any more, and nothing is left in the inbox.
            self.tasks.borrow_mut().push(tokio_uring::spawn(Rc::clone(&self).inbox_loop()));
        }
        let engine = self.core.supplies.multishot.clone();
        self.engines.borrow_mut().extend(engine.map(|engine| tokio_uring::spawn(engine.run())));
        self.take_datagrams(self.inlets.take());
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last_tick = Instant::now();
        let mut last_call: Option<Duration> = None;
        let mut draining = false;
        loop {
            ticks.tick().await;
            let now = Instant::now();
            let step = (now - last_tick).min(CLOCK_STEP_MAX);
            last_tick = now;
            self.run_errands();
            self.tick(step);
            let mut tasks = self.tasks.take();
            propagate_panic(&mut tasks).await;
            self.tasks.borrow_mut().append(&mut tasks);
            let mut engines = self.engines.take();
            propagate_panic(&mut engines).await;
            self.engines.borrow_mut().append(&mut engines);

            let phase = self.phase.get();
            if phase != Phase::Running && !draining {
                draining = true;
                self.stop_accepting();
            }
            if phase == Phase::Closing {
                last_call = last_call.or(Some(self.core.now.get()));
                // Each time: a worker that has not looked at the phase yet may have handed one over since.
                self.generations().iter().for_each(|shared| shared.watches.end_all(End::Drained));
            }
            let done = draining && self.tasks.borrow().is_empty() && self.sessions() == 0;
            let given_up = last_call.is_some_and(|since| self.core.now.get() - since >= LAST_CALL);
            if done || given_up {
                return self.report();
            }
        }
    }

    /// Every configuration that has sessions, the present one last.
    fn generations(&self) -> Vec<Rc<Shared>> {
        let earlier = self.earlier.borrow();
        earlier.iter().cloned().chain([Rc::clone(&self.shared.borrow())]).collect()
    }

    /// Breaks every session's connections, as a last act: also when a panic came in the middle of something.
    fn abort_all(&self) {
        if let Ok(shared) = self.shared.try_borrow() {
            shared.watches.abort_all();
        }
        if let Ok(earlier) = self.earlier.try_borrow() {
            earlier.iter().for_each(|shared| shared.watches.abort_all());
        }
    }

    /// How many sessions there are.
    fn sessions(&self) -> usize {
        self.generations().iter().map(|shared| shared.watches.len()).sum()
    }

    /// The housekeeping: the clock, deadlines, news, figures.
    fn tick(&self, step: Duration) {
        let core = &self.core;
        core.now.set(core.now.get() + step);
        self.counts[self.id].ticks.add(1);
        let ticks = &core.supplies.ticks;
        ticks.set(ticks.get().wrapping_add(1));
        core.supplies.multishot.iter().for_each(Multishot::look_again);
        for shared in self.generations() {
            let late = |backend: BackendId| {
                // First: whoever sees that it was not answered can see why.
                shared.stats.backends[backend.index()].late.add(1);
                shared.stats.unanswered(backend);
            };
            shared.watches.sweep(&shared.config, core.now.get(), |watch| shared.sum_up(watch), late);
            self.adopt_news(&shared);
            self.end_what_was_removed(&shared);
            shared.entries.iter().for_each(Entries::hand_over);
        }
        self.datagrams.borrow().iter().for_each(|datagrams| datagrams.reap());
        self.leave_sockets();
        self.forget_what_is_over();
        self.boxes.as_ref().inspect(|_| self.weigh_haste(step));
        core.explains.set(true);
        core.samples.hand_over();
        core.arrivals.iter().for_each(Arrivals::hand_over);
        self.show_carried();
        if self.counts[self.id].ticks.get().is_multiple_of(QUEUE_TICKS) {
            self.show_queues();
        }
    }

    /// Shows others how many clients wait to be accepted, and how many more of them the kernel has dropped.
    fn show_queues(&self) {
        let shared = self.shared.borrow();
        let listeners = &shared.stats.listeners;
        let mut waiting = vec![0; listeners.len()];
        for socket in self.sockets.borrow().iter() {
            let listener = socket.listener.get();
            waiting[listener] += socket.socket.queued();
            listeners[listener].queue_drops.add(socket.socket.more_drops());
        }
        listeners.iter().zip(waiting).for_each(|(one, count)| one.waiting.set(count));
        self.datagrams.borrow().iter().for_each(|datagrams| datagrams.count_drops());
    }

    /// Shows others what the relays have carried.
    fn show_carried(&self) {
        let (supplies, stats) = (&self.core.supplies, &self.counts[self.id]);
        let (carried, shown) = (&supplies.carried, &stats.carried);
        let by_multishot = supplies.multishot.as_ref().map_or(0, Multishot::carried);
        for (now, shown) in [
            (supplies.arena.borrowed(), &stats.buffers_borrowed),
            (carried.small.get() + by_multishot, &shown.small),
            (carried.large.get(), &shown.large),
            (carried.spliced.get(), &shown.spliced),
            (carried.datagrams.get(), &shown.datagrams),
            (carried.parked.get(), &shown.parked),
        ] {
            shown.add(now - shown.get());
        }
        let arena = &supplies.arena;
        stats.cells.set(arena.cells() as u64);
        stats.cells_free.set(arena.free() as u64);
        stats.pipes_lent.set(supplies.pipes.lent() as u64);
        if let Some(engine) = &supplies.multishot {
            let (deeds, shown) = (engine.deeds(), &stats.ring);
            shown.enters.set(deeds.enters);
            shown.completions.set(deeds.completions);
            shown.overflows.set(deeds.overflows);
            shown.in_flight.set(deeds.in_flight);
        }
    }

    /// Finds out how short its sessions are.
    fn weigh_haste(&self, step: Duration) {
        let stats = &self.counts[self.id];
        let ended = stats.admitted.get() - stats.active.get();
        self.slack.set(spread::slack(ended - self.ended.replace(ended), step));
    }

    /// Takes datagrams from these sockets.
    fn take_datagrams(&self, inlets: Vec<(usize, Inlet)>) {
        for (listener, inlet) in inlets {
            let taken = self.datagrams().and_then(|datagrams| datagrams.take_from(listener, inlet));
            if let Err(error) = taken {
                // The kernel sends a part of the clients there, whoever reads.
                panic!("no datagrams can be taken from a socket: {error}");
            }
        }
    }

    fn datagrams(&self) -> io::Result<Rc<Datagrams>> {
        if let Some(datagrams) = &*self.datagrams.borrow() {
            return Ok(Rc::clone(datagrams));
        }
        let limits = datagrams::Limits { counts: self.counts.clone(), sessions_max: self.sessions_max.get() };
        let datagrams = Datagrams::new(Rc::clone(&self.shared.borrow()), limits)?;
        self.engines.borrow_mut().push(tokio_uring::spawn(Rc::clone(&datagrams).run()));
        self.datagrams.replace(Some(Rc::clone(&datagrams)));
        Ok(datagrams)
    }

    /// So that a worker without traffic does not hold an old table for ever, and sees the others' counts.
    fn adopt_news(&self, shared: &Shared) {
        let mut tables = shared.tables.borrow_mut();
        let table = tables.refresh();
        let mut pools = shared.pools.borrow_mut();
        let share = pools.len();
        for pool in &mut *pools {
            pool.adopt(table);
            pool.loads().look_around_widely(share);
        }
        let before = shared.epoch.replace(table.epoch);
        if before != table.epoch {
            leave_what_is_lost(shared, table, before);
        }
    }

    fn report(&self) -> Report {
        self.core.supplies.multishot.iter().for_each(Multishot::close);
        // Sessions may have ended since the last tick.
        self.show_carried();
        self.core.arrivals.iter().for_each(Arrivals::hand_over);
        self.generations().iter().flat_map(|shared| &shared.entries).for_each(Entries::hand_over);
        Report {
            abandoned: self.sessions(),
            connect_times: self.core.connect_times.borrow().clone(),
            cells: (self.core.supplies.arena.cells(), self.core.supplies.arena.free()),
            pipes_lent: self.core.supplies.pipes.lent(),
        }
    }
}

/// Heeds that backends have gone down after the table with the epoch `before`. Whoever was picked from a later one knew:
/// in a panic those that are down get sessions.
fn leave_what_is_lost(shared: &Shared, table: &BackendTable, before: u64) {
    // Looking at every session costs milliseconds when there are very many.
    if table.backends.iter().all(|backend| backend.lost_at <= before) {
        return;
    }
    let is_lost = |watch: &Watch| {
        let lost_at = |backend: &BackendId| table.backends[backend.index()].lost_at;
        let is_news = |lost_at: u64| lost_at > before && watch.picked_from.get() < lost_at;
        watch.served_by.get().filter(|backend| is_news(lost_at(backend)))
    };
    let watches = &shared.watches;
    // Who still connects there tries another one at once.
    watches.stop_connecting(|watch| is_lost(watch).is_some());
    watches.end_those(End::BackendDown, |watch| {
        let closes = |backend: BackendId| {
            let pool = table.backends[backend.index()].pool;
            shared.config.pools[pool].on_down == OnDown::Close
        };
        watch.stage.get() == Stage::Relaying && is_lost(watch).is_some_and(closes)
    });
}

/// An accept loop (or the engine) that has panicked takes the worker with it: a socket that nobody drains would swallow its
/// share of the clients.
async fn propagate_panic(tasks: &mut Vec<JoinHandle<()>>) {
    let mut index = 0;
    while index < tasks.len() {
        if !tasks[index].is_finished() {
            index += 1;
            continue;
        }
        if let Err(error) = tasks.swap_remove(index).await
            && error.is_panic()
        {
            resume_unwind(error.into_panic());
        }
    }
}

/// The multishot engine, if it is wanted. That the kernel has it is known; it can still be short of memory.
fn multishot(setup: &Setup, arena: &Arena, bytes_fair: usize) -> Option<Multishot> {
    if setup.engine != Engine::Multishot {
        return None;
    }
    if bytes_fair == 0 {
        tracing::warn!(
            worker = setup.id,
            "the limit on locked memory is too low for the multishot engine; the fixed one serves; raise it (ulimit -l, \
             LimitMEMLOCK= in a systemd unit)"
        );
        return None;
    }
    Multishot::new(2 * setup.sessions_max, arena, setup.generation.config.server.busy_poll)
        .inspect_err(|error| {
            let worker = setup.id;
            tracing::warn!(worker, %error, "no multishot engine for this worker; the fixed one serves");
        })
        .ok()
}

fn report_registration(worker: usize, registration: &Registration, wanted: Layout) {
    match registration {
        Registration::Full => {}
        Registration::Smaller(reached) => tracing::warn!(
            worker,
            "{} of {} buffers of {} bytes and {} of {} large ones are registered: the limit on locked memory ({} bytes) is too \
             low for more; slower when busy, otherwise the same; raise it (ulimit -l, LimitMEMLOCK= in a systemd unit) \
             or lower server.buffers_per_worker",
            reached.cells,
            wanted.cells,
            wanted.cell_size,
            reached.large_cells,
            wanted.large_cells,
            net::locked_memory_limit().map_or_else(|| "none".into(), |limit| limit.to_string())
        ),
        Registration::Refused(error) => tracing::warn!(
            worker,
            %error,
            "no buffers could be registered with io_uring: plain reads and writes serve, which is slower; allow \
             io_uring_register and raise the limit on locked memory (ulimit -l, LimitMEMLOCK= in a systemd unit)"
        ),
    }
}

fn histogram() -> Histogram<u64> {
    // 1 us to 1 h with three digits: about 180 KiB.
    Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("the bounds are constant and valid")
}
