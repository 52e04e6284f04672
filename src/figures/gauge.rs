//! Gauge: what was measured at one backend, and the one figure that picks compare. Pure.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::average::{Average, Rise};
use super::batch::Batch;
use super::window::Window;
use crate::config::{ResponseTime, Signal, Statistic};
use crate::stats::Waits;
use crate::times::Figure;

/// The percentile of what is usual: a wait counts when it is longer.
const USUAL: f64 = 0.99;
/// What is typical of the pool counts like so many samples.
///
/// The first answer of a backend may be a hundred times quicker than its second. Without this one lucky sample would
/// draw every session of the next moment, and of a thousand backends there is always one that was lucky.
const DOUBT: f64 = 10.0;

/// What was measured at one backend.
#[derive(Debug)]
pub struct Gauge {
    spec: ResponseTime,
    /// By signal.
    windows: [Window; 3],
    average: Average,
    /// Samples of the pool's signal since the last figure.
    batch: Batch,
    measured: Measured,
    /// When the last look was that found answers.
    answered: Option<Duration>,
    /// The longest wait that was more than usual, and when it was last seen, if nobody has been answered since.
    stall: Option<(u64, Duration)>,
    /// Nothing has come since the last figure, and nothing has gone.
    is_settled: bool,
}

/// The figure from samples alone, kept while they are the same.
#[derive(Debug, Clone, Copy, Default)]
struct Measured {
    /// What the statistic says; what it said last when the window has run empty.
    statistic: Option<u64>,
    /// What is usual; nothing when the window is empty.
    usual: Option<u64>,
    /// From how many samples.
    count: u64,
}

impl Gauge {
    /// Nothing measured yet.
    pub fn new(spec: ResponseTime) -> Gauge {
        Gauge {
            spec,
            windows: Default::default(),
            average: Average::default(),
            batch: Batch::default(),
            measured: Measured::default(),
            answered: None,
            stall: None,
            is_settled: true,
        }
    }

    /// Takes a sample.
    pub fn take(&mut self, signal: Signal, nanos: u64) {
        self.windows[signal as usize].record(nanos);
        if signal == self.spec.signal {
            self.batch.add(nanos);
            self.is_settled = false;
            self.stall = None;
        }
    }

    /// The samples of one kind.
    pub fn window(&self, signal: Signal) -> &Window {
        &self.windows[signal as usize]
    }

    /// Takes in what has come since the last look, and lets go what is too old. `scratch` is a histogram whose contents do
    /// not matter.
    pub fn look(&mut self, now: Duration, scratch: &mut Histogram<u32>) {
        for (index, window) in self.windows.iter_mut().enumerate() {
            let went = window.rotate(now, self.spec.window);
            self.is_settled &= !(went && index == self.spec.signal as usize);
        }
        if !self.is_settled {
            self.measure(now, scratch);
        }
    }

    /// The figure now, of what was seen at the last look. `typical` is the middle of what the pool's backends have.
    ///
    /// What was measured, drawn towards the typical when there are few samples, unless sessions have been waiting for
    /// longer than is usual: a backend that has stalled gives no samples, and is noticed by those who wait for them.
    pub fn figure(&mut self, now: Duration, waits: Waits, typical: Option<u64>) -> Figure {
        let known = self.statistic(now).map(|measured| self.doubt(measured, typical));
        match (self.stall(now, waits), known) {
            (Some(wait), known) => Figure::fresh(wait.max(known.unwrap_or(0))),
            (None, None) => Figure::UNKNOWN,
            (None, Some(nanos)) if self.measured.usual.is_some() => Figure::fresh(nanos),
            (None, Some(nanos)) => Figure::stale(nanos),
        }
    }

    /// How long sessions have been waiting, if that is longer than usual and nobody was answered for as long: a backend that
    /// answers others has not stalled because one session waits.
    ///
    /// It counts until somebody is answered or a window has passed, also when those who waited have left: clients that lose
    /// patience must not make room for more of them.
    fn stall(&mut self, now: Duration, waits: Waits) -> Option<u64> {
        self.stall = self.stall.filter(|(_, seen)| now.saturating_sub(*seen) < self.spec.window);
        let before = self.stall.map_or(0, |(wait, _)| wait);
        let usual = self.measured.usual.unwrap_or(0);
        let is_silent =
            self.answered.is_none_or(|answered| now.saturating_sub(answered).as_nanos() > u128::from(usual));
        let wait = waits.total.checked_div(waits.count).filter(|wait| is_silent && *wait > usual);
        if let Some(wait) = wait {
            self.stall = Some((wait.max(before), now));
        }
        self.stall.map(|(wait, _)| wait)
    }

    /// Looks at the samples anew.
    fn measure(&mut self, now: Duration, scratch: &mut Histogram<u32>) {
        let batch = std::mem::take(&mut self.batch);
        self.answered = if batch.is_empty() { self.answered } else { Some(now) };
        self.average.take(batch, now, self.fade(), self.rise());
        self.is_settled = true;
        let window = &self.windows[self.spec.signal as usize];
        if window.is_empty() {
            self.measured.usual = None;
            return;
        }
        window.merge_into(scratch);
        let quantile = |quantile| scratch.value_at_quantile(quantile);
        let percentile = match self.spec.statistic {
            Statistic::P50 => Some(quantile(0.5)),
            Statistic::P90 => Some(quantile(0.9)),
            Statistic::P99 => Some(quantile(USUAL)),
            Statistic::Ewma | Statistic::PeakEwma => None,
        };
        self.measured = Measured { statistic: percentile, usual: Some(quantile(USUAL)), count: window.len() };
    }

    fn doubt(&self, measured: u64, typical: Option<u64>) -> u64 {
        let (count, typical) = (self.measured.count as f64, typical.unwrap_or(measured) as f64);
        ((measured as f64 * count + typical * DOUBT) / (count + DOUBT)) as u64
    }

    /// What the pool's statistic says of the samples; what it said last when there are none.
    pub fn statistic(&self, now: Duration) -> Option<u64> {
        match self.spec.statistic {
            Statistic::P50 | Statistic::P90 | Statistic::P99 => self.measured.statistic,
            Statistic::Ewma | Statistic::PeakEwma => self.average.read(now, self.fade(), self.rise()),
        }
    }

    /// Of an average, what is older than the window weighs less than two in a hundred: e^-4.
    fn fade(&self) -> Duration {
        self.spec.window / 4
    }

    fn rise(&self) -> Rise {
        match self.spec.statistic {
            Statistic::PeakEwma => Rise::Jump,
            Statistic::P50 | Statistic::P90 | Statistic::P99 | Statistic::Ewma => Rise::Smooth,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::window::histogram;

    const MS: u64 = 1_000_000;
    const NO_WAITS: Waits = Waits { count: 0, total: 0 };

    fn gauge(statistic: Statistic) -> Gauge {
        Gauge::new(ResponseTime { signal: Signal::FirstByte, statistic, window: Duration::from_secs(10) })
    }

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Sessions that have all been waiting for so long.
    fn waits(count: u64, ms: u64) -> Waits {
        Waits { count, total: count * ms * MS }
    }

    fn figure(gauge: &mut Gauge, now: Duration, waits: Waits) -> Figure {
        gauge.look(now, &mut histogram());
        gauge.figure(now, waits, None)
    }

    fn close(figure: Figure, expected: u64) -> bool {
        (figure.nanos() - expected as f64).abs() <= expected as f64 * 0.01
    }

    #[test]
    fn each_statistic_is_what_its_name_says() {
        let table = [
            (Statistic::P50, 50 * MS),
            (Statistic::P90, 90 * MS),
            (Statistic::P99, 99 * MS),
            (Statistic::Ewma, 50 * MS + MS / 2),
            (Statistic::PeakEwma, 100 * MS),
        ];
        for (statistic, expected) in table {
            let mut gauge = gauge(statistic);
            (1..=100).for_each(|ms| gauge.take(Signal::FirstByte, ms * MS));
            let found = figure(&mut gauge, at(50), NO_WAITS);
            assert!(close(found, expected) && !found.is_stale(), "{statistic:?}: {found:?}");
        }
    }

    #[test]
    fn another_signal_does_not_count_but_is_kept() {
        let mut gauge = gauge(Statistic::P50);
        gauge.take(Signal::Connect, 5 * MS);
        assert!(figure(&mut gauge, at(50), NO_WAITS).is_unknown());
        assert_eq!(gauge.window(Signal::Connect).len(), 1);
    }

    #[test]
    fn a_wait_counts_once_it_is_longer_than_usual() {
        let mut gauge = gauge(Statistic::P50);
        (0..90).for_each(|_| gauge.take(Signal::FirstByte, MS));
        (0..10).for_each(|_| gauge.take(Signal::FirstByte, 100 * MS));
        assert!(close(figure(&mut gauge, at(1000), NO_WAITS), MS));
        // One in ten takes 100 ms: that three wait for 60 ms says nothing.
        assert!(close(figure(&mut gauge, at(1060), waits(3, 60)), MS));
        assert!(close(figure(&mut gauge, at(1500), waits(3, 500)), 500 * MS));
        // They were answered: back to what was measured.
        gauge.take(Signal::FirstByte, 500 * MS);
        assert!(close(figure(&mut gauge, at(1550), NO_WAITS), MS));
    }

    #[test]
    fn one_session_that_waits_for_ever_is_no_stall_while_others_are_answered() {
        let mut gauge = gauge(Statistic::P50);
        for ms in (50..5000).step_by(50) {
            gauge.take(Signal::FirstByte, MS);
            assert!(close(figure(&mut gauge, at(ms), waits(1, ms)), MS), "after {ms} ms");
        }
        // And is one as soon as they are not.
        assert!(close(figure(&mut gauge, at(5050), waits(1, 5050)), 5050 * MS));
    }

    #[test]
    fn those_who_left_without_an_answer_still_count_until_somebody_is_answered_or_a_window_has_passed() {
        let mut gauge = gauge(Statistic::P50);
        (0..90).for_each(|_| gauge.take(Signal::FirstByte, MS));
        assert!(close(figure(&mut gauge, at(50), NO_WAITS), MS));
        assert!(close(figure(&mut gauge, at(1000), waits(3, 300)), 300 * MS));
        assert!(close(figure(&mut gauge, at(1200), NO_WAITS), 300 * MS));
        // New ones have not been waiting for long yet.
        assert!(close(figure(&mut gauge, at(3000), waits(1, 20)), 300 * MS));
        assert!(close(figure(&mut gauge, at(12_900), NO_WAITS), 300 * MS));
        let found = figure(&mut gauge, at(13_100), NO_WAITS);
        assert!(close(found, MS) && found.is_stale(), "{found:?}");
        figure(&mut gauge, at(14_000), waits(3, 300));
        gauge.take(Signal::FirstByte, 2 * MS);
        assert!(close(figure(&mut gauge, at(14_050), NO_WAITS), 2 * MS));
    }

    #[test]
    fn one_that_never_answered_is_known_by_its_waits() {
        let mut gauge = gauge(Statistic::P50);
        assert!(figure(&mut gauge, at(100), NO_WAITS).is_unknown());
        let found = figure(&mut gauge, at(400), waits(2, 300));
        assert!(close(found, 300 * MS) && !found.is_stale());
    }

    #[test]
    fn an_empty_window_leaves_the_last_figure_marked_as_old() {
        for statistic in [Statistic::P50, Statistic::Ewma] {
            let mut gauge = gauge(statistic);
            gauge.take(Signal::FirstByte, 7 * MS);
            assert!(!figure(&mut gauge, at(100), NO_WAITS).is_stale());
            // The halves change at 5 s and at 10 s.
            figure(&mut gauge, at(5_200), NO_WAITS);
            let found = figure(&mut gauge, at(10_300), NO_WAITS);
            assert!(found.is_stale() && close(found, 7 * MS), "{statistic:?}: {found:?}");
            // Whoever waits there now is fresh news.
            assert!(!figure(&mut gauge, at(10_400), waits(1, 100)).is_stale());
        }
    }

    #[test]
    fn few_samples_are_doubted_and_many_are_believed() {
        let mut gauge = gauge(Statistic::P50);
        let mut figure = |samples, now| {
            (0..samples).for_each(|_| gauge.take(Signal::FirstByte, MS));
            gauge.look(at(now), &mut histogram());
            gauge.figure(at(now), NO_WAITS, Some(100 * MS)).nanos() as u64
        };
        // (1 + 10 x 100) / 11, and so on.
        assert!(figure(1, 50).abs_diff(91 * MS) < MS);
        assert!(figure(9, 100).abs_diff(50 * MS) < MS);
        assert!(figure(9_990, 150) < 2 * MS);
    }
}
