//! Times and sizes as people write them: `"1m30s"`, `"16KiB"`.
//!
//! A number without a unit is refused, because `timeout = 5` means seconds to one reader and milliseconds to the next.
//! Sizes count in 1024s; `KB` and `MB`, which some read as 1000s, are refused with a word about `KiB` and `MiB`.

use std::fmt::{self, Write as _};
use std::time::Duration;

/// Why a text is not a time or a size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnitFault {
    /// Only a number: the unit is missing.
    NoUnit(String),
    /// Only a unit: the number is missing.
    NoNumber,
    /// A unit that does not exist, and the one that was probably meant.
    UnknownUnit {
        /// As typed.
        unit: String,
        /// What was probably meant.
        meant: Option<&'static str>,
    },
    /// The larger unit has to come first, and each only once: `1m30s`.
    Order,
    /// Finer than the smallest unit.
    TooFine,
    /// More than a number can hold.
    TooBig,
}

const MS_PER_SECOND: u64 = 1_000;
const MS_PER_MINUTE: u64 = 60 * MS_PER_SECOND;
const MS_PER_HOUR: u64 = 60 * MS_PER_MINUTE;
const MS_PER_DAY: u64 = 24 * MS_PER_HOUR;

/// The units of time, the largest first.
pub const TIME_UNITS: [(&str, u64); 5] =
    [("d", MS_PER_DAY), ("h", MS_PER_HOUR), ("m", MS_PER_MINUTE), ("s", MS_PER_SECOND), ("ms", 1)];

/// The units of size, the largest first.
pub const SIZE_UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Reads a time: numbers with units, the larger unit first, such as `"100ms"`, `"1.5s"`, `"1m30s"`.
///
/// # Errors
///
/// Says what is wrong with the text; whether the time is within a key's bounds is for the caller to judge.
pub fn duration(text: &str) -> Result<Duration, UnitFault> {
    let mut rest = text;
    let mut total_ms: u64 = 0;
    let mut unit_before = u64::MAX;
    while !rest.is_empty() || unit_before == u64::MAX {
        let (number, unit_ms, after) = step(rest, &TIME_UNITS, time_meant)?;
        if unit_ms >= unit_before {
            return Err(UnitFault::Order);
        }
        total_ms = total_ms.checked_add(scale(number, unit_ms)?).ok_or(UnitFault::TooBig)?;
        unit_before = unit_ms;
        rest = after;
    }
    Ok(Duration::from_millis(total_ms))
}

/// Reads a size: one number with one unit, such as `"16KiB"`.
///
/// # Errors
///
/// Says what is wrong with the text; whether the size is within a key's bounds is for the caller to judge.
pub fn size(text: &str) -> Result<u64, UnitFault> {
    let (number, unit_bytes, after) = step(text, &SIZE_UNITS, size_meant)?;
    if !after.is_empty() {
        return Err(UnitFault::Order);
    }
    scale(number, unit_bytes)
}

/// Writes a time the way [`duration`] reads it: `"1m30s"`, `"1.5s"`.
pub fn format_duration(time: Duration) -> String {
    let mut rest = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".to_owned();
    }
    if (MS_PER_SECOND..MS_PER_MINUTE).contains(&rest) {
        let text = format!("{}.{:03}", rest / MS_PER_SECOND, rest % MS_PER_SECOND);
        return format!("{}s", text.trim_end_matches('0').trim_end_matches('.'));
    }
    let mut text = String::new();
    for (unit, unit_ms) in TIME_UNITS {
        let count = rest / unit_ms;
        rest %= unit_ms;
        if count > 0 {
            let _ = write!(text, "{count}{unit}"); // Writing into a String cannot fail.
        }
    }
    text
}

/// Writes a size the way [`size`] reads it, in the largest unit that divides it.
pub fn format_size(bytes: u64) -> String {
    let whole = |&(_, unit_bytes): &(&str, u64)| bytes >= unit_bytes && bytes.is_multiple_of(unit_bytes);
    let (unit, unit_bytes) = SIZE_UNITS.into_iter().find(whole).unwrap_or(("B", 1));
    format!("{}{unit}", bytes / unit_bytes)
}

/// The number and the unit at the front of `text`, and what comes after them.
fn step<'t>(
    text: &'t str,
    units: &[(&str, u64)],
    meant: fn(&str) -> Option<&'static str>,
) -> Result<(&'t str, u64, &'t str), UnitFault> {
    let is_digit = |c: char| c.is_ascii_digit() || c == '.';
    let (number, rest) = text.split_at(text.find(|c| !is_digit(c)).unwrap_or(text.len()));
    if !number.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(UnitFault::NoNumber);
    }
    let (unit, after) = rest.split_at(rest.find(is_digit).unwrap_or(rest.len()));
    if unit.is_empty() {
        return Err(UnitFault::NoUnit(number.to_owned()));
    }
    match units.iter().find(|(name, _)| *name == unit) {
        Some(&(_, factor)) => Ok((number, factor, after)),
        None => Err(UnitFault::UnknownUnit { unit: unit.to_owned(), meant: meant(unit) }),
    }
}

/// `number` times `unit`, exactly: `"1.5"` times 1000 is 1500, `"1.5"` times 1 is finer than the smallest unit.
fn scale(number: &str, unit: u64) -> Result<u64, UnitFault> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || (fraction.is_empty() && number.contains('.')) {
        return Err(UnitFault::NoNumber);
    }
    let whole: u64 = whole.parse().map_err(|_| UnitFault::TooBig)?;
    let whole = whole.checked_mul(unit).ok_or(UnitFault::TooBig)?;
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() {
        return Ok(whole);
    }
    let digits =
        u32::try_from(fraction.len()).ok().filter(|&digits| digits <= 9).ok_or(UnitFault::TooFine)?;
    // At most 10^9 times the largest unit, 2^30: far below 2^64.
    let parts = fraction.parse::<u64>().map_err(|_| UnitFault::TooFine)? * unit;
    let divisor = 10_u64.pow(digits);
    if !parts.is_multiple_of(divisor) {
        return Err(UnitFault::TooFine);
    }
    whole.checked_add(parts / divisor).ok_or(UnitFault::TooBig)
}

fn time_meant(unit: &str) -> Option<&'static str> {
    match unit.trim().to_ascii_lowercase().as_str() {
        "s" | "sec" | "secs" | "second" | "seconds" => Some("s"),
        "m" | "min" | "mins" | "minute" | "minutes" => Some("m"),
        "h" | "hr" | "hrs" | "hour" | "hours" => Some("h"),
        "d" | "day" | "days" => Some("d"),
        "ms" | "msec" | "msecs" | "milli" | "millis" | "millisecond" | "milliseconds" => Some("ms"),
        _ => None,
    }
}

fn size_meant(unit: &str) -> Option<&'static str> {
    match unit.trim().to_ascii_lowercase().as_str() {
        "b" | "byte" | "bytes" => Some("B"),
        "k" | "kb" | "ki" | "kib" => Some("KiB"),
        "m" | "mb" | "mi" | "mib" => Some("MiB"),
        "g" | "gb" | "gi" | "gib" => Some("GiB"),
        _ => None,
    }
}

impl fmt::Display for UnitFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoUnit(_) => f.write_str("has no unit"),
            Self::NoNumber => f.write_str("does not start with a number"),
            Self::UnknownUnit { unit, meant: Some(meant) } => {
                write!(f, "has the unit {unit:?}, which is written {meant:?} here")
            }
            Self::UnknownUnit { unit, meant: None } => write!(f, "has the unknown unit {unit:?}"),
            Self::Order => f.write_str("does not go from the larger unit to the smaller"),
            Self::TooFine => f.write_str("is finer than the smallest unit"),
            Self::TooBig => f.write_str("is too large"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_in_every_unit_and_in_several() {
        let cases = [
            ("0s", 0),
            ("0ms", 0),
            ("100ms", 100),
            ("2s", 2_000),
            ("1m", 60_000),
            ("1h", 3_600_000),
            ("1d", 86_400_000),
            ("1m30s", 90_000),
            ("1d2h3m4s5ms", 93_784_005),
            ("1.5s", 1_500),
            ("0.25s", 250),
            ("1.50s", 1_500),
            ("0.5d", 43_200_000),
            ("1.0ms", 1),
        ];
        for (text, ms) in cases {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_time_says_why() {
        let unknown = |unit: &str, meant| UnitFault::UnknownUnit { unit: unit.to_owned(), meant };
        let cases = [
            ("", UnitFault::NoNumber),
            ("s", UnitFault::NoNumber),
            (".5s", UnitFault::NoNumber),
            ("1.s", UnitFault::NoNumber),
            ("1.2.3s", UnitFault::NoNumber),
            ("-5s", UnitFault::NoNumber),
            ("5", UnitFault::NoUnit("5".to_owned())),
            ("1m30", UnitFault::NoUnit("30".to_owned())),
            ("5sec", unknown("sec", Some("s"))),
            ("5 s", unknown(" s", Some("s"))),
            ("5M", unknown("M", Some("m"))),
            ("5us", unknown("us", None)),
            ("5ſ", unknown("ſ", None)),
            ("30s1m", UnitFault::Order),
            ("1s1s", UnitFault::Order),
            ("1.5ms", UnitFault::TooFine),
            ("0.0000000001d", UnitFault::TooFine),
            ("99999999999999999999s", UnitFault::TooBig),
            ("18446744073709551615d", UnitFault::TooBig),
        ];
        for (text, fault) in cases {
            assert_eq!(duration(text), Err(fault), "{text}");
        }
    }

    #[test]
    fn sizes_count_in_1024s() {
        assert_eq!(size("4096B"), Ok(4_096));
        assert_eq!(size("16KiB"), Ok(16_384));
        assert_eq!(size("1MiB"), Ok(1_048_576));
        assert_eq!(size("1GiB"), Ok(1 << 30));
        assert_eq!(size("0.5KiB"), Ok(512));
        assert_eq!(size("16384"), Err(UnitFault::NoUnit("16384".to_owned())));
        assert_eq!(size("16KB"), Err(UnitFault::UnknownUnit { unit: "KB".to_owned(), meant: Some("KiB") }));
        assert_eq!(size("1MiB1KiB"), Err(UnitFault::Order));
        assert_eq!(size("99999999999999999999GiB"), Err(UnitFault::TooBig));
    }

    #[test]
    fn times_are_written_short() {
        let cases = [
            (0, "0s"),
            (250, "250ms"),
            (1_500, "1.5s"),
            (10_000, "10s"),
            (90_000, "1m30s"),
            (86_400_000, "1d"),
        ];
        for (ms, text) in cases {
            assert_eq!(format_duration(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn sizes_are_written_in_the_largest_whole_unit() {
        assert_eq!(format_size(16_384), "16KiB");
        assert_eq!(format_size(1 << 20), "1MiB");
        assert_eq!(format_size(1_000), "1000B");
        assert_eq!(format_size(0), "0B");
    }

    proptest! {
        #[test]
        fn a_time_written_is_the_time_read(ms in 0_u64..=400 * MS_PER_DAY) {
            let time = Duration::from_millis(ms);
            prop_assert_eq!(duration(&format_duration(time)), Ok(time));
        }

        #[test]
        fn a_size_written_is_the_size_read(bytes in 0_u64..=1 << 40) {
            prop_assert_eq!(size(&format_size(bytes)), Ok(bytes));
        }

        #[test]
        fn no_text_panics(text in "[0-9.]{0,25}[a-zA-Z µ]{0,4}[0-9.]{0,12}[msdhBKi]{0,3}") {
            let _ = duration(&text);
            let _ = size(&text);
        }
    }
}
