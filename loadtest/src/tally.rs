//! What was counted and timed during a run.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

use crate::failure::Failure;

/// The counts of one thread, and after [`Tally::add`] of the run. Times are in nanoseconds.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    /// Requests answered in full with the right bytes.
    pub(crate) ok: u64,
    /// Those of `ok` that were done before the end of the measured time.
    pub(crate) ok_in_window: u64,
    /// Requests answered in the measured time, whenever they began: what gets through.
    pub(crate) done_in_window: u64,
    /// Requests that failed, by [`Failure::kind`].
    pub(crate) failed: [u64; Failure::KINDS.len()],
    /// The first failure of each kind, as an example.
    pub(crate) first_failures: [Option<Failure>; Failure::KINDS.len()],
    /// Requests that began before the measured time. Nothing else here counts them.
    pub(crate) warm_up: u64,
    /// Those of `warm_up` that failed or could not be sent.
    pub(crate) warm_up_failed: u64,
    /// Arrivals that could not be sent, because too many requests were outstanding or the run was interrupted.
    pub(crate) not_sent: u64,
    /// Connections opened.
    pub(crate) connects: u64,
    /// Pooled connections that the peer closed between two requests.
    pub(crate) closed_idle: u64,
    /// How long connects took.
    pub(crate) connect: Histogram<u64>,
    /// From the start of an ok request to the first byte of its reply.
    pub(crate) first_byte: Histogram<u64>,
    /// From the start of an ok request to the last byte of its reply.
    pub(crate) request: Histogram<u64>,
    /// From the start of a failed request to its failure.
    pub(crate) failure: Histogram<u64>,
    /// From the intended to the real start: the generator's own lateness.
    pub(crate) late: Histogram<u64>,
    /// Of every ok request, if they are kept.
    pub(crate) samples: Vec<Sample>,
    keeps_samples: bool,
    window: Window,
    live: Arc<Live>,
}

/// One request.
///
/// In microseconds, which fit: a run lasts an hour at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// When it started, in the measured time.
    pub(crate) start_us: u32,
    /// How long it took.
    pub(crate) took_us: u32,
}

/// The measured time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    /// What begins before is the warm-up.
    pub(crate) start: Instant,
    /// What is done after this counts as ok, but not for the throughput.
    pub(crate) end: Instant,
}

impl Tally {
    /// Nothing counted yet.
    pub(crate) fn new(window: Window, live: Arc<Live>, keeps_samples: bool) -> Self {
        let times =
            || Histogram::new_with_bounds(1, TIME_MAX_NS, 3).expect("the bounds are constant and right");
        Self {
            ok: 0,
            ok_in_window: 0,
            done_in_window: 0,
            failed: Default::default(),
            first_failures: Default::default(),
            warm_up: 0,
            warm_up_failed: 0,
            not_sent: 0,
            connects: 0,
            closed_idle: 0,
            connect: times(),
            first_byte: times(),
            request: times(),
            failure: times(),
            late: times(),
            samples: Vec::new(),
            keeps_samples,
            window,
            live,
        }
    }

    /// A connection was opened, which began at `start`.
    pub(crate) fn connected(&mut self, start: Instant, took: Duration) {
        self.connects += 1;
        if !self.is_warm_up(start) {
            record(&mut self.connect, took);
        }
    }

    /// A request that started at `start` was answered.
    pub(crate) fn succeeded(&mut self, start: Instant, first_byte: Instant, end: Instant) {
        self.live.ok.fetch_add(1, Relaxed);
        self.done_in_window += u64::from((self.window.start..=self.window.end).contains(&end));
        if self.is_warm_up(start) {
            self.warm_up += 1;
            return;
        }
        self.ok += 1;
        self.ok_in_window += u64::from(end <= self.window.end);
        record(&mut self.first_byte, first_byte.duration_since(start));
        record(&mut self.request, end.duration_since(start));
        if self.keeps_samples {
            let us = |time: Duration| u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
            let start_us = us(start.duration_since(self.window.start));
            self.samples.push(Sample { start_us, took_us: us(end.duration_since(start)) });
        }
    }

    /// A request that started at `start` failed.
    pub(crate) fn failed(&mut self, start: Instant, failure: Failure, end: Instant) {
        self.live.failed.fetch_add(1, Relaxed);
        if self.is_warm_up(start) {
            self.warm_up += 1;
            self.warm_up_failed += 1;
            return;
        }
        self.failed[failure.kind()] += 1;
        self.first_failures[failure.kind()].get_or_insert(failure);
        record(&mut self.failure, end.duration_since(start));
    }

    /// An arrival that was due at this moment could not be sent.
    pub(crate) fn dropped(&mut self, due: Instant) {
        self.live.not_sent.fetch_add(1, Relaxed);
        if self.is_warm_up(due) {
            self.warm_up += 1;
            self.warm_up_failed += 1;
        } else {
            self.not_sent += 1;
        }
    }

    /// The generator started a request, that was due at this moment, this much later.
    pub(crate) fn started_late(&mut self, due: Instant, by: Duration) {
        if !self.is_warm_up(due) {
            record(&mut self.late, by);
        }
    }

    fn is_warm_up(&self, start: Instant) -> bool {
        start < self.window.start
    }

    /// Takes in the counts of another thread.
    pub(crate) fn add(&mut self, other: &Self) {
        self.ok += other.ok;
        self.ok_in_window += other.ok_in_window;
        self.done_in_window += other.done_in_window;
        for kind in 0..Failure::KINDS.len() {
            self.failed[kind] += other.failed[kind];
            self.first_failures[kind] = self.first_failures[kind].or(other.first_failures[kind]);
        }
        self.warm_up += other.warm_up;
        self.warm_up_failed += other.warm_up_failed;
        self.not_sent += other.not_sent;
        self.samples.extend(&other.samples);
        self.connects += other.connects;
        self.closed_idle += other.closed_idle;
        for (mine, theirs) in [
            (&mut self.connect, &other.connect),
            (&mut self.first_byte, &other.first_byte),
            (&mut self.request, &other.request),
            (&mut self.failure, &other.failure),
            (&mut self.late, &other.late),
        ] {
            mine.add(theirs).expect("all have the same bounds");
        }
    }

    /// Requests that failed, of all kinds.
    pub(crate) fn failed_total(&self) -> u64 {
        self.failed.iter().sum()
    }
}

/// What can be read while the run goes on.
#[derive(Debug, Default)]
pub(crate) struct Live {
    /// As [`Tally::ok`].
    pub(crate) ok: AtomicU64,
    /// As [`Tally::failed_total`].
    pub(crate) failed: AtomicU64,
    /// As [`Tally::not_sent`].
    pub(crate) not_sent: AtomicU64,
}

fn record(times: &mut Histogram<u64>, took: Duration) {
    times.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
}

/// An hour, twice the longest deadline.
const TIME_MAX_NS: u64 = 3_600_000_000_000;
