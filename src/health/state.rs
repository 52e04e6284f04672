//! The health of one backend: what checks and sessions say, after rise and fall. Pure.

use std::num::NonZeroU32;

/// The health of one backend, by the rule of HAProxy.
///
/// Credit goes from 0 to `rise + fall - 1`; the backend is up from `rise` on. A pass while up restores full credit, a
/// failure while down takes all of it: only failures in a row take a backend out, only passes in a row bring it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthState {
    credit: u32,
    rise: u32,
    fall: u32,
    /// Whether anything has been heard of it.
    known: bool,
}

/// News of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It can serve again.
    Up,
    /// It cannot serve.
    Down,
    /// It was taken to be up, and the first that was heard of it agrees.
    Confirmed,
}

/// What sessions met at one backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sessions {
    /// Connects that failed since the last look.
    pub failed: u64,
    /// Connects that have failed in a row, up to now.
    pub in_row: u64,
}

impl HealthState {
    /// Up, but with no credit to lose: the first failure takes it out, the first pass gives it full credit.
    pub fn new(rise: NonZeroU32, fall: NonZeroU32) -> HealthState {
        HealthState { credit: rise.get(), rise: rise.get(), fall: fall.get(), known: false }
    }

    /// Whether the backend can serve.
    pub fn is_up(&self) -> bool {
        self.credit >= self.rise
    }

    /// Takes the result of one check.
    pub fn observe(&mut self, passed: bool) -> Option<Change> {
        let was_up = self.is_up();
        let full = self.rise + self.fall - 1;
        self.credit = match (was_up, passed) {
            (true, true) => full,
            (true, false) if self.credit == self.rise => 0,
            (true, false) => self.credit - 1,
            (false, true) if self.credit + 1 == self.rise => full,
            (false, true) => self.credit + 1,
            (false, false) => 0,
        };
        let was_known = std::mem::replace(&mut self.known, true);
        match (was_up, self.is_up()) {
            (false, true) => Some(Change::Up),
            (true, false) => Some(Change::Down),
            (true, true) if !was_known => Some(Change::Confirmed),
            _ => None,
        }
    }

    /// Takes what sessions met. Only while up: those that fail later were sent before it went down. Only what failed in a
    /// row: a failure that a success followed proves nothing.
    pub fn heed(&mut self, news: Sessions) -> Option<Change> {
        if !self.is_up() {
            return None;
        }
        let failures = news.failed.min(news.in_row).min(u64::from(self.fall));
        (0..failures).find_map(|_| self.observe(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn state(rise: u32, fall: u32) -> HealthState {
        HealthState::new(NonZeroU32::new(rise).unwrap(), NonZeroU32::new(fall).unwrap())
    }

    /// A state with full credit.
    fn proven(rise: u32, fall: u32) -> HealthState {
        let mut state = state(rise, fall);
        assert_eq!(state.observe(true), Some(Change::Confirmed));
        state
    }

    #[test]
    fn before_the_first_check_one_failure_is_enough() {
        assert_eq!(state(2, 3).observe(false), Some(Change::Down));
    }

    #[test]
    fn fall_failures_in_a_row_take_it_out_and_fewer_do_not() {
        let mut state = proven(2, 3);
        assert_eq!([false, false, true, false, false].map(|passed| state.observe(passed)), [None; 5]);
        assert_eq!(state.observe(false), Some(Change::Down));
    }

    #[test]
    fn rise_passes_in_a_row_bring_it_back_and_fewer_do_not() {
        let mut state = state(2, 3);
        state.observe(false);
        assert_eq!([true, false, true].map(|passed| state.observe(passed)), [None; 3]);
        assert_eq!(state.observe(true), Some(Change::Up));
    }

    #[test]
    fn sessions_that_fail_in_a_row_take_it_out_and_mixed_ones_do_not() {
        let mut state = proven(2, 3);
        for _ in 0..10 {
            assert_eq!(state.heed(Sessions { failed: 5, in_row: 0 }), None);
        }
        assert_eq!(proven(2, 3).heed(Sessions { failed: 5, in_row: 2 }), None);
        assert_eq!(proven(2, 3).heed(Sessions { failed: 3, in_row: 7 }), Some(Change::Down));
    }

    #[test]
    fn sessions_that_fail_late_do_not_hold_up_the_way_back() {
        let mut state = state(2, 3);
        state.observe(false);
        assert_eq!(state.observe(true), None);
        assert_eq!(state.heed(Sessions { failed: 9, in_row: 9 }), None);
        assert_eq!(state.observe(true), Some(Change::Up));
    }

    /// The rule said without credit: count what came in a row.
    struct Plain {
        up: bool,
        row: u32,
    }

    proptest! {
        #[test]
        fn it_agrees_with_counting_what_comes_in_a_row(
            rise in 1u32..6,
            fall in 1u32..6,
            results in prop::collection::vec(any::<bool>(), 1..200),
        ) {
            let mut state = proven(rise, fall);
            let mut plain = Plain { up: true, row: 0 };
            for passed in results {
                plain.row = if passed == plain.up { 0 } else { plain.row + 1 };
                let limit = if plain.up { fall } else { rise };
                let flips = plain.row == limit;
                if flips {
                    plain = Plain { up: !plain.up, row: 0 };
                }
                prop_assert_eq!(state.observe(passed).is_some(), flips);
                prop_assert_eq!(state.is_up(), plain.up);
            }
        }
    }
}
