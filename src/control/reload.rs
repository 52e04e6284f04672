//! Reload: from one configuration to the next while everything goes on, or not at all.
//!
//! What can fail comes first: the file, the checks' files, the limits, the new sockets. Then the parts of the process adopt the
//! new configuration one after the other: the health thread, which makes its table of backends; the thread that makes
//! figures; the workers, each at its next tick. When all of them have, it is the present one.

use std::fmt;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc::error::TrySendError;

use super::Control;
use super::upgrade::ERRAND_TIMEOUT;
use crate::access::{self, Door, Rules};
use crate::arrivals::Setting;
use crate::bind;
use crate::changes::Change;
use crate::config::{Address, Check, Config, Errors, Listener, Pool, Source};
use crate::generation::Generation;
use crate::health::{self, Probes, Refusal, Unusable, Wish};
use crate::limits::{self, Limits, TooFewFiles};
use crate::lineage::Lineage;
use crate::lists;
use crate::plan::{self, Kind, Plan, Sessions};
use crate::premises;
use crate::record;
use crate::table::BackendId;
use crate::worker::{Adoption, Errand};

/// After how long a part of the process that has not adopted a configuration is told of: very many ticks.
const ADOPT_TIMEOUT: Duration = Duration::from_secs(10);
/// Earlier configurations that may still have sessions. Each costs memory that grows with its backends and workers.
const EARLIER_MAX: usize = 1_024;

/// What a reload did, or would do.
#[derive(Debug, Clone)]
pub struct Reload {
    /// The number of the configuration that was in force before.
    pub before: u64,
    /// The number of the configuration that is in force now.
    pub generation: u64,
    /// What has changed, or would.
    pub plan: Plan,
}

impl Reload {
    /// What is kept of it for those who ask what has changed lately, if anything has.
    fn change(&self, who: &str) -> Option<Change> {
        let count = self.plan.changes.len() - self.plan.count(Kind::AtRestart);
        if count == 0 || self.generation == self.before {
            return None;
        }
        let [from, to] = [self.before, self.generation].map(|number| format!("generation {number}"));
        let changes = if count == 1 { "change" } else { "changes" };
        Some(Change {
            at: SystemTime::now(),
            what: "configuration".into(),
            from,
            to,
            reason: format!("reloaded: {count} {changes}"),
            who: who.to_owned(),
        })
    }
}

/// Why the configuration stays as it is.
#[derive(Debug)]
pub enum Refused {
    /// There is no file to read again.
    NoFile,
    /// The file is wrong, in these places.
    Wrong(Errors),
    /// A health check could never pass.
    Check(Unusable),
    /// A list of networks is wrong, in these places.
    Lists(lists::Unusable),
    /// The limit on open files is too low.
    TooFewFiles(TooFewFiles),
    /// A listener cannot have its address.
    Bind(bind::Error),
    /// It takes no new sessions any more.
    Ending,
    /// Another process is about to take over.
    Upgrading,
    /// There are no descriptors for an upgrade.
    Descriptors(io::Error),
    /// A worker did not answer in time.
    Stuck,
    /// Very many earlier configurations still have sessions.
    TooMany,
    /// Too many orders wait for the health thread.
    Busy(Refusal),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::NoFile => write!(
                f,
                "there is no file to read again: ringway was started with flags; start it with --config FILE, then it can be \
                 reloaded"
            ),
            Refused::Wrong(errors) => write!(f, "{}", errors.to_string().trim_end()),
            Refused::Check(error) => error.fmt(f),
            Refused::Lists(error) => error.fmt(f),
            Refused::TooFewFiles(error) => error.fmt(f),
            Refused::Bind(error) => error.fmt(f),
            Refused::Ending => {
                write!(f, "ringway is about to end: it finishes the sessions that it has and takes no others")
            }
            Refused::TooMany => write!(
                f,
                "{EARLIER_MAX} earlier configurations still have sessions, and each keeps its own; reload less often, or bound how \
                 long sessions last with listener.lifetime_max or idle_timeout"
            ),
            Refused::Upgrading => write!(
                f,
                "another process is about to take over, with the file as it was when that began; try again when the log says what \
                 came of it, there if it serves"
            ),
            Refused::Descriptors(error) => write!(
                f,
                "the listening sockets cannot be copied: {error}; raise the limit on open files, or try again when fewer sessions \
                 run"
            ),
            Refused::Stuck => {
                write!(f, "a worker did not answer within {ERRAND_TIMEOUT:?}: see the log, and start it anew")
            }
            Refused::Busy(refusal) => refusal.fmt(f),
        }
    }
}

impl std::error::Error for Refused {}

impl Control {
    /// What reading the file again would change.
    ///
    /// # Errors
    ///
    /// Why it would not be done. That an address is taken shows only when it is.
    pub fn plan(&self) -> Result<Reload, Refused> {
        let changing = self.change();
        let next = self.read_again()?;
        let before = self.generation();
        let lineage = Lineage::between(&before.config, &next);
        Probes::new(&next.pools).map_err(Refused::Check)?;
        limits::plan(&next, self.workers(), changing.open_files, self.elsewhere)
            .map_err(Refused::TooFewFiles)?;
        let rules = lists::read(&next).map_err(Refused::Lists)?;
        let plan = plan(&before, &next, &lineage, &rules);
        Ok(Reload { before: before.number, generation: before.number, plan })
    }

    /// Logs what a reload has changed, and keeps that it was and who wanted it.
    pub fn tell_of(&self, reload: &Reload, who: &str) {
        for change in &reload.plan.changes {
            tracing::info!("{}: {} {}", change.kind.word(), change.what, change.how);
        }
        reload.change(who).into_iter().for_each(|change| self.changes().note(change));
    }

    /// Reads the file again and goes on with what it says.
    ///
    /// # Errors
    ///
    /// Why everything stays as it is.
    pub fn reload(&self) -> Result<Reload, Refused> {
        let mut limits = self.change();
        // Not before: of two that come at once the one that reads last is the one that counts.
        let next = self.read_again()?;
        self.adopt_holding(&mut limits, next)
    }

    fn read_again(&self) -> Result<Config, Refused> {
        match &self.source {
            Source::File(path) => premises::load_again(path).map_err(Refused::Wrong),
            Source::Flags => Err(Refused::NoFile),
        }
    }

    /// Goes on with another configuration.
    ///
    /// # Errors
    ///
    /// Why everything stays as it is.
    pub fn adopt(&self, next: Config) -> Result<Reload, Refused> {
        self.adopt_holding(&mut self.change(), next)
    }

    /// The same with the present configuration, changed, which nobody else changes in between.
    ///
    /// # Errors
    ///
    /// Why everything stays as it is.
    pub fn alter<E: From<Refused>>(
        &self,
        alter: impl FnOnce(&Generation, &mut Config) -> Result<(), E>,
    ) -> Result<Reload, E> {
        let mut limits = self.change();
        let before = self.generation();
        let mut next = Config::clone(&before.config);
        alter(&before, &mut next)?;
        Ok(self.adopt_holding(&mut limits, next)?)
    }

    fn adopt_holding(&self, limits: &mut Limits, next: Config) -> Result<Reload, Refused> {
        if !self.is_running() {
            return Err(Refused::Ending);
        }
        if self.is_upgrading.load(Ordering::Relaxed) {
            return Err(Refused::Upgrading);
        }
        let before = self.generation();
        let lineage = Lineage::between(&before.config, &next);
        let rules = lists::read(&next).map_err(Refused::Lists)?;
        let plan = plan(&before, &next, &lineage, &rules);
        let next = plan::in_force(&before.config, next);
        // Files that it names may have changed: authorities that sign certificates.
        let has_files = |pool: &Pool| matches!(pool.health.check, Check::Https(..));
        let has_same_rules = before.doors.iter().map(Door::rules).eq(&rules);
        if next == *before.config && has_same_rules && !next.pools.iter().any(has_files) {
            return Ok(Reload { before: before.number, generation: before.number, plan });
        }

        let workers = self.workers();
        let probes = Probes::new(&next.pools).map_err(Refused::Check)?;
        let room =
            limits::plan(&next, workers, limits.open_files, self.elsewhere).map_err(Refused::TooFewFiles)?;
        let known = |listener: &Listener, place| known_address(&before, listener, place);
        let bound = bind::bind(&next, workers, &mut bind::Passed::default(), known)
            .map_err(|error| Refused::Bind(error.among(&before.addresses)))?;

        if self.earlier() >= EARLIER_MAX {
            return Err(Refused::TooMany);
        }

        // From here on nothing can fail but threads that are dead, of which the server hears and ends.
        let generation = self.tell_health(&before, next, lineage, bound.addresses, (probes, rules))?;
        let _ = self.figures.send(Arc::clone(&generation));
        self.earlier.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&before.stats));
        let sockets = bound.sockets.into_iter().zip(bound.inlets).collect();
        let answers = self.tell_workers(&generation, sockets, room.sessions_max);
        self.sessions_max.store(room.sessions_max, Ordering::Relaxed);
        *limits = room;
        let number = generation.number;
        // Before they have answered: the health thread has it already, and what follows must be made for it. A worker that is
        // late catches up, because errands come in order.
        self.generation.store(generation);
        self.await_workers(&answers);
        Ok(Reload { before: before.number, generation: number, plan })
    }

    /// The health thread makes the first table of the new configuration, from what it knows of the backends.
    fn tell_health(
        &self,
        before: &Generation,
        next: Config,
        lineage: Lineage,
        addresses: Vec<Vec<Address>>,
        (probes, rules): (Probes, Vec<Rules>),
    ) -> Result<Arc<Generation>, Refused> {
        let stats = Arc::new(before.stats.succeed(&lineage).with_shadows(&next.pools));
        let (config, (reply, tables)) = (Arc::new(next), mpsc::channel());
        let adoption = health::Adoption {
            config: Arc::clone(&config),
            lineage: lineage.clone(),
            probes,
            stats: Arc::clone(&stats),
            reply,
        };
        self.wishes.try_send(Wish::Adopt(Box::new(adoption))).map_err(|error| match error {
            TrySendError::Full(_) => Refused::Busy(Refusal::Busy),
            TrySendError::Closed(_) => Refused::Ending,
        })?;
        let tables = loop {
            match tables.recv_timeout(ADOPT_TIMEOUT) {
                Ok(tables) => break tables,
                // Giving up would leave it a configuration ahead.
                Err(RecvTimeoutError::Timeout) => tracing::warn!(
                    "the health thread has not made the table of the new configuration for {ADOPT_TIMEOUT:?}; waiting"
                ),
                Err(RecvTimeoutError::Disconnected) => return Err(Refused::Ending),
            }
        };
        let queue =
            |place: &Option<usize>| place.map_or_else(Arc::default, |at| Arc::clone(&before.queues[at]));
        let generation = Generation {
            number: before.number + 1,
            addresses,
            stats,
            times: Arc::new(before.times.succeed(&lineage)),
            doors: access::doors(&config, rules, Some((&before.doors, &lineage))).into(),
            queues: lineage.pools.iter().map(queue).collect(),
            tables,
            lineage,
            config,
        };
        Ok(Arc::new(generation))
    }

    /// All of them first, then all answers: connections that one hands to another must find it no more than a tick behind.
    fn tell_workers(
        &self,
        generation: &Arc<Generation>,
        sockets: Vec<(bind::Sockets, bind::Inlets)>,
        sessions_max: usize,
    ) -> Receiver<()> {
        let (done, answers) = mpsc::channel();
        let config = &generation.config;
        let setting = config.server.record.as_ref().map(|_| {
            let text = record::setting(config, self.workers());
            Arc::new(Setting { generation: generation.number, text })
        });
        for (worker, (sockets, inlets)) in self.errands.iter().zip(sockets) {
            let generation = Arc::clone(generation);
            let _ = worker.send(Errand::Adopt(Adoption {
                generation,
                sockets,
                inlets,
                sessions_max,
                setting: setting.clone(),
                done: done.clone(),
            }));
        }
        answers
    }

    fn await_workers(&self, answers: &Receiver<()>) {
        let deadline = Instant::now() + ADOPT_TIMEOUT;
        for answered in 0..self.workers() {
            if answers.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_err() {
                let (late, of) = (self.workers() - answered, self.workers());
                tracing::warn!(
                    "{late} of {of} workers have not adopted the new configuration for {ADOPT_TIMEOUT:?}; they will"
                );
                return;
            }
        }
    }
}

fn plan(before: &Generation, next: &Config, lineage: &Lineage, rules: &[Rules]) -> Plan {
    let mut plan = Plan::between(&before.config, next, lineage, before);
    for (place, rules) in rules.iter().enumerate() {
        let was = lineage.listeners[place].map(|was| before.doors[was].rules());
        if was.is_some_and(|was| was != rules) {
            plan.rules_changed(&next.listener_section(place).title);
        }
    }
    plan
}

impl Sessions for Generation {
    fn of_listener(&self, listener: usize) -> u64 {
        self.stats.workers.iter().map(|worker| worker.listeners[listener].active.get()).sum()
    }

    fn of_backend(&self, backend: BackendId) -> u64 {
        self.stats.sessions(backend)
    }
}

/// Where a listener's address really is, if it is bound: an address is the same if the file says the same. Of those that ask
/// for any free port, it is the one at the same place of the listener with the same name.
fn known_address(before: &Generation, listener: &Listener, place: usize) -> Option<Address> {
    let wanted = listener.bind[place];
    let all = before.config.listeners.iter().zip(&before.addresses);
    let mut same = all.filter(|(old, _)| old.protocol == listener.protocol);
    same.find_map(|(old, real)| {
        let at = if wanted.is_any_port() {
            (old.name == listener.name && old.bind.get(place) == Some(&wanted)).then_some(place)
        } else {
            old.bind.iter().position(|&address| address == wanted)
        };
        at.map(|at| real[at])
    })
}
