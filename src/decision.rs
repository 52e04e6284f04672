//! Decision: how one backend was chosen and what came of it, kept for people who ask why.
//!
//! Each worker writes down one session's picks per tick at most, into a short ring that the newest push the oldest out
//! of. The ring has a lock; a worker that would have to wait for it leaves the note out instead.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::end::End;
use crate::table::BackendId;

/// Decisions that each worker keeps.
const DECISIONS_MAX: usize = 64;
/// Candidates of one decision that are kept: the chosen one and the best of the others.
const CANDIDATES_MAX: usize = 32;

/// One pick.
#[derive(Debug, Clone)]
pub struct Decision {
    /// When, since the process began to serve.
    pub at: Duration,
    /// Who asked.
    pub client: IpAddr,
    /// From which pool: an index into the configuration's pools.
    pub pool: usize,
    /// Backends that had been tried before for the same session.
    pub tried: usize,
    /// What there was to choose from, best first; not all of them if there were very many.
    pub candidates: Vec<Candidate>,
    /// How many there were.
    pub candidates_total: usize,
    /// Who was chosen.
    pub chosen: Option<BackendId>,
    /// What came of it.
    pub outcome: Outcome,
}

/// A backend as it looked to a pick.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Which backend.
    pub id: BackendId,
    /// Sessions of the whole process on it.
    pub active: u32,
    /// Its response time in nanoseconds; 0 is unknown.
    pub nanos: u64,
    /// Whether it could be chosen.
    pub verdict: Verdict,
}

/// Why a backend could be picked, or not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// It could, and this is what the rule compared: smaller is better. `None` for rules that compare nothing.
    Eligible(Option<f64>),
    /// It serves only when no other can.
    Backup,
    /// It is down, ejected, drained, in maintenance or of weight 0.
    Closed,
    /// It is on trial, and another session has been let in to try.
    OnTrial,
    /// It was tried for this session.
    Tried,
    /// It is at its limit.
    Full,
}

/// What came of a pick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The session is still going on.
    Running,
    /// There was nobody to pick.
    Nobody,
    /// Connecting failed; the session may have tried another.
    ConnectFailed,
    /// The session ended like this, this long after the pick.
    Ended(End, Duration),
}

/// The last decisions of one worker.
#[derive(Debug, Default)]
pub struct Decisions(Mutex<Ring>);

#[derive(Debug, Default)]
struct Ring {
    decisions: VecDeque<Decision>,
    /// Decisions that were pushed out: the number of the first that is kept.
    first: u64,
}

/// Which decision of its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number(u64);

impl Decisions {
    /// Writes a decision down, unless somebody is reading just now.
    pub fn note(&self, mut decision: Decision) -> Option<Number> {
        keep_the_best(&mut decision);
        let mut ring = self.0.try_lock().ok()?;
        if ring.decisions.len() == DECISIONS_MAX {
            ring.decisions.pop_front();
            ring.first += 1;
        }
        let number = ring.first + ring.decisions.len() as u64;
        ring.decisions.push_back(decision);
        Some(Number(number))
    }

    /// Writes down what came of one that is still kept.
    pub fn conclude(&self, Number(number): Number, outcome: Outcome) {
        let Ok(mut ring) = self.0.try_lock() else { return };
        let place = number.checked_sub(ring.first).map(|place| place as usize);
        if let Some(decision) = place.and_then(|place| ring.decisions.get_mut(place)) {
            decision.outcome = outcome;
        }
    }

    /// Those that are kept, oldest first.
    pub fn recent(&self) -> Vec<Decision> {
        let ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ring.decisions.iter().cloned().collect()
    }
}

/// Best first: the chosen one, then those that could have been, by score, then the others as they stand.
fn keep_the_best(decision: &mut Decision) {
    let rank = |candidate: &Candidate| match candidate.verdict {
        _ if Some(candidate.id) == decision.chosen => (0, 0.0),
        Verdict::Eligible(score) => (1, score.unwrap_or(0.0)),
        _ => (2, 0.0),
    };
    decision.candidates.sort_by(|one, other| {
        let ((one_class, one_score), (other_class, other_score)) = (rank(one), rank(other));
        one_class.cmp(&other_class).then(one_score.total_cmp(&other_score))
    });
    decision.candidates_total = decision.candidates.len();
    decision.candidates.truncate(CANDIDATES_MAX);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn decision(chosen: usize, scores: &[f64]) -> Decision {
        let candidate = |(index, &score)| Candidate {
            id: BackendId::new(index),
            active: 0,
            nanos: 0,
            verdict: Verdict::Eligible(Some(score)),
        };
        Decision {
            at: Duration::ZERO,
            client: Ipv4Addr::LOCALHOST.into(),
            pool: 0,
            tried: 0,
            candidates: scores.iter().enumerate().map(candidate).collect(),
            candidates_total: 0,
            chosen: Some(BackendId::new(chosen)),
            outcome: Outcome::Running,
        }
    }

    #[test]
    fn the_ring_keeps_the_newest_and_an_outcome_finds_its_decision() {
        let decisions = Decisions::default();
        let first = decisions.note(decision(0, &[1.0])).unwrap();
        let numbers: Vec<Number> =
            (0..DECISIONS_MAX).map(|_| decisions.note(decision(0, &[1.0])).unwrap()).collect();
        decisions.conclude(numbers[0], Outcome::ConnectFailed);
        // Pushed out: nothing to write it to.
        decisions.conclude(first, Outcome::Nobody);
        let recent = decisions.recent();
        assert_eq!(recent.len(), DECISIONS_MAX);
        let outcomes: Vec<Outcome> = recent.iter().map(|decision| decision.outcome).collect();
        assert_eq!(outcomes[0], Outcome::ConnectFailed);
        assert!(outcomes[1..].iter().all(|outcome| *outcome == Outcome::Running));
    }

    #[test]
    fn of_very_many_candidates_the_chosen_and_the_best_are_kept() {
        let decisions = Decisions::default();
        let scores: Vec<f64> = (0..1000).map(|index| 1000.0 - f64::from(index)).collect();
        decisions.note(decision(5, &scores));
        let kept = &decisions.recent()[0];
        assert_eq!((kept.candidates.len(), kept.candidates_total), (CANDIDATES_MAX, 1000));
        assert_eq!([0, 1, 2].map(|place| kept.candidates[place].id.index()), [5, 999, 998]);
    }

    #[test]
    fn a_worker_does_not_wait_for_a_reader() {
        let decisions = Decisions::default();
        let _reader = decisions.0.lock().unwrap();
        assert_eq!(decisions.note(decision(0, &[1.0])), None);
    }
}
