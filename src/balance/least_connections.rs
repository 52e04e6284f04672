//! Least connections: the backend with the fewest sessions for its weight.

use super::Choice;
use crate::balance::Member;

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
    pub fn pick(&mut self, choice: Choice<'_>) -> Option<usize> {
        let count = choice.members.len();
        let first = self.first.checked_rem(count)?;
        let (before, from) = (0..first, first..count);
        let mut best: Option<usize> = None;
        for index in from.chain(before) {
            let member = &choice.members[index];
            if choice.is_eligible(member) && best.is_none_or(|best| is_less(member, &choice.members[best])) {
                best = Some(index);
            }
        }
        self.first = best? + 1;
        best
    }
}

/// Compares what the load of each would be with one session more, for its weight. Multiplied crosswise: no division.
///
/// With one more, because an idle backend of weight 3 is then preferred to an idle one of weight 1.
fn is_less(one: &Member, other: &Member) -> bool {
    let cost =
        |of: &Member, against: &Member| (u64::from(of.load.active()) + 1) * u64::from(against.weight.get());
    cost(one, other) < cost(other, one)
}

#[cfg(test)]
mod tests {
    use crate::balance::testing::{members, picks};
    use crate::balance::{Balancer, Choice};
    use crate::balance::{Member, Tried};
    use crate::config::Algorithm;
    use crate::load::Lease;

    fn pick_and_keep(balancer: &mut Balancer, members: &[Member]) -> (usize, Lease) {
        let tried = Tried::default();
        let chosen = balancer.pick(Choice { members, tried: &tried }).unwrap();
        (chosen, members[chosen].load.lease())
    }

    #[test]
    fn the_least_busy_is_chosen_and_a_busy_one_is_not() {
        let members = members(&[1, 1, 1]);
        let _busy = [members[0].load.lease(), members[0].load.lease(), members[1].load.lease()];
        let mut balancer = Balancer::new(Algorithm::LeastConnections, 0);
        assert_eq!(picks(&mut balancer, &members, 3), [2, 2, 2]);
    }

    #[test]
    fn ties_take_turns() {
        let members = members(&[1, 1, 1]);
        let mut balancer = Balancer::new(Algorithm::LeastConnections, 0);
        assert_eq!(picks(&mut balancer, &members, 6), [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn sessions_that_stay_are_held_in_proportion_to_the_weights() {
        let members = members(&[1, 3, 4]);
        let mut balancer = Balancer::new(Algorithm::LeastConnections, 0);
        let kept: Vec<(usize, Lease)> = (0..80).map(|_| pick_and_keep(&mut balancer, &members)).collect();
        assert_eq!(kept.len(), 80);
        let held: Vec<u32> = members.iter().map(|member| member.load.active()).collect();
        assert_eq!(held, [10, 30, 40]);
        drop(kept);
        assert!(members.iter().all(|member| member.load.active() == 0));
    }
}
