//! What stands above the tables: who took part, on which machine, by which command.

use std::{fmt, io, time::SystemTime};

use serde::Serialize;

use super::{counters, plan::Plan, tools::Tools};
use crate::machine;

/// All that a reader has to know before the figures.
#[derive(Debug, Serialize)]
pub(super) struct Header {
    /// In UTC, to the second.
    pub(super) at: String,
    command: String,
    versions: Vec<(String, String)>,
    kernel: String,
    processor: String,
    cores: String,
    measured: String,
    cycles: String,
    left_out: Vec<String>,
}

impl Header {
    pub(super) fn new(plan: &Plan, tools: &Tools) -> io::Result<Self> {
        Ok(Self {
            at: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            command: machine::command_line(),
            versions: tools.versions(),
            kernel: machine::kernel(),
            processor: machine::processor(),
            cores: format!(
                "each proxy alone on core {} with one worker; generator and backends on core {}",
                plan.cores.proxy, plan.cores.other
            ),
            measured: format!(
                "{} rounds of {} s, the proxies in turns; medians of the rounds",
                plan.rounds, plan.seconds
            ),
            cycles: match counters::probe(tools.perf()) {
                Ok(()) => "counted by perf stat".to_owned(),
                Err(why) => format!("not counted here ({why}); CPU time stands in for them"),
            },
            left_out: tools.left_out.clone(),
        })
    }

    /// Day, for a folder, and time, for a file.
    pub(super) fn day_and_time(&self) -> (String, String) {
        let (day, time) = self.at.split_once('T').unwrap_or((&self.at, ""));
        (day.to_owned(), time.chars().filter(char::is_ascii_digit).collect())
    }
}

impl fmt::Display for Header {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = [("date", &self.at), ("command", &self.command)]
            .map(|(name, text)| (name.to_owned(), text.clone()));
        let machine = [
            ("kernel", &self.kernel),
            ("processor", &self.processor),
            ("cores", &self.cores),
            ("measured", &self.measured),
            ("cycles", &self.cycles),
        ]
        .map(|(name, text)| (name.to_owned(), text.clone()));
        let left_out = self.left_out.iter().map(|text| ("left out".to_owned(), text.clone()));
        for (name, text) in
            rows.into_iter().chain(self.versions.iter().cloned()).chain(machine).chain(left_out)
        {
            writeln!(out, "{name:<12}  {text}")?;
        }
        Ok(())
    }
}
