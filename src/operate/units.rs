//! Units: times, bytes and counts as people read them.

use std::time::Duration;

use crate::status::{nanos, span};

/// So many seconds, in the two largest units.
pub(super) fn seconds(seconds: f64) -> String {
    span(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX))
}

/// Since then, to the second.
pub(super) fn age(seconds: f64) -> String {
    let whole = Duration::from_secs(seconds.max(0.0) as u64);
    if whole.as_secs() < 100 { format!("{}s", whole.as_secs()) } else { span(whole) }
}

/// A response time, if there is one.
pub(super) fn micros(micros: Option<f64>) -> String {
    micros.map_or_else(|| "-".into(), |micros| nanos((micros * 1_000.0) as u64))
}

/// Bytes in the unit that leaves three digits.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 999.5 && unit < UNITS.len() - 1 {
        value /= 1_024.0;
        unit += 1;
    }
    match value {
        _ if unit == 0 => format!("{count} B"),
        9.995.. => format!("{value:.0} {}", UNITS[unit]),
        _ => format!("{value:.1} {}", UNITS[unit]),
    }
}

/// Things in a second.
pub(super) fn rate(per_second: f64) -> String {
    match per_second {
        0.0 => "0".into(),
        99.5.. => format!("{per_second:.0}"),
        _ => format!("{per_second:.1}"),
    }
}

/// `1 session`, `2 sessions`.
pub(super) fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Without the number that Rust puts behind errors of the system.
pub(super) fn without_number(reason: &str) -> &str {
    reason.split(" (os error").next().unwrap_or(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_two_or_three_digits() {
        for (count, shown) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 KiB"),
            (10_240, "10 KiB"),
            (1_048_576, "1.0 MiB"),
            (999 << 20, "999 MiB"),
            (1_000 << 20, "1.0 GiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(bytes(count), shown);
        }
    }

    #[test]
    fn times_are_short() {
        assert_eq!((age(0.9), age(61.0), age(3_725.0)), ("0s".into(), "61s".into(), "1h02m".into()));
        assert_eq!((micros(None), micros(Some(1_234.5))), ("-".into(), "1.23ms".into()));
        assert_eq!((seconds(0.012), seconds(f64::INFINITY).is_empty()), ("12.0ms".into(), false));
        assert_eq!(
            (rate(0.0), rate(0.04), rate(12.34), rate(1_234.5)),
            ("0".into(), "0.0".into(), "12.3".into(), "1234".into())
        );
    }
}
