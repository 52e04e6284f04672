//! One measurement: one proxy doing one work in one round.

use serde::Serialize;

use super::{counters::Counts, work::Work};

/// All that was measured, and how it was said.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Cell {
    /// When it began.
    pub(super) at: String,
    /// From 0.
    pub(super) round: usize,
    /// [`Work::name`].
    pub(super) work: &'static str,
    /// [`super::proxy::Proxy::name`].
    pub(super) proxy: String,
    /// What went wrong; with any, no figure of it counts.
    pub(super) faults: Vec<String>,
    /// What the generator counted.
    pub(super) load: Option<Load>,
    /// CPU time of the proxy in the meantime.
    pub(super) cpu_ns: Option<u64>,
    /// Time that it could have run in, but another process had its core.
    pub(super) waited_ns: Option<u64>,
    /// The CPU time as cycles and instructions, on machines that count them.
    pub(super) counts: Option<Counts>,
    /// Time that the machine below took away from the core of the proxy, in hundredths of a second.
    pub(super) stolen_ticks: Option<u64>,
    /// Connections that nginx, behind the proxy, accepted in the meantime.
    pub(super) accepted: Option<u64>,
    /// Memory of a fresh proxy.
    pub(super) memory: Option<Memory>,
    /// The generator's own words.
    pub(super) raw: String,
}

/// What a generator counted.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub(super) struct Load {
    /// Requests answered in full.
    pub(super) requests: u64,
    /// Those before, which are in none of the other figures, but for which the proxy worked, too.
    pub(super) warm_up_requests: u64,
    pub(super) warm_up_seconds: f64,
    /// Bytes that came back.
    pub(super) bytes: u64,
    /// How long it took.
    pub(super) seconds: f64,
    /// Who took the times.
    pub(super) source: &'static str,
    /// Of a request, in microseconds.
    pub(super) p50_us: Option<f64>,
    pub(super) p99_us: Option<f64>,
    pub(super) p99_9_us: Option<f64>,
    /// How late the generator itself was, in an open loop.
    pub(super) late_p50_us: Option<f64>,
    pub(super) late_p99_us: Option<f64>,
}

/// Resident memory, in bytes.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Memory {
    /// Before the first connection.
    pub(super) before: u64,
    /// With all of them.
    pub(super) with: u64,
    /// How many.
    pub(super) connections: usize,
}

impl Cell {
    /// Of nothing yet.
    pub(super) fn new(work: &Work, proxy: &str) -> Self {
        Self {
            at: humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string(),
            round: 0,
            work: work.name,
            proxy: proxy.to_owned(),
            faults: Vec::new(),
            load: None,
            cpu_ns: None,
            waited_ns: None,
            counts: None,
            stolen_ticks: None,
            accepted: None,
            memory: None,
            raw: String::new(),
        }
    }

    /// Whether its figures count.
    pub(super) fn is_valid(&self) -> bool {
        self.faults.is_empty()
    }
}
