//! Server: starts the threads, waits for signals, drains, prints totals.

mod error;
mod logging;
mod recording;
mod supervision;
mod upgrading;

use std::any::Any;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;
use tokio::sync::{mpsc as tokio_mpsc, oneshot};

use crate::activation::Activation;
use crate::admin::{self, Admin};
use crate::bind::{self, Adjust, Passed};
use crate::changes::Changes;
use crate::config::{Accept, AdminAddress, Choice, Config, Engine, Source, Workers};
use crate::control::{self, Control};
use crate::explain;
use crate::figures;
use crate::generation::Generation;
use crate::handover::{self, Boxes};
use crate::health::{self, Order, Probes, Refusal};
use crate::limits;
use crate::lists;
use crate::net;
use crate::output::Output;
use crate::phase::{Phase, PhaseFlag};
use crate::privileges::{self, Became};
use crate::ring::{self, Unavailable};
use crate::samples;
use crate::stats::Stats;
use crate::status;
use crate::table::BackendTable;
use crate::times::Times;
use crate::upgrade::{Inherited, Predecessor, Program};
use crate::worker::{self, Report, Start};

pub use error::Error;
use logging::Logging;
use recording::Recording;
use supervision::Supervision;
use upgrading::Upgrading;

/// How long the workers may take to be ready.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the workers may take to cut off what is left.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Descriptors for which the kernel's table has room from the start, at most.
const DESCRIPTORS_AT_START_MAX: u64 = 1 << 20;
/// How long the process before may take to leave the address of the admin API.
const ADMIN_TIMEOUT: Duration = Duration::from_secs(5);
/// From one try to have it to the next.
const ADMIN_PAUSE: Duration = Duration::from_millis(20);
/// How often a drain says what it still waits for.
const DRAIN_REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// Runs ringway until a signal ends it. Returns once all is over and told; the process should exit then.
pub fn run(config: Config, source: Source, output: Output) -> Result<(), Error> {
    net::use_small_pages();
    let program = Program::own();
    let (requests, _) = requests()?;
    let (predecessor, inherited) = Predecessor::from_environment().map_err(Error::Upgrade)?.unzip();
    let activation = Activation::from_environment();
    let activation = activation.map_err(|error| Error::Bind(bind::Error::Activation(error)))?;
    let passed = Passed { activation, inherited: inherited.unwrap_or_default() };
    let started = Server::start_after(predecessor.as_ref(), passed, source, config, 0);
    let mut server = started.inspect_err(|error| {
        predecessor.inspect(|predecessor| predecessor.failed(error));
    })?;
    match program {
        Ok(program) => server.allow_upgrades(program),
        Err(error) => {
            tracing::warn!(%error, "the file of this program is not known: it cannot be upgraded (SIGUSR2)")
        }
    }
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
    /// That the file of the configuration is read again, and that of the access log opened anew.
    Reload,
    /// That another process, from the file of the program as it is now, takes over.
    Upgrade,
}

impl Request {
    /// The signal that stands for an end.
    fn signal(self) -> Option<i32> {
        match self {
            Request::Stop => Some(SIGTERM),
            Request::StopBySignal(signal) => Some(signal),
            Request::PrintStatus | Request::Reload | Request::Upgrade => None,
        }
    }
}

/// Requests by signal from the moment this returns, and a sender for others.
pub fn requests() -> Result<(Receiver<Request>, Sender<Request>), Error> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGHUP]).map_err(Error::Signals)?;
    let (sender, receiver) = mpsc::channel();
    let own = sender.clone();
    let forward = move || {
        for signal in signals.forever() {
            let request = match signal {
                SIGUSR1 => Request::PrintStatus,
                SIGUSR2 => Request::Upgrade,
                SIGHUP => Request::Reload,
                _ => Request::StopBySignal(signal),
            };
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
    /// A worker has come so far.
    Started(Start),
    /// A worker has drained.
    Done(Report),
    /// A worker could not have a ring.
    NoRing(Unavailable),
    /// A thread could not go on, or panicked.
    Died { name: String, why: String },
}

/// A running ringway.
pub struct Server {
    /// What takes orders, and has the present configuration.
    control: Arc<Control>,
    phase: PhaseFlag,
    events: Receiver<Event>,
    /// What the kernel's counter stood at when we started.
    listen_drops_before: u64,
    /// Those that workers have.
    cores: Vec<usize>,
    /// The admin API, if there is one. Dropped before what it asks.
    admin: Option<Admin>,
    /// The record, if one is written.
    recording: Option<Recording>,
    upgrading: Upgrading,
    /// The access log, if there is one.
    logging: Option<Logging>,
    /// Ends the health thread when it is dropped.
    _health: HealthGuard,
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
        Server::start_from(Source::Flags, config, descriptors_elsewhere)
    }

    /// The same with a configuration that can be read again.
    pub fn start_from(source: Source, config: Config, descriptors_elsewhere: u64) -> Result<Server, Error> {
        Server::start_after(None, Passed::default(), source, config, descriptors_elsewhere)
    }

    /// The same in the place of another process, which serves until all is ready, with its sockets.
    fn start_after(
        predecessor: Option<&Predecessor>,
        mut passed: Passed,
        source: Source,
        config: Config,
        descriptors_elsewhere: u64,
    ) -> Result<Server, Error> {
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
        let rules = lists::read(&config).map_err(Error::Lists)?;
        let bound = bind::bind(&config, cores.len(), &mut passed, |_, _| None).map_err(Error::Bind)?;
        // Before any thread of ours, and before any file that is written: what cannot be written later fails now.
        leave_root(&config)?;

        let (workers, busy_cores) = (cores.len(), cores.clone());
        let (generation, publisher) = Generation::first_with(rules, config, bound.addresses, workers);
        let generation = Arc::new(generation);
        let (config, stats) = (&generation.config, &generation.stats);
        let (samples, inbox) = samples::channel(cores.len());
        let phase = PhaseFlag::default();
        let (event_sender, events) = mpsc::channel();

        let changes: Arc<Changes> = Arc::default();
        let (stop_sender, stop) = oneshot::channel();
        let (lives, ended) = mpsc::channel();
        let (wishes, wish_receiver) = tokio_mpsc::channel(health::ORDERS_MAX);
        let setup = health::Setup {
            config: Arc::clone(config),
            probes,
            publisher,
            stats: Arc::clone(stats),
            changes: Arc::clone(&changes),
            wishes: wish_receiver,
            seed: fastrand::u64(..),
            stop,
        };
        spawn("health".into(), &event_sender, move |_| {
            let _lives: Sender<()> = lives;
            health::run(setup).map(|()| None)
        })?;

        let (figures, next) = mpsc::channel();
        let setup = figures::Setup { generation: Arc::clone(&generation), inbox, next };
        spawn("figures".into(), &event_sender, move |_| {
            figures::run(setup);
            Ok(None)
        })?;

        let (recording, arrivals) =
            Recording::start(config, stats, predecessor.is_some(), &event_sender)?.unzip();
        let (logging, entries) = Logging::start(config, stats, &event_sender)?.unzip();

        let boxes = boxes(workers);
        let mut errands = Vec::with_capacity(workers);
        let sockets = bound.sockets.into_iter().zip(bound.inlets);
        for (((id, core), (sockets, inlets)), boxes) in cores.into_iter().enumerate().zip(sockets).zip(boxes)
        {
            let (sender, receiver) = mpsc::channel();
            errands.push(sender);
            let setup = worker::Setup {
                id,
                sockets,
                inlets,
                engine,
                generation: Arc::clone(&generation),
                samples: samples.clone(),
                arrivals: arrivals.clone(),
                entries: entries.clone(),
                boxes,
                phase: phase.clone(),
                sessions_max: limits.sessions_max,
                errands: receiver,
            };
            spawn(format!("worker-{id}"), &event_sender, move |events| {
                if let Err(error) = net::pin_to(core) {
                    tracing::warn!(worker = id, core, %error, "the worker is not pinned to its core: slower, otherwise the same");
                }
                let tell = |start| drop(events.send(Event::Started(start)));
                let event = worker::run(setup, tell).map_or_else(Event::NoRing, Event::Done);
                Ok(Some(event))
            })?;
        }
        let control = Control::new(control::Setup {
            source,
            generation,
            errands,
            wishes,
            figures,
            limits,
            elsewhere: descriptors_elsewhere,
            phase: phase.clone(),
            engine,
            changes,
        });
        let mut server = Server {
            admin: None,
            cores: busy_cores,
            control,
            phase,
            events,
            listen_drops_before: net::listen_drops().unwrap_or(0),
            recording,
            logging,
            upgrading: Upgrading::default(),
            _health: HealthGuard { stop: Some(stop_sender), ended },
        };
        match server.begin(workers, predecessor, passed.inherited) {
            Ok(()) => bound.adjust.iter().for_each(Adjust::run),
            Err(error) => {
                // Workers that are ready wait for a word.
                server.phase.advance(Phase::Closing);
                return Err(error);
            }
        }
        // Last: who asks whether it is ready is to hear of a process that is.
        if let Some(predecessor) = predecessor {
            predecessor.serving();
            server.admin = server.take_admin_over();
        } else {
            server.admin = server.start_admin().map_err(Error::Admin)?;
        }
        server.announce();
        Ok(server)
    }

    fn start_admin(&self) -> Result<Option<Admin>, admin::Unusable> {
        let spec = self.control.generation().config.admin.clone();
        spec.map(|spec| Admin::start(&spec, Arc::clone(&self.control), self.cores.clone())).transpose()
    }

    /// The process before leaves its address when it hears that this one serves. Clients are served by then: without an
    /// admin API rather than not at all.
    fn take_admin_over(&self) -> Option<Admin> {
        let begun = Instant::now();
        loop {
            match self.start_admin() {
                Ok(admin) => return admin,
                Err(_) if begun.elapsed() < ADMIN_TIMEOUT => thread::sleep(ADMIN_PAUSE),
                Err(error) => {
                    tracing::error!("{error}; this process serves without an admin API");
                    return None;
                }
            }
        }
    }

    /// Accepts, once everything is ready and the process before agrees. Until then a failure costs no client.
    fn begin(
        &self,
        workers: usize,
        predecessor: Option<&Predecessor>,
        inherited: Inherited,
    ) -> Result<(), Error> {
        self.await_workers(workers, Start::Ready)?;
        if let Some(predecessor) = predecessor {
            let left = inherited.left();
            // Ours of those that it keeps: it drains them, and they are to end with that.
            drop(inherited);
            predecessor.ready(left).map_err(Error::Upgrade)?;
        }
        self.phase.advance(Phase::Running);
        self.await_workers(workers, Start::Accepting)
    }

    fn await_workers(&self, count: usize, wanted: Start) -> Result<(), Error> {
        let mut ready = 0;
        while ready < count {
            match self.events.recv_timeout(START_TIMEOUT) {
                Ok(Event::Started(start)) => ready += usize::from(start == wanted),
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
        let (generation, limits) = (self.control.generation(), self.control.limits());
        for (listener, addresses) in generation.config.listeners.iter().zip(&generation.addresses) {
            let pool = &generation.config.pools[listener.pool];
            for address in crate::config::spans(addresses) {
                tracing::info!(
                    listener = %listener.name,
                    %address,
                    pool = %pool.name,
                    backends = pool.backends.len(),
                    protocol = listener.protocol.word(),
                    accept = listener.accept.word(),
                    "listening"
                );
            }
        }
        let (server, workers) = (&generation.config.server, generation.stats.workers.len());
        tracing::info!("limits: {}", limits);
        if hands_over(&generation.config, workers) {
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
            limits.buffer_bytes / (1024 * 1024),
            limits.spill_bytes / (1024 * 1024)
        );
        if limits.datagram_bytes > 0 {
            tracing::info!(
                "datagrams: {workers} workers have buffers for {} MiB, of which the kernel gives as much as is used",
                limits.datagram_bytes / (1024 * 1024)
            );
        }
        tracing::info!(
            "splicing: up to {workers} workers x {} pipes = {} MiB of the kernel's memory while all are full; fs.pipe-user-pages-soft \
             is {}",
            server.pipes_per_worker,
            limits.pipe_bytes / (1024 * 1024),
            net::pipe_pages_soft().map_or_else(
                || "unknown".into(),
                |pages| format!("{pages} pages for a user without privileges")
            )
        );
        tracing::info!(
            "response times: up to {} KiB of histograms, as backends answer",
            limits.figure_bytes / 1024
        );
        if let Some(recording) = &self.recording {
            tracing::info!("record: {}", recording.limits(workers));
        }
        if let Some(logging) = &self.logging {
            tracing::info!("access log: {}", logging.limits(workers));
        }
        if let (Some(admin), Some(spec)) = (&self.admin, &generation.config.admin) {
            let address = match (admin.address(), &spec.bind) {
                (Some(address), _) => format!("http://{address}/"),
                (None, AdminAddress::Socket(path)) => path.display().to_string(),
                (None, AdminAddress::Address(address)) => address.to_string(),
            };
            tracing::info!(
                %address,
                token = spec.token_file.is_some(),
                "admin API, metrics and page; up to {} connections",
                admin::CONNECTIONS_MAX
            );
        }
        let (version, kernel) = (env!("CARGO_PKG_VERSION"), net::kernel_release());
        tracing::info!(pid = process::id(), "ringway {version} is ready on kernel {kernel}");
    }

    /// The IP addresses on which the configuration's listener number `listener` accepts, with the real ports. Its Unix sockets
    /// are where the configuration says.
    pub fn addresses(&self, listener: usize) -> Vec<SocketAddr> {
        self.control.generation().addresses[listener].iter().filter_map(|address| address.as_ip()).collect()
    }

    /// Where the admin API listens, with the real port; nothing if there is none, or at a path.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref()?.address()
    }

    /// The counters of all workers.
    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.control.generation().stats)
    }

    /// The table of backends that was published last.
    pub fn table(&self) -> Arc<BackendTable> {
        self.control.table()
    }

    /// Has the health thread do what an operator wants; the table shows it in a moment.
    ///
    /// # Errors
    ///
    /// When it cannot be done, or not now.
    pub fn order(&self, order: Order) -> Result<(), Refusal> {
        self.control.order(order)
    }

    /// What takes orders, and has the present configuration.
    pub fn control(&self) -> &Arc<Control> {
        &self.control
    }

    /// The table of backends, as text.
    pub fn status(&self) -> String {
        let generation = self.control.generation();
        let backends = status::backends(
            &generation.config,
            &self.table(),
            &generation.stats,
            &generation.times,
            Instant::now(),
        );
        format!("{backends}{}", self.summary())
    }

    /// How the last backends were chosen, as text; nothing when none was.
    pub fn explain(&self) -> String {
        let generation = self.control.generation();
        explain::decisions(&generation.config, &self.table(), &generation.stats)
    }

    /// The response time that is known of each backend.
    pub fn times(&self) -> Arc<Times> {
        Arc::clone(&self.control.generation().times)
    }

    /// Totals, how bytes were carried, what went short if anything did, and what shadows chose if there are any.
    fn summary(&self) -> String {
        let generation = self.control.generation();
        let drops = net::listen_drops().unwrap_or(0).saturating_sub(self.listen_drops_before);
        let shortages = status::shortages(&generation.stats, drops);
        let waiting = status::queues(&generation.config, &generation.queues);
        let workers = status::workers(&generation.stats);
        let carried = status::carried(&generation.stats);
        let recorded = self.recording.as_ref().map_or_else(String::new, Recording::summary);
        let logged = self.logging.as_ref().map_or_else(String::new, Logging::summary);
        let shadows = status::shadows(&generation.config, &generation.stats);
        let totals = status::totals(&generation.stats.totals());
        format!("{totals}\n{workers}{carried}{recorded}{logged}{waiting}{shortages}{shadows}")
    }

    /// Acts on requests until all is over.
    pub fn serve(mut self, requests: &Receiver<Request>, mut output: Output) -> Result<(), Error> {
        let mut supervision = Supervision::ready(&self.stats(), &self.table());
        let mut next_status =
            self.control.generation().config.server.status_interval.map(|interval| Instant::now() + interval);
        let mut put_off = VecDeque::new();
        loop {
            // Threads report to one channel and requests come by another: look at both often enough for a person.
            let request = match put_off.pop_front() {
                Some(request) => Ok(request),
                None => requests.recv_timeout(Duration::from_millis(100)),
            };
            match request {
                Ok(Request::PrintStatus) => output.print(&format!("{}{}", self.status(), self.explain())),
                Ok(request @ (Request::Stop | Request::StopBySignal(_))) => {
                    return self.stop(request, requests, put_off, output, supervision);
                }
                Ok(Request::Reload) if !self.control.has_file() => {
                    // Nothing can be read again: whoever closes the terminal means an end.
                    return self.stop(Request::StopBySignal(SIGHUP), requests, put_off, output, supervision);
                }
                Ok(Request::Reload) => {
                    // Those that have come meanwhile want the same.
                    put_off.extend(requests.try_iter().filter(|request| *request != Request::Reload));
                    supervision.reloading();
                    self.reopen_log();
                    self.reload();
                    supervision.reloaded(&self.stats(), &self.table());
                }
                Ok(Request::Upgrade) => self.upgrade(),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => unreachable!("the signal thread never ends"),
            }
            if let Some(successor) = self.look_at_successor() {
                return self.retire(successor, requests, output, &supervision);
            }
            if let Ok(Event::Died { name, why }) = self.events.try_recv() {
                self.cancel_upgrade();
                self.cut_off(Vec::new());
                return Err(Error::Died { name, why });
            }
            let now = Instant::now();
            supervision.look(&self.stats(), &self.table(), now);
            if next_status.is_some_and(|due| now >= due) {
                output.print(&self.status());
                next_status =
                    self.control.generation().config.server.status_interval.map(|interval| now + interval);
            }
        }
    }

    /// Reads the file again, and says what came of it.
    fn reload(&self) {
        match self.control.reload() {
            Ok(reload) if reload.plan.is_empty() => {
                tracing::info!(generation = reload.generation, "reloaded: nothing has changed");
            }
            Ok(reload) => {
                for change in &reload.plan.changes {
                    tracing::info!("{}: {} {}", change.kind.word(), change.what, change.how);
                }
                tracing::info!(generation = reload.generation, "reloaded");
            }
            Err(refused) => {
                for line in refused.to_string().lines() {
                    tracing::error!("{line}");
                }
                tracing::error!("the reload is refused; everything stays as it is");
            }
        }
    }

    /// Has the file of the access log closed, and the one opened that has its name now. Nothing without such a file.
    pub fn reopen_log(&self) {
        self.logging.iter().for_each(Logging::reopen);
    }

    fn stop(
        &mut self,
        request: Request,
        requests: &Receiver<Request>,
        mut put_off: VecDeque<Request>,
        output: Output,
        mut supervision: Supervision,
    ) -> Result<(), Error> {
        self.cancel_upgrade();
        let generation = self.control.generation();
        let timeout = generation.config.server.drain_timeout;
        tracing::info!(
            pid = process::id(),
            ?request,
            active = generation.stats.totals().active,
            drain_timeout = ?timeout,
            "stopping: no new sessions; a second signal ends it at once"
        );
        // A drain can take long enough for a rotation of the log.
        let reopener = self.logging.as_ref().map(Logging::reopener);
        supervision.stopping(timeout, &generation.stats);
        self.finish(timeout, output, || {
            supervision.draining(Instant::now());
            let request = put_off.pop_front().or_else(|| requests.try_recv().ok())?;
            if request == Request::Reload {
                reopener.iter().for_each(|reopen| reopen());
            }
            request.signal()
        })
    }

    /// Drains, and tells what there was.
    fn finish(
        &mut self,
        timeout: Duration,
        mut output: Output,
        interrupted: impl FnMut() -> Option<i32>,
    ) -> Result<(), Error> {
        let drained = self.drain(timeout, interrupted);
        // So that the totals have what they have written to the end.
        self.recording.iter_mut().for_each(Recording::finish);
        self.logging.iter_mut().for_each(Logging::finish);
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
        let generation = self.control.generation();
        self.control.begin_to_end();
        let begun = Instant::now();
        let mut next_report = begun + DRAIN_REPORT_INTERVAL;
        let mut reports = Vec::new();
        while reports.len() < generation.stats.workers.len() {
            match self.events.recv_timeout(Duration::from_millis(20)) {
                Ok(Event::Done(report)) => reports.push(report),
                Ok(Event::Died { name, why }) => {
                    self.cut_off(reports);
                    return Err(Error::Died { name, why });
                }
                Ok(Event::Started(_) | Event::NoRing(_)) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if let Some(signal) = interrupted() {
                let sessions = generation.stats.totals().active;
                self.cut_off(reports);
                return Err(Error::Interrupted { signal, sessions });
            }
            let now = Instant::now();
            if now - begun >= timeout {
                return Ok(self.cut_off(reports));
            }
            if now >= next_report {
                next_report = now + DRAIN_REPORT_INTERVAL;
                let (active, left) = (generation.stats.totals().active, timeout.saturating_sub(now - begun));
                tracing::info!(active, seconds_left = left.as_secs(), "draining");
            }
        }
        Ok(reports)
    }

    /// Ends the sessions that are left with a reset (the end of the process alone would make them look complete), and
    /// waits for the workers to have done it; not for one that is dead or stuck.
    fn cut_off(&self, mut reports: Vec<Report>) -> Vec<Report> {
        let generation = self.control.generation();
        self.phase.advance(Phase::Closing);
        let deadline = Instant::now() + CLOSE_TIMEOUT;
        while reports.len() < generation.stats.workers.len() {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(Event::Done(report)) => reports.push(report),
                Ok(Event::Died { .. }) | Err(_) => break,
                Ok(Event::Started(_) | Event::NoRing(_)) => {}
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

/// The boxes of each worker; none if there is nobody to hand anything to. Also if no listener is balanced: a reload can
/// make it so.
fn boxes(workers: usize) -> Vec<Option<Boxes>> {
    if workers > 1 { handover::between(workers).into_iter().map(Some).collect() } else { vec![None] }
}

/// Becomes who the configuration says, if it says so.
fn leave_root(config: &Config) -> Result<(), Error> {
    let Some(run_as) = &config.server.run_as else { return Ok(()) };
    let became = privileges::become_user(run_as, config.is_transparent()).map_err(Error::Privileges)?;
    if let Some(Became { uid, gid, groups }) = became {
        tracing::info!(user = %run_as.user, uid, gid, ?groups, "root is left for good; ports below 1024 can still be opened");
    }
    Ok(())
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
