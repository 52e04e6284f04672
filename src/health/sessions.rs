//! Sessions: what the workers' counters say of one backend. Pure.
//!
//! "In a row" has to hold over all workers. What one worker met in a row is one; so is what all of them met while none of
//! them was served. Adding up the rows of workers would not do: with many workers each has a short one now and then.

use crate::stats::{BackendStats, Counter, Stats};
use crate::table::BackendId;

/// What one backend's sessions met, and how much of it is known already.
#[derive(Debug)]
pub(super) struct Tally {
    connects: Kind,
    answers: Kind,
    /// Late first bytes when counting began.
    late: u64,
}

/// One way of failing.
#[derive(Debug)]
struct Kind {
    counters: Counters,
    /// What each worker had counted when counting began.
    base: Box<[u64]>,
    /// What all of them had counted at the last look, failures and successes.
    failed: u64,
    succeeded: u64,
    /// Failures since the last success that was seen.
    unbroken: u64,
}

#[derive(Debug, Clone, Copy)]
struct Counters {
    failed: fn(&BackendStats) -> &Counter,
    in_row: fn(&BackendStats) -> &Counter,
    succeeded: fn(&BackendStats) -> &Counter,
}

const CONNECTS: Counters = Counters {
    failed: |backend| &backend.connect_failures,
    in_row: |backend| &backend.failures_in_row,
    succeeded: |backend| &backend.connected,
};

const ANSWERS: Counters = Counters {
    failed: |backend| &backend.unanswered,
    in_row: |backend| &backend.unanswered_in_row,
    succeeded: |backend| &backend.served,
};

/// What failed at one backend.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Failures {
    /// Connects that failed since the last look.
    pub(super) connects_new: u64,
    /// Connects that came in a row on each worker, added up.
    pub(super) connects_in_row: u64,
    /// Sessions that failed in a row, since counting began.
    pub(super) row: Row,
}

/// Sessions that failed in a row, by how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Row {
    /// They could not connect.
    pub(super) connects: u64,
    /// They were not answered.
    pub(super) unanswered: u64,
    /// Some of these because the first byte did not come in time.
    pub(super) some_late: bool,
    /// Some of these because the backend broke the connection.
    pub(super) some_reset: bool,
}

impl Row {
    /// All of them.
    pub(super) fn len(self) -> u64 {
        self.connects + self.unanswered
    }

    /// How they failed, for people.
    pub(super) fn describe(self) -> String {
        let ways = [
            (self.connects > 0, "connect failed"),
            (self.unanswered > 0 && self.some_reset, "reset before the first byte"),
            (self.unanswered > 0 && self.some_late, "no first byte in time"),
        ];
        let ways: Vec<&str> = ways.into_iter().filter(|(is_so, _)| *is_so).map(|(_, way)| way).collect();
        ways.join(", ")
    }
}

impl Tally {
    /// Counts from now on.
    pub(super) fn new(stats: &Stats, id: BackendId) -> Tally {
        let mut tally =
            Tally { connects: Kind::new(CONNECTS, stats), answers: Kind::new(ANSWERS, stats), late: 0 };
        tally.begin_again(stats, id);
        tally
    }

    /// What was until now counts no more.
    pub(super) fn begin_again(&mut self, stats: &Stats, id: BackendId) {
        self.connects.begin_again(stats, id);
        self.answers.begin_again(stats, id);
        self.late = stats.backend(id, |backend| &backend.late);
    }

    /// What has failed; `None` when nothing has since the last look.
    pub(super) fn look(&mut self, stats: &Stats, id: BackendId) -> Option<Failures> {
        let connects_new = self.connects.look(stats, id);
        let unanswered_new = self.answers.look(stats, id);
        if connects_new + unanswered_new == 0 {
            return None;
        }
        let of_worker = |worker: usize| {
            let backend = &stats.workers[worker].backends[id.index()];
            (self.connects.row_of(worker, backend), self.answers.row_of(worker, backend))
        };
        let together = (self.connects.unbroken, self.answers.unbroken);
        let rows = (0..stats.workers.len()).map(of_worker).chain([together]);
        let (connects, unanswered) = rows.max_by_key(|(connects, unanswered)| connects + unanswered)?;
        let late = stats.backend(id, |backend| &backend.late) - self.late;
        let base: u64 = self.answers.base.iter().sum();
        let row =
            Row { connects, unanswered, some_late: late > 0, some_reset: self.answers.failed - base > late };
        let connects_in_row = stats.backend(id, |backend| &backend.failures_in_row);
        Some(Failures { connects_new, connects_in_row, row })
    }
}

impl Kind {
    fn new(counters: Counters, stats: &Stats) -> Kind {
        let base = vec![0; stats.workers.len()].into();
        Kind { counters, base, failed: 0, succeeded: 0, unbroken: 0 }
    }

    fn begin_again(&mut self, stats: &Stats, id: BackendId) {
        for (base, worker) in self.base.iter_mut().zip(&stats.workers) {
            *base = (self.counters.failed)(&worker.backends[id.index()]).get();
        }
        self.failed = self.base.iter().sum();
        self.succeeded = stats.backend(id, self.counters.succeeded);
        self.unbroken = 0;
    }

    /// Takes in what is new and says how much that is.
    fn look(&mut self, stats: &Stats, id: BackendId) -> u64 {
        let failed = stats.backend(id, self.counters.failed);
        let new = failed - self.failed;
        if new > 0 {
            // After the failures: a success that comes between the two reads breaks the row, and rather too early.
            let succeeded = stats.backend(id, self.counters.succeeded);
            self.unbroken = if succeeded == self.succeeded { self.unbroken + new } else { 0 };
            (self.failed, self.succeeded) = (failed, succeeded);
        }
        new
    }

    /// What came in a row on one worker, of what has been counted.
    fn row_of(&self, worker: usize, backend: &BackendStats) -> u64 {
        let new = (self.counters.failed)(backend).get().saturating_sub(self.base[worker]);
        (self.counters.in_row)(backend).get().min(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: fn() -> BackendId = || BackendId::new(0);

    /// What a session does to the counters of its worker.
    struct Worker<'a>(&'a BackendStats);

    impl Worker<'_> {
        fn refused(&self) {
            self.0.connect_failures.add(1);
            self.0.failures_in_row.add(1);
        }

        fn connected(&self) {
            self.0.connected.add(1);
            self.0.failures_in_row.reset();
        }

        fn reset(&self) {
            self.connected();
            self.0.unanswered.add(1);
            self.0.unanswered_in_row.add(1);
        }

        fn late(&self) {
            self.reset();
            self.0.late.add(1);
        }

        fn served(&self) {
            self.connected();
            self.0.served.add(1);
            self.0.unanswered_in_row.reset();
        }
    }

    fn worker(stats: &Stats, worker: usize) -> Worker<'_> {
        Worker(&stats.workers[worker].backends[0])
    }

    fn row(tally: &mut Tally, stats: &Stats) -> u64 {
        tally.look(stats, ID()).map_or(0, |failures| failures.row.len())
    }

    #[test]
    fn failures_of_both_kinds_count_together_and_say_how() {
        let stats = Stats::new(1, 0, 1);
        let mut tally = Tally::new(&stats, ID());
        assert_eq!(tally.look(&stats, ID()), None);
        let sessions = worker(&stats, 0);
        sessions.reset();
        sessions.reset();
        sessions.refused();
        let failures = tally.look(&stats, ID()).unwrap();
        assert_eq!((failures.connects_new, failures.connects_in_row), (1, 1));
        assert_eq!((failures.row.connects, failures.row.unanswered), (1, 2));
        assert_eq!(failures.row.describe(), "connect failed, reset before the first byte");
        sessions.late();
        let row = tally.look(&stats, ID()).unwrap().row;
        assert_eq!(row.describe(), "reset before the first byte, no first byte in time");
    }

    #[test]
    fn a_success_breaks_the_row_of_its_worker() {
        let stats = Stats::new(1, 0, 1);
        let mut tally = Tally::new(&stats, ID());
        for _ in 0..10 {
            worker(&stats, 0).reset();
            worker(&stats, 0).reset();
            worker(&stats, 0).served();
            worker(&stats, 0).reset();
            assert!(row(&mut tally, &stats) <= 3);
        }
    }

    #[test]
    fn many_workers_with_a_short_row_each_are_not_a_long_row() {
        let stats = Stats::new(32, 0, 1);
        let mut tally = Tally::new(&stats, ID());
        for number in 0..32 {
            worker(&stats, number).served();
            worker(&stats, number).reset();
        }
        assert_eq!(row(&mut tally, &stats), 1);
    }

    #[test]
    fn what_all_workers_met_while_none_was_served_is_one_row() {
        let stats = Stats::new(4, 0, 1);
        let mut tally = Tally::new(&stats, ID());
        for count in 1..=4 {
            worker(&stats, count - 1).refused();
            assert_eq!(row(&mut tally, &stats), count as u64);
        }
        // Nobody looked in between.
        worker(&stats, 0).served();
        worker(&stats, 1).refused();
        assert!(row(&mut tally, &stats) <= 2);
    }

    #[test]
    fn a_row_that_has_had_its_effect_does_not_count_again() {
        let stats = Stats::new(2, 0, 1);
        let mut tally = Tally::new(&stats, ID());
        (0..5).for_each(|_| worker(&stats, 0).reset());
        assert_eq!(row(&mut tally, &stats), 5);
        tally.begin_again(&stats, ID());
        // The worker whose row it was has not been served since.
        worker(&stats, 0).reset();
        assert_eq!(row(&mut tally, &stats), 1);
    }
}
