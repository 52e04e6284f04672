//! Policer: which datagrams are over the rate of their session, one way. Pure: time comes in.
//!
//! A bucket as that of streams, but nobody waits for it: what does not fit is dropped. One datagram that is larger than the
//! bucket passes when that is full, and what it took too much is paid back before the next.

use std::time::Duration;

use crate::config::Pace;

const BILLION: i128 = 1_000_000_000;

/// What may pass.
#[derive(Debug)]
pub(super) struct Policer {
    pace: Pace,
    /// In billionths of a byte, as what a nanosecond adds is a whole number of these; below zero while something is owed.
    level: i128,
    /// When that was.
    at: Duration,
}

impl Policer {
    /// Full.
    pub(super) fn new(pace: Pace, now: Duration) -> Policer {
        Policer { pace, level: i128::from(pace.burst) * BILLION, at: now }
    }

    /// Whether so many bytes may pass now, all of them. Then they have.
    pub(super) fn take(&mut self, bytes: usize, now: Duration) -> bool {
        let full = i128::from(self.pace.burst) * BILLION;
        let passed = i128::try_from(now.saturating_sub(self.at).as_nanos()).unwrap_or(i128::MAX);
        let gained = passed.saturating_mul(i128::from(self.pace.rate));
        self.level = full.min(self.level.saturating_add(gained));
        self.at = self.at.max(now);
        let bytes = bytes as i128 * BILLION;
        let fits = self.level >= bytes.min(full);
        if fits {
            self.level -= bytes;
        }
        fits
    }

    /// How many of those datagrams may pass now that a train of so many bytes has, each of this size but the last: from the first
    /// on, as many as fit.
    pub(super) fn take_of_train(&mut self, bytes: usize, size: usize, now: Duration) -> usize {
        let count = if size == 0 { 1 } else { bytes.div_ceil(size).max(1) };
        (0..count).take_while(|nth| self.take(size.min(bytes - nth * size), now)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policer(rate: u64, burst: u64) -> Policer {
        Policer::new(Pace { rate, burst }, Duration::ZERO)
    }

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_burst_passes_and_then_what_the_rate_allows() {
        let mut policer = policer(1_000, 3_000);
        assert!((0..3).all(|_| policer.take(1_000, at(0))));
        assert!(!policer.take(1, at(0)) && policer.take(0, at(0)));
        assert!(!policer.take(500, at(499)) && policer.take(500, at(500)));
        // No more than the burst comes together, however long it was silent; a clock that goes back gives nothing.
        assert!(policer.take(3_000, at(100_000)) && !policer.take(1, at(100_000)));
        assert!(!policer.take(1, at(0)) && !policer.take(1, at(100_000)));
    }

    #[test]
    fn one_that_is_larger_than_the_burst_passes_when_nothing_else_has_and_is_paid_back() {
        let mut policer = policer(1_000, 2_000);
        assert!(policer.take(9_000, at(0)));
        assert!(!policer.take(0, at(6_999)), "7,000 bytes are owed");
        assert!(
            policer.take(0, at(7_000)) && !policer.take(9_000, at(8_999)) && policer.take(9_000, at(9_000))
        );
    }

    #[test]
    fn of_a_train_the_first_pass_that_fit() {
        let mut policer = policer(1_000, 1_000);
        assert_eq!(policer.take_of_train(950, 300, at(0)), 4);
        assert_eq!(policer.take_of_train(950, 300, at(600)), 2);
        assert_eq!(policer.take_of_train(0, 0, at(600)), 1);
        assert_eq!(policer.take_of_train(40, 100, at(600)), 1);
        assert_eq!(policer.take_of_train(40, 100, at(600)), 0);
    }

    #[test]
    fn never_more_than_is_due_and_hardly_less() {
        for seed in 0..50 {
            let mut dice = fastrand::Rng::with_seed(seed);
            let (rate, burst) = (dice.u64(10_000..10_000_000), dice.u64(2_000..100_000));
            let mut policer = policer(rate, burst);
            let (mut now, mut passed) = (Duration::ZERO, 0_u64);
            for _ in 0..20_000 {
                now += Duration::from_micros(dice.u64(..100));
                let bytes = dice.usize(..1_500);
                passed += if policer.take(bytes, now) { bytes as u64 } else { 0 };
                let due = burst + (u128::from(rate) * now.as_nanos() / 1_000_000_000) as u64;
                assert!(passed <= due, "seed {seed}");
            }
            // What was offered is more than the rate of each.
            let due = (u128::from(rate) * now.as_nanos() / 1_000_000_000) as u64;
            assert!(passed * 10 > due * 9, "seed {seed}: {passed} of {due}");
        }
    }
}
