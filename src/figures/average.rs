//! Average: an exponentially weighted moving average over samples that come when they come. Pure.

use std::time::Duration;

use super::batch::Batch;

/// How an average takes a sample that is above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rise {
    /// Like any other.
    Smooth,
    /// It jumps up to it at once, and fades from there: a slow answer is news, a quick one may be chance.
    Jump,
}

/// A moving average, in nanoseconds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Average {
    value: f64,
    at: Option<Duration>,
}

impl Average {
    /// Takes what has come since the last call. A sample's weight fades to 37 % within `fade`.
    pub fn take(&mut self, batch: Batch, now: Duration, fade: Duration, rise: Rise) {
        let Some(mean) = batch.mean() else { return };
        let Some(at) = self.at.replace(now) else {
            self.value = if rise == Rise::Jump { batch.max as f64 } else { mean };
            return;
        };
        let kept = kept(now.saturating_sub(at), fade);
        let before = match rise {
            Rise::Smooth => self.value,
            Rise::Jump => self.value * kept,
        };
        self.value = if rise == Rise::Jump && batch.max as f64 > before {
            batch.max as f64
        } else {
            self.value * kept + mean * (1.0 - kept)
        };
    }

    /// The average as it was when the last sample came.
    pub fn last(&self) -> Option<u64> {
        self.at.map(|_| self.value as u64)
    }

    /// The average now. One that jumps fades while nothing comes, so that who was slow once is tried again.
    pub fn read(&self, now: Duration, fade: Duration, rise: Rise) -> Option<u64> {
        let at = self.at?;
        let value = match rise {
            Rise::Smooth => self.value,
            Rise::Jump => self.value * kept(now.saturating_sub(at), fade),
        };
        Some(value as u64)
    }
}

/// What is left of a weight after so long.
fn kept(passed: Duration, fade: Duration) -> f64 {
    (-passed.as_secs_f64() / fade.as_secs_f64()).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FADE: Duration = Duration::from_secs(10);

    fn one(nanos: u64) -> Batch {
        let mut batch = Batch::default();
        batch.add(nanos);
        batch
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn after(samples: &[(u64, u64)], rise: Rise) -> u64 {
        let mut average = Average::default();
        for &(second, nanos) in samples {
            average.take(one(nanos), at(second), FADE, rise);
        }
        average.read(at(samples.last().unwrap().0), FADE, rise).unwrap()
    }

    #[test]
    fn the_first_sample_is_the_average() {
        assert_eq!(after(&[(7, 1000)], Rise::Smooth), 1000);
        assert_eq!(after(&[(7, 1000)], Rise::Jump), 1000);
        assert_eq!(Average::default().read(at(1), FADE, Rise::Smooth), None);
    }

    #[test]
    fn a_sample_weighs_by_the_time_since_the_last_one() {
        // After 10 s the old one counts e^-1 = 0.3679.
        assert_eq!(after(&[(0, 1000), (10, 2000)], Rise::Smooth), 1632);
        // A thousand samples at one moment are no more than one.
        let mut many: Vec<(u64, u64)> = vec![(0, 1000)];
        many.extend([(10, 2000); 1000]);
        assert_eq!(after(&many, Rise::Smooth), 1632);
    }

    #[test]
    fn the_peak_jumps_up_at_once_and_comes_down_slowly() {
        assert_eq!(after(&[(0, 1000), (0, 9000)], Rise::Jump), 9000);
        let down = after(&[(0, 9000), (1, 1000)], Rise::Jump);
        // 9000 x 0.9048 + 1000 x 0.0952.
        assert_eq!(down, 8238);
    }

    #[test]
    fn the_peak_fades_while_nothing_comes_and_the_smooth_one_stays() {
        for (rise, expected) in [(Rise::Jump, 3311), (Rise::Smooth, 9000)] {
            let mut average = Average::default();
            average.take(one(9000), at(0), FADE, rise);
            let read = average.read(at(10), FADE, rise).unwrap();
            assert!(read.abs_diff(expected) <= 1, "{rise:?}: {read}");
        }
    }

    #[test]
    fn small_changes_are_not_lost_to_rounding() {
        // An average in whole milliseconds would stay at 30 for ever.
        let samples: Vec<(u64, u64)> =
            std::iter::once((0, 30_000_000)).chain((1..=200).map(|s| (s, 0))).collect();
        assert!(after(&samples, Rise::Smooth) < 100);
    }
}
