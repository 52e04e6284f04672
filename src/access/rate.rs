//! Rate: who comes too often. The generic cell rate algorithm: a rate is one moment, at which everything that has come would
//! have come evenly. It lies in the future as long as more has come than the rate allows, and by how much says how much more
//! there may be. Pure but for [`Gauge`], which many threads share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::config;

/// A rate, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// From one to the next, when they come evenly.
    interval: u64,
    /// What the moment may lie in the future.
    depth: u64,
}

impl Rate {
    /// After so many at once, one at a time.
    pub fn new(spec: config::Rate) -> Rate {
        let interval = nanos(spec.interval()).max(1);
        Rate { interval, depth: interval.saturating_mul(u64::from(spec.burst.get())) }
    }

    /// The moment after one more has come, or how long that one would have to wait.
    ///
    /// A moment further away than it can be is from another rate, before a reload: it counts as the furthest.
    pub fn take(&self, even_at: u64, now: u64) -> Result<u64, Duration> {
        let next = even_at.clamp(now, now.saturating_add(self.depth)).saturating_add(self.interval);
        match next.saturating_sub(now).saturating_sub(self.depth) {
            0 => Ok(next),
            too_much => Err(Duration::from_nanos(too_much)),
        }
    }
}

/// As rates count time.
pub fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// What has come, on all threads.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Counts one more, or says how long it would have to wait.
    pub fn take(&self, rate: Rate, now: u64) -> Result<(), Duration> {
        // Relaxed: the moment says all there is, and nothing else is read because of it.
        let mut even_at = self.0.load(Ordering::Relaxed);
        loop {
            let next = rate.take(even_at, now)?;
            match self.0.compare_exchange_weak(even_at, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(other) => even_at = other,
            }
        }
    }

    /// One that was counted has not come after all.
    pub fn give_back(&self, rate: Rate) {
        let earlier = |even_at: u64| Some(even_at.saturating_sub(rate.interval));
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, earlier);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RateUnit;
    use std::num::NonZeroU32;

    const MS: u64 = 1_000_000;

    fn rate(count: u32, burst: u32) -> Rate {
        let [count, burst] = [count, burst].map(|number| NonZeroU32::new(number).unwrap());
        Rate::new(config::Rate { count, unit: RateUnit::Second, burst })
    }

    #[test]
    fn a_burst_comes_at_once_and_then_one_at_a_time() {
        let rate = rate(100, 3);
        let gauge = Gauge::default();
        let begun = 5_000 * MS;
        assert!((0..3).all(|_| gauge.take(rate, begun).is_ok()));
        assert_eq!(gauge.take(rate, begun), Err(Duration::from_millis(10)));
        assert_eq!(gauge.take(rate, begun + 4 * MS), Err(Duration::from_millis(6)));
        assert_eq!(gauge.take(rate, begun + 10 * MS), Ok(()));
        assert_eq!(gauge.take(rate, begun + 10 * MS), Err(Duration::from_millis(10)));
        // After a silence there is a burst again, and no more than that.
        let later = begun + 60_000 * MS;
        assert!((0..3).all(|_| gauge.take(rate, later).is_ok()));
        assert!(gauge.take(rate, later).is_err());
    }

    #[test]
    fn at_no_moment_more_has_come_than_the_burst_and_the_rate_since_the_beginning() {
        let rate = rate(1_000, 10);
        let (mut dice, gauge, mut now, mut taken) = (fastrand::Rng::with_seed(7), Gauge::default(), 0, 0);
        for _ in 0..100_000 {
            now += dice.u64(..MS);
            taken += u64::from(gauge.take(rate, now).is_ok());
            assert!(taken <= 10 + now / MS, "{taken} at {now}");
        }
        assert!(taken + 20 > now / MS, "{taken} at {now}: it does not reach the rate");
    }

    #[test]
    fn what_is_given_back_may_come_again() {
        let (rate, gauge) = (rate(1, 1), Gauge::default());
        gauge.take(rate, 100).unwrap();
        gauge.give_back(rate);
        assert_eq!(gauge.take(rate, 100), Ok(()));
        assert!(gauge.take(rate, 100).is_err());
    }

    #[test]
    fn a_debt_from_a_slower_rate_does_not_outlive_it() {
        let gauge = Gauge::default();
        gauge.take(rate(1, 1), 0).unwrap();
        assert_eq!(gauge.take(rate(100, 1), 0), Err(Duration::from_millis(10)));
    }

    #[test]
    fn many_threads_get_no_more_than_the_burst() {
        let (rate, gauge) = (rate(1, 1_000), Gauge::default());
        let taken: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..1_000).filter(|_| gauge.take(rate, 0).is_ok()).count()))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(taken, 1_000);
    }
}
