//! One figure of one proxy over the rounds, and how two of them compare.

/// One value for each round; none where the cell was not valid or has no such figure.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Series(pub(super) Vec<Option<f64>>);

/// The middle and both ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Series {
    /// Over the rounds that have a value.
    pub(super) fn spread(&self) -> Option<Spread> {
        let mut values: Vec<f64> = self.0.iter().flatten().copied().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Spread { median, min, max })
    }

    /// Round by round, over the rounds in which both have a value: what the machine did in a round was done to both.
    pub(super) fn ratio_to(&self, other: &Self) -> Self {
        let ratio = |(mine, theirs): (&Option<f64>, &Option<f64>)| {
            let theirs = theirs.filter(|theirs| *theirs != 0.0)?;
            Some((*mine)? / theirs)
        };
        Self(self.0.iter().zip(&other.0).map(ratio).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(values: &[f64]) -> Series {
        Series(values.iter().map(|value| (*value != 0.0).then_some(*value)).collect())
    }

    #[test]
    fn the_median_is_the_middle_or_between_the_two_in_the_middle() {
        let spread = series(&[5.0, 1.0, 3.0]).spread().unwrap();
        assert_eq!(spread, Spread { median: 3.0, min: 1.0, max: 5.0 });
        assert_eq!(series(&[4.0, 1.0, 3.0, 9.0]).spread().unwrap().median, 3.5);
        assert_eq!(series(&[]).spread(), None);
    }

    #[test]
    fn ratios_are_made_within_a_round() {
        // The machine is twice as fast in the second round: the ratio stays what it is.
        let ratio = series(&[10.0, 20.0, 12.0]).ratio_to(&series(&[20.0, 40.0, 20.0]));
        assert_eq!(ratio.spread().unwrap(), Spread { median: 0.5, min: 0.5, max: 0.6 });
    }

    #[test]
    fn a_round_without_a_value_gives_no_ratio() {
        let ratio = series(&[10.0, 0.0, 12.0]).ratio_to(&series(&[0.0, 40.0, 6.0]));
        assert_eq!(ratio, Series(vec![None, None, Some(2.0)]));
    }
}
