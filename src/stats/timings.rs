//! How long things took at one backend since the start, counted by how long: what Prometheus calls a histogram.
//!
//! One writer, the thread that makes figures, which sees every sample; so workers pay nothing for them.

use std::time::Duration;

use super::Counter;
use crate::config::Signal;

/// Up to where each bucket goes, in seconds. What is longer than the last is in one more.
pub const BOUNDS: [f64; 18] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0, 30.0, 60.0,
];
/// One more than there are bounds.
pub const BUCKETS: usize = BOUNDS.len() + 1;

/// One backend's times, of each kind.
#[derive(Debug, Default)]
pub struct Timings {
    kinds: [Timing; 3],
    /// The median of the pool's window, in nanoseconds; 0 is unknown.
    pub p50: Counter,
    /// The same of the 99th percentile.
    pub p99: Counter,
}

/// Times of one kind.
#[derive(Debug, Default)]
pub struct Timing {
    buckets: [Counter; BUCKETS],
    nanos: Counter,
}

impl Timings {
    /// Those of one kind.
    pub fn of(&self, signal: Signal) -> &Timing {
        &self.kinds[signal as usize]
    }
}

impl Timing {
    /// Takes one in; only the thread that makes figures does.
    pub fn note(&self, nanos: u64) {
        let seconds = nanos as f64 / 1e9;
        let bucket = BOUNDS.partition_point(|bound| *bound < seconds);
        self.buckets[bucket].add(1);
        // Wraps after 580 years of waiting; an hour at most for each.
        self.nanos.add(nanos.min(3_600_000_000_000));
    }

    /// How many there are of each length, not added up.
    pub fn counts(&self) -> [u64; BUCKETS] {
        std::array::from_fn(|bucket| self.buckets[bucket].get())
    }

    /// All of them together.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.nanos.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_is_in_the_first_bucket_that_it_fits_into() {
        let timings = Timings::default();
        let timing = timings.of(Signal::Connect);
        for nanos in [0, 100_000, 100_001, 60_000_000_000, 60_000_000_001] {
            timing.note(nanos);
        }
        let counts = timing.counts();
        assert_eq!((counts[0], counts[1], counts[17], counts[18]), (2, 1, 1, 1));
        assert_eq!(counts.iter().sum::<u64>(), 5);
        assert_eq!(timing.sum(), Duration::from_nanos(120_000_200_002));
        assert_eq!(timings.of(Signal::Session).counts(), [0; BUCKETS]);
    }
}
