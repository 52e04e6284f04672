//! Round robin: each backend that is up in turn, whatever its weight.

use super::Choice;

/// Whose turn is next.
#[derive(Debug)]
pub struct RoundRobin {
    next: usize,
}

impl RoundRobin {
    /// The first turn is that of the member at this place, counted round.
    pub fn starting_at(first: usize) -> RoundRobin {
        RoundRobin { next: first }
    }

    /// The next member in turn that is eligible.
    pub fn pick(&mut self, choice: Choice<'_>) -> Option<usize> {
        let count = choice.members.len();
        // Behind the last member, or fewer members than at the last pick: go round.
        let first = self.next.checked_rem(count)?;
        let (before, from) = (0..first, first..count);
        let chosen = from.chain(before).find(|&index| choice.is_eligible(&choice.members[index]))?;
        self.next = chosen + 1;
        Some(chosen)
    }
}

#[cfg(test)]
mod tests {
    use crate::balance::Tried;
    use crate::balance::testing::{members, picks};
    use crate::balance::{Balancer, Choice};
    use crate::config::Algorithm;

    #[test]
    fn each_takes_its_turn_and_weights_do_not_count() {
        let members = members(&[1, 200, 1]);
        let mut balancer = Balancer::new(Algorithm::RoundRobin, 0);
        assert_eq!(picks(&mut balancer, &members, 7), [0, 1, 2, 0, 1, 2, 0]);
    }

    #[test]
    fn a_retry_goes_to_the_next_and_the_turn_goes_on_from_there() {
        let members = members(&[1, 1, 1]);
        let mut balancer = Balancer::new(Algorithm::RoundRobin, 0);
        assert_eq!(picks(&mut balancer, &members, 1), [0]);
        let mut tried = Tried::default();
        tried.add(members[1].id);
        assert_eq!(balancer.pick(Choice { members: &members, tried: &tried }), Some(2));
        assert_eq!(picks(&mut balancer, &members, 1), [0]);
    }

    #[test]
    fn fewer_members_than_before_go_round() {
        let many = members(&[1, 1, 1]);
        let mut balancer = Balancer::new(Algorithm::RoundRobin, 0);
        assert_eq!(picks(&mut balancer, &many, 3), [0, 1, 2]);
        assert_eq!(picks(&mut balancer, &many[..1], 2), [0, 0]);
    }
}
