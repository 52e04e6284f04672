//! A histogram as a percentile distribution in text: the format `.hgrm` that HdrHistogram's plotters read.

use std::fmt::Write;

use hdrhistogram::Histogram;

/// In milliseconds, with five lines for each halving of what is left to 100 %.
pub(super) fn text(times_ns: &Histogram<u64>) -> String {
    let mut text =
        format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    let ms = |ns: f64| ns / 1e6;
    let mut total = 0;
    for step in times_ns.iter_quantiles(TICKS_PER_HALVING) {
        total += step.count_since_last_iteration();
        let (value, quantile) = (ms(step.value_iterated_to() as f64), step.quantile_iterated_to());
        let _ = match quantile < 1.0 {
            true => writeln!(text, "{value:12.6} {quantile:2.12} {total:10} {:14.2}", 1.0 / (1.0 - quantile)),
            false => writeln!(text, "{value:12.6} {quantile:2.12} {total:10}"),
        };
    }
    let (mean, deviation, max) = (ms(times_ns.mean()), ms(times_ns.stdev()), ms(times_ns.max() as f64));
    let _ = writeln!(text, "#[Mean    = {mean:12.6}, StdDeviation   = {deviation:12.6}]");
    let _ = writeln!(text, "#[Max     = {max:12.6}, Total count    = {:12}]", times_ns.len());
    text
}

const TICKS_PER_HALVING: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_says_how_many_took_no_longer() {
        let mut times = Histogram::<u64>::new_with_bounds(1, 3_600_000_000_000, 3).unwrap();
        (1..=1000).for_each(|ms| times.record(ms * 1_000_000).unwrap());
        let text = text(&times);
        let rows: Vec<Vec<f64>> = text
            .lines()
            .skip(2)
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split_whitespace().map(|word| word.parse().unwrap()).collect())
            .collect();
        for row in &rows {
            // Values are 1 to 1000 ms, one of each, to three digits.
            assert!((row[0] / row[2] - 1.0).abs() < 0.002, "{row:?}");
            assert!(row[2] / 1000.0 >= row[1] - 1e-9, "{row:?}");
        }
        assert_eq!(rows.last().unwrap()[1..], [1.0, 1000.0]);
        assert!(text.ends_with("Total count    =         1000]\n"), "{text}");
    }
}
