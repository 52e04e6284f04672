//! How long a modelled backend takes for a session, and what happens to it meanwhile. Pure.

use std::time::Duration;

use serde::Deserialize;

use crate::dice::Dice;

/// How service times are spread.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(tag = "spread", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Service {
    /// Always the same.
    Constant {
        #[serde(with = "humantime_serde")]
        mean: Duration,
    },
    /// Mostly short, now and then several times the mean.
    Exponential {
        #[serde(with = "humantime_serde")]
        mean: Duration,
    },
    /// One of two, exponential around each: a cache that hits or misses.
    Bimodal {
        #[serde(with = "humantime_serde")]
        fast: Duration,
        #[serde(with = "humantime_serde")]
        slow: Duration,
        slow_share: f64,
    },
    /// A heavy tail: the smaller the shape, the heavier; bounded by `max`.
    Pareto {
        #[serde(with = "humantime_serde")]
        mean: Duration,
        shape: f64,
        #[serde(with = "humantime_serde")]
        max: Duration,
    },
}

impl Service {
    /// The next one.
    pub(crate) fn sample(&self, dice: &mut Dice) -> Duration {
        match *self {
            Self::Constant { mean } => mean,
            Self::Exponential { mean } => exponential(dice, mean),
            Self::Bimodal { fast, slow, slow_share } => {
                let mean = if dice.unit() <= slow_share { slow } else { fast };
                exponential(dice, mean)
            }
            Self::Pareto { mean, shape, max } => {
                // The least value that gives this mean, without the bound.
                let least_s = mean.as_secs_f64() * (shape - 1.0) / shape;
                let drawn_s = least_s * dice.unit().powf(-1.0 / shape);
                Duration::from_secs_f64(drawn_s.min(max.as_secs_f64()))
            }
        }
    }

    /// What is wrong with it: key and complaint.
    pub(super) fn mistakes(&self) -> Vec<(&'static str, String)> {
        let mut mistakes = Vec::new();
        let mut time = |key, time: Duration| {
            if time > TIME_MAX {
                mistakes.push((key, format!("{}: at most 60s is allowed", humantime::format_duration(time))));
            }
        };
        match *self {
            Self::Constant { mean } | Self::Exponential { mean } => time("mean", mean),
            Self::Bimodal { fast, slow, slow_share } => {
                time("fast", fast);
                time("slow", slow);
                if !(0.0..=1.0).contains(&slow_share) {
                    mistakes.push(("slow_share", format!("{slow_share}: it lies between 0 and 1")));
                }
            }
            Self::Pareto { mean, shape, max } => {
                time("mean", mean);
                time("max", max);
                if !(shape > 1.0 && shape <= 100.0) {
                    mistakes.push((
                        "shape",
                        format!("{shape}: more than 1 (below there is no mean) and at most 100 is allowed"),
                    ));
                }
                if max < mean {
                    mistakes.push(("max", "it must not be below the mean".to_owned()));
                }
            }
        }
        mistakes
    }
}

fn exponential(dice: &mut Dice, mean: Duration) -> Duration {
    Duration::from_secs_f64(dice.exponential(mean.as_secs_f64()))
}

/// Something that happens to a backend, at times that count from the beginning of the measured time.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trouble {
    pub(crate) what: What,
    #[serde(with = "humantime_serde")]
    pub(crate) from: Duration,
    #[serde(with = "humantime_serde")]
    pub(crate) to: Duration,
    /// For [`What::Slow`]: service times are so many times as long.
    #[serde(default = "one")]
    pub(crate) factor: f64,
}

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum What {
    /// Nothing goes on: sessions wait, new ones are accepted.
    Stall,
    /// What begins then takes longer.
    Slow,
    /// It does not listen, and its sessions are cut.
    Down,
}

fn one() -> f64 {
    1.0
}

/// When a service that begins at `start` and would take `service` is done. Both count from the measured time, which may
/// not have begun: hence the sign.
pub(super) fn done_at(start_s: f64, service: Duration, troubles: &[Trouble]) -> f64 {
    let slow = troubles.iter().filter(|trouble| trouble.what == What::Slow);
    let factor: f64 =
        slow.filter(|trouble| trouble.holds_at(start_s)).map(|trouble| trouble.factor).product();
    let mut done_s = start_s + service.as_secs_f64() * factor;
    let mut stalls: Vec<_> = troubles.iter().filter(|trouble| trouble.what == What::Stall).collect();
    stalls.sort_by_key(|stall| stall.from);
    for stall in stalls {
        let (from_s, to_s) = (stall.from.as_secs_f64(), stall.to.as_secs_f64());
        if from_s < done_s && start_s < to_s {
            // It stands still for what is left of the stall.
            done_s += to_s - from_s.max(start_s);
        }
    }
    done_s
}

impl Trouble {
    fn holds_at(&self, at_s: f64) -> bool {
        (self.from.as_secs_f64()..self.to.as_secs_f64()).contains(&at_s)
    }
}

const TIME_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn mean_ms(service: Service) -> f64 {
        let mut dice = Dice::new(5);
        let count = 200_000;
        let sum: Duration = (0..count).map(|_| service.sample(&mut dice)).sum();
        sum.as_secs_f64() * 1e3 / f64::from(count)
    }

    #[test]
    fn every_spread_has_the_mean_that_it_says() {
        let ms = Duration::from_millis;
        assert_eq!(mean_ms(Service::Constant { mean: ms(4) }), 4.0);
        // Standard errors: 4 / sqrt(200,000) = 0.009, for the two modes 0.02, for the tail with shape 3 0.005: five of each.
        assert!((mean_ms(Service::Exponential { mean: ms(4) }) - 4.0).abs() < 0.045);
        let bimodal = Service::Bimodal { fast: ms(1), slow: ms(21), slow_share: 0.1 };
        assert!((mean_ms(bimodal) - 3.0).abs() < 0.11, "{}", mean_ms(bimodal));
        let pareto = Service::Pareto { mean: ms(4), shape: 3.0, max: Duration::from_secs(60) };
        assert!((mean_ms(pareto) - 4.0).abs() < 0.03, "{}", mean_ms(pareto));
    }

    #[test]
    fn a_heavy_tail_is_bounded() {
        let max = Duration::from_millis(100);
        let service = Service::Pareto { mean: Duration::from_millis(10), shape: 1.1, max };
        let mut dice = Dice::new(1);
        let drawn: Vec<_> = (0..100_000).map(|_| service.sample(&mut dice)).collect();
        assert_eq!(drawn.iter().max(), Some(&max));
    }

    fn trouble(what: What, from_ms: u64, to_ms: u64, factor: f64) -> Trouble {
        Trouble { what, from: Duration::from_millis(from_ms), to: Duration::from_millis(to_ms), factor }
    }

    fn done_ms(start_ms: f64, service_ms: u64, troubles: &[Trouble]) -> f64 {
        (done_at(start_ms / 1e3, Duration::from_millis(service_ms), troubles) * 1e3).round()
    }

    #[test]
    fn a_stall_stops_what_is_under_way_and_what_begins_in_it() {
        let stalls = [trouble(What::Stall, 100, 200, 1.0), trouble(What::Stall, 250, 260, 1.0)];
        assert_eq!(done_ms(50.0, 50, &stalls), 100.0);
        assert_eq!(done_ms(50.0, 60, &stalls), 210.0);
        assert_eq!(done_ms(150.0, 10, &stalls), 210.0);
        assert_eq!(done_ms(200.0, 10, &stalls), 210.0);
        // Through the first one into the second one.
        assert_eq!(done_ms(50.0, 110, &stalls), 270.0);
        // Before the measured time.
        assert_eq!(done_ms(-500.0, 10, &stalls), -490.0);
    }

    #[test]
    fn what_begins_in_a_slow_time_takes_longer() {
        let slow = [trouble(What::Slow, 100, 200, 3.0)];
        assert_eq!(done_ms(99.0, 10, &slow), 109.0);
        assert_eq!(done_ms(100.0, 10, &slow), 130.0);
        assert_eq!(done_ms(200.0, 10, &slow), 210.0);
    }
}
