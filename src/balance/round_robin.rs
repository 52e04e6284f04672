//! Round robin: each backend that is up in turn, whatever its weight.

use super::Choice;

/// Whose turn is next.
#[derive(Debug, Default)]
pub struct RoundRobin {
    next: usize,
}

impl RoundRobin {
    /// The next member in turn that is eligible.
    pub fn pick(&mut self, choice: Choice<'_>) -> Option<usize> {
        let count = choice.members.len();
        // Fewer members than at the last pick: begin again.
        let first = if self.next < count { self.next } else { 0 };
        let (before, from) = (0..first, first..count);
        let chosen = from.chain(before).find(|&index| choice.is_eligible(&choice.members[index]))?;
        self.next = chosen + 1;
        Some(chosen)
    }
}

#[cfg(test)]
mod tests {
    use crate::balance::testing::{members, picks};
    use crate::balance::{Balancer, Choice};
    use crate::config::Algorithm;
    use crate::pool::Tried;

    #[test]
    fn each_takes_its_turn_and_weights_do_not_count() {
        let members = members(&[1, 200, 1]);
        let mut balancer = Balancer::new(Algorithm::RoundRobin);
        assert_eq!(picks(&mut balancer, &members, 7), [0, 1, 2, 0, 1, 2, 0]);
    }

    #[test]
    fn a_retry_goes_to_the_next_and_the_turn_goes_on_from_there() {
        let members = members(&[1, 1, 1]);
        let mut balancer = Balancer::new(Algorithm::RoundRobin);
        assert_eq!(picks(&mut balancer, &members, 1), [0]);
        let mut tried = Tried::default();
        tried.add(members[1].id);
        assert_eq!(balancer.pick(Choice { members: &members, tried: &tried }), Some(2));
        assert_eq!(picks(&mut balancer, &members, 1), [0]);
    }

    #[test]
    fn fewer_members_than_before_begin_again() {
        let many = members(&[1, 1, 1]);
        let mut balancer = Balancer::new(Algorithm::RoundRobin);
        assert_eq!(picks(&mut balancer, &many, 3), [0, 1, 2]);
        assert_eq!(picks(&mut balancer, &many[..1], 2), [0, 0]);
    }
}
