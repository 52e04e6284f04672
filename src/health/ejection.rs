//! Ejection: takes a backend out for a while because of what sessions meet there. Pure.
//!
//! Once its time is over a backend is on trial: one session goes there, and what it meets decides. Each ejection that
//! follows soon after another is longer; time spent in service makes up for those of the past.

use std::time::{Duration, Instant};

use crate::config::Ejection as Rule;
use crate::gate::Progress;

/// How long an ejection lasts at most while no backend of the pool is up: clients have nowhere else to go.
const ALONE_MAX: Duration = Duration::from_secs(1);

/// The ejections of one backend.
#[derive(Debug, Clone)]
pub(super) struct Ejection {
    rule: Rule,
    /// Ejections in succession, less those that were made up for until the phase began.
    count: u32,
    phase: Phase,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// Not ejected, and up since then.
    Serving(Instant),
    /// Not ejected, and not up either.
    Suspended,
    /// Ejected at this moment, for this long.
    Out(Cause, Instant, Duration),
    /// A session may try. Since when one has been trying, if one is.
    OnTrial(Cause, Option<Instant>),
}

/// What the sessions met that led to an ejection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// They could not connect: a connection is the proof that this is over.
    Connect,
    /// They were not answered: an answer is.
    Answer,
}

/// What has become of a backend that was ejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Its time is over: let a session try.
    Try,
    /// The session has come to no conclusion for long: let another one try.
    TryAgain,
    /// It serves again; this is what the session got.
    Back(Cause),
    /// It does not: it is out again, for this long.
    OutAgain(Duration),
}

impl Ejection {
    /// Of a backend that is up, or is not.
    pub(super) fn new(rule: Rule, is_up: bool, now: Instant) -> Ejection {
        Ejection { rule, count: 0, phase: if is_up { Phase::Serving(now) } else { Phase::Suspended } }
    }

    /// Whether so many sessions that failed in a row are enough.
    pub(super) fn calls_for(&self, failed_in_row: u64) -> bool {
        matches!(self.phase, Phase::Serving(_))
            && self.rule.failures.is_some_and(|failures| failed_in_row >= u64::from(failures.get()))
    }

    /// Whether it is ejected or on trial.
    pub(super) fn is_out(&self) -> bool {
        matches!(self.phase, Phase::Out(..) | Phase::OnTrial(..))
    }

    /// How many ejections the present one, or the last one, was in succession.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Takes it out and says for how long.
    pub(super) fn eject(&mut self, cause: Cause, now: Instant) -> Duration {
        self.settle(now);
        self.count = self.count.saturating_add(1);
        let time = self.rule.time.checked_mul(self.count).unwrap_or(Duration::MAX).min(self.rule.time_max);
        self.phase = Phase::Out(cause, now, time);
        time
    }

    /// Checks say that it is down: that comes first.
    pub(super) fn suspend(&mut self, now: Instant) {
        self.settle(now);
        self.phase = Phase::Suspended;
    }

    /// Checks say that it is up again.
    pub(super) fn resume(&mut self, now: Instant) {
        self.settle(now);
        self.phase = Phase::Serving(now);
    }

    /// Time spent in service makes up for ejections of the past.
    fn settle(&mut self, now: Instant) {
        if let Phase::Serving(since) = self.phase {
            let made_up = (now - since).as_nanos() / self.rule.time.as_nanos().max(1);
            self.count = self.count.saturating_sub(u32::try_from(made_up).unwrap_or(u32::MAX));
        }
    }

    /// What has come of it by now. `trial` is how far the backend's last trial has come, `is_alone` whether no other of
    /// the pool serves.
    pub(super) fn turn(&mut self, trial: Progress, is_alone: bool, now: Instant) -> Option<Turn> {
        match self.phase {
            Phase::Serving(_) | Phase::Suspended => None,
            Phase::Out(cause, since, time) => {
                let time = if is_alone { time.min(ALONE_MAX) } else { time };
                if now - since < time {
                    return None;
                }
                self.phase = Phase::OnTrial(cause, None);
                Some(Turn::Try)
            }
            Phase::OnTrial(cause, trying) => match (trial, cause) {
                (Progress::Served, _) => Some(self.back(Cause::Answer, now)),
                (Progress::Connected, Cause::Connect) => Some(self.back(Cause::Connect, now)),
                (Progress::Failed, _) => Some(Turn::OutAgain(self.eject(cause, now))),
                (Progress::Open, _) => {
                    self.phase = Phase::OnTrial(cause, None);
                    None
                }
                (Progress::Taken | Progress::Connected, _) => {
                    let since = trying.unwrap_or(now);
                    let is_long = now - since >= self.rule.time;
                    self.phase = Phase::OnTrial(cause, (!is_long).then_some(since));
                    is_long.then_some(Turn::TryAgain)
                }
            },
        }
    }

    fn back(&mut self, what: Cause, now: Instant) -> Turn {
        self.phase = Phase::Serving(now);
        Turn::Back(what)
    }
}

/// How the backends of one pool stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Census {
    /// All of them.
    pub(super) all: usize,
    /// Those that get sessions.
    pub(super) open: usize,
    /// Those that are ejected or on trial.
    pub(super) out: usize,
}

impl Census {
    /// Whether one of those that get sessions may be ejected: at most `share_max` percent of all are out at once, but one
    /// may always be, and never the last that serves.
    pub(super) fn lets_go(self, share_max: u32) -> bool {
        let share = self.all * share_max as usize / 100;
        let most = if share_max > 0 { share.max(1) } else { 0 };
        self.out < most && self.open > 1
    }
}

/// `1st`, `2nd`, `3rd`, `4th`.
pub(super) fn ordinal(number: u32) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::num::NonZeroU32;

    const SECOND: Duration = Duration::from_secs(1);

    /// After 3 failures, for 10 s, at most 35 s.
    fn rule() -> Rule {
        Rule {
            failures: NonZeroU32::new(3),
            time: 10 * SECOND,
            time_max: 35 * SECOND,
            share_max: 50,
            first_byte_timeout: None,
        }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn so_many_in_a_row_call_for_it_and_fewer_do_not() {
        let now = Instant::now();
        let mut ejection = Ejection::new(rule(), true, now);
        assert!(!ejection.calls_for(2) && ejection.calls_for(3));
        ejection.eject(Cause::Connect, now);
        assert!(!ejection.calls_for(9), "it is out already");
        ejection.suspend(now);
        assert!(!ejection.calls_for(9), "it is down");
        assert!(!Ejection::new(Rule { failures: None, ..rule() }, true, now).calls_for(u64::MAX));
    }

    #[test]
    fn each_one_that_follows_is_longer_up_to_the_longest() {
        let mut now = Instant::now();
        let mut ejection = Ejection::new(rule(), true, now);
        let mut time = ejection.eject(Cause::Connect, now);
        let mut times = vec![time];
        for _ in 0..4 {
            assert_eq!(ejection.turn(Progress::Failed, false, now + time - at(1)), None, "not its time");
            now += time;
            assert_eq!(ejection.turn(Progress::Failed, false, now), Some(Turn::Try));
            let Some(Turn::OutAgain(next)) = ejection.turn(Progress::Failed, false, now) else { panic!() };
            time = next;
            times.push(time);
        }
        assert_eq!(times, [10, 20, 30, 35, 35].map(at));
        assert_eq!(ejection.count(), 5);
    }

    #[test]
    fn time_in_service_makes_up_for_it_and_time_out_of_it_does_not() {
        let begun = Instant::now();
        let mut ejection = Ejection::new(rule(), true, begun);
        for _ in 0..3 {
            ejection.eject(Cause::Answer, begun);
        }
        ejection.suspend(begun);
        ejection.resume(begun + at(1000));
        assert_eq!(ejection.clone().eject(Cause::Answer, begun + at(1009)), at(35), "the fourth");
        assert_eq!(ejection.clone().eject(Cause::Answer, begun + at(1010)), at(30), "one less");
        assert_eq!(ejection.clone().eject(Cause::Answer, begun + at(1029)), at(20), "two less");
        assert_eq!(ejection.clone().eject(Cause::Answer, begun + at(9999)), at(10), "forgotten");
    }

    /// One that is on trial after an ejection of this cause.
    fn on_trial(cause: Cause, now: Instant) -> Ejection {
        let mut ejection = Ejection::new(rule(), true, now - at(10));
        ejection.eject(cause, now - at(10));
        assert_eq!(ejection.turn(Progress::Open, false, now), Some(Turn::Try));
        ejection
    }

    #[test]
    fn a_connection_is_enough_only_where_connecting_had_failed() {
        let now = Instant::now();
        let turn = |cause, progress| on_trial(cause, now).turn(progress, false, now);
        assert_eq!(turn(Cause::Connect, Progress::Connected), Some(Turn::Back(Cause::Connect)));
        assert_eq!(turn(Cause::Answer, Progress::Connected), None);
        for cause in [Cause::Connect, Cause::Answer] {
            assert_eq!(turn(cause, Progress::Served), Some(Turn::Back(Cause::Answer)));
            assert_eq!(turn(cause, Progress::Failed), Some(Turn::OutAgain(at(20))));
            assert_eq!(turn(cause, Progress::Taken), None);
        }
    }

    #[test]
    fn a_trial_that_comes_to_no_conclusion_makes_room_for_another() {
        let now = Instant::now();
        let mut ejection = on_trial(Cause::Answer, now);
        assert_eq!(ejection.turn(Progress::Open, false, now + at(100)), None, "nobody has tried yet");
        assert_eq!(ejection.turn(Progress::Taken, false, now + at(100)), None);
        assert_eq!(ejection.turn(Progress::Connected, false, now + at(109)), None);
        assert_eq!(ejection.turn(Progress::Connected, false, now + at(110)), Some(Turn::TryAgain));
        assert_eq!(ejection.turn(Progress::Open, false, now + at(111)), None);
        assert_eq!(ejection.turn(Progress::Served, false, now + at(112)), Some(Turn::Back(Cause::Answer)));
    }

    #[test]
    fn while_nobody_else_serves_it_is_tried_soon() {
        let now = Instant::now();
        let mut ejection = Ejection::new(rule(), true, now);
        ejection.eject(Cause::Connect, now);
        assert_eq!(ejection.turn(Progress::Open, true, now + SECOND / 2), None);
        assert_eq!(ejection.turn(Progress::Open, false, now + SECOND), None);
        assert_eq!(ejection.turn(Progress::Open, true, now + SECOND), Some(Turn::Try));
    }

    #[test]
    fn one_may_always_go_but_never_the_last_that_serves() {
        let lets_go = |all, open, out, share| Census { all, open, out }.lets_go(share);
        assert!(lets_go(3, 3, 0, 10) && !lets_go(3, 2, 1, 10));
        assert!(lets_go(10, 6, 4, 50) && !lets_go(10, 5, 5, 50));
        assert!(!lets_go(10, 10, 0, 0));
        assert!(!lets_go(1, 1, 0, 100) && !lets_go(3, 1, 2, 100) && !lets_go(3, 1, 0, 100));
    }

    #[test]
    fn ordinals_are_written_as_people_do() {
        let words: Vec<String> = [1, 2, 3, 4, 11, 12, 13, 21, 112].map(ordinal).into();
        assert_eq!(words, ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "112th"]);
    }

    proptest! {
        /// Whatever happens in a pool, the bounds hold, and a time is never longer than the longest.
        #[test]
        fn the_bounds_hold_whatever_happens(
            all in 1usize..12,
            share_max in 0u32..=100,
            events in prop::collection::vec((0usize..12, 0u8..5, 0u64..20), 1..300),
        ) {
            let mut now = Instant::now();
            let mut backends = vec![(Ejection::new(rule(), true, now), true); all];
            let most = if share_max == 0 { 0 } else { (all * share_max as usize / 100).max(1) };
            for (which, event, seconds) in events {
                now += at(seconds);
                let out = backends.iter().filter(|(ejection, _)| ejection.is_out()).count();
                let open = backends.iter().filter(|(ejection, up)| *up && !ejection.is_out()).count();
                let (ejection, up) = &mut backends[which % all];
                match event {
                    0 if *up && ejection.calls_for(3) && (Census { all, open, out }).lets_go(share_max) => {
                        let time = ejection.eject(Cause::Answer, now);
                        prop_assert!(time >= rule().time && time <= rule().time_max);
                        prop_assert!(open > 1, "the last one was ejected");
                    }
                    1 if *up => {
                        *up = false;
                        ejection.suspend(now);
                    }
                    2 if !*up => {
                        *up = true;
                        ejection.resume(now);
                    }
                    3 => drop(ejection.turn(Progress::Served, open == 0, now)),
                    4 => drop(ejection.turn(Progress::Failed, open == 0, now)),
                    _ => {}
                }
                prop_assert!(*up || !ejection.is_out(), "what is down is not ejected beside");
                let out = backends.iter().filter(|(ejection, _)| ejection.is_out()).count();
                prop_assert!(out <= most, "{} of {} are out", out, all);
            }
        }
    }
}
