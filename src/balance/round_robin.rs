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
    pub fn pick(&mut self, choice: &Choice<'_>) -> Option<usize> {
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
    use crate::balance::testing::Field;
    use crate::config::Algorithm;

    #[test]
    fn each_takes_its_turn_and_weights_do_not_count() {
        let mut field = Field::new(&[1, 200, 1]);
        let mut balancer = field.balancer(Algorithm::RoundRobin);
        assert_eq!(field.picks(&mut balancer, 7), [0, 1, 2, 0, 1, 2, 0]);
    }

    #[test]
    fn a_retry_goes_to_the_next_and_the_turn_goes_on_from_there() {
        let mut field = Field::new(&[1, 1, 1]);
        let mut balancer = field.balancer(Algorithm::RoundRobin);
        assert_eq!(field.picks(&mut balancer, 1), [0]);
        field.tried.add(field.members[1].id);
        assert_eq!(field.picks(&mut balancer, 1), [2]);
        field.tried = Default::default();
        assert_eq!(field.picks(&mut balancer, 1), [0]);
    }

    #[test]
    fn fewer_members_than_before_go_round() {
        let mut field = Field::new(&[1, 1, 1]);
        let mut balancer = field.balancer(Algorithm::RoundRobin);
        assert_eq!(field.picks(&mut balancer, 3), [0, 1, 2]);
        field.members.truncate(1);
        assert_eq!(field.picks(&mut balancer, 2), [0, 0]);
    }
}
