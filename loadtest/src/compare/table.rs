//! The table of a comparison, for a terminal.

use std::path::Path;

use comfy_table::{CellAlignment, LineStyle, Table, TableStyle, presets::NOTHING};

use super::{
    result::{Comparison, Interval, Measured, Times},
    units::{digits, time},
};

/// What was done, the table, what may be said of it, and where the files are.
pub(super) fn all(comparison: &Comparison, folder: &Path) -> String {
    let about = &comparison.about;
    let mut text = format!(
        "{}: {}\n{:.0} sessions/s ({}), each on a new connection; {} repeats of {} s after {} s of warm-up; seed {}\n{}; {}\n",
        about.scenario,
        about.description,
        about.rate_per_s,
        about.arrivals,
        about.repeats,
        about.duration_s,
        about.warm_up_s,
        about.seed,
        about.ringway,
        about.machine
    );
    if about.interrupted {
        text += "interrupted: only the rounds that were complete are here\n";
    }
    // Every line of a table is as long as its longest.
    let figures: String =
        figures(comparison).to_string().lines().map(|line| format!("{}\n", line.trim_end())).collect();
    text += &format!("\n{figures}\n");
    text += "Times in ms: session and first byte from when the session was due, connect from its call. Best p99 first.\n";
    text += "p99 of a session: geometric mean over the repeats; 95 %: where it lies. Of offered: what was answered in the measured time.\n";
    text += "Fairness is Jain's index of sessions by weight: 1 is even. Shares in per cent:\n";
    text += &format!("  {}\n\n", comparison.backends.join(", "));
    text += &wrapped(&comparison.verdict);
    text += &format!(
        "\n{}kept in {}: report.html, percentiles.svg, result.json, trials.jsonl, *.hgrm\n",
        late(comparison.algorithms.iter().map(|one| one.late_p99_us)),
        folder.display()
    );
    text
}

fn figures(comparison: &Comparison) -> Table {
    let mut table = Table::new();
    table.load_style(PLAIN);
    table.set_header([
        "algorithm",
        "time of",
        "p50",
        "p90",
        "p99",
        "95 %",
        "p99.9",
        "max",
        "of offered",
        "failed",
        "fairness",
        "shares",
    ]);
    let mut algorithms: Vec<_> = comparison.algorithms.iter().collect();
    // Those with a repeat without an answer come last.
    let key = |one: &Measured| if one.p99.middle > 0.0 { one.p99.middle } else { f64::INFINITY };
    algorithms.sort_by(|a, b| key(a).total_cmp(&key(b)));
    for one in algorithms {
        let achieved =
            format!("{:.1} %", 100.0 * one.achieved_per_s / one.offered_per_s.max(f64::MIN_POSITIVE));
        let failed = match &one.failures {
            none if none.is_empty() => "0".to_owned(),
            kinds => format!("{} ({kinds})", one.failed),
        };
        let shares: Vec<_> = one.shares.iter().map(|share| format!("{:.0}", share * 100.0)).collect();
        // That of the repeats, which the interval is about, not that of all sessions together.
        let p99 = if one.p99.middle > 0.0 { one.p99.middle } else { one.session.p99 };
        let mut first = row(&one.algorithm, "session", Times { p99, ..one.session }, Some(one.p99));
        first.extend([achieved, failed, format!("{:.3}", one.fairness), shares.join(" ")]);
        table.add_row(first);
        table.add_row(row("", "first byte", one.first_byte, None));
        table.add_row(row("", "connect", one.connect, None));
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn row(algorithm: &str, what: &str, times: Times, p99: Option<Interval>) -> Vec<String> {
    let ms = |us: f64| if times.count == 0 { "-".to_owned() } else { digits(us / 1e3) };
    let interval = match p99 {
        Some(Interval { low: Some(low), high: Some(high), .. }) => {
            format!("{}-{}", digits(low / 1e3), digits(high / 1e3))
        }
        _ => String::new(),
    };
    let [p50, p90, p99, p99_9, max] = [times.p50, times.p90, times.p99, times.p99_9, times.max].map(ms);
    vec![algorithm.to_owned(), what.to_owned(), p50, p90, p99, interval, p99_9, max]
}

/// What the generator itself did wrong, if it did.
pub(super) fn late(p99s_us: impl Iterator<Item = f64>) -> String {
    let latest = p99s_us.fold(0.0, f64::max);
    if latest < LATE_US {
        return String::new();
    }
    format!(
        "The generator itself began sessions late (p99 up to {}), and that is in all times: the machine was busy. A lower\n\
         rate, or a quiet machine, gives better figures.\n\n",
        time(latest)
    )
}

/// In lines that a terminal shows whole.
fn wrapped(text: &str) -> String {
    let mut lines = String::new();
    let mut length = 0;
    for word in text.split(' ') {
        if length > 0 && length + 1 + word.chars().count() > WIDTH {
            lines.push('\n');
            length = 0;
        } else if length > 0 {
            lines.push(' ');
            length += 1;
        }
        lines += word;
        length += word.chars().count();
    }
    lines + "\n"
}

/// Without borders.
pub(super) const PLAIN: TableStyle = NOTHING.header_separator(LineStyle::new('-', '-', '-', '-'));
const WIDTH: usize = 110;
const LATE_US: f64 = 2000.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_broken_between_words() {
        let text = wrapped(&"word ".repeat(60));
        assert!(text.lines().count() == 3 && text.lines().all(|line| line.len() <= WIDTH), "{text}");
        assert_eq!(wrapped("one two"), "one two\n");
    }
}
