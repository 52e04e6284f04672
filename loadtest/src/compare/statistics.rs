//! What repeats say, and how surely. Pure.

use statrs::distribution::{ContinuousCDF, StudentsT};

use super::result::Interval;

/// The geometric mean of positive values, and where it lies with this confidence: a t-interval of the logarithms, as
/// latencies differ by factors rather than by sums.
pub(super) fn interval(values: &[f64], confidence: f64) -> Option<Interval> {
    if values.is_empty() || values.iter().any(|value| !(*value > 0.0 && value.is_finite())) {
        return None;
    }
    let logs: Vec<f64> = values.iter().map(|value| value.ln()).collect();
    let count = logs.len() as f64;
    let mean = logs.iter().sum::<f64>() / count;
    if logs.len() < 2 {
        return Some(Interval { middle: mean.exp(), low: None, high: None });
    }
    let variance = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let reach = student(count - 1.0, confidence) * (variance / count).sqrt();
    Some(Interval { middle: mean.exp(), low: Some((mean - reach).exp()), high: Some((mean + reach).exp()) })
}

/// How many standard errors to either side hold this share of Student's distribution.
fn student(freedom: f64, confidence: f64) -> f64 {
    let distribution = StudentsT::new(0.0, 1.0, freedom).expect("there are at least two values");
    distribution.inverse_cdf(f64::midpoint(1.0, confidence))
}

/// How many times as large the values are as others of the same rounds.
pub(super) fn ratio(values: &[f64], others: &[f64], confidence: f64) -> Option<Interval> {
    let ratios: Vec<f64> = values.iter().zip(others).map(|(value, other)| value / other).collect();
    interval(&ratios, confidence)
}

/// Jain's fairness index: 1 if all have the same, 1/n if one has everything. Of nothing at all it is 1.
pub(super) fn fairness(amounts: &[f64]) -> f64 {
    let squares: f64 = amounts.iter().map(|amount| amount * amount).sum();
    if squares == 0.0 {
        return 1.0;
    }
    amounts.iter().sum::<f64>().powi(2) / (amounts.len() as f64 * squares)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(value: f64, expected: f64) {
        assert!((value / expected - 1.0).abs() < 1e-3, "{value} instead of {expected}");
    }

    #[test]
    fn the_interval_is_that_of_the_textbook() {
        // t(0.975) with 2, 4 and 9 degrees of freedom, from a table.
        near(student(2.0, 0.95), 4.303);
        near(student(4.0, 0.95), 2.776);
        near(student(9.0, 0.95), 2.262);
        // Far out, as for many comparisons at once.
        near(student(3.0, 1.0 - 0.05 / 9.0), 7.185);
        // Logarithms 0, 1, 2 to the base e: mean 1, deviation 1, standard error 1 / sqrt 3.
        let values = [0.0, 1.0, 2.0].map(f64::exp);
        let interval = interval(&values, 0.95).unwrap();
        near(interval.middle, 1f64.exp());
        near(interval.low.unwrap(), (1.0 - 4.303 / 3f64.sqrt()).exp());
        near(interval.high.unwrap(), (1.0 + 4.303 / 3f64.sqrt()).exp());
    }

    #[test]
    fn one_value_has_no_interval_and_none_has_nothing() {
        let one = interval(&[8.0], 0.95).unwrap();
        near(one.middle, 8.0);
        assert_eq!((one.low, one.high), (None, None));
        assert!(interval(&[], 0.95).is_none());
        assert!(interval(&[1.0, 0.0], 0.95).is_none());
        assert!(interval(&[1.0, f64::NAN], 0.95).is_none());
    }

    #[test]
    fn a_ratio_is_taken_round_by_round() {
        // Each round is slower than the last, for both: the ratio is the same and known exactly.
        let ratio = ratio(&[2.0, 4.0, 8.0], &[1.0, 2.0, 4.0], 0.95).unwrap();
        near(ratio.middle, 2.0);
        near(ratio.low.unwrap(), 2.0);
        near(ratio.high.unwrap(), 2.0);
    }

    #[test]
    fn fairness_is_one_when_even_and_one_in_n_when_not_at_all() {
        near(fairness(&[5.0, 5.0, 5.0, 5.0]), 1.0);
        near(fairness(&[9.0, 0.0, 0.0, 0.0]), 0.25);
        // (1 + 2 + 3)^2 / (3 x 14), from Jain, Chiu and Hawe.
        near(fairness(&[1.0, 2.0, 3.0]), 36.0 / 42.0);
        near(fairness(&[0.0, 0.0]), 1.0);
    }
}
