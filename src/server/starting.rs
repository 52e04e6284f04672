//! Starting: binds every listener, then starts every thread. Read [`Server::start_after`].

use std::fs::File;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc as tokio_mpsc, oneshot};

use super::logging::Logging;
use super::recording::Recording;
use super::threads::{Event, spawn};
use super::upgrading::Upgrading;
use super::{CLOSE_TIMEOUT, Error, Server};
use crate::admin::{self, Admin};
use crate::bind::{self, Adjust, Passed};
use crate::changes::Changes;
use crate::config::{Config, Engine, Source, Workers};
use crate::control::{self, Control};
use crate::figures;
use crate::generation::Generation;
use crate::handover::{self, Boxes};
use crate::health::{self, Probes};
use crate::limits;
use crate::lists;
use crate::net;
use crate::phase::{Phase, PhaseFlag};
use crate::privileges::{self, Became};
use crate::ring;
use crate::samples;
use crate::upgrade::{Inherited, Predecessor};
use crate::worker::{self, Start};
/// How long the workers may take to be ready.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Descriptors for which the kernel's table has room from the start, at most.
const DESCRIPTORS_AT_START_MAX: u64 = 1 << 20;
/// How long the process before may take to leave the address of the admin API.
const ADMIN_TIMEOUT: Duration = Duration::from_secs(5);
/// From one try to have it to the next.
const ADMIN_PAUSE: Duration = Duration::from_millis(20);

/// Ends the health thread by drop, and waits until it has: the programs that check end with it.
pub(super) struct HealthGuard {
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
    pub(super) fn start_after(
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
            has_terminal: File::open("/dev/tty").is_ok(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroUsize;

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
