//! What is wrong with a command line, all of it at once.

use std::time::Duration;

use crate::descriptors;

/// What is wrong with the values, all of it.
#[derive(Debug, Default)]
pub(super) struct Errors(Vec<String>);

impl Errors {
    pub(super) fn add(&mut self, error: impl Into<String>) {
        self.0.push(error.into());
    }

    pub(super) fn at_least_one(&mut self, option: &str, value: u64) {
        if value == 0 {
            self.add(format!("{option}: value is too small (0), at least 1 is needed"));
        }
    }

    pub(super) fn at_most(&mut self, option: &str, value: u64, max: u64) {
        if value > max {
            self.add(format!("{option}: value is too large ({value}), at most {max} is allowed"));
        }
    }

    pub(super) fn not_zero(&mut self, option: &str, time: Duration) {
        if time.is_zero() {
            self.add(format!("{option}: must be longer than 0s"));
        }
    }

    pub(super) fn no_longer(&mut self, option: &str, time: Duration, max: Duration) {
        if time > max {
            let (time, max) = (humantime::format_duration(time), humantime::format_duration(max));
            self.add(format!("{option}: too long ({time}), at most {max} is allowed"));
        }
    }

    /// Last of all, as it changes the limit of the process.
    pub(super) fn descriptors(&mut self, option: &str, connections: usize, threads: usize) {
        if self.0.is_empty()
            && let Err(error) = descriptors::reserve(option, connections as u64, threads as u64)
        {
            self.add(error);
        }
    }

    pub(super) fn none_or<T>(self, meaning: T) -> Result<T, Vec<String>> {
        if self.0.is_empty() { Ok(meaning) } else { Err(self.0) }
    }
}
