//! Access: who is let in at a listener, decided before anything of a session is made.
//!
//! A [`Door`] is one listener's, shared by all workers. It asks in two steps, because a connection's address is known only
//! when it has been accepted: a [`Turn`] is taken before that, where clients are to wait in the kernel's queue; with the
//! address it becomes a [`Pass`], which the session keeps and which gives back by drop what it counts. So counts of sessions
//! are exact over all workers, and rates are late by no more than the moment that a batch shares.

mod example;
mod rate;
mod refused;
mod rules;
mod sources;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::config::{Config, Listener, Over, Standing};
use crate::lineage::Lineage;

pub use example::Example;
pub use rate::{Gauge, Rate, nanos};
pub use refused::Refused;
pub use rules::Rules;
pub use sources::{Allowance, Bits, Held, Sources};

/// Who is let in at one listener, under one configuration.
#[derive(Debug)]
pub struct Door {
    rules: Rules,
    sessions_max: Option<u64>,
    /// Sessions with a pass; shared with the doors before and after this one, as all that counts is.
    sessions: Arc<AtomicU64>,
    rate: Option<Rate>,
    gauge: Arc<Gauge>,
    over: Over,
    allowance: Allowance,
    sources: Option<Arc<Sources>>,
    /// The rate of the whole process.
    rate_max: Option<Rate>,
    process: Arc<Gauge>,
    example: Arc<Example>,
}

/// The doors of a configuration, by listener. `rules` are those of each; `before` the doors before a reload.
pub fn doors(config: &Config, rules: Vec<Rules>, before: Option<(&[Door], &Lineage)>) -> Box<[Door]> {
    assert_eq!(rules.len(), config.listeners.len());
    let process = before.and_then(|(doors, _)| doors.first()).map(|door| Arc::clone(&door.process));
    let process = process.unwrap_or_default();
    let heir = |place: usize| before.and_then(|(doors, lineage)| Some(&doors[lineage.listeners[place]?]));
    let listeners = config.listeners.iter().zip(rules).enumerate();
    let rate_max = config.server.rate_max.map(Rate::new);
    listeners
        .map(|(place, (spec, rules))| Door {
            rate_max,
            process: Arc::clone(&process),
            ..Door::new(spec, rules, heir(place))
        })
        .collect()
}

impl Door {
    /// One listener's. What `before` counts is counted on.
    pub fn new(spec: &Listener, rules: Rules, before: Option<&Door>) -> Door {
        let limits = &spec.limits;
        let bits = Bits { v4: limits.source_prefix_v4, v6: limits.source_prefix_v6 };
        let fitting = |sources: &&Arc<Sources>| sources.is_for(limits.sources_max, bits);
        let known = before.and_then(|door| door.sources.as_ref()).filter(fitting);
        // Under another prefix every source is a new one; the sessions that run are counted where they were.
        let sources = limits.has_sources().then(|| {
            let new = || Arc::new(Sources::new(limits.sources_max, bits, fastrand::u64(..)));
            known.map_or_else(new, Arc::clone)
        });
        Door {
            rules,
            sessions_max: limits.sessions_max.map(|max| u64::from(max.get())),
            sessions: before.map(|door| Arc::clone(&door.sessions)).unwrap_or_default(),
            rate: limits.rate.map(Rate::new),
            gauge: before.map(|door| Arc::clone(&door.gauge)).unwrap_or_default(),
            over: limits.over,
            allowance: Allowance {
                sessions: limits.sessions_per_source.map(|max| max.get()),
                rate: limits.rate_per_source.map(Rate::new),
            },
            sources,
            rate_max: None,
            process: Arc::default(),
            example: before.map(|door| Arc::clone(&door.example)).unwrap_or_default(),
        }
    }

    /// Takes the next one's place, before it is known who that is.
    ///
    /// # Errors
    ///
    /// Who comes next has to wait.
    pub fn turn(&self, now: u64) -> Result<Turn<'_>, Wait> {
        // What was taken before one that fails is given back by drop.
        let mut turn = Turn { door: self, place: None, has_rate: false, has_process_rate: false };
        if let Some(rate) = self.rate_max {
            self.process.take(rate, now).map_err(Wait::Rate)?;
            turn.has_process_rate = true;
        }
        if self.over == Over::Wait {
            turn.take_place().map_err(|()| Wait::Full)?;
            turn.take_rate(now).map_err(Wait::Rate)?;
        }
        Ok(turn)
    }

    /// How the rules see an address. For who learns later who a client really is.
    pub fn verdict(&self, address: IpAddr) -> Standing {
        self.rules.verdict(address)
    }

    /// What the rules are.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Asks again for a session whose client turns out to be another one. Its counts by source move there.
    ///
    /// # Errors
    ///
    /// Why the session has to end.
    pub fn ask_again(&self, pass: &mut Pass, address: IpAddr, now: u64) -> Result<(), Refused> {
        let source = self.ask(Some(address), now)?;
        pass.source = source;
        Ok(())
    }

    /// Sessions with a pass: all since sessions of this listener are limited.
    pub fn sessions(&self) -> u64 {
        self.sessions.load(Ordering::Relaxed)
    }

    /// Connections whose source found no place among those that are known.
    pub fn unknown_sources(&self) -> u64 {
        self.sources.as_ref().map_or(0, |sources| sources.unknown())
    }

    /// Somebody who was refused, for the log to name.
    pub fn example(&self) -> &Example {
        &self.example
    }

    /// What depends on who it is. Somebody without an address, on a Unix socket, may always come.
    fn ask(&self, address: Option<IpAddr>, now: u64) -> Result<Option<Source>, Refused> {
        let Some(address) = address else { return Ok(None) };
        if self.rules.verdict(address) == Standing::Deny {
            return Err(Refused::Denied);
        }
        let Some(sources) = &self.sources else { return Ok(None) };
        let held = sources.enter(address, self.allowance, now)?;
        Ok(held.map(|held| Source { sources: Arc::clone(sources), held }))
    }
}

/// Why nobody has a turn now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// There are as many sessions as there may be.
    Full,
    /// So many have come that the next one comes after this long.
    Rate(Duration),
}

/// One more may come. Gives back by drop what it has taken, unless somebody comes in.
#[derive(Debug)]
pub struct Turn<'d> {
    door: &'d Door,
    place: Option<Place>,
    has_rate: bool,
    has_process_rate: bool,
}

impl Turn<'_> {
    /// Lets one in, whose address this is.
    ///
    /// # Errors
    ///
    /// Why not. Then it has counted nowhere.
    pub fn enter(mut self, address: Option<IpAddr>, now: u64) -> Result<Pass, Refused> {
        let source = self.door.ask(address, now)?;
        if self.door.over == Over::Refuse {
            self.take_place().map_err(|()| Refused::Full)?;
            self.take_rate(now).map_err(|_| Refused::Rate)?;
        }
        (self.has_rate, self.has_process_rate) = (false, false);
        Ok(Pass { place: self.place.take(), source })
    }

    fn take_place(&mut self) -> Result<(), ()> {
        let Some(max) = self.door.sessions_max else { return Ok(()) };
        let one_more = |count: u64| (count < max).then_some(count + 1);
        // Relaxed: the count is all that is known of the sessions here.
        let taken = self.door.sessions.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        taken.map_err(drop)?;
        self.place = Some(Place(Arc::clone(&self.door.sessions)));
        Ok(())
    }

    fn take_rate(&mut self, now: u64) -> Result<(), Duration> {
        let Some(rate) = self.door.rate else { return Ok(()) };
        self.door.gauge.take(rate, now)?;
        self.has_rate = true;
        Ok(())
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let Door { rate, gauge, rate_max, process, .. } = self.door;
        if let Some(rate) = rate.filter(|_| self.has_rate) {
            gauge.give_back(rate);
        }
        if let Some(rate) = rate_max.filter(|_| self.has_process_rate) {
            process.give_back(rate);
        }
    }
}

/// Somebody is in. Gives back by drop, on whichever thread that is.
#[derive(Debug, Default)]
pub struct Pass {
    place: Option<Place>,
    source: Option<Source>,
}

impl Pass {
    /// Whether it counts anywhere.
    pub fn is_counted(&self) -> bool {
        self.place.is_some() || self.source.is_some()
    }
}

/// One of the sessions of a listener.
#[derive(Debug)]
struct Place(Arc<AtomicU64>);

impl Drop for Place {
    fn drop(&mut self) {
        let before = self.0.fetch_sub(1, Ordering::Relaxed);
        assert!(before > 0, "a count goes below zero");
    }
}

/// One of the sessions of a source.
#[derive(Debug)]
struct Source {
    sources: Arc<Sources>,
    held: Held,
}

impl Drop for Source {
    fn drop(&mut self) {
        self.sources.leave(&self.held);
    }
}

#[cfg(test)]
mod tests;
