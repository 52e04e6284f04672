//! The files of a run: every cell as a line of JSON as soon as it is measured, and at the end the tables.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde_json::json;

use super::{cell::Cell, header::Header, results::Results, table, target};

/// The open files.
#[derive(Debug)]
pub(super) struct Record {
    cells: File,
    // Without the ending.
    path: PathBuf,
    notes: Vec<String>,
}

impl Record {
    /// Below `folder`, or else below the folder of the day. Fails before anything is measured if it cannot write there.
    pub(super) fn create(folder: Option<&Path>, header: &Header) -> io::Result<Self> {
        let (day, time) = header.day_and_time();
        let folder = folder.map_or_else(|| Path::new(RUNS).join(day), Path::to_owned);
        let cannot = |error: io::Error| {
            io::Error::other(format!(
                "cannot write the results to {}: {error}; choose another folder with --out",
                folder.display()
            ))
        };
        fs::create_dir_all(&folder).map_err(cannot)?;
        let path = folder.join(format!("versus-{time}"));
        let mut cells = File::create_new(path.with_extension("jsonl")).map_err(cannot)?;
        writeln!(cells, "{}", json!({ "run": header })).map_err(cannot)?;
        Ok(Self { cells, path, notes: Vec::new() })
    }

    /// A cell was measured.
    pub(super) fn add(&mut self, cell: &Cell) -> io::Result<()> {
        writeln!(self.cells, "{}", serde_json::to_string(cell)?)
    }

    /// Something to be said below the header.
    pub(super) fn note(&mut self, text: &str) {
        self.notes.push(text.to_owned());
    }

    /// Writes the tables, and gives them as text.
    pub(super) fn keep(&self, header: &Header, results: &Results, interrupted: bool) -> io::Result<String> {
        let mut notes = self.notes.clone();
        notes.extend(results.noise.map(|noise| {
            format!(
                "while measured, the machine below had the proxies' core for {:.1} % of the time, and other processes kept \
                 them waiting for {:.1} %",
                noise.stolen_percent, noise.waited_percent
            )
        }));
        if interrupted {
            notes.push("interrupted: not all was measured".to_owned());
        }
        let verdicts = target::verdicts(results);
        let mut text = format!("{header}");
        for note in &notes {
            text += &format!("{:<12}  {note}\n", "note");
        }
        let [plain, markdown] =
            [table::Style::Text, table::Style::Markdown].map(|style| table::all(results, &verdicts, style));
        fs::write(self.path.with_extension("md"), format!("```text\n{text}```\n\n{markdown}"))?;
        text = format!("{text}\n{plain}");
        fs::write(self.path.with_extension("txt"), &text)?;
        Ok(format!("{text}\nkept in {}.{{txt,md,jsonl}}\n", self.path.display()))
    }
}

const RUNS: &str = "loadtest/runs";
