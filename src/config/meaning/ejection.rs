//! Meaning of `[pool.ejection]`: when a backend is taken out for a while because of what sessions meet there.

use std::num::NonZeroU32;
use std::time::Duration;

use super::{count, time, time_if_given, to_u32};
use crate::config::errors::Reason;
use crate::config::keys::EJECTION_TIME_MAX;
use crate::config::read::Reader;
use crate::config::types::Ejection;
use crate::config::units::format_duration;
use crate::config::values;

pub(super) fn ejection(reader: &Reader<'_, '_>) -> Option<Ejection> {
    let failures = reader.get("failures", values::number);
    let times = times(reader);
    let share_max = count(reader, "share_max");
    let first_byte_timeout = reader.get("first_byte_timeout", values::duration);
    let (time, time_max) = times?;
    Some(Ejection {
        failures: failures?.and_then(|failures| NonZeroU32::new(to_u32(failures))),
        time,
        time_max,
        share_max: to_u32(share_max?),
        first_byte_timeout: first_byte_timeout?,
    })
}

/// The first and the longest; the longest follows the first.
fn times(reader: &Reader<'_, '_>) -> Option<(Duration, Duration)> {
    let name = "time_max";
    let (first, longest) = (time(reader, "time"), time_if_given(reader, name));
    let (first, longest) = (first?, longest?);
    if let Some(longest) = longest.filter(|longest| *longest < first) {
        let words = format!(
            "{} at most is shorter than the time of {} that an ejection begins with; \
             raise this one or lower time",
            format_duration(longest),
            format_duration(first)
        );
        reader.report(&reader.place_of(name), name, Reason::Conflict(words));
    }
    Some((first, longest.unwrap_or(EJECTION_TIME_MAX.max(first))))
}
