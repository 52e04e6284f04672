//! Scenario: backends with their troubles, and the load that comes.

use std::time::Duration;

use super::backend::{Nature, Phase, Service, Trouble};
use crate::config::Choice;

/// A situation with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scenario {
    /// Four that are all the same.
    Equal,
    /// One of four takes ten times as long.
    OneSlow,
    /// One of four stands still for five seconds.
    OneStalls,
    /// One of four is dead for ten seconds and returns.
    OneReturns,
    /// One request in ten takes 25 times as long, wherever it goes.
    Bimodal,
    /// A thousand, of which one in ten takes five times as long.
    Thousand,
}

impl Choice for Scenario {
    const ALL: &'static [Self] =
        &[Self::Equal, Self::OneSlow, Self::OneStalls, Self::OneReturns, Self::Bimodal, Self::Thousand];

    fn word(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::OneSlow => "one-slow",
            Self::OneStalls => "one-stalls",
            Self::OneReturns => "one-returns",
            Self::Bimodal => "bimodal",
            Self::Thousand => "thousand",
        }
    }
}

/// What a scenario consists of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The backends. Trouble, where there is any, is with the first ones.
    pub backends: Vec<Nature>,
    /// Sessions that come in a second, at random moments.
    pub rate: f64,
    /// For how long they come.
    pub length: Duration,
    /// How many of the backends are the troubled ones.
    pub troubled: usize,
}

const MEAN: Duration = Duration::from_millis(5);
const SLOTS: usize = 8;
/// When trouble comes, and the moments after that.
pub const TROUBLE_AT: Duration = Duration::from_secs(10);

impl Scenario {
    /// What it consists of, when clients come for so long.
    pub fn plan(self, length: Duration) -> Plan {
        let same = Nature { service: Service::Exponential(MEAN), slots: SLOTS, phases: Vec::new() };
        let with = |trouble, from, to| Nature { phases: vec![Phase { from, to, trouble }], ..same.clone() };
        let four = |first: Nature| [vec![first], vec![same.clone(); 3]].concat();
        let for_ever = (Duration::ZERO, Duration::from_secs(1 << 20));
        let (backends, troubled) = match self {
            Scenario::Equal => (vec![same.clone(); 4], 0),
            Scenario::OneSlow => (four(with(Trouble::Slow(10.0), for_ever.0, for_ever.1)), 1),
            Scenario::OneStalls => {
                (four(with(Trouble::Stalled, TROUBLE_AT, TROUBLE_AT + Duration::from_secs(5))), 1)
            }
            Scenario::OneReturns => {
                (four(with(Trouble::Dead, TROUBLE_AT, TROUBLE_AT + Duration::from_secs(10))), 1)
            }
            Scenario::Bimodal => {
                let service = Service::Bimodal(Duration::from_millis(2), Duration::from_millis(50), 10);
                (vec![Nature { service, slots: SLOTS, phases: Vec::new() }; 4], 0)
            }
            Scenario::Thousand => {
                let small = Nature { slots: 1, ..same.clone() };
                let slow = with(Trouble::Slow(5.0), for_ever.0, for_ever.1);
                let slow = Nature { slots: 1, ..slow };
                ([vec![slow; 100], vec![small; 900]].concat(), 100)
            }
        };
        let rate = rate(&backends);
        Plan { backends, rate, length, troubled }
    }
}

/// Sessions in a second that keep the backends as busy as servers should be.
fn rate(backends: &[Nature]) -> f64 {
    /// Of what those can do that are not stalled or dead.
    const OF_ALL: f64 = 0.6;
    /// Of what a slow one can do if everybody gets the same: also by turns it must not be buried, or every figure would
    /// only tell how long the scenario lasts.
    const OF_A_SLOW_ONE: f64 = 0.8;
    let capacity = |nature: &Nature| {
        let full = nature.slots as f64 / nature.service.mean().as_secs_f64();
        match nature.phases.first().map(|phase| phase.trouble) {
            None => full,
            Some(Trouble::Slow(times)) => full / times,
            Some(Trouble::Stalled | Trouble::Dead) => 0.0,
        }
    };
    let all: f64 = backends.iter().map(capacity).sum();
    let slowest = backends.iter().map(capacity).filter(|one| *one > 0.0).fold(f64::INFINITY, f64::min);
    (OF_ALL * all).min(OF_A_SLOW_ONE * slowest * backends.len() as f64)
}
