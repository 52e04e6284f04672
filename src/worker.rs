//! Worker: one core's world. One thread, one runtime with its ring (and a second one for small messages), its own
//! listening sockets and its own sessions.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use fastrand::Rng;
use hdrhistogram::Histogram;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::answer::SpeaksFirst;
use crate::arrivals::{self, Arrivals};
use crate::buffers::{Arena, Layout, Registration};
use crate::config::{Accept, Config, Engine, OnDown, Server};
use crate::end::End;
use crate::epoch::Subscriber;
use crate::handover::{Boxes, Connection};
use crate::load::Links;
use crate::net::{self, Listening, Socket};
use crate::phase::{Phase, PhaseFlag};
use crate::pipes::Pipes;
use crate::pool::{self, Pool};
use crate::queue::Queue;
use crate::relay::{Carried, Multishot, Supplies};
use crate::ring::{self, Unavailable};
use crate::samples::{Sample, Samples};
use crate::session::{self, Admitted, Shared};
use crate::spread::{self, Neighbours};
use crate::stats::Stats;
use crate::table::{BackendId, BackendTable};
use crate::times::Times;
use crate::watch::{Stage, Watch, Watches};

/// From one housekeeping to the next: how late a deadline can be.
const TICK: Duration = Duration::from_millis(50);
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
    /// What carries small messages: never `Auto`.
    pub engine: Engine,
    /// What was asked for.
    pub config: Arc<Config>,
    /// Where news of backends come from.
    pub subscriber: Subscriber,
    /// The counters of all workers; it writes its own.
    pub stats: Arc<Stats>,
    /// How fast each backend answers.
    pub times: Arc<Times>,
    /// Where it hands over what it measured.
    pub samples: SyncSender<Vec<Sample>>,
    /// Where it hands over the sessions that ended, if they are recorded.
    pub arrivals: Option<arrivals::Sender>,
    /// Where sessions wait, by pool.
    pub queues: Arc<[Arc<Queue>]>,
    /// How it hands connections to others and gets theirs, if any listener is to be balanced.
    pub boxes: Option<Boxes>,
    /// What the process is about: running, draining, closing.
    pub phase: PhaseFlag,
    /// Sessions at once in the whole process.
    pub sessions_max: usize,
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
pub fn run(setup: Setup, started: impl FnOnce()) -> Result<Report, Unavailable> {
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
            started();
            worker.serve().await
        })
    }));
    made.get().inspect(|worker| worker.shut_boxes());
    let is_clean = served.as_ref().is_ok_and(|report| report.abandoned == 0);
    let leaves_polls =
        made.get().is_some_and(|worker| worker.sockets.iter().any(|(_, socket)| socket.is_lent()));
    if !is_clean || leaves_polls {
        // What it served must look cut to the peers, and not complete.
        made.get().inspect(|worker| worker.shared.watches.abort_all());
        // Dropping the runtime waits for every operation, without a limit. The process is about to exit.
        #[allow(clippy::mem_forget)]
        std::mem::forget(runtime);
    }
    Ok(served.unwrap_or_else(|panic| resume_unwind(panic)))
}

struct Worker {
    id: usize,
    shared: Rc<Shared>,
    all_stats: Arc<Stats>,
    phase: PhaseFlag,
    sessions_max: usize,
    sockets: Vec<(usize, Rc<Listening>)>,
    /// Tells those who wait on a socket that is lent that nobody is accepted any more.
    accepts_no_more: Notify,
    boxes: Option<Boxes>,
    /// Whom it compares itself with.
    neighbours: RefCell<Neighbours>,
    /// How far it may be ahead of them.
    slack: Cell<u64>,
    /// Sessions that have ended, as of the last tick.
    ended: Cell<u64>,
    /// When a pause was last told of.
    pause_told: Cell<Option<Duration>>,
    /// The table whose losses have been heeded.
    epoch: Cell<u64>,
}

impl Worker {
    /// Needs the runtime: the arena is registered with its ring.
    fn new(setup: Setup) -> Rc<Worker> {
        let server = &setup.config.server;
        let workers = setup.stats.workers.len();
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
        let stats = Arc::clone(&setup.stats.workers[setup.id]);
        let samples = Rc::new(Samples::new(setup.samples));
        let pools = setup.config.pools.iter().zip(&*setup.queues).enumerate();
        let pools = pools.map(|(index, (spec, queue))| {
            let links = Links {
                stats: Arc::clone(&setup.stats),
                samples: Rc::clone(&samples),
                signal: spec.response_time.signal,
                queue: Arc::clone(queue),
            };
            let times = Arc::clone(&setup.times);
            Pool::new(spec, pool::Setup { index, worker: setup.id, links, times })
        });
        let pools = pools.collect();
        let shared = Shared {
            config: setup.config,
            tables: RefCell::new(setup.subscriber),
            pools: RefCell::new(pools),
            samples,
            dice: RefCell::new(Rng::new()),
            supplies,
            stats,
            watches: Watches::default(),
            freed: Notify::new(),
            short_of_resources: Cell::new(0),
            now: Cell::new(Duration::ZERO),
            begun: setup.stats.begun,
            speaks_first: setup.queues.iter().map(|_| SpeaksFirst::default()).collect(),
            queues: setup.queues,
            explains: Cell::new(true),
            connect_times: RefCell::new(histogram()),
            arrivals: setup.arrivals.map(Arrivals::new),
        };
        Rc::new(Worker {
            id: setup.id,
            shared: Rc::new(shared),
            all_stats: setup.stats,
            phase: setup.phase,
            sessions_max: setup.sessions_max,
            boxes: setup.boxes,
            neighbours: RefCell::new(Neighbours::new(setup.id, workers)),
            slack: Cell::new(0),
            ended: Cell::new(0),
            sockets: setup
                .sockets
                .into_iter()
                .map(|(listener, socket)| (listener, Rc::new(socket)))
                .collect(),
            accepts_no_more: Notify::new(),
            pause_told: Cell::new(None),
            epoch: Cell::new(0),
        })
    }

    async fn serve(self: Rc<Self>) -> Report {
        let accepting = self.sockets.iter().map(|(listener, socket)| {
            tokio_uring::spawn(Rc::clone(&self).accept_loop(*listener, Rc::clone(socket)))
        });
        let mut accepting: Vec<JoinHandle<()>> = accepting.collect();
        // Ends when no worker hands anything over any more, and nothing is left in the inbox.
        accepting.extend(self.boxes.is_some().then(|| tokio_uring::spawn(Rc::clone(&self).inbox_loop())));
        let engine = self.shared.supplies.multishot.clone();
        let mut engine: Vec<_> = engine.map(|engine| tokio_uring::spawn(engine.run())).into_iter().collect();
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
            self.tick(step);
            propagate_panic(&mut accepting).await;
            propagate_panic(&mut engine).await;

            let phase = self.phase.get();
            if phase != Phase::Running && !draining {
                draining = true;
                self.stop_accepting();
            }
            if phase == Phase::Closing {
                last_call = last_call.or(Some(self.shared.now.get()));
                // Each time: a worker that has not looked at the phase yet may have handed one over since.
                self.shared.watches.end_all(End::Drained);
            }
            let done = draining && accepting.is_empty() && self.shared.watches.is_empty();
            let given_up = last_call.is_some_and(|since| self.shared.now.get() - since >= LAST_CALL);
            if done || given_up {
                return self.report();
            }
        }
    }

    /// The housekeeping: the clock, deadlines, news, figures.
    fn tick(&self, step: Duration) {
        let shared = &self.shared;
        shared.now.set(shared.now.get() + step);
        shared.stats.ticks.add(1);
        let ticks = &shared.supplies.ticks;
        ticks.set(ticks.get().wrapping_add(1));
        shared.supplies.multishot.iter().for_each(Multishot::look_again);
        let late = |backend: BackendId| {
            // First: whoever sees that it was not answered can see why.
            shared.stats.backends[backend.index()].late.add(1);
            shared.stats.unanswered(backend);
        };
        shared.watches.sweep(&shared.config, shared.now.get(), late);
        self.adopt_news();
        self.boxes.as_ref().inspect(|_| self.weigh_haste(step));
        shared.explains.set(true);
        shared.samples.hand_over();
        shared.arrivals.iter().for_each(Arrivals::hand_over);
        self.show_carried();
    }

    /// Shows others what the relays have carried.
    fn show_carried(&self) {
        let (supplies, stats) = (&self.shared.supplies, &self.shared.stats);
        let (carried, shown) = (&supplies.carried, &stats.carried);
        let by_multishot = supplies.multishot.as_ref().map_or(0, Multishot::carried);
        for (now, shown) in [
            (supplies.arena.borrowed(), &stats.buffers_borrowed),
            (carried.small.get() + by_multishot, &shown.small),
            (carried.large.get(), &shown.large),
            (carried.spliced.get(), &shown.spliced),
            (carried.parked.get(), &shown.parked),
        ] {
            shown.add(now - shown.get());
        }
    }

    /// Finds out how short its sessions are.
    fn weigh_haste(&self, step: Duration) {
        let stats = &self.shared.stats;
        let accepted: u64 = stats.listeners.iter().map(|listener| listener.accepted.get()).sum();
        let ended = accepted - stats.active.get();
        self.slack.set(spread::slack(ended - self.ended.replace(ended), step));
    }

    /// So that a worker without traffic does not hold an old table for ever, and sees the others' counts.
    fn adopt_news(&self) {
        let shared = &self.shared;
        let mut tables = shared.tables.borrow_mut();
        let table = tables.refresh();
        let mut pools = shared.pools.borrow_mut();
        let share = pools.len();
        for pool in &mut *pools {
            pool.adopt(table);
            pool.loads().look_around_widely(share);
        }
        let before = self.epoch.replace(table.epoch);
        if before != table.epoch {
            self.leave_what_is_lost(table, before);
        }
    }

    /// Heeds that backends have gone down after the table with the epoch `before`. Whoever was picked from a later one knew:
    /// in a panic those that are down get sessions.
    fn leave_what_is_lost(&self, table: &BackendTable, before: u64) {
        // Looking at every session costs milliseconds when there are very many.
        if table.backends.iter().all(|backend| backend.lost_at <= before) {
            return;
        }
        let is_lost = |watch: &Watch| {
            let lost_at = |backend: &BackendId| table.backends[backend.index()].lost_at;
            let is_news = |lost_at: u64| lost_at > before && watch.picked_from.get() < lost_at;
            watch.served_by.get().filter(|backend| is_news(lost_at(backend)))
        };
        let watches = &self.shared.watches;
        // Who still connects there tries another one at once.
        watches.stop_connecting(|watch| is_lost(watch).is_some());
        watches.end_those(End::BackendDown, |watch| {
            let closes = |backend: BackendId| {
                let pool = table.backends[backend.index()].pool;
                self.shared.config.pools[pool].on_down == OnDown::Close
            };
            watch.stage.get() == Stage::Relaying && is_lost(watch).is_some_and(closes)
        });
    }

    async fn accept_loop(self: Rc<Self>, listener: usize, socket: Rc<Listening>) {
        loop {
            if let Err(error) = self.acceptable(&socket).await {
                tracing::error!(worker = self.id, %error, "cannot wait for connections; trying again");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            if self.phase.get() != Phase::Running {
                return;
            }
            if self.shared.is_short_of_resources() {
                // Each new client would need what those who wait for a connection do not get.
                self.pause(listener, &"sessions wait for descriptors or memory to connect with").await;
                continue;
            }
            match self.accept_batch(listener, &socket) {
                Ok(()) => {}
                Err(Refusal::Full) => {
                    // Those who wait stay in the kernel's queue until a session ends. Another worker's may: look then.
                    let freed = self.shared.freed.notified();
                    let _ = tokio::time::timeout(TICK, freed).await;
                }
                Err(Refusal::Failed(error)) => self.pause(listener, &error).await,
            }
            // Sessions first: a flood of connections must not keep those that are running from their turn.
            tokio::task::yield_now().await;
        }
    }

    /// Until somebody waits to be accepted, or nobody is any more.
    async fn acceptable(&self, socket: &Rc<Listening>) -> io::Result<()> {
        if !socket.is_lent() {
            return ring::acceptable(socket).await;
        }
        // Its poll does not end with us. It takes nothing, so that it can be left behind.
        let over = self.accepts_no_more.notified();
        if self.phase.get() != Phase::Running {
            return Ok(());
        }
        tokio::select! {
            result = ring::acceptable(socket) => result,
            () = over => Ok(()),
        }
    }

    /// Takes what waits in the kernel's queue, up to a batch.
    fn accept_batch(self: &Rc<Self>, listener: usize, socket: &Listening) -> Result<(), Refusal> {
        let room = self.room();
        for _ in 0..room.min(ACCEPT_BATCH) {
            match net::accept(socket) {
                Ok(Some((client, address))) => {
                    let connection = Connection { client, address, listener };
                    if let Err(connection) = self.hand_over(connection) {
                        self.admit(connection);
                    }
                }
                Ok(None) => return Ok(()),
                Err(error) if is_the_clients(&error) => {}
                Err(error) => return Err(Refusal::Failed(error)),
            }
        }
        if room <= ACCEPT_BATCH { Err(Refusal::Full) } else { Ok(()) }
    }

    /// Lets a connection in, here.
    fn admit(&self, connection: Connection) {
        let Connection { client, address, listener } = connection;
        let admitted = Admitted::new(Rc::clone(&self.shared), listener, Socket::from(client), address);
        // Nobody waits for it: a panic in it ends it alone, and its drop still counts it.
        drop(tokio_uring::spawn(session::run(admitted)));
    }

    /// Gives a connection to a worker that has fewer sessions; gives it back if this one is to serve it.
    fn hand_over(&self, connection: Connection) -> Result<(), Connection> {
        let is_balanced = self.shared.config.listeners[connection.listener].accept == Accept::Balanced;
        let Some(Boxes { outbox, .. }) = self.boxes.as_ref().filter(|_| is_balanced) else {
            return Err(connection);
        };
        // Those under way count: or a burst would all go to the one that had the fewest before it.
        let load = |worker: usize| outbox.under_way(worker) + self.all_stats.workers[worker].active.get();
        let others = self.neighbours.borrow_mut().look().map(|other| (other, load(other)));
        let Some(other) = spread::lighter(load(self.id), self.slack.get(), others) else {
            return Err(connection);
        };
        outbox.hand_over(other, connection)?;
        self.shared.stats.handed_over.add(1);
        Ok(())
    }

    /// Lets in what others hand over, also while this worker drains: the clients came before that.
    async fn inbox_loop(self: Rc<Self>) {
        let Some(Boxes { inbox, .. }) = &self.boxes else { return };
        let mut taken = 0;
        while let Some(handed) = inbox.next().await {
            // It is let in before it is no longer under way, and that before anybody else has a turn.
            let (connection, under_way) = handed.into_parts();
            self.admit(connection);
            drop(under_way);
            taken += 1;
            if taken % ACCEPT_BATCH == 0 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Hands over nothing more and takes nothing more. If the worker ends before its inbox does, who is left there must see
    /// a reset.
    fn shut_boxes(&self) {
        let Some(Boxes { outbox, inbox }) = &self.boxes else { return };
        outbox.shut();
        for handed in inbox.shut() {
            net::abort(&Socket::from(handed.connection.client));
        }
    }

    /// How many sessions more the process may take: one look at every worker's count for a whole batch. Connections on
    /// their way from one worker to another count as sessions.
    ///
    /// Workers that look at the same moment can each take the last places. They overshoot by a batch each at most, for
    /// which the reserve of descriptors has room.
    fn room(&self) -> usize {
        let under_way = self.boxes.as_ref().map_or(0, |boxes| boxes.outbox.under_way_to_all());
        let active = self.all_stats.sum(|worker| &worker.active);
        self.sessions_max.saturating_sub((under_way + active) as usize)
    }

    async fn pause(&self, listener: usize, why: &dyn fmt::Display) {
        let now = self.shared.now.get();
        if self.pause_told.get().is_none_or(|told| now - told >= PAUSE_REPORT_INTERVAL) {
            self.pause_told.set(Some(now));
            tracing::warn!(
                worker = self.id,
                listener = %self.shared.config.listeners[listener].name,
                %why,
                "accepting pauses; running sessions go on, new clients wait in the kernel's queue"
            );
        }
        self.shared.stats.accept_pauses.add(1);
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }

    /// Takes those who have been waiting, then ends the listeners. Closing them with somebody in the queue would reset
    /// a client that believes itself connected.
    ///
    /// What it takes now it serves itself: another worker may have ended its inbox only because this one hands over nothing.
    fn stop_accepting(self: &Rc<Self>) {
        self.boxes.as_ref().inspect(|boxes| boxes.outbox.shut());
        for (listener, socket) in &self.sockets {
            // Bounded: a batch is at most what one wake-up takes, and the queue is at most the backlog.
            let batches = self.shared.config.listeners[*listener].backlog as usize / ACCEPT_BATCH + 1;
            for _ in 0..batches {
                let before = self.shared.watches.len();
                if self.accept_batch(*listener, socket).is_err() || self.shared.watches.len() == before {
                    break;
                }
            }
            socket.stop();
        }
        self.accepts_no_more.notify_waiters();
        self.shared.freed.notify_waiters();
    }

    fn report(&self) -> Report {
        self.shared.supplies.multishot.iter().for_each(Multishot::close);
        // Sessions may have ended since the last tick.
        self.show_carried();
        self.shared.arrivals.iter().for_each(Arrivals::hand_over);
        Report {
            abandoned: self.shared.watches.len(),
            connect_times: self.shared.connect_times.borrow().clone(),
            cells: (self.shared.supplies.arena.cells(), self.shared.supplies.arena.free()),
            pipes_lent: self.shared.supplies.pipes.lent(),
        }
    }
}

/// Why a batch of accepts ended early.
enum Refusal {
    /// The limit on sessions is reached.
    Full,
    /// The kernel could not.
    Failed(io::Error),
}

/// Errors of accept that are about the one client that has already left, not about us (accept(2)).
fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNABORTED
                | libc::EINTR
                | libc::EPROTO
                | libc::ENETDOWN
                | libc::ENOPROTOOPT
                | libc::EHOSTDOWN
                | libc::ENONET
                | libc::EHOSTUNREACH
                | libc::ENETUNREACH
                | libc::EPERM
        )
    )
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
    Multishot::new(2 * setup.sessions_max, arena, setup.config.server.busy_poll)
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
