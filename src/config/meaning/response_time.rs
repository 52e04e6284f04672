//! Meaning of `[pool.response_time]`: what is measured, and which figure of it counts.

use super::time;
use crate::config::errors::Reason;
use crate::config::read::Reader;
use crate::config::types::{Algorithm, Choice, ResponseTime, Statistic};
use crate::config::values;

pub(super) fn response_time(reader: &Reader<'_, '_>, algorithm: Option<Algorithm>) -> Option<ResponseTime> {
    let signal = reader.get("signal", values::choice);
    let statistic = statistic(reader, algorithm);
    let window = time(reader, "window");
    Some(ResponseTime { signal: signal?, statistic: statistic?, window: window? })
}

/// `peak-ewma` is an algorithm because of its statistic: with another one it would be `power-of-two`.
fn statistic(reader: &Reader<'_, '_>, algorithm: Option<Algorithm>) -> Option<Statistic> {
    let given: Option<Statistic> = reader.get_if_given("statistic", values::choice)?;
    match (algorithm, given) {
        (Some(Algorithm::PeakEwma), Some(given)) if given != Statistic::PeakEwma => {
            let words = format!(
                "algorithm = \"peak-ewma\" goes by its own statistic; remove this one, or set algorithm to \
                 \"least-response-time\" to go by {}",
                given.word()
            );
            reader.report(&reader.place_of("statistic"), "statistic", Reason::Conflict(words));
            None
        }
        (_, Some(given)) => Some(given),
        (Some(Algorithm::PeakEwma), None) => Some(Statistic::PeakEwma),
        (_, None) => Some(Statistic::P50),
    }
}
