//! What a comparison gave: the numbers that the table, the JSON and the page are made from.

use serde::{Deserialize, Serialize};

/// All of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Comparison {
    /// What was done, where and how.
    pub(crate) about: About,
    /// Names of the backends, in the order of all shares.
    pub(crate) backends: Vec<String>,
    /// One for each algorithm, in the order in which they were asked for.
    pub(crate) algorithms: Vec<Measured>,
    /// What may be said of it, in a sentence or a few.
    pub(crate) verdict: String,
}

/// What was done, where and how.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct About {
    /// When it began, as RFC 3339.
    pub(crate) at: String,
    /// The command line.
    pub(crate) command: String,
    /// The scenario's name, or `backends` for real ones.
    pub(crate) scenario: String,
    /// What the scenario is about, in a sentence.
    pub(crate) description: String,
    /// What happens in the measured time, for example `slow stalls`; seconds from its beginning.
    pub(crate) events: Vec<Event>,
    /// `ringway --version`.
    pub(crate) ringway: String,
    /// Kernel, processor and cores.
    pub(crate) machine: String,
    /// Sessions a second that were offered.
    pub(crate) rate_per_s: f64,
    /// How they are spread over time: `poisson` or `uniform`.
    pub(crate) arrivals: String,
    /// How long each algorithm was measured in each repeat.
    pub(crate) duration_s: f64,
    /// What went before it, and is in no figure.
    pub(crate) warm_up_s: f64,
    /// How often each was measured, in shuffled order.
    pub(crate) repeats: usize,
    /// Decides arrivals and service times.
    pub(crate) seed: u64,
    /// Whether it was interrupted: then there are fewer repeats.
    pub(crate) interrupted: bool,
}

/// Something that happens to a backend.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Event {
    /// From when.
    pub(crate) from_s: f64,
    /// Until when.
    pub(crate) to_s: f64,
    /// What.
    pub(crate) what: String,
}

/// One algorithm.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// Its name in the configuration.
    pub(crate) algorithm: String,
    /// Until the connection was made, from the call.
    pub(crate) connect: Times,
    /// Until the first byte of the reply, from when the session was due.
    pub(crate) first_byte: Times,
    /// Until the last byte of the reply, from when the session was due.
    pub(crate) session: Times,
    /// The p99 of a session over the repeats: the middle, and where it lies with 95 % confidence.
    pub(crate) p99: Interval,
    /// Sessions a second that were due.
    pub(crate) offered_per_s: f64,
    /// Sessions a second that were answered in full.
    pub(crate) achieved_per_s: f64,
    /// Sessions that were due in the measured time.
    pub(crate) planned: u64,
    /// Those that failed or could not be begun.
    pub(crate) failed: u64,
    /// How they failed, for example `2 reset, 1 timeout`; empty if none did.
    pub(crate) failures: String,
    /// What share of the sessions each backend served, 0 to 1.
    pub(crate) shares: Vec<f64>,
    /// Jain's fairness index of the shares, each by its weight: 1 is even, 1/n is all to one.
    pub(crate) fairness: f64,
    /// How late the generator itself was, p99: with much of it, nothing else is to be believed.
    pub(crate) late_p99_us: f64,
    /// The distribution of a session's time, from the fastest to the slowest.
    pub(crate) curve: Vec<Point>,
    /// How it went, by when sessions were due; all repeats together.
    pub(crate) over_time: Vec<Slice>,
    /// Each repeat by itself.
    pub(crate) repeats: Vec<Repeat>,
}

/// Times in microseconds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Times {
    /// How many there are.
    pub(crate) count: u64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    #[serde(rename = "p99.9")]
    pub(crate) p99_9: f64,
    pub(crate) max: f64,
}

/// Where a figure lies.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Interval {
    /// The geometric mean over the repeats.
    pub(crate) middle: f64,
    /// Without a value if there is only one repeat.
    pub(crate) low: Option<f64>,
    pub(crate) high: Option<f64>,
}

/// So many per cent of the sessions took no longer.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Point {
    pub(crate) percentile: f64,
    pub(crate) us: f64,
}

/// The sessions that were due within a part of the measured time.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Slice {
    /// Its middle, in seconds from the beginning of the measured time.
    pub(crate) at_s: f64,
    pub(crate) count: u64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

/// One repeat of one algorithm.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Repeat {
    /// From 0. The same round has the same arrivals for each algorithm.
    pub(crate) round: usize,
    pub(crate) session: Times,
    pub(crate) failed: u64,
    pub(crate) achieved_per_s: f64,
    pub(crate) shares: Vec<f64>,
}
