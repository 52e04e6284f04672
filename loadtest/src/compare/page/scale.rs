//! Where a number is on an axis, and which numbers are written at it.

/// Times, by their logarithm: twice as long is as far everywhere.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogScale {
    low: f64,
    high: f64,
}

impl LogScale {
    /// One that has room for all of them and a little more; of nothing there is none.
    pub(super) fn over(times: impl IntoIterator<Item = f64>) -> Option<Self> {
        let range = times.into_iter().fold(None, |range: Option<(f64, f64)>, time| {
            let (low, high) = range.unwrap_or((time, time));
            Some((low.min(time), high.max(time)))
        });
        let (low, high) = range?;
        // Where all are nearly the same, an axis of just their range would show noise as if it were news.
        let spare = (ROOM.max(LEAST_RANGE / (high / low))).sqrt();
        Some(Self { low: low / spare, high: high * spare })
    }

    /// As a part of the axis, from 0 to 1.
    pub(super) fn at(&self, time: f64) -> f64 {
        ((time / self.low).ln() / (self.high / self.low).ln()).clamp(0.0, 1.0)
    }

    /// Round times on it, not more than so many.
    pub(super) fn ticks(&self, most: usize) -> Vec<f64> {
        let first = self.low.log10().floor() as i32;
        let decades = first..=self.high.log10().ceil() as i32;
        let with = |steps: &[f64], stride: usize| -> Vec<f64> {
            let all = decades.clone().step_by(stride).flat_map(|decade| {
                steps.iter().map(move |step| step * 10f64.powi(decade)).collect::<Vec<_>>()
            });
            all.filter(|time| (self.low..=self.high).contains(time)).collect()
        };
        let finer = STEPS.iter().map(|steps| with(steps, 1));
        let coarser = (2..40).map(|stride| with(&[1.0], stride));
        finer.chain(coarser).find(|ticks| ticks.len() <= most).unwrap_or_default()
    }
}

/// Round numbers from 0 to the highest, not more than so many.
pub(super) fn linear_ticks(highest: f64, most: usize) -> Vec<f64> {
    let steps = (-3..9).flat_map(|decade| [1.0, 2.0, 5.0].map(|step| step * 10f64.powi(decade)));
    let Some(step) = steps.into_iter().find(|step| highest / step < most as f64) else { return Vec::new() };
    (0..most).map(|tick| tick as f64 * step).take_while(|tick| *tick <= highest * 1.0001).collect()
}

/// From fine to coarse.
const STEPS: [&[f64]; 4] =
    [&[1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0], &[1.0, 2.0, 5.0], &[1.0, 3.0], &[1.0]];
const ROOM: f64 = 1.3;
const LEAST_RANGE: f64 = 3.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_inside_and_not_too_many() {
        for (low, high) in [(300.0, 60_000.0), (1000.0, 1001.0), (1.0, 1e8), (0.002, 9e15)] {
            let scale = LogScale::over([low, high]).unwrap();
            assert!(scale.at(low) > 0.0 && scale.at(low) < scale.at(high) && scale.at(high) < 1.0);
            let ticks = scale.ticks(8);
            assert!((3..=8).contains(&ticks.len()), "{low} {high}: {ticks:?}");
            assert!(ticks.iter().all(|tick| (scale.low..=scale.high).contains(tick)), "{ticks:?}");
        }
        let ticks = LogScale::over([300.0, 60_000.0]).unwrap().ticks(8);
        assert!(ticks.iter().zip([500.0, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4]).all(|(a, b)| (a - b).abs() < 1e-6));
    }

    #[test]
    fn seconds_begin_at_0() {
        assert_eq!(linear_ticks(10.0, 6), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(linear_ticks(1.0, 3), [0.0, 0.5, 1.0]);
        assert!(LogScale::over([]).is_none());
    }
}
