//! Peak EWMA: the better of two drawn by weight, by an average that jumps up to every slow answer and forgets it slowly.
//!
//! The average itself is made where the samples arrive; the configuration sees to it that a pool with this algorithm has
//! that statistic. Known from Finagle and Linkerd, there for requests; here for sessions.

use fastrand::Rng;

use super::explore::Explore;
use super::power_of_two::by_response_time;
use super::score::score;
use super::urn::{Pair, Urn};
use super::{Choice, Member};

/// What is drawn from.
#[derive(Debug)]
pub struct PeakEwma {
    urn: Urn,
    explore: Explore,
}

impl PeakEwma {
    /// Workers begin to explore at different picks.
    pub fn starting_at(first: usize) -> PeakEwma {
        PeakEwma { urn: Urn::default(), explore: Explore::starting_at(first) }
    }

    /// Gets ready for other members.
    pub fn adopt(&mut self, members: &[Member]) {
        self.urn.adopt(members);
    }

    /// The better of two eligible members.
    pub fn pick(&mut self, choice: &Choice<'_>, dice: &mut Rng) -> Option<usize> {
        match self.urn.pair(choice, dice) {
            Pair::Nobody => None,
            Pair::One(only) => Some(only),
            Pair::Two(one, other) => Some(by_response_time(choice, one, other, &mut self.explore)),
        }
    }

    /// What it compares by.
    pub fn score(&self, choice: &Choice<'_>, member: &Member) -> f64 {
        score(choice, member, choice.times.get(member.id), 1.0)
    }
}
