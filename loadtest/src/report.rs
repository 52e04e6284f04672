//! What a run gave, as a table for people and as JSON for programs: the same figures.

use std::{collections::BTreeMap, fmt, time::Duration};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::{
    client::{Load, Outcome, Protocol, Run},
    failure::Failure,
};

/// All figures of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    run: Description,
    requests: Requests,
    connections: Connections,
    throughput: Throughput,
    /// All times in microseconds.
    microseconds: Times,
}

#[derive(Debug, Serialize)]
struct Description {
    command: &'static str,
    target: String,
    protocol: &'static str,
    connections_max: usize,
    threads: usize,
    request_bytes: u64,
    reply_bytes: u64,
    warm_up_s: f64,
    duration_s: f64,
    seed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_per_s: Option<f64>,
    interrupted: bool,
}

#[derive(Debug, Serialize)]
struct Requests {
    /// Only known beforehand in an open loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    planned: Option<u64>,
    /// Sent before the measured time, and in none of the other counts and times.
    warm_up: u64,
    warm_up_failed: u64,
    ok: u64,
    failed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_sent: Option<u64>,
    /// Every kind, also those that did not happen: a reader need not know what may be missing.
    failed_by_kind: BTreeMap<&'static str, u64>,
    /// The first of each kind that did happen, in words.
    first_failures: BTreeMap<&'static str, String>,
}

#[derive(Debug, Serialize)]
struct Connections {
    opened: u64,
    closed_while_idle: u64,
}

#[derive(Debug, Serialize)]
struct Throughput {
    window_s: f64,
    requests_per_s: f64,
    bytes_sent_per_s: f64,
    bytes_received_per_s: f64,
}

#[derive(Debug, Serialize)]
struct Times {
    connect: Percentiles,
    first_byte: Percentiles,
    request: Percentiles,
    until_failure: Percentiles,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_late: Option<Percentiles>,
}

/// Of nothing there is no percentile: 0 would look like a very good one.
#[derive(Debug, Serialize)]
pub(crate) struct Percentiles {
    count: u64,
    p50: Option<f64>,
    p90: Option<f64>,
    p99: Option<f64>,
    #[serde(rename = "p99.9")]
    p99_9: Option<f64>,
    max: Option<f64>,
}

impl Report {
    pub(crate) fn new(run: &Run, outcome: &Outcome) -> Self {
        let tally = &outcome.tally;
        let (command, rate_per_s) = match &run.load {
            Load::Closed { .. } => ("closed", None),
            Load::Open { timetable, .. } => ("open", Some(timetable.rate)),
        };
        let open = rate_per_s.is_some();
        let kinds = || Failure::KINDS.into_iter().enumerate();
        Self {
            run: Description {
                command,
                target: run.target.to_string(),
                protocol: match run.exchange.protocol {
                    Protocol::Reply => "reply",
                    Protocol::Echo => "echo",
                    Protocol::Text => "text",
                },
                connections_max: run.connections,
                threads: run.threads,
                request_bytes: run.exchange.request_len,
                reply_bytes: run.exchange.reply_len,
                warm_up_s: run.warm_up.as_secs_f64(),
                duration_s: run.duration.as_secs_f64(),
                seed: run.seed,
                rate_per_s,
                interrupted: outcome.interrupted,
            },
            requests: Requests {
                planned: open.then(|| planned(run)),
                warm_up: tally.warm_up,
                warm_up_failed: tally.warm_up_failed,
                ok: tally.ok,
                failed: tally.failed_total(),
                not_sent: open.then_some(tally.not_sent),
                failed_by_kind: kinds().map(|(kind, name)| (name, tally.failed[kind])).collect(),
                first_failures: kinds()
                    .filter_map(|(kind, name)| Some((name, tally.first_failures[kind]?.to_string())))
                    .collect(),
            },
            connections: Connections { opened: tally.connects, closed_while_idle: tally.closed_idle },
            throughput: Throughput::new(run, tally.ok_in_window, outcome.window),
            microseconds: Times {
                connect: Percentiles::of(&tally.connect),
                first_byte: Percentiles::of(&tally.first_byte),
                request: Percentiles::of(&tally.request),
                until_failure: Percentiles::of(&tally.failure),
                started_late: open.then(|| Percentiles::of(&tally.late)),
            },
        }
    }

    /// Whether every request that was planned was sent and answered.
    pub(crate) fn is_clean(&self) -> bool {
        self.requests.failed == 0
            && self.requests.warm_up_failed == 0
            && self.requests.not_sent.unwrap_or(0) == 0
    }

    /// The same as JSON, on several lines.
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("names and numbers always serialize")
    }
}

/// Counted anew from the timetable, so that a request that got lost in here would show.
fn planned(run: &Run) -> u64 {
    match &run.load {
        Load::Open { timetable, .. } => timetable.schedule().filter(|at| *at >= run.warm_up).count() as u64,
        Load::Closed { .. } => 0,
    }
}

impl Throughput {
    fn new(run: &Run, ok: u64, window: Duration) -> Self {
        let window_s = window.as_secs_f64();
        let per_second = |count: u64| {
            if window_s > 0.0 { count as f64 / window_s } else { 0.0 }
        };
        Self {
            window_s,
            requests_per_s: per_second(ok),
            bytes_sent_per_s: per_second(ok * run.exchange.request_len),
            bytes_received_per_s: per_second(ok * run.exchange.reply_len),
        }
    }
}

impl Percentiles {
    /// Of times in nanoseconds.
    pub(crate) fn of(times_ns: &Histogram<u64>) -> Self {
        let at =
            |quantile| (!times_ns.is_empty()).then(|| times_ns.value_at_quantile(quantile) as f64 / 1000.0);
        Self {
            count: times_ns.len(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: at(1.0),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.run.fmt(out)?;
        writeln!(out)?;
        self.requests.fmt(out)?;
        self.connections.fmt(out)?;
        self.throughput.fmt(out)?;
        writeln!(out)?;
        self.microseconds.fmt(out)
    }
}

impl fmt::Display for Description {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} loop to {}: ", self.command, self.target)?;
        if let Some(rate) = self.rate_per_s {
            write!(out, "{rate} requests/s, at most {} outstanding, ", self.connections_max)?;
        } else {
            write!(out, "{} connections, ", self.connections_max)?;
        }
        write!(
            out,
            "{} protocol, {} bytes out, {} bytes back, {} s",
            self.protocol, self.request_bytes, self.reply_bytes, self.duration_s
        )?;
        if self.warm_up_s > 0.0 {
            write!(out, " after {} s of warm-up", self.warm_up_s)?;
        }
        writeln!(out, "{}", if self.interrupted { ", interrupted" } else { "" })
    }
}

impl fmt::Display for Requests {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(planned) = self.planned {
            writeln!(out, "{:<20}{planned:>12}", "requests planned")?;
        }
        if self.warm_up > 0 {
            writeln!(out, "{:<20}{:>12}  {} failed", "  in the warm-up", self.warm_up, self.warm_up_failed)?;
        }
        writeln!(out, "{:<20}{:>12}", "requests ok", self.ok)?;
        writeln!(out, "{:<20}{:>12}", "requests failed", self.failed)?;
        for (kind, first) in &self.first_failures {
            writeln!(out, "  {kind:<18}{:>12}  first: {first}", self.failed_by_kind[kind])?;
        }
        match self.not_sent {
            None => Ok(()),
            Some(0) => writeln!(out, "{:<20}{:>12}", "requests not sent", 0),
            Some(count) => writeln!(
                out,
                "{:<20}{count:>12}  --connections were all waiting, or the run was interrupted",
                "requests not sent"
            ),
        }
    }
}

impl fmt::Display for Connections {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{:<20}{:>12}", "connections opened", self.opened)?;
        if self.closed_while_idle > 0 {
            writeln!(out, "{:<20}{:>12}  by the peer", "  closed while idle", self.closed_while_idle)?;
        }
        Ok(())
    }
}

impl fmt::Display for Throughput {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{:<20}{:>12.1}  requests/s ok over {:.2} s; {:.2} MB/s out, {:.2} MB/s back",
            "throughput",
            self.requests_per_s,
            self.window_s,
            self.bytes_sent_per_s / 1e6,
            self.bytes_received_per_s / 1e6
        )
    }
}

impl fmt::Display for Times {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p90, p99, p99_9, max] = ["p50", "p90", "p99", "p99.9", "max"];
        writeln!(
            out,
            "{:<14}{:>10}{p50:>12}{p90:>12}{p99:>12}{p99_9:>12}{max:>12}",
            "microseconds", "count"
        )?;
        let rows = [
            ("connect", Some(&self.connect)),
            ("first byte", Some(&self.first_byte)),
            ("request", Some(&self.request)),
            ("until failure", Some(&self.until_failure).filter(|times| times.count > 0)),
            ("started late", self.started_late.as_ref()),
        ];
        for (name, times) in rows {
            let Some(times) = times else { continue };
            writeln!(out, "{name:<14}{times}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Percentiles {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:>10}", self.count)?;
        for time in [self.p50, self.p90, self.p99, self.p99_9, self.max] {
            match time {
                Some(time) => write!(out, "{time:>12.1}")?,
                None => write!(out, "{:>12}", "-")?,
            }
        }
        Ok(())
    }
}
