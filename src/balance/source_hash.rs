//! Source hash: each client's address has one backend, by rendezvous hashing.
//!
//! Every backend draws a number for the client, by hash; the best number wins. When a backend goes, only its clients move,
//! spread over all others; when it comes back, just these return. Nothing is kept, so every worker and every machine
//! with the same backends agrees.
//!
//! With weights, the number is the time of an event that happens at the rate of the weight, -log2(hash) / weight: the
//! first one is each backend's with its share as the chance. The logarithm is taken in whole numbers, because that of a
//! C library may differ in its last bit from machine to machine.

use super::{Choice, Member, hash};

/// The seed of backends' hashes.
const SEED: u64 = 2;

/// What each backend adds to a draw.
#[derive(Debug, Default)]
pub struct SourceHash {
    /// By member.
    hashes: Vec<u64>,
    /// Whether all shares are the same: then the largest hash wins, and no logarithm is needed.
    is_even: bool,
}

impl SourceHash {
    /// Gets ready for other members.
    pub fn adopt(&mut self, members: &[Member]) {
        self.hashes = members.iter().map(|member| hash::backend(member.address, SEED)).collect();
        self.is_even = members.windows(2).all(|pair| pair[0].share == pair[1].share);
    }

    /// The client's backend, or who comes next for it if that one is not eligible.
    pub fn pick(&self, choice: &Choice<'_>) -> Option<usize> {
        debug_assert_eq!(self.hashes.len(), choice.members.len());
        let client = hash::client(*choice.client);
        let draw = |index: usize| hash::mix(client ^ self.hashes[index]);
        let eligible = (0..choice.members.len()).filter(|&index| choice.is_eligible(&choice.members[index]));
        if self.is_even {
            return eligible.max_by_key(|&index| draw(index));
        }
        let mut first: Option<Event> = None;
        for index in eligible {
            let (draw, rate) = (draw(index), choice.members[index].share.get());
            let event = Event { index, time: minus_log2(draw), rate };
            if first.is_none_or(|first| first.is_later(event)) {
                first = Some(event);
            }
        }
        Some(first?.index)
    }
}

/// When a backend's turn for a client would come: after `time` / `rate`.
#[derive(Clone, Copy)]
struct Event {
    index: usize,
    time: u64,
    rate: u32,
}

impl Event {
    /// Compared crosswise: no division, nothing rounded.
    fn is_later(self, than: Event) -> bool {
        u128::from(self.time) * u128::from(than.rate) > u128::from(than.time) * u128::from(self.rate)
    }
}

/// Bits behind the point.
const FRACTION: u32 = 32;
/// Bits of a number by which its logarithm is looked up.
const LOOKED_UP: u32 = 8;

/// A step of the table: 1 / x with 63 bits behind the point, and log2(x) with 40, for x = 1, 1 + 1/256, 1 + 2/256, ...
#[derive(Clone, Copy)]
struct Step {
    reciprocal: u64,
    log2: u64,
}

const STEPS: [Step; 1 << LOOKED_UP] = {
    let mut steps = [Step { reciprocal: 0, log2: 0 }; 1 << LOOKED_UP];
    let mut index = 0;
    while index < steps.len() {
        let x = (1 << LOOKED_UP) + index as u64;
        let reciprocal = ((1_u128 << (63 + LOOKED_UP)) / x as u128) as u64;
        steps[index] = Step { reciprocal, log2: log2_by_squaring(x << (63 - LOOKED_UP)) };
        index += 1;
    }
    steps
};

/// log2 of a number from 1 to 2 that has 63 bits behind the point, with 40 bits behind the point.
///
/// Squaring doubles the logarithm: each time that it passes 2, the next bit of the logarithm is one.
const fn log2_by_squaring(mut number: u64) -> u64 {
    let (mut log2, mut bit) = (0, 0);
    while bit < 40 {
        let square = (number as u128 * number as u128) >> 63;
        let is_past_two = square >> 64 != 0;
        log2 = log2 << 1 | is_past_two as u64;
        number = if is_past_two { (square >> 1) as u64 } else { square as u64 };
        bit += 1;
    }
    log2
}

/// -log2(number / 2^64), with 32 bits behind the point: 0 for the largest numbers, 64 for the smallest.
fn minus_log2(number: u64) -> u64 {
    /// log2(e) with 32 bits behind the point.
    const LOG2_E: u128 = 6_196_328_019;
    let number = number.max(1);
    let zeros = number.leading_zeros();
    let from_1_to_2 = number << zeros;
    let step = STEPS[(from_1_to_2 >> (63 - LOOKED_UP)) as usize - (1 << LOOKED_UP)];
    // What is left is 1 + rest, and rest is less than 1/256: three terms of the series are right to the last bit but one.
    let quotient = (u128::from(from_1_to_2) * u128::from(step.reciprocal)) >> 63;
    let rest = (quotient as u64).saturating_sub(1 << 63) >> 23;
    let square = (rest * rest) >> 40;
    let cube = (square * rest) >> 40;
    let log_e = rest - square / 2 + cube / 3;
    let log2 = (step.log2 + ((u128::from(log_e) * LOG2_E) >> 32) as u64) >> (40 - FRACTION);
    ((u64::from(zeros) + 1) << FRACTION) - log2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::Balancer;
    use crate::balance::testing::{Field, Vectors, clients};
    use crate::config::Algorithm;

    #[test]
    fn the_logarithm_is_right() {
        let exact = |number: u64| 64.0 - (number as f64).log2();
        let mut dice = fastrand::Rng::with_seed(1);
        for _ in 0..100_000 {
            let number = dice.u64(..) >> dice.u32(0..64);
            let time = minus_log2(number);
            let found = time as f64 / (1_u64 << FRACTION) as f64;
            assert!((found - exact(number.max(1))).abs() < 1e-8, "{number}: {found}");
        }
        assert_eq!(minus_log2(1), 64 << FRACTION);
    }

    #[test]
    fn a_client_stays_and_its_port_does_not_count() {
        let mut field = Field::new(&[1, 1, 1]);
        let mut balancer = field.balancer(Algorithm::SourceHash);
        assert_eq!(field.picks(&mut balancer, 5).iter().collect::<std::collections::HashSet<_>>().len(), 1);
        let first = field.pick(&mut balancer);
        field.client = "::ffff:127.0.0.1".parse().unwrap();
        assert_eq!(field.pick(&mut balancer), first);
    }

    #[test]
    fn shares_follow_the_weights_within_what_chance_allows() {
        let weights = [1, 2, 5, 8];
        let mut field = Field::new(&weights);
        let mut balancer = field.balancer(Algorithm::SourceHash);
        field.assert_shares(&mut balancer, &weights, clients(40_000));
    }

    #[test]
    fn when_one_goes_only_its_clients_move_and_they_spread_over_the_others() {
        let mut field = Field::new(&[1, 3, 1, 1, 2]);
        let mut balancer = field.balancer(Algorithm::SourceHash);
        let before = field.picks_of(&mut balancer, clients(20_000));
        field.members[3].is_open = false;
        balancer.adopt(&field.members);
        let after = field.picks_of(&mut balancer, clients(20_000));
        let mut moved = [0; 5];
        for (before, after) in before.into_iter().zip(after) {
            if before == 3 {
                moved[after] += 1;
            } else {
                assert_eq!(before, after);
            }
        }
        assert!(moved[3] == 0 && [0, 1, 2, 4].iter().all(|&other| moved[other] > 0), "{moved:?}");
    }

    #[test]
    fn clients_go_where_the_vectors_say() {
        let mut vectors = Vectors::parse(include_str!("../../tests/vectors/rendezvous.txt"));
        let mut balancer = vectors.field.balancer(Algorithm::SourceHash);
        vectors.assert_clients(&mut balancer);
    }

    #[test]
    fn equal_weights_choose_the_same_with_and_without_logarithms() {
        let mut field = Field::new(&[3; 20]);
        let mut balancer = field.balancer(Algorithm::SourceHash);
        let without = field.picks_of(&mut balancer, clients(5000));
        let Balancer::SourceHash(rule) = &mut balancer else { unreachable!() };
        rule.is_even = false;
        assert_eq!(field.picks_of(&mut balancer, clients(5000)), without);
    }
}
