//! Gauge: what was measured at one backend, and the one figure that picks compare. Pure.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::average::{Average, Rise};
use super::batch::Batch;
use super::window::Window;
use crate::config::{ResponseTime, Signal, Statistic};
use crate::samples::nanos;
use crate::stats::{WAIT_UNIT, Waits};
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
    /// The median and the 99th percentile, while there are samples.
    percentiles: [u64; 2],
    spec: ResponseTime,
    /// By signal.
    windows: [Window; 3],
    average: Average,
    /// Samples of the pool's signal since the last figure.
    batch: Batch,
    measured: Measured,
    /// Whether the last look found answers.
    was_answered: bool,
    /// Those that were waiting when others were answered: they prove nothing.
    overtaken: Overtaken,
    /// A wait that was longer than usual, and that nobody has been answered since.
    stall: Option<Stall>,
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

/// Sessions that still wait although others were answered later: one that uploads for an hour, one that hangs.
#[derive(Debug, Clone, Copy, Default)]
struct Overtaken {
    waits: Waits,
    /// When they were counted.
    at: Duration,
}

impl Overtaken {
    /// How long they have been waiting by now, all together, if they still are.
    fn total(self, now: Duration) -> u64 {
        let passed = nanos(now.saturating_sub(self.at)).saturating_mul(self.waits.count);
        self.waits.total.saturating_add(passed)
    }

    /// Whether some of them have left: there are fewer, or others in their place, who have not been waiting for as long.
    fn have_left(self, waits: Waits, now: Duration) -> bool {
        // Waits are known to a millisecond each.
        let inexact = 2 * self.waits.count * WAIT_UNIT;
        waits.count < self.waits.count || waits.total.saturating_add(inexact) < self.total(now)
    }

    /// How long those that came after them have been waiting, on average.
    fn later(self, waits: Waits, now: Duration) -> Option<u64> {
        let later = waits.count.checked_sub(self.waits.count)?;
        waits.total.saturating_sub(self.total(now)).checked_div(later)
    }
}

/// A backend that has answered nobody while sessions wait.
#[derive(Debug, Clone, Copy)]
struct Stall {
    /// The longest wait that was seen.
    wait: u64,
    /// Since when nobody may try; a window later somebody may.
    closed: Duration,
    /// When somebody was last seen to wait for longer than usual.
    seen: Duration,
    /// Somebody may try, and so many were waiting when that began.
    open: Option<u64>,
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
            percentiles: [0, 0],
            was_answered: false,
            overtaken: Overtaken::default(),
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
        let known = self.statistic(now, typical).map(|measured| self.doubt(measured, typical));
        if let Some(figure) = self.stall(now, waits, known.unwrap_or(0)) {
            return figure;
        }
        match known {
            None => Figure::UNKNOWN,
            Some(nanos) if self.measured.usual.is_some() => Figure::fresh(nanos),
            Some(nanos) => Figure::stale(nanos),
        }
    }

    /// What is known by who waits, while nobody is answered.
    ///
    /// It counts until somebody is answered, also when those who waited have left: clients that lose patience must not make
    /// room for more of them. A window later it may be tried again, by whoever is picked before the next figure; what
    /// they meet decides for another window. So an upload that takes an hour does not keep everybody away for an hour.
    fn stall(&mut self, now: Duration, waits: Waits, known: u64) -> Option<Figure> {
        if std::mem::take(&mut self.was_answered) {
            self.overtaken = Overtaken { waits, at: now };
        }
        if self.overtaken.have_left(waits, now) {
            // Which of them cannot be told. Whoever waits now counts until somebody is answered again.
            self.overtaken = Overtaken::default();
        }
        let window = self.spec.window;
        let usual = self.measured.usual.unwrap_or(0);
        let wait = self.overtaken.later(waits, now).filter(|wait| *wait > usual);
        self.stall = match (self.stall, wait) {
            (Some(stall), Some(wait)) => Some(Stall { wait: wait.max(stall.wait), seen: now, ..stall }),
            (None, Some(wait)) => Some(Stall { wait, closed: now, seen: now, open: None }),
            (stall, None) => stall.filter(|stall| now.saturating_sub(stall.seen) < window),
        };
        let stall = self.stall.as_mut()?;
        match stall.open {
            Some(count) if waits.count > count => (stall.closed, stall.open) = (now, None),
            Some(count) => stall.open = Some(count.min(waits.count)),
            None if now.saturating_sub(stall.closed) >= window => stall.open = Some(waits.count),
            None => {}
        }
        let nanos = stall.wait.max(known);
        Some(if stall.open.is_some() { Figure::stale(nanos) } else { Figure::fresh(nanos) })
    }

    /// Looks at the samples anew.
    fn measure(&mut self, now: Duration, scratch: &mut Histogram<u32>) {
        let batch = std::mem::take(&mut self.batch);
        self.was_answered |= !batch.is_empty();
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
            Statistic::P99 => Some(quantile(0.99)),
            Statistic::Ewma | Statistic::PeakEwma => None,
        };
        self.measured = Measured { statistic: percentile, usual: Some(quantile(USUAL)), count: window.len() };
        self.percentiles = [quantile(0.5), quantile(0.99)];
    }

    /// The median and the 99th percentile of the window, as of the last look; 0 when there are no samples.
    pub fn percentiles(&self) -> [u64; 2] {
        if self.measured.usual.is_some() { self.percentiles } else { [0, 0] }
    }

    fn doubt(&self, measured: u64, typical: Option<u64>) -> u64 {
        let (count, typical) = (self.measured.count as f64, typical.unwrap_or(measured) as f64);
        ((measured as f64 * count + typical * DOUBT) / (count + DOUBT)) as u64
    }

    /// What the pool's statistic says of the samples; what it said last when there are none.
    pub fn measured(&self, now: Duration) -> Option<u64> {
        match self.spec.statistic {
            Statistic::P50 | Statistic::P90 | Statistic::P99 => self.measured.statistic,
            Statistic::Ewma | Statistic::PeakEwma => self.average.read(now, self.fade(), self.rise()),
        }
    }

    /// The same, but a peak fades to what is typical and not to nothing: else who was not picked for a while would draw
    /// everybody.
    fn statistic(&self, now: Duration, typical: Option<u64>) -> Option<u64> {
        let measured = self.measured(now)?;
        let last = self.average.last().unwrap_or(measured);
        match self.rise() {
            Rise::Jump => Some(measured.max(typical.map_or(measured, |typical| typical.min(last)))),
            Rise::Smooth => Some(measured),
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
    fn one_session_that_waits_for_ever_is_no_stall_once_others_were_answered_after_it() {
        let mut gauge = gauge(Statistic::P50);
        for ms in (50..5000).step_by(50) {
            gauge.take(Signal::FirstByte, MS);
            assert!(close(figure(&mut gauge, at(ms), waits(1, ms)), MS), "after {ms} ms");
        }
        // Also when it is quiet for a while.
        assert!(close(figure(&mut gauge, at(5500), waits(1, 5500)), MS));
        // One that came later, and waits too, is something else: 500 ms beside 6000.
        let two = Waits { count: 2, total: 6500 * MS };
        assert!(close(figure(&mut gauge, at(6000), two), 500 * MS));
    }

    #[test]
    fn clients_that_lose_patience_and_come_again_do_not_pass_for_one_that_was_overtaken() {
        let mut gauge = gauge(Statistic::P50);
        gauge.take(Signal::FirstByte, MS);
        assert!(close(figure(&mut gauge, at(0), waits(1, 1)), MS));
        // It leaves, another comes, there is always one: but none that has been waiting since then.
        let found = figure(&mut gauge, at(50), waits(1, 20));
        assert!(close(found, 20 * MS), "{found:?}");
    }

    #[test]
    fn a_stall_that_lasts_is_tried_again_by_somebody_each_window() {
        let mut gauge = gauge(Statistic::P50);
        gauge.take(Signal::FirstByte, MS);
        figure(&mut gauge, at(0), NO_WAITS);
        // The first upload of the day: nobody was answered after it, and it lasts for an hour.
        assert!(!figure(&mut gauge, at(1_000), waits(1, 1_000)).is_stale());
        assert!(!figure(&mut gauge, at(10_900), waits(1, 10_900)).is_stale());
        let tried = figure(&mut gauge, at(11_000), waits(1, 11_000));
        assert!(tried.is_stale() && close(tried, 11_000 * MS), "{tried:?}");
        // Until somebody does.
        assert!(figure(&mut gauge, at(20_000), waits(1, 20_000)).is_stale());
        let two = Waits { count: 2, total: 20_060 * MS };
        assert!(!figure(&mut gauge, at(20_050), two).is_stale());
        // That one is answered: the upload has been overtaken.
        gauge.take(Signal::FirstByte, MS);
        assert!(close(figure(&mut gauge, at(20_100), waits(1, 20_100)), MS));
        assert!(close(figure(&mut gauge, at(22_000), waits(1, 22_000)), MS));
    }

    #[test]
    fn a_peak_fades_to_what_is_typical_and_no_further() {
        let mut gauge = gauge(Statistic::PeakEwma);
        (0..1000).for_each(|_| gauge.take(Signal::FirstByte, 100 * MS));
        gauge.look(at(0), &mut histogram());
        let figure = |gauge: &mut Gauge, now, typical| gauge.figure(at(now), NO_WAITS, Some(typical * MS));
        assert!(close(figure(&mut gauge, 0, 5), 99 * MS));
        assert!(close(figure(&mut gauge, 60_000, 5), 5 * MS));
        // Whoever is typical, or better, stays as it is.
        assert!(close(figure(&mut gauge, 60_000, 100), 100 * MS));
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
