//! Times as people read them.

/// So many microseconds, with three digits that count.
pub(super) fn time(us: f64) -> String {
    if !us.is_finite() {
        return "-".to_owned();
    }
    let (value, unit) = match us {
        us if us >= 1e6 => (us / 1e6, "s"),
        us if us >= 1e3 => (us / 1e3, "ms"),
        us => (us, "us"),
    };
    format!("{} {unit}", digits(value))
}

/// With three digits that count, or all before the point.
pub(super) fn digits(value: f64) -> String {
    // What would be rounded up to the next power of ten is that already.
    match value.abs() {
        size if size >= 99.95 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits() {
        let all = [0.5, 9.999, 99.99, 999.4, 1000.0, 12_345.0, 99_990.0, 1e6, 61e6];
        let texts =
            ["0.50 us", "10.0 us", "100 us", "999 us", "1.00 ms", "12.3 ms", "100 ms", "1.00 s", "61.0 s"];
        assert_eq!(all.map(time), texts.map(str::to_owned));
    }
}
