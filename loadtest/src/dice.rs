//! Random numbers that are the same for the same seed, on every machine and in every version.

/// A SplitMix64 generator: small, fast, and fixed for good, so a seed noted years ago still means the same run.
#[derive(Debug, Clone)]
pub(crate) struct Dice {
    state: u64,
}

impl Dice {
    /// Dice that fall the same way for the same `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    fn next(&mut self) -> u64 {
        let value = mix(self.state);
        self.state = self.state.wrapping_add(STEP);
        value
    }

    /// An evenly distributed number, above 0 and up to 1.
    pub(crate) fn unit(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    /// An exponentially distributed number with this mean: at least 0, at most 37 times the mean.
    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        // The logarithm of zero never comes up.
        -self.unit().ln() * mean
    }
}

/// One step of SplitMix64: neighbouring inputs give unrelated outputs.
pub(crate) fn mix(input: u64) -> u64 {
    let z = input.wrapping_add(STEP);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_numbers_are_those_of_the_published_generator() {
        let mut dice = Dice::new(1_234_567);
        assert_eq!(dice.next(), 6_457_827_717_110_365_317);
        assert_eq!(dice.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn exponential_numbers_have_the_asked_mean() {
        let mut dice = Dice::new(7);
        let count = 100_000;
        let sum: f64 = (0..count).map(|_| dice.exponential(5.0)).sum();
        // The standard error of the mean is 5 / sqrt(count) = 0.016; allow five of them.
        assert!((sum / f64::from(count) - 5.0).abs() < 0.08, "mean {}", sum / f64::from(count));
    }
}
