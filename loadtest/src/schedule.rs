//! When requests are meant to start in an open loop: fixed before the run by the seed, whatever the server does.

use std::{fmt, time::Duration};

use clap::ValueEnum;
use serde::Deserialize;

use crate::dice::Dice;

/// How the arrivals are spread over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Arrivals {
    /// Independent of each other, as from many users: exponential gaps
    #[default]
    Poisson,
    /// Evenly spaced
    Uniform,
}

impl fmt::Display for Arrivals {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Poisson => "poisson",
            Self::Uniform => "uniform",
        })
    }
}

/// What fixes a schedule. The same timetable gives the same arrivals.
#[derive(Debug, Clone)]
pub(crate) struct Timetable {
    /// How the arrivals are spread.
    pub(crate) arrivals: Arrivals,
    /// Mean number of arrivals a second.
    pub(crate) rate: f64,
    /// Arrivals are earlier than this.
    pub(crate) duration: Duration,
    /// No more arrivals than this.
    pub(crate) arrivals_max: u64,
    /// Decides the gaps of [`Arrivals::Poisson`].
    pub(crate) seed: u64,
}

impl Timetable {
    /// The arrivals, in order.
    pub(crate) fn schedule(&self) -> Schedule {
        Schedule {
            arrivals: self.arrivals,
            gap_mean_ns: 1e9 / self.rate,
            end_ns: self.duration.as_nanos() as f64,
            arrivals_max: self.arrivals_max,
            dice: Dice::new(self.seed),
            made: 0,
            last_ns: 0.0,
        }
    }
}

/// The arrivals one after another, each as the time since the start of the run.
#[derive(Debug)]
pub(crate) struct Schedule {
    arrivals: Arrivals,
    gap_mean_ns: f64,
    end_ns: f64,
    arrivals_max: u64,
    dice: Dice,
    made: u64,
    last_ns: f64,
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        if self.made == self.arrivals_max {
            return None;
        }
        let at_ns = match self.arrivals {
            Arrivals::Poisson => self.last_ns + self.dice.exponential(self.gap_mean_ns),
            // Multiplied, not added up: rounding does not grow with the run.
            Arrivals::Uniform => self.made as f64 * self.gap_mean_ns,
        };
        if at_ns >= self.end_ns {
            return None;
        }
        self.last_ns = at_ns;
        self.made += 1;
        Some(Duration::from_nanos(at_ns as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timetable(arrivals: Arrivals, seed: u64) -> Timetable {
        Timetable { arrivals, rate: 1000.0, duration: Duration::from_secs(100), arrivals_max: u64::MAX, seed }
    }

    #[test]
    fn the_same_seed_gives_the_same_arrivals_and_another_gives_others() {
        let arrivals = |seed| timetable(Arrivals::Poisson, seed).schedule().collect::<Vec<_>>();
        assert_eq!(arrivals(5), arrivals(5));
        assert_ne!(arrivals(5), arrivals(6));
    }

    #[test]
    fn poisson_arrivals_have_the_asked_rate_and_spread() {
        let at: Vec<f64> =
            timetable(Arrivals::Poisson, 1).schedule().map(|arrival| arrival.as_secs_f64()).collect();
        // 100,000 expected, standard deviation 316: allow five.
        assert!(at.len().abs_diff(100_000) < 1_600, "{} arrivals", at.len());
        assert!(at.is_sorted());
        assert!(*at.last().unwrap() < 100.0);
        // Exponential gaps: 1/e of them are longer than the mean (standard error 0.0015), where even ones would have none.
        let long = at.windows(2).filter(|pair| pair[1] - pair[0] > 0.001).count();
        let share = long as f64 / at.len() as f64;
        assert!((share - (-1f64).exp()).abs() < 0.01, "{share}");
    }

    #[test]
    fn uniform_arrivals_are_evenly_spaced_from_zero() {
        let at: Vec<_> = timetable(Arrivals::Uniform, 1).schedule().collect();
        assert_eq!(at.len(), 100_000);
        for (index, arrival) in at.iter().enumerate() {
            assert_eq!(*arrival, Duration::from_millis(index as u64));
        }
    }

    #[test]
    fn the_number_of_arrivals_can_be_bounded() {
        let mut bounded = timetable(Arrivals::Poisson, 1);
        bounded.arrivals_max = 17;
        assert_eq!(bounded.schedule().count(), 17);
    }
}
