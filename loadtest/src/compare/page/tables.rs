//! The figures as tables, the best of each column in bold.

use maud::{Markup, html};

use super::{entry::Entry, number};
use crate::compare::result::Times;

/// What a client waits for.
pub(super) fn sessions(entries: &[Entry]) -> Markup {
    let best_p99 = least(entries, |entry| entry.p99());
    let session = |time: fn(&Times) -> f64| move |entry: &Entry| time_of(&entry.measured.session, time);
    let columns = [
        Column::times("p50", entries, session(|times| times.p50)),
        Column::times("p90", entries, session(|times| times.p90)),
        Column::times("p99", entries, |entry| entry.p99()),
        Column::plain("95 % interval", entries, |entry| {
            let (low, high) = entry.interval()?;
            Some(format!("{}–{}", number::ms(low), number::ms(high)))
        }),
        Column::plain("× best", entries, |entry| Some(number::ratio(entry.p99()? / best_p99?))),
        Column::times("p99.9", entries, session(|times| times.p99_9)),
        Column::times("max", entries, session(|times| times.max)),
        Column::plain("failed", entries, |entry| Some(entry.measured.failed.to_string())),
    ];
    html! {
        section id="sessions" {
            h2 { "Time of a session (ms)" }
            (table(entries, &columns))
            p.note {
                "From when a session was due until the last byte of its reply; sorted by p99, the best of a column in bold. "
                "“× best” is p99 as a multiple of the lowest."
            }
        }
    }
}

/// What it is made of, and whether all went well.
pub(super) fn rest(entries: &[Entry]) -> Markup {
    let mut columns = vec![
        Column::times("connect p50", entries, |entry| time_of(&entry.measured.connect, |times| times.p50)),
        Column::times("connect p99", entries, |entry| time_of(&entry.measured.connect, |times| times.p99)),
        Column::times("first byte p50", entries, |entry| {
            time_of(&entry.measured.first_byte, |times| times.p50)
        }),
        Column::times("first byte p99", entries, |entry| {
            time_of(&entry.measured.first_byte, |times| times.p99)
        }),
        Column::plain("achieved /s", entries, |entry| Some(number::rate(entry.measured.achieved_per_s))),
        Column::plain("offered /s", entries, |entry| Some(number::rate(entry.measured.offered_per_s))),
        Column::plain("fairness", entries, |entry| Some(number::index(entry.measured.fairness))),
        Column::times_not_compared("generator late p99", entries, |entry| {
            number::known(entry.measured.late_p99_us)
        }),
        Column::plain("failed", entries, |entry| {
            let (failed, planned) = (entry.measured.failed, entry.measured.planned);
            Some(format!("{failed} of {planned}"))
        }),
    ];
    if entries.iter().any(|entry| !entry.measured.failures.is_empty()) {
        let how = Column::plain("how", entries, |entry| Some(entry.measured.failures.clone()));
        columns.push(Column { is_text: true, ..how });
    }
    html! {
        section id="rest" {
            h2 { "Connect, first byte, load and fairness (times in ms)" }
            (table(entries, &columns))
            p.note {
                "Connect and first byte count from when a session was due. Fairness is Jain's index of the shares by "
                "weight. “Generator late” is how late sessions were begun, which is part of every time."
            }
        }
    }
}

#[derive(Debug)]
struct Column {
    head: &'static str,
    cells: Vec<String>,
    /// Which cells are in bold.
    best: Vec<bool>,
    is_text: bool,
}

impl Column {
    /// The least is the best.
    fn times(head: &'static str, entries: &[Entry], time: impl Fn(&Entry) -> Option<f64>) -> Self {
        let best = least(entries, &time).map(number::ms);
        let mut column = Self::times_not_compared(head, entries, time);
        if entries.len() > 1 {
            // As they are written: of two that look the same, one in bold would be a riddle.
            column.best = column.cells.iter().map(|cell| Some(cell) == best.as_ref()).collect();
        }
        column
    }

    fn times_not_compared(
        head: &'static str,
        entries: &[Entry],
        time: impl Fn(&Entry) -> Option<f64>,
    ) -> Self {
        Self::plain(head, entries, |entry| time(entry).map(number::ms))
    }

    fn plain(head: &'static str, entries: &[Entry], cell: impl Fn(&Entry) -> Option<String>) -> Self {
        let cells: Vec<String> =
            entries.iter().map(|entry| cell(entry).unwrap_or_else(|| number::NONE.to_owned())).collect();
        Self { head, best: vec![false; cells.len()], cells, is_text: false }
    }

    fn class(&self, row: usize) -> &'static str {
        match (self.is_text, self.best[row]) {
            (true, _) => "text",
            (false, true) => "number best",
            (false, false) => "number",
        }
    }
}

fn table(entries: &[Entry], columns: &[Column]) -> Markup {
    html! {
        div.scroll {
            table {
                thead {
                    tr {
                        th { "algorithm" }
                        @for column in columns { th class=(if column.is_text { "text" } else { "number" }) { (column.head) } }
                    }
                }
                tbody {
                    @for (row, entry) in entries.iter().enumerate() {
                        tr {
                            th scope="row" { (entry.label()) }
                            @for column in columns { td class=(column.class(row)) { (column.cells[row]) } }
                        }
                    }
                }
            }
        }
    }
}

fn time_of(times: &Times, time: fn(&Times) -> f64) -> Option<f64> {
    (times.count > 0).then(|| number::known(time(times)))?
}

fn least(entries: &[Entry], time: impl Fn(&Entry) -> Option<f64>) -> Option<f64> {
    entries.iter().filter_map(time).min_by(f64::total_cmp)
}
