//! How numbers are written on the page.

use crate::compare::result::Event;

/// A time that is one: of nothing there is none, and 0 would look like a very good one.
pub(super) fn known(us: f64) -> Option<f64> {
    (us.is_finite() && us > 0.0).then_some(us)
}

/// Microseconds as a time with its unit, to three digits.
pub(super) fn time(us: f64) -> String {
    let (value, unit) = in_unit(us);
    format!("{}\u{a0}{unit}", three_digits(value))
}

/// The same without zeros at its end, for an axis.
pub(super) fn tick(us: f64) -> String {
    let (value, unit) = in_unit(us);
    let text = three_digits(value);
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}\u{a0}{unit}")
}

/// From a time to another, with the unit once if it is the same.
pub(super) fn range(low_us: f64, high_us: f64) -> String {
    let ((low, low_unit), (_, high_unit)) = (in_unit(low_us), in_unit(high_us));
    let low = if low_unit == high_unit { three_digits(low) } else { time(low_us) };
    format!("{low}–{}", time(high_us))
}

/// Microseconds as milliseconds without the unit, for a column.
pub(super) fn ms(us: f64) -> String {
    known(us).map_or_else(|| NONE.to_owned(), |us| three_digits(us / 1e3))
}

/// So many times as much.
pub(super) fn ratio(ratio: f64) -> String {
    three_digits(ratio)
}

pub(super) fn percent(share: f64) -> String {
    if !share.is_finite() {
        return NONE.to_owned();
    }
    let percent = share * 100.0;
    let digits = usize::from(percent < 9.95 && percent > 0.0);
    format!("{percent:.digits$}\u{a0}%")
}

pub(super) fn rate(per_s: f64) -> String {
    match per_s {
        rate if !rate.is_finite() => NONE.to_owned(),
        rate if rate >= 100.0 => format!("{rate:.0}"),
        rate => format!("{rate:.1}"),
    }
}

/// Between 0 and 1.
pub(super) fn index(index: f64) -> String {
    if index.is_finite() { format!("{index:.3}") } else { NONE.to_owned() }
}

pub(super) fn seconds(s: f64) -> String {
    if s.is_finite() { format!("{}\u{a0}s", (s * 100.0).round() / 100.0) } else { NONE.to_owned() }
}

/// From when until when.
pub(super) fn span(event: &Event) -> String {
    let number = |s: f64| seconds(s).trim_end_matches("\u{a0}s").to_owned();
    format!("{}–{}", number(event.from_s), seconds(event.to_s))
}

/// So many of these, with an s if it is not one.
pub(super) fn count(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Stands where there is no number.
pub(super) const NONE: &str = "–";

fn in_unit(us: f64) -> (f64, &'static str) {
    match us {
        us if us < 999.5 => (us, "µs"),
        us if us < 999_500.0 => (us / 1e3, "ms"),
        us => (us / 1e6, "s"),
    }
}

fn three_digits(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        size if size >= 0.9995 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_three_digits_and_the_unit_that_suits_it() {
        let times = [0.5, 85.23, 999.4, 999.6, 12_345.0, 999_499.0, 999_600.0, 61_000_000.0].map(time);
        let expected = ["0.500 µs", "85.2 µs", "999 µs", "1.00 ms", "12.3 ms", "999 ms", "1.00 s", "61.0 s"];
        assert_eq!(times.map(|time| time.replace('\u{a0}', " ")), expected);
        assert_eq!(
            [500.0, 2000.0, 1500.0, 1e7].map(tick),
            ["500 µs", "2 ms", "1.5 ms", "10 s"].map(no_break)
        );
    }

    #[test]
    fn a_range_has_its_unit_once_if_there_is_but_one() {
        assert_eq!(
            [range(2740.0, 6330.0), range(900.0, 1100.0)],
            ["2.74–6.33 ms", "900 µs–1.10 ms"].map(no_break)
        );
    }

    #[test]
    fn what_is_no_number_is_a_dash() {
        for nothing in [f64::NAN, f64::INFINITY, 0.0, -1.0] {
            assert_eq!(ms(nothing), NONE);
        }
        assert_eq!([percent(f64::NAN), rate(f64::NAN), index(f64::INFINITY)], [NONE; 3]);
        assert_eq!([percent(0.0), percent(0.0312), percent(0.25)], ["0 %", "3.1 %", "25 %"].map(no_break));
    }

    fn no_break(text: &str) -> String {
        text.replace(' ', "\u{a0}")
    }
}
