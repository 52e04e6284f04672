//! Outcome: what came of the same sessions with one algorithm, or when they were recorded.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::samples::nanos;

/// What came of all sessions.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    /// What a client waited for a place, and then its backend took for the first byte; in nanoseconds.
    pub(super) first_bytes: Histogram<u64>,
    /// From a client's arrival to the end of its session.
    pub(super) sessions: Histogram<u64>,
    /// How many each backend served.
    pub(super) served: Vec<u64>,
    /// The most that one backend had at once.
    pub(super) most_active: u64,
    /// Those that waited for a backend with room; not told by a record.
    pub(super) queued: Option<u64>,
    /// Those that no backend served.
    pub(super) failed: u64,
}

impl Outcome {
    /// Nothing yet.
    pub(super) fn new(backends: usize) -> Outcome {
        let histogram = || Histogram::new(3).expect("three digits are allowed");
        Outcome {
            first_bytes: histogram(),
            sessions: histogram(),
            served: vec![0; backends],
            most_active: 0,
            queued: None,
            failed: 0,
        }
    }

    /// A first byte came so long after the client.
    pub(super) fn first_byte(&mut self, after: Duration) {
        // It grows to what it is given, so that this cannot fail.
        let _ = self.first_bytes.record(nanos(after));
    }

    /// A session ended so long after the client came.
    pub(super) fn session(&mut self, after: Duration) {
        let _ = self.sessions.record(nanos(after));
    }

    /// Jain's index of what the backends served for their weights: 1 if all had their share, one nth if one of n had all.
    pub(super) fn fairness(&self, weights: &[u32]) -> f64 {
        let shares =
            self.served.iter().zip(weights).map(|(&served, &weight)| served as f64 / f64::from(weight));
        let (sum, squares) =
            shares.fold((0.0, 0.0), |(sum, squares), share| (sum + share, squares + share * share));
        sum * sum / (weights.len() as f64 * squares)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fairness_is_one_by_weight_and_one_nth_for_one_of_n() {
        let fairness = |served: &[u64], weights: &[u32]| {
            Outcome { served: served.to_vec(), ..Outcome::new(served.len()) }.fairness(weights)
        };
        assert_eq!(fairness(&[5, 5, 5, 5], &[1; 4]), 1.0);
        assert_eq!(fairness(&[5, 0, 0, 0], &[1; 4]), 0.25);
        assert_eq!(fairness(&[30, 10], &[3, 1]), 1.0);
        assert_eq!(fairness(&[3, 1], &[1, 1]), 0.8);
    }
}
