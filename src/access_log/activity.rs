//! Activity: how many sessions run, for the lines that are made at one moment.

use std::sync::Arc;

use super::names::Names;
use super::text::Busy;
use crate::entries::Entry;
use crate::stats::Stats;

/// Sums over all workers, each made when it is asked for and kept until it is forgotten.
#[derive(Debug)]
pub(super) struct Activity {
    stats: Arc<Stats>,
    process: Option<u64>,
    listeners: Vec<Option<u64>>,
    pools: Vec<Option<u64>>,
}

impl Activity {
    pub(super) fn new(stats: Arc<Stats>, listeners: usize, pools: usize) -> Activity {
        Activity { stats, process: None, listeners: vec![None; listeners], pools: vec![None; pools] }
    }

    /// Those around this entry.
    pub(super) fn busy(&mut self, entry: &Entry, names: &Names) -> Busy {
        let (stats, listener) = (&self.stats, entry.listener as usize);
        let pool = entry.pool as usize;
        Busy {
            process: *self.process.get_or_insert_with(|| stats.sum(|worker| &worker.core.active)),
            listener: *self.listeners[listener]
                .get_or_insert_with(|| stats.sum(|worker| &worker.listeners[listener].active)),
            pool: *self.pools[pool]
                .get_or_insert_with(|| names.backends(pool).map(|id| stats.sessions(id)).sum()),
            backend: entry.backend.map_or(0, |id| stats.sessions(id)),
        }
    }

    /// The next ones are of another moment.
    pub(super) fn forget(&mut self) {
        self.process = None;
        self.listeners.fill(None);
        self.pools.fill(None);
    }
}
