//! The files of a comparison: every trial as a line of JSON as soon as it is measured, and at the end the results.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde::Serialize;
use serde_json::json;
use tempfile::TempDir;

use super::{
    hgrm, page,
    plan::Plan,
    ramp::{self, Ramp},
    result::Comparison,
    summary::times,
    table,
    trial::{Gave, Trial},
};
use crate::tally::Tally;

/// The folder of the results, and one for what is needed only meanwhile.
#[derive(Debug)]
pub(super) struct Record {
    at: String,
    folder: PathBuf,
    trials: File,
    scratch: TempDir,
}

impl Record {
    /// Below the folder of the plan, or else below that of the day. Fails before anything is measured if it cannot write
    /// there.
    pub(super) fn create(plan: &Plan) -> io::Result<Self> {
        let at = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let (day, time) = at.split_once('T').unwrap_or((&at, ""));
        let time: String = time.chars().filter(char::is_ascii_digit).collect();
        let above = plan.out.clone().unwrap_or_else(|| Path::new(RUNS).join(day));
        let folder = above.join(format!("compare-{time}-{}", plan.name()));
        let cannot = |error: io::Error| {
            io::Error::other(format!(
                "cannot write the results to {}: {error}; choose another folder with --out",
                folder.display()
            ))
        };
        fs::create_dir_all(&above).map_err(cannot)?;
        fs::create_dir(&folder).map_err(cannot)?;
        let trials = File::create_new(folder.join("trials.jsonl")).map_err(cannot)?;
        let scratch = tempfile::Builder::new().prefix("loadtest-compare-").tempdir()?;
        Ok(Self { folder, trials, scratch, at })
    }

    /// When the comparison began.
    pub(super) fn at(&self) -> &str {
        &self.at
    }

    /// Where the results are.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// For what is needed only meanwhile.
    pub(super) fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// A trial was measured.
    pub(super) fn add(&mut self, round: usize, trial: &Trial<'_>, gave: &Gave) -> io::Result<()> {
        let tally = &gave.outcome.tally;
        let line = json!({
            "round": round,
            "algorithm": trial.algorithm,
            "rate_per_s": trial.rate,
            "seed": trial.seed,
            "planned": gave.planned,
            "ok": tally.ok,
            "failed": tally.failed_total(),
            "not_sent": tally.not_sent,
            "warm_up": tally.warm_up,
            "warm_up_failed": tally.warm_up_failed,
            "window_s": gave.outcome.window.as_secs_f64(),
            "served": gave.served,
            "connect_us": times(&tally.connect),
            "first_byte_us": times(&tally.first_byte),
            "session_us": times(&tally.request),
            "started_late_us": times(&tally.late),
        });
        writeln!(self.trials, "{line}")?;
        Ok(())
    }

    /// Table and numbers.
    pub(super) fn keep(&self, comparison: &Comparison) -> io::Result<()> {
        fs::write(self.folder.join("table.txt"), table::all(comparison, Path::new(".")))?;
        fs::write(self.folder.join("report.html"), page::render(comparison))?;
        if let Some(picture) = page::picture(comparison) {
            fs::write(self.folder.join("percentiles.svg"), picture)?;
        }
        fs::write(self.folder.join("result.json"), self.json(comparison)?)?;
        Ok(())
    }

    /// The distributions of an algorithm, over all repeats.
    pub(super) fn distributions(&self, algorithm: &str, tally: &Tally) -> io::Result<()> {
        for (what, times) in
            [("connect", &tally.connect), ("first-byte", &tally.first_byte), ("session", &tally.request)]
        {
            fs::write(self.folder.join(format!("{algorithm}-{what}.hgrm")), hgrm::text(times))?;
        }
        Ok(())
    }

    /// The same of a ramp.
    pub(super) fn keep_ramp(&self, ramp: &Ramp) -> io::Result<()> {
        fs::write(self.folder.join("table.txt"), ramp::text(ramp, Path::new(".")))?;
        fs::write(self.folder.join("result.json"), self.json(ramp)?)
    }

    /// As it is kept and printed.
    pub(super) fn json(&self, result: &impl Serialize) -> io::Result<String> {
        Ok(serde_json::to_string_pretty(result)? + "\n")
    }
}

const RUNS: &str = "loadtest/runs";
