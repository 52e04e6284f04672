//! Counters: each worker writes its own, anybody reads their sum.
//!
//! One writer per cache line and relaxed order: a worker counts with a plain load and store, and never waits for
//! another core. A reader sees each counter whole, but not all of them at one moment: sums agree exactly only when the
//! process is quiet.

mod datagrams;
mod row;
mod shadows;
mod timings;
mod totals;
mod waiting;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::access::Refused;
use crate::config::Pool;
use crate::decision::Decisions;
use crate::end::End;
use crate::lineage::Lineage;
use crate::routing::Heard;
use crate::table::BackendId;

pub use datagrams::{DatagramStats, Dropped};
pub use row::{LINE, PAIRS, Row, halves};
pub use shadows::{Choosers, Chosen, PoolShadows, SERVING, ShadowStats};
pub use timings::{BOUNDS, BUCKETS, Timing, Timings};
pub use totals::Totals;
pub use waiting::{WAIT_UNIT, Waiting, Waits};

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

    /// Raises it to this if it is below; only its worker does.
    pub fn raise_to(&self, count: u64) {
        if self.get() < count {
            self.0.store(count, Ordering::Relaxed);
        }
    }

    /// Makes it this; only its worker does.
    pub fn set(&self, count: u64) {
        self.0.store(count, Ordering::Relaxed);
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
    /// When the process began to serve: moments are told as the time since then.
    pub begun: Instant,
    /// What listeners counted that a reload has removed, and that have no sessions any more.
    pub removed: Totals,
    /// One for each worker, by its number.
    pub workers: Vec<Arc<WorkerStats>>,
    /// How long things took, by [`BackendId`]. The thread that makes figures writes them.
    pub timings: Box<[Arc<Timings>]>,
    /// Measured times that are not in them: workers had too many, or a reload came between. The same writer.
    pub samples_lost: Arc<Counter>,
}

/// What one worker counts under one configuration. A reload makes another; the counts of what is in both are shared, and so
/// go on. Aligned so that two workers never share a cache line (or the pair that is fetched with it).
#[derive(Debug)]
#[repr(align(128))]
pub struct WorkerStats {
    /// What it counts whatever the configuration.
    pub core: Arc<CoreStats>,
    /// Sessions now on each backend, including those that are still connecting. Other workers read it at each pick.
    pub sessions: Row,
    /// How some of the last backends were chosen.
    pub decisions: Decisions,
    /// What shadows chose, by pool; of pools without shadows there is nothing.
    pub shadows: Box<[Option<PoolShadows>]>,
    /// By listener, in the order of the configuration.
    pub listeners: Box<[Arc<ListenerStats>]>,
    /// Of listeners that a reload has removed and that still have sessions.
    pub removed_listeners: Box<[Arc<ListenerStats>]>,
    /// By [`BackendId`].
    pub backends: Box<[Arc<BackendStats>]>,
}

/// What one worker counts for as long as it lives. Aligned as above.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct CoreStats {
    /// Ticks so far: who stands still does not tick.
    pub ticks: Counter,
    /// Sessions that it has ever had.
    pub admitted: Counter,
    /// Sessions now, over all listeners.
    pub active: Counter,
    /// Failures of any backend: moves whenever one of the counts of failures in [`BackendStats`] does.
    pub failures: Counter,
    /// Connections that it accepted and another worker serves.
    pub handed_over: Counter,
    /// Times that accepting paused because descriptors or memory were short.
    pub accept_pauses: Counter,
    /// Buffers that came from the heap because the arena was empty.
    pub buffers_borrowed: Counter,
    /// What relays have carried, as of the last tick.
    pub carried: CarriedStats,
    /// Cells of its arena, as of the last tick; the same for all that follows.
    pub cells: Counter,
    /// Those of them that are not lent.
    pub cells_free: Counter,
    /// Pipes that are lent.
    pub pipes_lent: Counter,
    /// What the ring of the multishot engine has done; nothing with the fixed one.
    pub ring: RingStats,
}

/// What a ring has done, as of the last tick.
#[derive(Debug, Default)]
pub struct RingStats {
    /// Times that the kernel was entered.
    pub enters: Counter,
    /// Operations, or parts of them, that were complete.
    pub completions: Counter,
    /// Times that the kernel had more of these than the queue has room for.
    pub overflows: Counter,
    /// Operations that are under way.
    pub in_flight: Counter,
}

/// How one worker's relays have carried bytes: each byte in one of the first four.
#[derive(Debug, Default)]
pub struct CarriedStats {
    /// Bytes through small buffers.
    pub small: Counter,
    /// Bytes through large buffers.
    pub large: Counter,
    /// Bytes through pipes, without a copy.
    pub spliced: Counter,
    /// Bytes in datagrams.
    pub datagrams: Counter,
    /// Times that a direction waited without a buffer, because it had been silent.
    pub parked: Counter,
}

/// What one worker counts of one listener. Aligned as above. `accepted == active + the sum of ends` at any quiet moment.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ListenerStats {
    /// Connections accepted.
    pub accepted: Counter,
    /// Sessions now.
    pub active: Counter,
    /// Clients in the kernel's queues, whom nobody has accepted yet; up to a second ago.
    pub waiting: Counter,
    /// Clients, or datagrams, that the kernel dropped because a queue was full; up to a second ago.
    pub queue_drops: Counter,
    /// Sessions by how they ended, in the order of [`End::ALL`].
    pub ends: [Counter; End::COUNT],
    /// Connections that were not let in, by why, in the order of [`Refused::ALL`].
    pub refused: [Counter; Refused::COUNT],
    /// Bytes carried from clients, up to two seconds ago, and all of those of sessions that have ended.
    pub bytes_to_backend: Counter,
    /// Bytes carried to clients, likewise.
    pub bytes_to_client: Counter,
    /// Clients by what came of their hello, in the order of [`Heard::ALL`].
    pub heard: [Counter; Heard::COUNT],
    /// What it counts of datagrams, if it is of those.
    pub datagrams: DatagramStats,
}

/// What one worker counts of one backend. Aligned: the lists of two workers can lie side by side.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct BackendStats {
    /// Times picked.
    pub picked: Counter,
    /// Connections made; over UDP sessions whose first reply has come.
    pub connected: Counter,
    /// Sessions that were served in time: the first byte came, or all went well without one. Once or twice for each; over UDP
    /// for each reply.
    pub served: Counter,
    /// Connects that failed by the backend's doing: refused, unreachable, not answered in time.
    pub connect_failures: Counter,
    /// Those of them that came in a row, up to now: no connection was made in between.
    pub failures_in_row: Counter,
    /// Connections that the backend broke before its first byte, or on which that byte did not come in time.
    pub unanswered: Counter,
    /// Those of them on which the byte did not come in time.
    pub late: Counter,
    /// Unanswered ones that came in a row, up to now: nobody was served in time in between.
    pub unanswered_in_row: Counter,
    /// Sessions that wait for what the pool measures.
    pub waiting: Waiting,
}

impl WorkerStats {
    /// Notes that a backend could not be connected to; only its worker does.
    pub fn connect_failed(&self, id: BackendId) {
        let backend = &self.backends[id.index()];
        backend.connect_failures.add(1);
        backend.failures_in_row.add(1);
        self.core.failures.add(1);
    }

    /// Notes that a backend broke a connection before its first byte, or that this byte is late; only its worker does.
    pub fn unanswered(&self, id: BackendId) {
        let backend = &self.backends[id.index()];
        backend.unanswered.add(1);
        backend.unanswered_in_row.add(1);
        self.core.failures.add(1);
    }
}

impl Stats {
    /// All at zero.
    pub fn new(workers: usize, listeners: usize, backends: usize) -> Stats {
        let worker = || {
            Arc::new(WorkerStats {
                core: Arc::default(),
                sessions: Row::new(backends),
                decisions: Decisions::default(),
                shadows: Box::default(),
                listeners: (0..listeners).map(|_| Arc::default()).collect(),
                removed_listeners: Box::default(),
                backends: (0..backends).map(|_| Arc::default()).collect(),
            })
        };
        let workers = (0..workers).map(|_| worker()).collect();
        let timings = (0..backends).map(|_| Arc::default()).collect();
        let (removed, samples_lost) = (Totals::default(), Arc::default());
        Stats { begun: Instant::now(), removed, workers, timings, samples_lost }
    }

    /// Those of the configuration after this one: what it has too is counted on, the rest begins at zero. Sessions move to
    /// the new rows with the worker that has them ([`crate::load::Loads::succeed`]).
    pub fn succeed(&self, lineage: &Lineage) -> Stats {
        fn kept<T: Default>(of: &[Option<usize>], before: &[Arc<T>]) -> Box<[Arc<T>]> {
            of.iter()
                .map(|place| place.map_or_else(Arc::default, |place| Arc::clone(&before[place])))
                .collect()
        }
        let mut removed = self.removed.clone();
        let worker = |before: &Arc<WorkerStats>| {
            let heirs = lineage.listener_heirs(before.listeners.len());
            let is_kept = |place: usize| heirs[place].is_some();
            let gone = before.listeners.iter().enumerate().filter(|(place, _)| !is_kept(*place));
            // What counts no more becomes a part of the sum: reloads can be very many. Of those that are removed only now
            // clients may still be taken.
            let (quiet, mut counting): (Vec<_>, Vec<_>) =
                before.removed_listeners.iter().cloned().partition(|one| one.active.get() == 0);
            quiet.iter().for_each(|listener| removed.add(listener));
            counting.extend(gone.map(|(_, listener)| Arc::clone(listener)));
            Arc::new(WorkerStats {
                core: Arc::clone(&before.core),
                sessions: Row::new(lineage.backends.len()),
                decisions: Decisions::default(),
                shadows: Box::default(),
                listeners: kept(&lineage.listeners, &before.listeners),
                removed_listeners: counting.into(),
                backends: kept(&lineage.backends, &before.backends),
            })
        };
        let workers = self.workers.iter().map(worker).collect();
        let timings = kept(&lineage.backends, &self.timings);
        Stats { begun: self.begun, removed, workers, timings, samples_lost: Arc::clone(&self.samples_lost) }
    }

    /// With counters for the shadows of these pools.
    pub fn with_shadows(mut self, pools: &[Pool]) -> Stats {
        for worker in &mut self.workers {
            let worker = Arc::get_mut(worker).expect("nobody counts yet");
            worker.shadows = pools.iter().map(PoolShadows::new).collect();
        }
        self
    }

    /// The sum over workers of one of their counters.
    pub fn sum(&self, counter: impl Fn(&WorkerStats) -> &Counter) -> u64 {
        self.workers.iter().map(|worker| counter(worker).get()).sum()
    }

    /// The sum over workers of one counter of a backend.
    pub fn backend(&self, id: BackendId, counter: impl Fn(&BackendStats) -> &Counter) -> u64 {
        self.sum(|worker| counter(&worker.backends[id.index()]))
    }

    /// The sessions of all workers that wait for a backend.
    pub fn waits(&self, id: BackendId, now: Duration) -> Waits {
        self.workers.iter().fold(Waits::default(), |sum, worker| {
            let one = worker.backends[id.index()].waiting.waits(now);
            Waits { count: sum.count + one.count, total: sum.total.saturating_add(one.total) }
        })
    }

    /// Sessions now on a backend.
    pub fn sessions(&self, id: BackendId) -> u64 {
        self.workers.iter().map(|worker| u64::from(worker.sessions.get(id))).sum()
    }

    /// Sessions of all listeners.
    pub fn totals(&self) -> Totals {
        let mut totals = self.removed.clone();
        for worker in &self.workers {
            worker
                .listeners
                .iter()
                .chain(&worker.removed_listeners)
                .for_each(|listener| totals.add(listener));
        }
        totals
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
    fn what_a_reload_keeps_is_counted_on_and_what_it_removes_stays_in_the_totals() {
        let stats = Stats::new(1, 3, 2);
        let worker = &stats.workers[0];
        worker.core.active.add(1);
        for (listener, active) in worker.listeners.iter().zip([0, 0, 1]) {
            listener.accepted.add(10 + active);
            listener.active.add(active);
            listener.ends[0].add(10);
        }
        worker.backends[1].picked.add(7);
        let lineage = |listeners, backends| Lineage { listeners, pools: vec![], backends };
        let next = stats.succeed(&lineage(vec![None, Some(1)], vec![Some(1), None]));
        let picked =
            |stats: &Stats| stats.workers[0].backends.iter().map(|one| one.picked.get()).collect::<Vec<_>>();
        assert_eq!(picked(&next), [7, 0]);
        assert_eq!(next.workers[0].listeners[1].accepted.get(), 10);
        assert_eq!((next.removed.accepted, next.workers[0].removed_listeners.len()), (0, 2));
        // A session that is older than the reload counts where both see it, or where it is found in the end.
        worker.listeners[2].active.subtract(1);
        worker.listeners[2].ends[0].add(1);
        worker.listeners[1].accepted.add(5);
        let totals = next.totals();
        assert_eq!((totals.accepted, totals.active, totals.ends[0]), (36, 0, 31));
        let last = next.succeed(&lineage(vec![], vec![]));
        assert_eq!(last.totals(), totals);
        assert_eq!(
            last.workers[0].removed_listeners.len(),
            2,
            "the first of the three is over, and those that go now are not"
        );
        assert_eq!(last.workers[0].core.active.get(), 1);
    }

    #[test]
    #[should_panic(expected = "below zero")]
    fn a_counter_never_goes_below_zero() {
        Counter::default().subtract(1);
    }

    #[test]
    fn workers_do_not_share_a_cache_line() {
        let stats = Stats::new(2, 3, 5);
        fn places<T>(of: &[Arc<T>]) -> impl Iterator<Item = (usize, usize)> {
            of.iter().map(|one| (&raw const **one as usize, size_of::<T>()))
        }
        let lines = |worker: &WorkerStats| {
            let own = (&raw const *worker as usize, size_of::<WorkerStats>());
            let core = (&raw const *worker.core as usize, size_of::<CoreStats>());
            let row = worker.sessions.place();
            let all = [own, core, row].into_iter().chain(places(&worker.listeners));
            all.chain(places(&worker.backends))
                .flat_map(|(start, size)| start / 128..(start + size).div_ceil(128))
                .collect::<Vec<_>>()
        };
        let first = lines(&stats.workers[0]);
        assert!(first.len() > 8);
        assert!(lines(&stats.workers[1]).iter().all(|line| !first.contains(line)));
    }
}
