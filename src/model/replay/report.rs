//! Report: what the algorithms made of the same record, as text.

use std::fmt::Write as _;

use hdrhistogram::Histogram;

use super::Request;
use super::outcome::Outcome;
use super::past::{NEAR, Past};
use crate::config::{Algorithm, Choice};
use crate::status::{nanos, span};

/// Backends that have a column each; of more only the smallest and the largest share is told.
const COLUMNS_MAX: usize = 8;
/// Figures that differ by less than this are not told apart.
const ALIKE: f64 = 1.05;

const FOOT: [&str; 6] = [
    "Real: when clients came and who they were, and the choosing. Modelled: a session takes what one took of the {NEAR}",
    "nearest in time that the same backend served, whatever else the backend has to do. So this tells where sessions",
    "would have gone, and how long they would have taken if each backend had answered as it did. It does not tell how a",
    "backend answers to more or fewer sessions than it had, which session asked for how much, what failures and health",
    "checks would have changed (all backends are up), or anything about the network. A backend that was given few",
    "sessions while it was slow looks faster than it was.",
];

/// Everything that is printed.
pub(super) fn text(past: &Past, request: &Request<'_>, outcomes: &[(Algorithm, Outcome)]) -> String {
    let rows: Vec<(&str, &Outcome)> = std::iter::once(("as recorded", &past.outcome))
        .chain(outcomes.iter().map(|(algorithm, outcome)| (algorithm.word(), outcome)))
        .collect();
    let mut text = head(past, request);
    times(&mut text, "FIRST BYTE", &rows, |outcome| &outcome.first_bytes);
    times(&mut text, "SESSION", &rows, |outcome| &outcome.sessions);
    spread(&mut text, past, &rows);
    let _ = writeln!(text, "\n{}", sentence(outcomes));
    for note in &past.notes {
        let _ = writeln!(text, "note: {note}");
    }
    let _ = writeln!(text, "\n{}", FOOT.join("\n").replace("{NEAR}", &NEAR.to_string()));
    text
}

fn head(past: &Past, request: &Request<'_>) -> String {
    let pool = &past.config.pools[0];
    let mut text = format!(
        "pool {}: {} sessions of {} clients in {}, {} backends, {} workers; recorded with {}\n",
        pool.name,
        past.came.len(),
        past.clients,
        span(past.length()),
        pool.backends.len(),
        past.workers,
        pool.algorithm.word()
    );
    if request.speed != 1.0 {
        let _ = writeln!(text, "clients come {} times as fast as they did", request.speed);
    }
    text
}

fn times(
    text: &mut String,
    title: &str,
    rows: &[(&str, &Outcome)],
    which: impl Fn(&Outcome) -> &Histogram<u64>,
) {
    let _ = writeln!(
        text,
        "\n{title:<20}  {:>7}  {:>7}  {:>7}  {:>7}  {:>7}",
        "P50", "P90", "P99", "P99.9", "MAX"
    );
    for (name, outcome) in rows {
        let times = which(outcome);
        let at =
            |quantile| if times.is_empty() { "-".into() } else { nanos(times.value_at_quantile(quantile)) };
        let _ = writeln!(
            text,
            "{name:<20}  {:>7}  {:>7}  {:>7}  {:>7}  {:>7}",
            at(0.5),
            at(0.9),
            at(0.99),
            at(0.999),
            at(1.0)
        );
    }
}

fn spread(text: &mut String, past: &Past, rows: &[(&str, &Outcome)]) {
    let backends = &past.config.pools[0].backends;
    let weights: Vec<u32> = backends.iter().map(|backend| backend.weight.get()).collect();
    let columns: Vec<String> = match backends.len() {
        0..=COLUMNS_MAX => backends.iter().map(|backend| backend.name.clone()).collect(),
        _ => ["LEAST", "MOST"].map(String::from).into(),
    };
    let _ = write!(
        text,
        "\n{:<20}  {:>7}  {:>7}  {:>7}  {:>8}",
        "SHARES", "QUEUED", "FAILED", "AT ONCE", "FAIRNESS"
    );
    for name in &columns {
        let _ = write!(text, "  {name:>7}");
    }
    text.push('\n');
    for (name, outcome) in rows {
        let queued = outcome.queued.map_or_else(|| "-".into(), |queued| queued.to_string());
        let fairness = outcome.fairness(&weights);
        let _ = write!(
            text,
            "{name:<20}  {queued:>7}  {:>7}  {:>7}  {fairness:>8.4}",
            outcome.failed, outcome.most_active
        );
        let total: u64 = outcome.served.iter().sum();
        let share = |served: u64| format!("{:.2}%", 100.0 * served as f64 / total.max(1) as f64);
        let mut served = outcome.served.clone();
        if served.len() > COLUMNS_MAX {
            served.sort_unstable();
            served = vec![served[0], served[served.len() - 1]];
        }
        for (name, served) in columns.iter().zip(served) {
            let _ = write!(text, "  {:>width$}", share(served), width = name.len().max(7));
        }
        text.push('\n');
    }
}

/// What stands out, by the 99th percentile of the first byte, or of the session where backends hardly ever send one.
fn sentence(outcomes: &[(Algorithm, Outcome)]) -> String {
    let has_bytes = |outcome: &Outcome| 2 * outcome.first_bytes.len() >= outcome.sessions.len();
    let by_bytes = outcomes.iter().all(|(_, outcome)| has_bytes(outcome));
    let what = if by_bytes { "first byte" } else { "session" };
    let p99 = |outcome: &Outcome| {
        let times = if by_bytes { &outcome.first_bytes } else { &outcome.sessions };
        times.value_at_quantile(0.99)
    };
    let figures = || outcomes.iter().map(|(algorithm, outcome)| (p99(outcome), algorithm.word()));
    let (Some((best, best_name)), Some((worst, worst_name))) =
        (figures().min_by_key(|(p99, _)| *p99), figures().max_by_key(|(p99, _)| *p99))
    else {
        return String::from("No algorithm was tried.");
    };
    if outcomes.len() == 1 {
        return format!("With {best_name} 99 of 100 sessions have {what}s within {}.", nanos(best));
    }
    if worst as f64 <= best as f64 * ALIKE {
        return format!(
            "The algorithms differ by less than 5 percent in the 99th percentile of the {what}: by this record none is better."
        );
    }
    format!(
        "The 99th percentile of the {what} is lowest with {best_name} ({}) and highest with {worst_name} ({}).",
        nanos(best),
        nanos(worst)
    )
}
