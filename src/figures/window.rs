//! Window: the samples of one kind from one backend, of the last while, in histograms that take turns.
//!
//! Two halves: what is recorded goes into the newer one; when half of the window has passed, the older one is emptied and
//! becomes the newer. So a figure is made from the last half to whole window. Nothing is held for a backend that is quiet.

use std::time::Duration;

use hdrhistogram::Histogram;

/// The finest difference that is kept, in nanoseconds.
const LOWEST: u64 = 128;
/// The longest time that is told from longer ones: an hour.
const HIGHEST: u64 = 3_600_000_000_000;
/// Significant digits: no figure is off by more than one in a hundred.
const DIGITS: u8 = 2;
/// Bytes that one half can take: 35 powers of two of 128 counts, 4 bytes each. It grows to what it is given; up to a
/// second it takes half of this.
pub const HALF_BYTES_MAX: usize = 36 * 128 * 4;

/// A window of samples.
#[derive(Debug, Default)]
pub struct Window {
    newer: Option<Histogram<u32>>,
    older: Option<Histogram<u32>>,
    /// When the halves change next.
    turns: Duration,
}

/// An empty histogram, as small as can be.
pub fn histogram() -> Histogram<u32> {
    let mut histogram =
        Histogram::new_with_bounds(LOWEST, 2 * LOWEST, DIGITS).expect("the bounds are constant and valid");
    histogram.auto(true);
    histogram
}

impl Window {
    /// Takes a sample.
    pub fn record(&mut self, nanos: u64) {
        let newer = self.newer.get_or_insert_with(histogram);
        // It grows by itself, so that this cannot fail.
        let _ = newer.record(nanos.min(HIGHEST));
    }

    /// Lets time pass: what is older than the window goes. Whether anything went.
    pub fn rotate(&mut self, now: Duration, length: Duration) -> bool {
        let half = length / 2;
        if now < self.turns {
            return false;
        }
        // After a long gap both are old.
        let is_all_old = now - self.turns >= half;
        self.turns = now + half;
        let mut emptied = self.older.take();
        emptied.iter_mut().for_each(|histogram| histogram.reset());
        let older = std::mem::replace(&mut self.newer, emptied);
        self.older = older.filter(|older| !is_all_old && !older.is_empty());
        if self.older.is_none() && self.newer.as_ref().is_some_and(|newer| newer.is_empty()) {
            self.newer = None;
        }
        true
    }

    /// How many samples there are.
    pub fn len(&self) -> u64 {
        self.halves().map(Histogram::len).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts all samples into one histogram, in place of what it held.
    pub fn merge_into(&self, all: &mut Histogram<u32>) {
        all.reset();
        for half in self.halves() {
            // It grows by itself, so that this cannot fail.
            let _ = all.add(half);
        }
    }

    fn halves(&self) -> impl Iterator<Item = &Histogram<u32>> {
        self.newer.iter().chain(&self.older)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn median(window: &Window) -> u64 {
        let mut all = histogram();
        window.merge_into(&mut all);
        all.value_at_quantile(0.5)
    }

    #[test]
    fn figures_are_right_to_a_percent_from_microseconds_to_minutes() {
        for nanos in [20_000, 1_234_567, 87_654_321, 9_999_999_999, 300_000_000_000_u64] {
            let mut window = Window::default();
            window.record(nanos);
            let error = median(&window).abs_diff(nanos) as f64 / nanos as f64;
            assert!(error < 0.01, "{nanos}: off by {error}");
        }
    }

    #[test]
    fn samples_count_for_half_a_window_at_least_and_a_whole_one_at_most() {
        let mut window = Window::default();
        window.rotate(at(0), LENGTH);
        window.record(1_000_000);
        window.rotate(at(4), LENGTH);
        assert_eq!(window.len(), 1);
        window.rotate(at(5), LENGTH);
        window.record(2_000_000);
        assert_eq!(window.len(), 2);
        window.rotate(at(10), LENGTH);
        assert_eq!(window.len(), 1);
        assert!(median(&window) > 1_900_000);
        window.rotate(at(15), LENGTH);
        assert!(window.is_empty());
    }

    #[test]
    fn after_a_long_gap_nothing_old_is_left_and_no_memory_is_held() {
        let mut window = Window::default();
        window.rotate(at(0), LENGTH);
        window.record(1_000_000);
        window.rotate(at(60), LENGTH);
        assert!(window.is_empty());
        assert!(window.older.is_none());
        window.rotate(at(65), LENGTH);
        assert!(window.newer.is_none());
    }

    #[test]
    fn a_histogram_never_takes_more_than_what_is_promised() {
        let mut window = Window::default();
        window.record(u64::MAX);
        let counts = window.newer.unwrap().distinct_values();
        assert!(counts * size_of::<u32>() <= HALF_BYTES_MAX, "{counts}");
    }
}
