//! Moment: when something was, in UTC, in the ways in which people and machines write it. Pure.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use time::{Month, OffsetDateTime};

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A moment, in microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(pub u64);

impl Moment {
    /// What is before 1970 is 1970: a machine without a clock.
    pub fn of(at: SystemTime) -> Moment {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        Moment(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    /// As HAProxy writes it: `26/Nov/2026:11:52:01.123`, but never in the machine's own time zone.
    pub fn append_haproxy(self, line: &mut Vec<u8>) {
        let (date, micros) = self.parts();
        let (year, month, day) = date.to_calendar_date();
        let (hour, minute, second) = date.to_hms();
        let (month, millis) = (name(month), micros / 1_000);
        let _ = write!(line, "{day:02}/{month}/{year:04}:{hour:02}:{minute:02}:{second:02}.{millis:03}");
    }

    /// As RFC 3339 has it: `2026-11-26T11:52:01.123456Z`.
    pub fn append_rfc3339(self, line: &mut Vec<u8>) {
        let (second, micros) = self.to_the_second();
        let _ = write!(line, "{second}.{micros:06}Z");
    }

    /// The same to the millisecond: `2026-11-26T11:52:01.123Z`.
    pub fn rfc3339_millis(self) -> String {
        let (second, micros) = self.to_the_second();
        format!("{second}.{:03}Z", micros / 1_000)
    }

    /// `2026-11-26T11:52:01`, and the microseconds after it.
    fn to_the_second(self) -> (String, u64) {
        let (date, micros) = self.parts();
        let (year, month, day) = date.to_calendar_date();
        let (hour, minute, second) = date.to_hms();
        let month = u8::from(month);
        (format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"), micros)
    }

    /// To the second, and the microseconds after it.
    fn parts(self) -> (OffsetDateTime, u64) {
        let seconds = i64::try_from(self.0 / 1_000_000).unwrap_or(i64::MAX);
        // A clock that is set beyond the year 9999 gets no date.
        let date = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        (date, self.0 % 1_000_000)
    }
}

fn name(month: Month) -> &'static str {
    MONTHS[usize::from(u8::from(month)) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn both(micros: u64) -> [String; 2] {
        let (mut haproxy, mut rfc3339) = (Vec::new(), Vec::new());
        Moment(micros).append_haproxy(&mut haproxy);
        Moment(micros).append_rfc3339(&mut rfc3339);
        [haproxy, rfc3339].map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn moments_in_both_ways() {
        for (micros, haproxy, rfc3339) in [
            (0, "01/Jan/1970:00:00:00.000", "1970-01-01T00:00:00.000000Z"),
            (1_790_000_000_123_456, "21/Sep/2026:14:13:20.123", "2026-09-21T14:13:20.123456Z"),
            (1_709_251_199_999_999, "29/Feb/2024:23:59:59.999", "2024-02-29T23:59:59.999999Z"),
            (4_102_444_800_000_001, "01/Jan/2100:00:00:00.000", "2100-01-01T00:00:00.000001Z"),
        ] {
            assert_eq!(both(micros), [haproxy, rfc3339]);
        }
    }

    #[test]
    fn known_moments_are_written_as_they_are_known() {
        let at = |seconds, millis: u32| {
            Moment::of(UNIX_EPOCH + Duration::new(seconds, millis * 1_000_000)).rfc3339_millis()
        };
        assert_eq!(at(0, 0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_400, 1), "2000-02-29T00:00:00.001Z");
        assert_eq!(at(1_709_251_199, 999), "2024-02-29T23:59:59.999Z");
        assert_eq!(at(1_795_696_496, 7), "2026-11-26T12:34:56.007Z");
        assert_eq!(at(4_107_542_400, 0), "2100-03-01T00:00:00.000Z");
    }

    #[test]
    fn no_number_is_too_large() {
        assert!(both(u64::MAX)[0].starts_with("01/Jan/1970"));
    }
}
