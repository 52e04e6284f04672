//! Counters: each worker writes its own, anybody reads their sum.
//!
//! One writer per cache line and relaxed order: a worker counts with a plain load and store, and never waits for
//! another core. A reader sees each counter whole, but not all of them at one moment: sums agree exactly only when the
//! process is quiet.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::end::End;
use crate::table::BackendId;

/// A number with one writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds; only its worker does.
    pub fn add(&self, count: u64) {
        self.0.store(self.get() + count, Ordering::Relaxed);
    }

    /// Takes away; only its worker does, and never more than there is.
    pub fn subtract(&self, count: u64) {
        let before = self.get();
        assert!(before >= count, "a count goes below zero");
        self.0.store(before - count, Ordering::Relaxed);
    }

    /// Begins again; only its worker does.
    pub fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of all workers.
#[derive(Debug)]
pub struct Stats {
    /// One for each worker, by its number.
    pub workers: Vec<Arc<WorkerStats>>,
}

/// What one worker counts. Aligned so that two workers never share a cache line (or the pair that is fetched with it).
#[derive(Debug)]
#[repr(align(128))]
pub struct WorkerStats {
    /// Sessions now, over all listeners.
    pub active: Counter,
    /// Failed connects to any backend: moves whenever one of [`BackendStats::connect_failures`] does.
    pub connect_failures: Counter,
    /// Times that accepting paused because descriptors or memory were short.
    pub accept_pauses: Counter,
    /// Buffers that came from the heap because the arena was empty.
    pub buffers_borrowed: Counter,
    /// By listener, in the order of the configuration.
    pub listeners: Box<[ListenerStats]>,
    /// By [`BackendId`].
    pub backends: Box<[BackendStats]>,
}

/// What one worker counts of one listener. Aligned as above. `accepted == active + the sum of ends` at any quiet moment.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ListenerStats {
    /// Connections accepted.
    pub accepted: Counter,
    /// Sessions now.
    pub active: Counter,
    /// Sessions by how they ended, in the order of [`End::ALL`].
    pub ends: [Counter; End::COUNT],
    /// Bytes carried from clients.
    pub bytes_to_backend: Counter,
    /// Bytes carried to clients.
    pub bytes_to_client: Counter,
}

/// What one worker counts of one backend. Aligned: the lists of two workers can lie side by side.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct BackendStats {
    /// Sessions now, including those that are still connecting.
    pub sessions: Counter,
    /// Times picked.
    pub picked: Counter,
    /// Connections made.
    pub connected: Counter,
    /// Connects that failed by the backend's doing: refused, unreachable, not answered in time.
    pub connect_failures: Counter,
    /// Those of them that came in a row, up to now.
    pub failures_in_row: Counter,
}

impl Stats {
    /// All at zero.
    pub fn new(workers: usize, listeners: usize, backends: usize) -> Stats {
        let worker = || {
            Arc::new(WorkerStats {
                active: Counter::default(),
                connect_failures: Counter::default(),
                accept_pauses: Counter::default(),
                buffers_borrowed: Counter::default(),
                listeners: (0..listeners).map(|_| ListenerStats::default()).collect(),
                backends: (0..backends).map(|_| BackendStats::default()).collect(),
            })
        };
        Stats { workers: (0..workers).map(|_| worker()).collect() }
    }

    /// The sum over workers of one of their counters.
    pub fn sum(&self, counter: impl Fn(&WorkerStats) -> &Counter) -> u64 {
        self.workers.iter().map(|worker| counter(worker).get()).sum()
    }

    /// The sum over workers of one counter of a backend.
    pub fn backend(&self, id: BackendId, counter: impl Fn(&BackendStats) -> &Counter) -> u64 {
        self.sum(|worker| counter(&worker.backends[id.index()]))
    }

    /// Sessions of all listeners.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for listener in self.workers.iter().flat_map(|worker| &worker.listeners) {
            totals.accepted += listener.accepted.get();
            totals.active += listener.active.get();
            totals.bytes_to_backend += listener.bytes_to_backend.get();
            totals.bytes_to_client += listener.bytes_to_client.get();
            for (sum, end) in totals.ends.iter_mut().zip(&listener.ends) {
                *sum += end.get();
            }
        }
        totals
    }
}

/// Sums over all workers and listeners.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Connections accepted.
    pub accepted: u64,
    /// Sessions now.
    pub active: u64,
    /// Sessions by how they ended, in the order of [`End::ALL`].
    pub ends: [u64; End::COUNT],
    /// Bytes carried from clients.
    pub bytes_to_backend: u64,
    /// Bytes carried to clients.
    pub bytes_to_client: u64,
}

impl Totals {
    /// Sessions that ended like this.
    pub fn ended(&self, end: End) -> u64 {
        self.ends[end as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_sums_over_workers_and_listeners() {
        let stats = Stats::new(2, 2, 1);
        for worker in &stats.workers {
            for listener in &worker.listeners {
                listener.accepted.add(3);
                listener.active.add(1);
                listener.ends[End::Complete as usize].add(2);
            }
        }
        let totals = stats.totals();
        assert_eq!((totals.accepted, totals.active, totals.ended(End::Complete)), (12, 4, 8));
    }

    #[test]
    #[should_panic(expected = "below zero")]
    fn a_counter_never_goes_below_zero() {
        Counter::default().subtract(1);
    }

    #[test]
    fn workers_do_not_share_a_cache_line() {
        let stats = Stats::new(2, 3, 5);
        let lines = |worker: &WorkerStats| {
            let own = std::iter::once((&raw const *worker as usize, size_of::<WorkerStats>()));
            let listeners = (worker.listeners.as_ptr() as usize, size_of_val(&*worker.listeners));
            let backends = (worker.backends.as_ptr() as usize, size_of_val(&*worker.backends));
            own.chain([listeners, backends])
                .flat_map(|(start, size)| start / 128..(start + size).div_ceil(128))
        };
        let first: Vec<usize> = lines(&stats.workers[0]).collect();
        assert!(first.len() > 8);
        assert!(lines(&stats.workers[1]).all(|line| !first.contains(&line)));
    }
}
