//! Adoption: how what is known of backends goes on under another configuration.
//!
//! What both configurations have keeps its state, its mode, its running checks and what its sessions met. Sessions of the
//! earlier one go on with the table they know: it is published on, with the news of those that are still there.

use std::mem;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Instant;

use super::board::{Board, Entry, Ticket};
use super::ejection::Ejection;
use super::probe::Probes;
use super::ramp;
use super::state::HealthState;
use crate::config::{self, Check, Config, InitialState};
use crate::epoch::{self, Publisher, Subscriber};
use crate::lineage::Lineage;
use crate::stats::Stats;
use crate::table::{Backend, BackendId, BackendTable, Health, Mode, State};

/// Another configuration.
pub struct Adoption {
    /// What is asked for.
    pub config: Arc<Config>,
    /// What it has of the one before.
    pub lineage: Lineage,
    /// How the backends of each pool are checked.
    pub probes: Probes,
    /// Where the workers count failures.
    pub stats: Arc<Stats>,
    /// Told where the tables of this configuration come from.
    pub reply: Sender<Subscriber>,
}

/// A configuration that may still have sessions.
pub(super) struct Earlier {
    publisher: Publisher,
    config: Arc<Config>,
    /// What its backends are now.
    heirs: Vec<Option<BackendId>>,
}

impl Board {
    /// Goes on under another configuration. Returns where its tables come from, and what checks have to be begun for.
    pub(super) fn adopt(
        &mut self,
        config: Arc<Config>,
        stats: Arc<Stats>,
        lineage: &Lineage,
        now: Instant,
    ) -> (Subscriber, Vec<Rc<Ticket>>) {
        let mut next = BackendTable::first(&config.pools, now);
        // Sessions of the earlier configuration are told of losses by the same count.
        next.epoch = self.next.epoch + 1;
        let before = mem::take(&mut self.entries);
        let mut before: Vec<Option<Entry>> = before.into_iter().map(Some).collect();
        let (mut entries, mut fresh) = (Vec::with_capacity(next.backends.len()), Vec::new());
        let specs = config.backends().zip(&lineage.backends);
        for (backend, ((pool, file), place)) in next.backends.iter_mut().zip(specs) {
            let known = place.and_then(|place| Some((place, before[place].take()?)));
            let is_checked = pool.health.check != Check::None;
            let (entry, is_fresh) = match known {
                Some((place, entry)) => {
                    let after = After { pool, file, stats: &stats, now };
                    self.carry_on(&after, backend, BackendId::new(place), entry)
                }
                None => (Entry::new(&config, &stats, backend, now), true),
            };
            if is_fresh && is_checked {
                fresh.push(Rc::clone(&entry.ticket));
            }
            entries.push(entry);
        }
        before.into_iter().flatten().for_each(|entry| entry.ticket.end());

        let (publisher, subscriber) = epoch::channel(next.clone());
        for earlier in &mut self.earlier {
            earlier.heirs = earlier.config.found_in(&config);
        }
        let heirs = lineage.heirs(self.next.backends.len());
        let publisher = mem::replace(&mut self.publisher, publisher);
        self.earlier.push(Earlier { publisher, config: Arc::clone(&self.config), heirs });
        (self.config, self.stats, self.next, self.entries) = (config, stats, next, entries);
        self.tell_earlier();
        (subscriber, fresh)
    }

    /// Takes what is known of a backend over into the next table. Returns it, and whether its checks have to be begun.
    fn carry_on(
        &self,
        after: &After<'_>,
        backend: &mut Backend,
        was: BackendId,
        mut entry: Entry,
    ) -> (Entry, bool) {
        let After { pool: spec, file, stats, now } = *after;
        let (old, old_file) = (self.backend(was), self.file(was));
        let old_spec = &self.config.pools[old.pool];
        // What an operator set stays until the file says something else than before.
        if file.weight == old_file.weight {
            backend.weight = old.weight;
        }
        (backend.mode, backend.mode_since) = (old.mode, old.mode_since);
        backend.health = old.health.clone();
        backend.lost_at = old.lost_at;
        backend.gate = Arc::clone(&old.gate);
        backend.ramp = old.ramp;
        backend.max_connections = ramp::limit(backend.max_connections, old.ramp);

        if spec.ejection != old_spec.ejection {
            let serves = backend.health.state != State::Down && backend.mode != Mode::Maintenance;
            entry.ejection = Ejection::new(spec.ejection, serves, now);
            if matches!(backend.health.state, State::Ejected | State::OnTrial) {
                entry.comes_back(backend, stats, "a reload has changed when it is ejected", now);
            }
        }
        let is_checked_alike = spec.health == old_spec.health && file.check_address == old_file.check_address;
        if is_checked_alike {
            entry.ticket.pass_to(backend.id);
            return (entry, false);
        }
        entry.ticket.end();
        entry.ticket = Ticket::new(backend.id);
        if spec.health.check == Check::None && backend.health.state == State::Down {
            entry.comes_back(backend, stats, "a reload has ended its checks", now);
        }
        let is_up = backend.health.state != State::Down;
        let initial = if is_up { InitialState::FullyUp } else { InitialState::FullyDown };
        entry.checks = HealthState::new(spec.health.rise, spec.health.fall, initial);
        (entry, true)
    }

    /// Publishes to sessions of earlier configurations what has become of their backends.
    pub(super) fn tell_earlier(&mut self) {
        let next = &self.next;
        self.earlier.retain_mut(|earlier| earlier.follow(next));
    }
}

/// What a backend is carried over to.
struct After<'a> {
    pool: &'a config::Pool,
    file: &'a config::Backend,
    stats: &'a Stats,
    now: Instant,
}

impl Entry {
    /// A backend serves again, because a reload has changed what kept it from that.
    fn comes_back(&mut self, backend: &mut Backend, stats: &Stats, why: &str, now: Instant) {
        backend.health = Health { state: State::Up, since: now, reason: why.into() };
        self.tally.begin_again(stats, backend.id);
        if backend.mode != Mode::Maintenance {
            self.ejection.resume(now);
        }
    }
}

impl Earlier {
    /// Tells what has become of its backends. False when nobody is left who could hear it.
    fn follow(&mut self, next: &BackendTable) -> bool {
        if !self.publisher.is_heard() {
            return false;
        }
        let mut table = self.publisher.current().as_ref().clone();
        if next.epoch <= table.epoch {
            return true;
        }
        table.epoch = next.epoch;
        for (backend, heir) in table.backends.iter_mut().zip(&self.heirs) {
            match heir.map(|id| &next.backends[id.index()]) {
                Some(heir) => {
                    backend.weight = heir.weight;
                    backend.ramp = heir.ramp;
                    backend.max_connections = heir.max_connections;
                    (backend.mode, backend.mode_since) = (heir.mode, heir.mode_since);
                    backend.gate = Arc::clone(&heir.gate);
                    backend.health = heir.health.clone();
                    backend.lost_at = heir.lost_at;
                }
                None => backend.mode = Mode::Drain,
            }
        }
        self.publisher.publish(table);
        true
    }
}
