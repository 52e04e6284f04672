//! The tables, for a terminal and as Markdown: the same rows.

use comfy_table::{
    CellAlignment, LineStyle, Table, TableStyle,
    presets::{ASCII_MARKDOWN, NOTHING},
};

use super::{
    results::{Against, Results, Row},
    series::Spread,
    target::Verdict,
};

/// For whom a table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Text,
    Markdown,
}

/// Every table of a run, each below its heading.
pub(super) fn all(results: &Results, verdicts: &[Verdict], style: Style) -> String {
    let mut text = String::new();
    let mut section = |heading: &str, about: &str, body: String| {
        let heading = match style {
            Style::Text => heading.to_owned(),
            Style::Markdown => format!("## {heading}\n"),
        };
        text += &format!("{heading}\n{about}\n{body}\n");
    };
    section("Figures", FIGURES, figures(results, style));
    let ringways = results.ringways();
    if let [first, others @ ..] = &ringways[..]
        && !others.is_empty()
    {
        section("Between the ringways", BETWEEN, between(results, *first, others, style));
    }
    if !verdicts.is_empty() {
        section("Targets", TARGETS, targets(verdicts, style));
    }
    if !results.faults.is_empty() {
        let bullet = if style == Style::Markdown { "- " } else { "" };
        let list = results.faults.iter().map(|fault| format!("{bullet}{fault}\n")).collect();
        section("Not valid", "These cells are in no figure above.\n", list);
    }
    text
}

/// With three digits, or all before the point.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn figures(results: &Results, style: Style) -> String {
    let mut head = vec!["work".to_owned(), "figure".to_owned()];
    for proxy in &results.proxies {
        head.push(proxy.name().to_owned());
        if !proxy.is_peer() {
            head.push("ratio".to_owned());
        }
    }
    head.push("best peer".to_owned());
    let rows = results.rows.iter().map(|row| {
        let best = results.best(row, Against::Peers);
        let mut cells = vec![row.work.name.to_owned(), row.figure.label(&row.work)];
        for (index, proxy) in results.proxies.iter().enumerate() {
            cells.push(value(row, index));
            if !proxy.is_peer() {
                let ratio = best.and_then(|best| row.series[index].ratio_to(&row.series[best]).spread());
                cells.push(ratio.map_or_else(String::new, |ratio| spread(ratio, 2)));
            }
        }
        cells.push(best.map_or_else(String::new, |best| results.proxies[best].name().to_owned()));
        cells
    });
    let left = [0, 1, head.len() - 1];
    render(&head, rows.collect(), &left, style)
}

/// The median; with how many cells were not valid.
fn value(row: &Row, proxy: usize) -> String {
    let median = row.series[proxy].spread().map(|spread| number(spread.median));
    match (median, row.invalid[proxy]) {
        (Some(median), 0) => median,
        (Some(median), invalid) => format!("{median} ({invalid} not valid)"),
        (None, 0) => "-".to_owned(),
        (None, _) => "not valid".to_owned(),
    }
}

fn spread(ratio: Spread, digits: usize) -> String {
    format!("{:.digits$} ({:.digits$}-{:.digits$})", ratio.median, ratio.min, ratio.max)
}

fn between(results: &Results, first: usize, others: &[usize], style: Style) -> String {
    let mut head = vec!["work".to_owned(), "figure".to_owned()];
    head.extend(others.iter().map(|&other| results.proxies[other].name().to_owned()));
    let rows = results.rows.iter().filter(|row| row.figure.better().is_some()).map(|row| {
        let mut cells = vec![row.work.name.to_owned(), row.figure.label(&row.work)];
        for &other in others {
            let ratio = row.series[other].ratio_to(&row.series[first]).spread();
            cells.push(ratio.map_or_else(|| "-".to_owned(), |ratio| spread(ratio, 2)));
        }
        cells
    });
    render(&head, rows.collect(), &[0, 1], style)
}

fn targets(verdicts: &[Verdict], style: Style) -> String {
    let head = ["work", "figure", "target", "", "measured", ""].map(str::to_owned);
    let rows = verdicts.iter().map(|verdict| {
        let verdict_word = match verdict.is_met {
            Some(true) => "met",
            Some(false) => "NOT met",
            None => "not known",
        };
        vec![
            verdict.work.to_owned(),
            verdict.figure.clone(),
            verdict.target.clone(),
            verdict.ringway.clone(),
            // One more digit than the target has, so that one that is missed by little does not look met.
            verdict.measured.map_or_else(|| "-".to_owned(), |measured| spread(measured, 3)),
            verdict_word.to_owned(),
        ]
    });
    render(&head, rows.collect(), &[0, 1, 2, 3, 5], style)
}

/// Columns other than `left` have numbers, which stand to the right. Said of a work once, its name is left out below.
fn render(head: &[String], rows: Vec<Vec<String>>, left: &[usize], style: Style) -> String {
    let mut table = Table::new();
    table.load_style(match style {
        Style::Text => PLAIN,
        Style::Markdown => ASCII_MARKDOWN,
    });
    table.set_header(head);
    let mut work = String::new();
    for mut row in rows {
        if row[0] == work {
            row[0].clear();
        } else {
            work.clone_from(&row[0]);
        }
        table.add_row(row);
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        if !left.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    format!("{}\n", table.trim_fmt())
}

const PLAIN: TableStyle = NOTHING.header_separator(LineStyle::new('-', '-', '-', '-'));
const FIGURES: &str = "\
Medians of the rounds. Ratio: to the best peer of that figure, round by round: median (smallest-largest).
Times of small and churn are wrk's, taken in a closed loop; those of latency-1 and open are loadtest's own.
";
const BETWEEN: &str = "Ratio to the first, round by round: median (smallest-largest).\n";
const TARGETS: &str = "\
By the median. Not measured here: pick and refresh (cargo bench), two workers against one.
";
