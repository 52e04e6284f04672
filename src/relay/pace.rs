//! Pace: how many bytes may go now, and when more may. Pure: time comes in.
//!
//! A bucket fills at the rate up to the burst, and bytes that go are taken out of it before they are read. So at no moment
//! has more gone than the burst and what the rate allows for the time since the beginning.

use std::time::Duration;

/// How fast one direction may carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Bytes in a second.
    pub rate: u64,
    /// Bytes at once, after a silence.
    pub burst: u64,
}

/// The paces of both directions, in the order of [`super::Direction`].
pub type Paces = [Option<Pace>; 2];

/// What may go.
#[derive(Debug)]
pub(super) struct Bucket {
    pace: Pace,
    /// In billionths of a byte: what one nanosecond adds is a whole number of them.
    level: u128,
    /// When that was.
    at: Duration,
}

const BILLION: u128 = 1_000_000_000;
/// What a step should carry at least, so that a session does not crawl in crumbs.
const STEP_BYTES: u64 = 16 * 1024;
/// But no step waits longer than this part of a second: a slow session should move all the same, and must not look idle.
const SLOW_PARTS: u64 = 20;
/// And where the pace is fast, this part of a second is enough.
const FAST_PARTS: u64 = 200;

impl Bucket {
    /// Full, at the beginning of time.
    pub(super) fn new(pace: Pace) -> Bucket {
        assert!(pace.rate > 0);
        assert!(pace.burst > 0);
        Bucket { pace, level: u128::from(pace.burst) * BILLION, at: Duration::ZERO }
    }

    /// How many bytes may go now.
    ///
    /// # Errors
    ///
    /// After how long enough may go to be worth a step.
    pub(super) fn allowance(&mut self, now: Duration) -> Result<usize, Duration> {
        let passed = now.saturating_sub(self.at).as_nanos();
        let full = u128::from(self.pace.burst) * BILLION;
        self.level = full.min(self.level.saturating_add(passed.saturating_mul(u128::from(self.pace.rate))));
        self.at = self.at.max(now);
        let step = u128::from(self.step()) * BILLION;
        if self.level >= step {
            return Ok(usize::try_from(self.level / BILLION).unwrap_or(usize::MAX));
        }
        let nanos = (step - self.level).div_ceil(u128::from(self.pace.rate));
        Err(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }

    /// So many have gone, which were allowed.
    pub(super) fn spend(&mut self, bytes: usize) {
        let level = self.level.checked_sub(bytes as u128 * BILLION);
        self.level = level.expect("no more is read than is allowed");
    }

    fn step(&self) -> u64 {
        let Pace { rate, burst } = self.pace;
        (rate / FAST_PARTS).max(STEP_BYTES.min(rate / SLOW_PARTS)).clamp(1, burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_more_than_the_burst_and_the_rate_and_hardly_less() {
        for seed in 0..50 {
            let mut dice = fastrand::Rng::with_seed(seed);
            let pace = Pace { rate: dice.u64(1_000..100_000_000), burst: dice.u64(1_000..1_000_000) };
            let mut bucket = Bucket::new(pace);
            let (mut now, mut gone) = (Duration::ZERO, 0_u64);
            for _ in 0..10_000 {
                match bucket.allowance(now) {
                    Ok(allowed) => {
                        let count = dice.usize(1..=allowed);
                        bucket.spend(count);
                        gone += count as u64;
                    }
                    // A timer is late, never early.
                    Err(wait) => now += wait + Duration::from_nanos(dice.u64(..1_000)),
                }
                let due = u128::from(pace.burst) + u128::from(pace.rate) * now.as_nanos() / BILLION;
                assert!(u128::from(gone) <= due, "seed {seed}: {gone} of {due} at {now:?}");
            }
            let due = u128::from(pace.rate) * now.as_nanos() / BILLION;
            assert!(
                u128::from(gone) * 10 > due * 9,
                "seed {seed}: {gone} of {due} at {now:?}: it is too slow"
            );
        }
    }

    #[test]
    fn no_wait_is_longer_than_a_twentieth_of_a_second() {
        for rate in [20, 1_024, 1 << 20, 1 << 30, 1 << 40] {
            let mut bucket = Bucket::new(Pace { rate, burst: (rate / 10).max(16 * 1024) });
            let all = bucket.allowance(Duration::ZERO).unwrap();
            bucket.spend(all);
            let wait = bucket.allowance(Duration::ZERO).unwrap_err();
            assert!(wait <= Duration::from_millis(50), "{rate}: {wait:?}");
            assert!(bucket.allowance(wait).is_ok(), "{rate}: it waits in vain");
        }
    }

    #[test]
    fn a_silence_gives_the_burst_back_and_no_more() {
        let mut bucket = Bucket::new(Pace { rate: 1_000, burst: 5_000 });
        assert_eq!(bucket.allowance(Duration::from_secs(3_600)), Ok(5_000));
        bucket.spend(5_000);
        assert_eq!(bucket.allowance(Duration::from_secs(3_601)), Ok(1_000));
        assert_eq!(bucket.allowance(Duration::from_secs(7_200)), Ok(5_000));
    }
}
