//! Gate: who may be let through to a backend that takes only so many.
//!
//! The one counter that all workers write: a limit has to be exact. Only backends with `max_connections`, and those that
//! are on probation, have their sessions counted here.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The way into one backend, for all workers.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Gate {
    /// Sessions inside.
    taken: AtomicU32,
    /// The number of the last trial, times [`TRIALS`], and how far it has come. 0 is none.
    trial: AtomicU64,
}

/// Below this part of a trial's word stands how far it has come.
const TRIALS: u64 = 8;

/// How far a trial has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Nobody has taken it.
    Open,
    /// A session has it, of which nothing is known yet.
    Taken,
    /// The session has a connection.
    Connected,
    /// The backend has served the session.
    Served,
    /// The backend has failed the session.
    Failed,
}

impl Progress {
    fn of(word: u64) -> Progress {
        match word % TRIALS {
            0 => Progress::Open,
            1 => Progress::Taken,
            2 => Progress::Connected,
            3 => Progress::Served,
            _ => Progress::Failed,
        }
    }

    /// Whether nothing will come after it.
    fn is_end(self) -> bool {
        matches!(self, Progress::Served | Progress::Failed)
    }
}

impl Gate {
    /// Whether there is no room for one more.
    pub fn is_full(&self, max: NonZeroU32) -> bool {
        self.taken.load(Ordering::Relaxed) >= max.get()
    }

    /// Lets one session in, unless `max` are inside.
    pub fn enter(self: &Arc<Gate>, max: NonZeroU32) -> Option<Place> {
        let one_more = |taken| (taken < max.get()).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Place(Arc::clone(self)))
    }

    /// Opens the next trial: the first session that asks is let in, and no other.
    pub fn open_trial(&self) {
        let number = self.trial.load(Ordering::Relaxed) / TRIALS;
        self.trial.store((number + 1) * TRIALS, Ordering::Relaxed);
    }

    /// Lets one session more have the trial that is under way: the first has come to no end for long. Either may speak.
    pub fn widen_trial(&self) {
        let open = |word: u64| (!Progress::of(word).is_end()).then_some(word / TRIALS * TRIALS);
        let _ = self.trial.fetch_update(Ordering::Relaxed, Ordering::Relaxed, open);
    }

    /// Takes the trial that is open, if it is still to be had.
    pub fn take_trial(self: &Arc<Gate>) -> Option<Trial> {
        let open = self.trial.load(Ordering::Relaxed);
        let is_open = open > 0 && Progress::of(open) == Progress::Open;
        let taken = open + Progress::Taken as u64;
        let is_mine =
            is_open && self.trial.compare_exchange(open, taken, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        is_mine.then(|| Trial { gate: Arc::clone(self), number: open / TRIALS })
    }

    /// How far the last trial has come.
    pub fn trial(&self) -> Progress {
        Progress::of(self.trial.load(Ordering::Relaxed))
    }
}

/// A place inside. Given back by drop.
#[derive(Debug)]
pub struct Place(Arc<Gate>);

impl Drop for Place {
    fn drop(&mut self) {
        let before = self.0.taken.fetch_sub(1, Ordering::Relaxed);
        assert!(before > 0, "a place was given back twice");
    }
}

/// The one session by which a backend is tried out. When it ends and nobody has drawn a conclusion, the next may try.
#[derive(Debug)]
pub struct Trial {
    gate: Arc<Gate>,
    number: u64,
}

impl Trial {
    /// Tells how far it has come. What it said last counts; after an end nothing does.
    pub fn tell(&self, progress: Progress) {
        let next = self.number * TRIALS + progress as u64;
        // Another trial that has been opened since is not this one's to speak of.
        let step = |word| (word / TRIALS == self.number && !Progress::of(word).is_end()).then_some(next);
        let _ = self.gate.trial.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.tell(Progress::Open);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    const TWO: NonZeroU32 = NonZeroU32::new(2).unwrap();

    #[test]
    fn no_more_than_the_limit_are_inside_and_places_come_back() {
        let gate = Arc::new(Gate::default());
        let (first, _second) = (gate.enter(TWO).unwrap(), gate.enter(TWO).unwrap());
        assert!(gate.is_full(TWO) && gate.enter(TWO).is_none());
        drop(first);
        assert!(!gate.is_full(TWO) && gate.enter(TWO).is_some());
    }

    #[test]
    fn many_threads_together_never_exceed_the_limit() {
        let gate = Arc::new(Gate::default());
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        let place = gate.enter(TWO);
                        assert!(gate.taken.load(Ordering::Relaxed) <= 2);
                        drop(place);
                    }
                });
            }
        });
        assert_eq!(gate.taken.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn one_session_has_the_trial_and_the_next_only_when_it_left_without_a_result() {
        let gate = Arc::new(Gate::default());
        assert!(gate.take_trial().is_none(), "none has been opened");
        gate.open_trial();
        let trial = gate.take_trial().unwrap();
        assert!(gate.take_trial().is_none());
        drop(trial);
        assert!(gate.take_trial().is_some());
    }

    #[test]
    fn a_late_end_of_one_trial_does_not_open_the_next() {
        let gate = Arc::new(Gate::default());
        gate.open_trial();
        let late = gate.take_trial().unwrap();
        gate.open_trial();
        let _current = gate.take_trial().unwrap();
        drop(late);
        assert!(gate.take_trial().is_none());
    }

    #[test]
    fn what_a_trial_says_last_counts_and_after_an_end_nothing_does() {
        let gate = Arc::new(Gate::default());
        for end in [Progress::Served, Progress::Failed] {
            gate.open_trial();
            let trial = gate.take_trial().unwrap();
            assert_eq!(gate.trial(), Progress::Taken);
            trial.tell(Progress::Connected);
            assert_eq!(gate.trial(), Progress::Connected);
            trial.tell(end);
            trial.tell(Progress::Connected);
            assert_eq!(gate.trial(), end);
            drop(trial);
            assert_eq!(gate.trial(), end);
            assert!(gate.take_trial().is_none(), "it has been decided");
        }
    }

    #[test]
    fn a_trial_says_nothing_of_the_one_that_was_opened_after_it() {
        let gate = Arc::new(Gate::default());
        gate.open_trial();
        let late = gate.take_trial().unwrap();
        gate.open_trial();
        late.tell(Progress::Failed);
        assert_eq!(gate.trial(), Progress::Open);
    }

    #[test]
    fn a_trial_that_takes_long_gets_company_and_either_may_speak() {
        for first_speaks in [true, false] {
            let gate = Arc::new(Gate::default());
            gate.open_trial();
            let first = gate.take_trial().unwrap();
            assert!(gate.take_trial().is_none());
            gate.widen_trial();
            let second = gate.take_trial().unwrap();
            let (speaks, other) = if first_speaks { (first, second) } else { (second, first) };
            speaks.tell(Progress::Served);
            assert_eq!(gate.trial(), Progress::Served);
            other.tell(Progress::Failed);
            gate.widen_trial();
            assert_eq!(gate.trial(), Progress::Served, "after an end nothing counts");
        }
    }
}
