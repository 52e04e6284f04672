//! Power of two choices: the better of two drawn by weight.
//!
//! Two looks instead of one at everybody: nearly as even, at a cost that does not grow with the pool. And many balancers
//! that know the same figures do not all run to the same backend.

use fastrand::Rng;

use super::explore::Explore;
use super::score::score;
use super::urn::{Pair, Urn};
use super::{Choice, Member};
use crate::config::PowerOfTwoBy;

/// What is drawn from, and what is compared.
#[derive(Debug)]
pub struct PowerOfTwo {
    by: PowerOfTwoBy,
    urn: Urn,
    explore: Explore,
}

impl PowerOfTwo {
    /// Compares two by this.
    pub fn new(by: PowerOfTwoBy, first: usize) -> PowerOfTwo {
        PowerOfTwo { by, urn: Urn::default(), explore: Explore::starting_at(first) }
    }

    /// Gets ready for other members.
    pub fn adopt(&mut self, members: &[Member]) {
        self.urn.adopt(members);
    }

    /// The better of two eligible members; the one that was drawn first if they are equal.
    pub fn pick(&mut self, choice: &Choice<'_>, dice: &mut Rng) -> Option<usize> {
        let (one, other) = match self.urn.pair(choice, dice) {
            Pair::Nobody => return None,
            Pair::One(only) => return Some(only),
            Pair::Two(one, other) => (one, other),
        };
        Some(match self.by {
            PowerOfTwoBy::Connections => by_connections(choice, one, other),
            PowerOfTwoBy::ResponseTime => by_response_time(choice, one, other, &mut self.explore),
        })
    }

    /// What it compares by.
    pub fn score(&self, choice: &Choice<'_>, member: &Member) -> f64 {
        match self.by {
            PowerOfTwoBy::Connections => (f64::from(choice.active(member)) + 1.0) * member.per_share,
            PowerOfTwoBy::ResponseTime => score(choice, member, choice.times.get(member.id), 1.0),
        }
    }
}

/// The one with fewer sessions for its share, counting the one that comes: of two idle ones the larger.
fn by_connections(choice: &Choice<'_>, one: usize, other: usize) -> usize {
    let [a, b] = [one, other].map(|index| &choice.members[index]);
    let cost =
        |of: &Member, against: &Member| (u64::from(choice.active(of)) + 1) * u64::from(against.share.get());
    if cost(b, a) < cost(a, b) { other } else { one }
}

/// The one with the smaller score. One that was never measured is taken to be as fast as the other; one that was not
/// measured lately is preferred now and then.
fn by_response_time(choice: &Choice<'_>, one: usize, other: usize, explore: &mut Explore) -> usize {
    let [a, b] = [one, other].map(|index| &choice.members[index]);
    let [of_a, of_b] = [a, b].map(|member| choice.times.get(member.id));
    if of_a.is_stale() != of_b.is_stale() && explore.is_due() {
        explore.done();
        return if of_a.is_stale() { one } else { other };
    }
    let of_both = of_a.nanos().max(of_b.nanos());
    if score(choice, b, of_b, of_both) < score(choice, a, of_a, of_both) { other } else { one }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::Balancer;
    use crate::balance::testing::Field;
    use crate::config::Algorithm;
    use crate::times::Figure;

    #[test]
    fn the_busiest_is_never_chosen_and_the_idle_one_wins_each_time_it_is_drawn() {
        let mut field = Field::new(&[1, 1, 1]);
        let mut balancer = field.balancer(Algorithm::PowerOfTwo);
        let _busy = [0, 0, 0, 1].map(|place| field.loads.lease(place));
        let picks = field.picks(&mut balancer, 3000);
        assert!(!picks.contains(&0));
        // Two of the three pairs have the idle one: a deviation is 26 of 2,000.
        let idle = picks.iter().filter(|&&pick| pick == 2).count();
        assert!((1870..=2130).contains(&idle), "{idle}");
    }

    #[test]
    fn sessions_that_stay_are_held_nearly_in_proportion_to_the_weights() {
        let mut field = Field::new(&[1, 3, 4]);
        let mut balancer = field.balancer(Algorithm::PowerOfTwo);
        let kept: Vec<_> = (0..800).map(|_| field.pick_and_keep(&mut balancer)).collect();
        let held = [0, 1, 2].map(|place| field.loads.active(place));
        for (held, expected) in held.into_iter().zip([100, 300, 400]) {
            assert!(held.abs_diff(expected) <= 10, "{held} in place of {expected}");
        }
        drop(kept);
    }

    #[test]
    fn by_response_time_the_slower_of_two_gets_nothing_while_it_is_measured() {
        for algorithm in [Algorithm::PowerOfTwo, Algorithm::PeakEwma] {
            let mut field = Field::new(&[1, 1]);
            let mut balancer = Balancer::new(algorithm, PowerOfTwoBy::ResponseTime, 0);
            balancer.adopt(&field.members);
            field.times.set(field.members[0].id, Figure::fresh(300));
            field.times.set(field.members[1].id, Figure::fresh(200));
            assert!(!field.picks(&mut balancer, 200).contains(&0), "{algorithm:?}");
            // When nobody has measured it for a while it gets a bounded part.
            field.times.set(field.members[0].id, Figure::stale(300));
            let tried = field.picks(&mut balancer, 200).iter().filter(|&&pick| pick == 0).count();
            assert_eq!(tried, 10, "{algorithm:?}");
        }
    }

    #[test]
    fn one_that_was_never_measured_counts_as_fast_as_who_it_meets() {
        let mut field = Field::new(&[1, 1]);
        let mut balancer = Balancer::new(Algorithm::PowerOfTwo, PowerOfTwoBy::ResponseTime, 0);
        balancer.adopt(&field.members);
        field.times.set(field.members[0].id, Figure::fresh(300));
        let fresh = field.picks(&mut balancer, 1000).iter().filter(|&&pick| pick == 1).count();
        assert!((420..=580).contains(&fresh), "{fresh}");
        let _busy = field.loads.lease(1);
        assert!(!field.picks(&mut balancer, 200).contains(&1));
    }

    #[test]
    fn a_single_one_that_is_left_is_chosen() {
        let mut field = Field::new(&[1, 1, 1]);
        let mut balancer = field.balancer(Algorithm::PowerOfTwo);
        field.tried.add(field.members[0].id);
        field.tried.add(field.members[2].id);
        assert_eq!(field.picks(&mut balancer, 20), [1; 20]);
    }
}
