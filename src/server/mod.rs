//! Server: starts the threads, waits for signals, drains, prints totals.

mod announcing;
mod ending;
mod error;
mod logging;
mod recording;
mod refusals;
mod requests;
mod starting;
mod supervision;
mod threads;
mod upgrading;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use signal_hook::consts::SIGHUP;

use crate::activation::Activation;
use crate::admin::Admin;
use crate::bind::{self, Passed};
use crate::config::{Config, Source};
use crate::control::Control;
use crate::explain;
use crate::health::{Order, Refusal};
use crate::net;
use crate::output::Output;
use crate::phase::PhaseFlag;
use crate::stats::Stats;
use crate::status;
use crate::table::BackendTable;
use crate::times::Times;
use crate::upgrade::{Predecessor, Program};

pub use error::Error;
use logging::Logging;
use recording::Recording;
use refusals::Refusals;
pub use requests::{Request, requests};
use starting::HealthGuard;
use supervision::Supervision;
use threads::Event;
use upgrading::Upgrading;

/// How long the workers may take to cut off what is left.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Runs ringway until a signal ends it. Returns once all is over and told; the process should exit then.
pub fn run(config: Config, source: Source, output: Output) -> Result<(), Error> {
    net::use_small_pages();
    let program = Program::own();
    // Before anything of ours is open: a manager that promises more than it passes must not be given that.
    let activation = Activation::from_environment();
    let (requests, _) = requests()?;
    let (predecessor, inherited) = Predecessor::from_environment().map_err(Error::Upgrade)?.unzip();
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
    /// Whether we were started from a terminal, whose end is ours.
    has_terminal: bool,
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

impl Server {
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
        let shortages = status::shortages(&generation.stats, &generation.config.listeners, drops);
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
        let mut refusals = Refusals::new(Instant::now());
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
                Ok(Request::Reload) if !self.control.has_file() && !self.has_terminal => {
                    tracing::warn!(
                        "SIGHUP: there is no file to read again, as flags say what is served; all goes on"
                    );
                    self.reopen_log();
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
            refusals.look(&self.control.generation(), now);
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
                self.control.tell_of(&reload, "SIGHUP");
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
}
