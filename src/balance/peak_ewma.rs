//! Peak EWMA: the better of two drawn by weight, by an average that jumps up to every slow answer and forgets it slowly.
//!
//! The average itself is made where the samples arrive; the configuration sees to it that a pool with this algorithm has
//! that statistic. Known from Finagle and Linkerd, there for requests; here for sessions.

use fastrand::Rng;

use super::power_of_two::PowerOfTwo;
use super::{Choice, Member};
use crate::config::PowerOfTwoBy;

/// Power of two choices by response time: what makes it peak EWMA is the figure.
#[derive(Debug)]
pub struct PeakEwma(PowerOfTwo);

impl PeakEwma {
    /// Workers begin to explore at different picks.
    pub fn starting_at(first: usize) -> PeakEwma {
        PeakEwma(PowerOfTwo::new(PowerOfTwoBy::ResponseTime, first))
    }

    /// Gets ready for other members.
    pub fn adopt(&mut self, members: &[Member]) {
        self.0.adopt(members);
    }

    /// The better of two eligible members.
    pub fn pick(&mut self, choice: &Choice<'_>, dice: &mut Rng) -> Option<usize> {
        self.0.pick(choice, dice)
    }

    /// What it compares by.
    pub fn score(&self, choice: &Choice<'_>, member: &Member) -> f64 {
        self.0.score(choice, member)
    }
}
