//! What was counted, and how it is told: for people and as JSON.

use std::{fmt, time::Duration};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::{Load, Run};
use crate::report::Percentiles;

/// The counts of one thread. Times are in nanoseconds.
#[derive(Debug)]
pub(super) struct Tally {
    warm_up_ns: u64,
    end_ns: u64,
    warm_up_sent: u64,
    warm_up_answered: u64,
    sent: u64,
    answered: u64,
    answered_in_window: u64,
    lost: u64,
    pub(super) late: u64,
    pub(super) duplicated: u64,
    pub(super) altered: u64,
    pub(super) misdelivered: u64,
    pub(super) strange: u64,
    pub(super) not_sent: u64,
    pub(super) refused: u64,
    pub(super) replies: u64,
    answer: Histogram<u64>,
    started_late: Histogram<u64>,
}

impl Tally {
    pub(super) fn new(warm_up: Duration, duration: Duration) -> Self {
        let times =
            || Histogram::new_with_bounds(1, TIME_MAX_NS, 3).expect("the bounds are constant and right");
        Self {
            warm_up_ns: warm_up.as_nanos() as u64,
            end_ns: (warm_up + duration).as_nanos() as u64,
            warm_up_sent: 0,
            warm_up_answered: 0,
            sent: 0,
            answered: 0,
            answered_in_window: 0,
            lost: 0,
            late: 0,
            duplicated: 0,
            altered: 0,
            misdelivered: 0,
            strange: 0,
            not_sent: 0,
            refused: 0,
            replies: 0,
            answer: times(),
            started_late: times(),
        }
    }

    pub(super) fn sent(&mut self, at_ns: u64, now_ns: u64) {
        if at_ns < self.warm_up_ns {
            self.warm_up_sent += 1;
            return;
        }
        self.sent += 1;
        self.started_late.saturating_record((now_ns - at_ns).max(1));
    }

    pub(super) fn answered(&mut self, at_ns: u64, now_ns: u64) {
        if at_ns < self.warm_up_ns {
            self.warm_up_answered += 1;
            return;
        }
        self.answered += 1;
        self.answered_in_window += u64::from(now_ns <= self.end_ns);
        self.answer.saturating_record(now_ns.saturating_sub(at_ns).max(1));
    }

    pub(super) fn lost(&mut self, at_ns: u64) {
        self.lost += u64::from(at_ns >= self.warm_up_ns);
    }

    fn add(&mut self, other: &Self) {
        for (sum, more) in [
            (&mut self.warm_up_sent, other.warm_up_sent),
            (&mut self.warm_up_answered, other.warm_up_answered),
            (&mut self.sent, other.sent),
            (&mut self.answered, other.answered),
            (&mut self.answered_in_window, other.answered_in_window),
            (&mut self.lost, other.lost),
            (&mut self.late, other.late),
            (&mut self.duplicated, other.duplicated),
            (&mut self.altered, other.altered),
            (&mut self.misdelivered, other.misdelivered),
            (&mut self.strange, other.strange),
            (&mut self.not_sent, other.not_sent),
            (&mut self.refused, other.refused),
            (&mut self.replies, other.replies),
        ] {
            *sum += more;
        }
        self.answer += &other.answer;
        self.started_late += &other.started_late;
    }
}

/// All figures of a run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    run: Description,
    datagrams: Counts,
    throughput: Throughput,
    /// All times in microseconds.
    microseconds: Times,
}

#[derive(Debug, Serialize)]
struct Description {
    command: &'static str,
    target: String,
    clients: usize,
    threads: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    outstanding: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_per_s: Option<f64>,
    size: usize,
    reply_size: usize,
    replies: u16,
    timeout_s: f64,
    warm_up_s: f64,
    duration_s: f64,
    seed: u64,
    interrupted: bool,
}

#[derive(Debug, Serialize)]
struct Counts {
    warm_up: u64,
    warm_up_answered: u64,
    sent: u64,
    answered: u64,
    lost: u64,
    late: u64,
    duplicated: u64,
    altered: u64,
    misdelivered: u64,
    strange: u64,
    refused: u64,
    not_sent: u64,
    /// All that came, those of the warm-up included.
    received: u64,
}

#[derive(Debug, Serialize)]
struct Throughput {
    window_s: f64,
    answered_per_s: f64,
}

#[derive(Debug, Serialize)]
struct Times {
    answer: Percentiles,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_late: Option<Percentiles>,
}

impl Report {
    pub(super) fn new(run: &Run, tallies: Vec<Tally>, interrupted: bool) -> Self {
        let mut tally = Tally::new(run.warm_up, run.duration);
        tallies.iter().for_each(|one| tally.add(one));
        let (outstanding, rate_per_s) = match run.load {
            Load::Closed { outstanding } => (Some(outstanding), None),
            Load::Open { rate, .. } => (None, Some(rate)),
        };
        let window_s = run.duration.as_secs_f64();
        Self {
            run: Description {
                command: "udp",
                target: run.target.to_string(),
                clients: run.clients,
                threads: run.threads,
                outstanding,
                rate_per_s,
                size: run.size,
                reply_size: run.reply_size,
                replies: run.replies,
                timeout_s: run.timeout.as_secs_f64(),
                warm_up_s: run.warm_up.as_secs_f64(),
                duration_s: window_s,
                seed: run.seed,
                interrupted,
            },
            datagrams: Counts {
                warm_up: tally.warm_up_sent,
                warm_up_answered: tally.warm_up_answered,
                sent: tally.sent,
                answered: tally.answered,
                lost: tally.lost,
                late: tally.late,
                duplicated: tally.duplicated,
                altered: tally.altered,
                misdelivered: tally.misdelivered,
                strange: tally.strange,
                refused: tally.refused,
                not_sent: tally.not_sent,
                received: tally.replies,
            },
            throughput: Throughput { window_s, answered_per_s: tally.answered_in_window as f64 / window_s },
            microseconds: Times {
                answer: Percentiles::of(&tally.answer),
                started_late: rate_per_s.map(|_| Percentiles::of(&tally.started_late)),
            },
        }
    }

    /// Whether every datagram was sent, and answered as it should be. In the warm-up some may be lost.
    pub(super) fn is_clean(&self) -> bool {
        let counts = &self.datagrams;
        counts.answered == counts.sent && self.faults().iter().all(|(_, count, _)| *count == 0)
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("names and numbers always serialize")
    }

    fn faults(&self) -> [(&'static str, u64, &'static str); 8] {
        let counts = &self.datagrams;
        [
            ("lost", counts.lost, "not answered in full within --timeout"),
            ("late", counts.late, "answers to what was lost already"),
            ("duplicated", counts.duplicated, "more answers than --replies"),
            ("altered", counts.altered, "answers of other bytes, or of another length"),
            ("misdelivered", counts.misdelivered, "answers to what another client sent"),
            ("strange", counts.strange, "from another address than --target"),
            ("refused", counts.refused, "not taken by the kernel; among the lost"),
            ("not sent", counts.not_sent, "too many were waiting, or the run was interrupted"),
        ]
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let run = &self.run;
        write!(out, "udp to {}: {} clients, ", run.target, run.clients)?;
        match (run.rate_per_s, run.outstanding) {
            (Some(rate), _) => write!(out, "{rate} datagrams/s")?,
            (None, outstanding) => write!(out, "{} outstanding each", outstanding.unwrap_or(1))?,
        }
        write!(out, ", {} bytes out, {} x {} bytes back, ", run.size, run.replies, run.reply_size)?;
        write!(out, "{} s after {} s of warm-up", run.duration_s, run.warm_up_s)?;
        writeln!(out, "{}\n", if run.interrupted { ", interrupted" } else { "" })?;
        let counts = &self.datagrams;
        if counts.warm_up > 0 {
            writeln!(
                out,
                "{:<14}{:>12}  {} answered",
                "in the warm-up", counts.warm_up, counts.warm_up_answered
            )?;
        }
        writeln!(out, "{:<14}{:>12}", "sent", counts.sent)?;
        writeln!(out, "{:<14}{:>12}", "answered", counts.answered)?;
        for (name, count, meaning) in self.faults() {
            if count > 0 || name == "lost" {
                writeln!(out, "{name:<14}{count:>12}  {meaning}")?;
            }
        }
        let throughput = &self.throughput;
        writeln!(out, "{:<14}{:>12.1}  answered a second\n", "throughput", throughput.answered_per_s)?;
        let [p50, p90, p99, p99_9, max] = ["p50", "p90", "p99", "p99.9", "max"];
        writeln!(
            out,
            "{:<14}{:>10}{p50:>12}{p90:>12}{p99:>12}{p99_9:>12}{max:>12}",
            "microseconds", "count"
        )?;
        writeln!(out, "{:<14}{}", "answer", self.microseconds.answer)?;
        match &self.microseconds.started_late {
            Some(times) => writeln!(out, "{:<14}{times}", "started late"),
            None => Ok(()),
        }
    }
}

/// The longest --timeout, and more.
const TIME_MAX_NS: u64 = 100_000_000_000;
