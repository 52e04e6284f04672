//! Status: the table of backends and the totals, as text.

mod shadows;

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::access::Refused;
use crate::config::{Config, Listener, Protocol};
use crate::end::End;
use crate::queue::Queue;
use crate::stats::{Stats, Totals, WorkerStats};
use crate::table::{Backend, BackendTable, Mode};
use crate::times::{Figure, Times};

pub use shadows::shadows;

const HEADINGS: [&str; 11] = [
    "POOL", "BACKEND", "ADDRESS", "WEIGHT", "STATE", "SINCE", "SESSIONS", "TOTAL", "FAILURES", "TIME",
    "REASON",
];

/// The table of all backends: what they are called, whether they are up, since when, what they serve.
///
/// SESSIONS are those now, TOTAL those that were connected, FAILURES the sessions that could not connect or got no answer,
/// TIME the response time that the pool measures.
pub fn backends(config: &Config, table: &BackendTable, stats: &Stats, times: &Times, now: Instant) -> String {
    let row = |backend: &Backend| {
        let failures = stats.backend(backend.id, |counters| &counters.connect_failures)
            + stats.backend(backend.id, |counters| &counters.unanswered);
        [
            config.pools[backend.pool].name.clone(),
            backend.name.to_string(),
            backend.address.to_string(),
            backend.weight.to_string(),
            state(backend).to_owned(),
            age(now.saturating_duration_since(backend.since())),
            stats.sessions(backend.id).to_string(),
            stats.backend(backend.id, |counters| &counters.connected).to_string(),
            failures.to_string(),
            time(times.get(backend.id)),
            backend.reason().into_owned(),
        ]
    };
    let rows: Vec<[String; 11]> = table.backends.iter().map(row).collect();
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
    let refused = Refused::ALL.into_iter().zip(totals.refused).filter(|(_, count)| *count > 0);
    let refused: Vec<String> = refused.map(|(reason, count)| format!("{count} {}", reason.name())).collect();
    if !refused.is_empty() {
        let _ = write!(text, "; refused: {}", refused.join(", "));
    }
    text
}

/// One line of how the sessions are spread over the workers, in their order: those now, those ever, and how many each has
/// accepted for another. Nothing with a single worker.
pub fn workers(stats: &Stats) -> String {
    if stats.workers.len() < 2 {
        return String::new();
    }
    let each = |count: fn(&WorkerStats) -> u64| {
        let counts: Vec<String> = stats.workers.iter().map(|worker| count(worker).to_string()).collect();
        counts.join(" ")
    };
    let active = each(|worker| worker.core.active.get());
    let accepted = each(|worker| worker.core.admitted.get());
    let handed_over = match stats.sum(|worker| &worker.core.handed_over) {
        0 => String::new(),
        _ => format!("; handed over {}", each(|worker| worker.core.handed_over.get())),
    };
    format!("workers: active {active}; accepted {accepted}{handed_over}\n")
}

/// One line of how many sessions wait for a backend that is not at its limit, or nothing when none does.
pub fn queues(config: &Config, queues: &[Arc<Queue>]) -> String {
    let waiting = config.pools.iter().zip(queues).filter(|(_, queue)| !queue.is_empty());
    let waiting: Vec<String> =
        waiting.map(|(pool, queue)| format!("{} for pool {}", queue.len(), pool.name)).collect();
    if waiting.is_empty() { String::new() } else { format!("waiting: {}\n", waiting.join(", ")) }
}

/// One line of how bytes were carried, or nothing before the first.
pub fn carried(stats: &Stats) -> String {
    let small = stats.sum(|worker| &worker.core.carried.small);
    let large = stats.sum(|worker| &worker.core.carried.large);
    let spliced = stats.sum(|worker| &worker.core.carried.spliced);
    let parked = stats.sum(|worker| &worker.core.carried.parked);
    let datagrams = stats.sum(|worker| &worker.core.carried.datagrams);
    if small + large + spliced + datagrams == 0 {
        return String::new();
    }
    let datagrams = if datagrams == 0 { String::new() } else { format!(", {datagrams} in datagrams") };
    format!(
        "carried: {small} bytes in small buffers, {large} in large ones, {spliced} spliced{datagrams}; {parked} waits without a buffer\n"
    )
}

/// One line of what went short, or nothing when nothing did. `listen_drops` are those since the start.
pub fn shortages(stats: &Stats, listeners: &[Listener], listen_drops: u64) -> String {
    let datagrams = listeners.iter().enumerate().filter(|(_, listener)| listener.protocol == Protocol::Udp);
    let datagrams =
        datagrams.map(|(place, _)| stats.sum(|worker| &worker.listeners[place].queue_drops)).sum();
    let counts = [
        (stats.sum(|worker| &worker.core.accept_pauses), "times accepting paused"),
        (stats.sum(|worker| &worker.core.buffers_borrowed), "buffers came from the heap"),
        (listen_drops, "connections dropped by full queues (whole machine)"),
        (datagrams, "datagrams dropped by full queues"),
    ];
    let short: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    if short.is_empty() { String::new() } else { format!("shortages: {}\n", short.join(", ")) }
}

/// What an operator wants goes before what checks say: a backend that drains may be up.
fn state(backend: &Backend) -> &'static str {
    match backend.mode {
        Mode::Ready => backend.health.state.name(),
        Mode::Drain | Mode::Maintenance => backend.mode.name(),
    }
}

fn time(figure: Figure) -> String {
    if figure.is_unknown() { "-".into() } else { nanos(figure.nanos() as u64) }
}

/// So many nanoseconds with three digits that count: `87.5us`, `1.20ms`, `12.0s`.
pub fn nanos(nanos: u64) -> String {
    let units = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")];
    let Some((unit, name)) = units.into_iter().find(|(unit, _)| nanos >= *unit) else {
        return format!("{nanos}ns");
    };
    let value = nanos as f64 / unit as f64;
    match value {
        100.0.. => format!("{value:.0}{name}"),
        10.0.. => format!("{value:.1}{name}"),
        _ => format!("{value:.2}{name}"),
    }
}

/// A time span for people, from nanoseconds to days.
pub fn span(span: Duration) -> String {
    if span.as_secs() < 100 { nanos(span.as_nanos() as u64) } else { age(span) }
}

fn widths(rows: &[[String; 11]]) -> [usize; 11] {
    let mut widths = HEADINGS.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    widths
}

/// Numbers to the right, words to the left, nothing behind the last column.
fn line(text: &mut String, cells: &[String; 11], widths: &[usize; 11]) {
    let mut line = String::new();
    for (column, (cell, &width)) in cells.iter().zip(widths).enumerate() {
        let _ = match HEADINGS[column] {
            "WEIGHT" | "SINCE" | "SESSIONS" | "TOTAL" | "FAILURES" | "TIME" => {
                write!(line, "{cell:>width$}  ")
            }
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
    use crate::table::BackendId;

    #[test]
    fn the_table_shows_every_backend_in_columns() {
        let text = "[[listener]]\nname = 'a'\nbind = '127.0.0.1:1'\npool = 'web'\n[[pool]]\nname = 'web'\n\
                    [[pool.backend]]\naddress = '127.0.0.1:8080'\nname = 'one'\n\
                    [[pool.backend]]\naddress = '[::1]:8081'\nweight = 30\n";
        let config = crate::config::parse("test", text).unwrap();
        let begun = Instant::now();
        let table = BackendTable::first(&config.pools, begun);
        let (stats, times) = (Stats::new(1, 1, 2), Times::new(2));
        times.set(BackendId::new(1), Figure::fresh(1_234_567));
        (0..7).for_each(|_| stats.workers[0].sessions.add(BackendId::new(1)));
        stats.workers[0].backends[1].connected.add(12_345);
        stats.workers[0].backends[1].connect_failures.add(2);
        let shown = backends(&config, &table, &stats, &times, begun + Duration::from_secs(3_725));
        let expected = "\
POOL  BACKEND     ADDRESS         WEIGHT  STATE  SINCE  SESSIONS  TOTAL  FAILURES    TIME  REASON
web   one         127.0.0.1:8080       1  up     1h02m         0      0         0       -  not checked yet
web   [::1]:8081  [::1]:8081          30  up     1h02m         7  12345         2  1.23ms  not checked yet
";
        assert_eq!(shown, expected);
    }

    #[test]
    fn the_spread_over_workers_is_told_if_there_are_several() {
        assert_eq!(workers(&Stats::new(1, 1, 1)), "");
        let stats = Stats::new(3, 2, 1);
        stats.workers[0].core.active.add(2);
        stats.workers[2].core.active.add(1);
        stats.workers[2].core.admitted.add(4);
        stats.workers[2].core.admitted.add(5);
        assert_eq!(workers(&stats), "workers: active 2 0 1; accepted 0 0 9\n");
        stats.workers[1].core.handed_over.add(7);
        assert_eq!(workers(&stats), "workers: active 2 0 1; accepted 0 0 9; handed over 0 7 0\n");
    }

    #[test]
    fn shortages_are_told_only_when_there_are_any() {
        let stats = Stats::new(2, 2, 1);
        let text = "[[listener]]\nname = 'a'\nbind = '127.0.0.1:1'\npool = 'p'\n[[pool]]\nname = 'p'\n\
                    [[pool.backend]]\naddress = '127.0.0.1:2'\n";
        let mut listeners = vec![crate::config::parse("text", text).unwrap().listeners.remove(0); 2];
        listeners[1].protocol = Protocol::Udp;
        stats.workers[0].listeners[0].queue_drops.add(9);
        assert_eq!(shortages(&stats, &listeners, 0), "");
        stats.workers[1].core.buffers_borrowed.add(3);
        stats.workers[1].listeners[1].queue_drops.add(7);
        assert_eq!(
            shortages(&stats, &listeners, 2),
            "shortages: 3 buffers came from the heap, 2 connections dropped by full queues (whole machine), 7 datagrams \
             dropped by full queues\n"
        );
    }

    #[test]
    fn how_bytes_were_carried_is_told_once_there_are_any() {
        let stats = Stats::new(2, 1, 1);
        assert_eq!(carried(&stats), "");
        stats.workers[0].core.carried.small.add(10);
        stats.workers[1].core.carried.small.add(20);
        stats.workers[1].core.carried.spliced.add(4000);
        stats.workers[1].core.carried.parked.add(5);
        let expected =
            "carried: 30 bytes in small buffers, 0 in large ones, 4000 spliced; 5 waits without a buffer\n";
        assert_eq!(carried(&stats), expected);
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
