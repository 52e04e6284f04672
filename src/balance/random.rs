//! Random: one drawn by weight. Needs no figures and no memory; spreads worse than taking turns.

use fastrand::Rng;

use super::urn::Urn;
use super::{Choice, Member};

/// What is drawn from.
#[derive(Debug, Default)]
pub struct Random {
    urn: Urn,
}

impl Random {
    /// Gets ready for other members.
    pub fn adopt(&mut self, members: &[Member]) {
        self.urn.adopt(members);
    }

    /// One of the eligible members, each with its weight as its chance.
    pub fn pick(&self, choice: &Choice<'_>, dice: &mut Rng) -> Option<usize> {
        self.urn.draw(choice, dice)
    }
}

#[cfg(test)]
mod tests {
    use crate::balance::testing::{Field, clients};
    use crate::config::Algorithm;

    #[test]
    fn shares_follow_the_weights_within_what_chance_allows() {
        let weights = [1, 2, 5, 8];
        let mut field = Field::new(&weights);
        let mut balancer = field.balancer(Algorithm::Random);
        field.assert_shares(&mut balancer, &weights, clients(40_000));
    }

    #[test]
    fn those_that_are_left_keep_their_shares_when_hardly_anybody_is_eligible() {
        // The large one is tried already: nearly every draw hits it.
        let mut field = Field::new(&[250, 1, 3]);
        let mut balancer = field.balancer(Algorithm::Random);
        field.tried.add(field.members[0].id);
        field.assert_shares(&mut balancer, &[0, 1, 3], clients(20_000));
    }

    #[test]
    fn nobody_is_drawn_when_nobody_is_eligible() {
        let mut field = Field::new(&[1, 2]);
        field.members.iter_mut().for_each(|member| member.is_open = false);
        let mut balancer = field.balancer(Algorithm::Random);
        assert_eq!(field.pick(&mut balancer), None);
    }
}
