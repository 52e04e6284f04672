//! How far it is, on stderr: a line for each trial, with the time that is left.

use std::time::{Duration, Instant};

use super::units::time;
use crate::tally::Tally;

/// Counts the trials.
#[derive(Debug)]
pub(super) struct Progress {
    start: Instant,
    trials: usize,
    done: usize,
}

impl Progress {
    /// None is done yet.
    pub(super) fn new(trials: usize) -> Self {
        Self { start: Instant::now(), trials, done: 0 }
    }

    /// So many need not be done.
    pub(super) fn skip(&mut self, trials: usize) {
        self.trials -= trials;
    }

    /// One more is.
    pub(super) fn measured(&mut self, round: usize, what: &str, tally: &Tally) {
        self.done += 1;
        let left = (self.trials - self.done.min(self.trials)) as u32;
        let left = self.start.elapsed() / self.done as u32 * left;
        let left = humantime::format_duration(Duration::from_secs(left.as_secs()));
        let p99 = time(tally.request.value_at_quantile(0.99) as f64 / 1e3);
        let failed = match tally.failed_total() + tally.not_sent {
            0 => String::new(),
            failed => format!("  {failed} failed"),
        };
        let (done, trials, round) = (self.done, self.trials, round + 1);
        eprintln!("{done:>4}/{trials}  round {round}  {what:<30} p99 {p99:>8}{failed}  {left} left");
    }
}
