//! Urn: members drawn at random by their share, for the rules that throw dice.

use fastrand::Rng;

use super::{Choice, Member};

/// Draws that may hit somebody who is not eligible before those who are get counted out.
const DRAWS_MAX: usize = 8;

/// The shares of the open members, added up.
#[derive(Debug, Default)]
pub(super) struct Urn {
    /// By member: its share and those of all before it. Those that are closed add nothing.
    ends: Vec<u64>,
}

/// What came out of two draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pair {
    /// Nobody is eligible.
    Nobody,
    /// One only.
    One(usize),
    /// Two different ones.
    Two(usize, usize),
}

impl Urn {
    /// Fills it with other members.
    pub(super) fn adopt(&mut self, members: &[Member]) {
        self.ends.clear();
        let mut end = 0;
        for member in members {
            end += if member.is_open { u64::from(member.share.get()) } else { 0 };
            self.ends.push(end);
        }
    }

    /// One of those that are eligible, each with its share as its chance.
    pub(super) fn draw(&self, choice: &Choice<'_>, dice: &mut Rng) -> Option<usize> {
        self.draw_but(choice, None, dice)
    }

    /// Two different ones, if there are two.
    pub(super) fn pair(&self, choice: &Choice<'_>, dice: &mut Rng) -> Pair {
        let Some(one) = self.draw(choice, dice) else { return Pair::Nobody };
        match self.draw_but(choice, Some(one), dice) {
            Some(other) => Pair::Two(one, other),
            None => Pair::One(one),
        }
    }

    fn draw_but(&self, choice: &Choice<'_>, but: Option<usize>, dice: &mut Rng) -> Option<usize> {
        debug_assert_eq!(self.ends.len(), choice.members.len());
        let total = *self.ends.last()?;
        if total == 0 {
            return None;
        }
        let may = |index: usize| Some(index) != but && choice.is_eligible(&choice.members[index]);
        // Drawing again whoever must not be drawn leaves the others their chances.
        for _ in 0..DRAWS_MAX {
            let point = dice.u64(0..total);
            let index = self.ends.partition_point(|&end| end <= point);
            if may(index) {
                return Some(index);
            }
        }
        self.count_out(choice, may, dice)
    }

    /// Goes through them all: for when hardly anybody may be drawn.
    #[cold]
    fn count_out(&self, choice: &Choice<'_>, may: impl Fn(usize) -> bool, dice: &mut Rng) -> Option<usize> {
        let share = |index: usize| u64::from(choice.members[index].share.get());
        let all = || (0..choice.members.len()).filter(|&index| may(index));
        let total: u64 = all().map(share).sum();
        if total == 0 {
            return None;
        }
        let mut point = dice.u64(0..total);
        let mut last = None;
        for index in all() {
            if point < share(index) {
                return Some(index);
            }
            point -= share(index);
            last = Some(index);
        }
        // Another worker has taken a last place since the shares were added up: the sum ran out.
        last
    }
}
