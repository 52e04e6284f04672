//! Load: what this worker knows of one backend.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use crate::stats::{BackendStats, WorkerStats};
use crate::table::BackendId;

/// What this worker knows of one backend. Lives as long as the worker, through every change of the table.
#[derive(Debug)]
pub struct Load {
    active: Cell<u32>,
    id: BackendId,
    stats: Arc<WorkerStats>,
}

impl Load {
    /// No sessions yet.
    pub fn new(id: BackendId, stats: Arc<WorkerStats>) -> Rc<Load> {
        Rc::new(Load { active: Cell::new(0), id, stats })
    }

    /// Sessions of this worker on the backend, including those that are still connecting.
    pub fn active(&self) -> u32 {
        self.active.get()
    }

    /// Counts a pick. The count is given back when the lease is dropped.
    ///
    /// Counted at the pick and not when connected: a backend that is slow to connect is busy too.
    pub fn lease(self: &Rc<Load>) -> Lease {
        self.active.set(self.active.get() + 1);
        self.counters().sessions.add(1);
        self.counters().picked.add(1);
        Lease { load: Rc::clone(self) }
    }

    fn counters(&self) -> &BackendStats {
        &self.stats.backends[self.id.index()]
    }
}

/// A counted pick. Gives the count back by drop, on every way out of a session.
#[derive(Debug)]
pub struct Lease {
    load: Rc<Load>,
}

impl Lease {
    /// The backend that was picked.
    pub fn backend(&self) -> BackendId {
        self.load.id
    }

    /// Notes that the connection was made.
    pub fn connected(&self) {
        self.load.counters().connected.add(1);
        self.load.counters().failures_in_row.reset();
    }

    /// Notes that the backend refused or did not answer. The health thread reads it.
    pub fn failed(&self) {
        self.load.counters().connect_failures.add(1);
        self.load.counters().failures_in_row.add(1);
        self.load.stats.connect_failures.add(1);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let active = self.load.active.get();
        assert!(active > 0, "a lease was given back twice");
        self.load.active.set(active - 1);
        self.load.counters().sessions.subtract(1);
    }
}
