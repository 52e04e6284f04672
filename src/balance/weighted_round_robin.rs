//! Smooth weighted round robin: each backend as often as its weight says, spread as evenly as can be.
//!
//! The method of nginx: at each pick every eligible member gains its weight, the one with the most is chosen and pays
//! the sum of what was gained. Weights 5, 1, 1 give A A B A C A A, not five times A in a row, and after as many picks as
//! the weights add up to everybody is back at zero.

use super::Choice;
use crate::balance::Member;
use crate::table::BackendId;

/// Turns that are passed over at the start, at most.
const PASSED_OVER_MAX: usize = 64;

/// What each member has gained and not yet spent.
#[derive(Debug)]
pub struct WeightedRoundRobin {
    /// How many turns to pass over before the first pick.
    first: usize,
    /// In the order of the members.
    credits: Vec<(BackendId, i64)>,
}

impl WeightedRoundRobin {
    /// The first pick is that of this turn, counted from 0.
    pub fn starting_at(first: usize) -> WeightedRoundRobin {
        WeightedRoundRobin { first: first.min(PASSED_OVER_MAX), credits: Vec::new() }
    }

    /// Keeps the credit of those that stay; those that come begin at zero, like everybody at the start.
    pub fn adopt(&mut self, members: &[Member]) {
        let before = std::mem::take(&mut self.credits);
        let mut before = before.into_iter().peekable();
        for member in members {
            // Both lists are in the order of their ids: one pass finds who stays.
            while before.next_if(|(id, _)| *id < member.id).is_some() {}
            let kept = before.next_if(|(id, _)| *id == member.id).map_or(0, |(_, credit)| credit);
            self.credits.push((member.id, kept));
        }
        if !members.is_empty() {
            for _ in 0..std::mem::take(&mut self.first) {
                self.turn(members, |member| member.is_open);
            }
        }
    }

    /// The member with the most credit; the first in the table among equals.
    pub fn pick(&mut self, choice: &Choice<'_>) -> Option<usize> {
        self.turn(choice.members, |member| choice.is_eligible(member))
    }

    #[inline(always)]
    fn turn(&mut self, members: &[Member], may: impl Fn(&Member) -> bool) -> Option<usize> {
        debug_assert_eq!(self.credits.len(), members.len());
        let mut best: Option<(usize, i64)> = None;
        let mut gained = 0;
        for (index, member) in members.iter().enumerate() {
            if !may(member) {
                continue;
            }
            let weight = i64::from(member.share.get());
            let credit = &mut self.credits[index].1;
            *credit += weight;
            gained += weight;
            if best.is_none_or(|(_, most)| *credit > most) {
                best = Some((index, *credit));
            }
        }
        let (chosen, _) = best?;
        self.credits[chosen].1 -= gained;
        Some(chosen)
    }
}

#[cfg(test)]
mod tests {
    use crate::balance::Balancer;
    use crate::balance::testing::{Field, Vectors};
    use crate::config::{Algorithm, PowerOfTwoBy};

    #[test]
    fn weights_5_1_1_give_the_known_sequence_and_then_repeat() {
        let mut field = Field::new(&[5, 1, 1]);
        let mut balancer = field.balancer(Algorithm::WeightedRoundRobin);
        let sequence = [0, 0, 1, 0, 2, 0, 0];
        assert_eq!(field.picks(&mut balancer, 7), sequence);
        assert_eq!(field.picks(&mut balancer, 7), sequence);
    }

    #[test]
    fn after_as_many_picks_as_the_weights_add_up_to_all_credits_are_zero() {
        let mut field = Field::new(&[7, 3, 256, 1]);
        let mut balancer = field.balancer(Algorithm::WeightedRoundRobin);
        field.picks(&mut balancer, 267);
        let Balancer::WeightedRoundRobin(rule) = balancer else { unreachable!() };
        assert!(rule.credits.iter().all(|&(_, credit)| credit == 0));
    }

    #[test]
    fn workers_that_begin_at_other_turns_follow_the_same_sequence() {
        let mut field = Field::new(&[5, 1, 1]);
        let sequence = [0, 0, 1, 0, 2, 0, 0, 0, 0, 1, 0, 2, 0, 0];
        for first in 0..7 {
            let mut balancer = Balancer::new(Algorithm::WeightedRoundRobin, PowerOfTwoBy::Connections, first);
            balancer.adopt(&field.members);
            assert_eq!(field.picks(&mut balancer, 7), sequence[first..first + 7]);
        }
    }

    #[test]
    fn credit_survives_a_change_of_the_members() {
        let mut field = Field::new(&[5, 1, 1]);
        let mut balancer = field.balancer(Algorithm::WeightedRoundRobin);
        assert_eq!(field.picks(&mut balancer, 2), [0, 0]);
        // The last one goes: the second is still owed its turn.
        field.members.truncate(2);
        balancer.adopt(&field.members);
        assert_eq!(field.picks(&mut balancer, 1), [1]);
    }

    #[test]
    fn whole_rounds_are_those_of_the_vectors() {
        let numbers =
            |text: &str| text.split(' ').map(|number| number.parse().unwrap()).collect::<Vec<u32>>();
        let vectors = Vectors::parse(include_str!("../../tests/vectors/smooth-weighted-round-robin.txt"));
        assert!(vectors.others.len() >= 14);
        for pair in vectors.others.chunks(2) {
            let [("weights", weights), ("picks", picks)] = pair else { panic!("{pair:?}") };
            let (mut field, picks) = (Field::new(&numbers(weights)), numbers(picks));
            let mut balancer = field.balancer(Algorithm::WeightedRoundRobin);
            for round in 0..2 {
                let got: Vec<u32> =
                    field.picks(&mut balancer, picks.len()).into_iter().map(|pick| pick as u32).collect();
                assert_eq!(got, picks, "{weights}, round {round}");
            }
        }
    }
}
