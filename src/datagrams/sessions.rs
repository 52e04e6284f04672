//! Sessions: how they are found, opened, and brought to their end.

use std::rc::Rc;

use super::flow::{Flow, Key, Unopened, Way};
use super::recency::{Group, Standing, makes_room};
use super::world::World;
use crate::balance::Tried;
use crate::end::End;
use crate::stats::Dropped;
use crate::watch::Peer;

/// Clients of whom it is known which backend has just refused them, at most.
const SHUNNED_MAX: usize = 64;

impl World {
    /// The session that a client's datagram is of.
    pub(super) fn session_for(&mut self, way: &Rc<Way>, key: Key) -> Result<usize, Dropped> {
        let Some(&session) = self.places.get(&key) else { return self.open(way, key) };
        let flow = &self.flows[session];
        if let Some(verdict) = flow.session.watch().verdict() {
            self.close(session, verdict);
            return self.open(way, key);
        }
        if !flow.is_lost() {
            return Ok(session);
        }
        // On a backend that serves, if there is one. If there is none, the one that is lost may still do.
        self.unbind(session);
        match self.open(way, key) {
            Ok(next) => {
                way.counters.borrow().datagrams.rebalanced.add(1);
                Ok(next)
            }
            Err(_) => {
                let flow = self.flows.get_mut(session).ok_or(Dropped::NoBackend)?;
                flow.is_bound = true;
                self.places.insert(key, session);
                Ok(session)
            }
        }
    }

    /// Opens a session for a client.
    pub(super) fn open(&mut self, way: &Rc<Way>, key: Key) -> Result<usize, Dropped> {
        if self.is_ending {
            return Err(Dropped::Ending);
        }
        let told = self.told_of(way, key)?;
        // First: who may not come pushes nobody out.
        let pass = Flow::enter(&self.present, way, (key, told.as_deref()))?;
        self.make_room(way, key.inlet)?;
        let mut tried = Tried::default();
        let generation = self.present.generation;
        if let Some(place) = self.shunned.iter().position(|(client, ..)| *client == key)
            && let Some((_, under, backend)) = self.shunned.remove(place)
            && under == generation
        {
            tried.add(backend);
        }
        let entry = self.flows.vacant_entry();
        let session = entry.key();
        let peer = Peer {
            address: key.real_client(),
            calls: Rc::clone(&self.calls),
            key: session,
            moved: std::cell::Cell::new(self.present.core.now.get()),
            is_owed: std::cell::Cell::default(),
            is_proven: std::cell::Cell::default(),
            is_leaving: Rc::clone(&way.is_leaving),
        };
        let flow = Flow::open(&self.present, way, (key, peer, told.as_deref()), (pass, tried))
            .map_err(|Unopened { why, .. }| why)?;
        if let Err(error) = self.readiness.add(&flow.backend, session as u64) {
            tracing::debug!(%error, "the socket of a session cannot be watched");
            flow.close(End::NoResources);
            return Err(Dropped::NoResources);
        }
        entry.insert(flow);
        self.places.insert(key, session);
        if let Some(entrance) = self.entrances.get_mut(key.inlet) {
            entrance.recency.touch(session, Standing::New);
        }
        Ok(session)
    }

    /// Makes room for one more, of this listener and in the process.
    fn make_room(&mut self, way: &Way, inlet: usize) -> Result<(), Dropped> {
        let udp = &self.present.config.listeners[way.listener.get()].udp;
        let own_max = udp.sessions_max.get().div_ceil(self.limits.counts.len()) as u64;
        let is_full = way.counters.borrow().active.get() >= own_max;
        let all: u64 = self.limits.counts.iter().map(|worker| worker.active.get()).sum();
        if !is_full && all < self.limits.sessions_max as u64 {
            return Ok(());
        }
        let recency = &self.entrances.get(inlet).ok_or(Dropped::NoRoom)?.recency;
        let now = self.present.core.elapsed();
        let group = |standing| {
            let oldest = recency.oldest(standing).and_then(|session| self.flows.get(session));
            let idle = oldest.map(|flow| now.saturating_sub(flow.touched()));
            Group { count: recency.count(standing), idle }
        };
        let standing = makes_room(group(Standing::New), group(Standing::Proven));
        let oldest = standing.and_then(|standing| recency.oldest(standing)).ok_or(Dropped::NoRoom)?;
        if !self.evictions.may(now) {
            return Err(Dropped::NoRoom);
        }
        self.close(oldest, End::Evicted);
        Ok(())
    }

    /// The client's next datagram is of another session; this one still waits for replies.
    pub(super) fn unbind(&mut self, session: usize) {
        let flow = &mut self.flows[session];
        if std::mem::take(&mut flow.is_bound) {
            self.places.remove(&flow.key);
        }
    }

    /// The backend of a session says that nobody is there. Its client goes to another one.
    pub(super) fn refused(&mut self, session: usize) {
        let flow = &self.flows[session];
        flow.refused();
        if flow.is_bound {
            let (generation, backend) = flow.backend_id();
            self.shunned.push_back((flow.key, generation, backend));
            if self.shunned.len() > SHUNNED_MAX {
                self.shunned.pop_front();
            }
            flow.way.counters.borrow().datagrams.rebalanced.add(1);
        }
        self.close(session, End::BackendReset);
    }

    /// Ends a session for which the tick or an operator has decided so.
    pub(super) fn end_as_told(&mut self, session: usize) {
        let verdict = self.flows.get(session).and_then(|flow| flow.session.watch().verdict());
        verdict.into_iter().for_each(|end| self.close(session, end));
    }

    /// Ends a session.
    pub(super) fn close(&mut self, session: usize, end: End) {
        self.unbind(session);
        let flow = self.flows.remove(session);
        if let Some(entrance) = self.entrances.get_mut(flow.key.inlet) {
            entrance.recency.remove(session);
        }
        flow.close(end);
    }
}
