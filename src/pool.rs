//! Pool: this worker's own copy of one pool, from which it picks.
//!
//! Work that belongs to a change of the table (who is up, in which order, with which weight) is done once, when a new
//! table is adopted. A pick only reads: it does not allocate, lock, look at a clock or touch a socket.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use crate::balance::{Balancer, Choice, Member, Tried};
use crate::load::{Lease, Load};
use crate::stats::WorkerStats;
use crate::table::{BackendTable, State};

/// One worker's copy of one pool.
#[derive(Debug)]
pub struct Pool {
    index: usize,
    epoch: u64,
    /// The backends that are up, in table order.
    members: Vec<Member>,
    /// A load for each backend of the pool, up or not, in table order.
    loads: Vec<Rc<Load>>,
    balancer: Balancer,
    stats: Arc<WorkerStats>,
}

impl Pool {
    /// The worker's copy of the configuration's pool number `index`; empty until it adopts a table.
    pub fn new(index: usize, balancer: Balancer, stats: Arc<WorkerStats>) -> Pool {
        Pool { index, epoch: 0, members: Vec::new(), loads: Vec::new(), balancer, stats }
    }

    /// Makes `table` what picks are made from. Costs one comparison when it is the one already.
    pub fn adopt(&mut self, table: &BackendTable) {
        if table.epoch == self.epoch {
            return;
        }
        self.rebuild(table);
    }

    #[cold]
    fn rebuild(&mut self, table: &BackendTable) {
        assert!(table.epoch > self.epoch, "an epoch never goes back");
        self.epoch = table.epoch;
        let mut known = std::mem::take(&mut self.loads).into_iter();
        self.members.clear();
        for backend in &table.backends[table.pools[self.index].clone()] {
            // Ids and their order never change, so that loads are met again in the order in which they were left.
            let load = known.next().unwrap_or_else(|| Load::new(backend.id, Arc::clone(&self.stats)));
            if backend.health.state == State::Up {
                self.members.push(Member {
                    id: backend.id,
                    address: backend.address,
                    weight: backend.weight,
                    load: Rc::clone(&load),
                });
            }
            self.loads.push(load);
        }
        self.balancer.adopt(&self.members);
    }

    /// Chooses a backend that is up and was not tried, and counts it. `None` when there is none.
    pub fn pick(&mut self, tried: &Tried) -> Option<(Lease, SocketAddr)> {
        let chosen = self.balancer.pick(Choice { members: &self.members, tried })?;
        let member = &self.members[chosen];
        debug_assert!(!tried.contains(member.id));
        Some((member.load.lease(), member.address))
    }

    /// The epoch of the table that picks are made from.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Backends that are up.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Sessions of this worker on each backend of the pool, in table order.
    pub fn active(&self) -> impl Iterator<Item = u32> + '_ {
        self.loads.iter().map(|load| load.active())
    }
}
