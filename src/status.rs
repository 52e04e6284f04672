//! Status: the table of backends and the totals, as text.

use std::fmt::Write;
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::end::End;
use crate::stats::{Stats, Totals};
use crate::table::BackendTable;

const HEADINGS: [&str; 10] =
    ["POOL", "BACKEND", "ADDRESS", "WEIGHT", "STATE", "SINCE", "SESSIONS", "TOTAL", "FAILURES", "REASON"];

/// The table of all backends: what they are called, whether they are up, since when, what they serve.
///
/// SESSIONS are those now, TOTAL those that were connected, FAILURES the connects of sessions that failed.
pub fn backends(config: &Config, table: &BackendTable, stats: &Stats, now: Instant) -> String {
    let row = |backend: &crate::table::Backend| {
        [
            config.pools[backend.pool].name.clone(),
            backend.name.to_string(),
            backend.address.to_string(),
            backend.weight.to_string(),
            backend.health.state.name().to_owned(),
            age(now.saturating_duration_since(backend.health.since)),
            stats.backend(backend.id, |counters| &counters.sessions).to_string(),
            stats.backend(backend.id, |counters| &counters.connected).to_string(),
            stats.backend(backend.id, |counters| &counters.connect_failures).to_string(),
            backend.health.reason.to_string(),
        ]
    };
    let rows: Vec<[String; 10]> = table.backends.iter().map(row).collect();
    let mut text = String::new();
    let widths = widths(&rows);
    line(&mut text, &HEADINGS.map(str::to_owned), &widths);
    for row in &rows {
        line(&mut text, row, &widths);
    }
    text
}

/// One line of sums: sessions accepted, running and ended, by how they ended.
pub fn totals(totals: &Totals) -> String {
    let mut text = format!("sessions: {} accepted, {} active", totals.accepted, totals.active);
    for end in End::ALL.into_iter().filter(|&end| totals.ended(end) > 0) {
        let _ = write!(text, ", {} {}", totals.ended(end), end.name());
    }
    let _ = write!(
        text,
        "; bytes: {} to backends, {} to clients",
        totals.bytes_to_backend, totals.bytes_to_client
    );
    text
}

/// One line of what went short, or nothing when nothing did. `listen_drops` are those since the start.
pub fn shortages(stats: &Stats, listen_drops: u64) -> String {
    let counts = [
        (stats.sum(|worker| &worker.accept_pauses), "times accepting paused"),
        (stats.sum(|worker| &worker.buffers_borrowed), "buffers came from the heap"),
        (listen_drops, "connections dropped by full queues (whole machine)"),
    ];
    let short: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    if short.is_empty() { String::new() } else { format!("shortages: {}\n", short.join(", ")) }
}

fn widths(rows: &[[String; 10]]) -> [usize; 10] {
    let mut widths = HEADINGS.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    widths
}

/// Numbers to the right, words to the left, nothing behind the last column.
fn line(text: &mut String, cells: &[String; 10], widths: &[usize; 10]) {
    let mut line = String::new();
    for (column, (cell, &width)) in cells.iter().zip(widths).enumerate() {
        let _ = match HEADINGS[column] {
            "WEIGHT" | "SINCE" | "SESSIONS" | "TOTAL" | "FAILURES" => write!(line, "{cell:>width$}  "),
            _ => write!(line, "{cell:<width$}  "),
        };
    }
    let _ = writeln!(text, "{}", line.trim_end());
}

/// A time span in its two largest units.
fn age(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_shows_every_backend_in_columns() {
        let text = "[[listener]]\nname = 'a'\nbind = '127.0.0.1:1'\npool = 'web'\n[[pool]]\nname = 'web'\n\
                    [[pool.backend]]\naddress = '127.0.0.1:8080'\nname = 'one'\n\
                    [[pool.backend]]\naddress = '[::1]:8081'\nweight = 30\n";
        let config = crate::config::parse("test", text).unwrap();
        let begun = Instant::now();
        let table = BackendTable::first(&config.pools, begun);
        let stats = Stats::new(1, 1, 2);
        stats.workers[0].backends[1].sessions.add(7);
        stats.workers[0].backends[1].connected.add(12_345);
        stats.workers[0].backends[1].connect_failures.add(2);
        let shown = backends(&config, &table, &stats, begun + Duration::from_secs(3_725));
        let expected = "\
POOL  BACKEND     ADDRESS         WEIGHT  STATE  SINCE  SESSIONS  TOTAL  FAILURES  REASON
web   one         127.0.0.1:8080       1  up     1h02m         0      0         0  not checked yet
web   [::1]:8081  [::1]:8081          30  up     1h02m         7  12345         2  not checked yet
";
        assert_eq!(shown, expected);
    }

    #[test]
    fn shortages_are_told_only_when_there_are_any() {
        let stats = Stats::new(2, 1, 1);
        assert_eq!(shortages(&stats, 0), "");
        stats.workers[1].buffers_borrowed.add(3);
        assert_eq!(
            shortages(&stats, 2),
            "shortages: 3 buffers came from the heap, 2 connections dropped by full queues (whole machine)\n"
        );
    }

    #[test]
    fn totals_name_only_the_ends_that_happened() {
        let mut sums =
            Totals { accepted: 3, active: 1, bytes_to_backend: 10, bytes_to_client: 20, ..Totals::default() };
        sums.ends[End::Complete as usize] = 2;
        let expected = "sessions: 3 accepted, 1 active, 2 complete; bytes: 10 to backends, 20 to clients";
        assert_eq!(totals(&sums), expected);
    }
}
