//! Least connections: the backend with the fewest sessions for its weight.

use std::num::NonZeroU32;

use super::Choice;

/// Where the search begins, so that ties take turns.
#[derive(Debug)]
pub struct LeastConnections {
    first: usize,
}

impl LeastConnections {
    /// The first search begins with the member at this place, counted round.
    pub fn starting_at(first: usize) -> LeastConnections {
        LeastConnections { first }
    }

    /// The eligible member with the smallest load. Among equals, the one behind the last that was chosen.
    pub fn pick(&mut self, choice: &Choice<'_>) -> Option<usize> {
        let count = choice.members.len();
        let first = self.first.checked_rem(count)?;
        let mut best: Option<(usize, Load)> = None;
        choice.each_eligible(first, |index, member| {
            let load = Load { active: choice.active(member), share: member.share };
            if best.is_none_or(|(_, least)| load.is_less(least)) {
                best = Some((index, load));
            }
        });
        let (chosen, _) = best?;
        self.first = chosen + 1;
        Some(chosen)
    }
}

/// Sessions for a share.
#[derive(Clone, Copy)]
struct Load {
    active: u32,
    share: NonZeroU32,
}

impl Load {
    /// Compared crosswise: no division, nothing rounded.
    fn is_less(self, other: Load) -> bool {
        let cost = |of: Load, against: Load| u64::from(of.active) * u64::from(against.share.get());
        cost(self, other) < cost(other, self)
    }
}

#[cfg(test)]
mod tests {
    use crate::balance::testing::Field;
    use crate::config::Algorithm;
    use crate::load::Lease;

    #[test]
    fn the_least_busy_is_chosen_and_a_busy_one_is_not() {
        let mut field = Field::new(&[1, 1, 1]);
        let _busy = [0, 0, 1].map(|place| field.loads.lease(place));
        let mut balancer = field.balancer(Algorithm::LeastConnections);
        assert_eq!(field.picks(&mut balancer, 3), [2, 2, 2]);
    }

    #[test]
    fn ties_take_turns() {
        let mut field = Field::new(&[1, 1, 1]);
        let mut balancer = field.balancer(Algorithm::LeastConnections);
        assert_eq!(field.picks(&mut balancer, 6), [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn sessions_that_stay_are_held_in_proportion_to_the_weights() {
        let mut field = Field::new(&[1, 3, 4]);
        let mut balancer = field.balancer(Algorithm::LeastConnections);
        let kept: Vec<(usize, Lease)> = (0..80).map(|_| field.pick_and_keep(&mut balancer)).collect();
        assert_eq!([0, 1, 2].map(|place| field.loads.active(place)), [10, 30, 40]);
        drop(kept);
        assert_eq!([0, 1, 2].map(|place| field.loads.active(place)), [0, 0, 0]);
    }
}
