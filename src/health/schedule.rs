//! When a backend is checked next. Pure.
//!
//! Checks stand on a grid: the place of the next one follows from the place of the last one, and not from the moment at
//! which that one began or ended. So what makes one check late (a busy machine, a timeout, no permit) shifts no other.

use std::time::{Duration, Instant};

/// The place on the grid after `last`, as seen at `now`, with this distance between places.
///
/// A place that has just passed is taken: its check is late, and the one after it is not. Of several that have passed only
/// the last one is: after a gap (the process was stopped) missed checks are not made up for.
pub(super) fn next(last: Instant, interval: Duration, now: Instant) -> Instant {
    let passed = now.saturating_duration_since(last).as_nanos() / interval.as_nanos().max(1);
    last + interval * u32::try_from(passed).unwrap_or(u32::MAX).max(1)
}

/// The moment of the check that has this place. `dice` is from 0 to 1.
///
/// Each moment is moved away from its place by up to half of `jitter` percent of the interval, either way, so that the
/// time between two checks is up to `jitter` percent shorter or longer, and the grid stays where it is.
pub(super) fn jittered(place: Instant, interval: Duration, jitter: u32, dice: f64) -> Instant {
    let reach = interval.mul_f64(f64::from(jitter) / 200.0);
    place + reach.mul_f64(2.0 * dice) - reach
}

/// How long after the start the first check of number `index` of `count` backends comes.
pub(super) fn spread(index: usize, count: usize, over: Duration) -> Duration {
    over.mul_f64(index as f64 / count.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_first_checks_are_spread_evenly_and_within_their_span() {
        let moments: Vec<Duration> = (0..4).map(|index| spread(index, 4, SECOND)).collect();
        assert_eq!(moments, [0, 250, 500, 750].map(Duration::from_millis));
    }

    #[test]
    fn after_a_gap_one_check_is_made_and_not_each_that_was_missed() {
        let last = Instant::now();
        assert_eq!(next(last, 2 * SECOND, last + 61 * SECOND), last + 60 * SECOND);
        assert_eq!(next(last, 2 * SECOND, last), last + 2 * SECOND);
    }

    #[test]
    fn a_check_that_takes_its_whole_interval_does_not_cost_the_next_one() {
        let last = Instant::now();
        let ended = last + 2 * SECOND + Duration::from_millis(3);
        assert_eq!(next(last, 2 * SECOND, ended), last + 2 * SECOND);
    }

    proptest! {
        /// Whatever delays them, as long as it is less than an interval: check number n stands at n intervals.
        #[test]
        fn late_checks_shift_no_other(
            interval in 1u64..10_000,
            delays in prop::collection::vec(0.0f64..1.0, 1..300),
        ) {
            let begun = Instant::now();
            let interval = Duration::from_millis(interval);
            let mut place = begun;
            for (number, delay) in delays.into_iter().enumerate() {
                prop_assert_eq!(place, begun + interval * number as u32);
                place = next(place, interval, place + interval.mul_f64(delay));
            }
        }

        #[test]
        fn a_place_is_never_more_than_an_interval_away(
            interval in 1u64..10_000,
            gap in 0u64..1_000_000,
        ) {
            let last = Instant::now();
            let (interval, now) = (Duration::from_millis(interval), last + Duration::from_millis(gap));
            let place = next(last, interval, now);
            prop_assert!(place > now - interval.min(now - last) && place <= now.max(last + interval));
            prop_assert_eq!((place - last).as_nanos() % interval.as_nanos(), 0);
        }

        #[test]
        fn jitter_keeps_within_its_percentage_and_uses_it(
            interval in 1_000u64..10_000,
            jitter in 0u32..=50,
            dice in 0.0f64..1.0,
            other in 0.0f64..1.0,
        ) {
            let interval = Duration::from_millis(interval);
            let place = Instant::now() + interval;
            let (one, next) = (
                jittered(place, interval, jitter, dice),
                jittered(place + interval, interval, jitter, other),
            );
            let (shortest, longest) = (
                interval.mul_f64(1.0 - f64::from(jitter) / 100.0),
                interval.mul_f64(1.0 + f64::from(jitter) / 100.0),
            );
            let rounding = Duration::from_nanos(10);
            prop_assert!(next - one + rounding >= shortest && next - one <= longest + rounding);
            let ends = [0.0, 1.0].map(|dice| jittered(place, interval, jitter, dice));
            prop_assert!(ends[1] - ends[0] + rounding >= interval.mul_f64(f64::from(jitter) / 100.0));
        }
    }
}
