//! Slow start: how much of its share a backend gets after it has come back. Pure.

use std::num::NonZeroU32;
use std::time::Duration;

/// Steps from nothing to all: each is a new table.
const STEPS: u32 = 20;
/// The shortest time between two steps.
const STEP_MIN: Duration = Duration::from_millis(50);

/// The percentage so long after the return, from 1 to 100: straight up over `slow_start`, in steps.
pub(super) fn percent(since_return: Duration, slow_start: Duration) -> u32 {
    let step = (slow_start / STEPS).max(STEP_MIN);
    let reached = step.as_nanos() * (since_return.as_nanos() / step.as_nanos());
    let percent = 100 * reached / slow_start.as_nanos().max(1);
    u32::try_from(percent).unwrap_or(100).clamp(1, 100)
}

/// What is left of a limit on sessions at this percentage: at least one.
pub(super) fn limit(max: Option<NonZeroU32>, percent: u32) -> Option<NonZeroU32> {
    let part = |max: NonZeroU32| u64::from(max.get()) * u64::from(percent) / 100;
    max.map(|max| u32::try_from(part(max)).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_goes_straight_up_in_twenty_steps() {
        let after = |seconds| percent(Duration::from_secs(seconds), Duration::from_secs(60));
        assert_eq!([0, 2, 3, 6, 29, 30, 57, 59, 60, 600].map(after), [1, 1, 5, 10, 45, 50, 95, 95, 100, 100]);
    }

    #[test]
    fn a_limit_goes_up_along_and_lets_one_in_from_the_beginning() {
        let at = |percent| limit(NonZeroU32::new(50), percent).unwrap().get();
        assert_eq!([1, 5, 50, 99, 100].map(at), [1, 2, 25, 49, 50]);
        assert_eq!(limit(None, 5), None);
    }

    proptest! {
        #[test]
        fn it_never_goes_down_and_ends_at_all(slow_start in 1u64..100_000, times in prop::collection::vec(0u64..200_000, 1..50)) {
            let slow_start = Duration::from_millis(slow_start);
            let mut times = times;
            times.sort_unstable();
            let percents: Vec<u32> = times.iter().map(|&at| percent(Duration::from_millis(at), slow_start)).collect();
            prop_assert!(percents.is_sorted());
            prop_assert!(percents.iter().all(|percent| (1..=100).contains(percent)));
            let over = slow_start.max(STEP_MIN) + STEP_MIN.max(slow_start / STEPS);
            prop_assert_eq!(percent(over, slow_start), 100);
        }
    }
}
