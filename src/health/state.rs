//! The health of one backend: what checks and sessions say, after rise and fall. Pure.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::config::{Health as Spec, InitialState};

/// The health of one backend, by the rule of HAProxy.
///
/// Credit goes from 0 to `rise + fall - 1`; the backend is up from `rise` on. A pass while up restores full credit, a
/// failure while down takes all of it: only failures in a row take a backend out, only passes in a row bring it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HealthState {
    credit: u32,
    rise: u32,
    fall: u32,
    /// Whether anything has been heard of it.
    known: bool,
}

/// News of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It can serve again.
    Up,
    /// It cannot serve.
    Down,
    /// The first that was heard of it leaves it as it was taken to be.
    Confirmed,
}

/// What sessions met at one backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sessions {
    /// Connects that failed since the last look.
    pub(super) failed: u64,
    /// Connects that have failed in a row, up to now.
    pub(super) in_row: u64,
}

impl HealthState {
    /// Before anything has been heard.
    pub(super) fn new(rise: NonZeroU32, fall: NonZeroU32, initial: InitialState) -> HealthState {
        let (rise, fall) = (rise.get(), fall.get());
        let credit = match initial {
            InitialState::FullyUp => rise + fall - 1,
            InitialState::Up => rise,
            InitialState::Down => rise - 1,
            InitialState::FullyDown => 0,
        };
        HealthState { credit, rise, fall, known: false }
    }

    /// How long from one check to the next: shorter while not known or about to change.
    pub(super) fn interval(&self, spec: &Spec) -> Duration {
        match self.credit {
            _ if !self.known => spec.fast_interval,
            0 => spec.down_interval,
            credit if credit == self.full() => spec.interval,
            _ => spec.fast_interval,
        }
    }

    fn full(&self) -> u32 {
        self.rise + self.fall - 1
    }

    /// Whether the backend can serve.
    pub(super) fn is_up(&self) -> bool {
        self.credit >= self.rise
    }

    /// Takes the result of one check.
    pub(super) fn observe(&mut self, passed: bool) -> Option<Change> {
        let was_up = self.is_up();
        let full = self.full();
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
            _ if !was_known => Some(Change::Confirmed),
            _ => None,
        }
    }

    /// Takes what sessions met. Only while up: those that fail later were sent before it went down. Only what failed in a
    /// row: a failure that a success followed proves nothing.
    pub(super) fn heed(&mut self, news: Sessions) -> Option<Change> {
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

    fn state_of(rise: u32, fall: u32, initial: InitialState) -> HealthState {
        HealthState::new(NonZeroU32::new(rise).unwrap(), NonZeroU32::new(fall).unwrap(), initial)
    }

    fn state(rise: u32, fall: u32) -> HealthState {
        state_of(rise, fall, InitialState::Up)
    }

    /// A state with full credit.
    fn proven(rise: u32, fall: u32) -> HealthState {
        let mut state = state(rise, fall);
        assert_eq!(state.observe(true), Some(Change::Confirmed));
        state
    }

    /// How many of these results in a row it takes until it changes sides.
    fn needed(mut state: HealthState, passed: bool) -> u32 {
        (1..100).find(|_| matches!(state.observe(passed), Some(Change::Up | Change::Down))).unwrap()
    }

    #[test]
    fn the_initial_state_says_how_much_it_takes_to_change_it() {
        let first = |initial| state_of(3, 4, initial);
        use InitialState::*;
        assert_eq!(
            [FullyUp, Up, Down, FullyDown].map(|initial| first(initial).is_up()),
            [true, true, false, false]
        );
        assert_eq!(needed(first(InitialState::FullyUp), false), 4);
        assert_eq!(needed(first(InitialState::Up), false), 1);
        assert_eq!(needed(first(InitialState::Down), true), 1);
        assert_eq!(needed(first(InitialState::FullyDown), true), 3);
    }

    #[test]
    fn what_is_heard_first_is_told_even_if_it_changes_nothing() {
        let mut down = state_of(3, 4, InitialState::FullyDown);
        assert_eq!([down.observe(false), down.observe(false)], [Some(Change::Confirmed), None]);
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
            initial in prop::sample::select(
                [InitialState::FullyUp, InitialState::Up, InitialState::Down, InitialState::FullyDown].as_slice()
            ),
            results in prop::collection::vec(any::<bool>(), 1..200),
        ) {
            let mut state = state_of(rise, fall, initial);
            let mut plain = match initial {
                InitialState::FullyUp => Plain { up: true, row: 0 },
                InitialState::Up => Plain { up: true, row: fall - 1 },
                InitialState::Down => Plain { up: false, row: rise - 1 },
                InitialState::FullyDown => Plain { up: false, row: 0 },
            };
            let spec = spec();
            prop_assert_eq!(state.interval(&spec), spec.fast_interval, "nothing is known");
            for (place, passed) in results.into_iter().enumerate() {
                plain.row = if passed == plain.up { 0 } else { plain.row + 1 };
                let limit = if plain.up { fall } else { rise };
                let flips = plain.row == limit;
                if flips {
                    plain = Plain { up: !plain.up, row: 0 };
                }
                let expected = match (flips, plain.up) {
                    (true, true) => Some(Change::Up),
                    (true, false) => Some(Change::Down),
                    (false, _) if place == 0 => Some(Change::Confirmed),
                    (false, _) => None,
                };
                prop_assert_eq!(state.observe(passed), expected);
                prop_assert_eq!(state.is_up(), plain.up);
                let interval = match (plain.row, plain.up) {
                    (0, true) => spec.interval,
                    (0, false) => spec.down_interval,
                    _ => spec.fast_interval,
                };
                prop_assert_eq!(state.interval(&spec), interval);
            }
        }
    }

    fn spec() -> Spec {
        let text = "[[listener]]\nname = 'a'\nbind = '127.0.0.1:1'\npool = 'p'\n\
                    [[pool]]\nname = 'p'\n[[pool.backend]]\naddress = '127.0.0.1:2'\n";
        let health = crate::config::parse("test", text).unwrap().pools.remove(0).health;
        let [fast_interval, interval, down_interval] = [1, 2, 3].map(Duration::from_secs);
        Spec { fast_interval, interval, down_interval, ..health }
    }
}
