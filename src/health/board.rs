//! Board: the states of all backends, and the table that is published next.
//!
//! Checks, sessions, time and operators write here. Whatever they change is logged here, once, with its reason.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Notify;

use crate::changes::{self, Changes};
use crate::config::{self, Address, Check, Config, InitialState};
use crate::epoch::Publisher;
use crate::stats::Stats;
use crate::table::{self, Backend, BackendId, BackendTable, Health, Mode, State};

use super::adoption::Earlier;
use super::ejection::{Cause, Census, Ejection, Turn, ordinal};
use super::order::Order;
use super::ramp;
use super::sessions::{Failures, Row, Tally};
use super::state::{Change, HealthState, Sessions};

/// The states of all backends, and the table that is published next.
pub(crate) struct Board {
    pub(super) config: Arc<Config>,
    pub(super) stats: Arc<Stats>,
    pub(super) publisher: Publisher,
    pub(super) next: BackendTable,
    pub(super) entries: Vec<Entry>,
    /// Told when there is something to publish.
    pub(super) changed: Rc<Notify>,
    /// What the workers' counts of all failures stood at.
    failures_seen: u64,
    /// Configurations before this one that may still have sessions.
    pub(super) earlier: Vec<Earlier>,
    /// Where changes of state are kept for who asks.
    changes: Arc<Changes>,
}

/// What is known of one backend beside what the table says.
pub(super) struct Entry {
    pub(super) checks: HealthState,
    pub(super) ejection: Ejection,
    pub(super) tally: Tally,
    /// Since when it has been back, while it starts slowly.
    returned: Option<Instant>,
    /// Whether it could ever not serve. Before that there is nothing to come back from.
    has_been_out: bool,
    /// What its checks are made for.
    pub(super) ticket: Rc<Ticket>,
}

impl Entry {
    /// Nothing heard yet.
    pub(super) fn new(config: &Config, stats: &Stats, backend: &Backend, now: Instant) -> Entry {
        let spec = &config.pools[backend.pool];
        Entry {
            checks: unheard(&spec.health),
            ejection: Ejection::new(spec.ejection, backend.health.state == State::Up, now),
            tally: Tally::new(stats, backend.id),
            returned: None,
            has_been_out: false,
            ticket: Ticket::new(backend.id),
        }
    }
}

/// What the checks of one backend are made for, for as long as they are made in the same way.
#[derive(Debug)]
pub(super) struct Ticket {
    /// Which backend it is now; `None` when these checks are over.
    id: Cell<Option<BackendId>>,
    /// Told when the next check may be due earlier, or never.
    paced: Notify,
}

impl Ticket {
    pub(super) fn new(id: BackendId) -> Rc<Ticket> {
        Rc::new(Ticket { id: Cell::new(Some(id)), paced: Notify::new() })
    }

    /// Which backend it is, if it is still checked like this.
    pub(super) fn id(&self) -> Option<BackendId> {
        self.id.get()
    }

    /// It is this backend now.
    pub(super) fn pass_to(&self, id: BackendId) {
        self.id.set(Some(id));
    }

    /// Until something may have changed.
    pub(super) async fn paced(&self) {
        self.paced.notified().await;
    }

    /// These checks are over.
    pub(super) fn end(&self) {
        self.id.set(None);
        self.paced.notify_one();
    }
}

/// When to check a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// So long after the last one.
    Every(Duration),
    /// Not until it changes.
    Rest,
}

impl Board {
    /// What the publisher's table says, and nothing heard yet.
    pub(crate) fn new(config: Arc<Config>, stats: Arc<Stats>, publisher: Publisher, now: Instant) -> Board {
        let next = publisher.current().as_ref().clone();
        let entry = |backend: &Backend| Entry::new(&config, &stats, backend, now);
        let entries = next.backends.iter().map(entry).collect();
        let failures_seen = stats.sum(|worker| &worker.core.failures);
        Board {
            config,
            stats,
            publisher,
            next,
            entries,
            changed: Rc::default(),
            failures_seen,
            earlier: Vec::new(),
            changes: Arc::default(),
        }
    }

    /// Where it is to keep changes of state.
    pub(super) fn keep_changes_in(&mut self, changes: Arc<Changes>) {
        self.changes = changes;
    }

    /// Told when there is something to publish.
    pub(crate) fn changed(&self) -> Rc<Notify> {
        Rc::clone(&self.changed)
    }

    /// What checks are made for: the backends whose pools want them.
    pub(super) fn tickets(&self) -> Vec<Rc<Ticket>> {
        let wants = |backend: &&Backend| self.spec(backend.id).check != Check::None;
        let ticket = |backend: &Backend| Rc::clone(&self.entries[backend.id.index()].ticket);
        self.next.backends.iter().filter(wants).map(ticket).collect()
    }

    /// What its pool wants.
    pub(super) fn spec(&self, id: BackendId) -> &config::Health {
        &self.config.pools[self.backend(id).pool].health
    }

    /// The backend as the next table has it.
    pub(super) fn backend(&self, id: BackendId) -> &Backend {
        &self.next.backends[id.index()]
    }

    /// What the file says of it.
    pub(super) fn file(&self, id: BackendId) -> &config::Backend {
        let pool = self.backend(id).pool;
        &self.config.pools[pool].backends[id.index() - self.next.pools[pool].start]
    }

    /// Where it is checked: its own address for checks goes before the pool's port for them.
    pub(super) fn check_address(&self, id: BackendId) -> Address {
        let backend = self.backend(id);
        let pool = &self.config.pools[backend.pool];
        self.file(id).check_address.unwrap_or_else(|| backend.address.at_port(pool.health.port))
    }

    /// The name of its pool.
    pub(super) fn pool_name(&self, id: BackendId) -> &str {
        &self.config.pools[self.backend(id).pool].name
    }

    /// When to check it.
    pub(super) fn pace(&self, id: BackendId) -> Pace {
        if self.backend(id).mode == Mode::Maintenance {
            return Pace::Rest;
        }
        Pace::Every(self.entries[id.index()].checks.interval(self.spec(id)))
    }

    /// Takes the result of a check. One that was under way when maintenance began says nothing.
    pub(crate) fn observe(
        &mut self,
        id: BackendId,
        passed: bool,
        reason: impl FnOnce() -> String,
        now: Instant,
    ) {
        if self.backend(id).mode == Mode::Maintenance {
            return;
        }
        match self.entries[id.index()].checks.observe(passed) {
            Some(Change::Up) => self.set(id, State::Up, reason(), now),
            Some(Change::Down) => self.set(id, State::Down, reason(), now),
            Some(Change::Confirmed) => self.confirm(id, reason()),
            None => {}
        }
    }

    /// Looks at what sessions met and at what time has brought.
    pub(crate) fn look(&mut self, now: Instant) {
        let failures = self.stats.sum(|worker| &worker.core.failures);
        if failures != self.failures_seen {
            self.failures_seen = failures;
            self.heed_sessions(now);
        }
        for index in 0..self.entries.len() {
            let id = BackendId::new(index);
            if self.entries[index].ejection.is_out() {
                self.turn(id, now);
            }
            if let Some(returned) = self.entries[index].returned {
                self.climb(id, now - returned);
            }
        }
    }

    fn heed_sessions(&mut self, now: Instant) {
        let stats = Arc::clone(&self.stats);
        for index in 0..self.entries.len() {
            let id = BackendId::new(index);
            let Some(failures) = self.entries[index].tally.look(&stats, id) else { continue };
            if self.backend(id).mode == Mode::Maintenance {
                continue;
            }
            if self.spec(id).passive && self.spec(id).check != Check::None {
                self.heed_connects(id, failures, now);
            }
            if self.entries[index].ejection.calls_for(failures.row.len()) {
                self.eject(id, failures.row, now);
            }
        }
    }

    /// Failed connects of sessions count as failed checks.
    fn heed_connects(&mut self, id: BackendId, failures: Failures, now: Instant) {
        let (failed, in_row) = (failures.connects_new, failures.connects_in_row);
        let entry = &mut self.entries[id.index()];
        let change = entry.checks.heed(Sessions { failed, in_row });
        if failed > 0 {
            entry.ticket.paced.notify_one();
        }
        if change == Some(Change::Down) {
            self.set(id, State::Down, format!("sessions could not connect ({in_row} in a row)"), now);
        }
    }

    fn eject(&mut self, id: BackendId, row: Row, now: Instant) {
        let pool = self.backend(id).pool;
        if !self.census(pool).lets_go(self.config.pools[pool].ejection.share_max) {
            return;
        }
        let cause = if row.unanswered > 0 { Cause::Answer } else { Cause::Connect };
        let ejection = &mut self.entries[id.index()].ejection;
        let time = ejection.eject(cause, now);
        let (failed, nth) = (row.len(), ordinal(ejection.count()));
        let reason = format!(
            "{failed} sessions failed in a row ({}); ejected for {time:?}, {nth} time",
            row.describe()
        );
        self.set(id, State::Ejected, reason, now);
    }

    fn census(&self, pool: usize) -> Census {
        let places = self.next.pools[pool].clone();
        let (backends, entries) = (&self.next.backends[places.clone()], &self.entries[places]);
        Census {
            all: backends.len(),
            open: backends.iter().filter(|backend| backend.is_open()).count(),
            out: entries.iter().filter(|entry| entry.ejection.is_out()).count(),
        }
    }

    /// An ejection that is over, a trial that has come to its end.
    fn turn(&mut self, id: BackendId, now: Instant) {
        let is_alone = self.census(self.backend(id).pool).open == 0;
        let gate = Arc::clone(&self.backend(id).gate);
        let ejection = &mut self.entries[id.index()].ejection;
        match ejection.turn(gate.trial(), is_alone, now) {
            Some(Turn::Try) => {
                gate.open_trial();
                let reason = if is_alone { "no other backend is up" } else { "its time is over" };
                self.set(id, State::OnTrial, format!("{reason}; the next session decides"), now);
            }
            Some(Turn::TryAgain) => gate.widen_trial(),
            Some(Turn::Back(cause)) => {
                let got = if cause == Cause::Connect { "got a connection" } else { "was answered" };
                self.set(id, State::Up, format!("trial session {got}"), now);
            }
            Some(Turn::OutAgain(time)) => {
                let nth = ordinal(ejection.count());
                let reason = format!("trial session failed; ejected for {time:?}, {nth} time");
                self.set(id, State::Ejected, reason, now);
            }
            None => {}
        }
    }

    /// Gives a backend that has come back more of its share.
    fn climb(&mut self, id: BackendId, since_return: Duration) {
        let slow_start = self.config.pools[self.backend(id).pool].slow_start;
        let percent = slow_start.map_or(100, |slow_start| ramp::percent(since_return, slow_start));
        if percent == 100 {
            self.entries[id.index()].returned = None;
        }
        if percent != self.backend(id).ramp {
            self.set_ramp(id, percent);
        }
    }

    fn set_ramp(&mut self, id: BackendId, percent: u32) {
        let max_connections = ramp::limit(self.file(id).max_connections, percent);
        let backend = &mut self.next.backends[id.index()];
        (backend.ramp, backend.max_connections) = (percent, max_connections);
        self.changed.notify_one();
    }

    /// Does what an operator wants.
    pub(super) fn obey(&mut self, order: Order, now: Instant) {
        match order {
            Order::SetMode { backend, mode } => self.set_mode(backend, mode, now),
            Order::SetWeight { backend, weight } => self.set_weight(backend, weight),
        }
    }

    fn set_weight(&mut self, id: BackendId, weight: u32) {
        let backend = &mut self.next.backends[id.index()];
        let before = std::mem::replace(&mut backend.weight, weight);
        if before != weight {
            self.changed.notify_one();
            let (backend, pool) = (self.backend(id), self.pool_name(id));
            tracing::info!(
                %pool, backend = %backend.name, address = %backend.address, before, weight,
                "an operator set the weight"
            );
        }
    }

    fn set_mode(&mut self, id: BackendId, mode: Mode, now: Instant) {
        let backend = &mut self.next.backends[id.index()];
        let before = std::mem::replace(&mut backend.mode, mode);
        if before == mode {
            return;
        }
        backend.mode_since = now;
        self.changed.notify_one();
        self.entries[id.index()].ticket.paced.notify_one();
        let (pool, backend) = (self.pool_name(id), self.backend(id));
        tracing::info!(
            %pool, backend = %backend.name, address = %backend.address, before = before.name(), mode = mode.name(),
            "an operator set the mode"
        );
        if mode == Mode::Maintenance {
            self.lose(id);
            self.entries[id.index()].ejection.suspend(now);
            self.entries[id.index()].has_been_out = true;
        } else if before == Mode::Maintenance {
            self.forget(id, now);
        }
    }

    /// After maintenance nothing is known: it may be another machine. It begins as at the start of the process.
    fn forget(&mut self, id: BackendId, now: Instant) {
        let spec = &self.config.pools[self.backend(id).pool];
        let checks = unheard(&spec.health);
        let state = if checks.is_up() { State::Up } else { State::Down };
        let entry = &mut self.entries[id.index()];
        entry.checks = checks;
        entry.ejection = Ejection::new(spec.ejection, state == State::Up, now);
        let is_checked = spec.health.check != Check::None;
        let reason = if is_checked { "not checked since its maintenance" } else { table::UNCHECKED }.into();
        self.next.backends[id.index()].health = Health { state, since: now, reason };
        if state == State::Up {
            self.begin_service(id, now);
        }
    }

    /// Writes a change into the next table, and into the log.
    fn set(&mut self, id: BackendId, state: State, reason: String, now: Instant) {
        let backend = &self.next.backends[id.index()];
        let before = backend.health.state;
        assert_ne!(before, state, "a change changes something");
        let (pool, name, address) = (&self.config.pools[backend.pool].name, &backend.name, backend.address);
        let (was, lasted) = (before.name(), format!("{:.1}s", (now - backend.health.since).as_secs_f64()));
        match state {
            State::Up => {
                tracing::info!(%pool, backend = %name, %address, reason, was, %lasted, "backend is up");
            }
            State::Down => {
                tracing::warn!(%pool, backend = %name, %address, reason, was, %lasted, "backend is down");
            }
            State::Ejected => {
                tracing::warn!(%pool, backend = %name, %address, reason, was, %lasted, "backend is ejected");
            }
            State::OnTrial => {
                tracing::info!(%pool, backend = %name, %address, reason, was, %lasted, "backend is on trial");
            }
        }
        self.changes.note(changes::Change {
            at: SystemTime::now(),
            what: format!("pool {pool}, backend {name}"),
            from: before.name().to_owned(),
            to: state.name().to_owned(),
            reason: reason.clone(),
            who: "health".to_owned(),
        });
        self.next.backends[id.index()].health = Health { state, since: now, reason: reason.into() };
        self.changed.notify_one();
        match state {
            State::Up => self.begin_service(id, now),
            State::Down => {
                self.lose(id);
                self.entries[id.index()].ejection.suspend(now);
                self.end_service(id);
            }
            State::Ejected | State::OnTrial => self.end_service(id),
        }
    }

    /// Those who have a session there, or are connecting, will be told with the next table.
    fn lose(&mut self, id: BackendId) {
        self.next.backends[id.index()].lost_at = self.next.epoch + 1;
    }

    fn begin_service(&mut self, id: BackendId, now: Instant) {
        let entry = &mut self.entries[id.index()];
        entry.tally.begin_again(&self.stats, id);
        entry.ejection.resume(now);
        let slow_start = self.config.pools[self.next.backends[id.index()].pool].slow_start;
        if entry.has_been_out && slow_start.is_some() {
            entry.returned = Some(now);
            self.set_ramp(id, 1);
        }
    }

    /// In a panic those that are down serve too, and then each with its whole share.
    fn end_service(&mut self, id: BackendId) {
        let entry = &mut self.entries[id.index()];
        entry.has_been_out = true;
        if entry.returned.take().is_some() {
            self.set_ramp(id, 100);
        }
    }

    /// What was held of a backend has been heard of it too. No change for anybody but who reads the table.
    fn confirm(&mut self, id: BackendId, reason: String) {
        let health = &mut self.next.backends[id.index()].health;
        match health.state {
            State::Up => {}
            State::Down => self.entries[id.index()].has_been_out = true,
            // The reason is the sessions'.
            State::Ejected | State::OnTrial => return,
        }
        health.reason = reason.into();
        self.changed.notify_one();
    }

    /// Makes the next table the present one.
    pub(crate) fn publish(&mut self) {
        self.next.epoch += 1;
        self.publisher.publish(self.next.clone());
        self.tell_earlier();
    }
}

/// Before anything has been heard. Where nothing is checked nothing will be: such a backend is up.
fn unheard(spec: &config::Health) -> HealthState {
    let initial = if spec.check == Check::None { InitialState::FullyUp } else { spec.initial_state };
    HealthState::new(spec.rise, spec.fall, initial)
}

#[cfg(test)]
mod tests;
