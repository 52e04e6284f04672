//! What is to be compared, and how.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use super::scenario::Scenario;
use crate::schedule::Arrivals;

/// A comparison as it is to be done.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The program.
    pub(crate) ringway: PathBuf,
    /// Names in ringway's configuration.
    pub(crate) algorithms: Vec<String>,
    /// Who answers.
    pub(crate) backends: Backends,
    /// When sessions begin.
    pub(crate) pace: Pace,
    /// How they are spread over time.
    pub(crate) arrivals: Arrivals,
    /// How often each algorithm is measured.
    pub(crate) repeats: usize,
    /// How long each time.
    pub(crate) duration: Duration,
    /// What goes before, unmeasured.
    pub(crate) warm_up: Duration,
    /// From how many addresses sessions come.
    pub(crate) clients: u32,
    /// A session that takes longer has failed.
    pub(crate) deadline: Duration,
    /// Most sessions at the same time; what comes beyond is not sent, and counted.
    pub(crate) sessions_max: usize,
    /// Decides arrivals, service times and the order.
    pub(crate) seed: u64,
    /// Ringway's workers, as its configuration wants them.
    pub(crate) workers: toml::Value,
    /// More keys for the pool, which go before those of the scenario.
    pub(crate) pool: toml::Table,
    /// Where the results go, if not below `loadtest/runs`.
    pub(crate) out: Option<PathBuf>,
    /// Whether the results go to stdout as JSON instead of a table.
    pub(crate) json: bool,
}

/// Who answers.
#[derive(Debug, Clone)]
pub(crate) enum Backends {
    /// Those of a scenario, in this process.
    Modelled(Box<Scenario>),
    /// Servers that run already.
    Real {
        /// Where.
        addresses: Vec<SocketAddr>,
        /// What each session sends them; they answer and close.
        text: Arc<[u8]>,
    },
}

/// When sessions begin.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// So many a second.
    Rate(f64),
    /// From the first to the last rate in so many steps: where does it break?
    Ramp { from: f64, to: f64, steps: usize },
}

/// Every algorithm that ringway has.
pub(crate) const ALGORITHMS: [&str; 10] = [
    "round-robin",
    "weighted-round-robin",
    "least-connections",
    "least-response-time",
    "peak-ewma",
    "power-of-two",
    "random",
    "source-hash",
    "maglev",
    "first",
];

impl Plan {
    /// What the table, the page and the folder call it.
    pub(crate) fn name(&self) -> &str {
        match &self.backends {
            Backends::Modelled(scenario) => &scenario.name,
            Backends::Real { .. } => "backends",
        }
    }

    /// The rates to measure at.
    pub(crate) fn rates(&self) -> Vec<f64> {
        match self.pace {
            Pace::Rate(rate) => vec![rate],
            Pace::Ramp { from, to, steps } => {
                let ratio = (to / from).powf(1.0 / (steps - 1) as f64);
                let mut rates: Vec<f64> =
                    (0..steps).map(|step| (from * ratio.powi(step as i32)).round()).collect();
                // Near each other they round to the same.
                rates.dedup();
                rates
            }
        }
    }
}
