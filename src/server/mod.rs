//! Server: starts the threads, waits for signals, drains, prints totals.

mod error;
mod recording;
mod supervision;

use std::any::Any;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use tokio::sync::{mpsc as tokio_mpsc, oneshot};

use crate::activation::Activation;
use crate::config::{Accept, Choice, Config, Engine, Workers};
use crate::epoch::{self, Subscriber};
use crate::explain;
use crate::figures;
use crate::handover::{self, Boxes};
use crate::health::{self, Order, Probes, Refusal};
use crate::limits::{self, Limits};
use crate::net::{self, Listening};
use crate::output::Output;
use crate::phase::{Phase, PhaseFlag};
use crate::privileges::{self, Became};
use crate::queue::Queue;
use crate::ring::{self, Unavailable};
use crate::samples;
use crate::stats::Stats;
use crate::status;
use crate::table::BackendTable;
use crate::times::Times;
use crate::worker::{self, Report};

pub use error::Error;
use recording::Recording;
use supervision::Supervision;

/// How long the workers may take to be ready.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the workers may take to cut off what is left.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Descriptors for which the kernel's table has room from the start, at most.
const DESCRIPTORS_AT_START_MAX: u64 = 1 << 20;
/// How often a drain says what it still waits for.
const DRAIN_REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// Runs ringway until a signal ends it. Returns once all is over and told; the process should exit then.
pub fn run(config: Config, output: Output) -> Result<(), Error> {
    net::use_small_pages();
    let (requests, _) = requests()?;
    let server = Server::start(config, 0)?;
    server.serve(&requests, output)
}

/// What somebody outside wants of a running server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// The table of backends, and how the last ones were chosen, on standard output.
    PrintStatus,
    /// An end, in order; at once when it comes a second time.
    Stop,
    /// The same by this signal.
    StopBySignal(i32),
}

/// Requests by signal from the moment this returns, and a sender for others.
pub fn requests() -> Result<(Receiver<Request>, Sender<Request>), Error> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGUSR1]).map_err(Error::Signals)?;
    let (sender, receiver) = mpsc::channel();
    let own = sender.clone();
    let forward = move || {
        for signal in signals.forever() {
            let request =
                if signal == SIGUSR1 { Request::PrintStatus } else { Request::StopBySignal(signal) };
            if own.send(request).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("signals".into()).spawn(forward).map_err(Error::Signals)?;
    Ok((receiver, sender))
}

/// What a thread tells the server.
enum Event {
    /// A worker accepts from now on.
    Started,
    /// A worker has drained.
    Done(Report),
    /// A worker could not have a ring.
    NoRing(Unavailable),
    /// A thread could not go on, or panicked.
    Died { name: String, why: String },
}

/// A running ringway.
pub struct Server {
    config: Arc<Config>,
    /// The addresses of each listener, with the real ports.
    addresses: Vec<Vec<SocketAddr>>,
    limits: Limits,
    stats: Arc<Stats>,
    times: Arc<Times>,
    queues: Arc<[Arc<Queue>]>,
    tables: Subscriber,
    phase: PhaseFlag,
    events: Receiver<Event>,
    /// What the kernel's counter stood at when we started.
    listen_drops_before: u64,
    orders: tokio_mpsc::Sender<Order>,
    /// The record, if one is written.
    recording: Option<Recording>,
    /// Ends the health thread when it is dropped.
    _health: HealthGuard,
    /// Ends the thread that makes figures when it is dropped.
    _figures: mpsc::Sender<()>,
}

/// Ends the health thread by drop, and waits until it has: the programs that check end with it.
struct HealthGuard {
    stop: Option<oneshot::Sender<()>>,
    /// Nothing comes; it is disconnected when the thread is over.
    ended: Receiver<()>,
}

impl Drop for HealthGuard {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.ended.recv_timeout(CLOSE_TIMEOUT);
    }
}

impl Server {
    /// Binds every listener, then starts every thread; returns when all workers accept. If anything is missing nothing
    /// has been served. `descriptors_elsewhere` is what other parts of the process hold open.
    pub fn start(config: Config, descriptors_elsewhere: u64) -> Result<Server, Error> {
        ring::probe().map_err(Error::Ring)?;
        let engine = choose_engine(config.server.engine)?;
        let cores = choose_cores(&config.server.workers, &net::allowed_cores().map_err(Error::Cores)?)?;
        let open_files = net::raise_open_files_limit().map_err(Error::OpenFiles)?;
        let limits = limits::plan(&config, cores.len(), open_files, descriptors_elsewhere)
            .map_err(Error::TooFewFiles)?;
        // Eight bytes of kernel memory for each: a limit of a thousand million, as containers have, is no wish for 8 GiB.
        if let Err(error) = net::make_room_for_descriptors(limits.descriptors().min(DESCRIPTORS_AT_START_MAX))
        {
            tracing::warn!(%error, "the table of descriptors will grow while sessions run, and may hold them up then");
        }
        let probes = Probes::new(&config.pools).map_err(Error::Check)?;
        let (addresses, sockets) = listen(&config, cores.len())?;
        // Before any thread of ours, and before any file that is written: what cannot be written later fails now.
        leave_root(&config)?;

        let config = Arc::new(config);
        let first = BackendTable::first(&config.pools, Instant::now());
        let stats = Stats::new(cores.len(), config.listeners.len(), first.backends.len());
        let stats = Arc::new(stats.with_shadows(&config.pools));
        let times = Arc::new(Times::new(first.backends.len()));
        let (publisher, subscriber) = epoch::channel(first);
        let (samples, inbox) = samples::channel(cores.len());
        let queues: Arc<[Arc<Queue>]> = config.pools.iter().map(|_| Arc::default()).collect();
        let phase = PhaseFlag::default();
        let (event_sender, events) = mpsc::channel();

        let (stop_sender, stop) = oneshot::channel();
        let (lives, ended) = mpsc::channel();
        let (orders, order_receiver) = tokio_mpsc::channel(health::ORDERS_MAX);
        let setup = health::Setup {
            config: Arc::clone(&config),
            probes,
            publisher,
            stats: Arc::clone(&stats),
            orders: order_receiver,
            seed: fastrand::u64(..),
            stop,
        };
        spawn("health".into(), &event_sender, move |_| {
            let _lives: Sender<()> = lives;
            health::run(setup).map(|()| None)
        })?;

        let (figures_guard, stop) = mpsc::channel();
        let setup = figures::Setup {
            config: Arc::clone(&config),
            stats: Arc::clone(&stats),
            inbox,
            times: Arc::clone(&times),
            stop,
        };
        spawn("figures".into(), &event_sender, move |_| {
            figures::run(setup);
            Ok(None)
        })?;

        let (recording, arrivals) = Recording::start(&config, &stats, &event_sender)?.unzip();

        let workers = cores.len();
        let boxes = boxes(&config, workers);
        for (((id, core), sockets), boxes) in cores.into_iter().enumerate().zip(sockets).zip(boxes) {
            let setup = worker::Setup {
                id,
                sockets,
                engine,
                config: Arc::clone(&config),
                subscriber: subscriber.clone(),
                stats: Arc::clone(&stats),
                times: Arc::clone(&times),
                samples: samples.clone(),
                arrivals: arrivals.clone(),
                queues: Arc::clone(&queues),
                boxes,
                phase: phase.clone(),
                sessions_max: limits.sessions_max,
            };
            spawn(format!("worker-{id}"), &event_sender, move |events| {
                if let Err(error) = net::pin_to(core) {
                    tracing::warn!(worker = id, core, %error, "the worker is not pinned to its core: slower, otherwise the same");
                }
                let started = || drop(events.send(Event::Started));
                let event = worker::run(setup, started).map_or_else(Event::NoRing, Event::Done);
                Ok(Some(event))
            })?;
        }
        let server = Server {
            config,
            addresses,
            limits,
            stats,
            times,
            queues,
            tables: subscriber,
            phase,
            events,
            orders,
            listen_drops_before: net::listen_drops().unwrap_or(0),
            recording,
            _health: HealthGuard { stop: Some(stop_sender), ended },
            _figures: figures_guard,
        };
        server.await_workers(workers)?;
        server.announce();
        Ok(server)
    }

    fn await_workers(&self, count: usize) -> Result<(), Error> {
        let mut ready = 0;
        while ready < count {
            match self.events.recv_timeout(START_TIMEOUT) {
                Ok(Event::Started) => ready += 1,
                Ok(Event::NoRing(error)) => return Err(Error::Ring(error)),
                Ok(Event::Died { name, why }) => return Err(Error::Thread { name, why }),
                Ok(Event::Done(_)) => {}
                Err(_) => {
                    let why = format!("{ready} of {count} were ready within {START_TIMEOUT:?}");
                    return Err(Error::Thread { name: "worker".into(), why });
                }
            }
        }
        Ok(())
    }

    fn announce(&self) {
        for (listener, addresses) in self.config.listeners.iter().zip(&self.addresses) {
            let pool = &self.config.pools[listener.pool];
            for address in addresses {
                tracing::info!(
                    listener = %listener.name,
                    %address,
                    pool = %pool.name,
                    backends = pool.backends.len(),
                    accept = listener.accept.word(),
                    "listening"
                );
            }
        }
        let (server, workers) = (&self.config.server, self.stats.workers.len());
        tracing::info!("limits: {}", self.limits);
        if hands_over(&self.config, workers) {
            tracing::info!(
                "handed over: up to {} connections wait for each of {workers} workers; they count as sessions",
                handover::INBOX_MAX
            );
        }
        tracing::info!(
            "relay buffers asked for: {workers} workers x ({} x {} KiB + {} x {} KiB) = {} MiB; when they are all lent, up to \
             {} MiB more from the heap",
            server.buffers_per_worker,
            server.buffer_size / 1024,
            server.large_buffers_per_worker,
            server.large_buffer_size() / 1024,
            self.limits.buffer_bytes / (1024 * 1024),
            self.limits.spill_bytes / (1024 * 1024)
        );
        tracing::info!(
            "splicing: up to {workers} workers x {} pipes = {} MiB of the kernel's memory while all are full; fs.pipe-user-pages-soft \
             is {}",
            server.pipes_per_worker,
            self.limits.pipe_bytes / (1024 * 1024),
            net::pipe_pages_soft().map_or_else(
                || "unknown".into(),
                |pages| format!("{pages} pages for a user without privileges")
            )
        );
        tracing::info!(
            "response times: up to {} KiB of histograms, as backends answer",
            self.limits.figure_bytes / 1024
        );
        if let Some(recording) = &self.recording {
            tracing::info!("record: {}", recording.limits(workers));
        }
        tracing::info!("ringway {} is ready on kernel {}", env!("CARGO_PKG_VERSION"), net::kernel_release());
    }

    /// The addresses on which the configuration's listener number `listener` accepts, with the real ports.
    pub fn addresses(&self, listener: usize) -> &[SocketAddr] {
        &self.addresses[listener]
    }

    /// The counters of all workers.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The table of backends that was published last.
    pub fn table(&self) -> Arc<BackendTable> {
        Arc::clone(self.tables.clone().refresh())
    }

    /// Has the health thread do what an operator wants; the table shows it in a moment.
    ///
    /// # Errors
    ///
    /// When it cannot be done, or not now.
    pub fn order(&self, order: Order) -> Result<(), Refusal> {
        let order = order.check(self.table().backends.len())?;
        self.orders.try_send(order).map_err(|error| match error {
            tokio_mpsc::error::TrySendError::Full(_) => Refusal::Busy,
            tokio_mpsc::error::TrySendError::Closed(_) => Refusal::Over,
        })
    }

    /// The table of backends, as text.
    pub fn status(&self) -> String {
        let backends =
            status::backends(&self.config, &self.table(), &self.stats, &self.times, Instant::now());
        format!("{backends}{}", self.summary())
    }

    /// How the last backends were chosen, as text; nothing when none was.
    pub fn explain(&self) -> String {
        explain::decisions(&self.config, &self.table(), &self.stats)
    }

    /// The response time that is known of each backend.
    pub fn times(&self) -> &Times {
        &self.times
    }

    /// Totals, how bytes were carried, what went short if anything did, and what shadows chose if there are any.
    fn summary(&self) -> String {
        let drops = net::listen_drops().unwrap_or(0).saturating_sub(self.listen_drops_before);
        let shortages = status::shortages(&self.stats, drops);
        let waiting = status::queues(&self.config, &self.queues);
        let workers = status::workers(&self.stats);
        let carried = status::carried(&self.stats);
        let recorded = self.recording.as_ref().map_or_else(String::new, Recording::summary);
        let shadows = status::shadows(&self.config, &self.stats);
        let totals = status::totals(&self.stats.totals());
        format!("{totals}\n{workers}{carried}{recorded}{waiting}{shortages}{shadows}")
    }

    /// Acts on requests until all is over.
    pub fn serve(mut self, requests: &Receiver<Request>, mut output: Output) -> Result<(), Error> {
        let mut supervision = Supervision::ready(&self.stats, &self.table());
        let mut next_status = self.config.server.status_interval.map(|interval| Instant::now() + interval);
        loop {
            // Threads report to one channel and requests come by another: look at both often enough for a person.
            match requests.recv_timeout(Duration::from_millis(100)) {
                Ok(Request::PrintStatus) => output.print(&format!("{}{}", self.status(), self.explain())),
                Ok(request @ (Request::Stop | Request::StopBySignal(_))) => {
                    return self.stop(request, requests, output, supervision);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => unreachable!("the signal thread never ends"),
            }
            if let Ok(Event::Died { name, why }) = self.events.try_recv() {
                self.cut_off(Vec::new());
                return Err(Error::Died { name, why });
            }
            let now = Instant::now();
            supervision.look(&self.stats, &self.table(), now);
            if next_status.is_some_and(|due| now >= due) {
                output.print(&self.status());
                next_status = self.config.server.status_interval.map(|interval| now + interval);
            }
        }
    }

    fn stop(
        &mut self,
        request: Request,
        requests: &Receiver<Request>,
        mut output: Output,
        mut supervision: Supervision,
    ) -> Result<(), Error> {
        let timeout = self.config.server.drain_timeout;
        tracing::info!(
            ?request,
            active = self.stats.totals().active,
            drain_timeout = ?timeout,
            "stopping: no new sessions; a second signal ends it at once"
        );
        supervision.stopping(timeout, &self.stats);
        let drained = self.drain(timeout, || {
            supervision.draining(Instant::now());
            match requests.try_recv() {
                Ok(Request::Stop) => Some(SIGTERM),
                Ok(Request::StopBySignal(signal)) => Some(signal),
                Ok(Request::PrintStatus) | Err(_) => None,
            }
        });
        // So that the totals have what it has written to the end.
        self.recording.iter_mut().for_each(Recording::finish);
        output.print(&self.summary());
        output.print(&connect_times(&drained?));
        Ok(())
    }

    /// Stops accepting, lets sessions end until `timeout`, closes those that are left. `interrupted` is asked now and
    /// then whether to give up.
    pub fn drain(
        &mut self,
        timeout: Duration,
        mut interrupted: impl FnMut() -> Option<i32>,
    ) -> Result<Vec<Report>, Error> {
        self.phase.advance(Phase::Draining);
        let begun = Instant::now();
        let mut next_report = begun + DRAIN_REPORT_INTERVAL;
        let mut reports = Vec::new();
        while reports.len() < self.stats.workers.len() {
            match self.events.recv_timeout(Duration::from_millis(20)) {
                Ok(Event::Done(report)) => reports.push(report),
                Ok(Event::Died { name, why }) => {
                    self.cut_off(reports);
                    return Err(Error::Died { name, why });
                }
                Ok(Event::Started | Event::NoRing(_)) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if let Some(signal) = interrupted() {
                let sessions = self.stats.totals().active;
                self.cut_off(reports);
                return Err(Error::Interrupted { signal, sessions });
            }
            let now = Instant::now();
            if now - begun >= timeout {
                return Ok(self.cut_off(reports));
            }
            if now >= next_report {
                next_report = now + DRAIN_REPORT_INTERVAL;
                let (active, left) = (self.stats.totals().active, timeout.saturating_sub(now - begun));
                tracing::info!(active, seconds_left = left.as_secs(), "draining");
            }
        }
        Ok(reports)
    }

    /// Ends the sessions that are left with a reset (the end of the process alone would make them look complete), and
    /// waits for the workers to have done it; not for one that is dead or stuck.
    fn cut_off(&self, mut reports: Vec<Report>) -> Vec<Report> {
        self.phase.advance(Phase::Closing);
        let deadline = Instant::now() + CLOSE_TIMEOUT;
        while reports.len() < self.stats.workers.len() {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(Event::Done(report)) => reports.push(report),
                Ok(Event::Died { .. }) | Err(_) => break,
                Ok(Event::Started | Event::NoRing(_)) => {}
            }
        }
        reports
    }
}

/// How long connecting took over all workers, as one line; nothing when nobody connected.
fn connect_times(reports: &[Report]) -> String {
    let mut times = Histogram::<u64>::new(3).expect("three digits are allowed");
    for report in reports {
        // Cannot fail: this one grows to what it is given.
        let _ = times.add(&report.connect_times);
    }
    if times.is_empty() {
        return String::new();
    }
    let at = |quantile| times.value_at_quantile(quantile);
    let (p50, p90, p99, max) = (at(0.5), at(0.9), at(0.99), times.max());
    format!("connect times (us): {p50} p50, {p90} p90, {p99} p99, {max} max\n")
}

/// Which engine there will be: never `Auto`.
fn choose_engine(wanted: Engine) -> Result<Engine, Error> {
    if wanted == Engine::Fixed {
        tracing::info!("small messages: engine fixed");
        return Ok(Engine::Fixed);
    }
    match (wanted, ring::probe_second()) {
        (_, Ok(())) => {
            tracing::info!("small messages: engine multishot");
            Ok(Engine::Multishot)
        }
        (Engine::Multishot, Err(error)) => Err(Error::Engine(error)),
        (_, Err(error)) => {
            tracing::info!(
                %error,
                "the multishot engine is not available; it needs Linux 6.1 and io_uring_register; the fixed one serves"
            );
            Ok(Engine::Fixed)
        }
    }
}

/// One core for each worker.
fn choose_cores(workers: &Workers, allowed: &[usize]) -> Result<Vec<usize>, Error> {
    match workers {
        Workers::Auto => Ok(allowed.to_vec()),
        Workers::Count(count) => Ok(allowed.iter().copied().cycle().take(count.get()).collect()),
        Workers::Cores(cores) => match cores.iter().find(|core| !allowed.contains(core)) {
            Some(&core) => Err(Error::NoSuchCore { core, allowed: allowed.to_vec() }),
            None => Ok(cores.clone()),
        },
    }
}

/// Whether workers hand connections to each other: a single one has nobody to give to.
fn hands_over(config: &Config, workers: usize) -> bool {
    workers > 1 && config.listeners.iter().any(|listener| listener.accept == Accept::Balanced)
}

/// The boxes of each worker; none if nothing is handed over.
fn boxes(config: &Config, workers: usize) -> Vec<Option<Boxes>> {
    if hands_over(config, workers) {
        handover::between(workers).into_iter().map(Some).collect()
    } else {
        (0..workers).map(|_| None).collect()
    }
}

/// Becomes who the configuration says, if it says so.
fn leave_root(config: &Config) -> Result<(), Error> {
    let Some(run_as) = &config.server.run_as else { return Ok(()) };
    if let Some(Became { uid, gid, groups }) = privileges::become_user(run_as).map_err(Error::Privileges)? {
        tracing::info!(user = %run_as.user, uid, gid, ?groups, "root is left for good; ports below 1024 can still be opened");
    }
    Ok(())
}

/// The sockets of one worker, each with its listener.
type Sockets = Vec<(usize, Listening)>;

/// Binds every address once for each worker, or takes what a service manager has bound.
fn listen(config: &Config, workers: usize) -> Result<(Vec<Vec<SocketAddr>>, Vec<Sockets>), Error> {
    let mut addresses = vec![Vec::new(); config.listeners.len()];
    let mut sockets: Vec<Sockets> = (0..workers).map(|_| Vec::new()).collect();
    let backlog_max = net::backlog_max();
    let mut activation = Activation::from_environment().map_err(Error::Activation)?;
    for (index, listener) in config.listeners.iter().enumerate() {
        if let Some(max) = backlog_max.filter(|&max| max < listener.backlog) {
            tracing::warn!(
                listener = %listener.name,
                backlog = listener.backlog,
                granted = max,
                "the kernel grants a smaller backlog; to raise it: sysctl -w net.core.somaxconn={}",
                listener.backlog
            );
        }
        for &address in &listener.bind {
            let failed = |error| Error::Listen { listener: listener.name.clone(), address, error };
            let passed = activation.share(address, workers, listener.tcp).map_err(Error::Activation)?;
            let group = match passed {
                Some(group) => group,
                None => patiently(|| net::listen(address, workers, listener.backlog, listener.tcp))
                    .map_err(failed)?
                    .into_iter()
                    .map(|socket| vec![Listening::own(socket)])
                    .collect(),
            };
            addresses[index].push(group[0][0].local_addr().map_err(failed)?);
            for (worker, group) in sockets.iter_mut().zip(group) {
                worker.extend(group.into_iter().map(|socket| (index, socket)));
            }
        }
    }
    activation.finish().map_err(Error::Activation)?;
    Ok((addresses, sockets))
}

/// Tries for a moment while the address is in use: the kernel tears the ring of a process that was killed down after its
/// end, and its listening sockets with it.
fn patiently<T>(mut listen: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    const PATIENCE: Duration = Duration::from_millis(500);
    const PAUSE: Duration = Duration::from_millis(10);
    let begun = Instant::now();
    loop {
        match listen() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && begun.elapsed() < PATIENCE => {
                thread::sleep(PAUSE);
            }
            result => return result,
        }
    }
}

/// Runs `body` on a thread that cannot die unheard: what it returns, fails with or panics with is an event.
fn spawn(
    name: String,
    events: &Sender<Event>,
    body: impl FnOnce(&Sender<Event>) -> io::Result<Option<Event>> + Send + 'static,
) -> Result<(), Error> {
    let (events, thread_name) = (events.clone(), name.clone());
    let guarded = move || {
        let event = match catch_unwind(AssertUnwindSafe(|| body(&events))) {
            Ok(Ok(event)) => event,
            Ok(Err(error)) => Some(Event::Died { name: thread_name, why: error.to_string() }),
            Err(panic) => Some(Event::Died { name: thread_name, why: last_words(&*panic) }),
        };
        if let Some(event) = event {
            // Nobody listens once the server is gone, and then nobody needs to know.
            let _ = events.send(event);
        }
    };
    match thread::Builder::new().name(name.clone()).spawn(guarded) {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::Thread { name, why: error.to_string() }),
    }
}

fn last_words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it panicked".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroUsize;

    #[test]
    fn a_thread_that_panics_is_heard() {
        let (sender, events) = mpsc::channel();
        spawn("worker-7".into(), &sender, |_| panic!("the ring is broken")).unwrap();
        match events.recv_timeout(Duration::from_secs(10)) {
            Ok(Event::Died { name, why }) => {
                assert_eq!((name.as_str(), why.as_str()), ("worker-7", "the ring is broken"))
            }
            _ => panic!("the death was not heard"),
        }
    }

    #[test]
    fn workers_get_the_cores_that_were_asked_for() {
        let count = |count| Workers::Count(NonZeroUsize::new(count).unwrap());
        assert_eq!(choose_cores(&Workers::Auto, &[0, 2, 5]).unwrap(), [0, 2, 5]);
        assert_eq!(choose_cores(&count(2), &[0, 2, 5]).unwrap(), [0, 2]);
        assert_eq!(choose_cores(&count(4), &[0, 2]).unwrap(), [0, 2, 0, 2]);
        assert_eq!(choose_cores(&Workers::Cores(vec![5]), &[0, 2, 5]).unwrap(), [5]);
        let error = choose_cores(&Workers::Cores(vec![1]), &[0, 2]).unwrap_err();
        assert_eq!(error.to_string(), "server.workers: there is no core 1 for this process; it may use 0, 2");
    }
}
