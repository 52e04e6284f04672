//! From single sessions to the figures of an algorithm.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::{
    plan::Plan,
    result::{Event, Measured, Point, Repeat, Slice, Times},
    scenario::Scenario,
    service::{Trouble, What},
    statistics::{fairness, interval},
    trial::{Gave, Known},
};
use crate::{
    failure::Failure,
    tally::{Sample, Tally},
};

/// Takes in the repeats of one algorithm.
#[derive(Debug)]
pub(super) struct Summary {
    algorithm: String,
    weights: Vec<u32>,
    duration: Duration,
    tally: Option<Tally>,
    planned: u64,
    served: Vec<u64>,
    window_s: f64,
    repeats: Vec<Repeat>,
}

impl Summary {
    /// Nothing yet.
    pub(super) fn new(algorithm: &str, known: &[Known], plan: &Plan) -> Self {
        Self {
            algorithm: algorithm.to_owned(),
            weights: known.iter().map(|known| known.weight).collect(),
            duration: plan.duration,
            tally: None,
            planned: 0,
            served: vec![0; known.len()],
            window_s: 0.0,
            repeats: Vec::new(),
        }
    }

    /// One repeat.
    pub(super) fn add(&mut self, round: usize, gave: &Gave) {
        let tally = &gave.outcome.tally;
        let window_s = gave.outcome.window.as_secs_f64();
        self.repeats.push(Repeat {
            round,
            session: times(&tally.request),
            failed: tally.failed_total() + tally.not_sent,
            achieved_per_s: per_second(tally.done_in_window, window_s),
            shares: shares(&gave.served),
        });
        self.planned += gave.planned;
        self.window_s += window_s;
        for (sum, served) in self.served.iter_mut().zip(&gave.served) {
            *sum += served;
        }
        match &mut self.tally {
            Some(sum) => sum.add(tally),
            None => self.tally = Some(tally.clone()),
        }
    }

    /// The times of all repeats together, if there are any.
    pub(super) fn tally(&self) -> Option<&Tally> {
        self.tally.as_ref()
    }

    /// All of them.
    pub(super) fn finish(self) -> Measured {
        let Some(tally) = self.tally else {
            return Measured { algorithm: self.algorithm, fairness: 1.0, ..Measured::default() };
        };
        let p99s: Vec<f64> = self.repeats.iter().map(|repeat| repeat.session.p99).collect();
        let by_weight: Vec<f64> = self
            .served
            .iter()
            .zip(&self.weights)
            .map(|(served, weight)| *served as f64 / f64::from(*weight))
            .collect();
        Measured {
            algorithm: self.algorithm,
            connect: times(&tally.connect),
            first_byte: times(&tally.first_byte),
            session: times(&tally.request),
            p99: interval(&p99s, CONFIDENCE).unwrap_or_default(),
            offered_per_s: per_second(self.planned, self.window_s),
            achieved_per_s: per_second(tally.done_in_window, self.window_s),
            planned: self.planned,
            failed: tally.failed_total() + tally.not_sent,
            failures: failures(&tally),
            shares: shares(&self.served),
            fairness: fairness(&by_weight),
            late_p99_us: tally.late.value_at_quantile(0.99) as f64 / 1e3,
            curve: curve(&tally.request),
            over_time: slices(&tally.samples, self.duration),
            repeats: self.repeats,
        }
    }
}

/// What happens in a scenario, for charts.
pub(super) fn events(scenario: &Scenario, duration: Duration) -> Vec<Event> {
    let backends = scenario.backends();
    let event = |name: &str, trouble: &Trouble| Event {
        from_s: trouble.from.as_secs_f64(),
        to_s: trouble.to.min(duration).as_secs_f64(),
        what: match trouble.what {
            What::Stall => format!("{name} stands still"),
            What::Slow => format!("{name} is {} times as slow", trouble.factor),
            What::Down => format!("{name} is down"),
        },
    };
    backends.iter().flat_map(|one| one.trouble.iter().map(|trouble| event(&one.name, trouble))).collect()
}

fn per_second(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

fn shares(served: &[u64]) -> Vec<f64> {
    let total = served.iter().sum::<u64>().max(1) as f64;
    served.iter().map(|count| *count as f64 / total).collect()
}

fn failures(tally: &Tally) -> String {
    let failed = Failure::KINDS.iter().zip(tally.failed).filter(|(_, count)| *count > 0);
    let mut words: Vec<_> = failed.map(|(name, count)| format!("{count} {name}")).collect();
    if tally.not_sent > 0 {
        words.push(format!("{} not sent", tally.not_sent));
    }
    words.join(", ")
}

pub(super) fn times(times_ns: &Histogram<u64>) -> Times {
    let at =
        |quantile| if times_ns.is_empty() { 0.0 } else { times_ns.value_at_quantile(quantile) as f64 / 1e3 };
    Times { count: times_ns.len(), p50: at(0.5), p90: at(0.9), p99: at(0.99), p99_9: at(0.999), max: at(1.0) }
}

fn curve(times_ns: &Histogram<u64>) -> Vec<Point> {
    let points = times_ns.iter_quantiles(CURVE_STEPS).map(|step| Point {
        percentile: step.quantile_iterated_to() * 100.0,
        us: step.value_iterated_to() as f64 / 1e3,
    });
    points.collect()
}

fn slices(samples: &[Sample], duration: Duration) -> Vec<Slice> {
    let width_us = duration.as_secs_f64() * 1e6 / SLICES as f64;
    let mut parts: Vec<Vec<u32>> = vec![Vec::new(); SLICES];
    for sample in samples {
        let index = (f64::from(sample.start_us) / width_us) as usize;
        parts[index.min(SLICES - 1)].push(sample.took_us);
    }
    let slice = |(index, mut took_us): (usize, Vec<u32>)| {
        took_us.sort_unstable();
        let at = |quantile: f64| {
            let rank = (quantile * took_us.len() as f64).ceil() as usize;
            f64::from(took_us[rank.clamp(1, took_us.len()) - 1])
        };
        Slice {
            at_s: (index as f64 + 0.5) * width_us / 1e6,
            count: took_us.len() as u64,
            p50_us: at(0.5),
            p99_us: at(0.99),
        }
    };
    parts.into_iter().enumerate().filter(|(_, took)| !took.is_empty()).map(slice).collect()
}

const CONFIDENCE: f64 = 0.95;
/// Points for each halving of what is left to 100 %.
const CURVE_STEPS: u32 = 4;
const SLICES: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_have_the_exact_percentiles_of_the_sessions_due_in_them() {
        // 100 sessions in the first slice of 100 ms that took 1 to 100 ms, none in the second, one beyond the end.
        let sample =
            |start_ms: u32, took_ms: u32| Sample { start_us: start_ms * 1000, took_us: took_ms * 1000 };
        let mut samples: Vec<_> = (1..=100).rev().map(|took| sample(took % 100, took)).collect();
        samples.push(sample(4001, 7));
        let slices = slices(&samples, Duration::from_secs(4));
        assert_eq!(slices.len(), 2);
        assert_eq!(
            (slices[0].at_s, slices[0].count, slices[0].p50_us, slices[0].p99_us),
            (0.05, 100, 50e3, 99e3)
        );
        assert_eq!((slices[1].at_s, slices[1].count, slices[1].p99_us), (3.95, 1, 7e3));
    }

    #[test]
    fn shares_of_nothing_are_nothing() {
        assert_eq!(shares(&[0, 0]), [0.0, 0.0]);
        assert_eq!(shares(&[3, 1]), [0.75, 0.25]);
    }
}
