//! Spread: which worker should serve a connection that one of them has accepted. Pure.

use std::time::Duration;

/// Other workers that are looked at for one connection, at most: each look is a cache line that its worker may have
/// written since. Up to nine workers see each other exactly; with more, the next connection looks at the next ones.
pub const LOOKS: usize = 8;

/// What levels itself out as soon as this is not worth a hand-over.
const PATIENCE: Duration = Duration::from_millis(5);

/// How many sessions more than the least loaded one a worker may have and still keep what it accepts, when so many of its
/// sessions have ended `within` this time: as many as will have ended in a moment anyway.
///
/// A hand-over wakes another core. With long sessions that is rare, and each of them counts for long: there is no slack. With
/// short ones every count wavers, and without slack each second connection would move for nothing.
pub fn slack(ended: u64, within: Duration) -> u64 {
    let within = within.max(PATIENCE).as_micros() as u64;
    ended.saturating_mul(PATIENCE.as_micros() as u64) / within
}

/// The one of these others, each with its sessions, to which a worker with `own` sessions hands a connection; `None` if it
/// keeps it. Of equals it is the first.
pub fn lighter(own: u64, slack: u64, others: impl Iterator<Item = (usize, u64)>) -> Option<usize> {
    let (worker, fewest) = others.min_by_key(|&(_, sessions)| sessions)?;
    (own > fewest + slack).then_some(worker)
}

/// Whom a worker looks at, connection by connection: its neighbours in turn, so that equals get their share in turn too.
#[derive(Debug, Clone)]
pub struct Neighbours {
    own: usize,
    workers: usize,
    /// How far from its own number the next look begins, less one.
    next: usize,
}

impl Neighbours {
    /// Those of the worker with the number `own`.
    pub fn new(own: usize, workers: usize) -> Neighbours {
        assert!(own < workers);
        Neighbours { own, workers, next: 0 }
    }

    /// The numbers of those to look at now.
    pub fn look(&mut self) -> impl Iterator<Item = usize> + use<> {
        let Neighbours { own, workers, next } = *self;
        let others = workers - 1;
        // All others are seen at each look, or as soon as can be.
        self.next = (next + if others > LOOKS { LOOKS } else { 1 }) % others.max(1);
        (0..others.min(LOOKS)).map(move |step| (own + 1 + (next + step) % others) % workers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Lets a worker accept a connection; returns who serves it.
    fn accept(counts: &mut [u64], slack: u64, neighbours: &mut [Neighbours], by: usize) -> usize {
        let look = neighbours[by].look();
        let to = lighter(counts[by], slack, look.map(|other| (other, counts[other]))).unwrap_or(by);
        counts[to] += 1;
        to
    }

    fn neighbours(workers: usize) -> Vec<Neighbours> {
        (0..workers).map(|own| Neighbours::new(own, workers)).collect()
    }

    fn apart(counts: &[u64]) -> u64 {
        counts.iter().max().unwrap() - counts.iter().min().unwrap()
    }

    #[test]
    fn a_worker_keeps_what_it_accepts_unless_it_is_ahead_by_more_than_the_slack() {
        assert_eq!(lighter(0, 0, [(1, 0), (2, 0)].into_iter()), None);
        assert_eq!(lighter(1, 0, [(1, 0), (2, 0)].into_iter()), Some(1));
        assert_eq!(lighter(1, 0, [(1, 1), (2, 0)].into_iter()), Some(2));
        assert_eq!(lighter(1, 1, [(1, 0)].into_iter()), None);
        assert_eq!(lighter(1008, 8, [(1, 1000)].into_iter()), None);
        assert_eq!(lighter(1009, 8, [(1, 1000)].into_iter()), Some(1));
        assert_eq!(lighter(1_000_000, 0, [].into_iter()), None);
    }

    #[test]
    fn the_slack_is_what_ends_in_a_moment() {
        let tick = Duration::from_millis(50);
        assert_eq!([0, 9, 10, 250].map(|ended| slack(ended, tick)), [0, 0, 1, 25]);
        // A tick that came late, and two that came at once.
        assert_eq!(slack(250, Duration::from_secs(1)), 1);
        assert_eq!(slack(3, Duration::ZERO), 3);
    }

    #[test]
    fn equals_get_connections_in_turn() {
        let (mut counts, mut neighbours) = ([5, 0, 0, 0], neighbours(4));
        let served: Vec<usize> = (0..6).map(|_| accept(&mut counts, 0, &mut neighbours, 0)).collect();
        assert_eq!(counts, [5, 2, 2, 2]);
        assert_eq!(served[..3], [1, 2, 3]);
        assert_eq!(Neighbours::new(0, 1).look().count(), 0);
    }

    #[test]
    fn with_many_workers_everybody_is_looked_at_before_anybody_again() {
        for workers in [10, 18, 64, 65] {
            let mut neighbours = Neighbours::new(3, workers);
            let looks = (workers - 1).div_ceil(LOOKS);
            let mut seen: Vec<usize> = (0..looks).flat_map(|_| neighbours.look()).collect();
            seen.truncate(workers - 1);
            seen.sort_unstable();
            let others: Vec<usize> = (0..workers).filter(|&other| other != 3).collect();
            assert_eq!(seen, others);
        }
    }

    proptest! {
        #[test]
        fn whoever_accepts_the_workers_stay_within_the_slack(
            workers in 1..=LOOKS + 1,
            slack in 0..10_u64,
            accepts in prop::collection::vec(any::<prop::sample::Index>(), 0..2000),
        ) {
            let (mut counts, mut neighbours) = (vec![0; workers], neighbours(workers));
            for by in accepts {
                accept(&mut counts, slack, &mut neighbours, by.index(workers));
                prop_assert!(apart(&counts) <= slack + 1, "{counts:?}");
            }
        }

        #[test]
        fn nobody_is_given_more_than_who_gives(
            counts in prop::collection::vec(0..200_u64, 2..100),
            turn in 0..100_usize,
            slack in 0..10_u64,
        ) {
            let mut neighbours = Neighbours::new(0, counts.len());
            (0..turn).for_each(|_| drop(neighbours.look()));
            let looked_at: Vec<usize> = neighbours.clone().look().collect();
            let fewest = looked_at.iter().map(|&other| counts[other]).min().unwrap();
            match lighter(counts[0], slack, neighbours.look().map(|other| (other, counts[other]))) {
                Some(to) => {
                    prop_assert!(to != 0);
                    prop_assert_eq!(counts[to], fewest);
                    prop_assert!(counts[to] < counts[0]);
                }
                None => prop_assert!(counts[0] <= fewest + slack),
            }
        }
    }
}
