//! Draw: the view on a terminal of whatever size.

mod foot;
mod heads;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph};

use super::view::View;
use crate::admin::shapes::Backend;
use crate::operate::backends::{sessions, state, weight};
use crate::operate::columns::{Cell, Column, Side, cut, fit, number, word, words};
use crate::operate::form::Tone;
use crate::operate::units::{age, micros, rate};

/// The columns in the order in which they stand.
const COLUMNS: [Column; 11] = [
    words("POOL", 8).rank(4),
    words("BACKEND", 21),
    word("STATE"),
    number("SINCE").rank(6),
    number("WEIGHT").rank(1),
    number("SESSIONS"),
    number("NEW/s").rank(2),
    number("FAIL/s").rank(3),
    number("TIME").rank(5),
    number("P99").rank(7),
    words("REASON", 20).rank(8),
];

/// None is longer than a narrow terminal is wide.
const HELP: [&str; 14] = [
    "up, down, j, k  select a backend",
    "page up, down   a page further",
    "g, G            the first, the last",
    "p               next pool, then all",
    "",
    "d               drain: no new sessions",
    "r               ready: serve",
    "m               no sessions, no checks",
    "+, -            another weight",
    "                y or Enter does it",
    "",
    "?               this",
    "q, Ctrl-C       leave",
    "NEW/s, FAIL/s   in the last second",
];

/// Draws all of it. The view learns how many lines there were room for.
pub(super) fn draw(frame: &mut Frame<'_>, view: &mut View) {
    let area = frame.area();
    if area.height < 3 || area.width < 10 {
        let words = if view.lost.is_some() { "no answer" } else { "too small" };
        frame.render_widget(Paragraph::new(words), area);
        return;
    }
    let width = usize::from(area.width);
    // Which keys there are stands in one line, and tells how many there is room for: it is made after that is known.
    let asked = foot::foot(view, width).len() as u16;
    let [head, table, foot] =
        Layout::vertical([Constraint::Length(2), Constraint::Min(0), Constraint::Length(asked)]).areas(area);
    frame.render_widget(Paragraph::new(heads::heads(view, width)), head);
    view.scroll(usize::from(table.height.saturating_sub(1)));
    frame.render_widget(Paragraph::new(lines(view, table)), table);
    frame.render_widget(Paragraph::new(foot::foot(view, width)), foot);
    if view.shows_help {
        help(frame, area);
    }
}

/// The headings and the lines that there is room for.
fn lines(view: &View, area: Rect) -> Vec<Line<'static>> {
    let rows = view.rows();
    let room = usize::from(area.height.saturating_sub(1));
    let shown = &rows[view.first.min(rows.len())..(view.first + room).min(rows.len())];
    let cells: Vec<Vec<Cell>> = shown.iter().map(|(pool, backend)| row(view, pool, backend)).collect();
    let fit = fit(&COLUMNS, &cells, Some(usize::from(area.width)));
    let headings: Vec<Cell> = COLUMNS.iter().map(|column| Cell::new(column.heading, Tone::Quiet)).collect();
    let mut lines = vec![one_line(&headings, &fit)];
    let place = view.place();
    for (index, cells) in cells.iter().enumerate() {
        let line = one_line(cells, &fit);
        let is_selected = place == Some(view.first + index);
        // Over the whole width: what is selected must be seen on terminals without colours too.
        lines.push(if is_selected {
            filled(line, area.width).patch_style(Style::new().add_modifier(Modifier::REVERSED))
        } else {
            line
        });
    }
    if rows.is_empty() && view.figures.is_some() {
        lines.push(Line::raw("no backends"));
    }
    lines
}

fn row(view: &View, pool: &str, backend: &Backend) -> Vec<Cell> {
    let rates = view.rates.of(pool, &backend.name);
    let failing = if rates.failed > 0.0 { Tone::Bad } else { Tone::Plain };
    vec![
        Cell::plain(pool),
        Cell::plain(&backend.name),
        state(backend),
        Cell::plain(age(backend.since_seconds)),
        Cell::plain(weight(backend)),
        Cell::plain(sessions(backend)),
        Cell::plain(rate(rates.connected)),
        Cell::new(rate(rates.failed), failing),
        Cell::plain(micros(backend.response_time_us)),
        Cell::plain(micros(backend.p99_us)),
        Cell::new(&backend.reason, Tone::Quiet),
    ]
}

fn one_line(cells: &[Cell], fit: &[(usize, usize)]) -> Line<'static> {
    let mut spans = Vec::new();
    for &(place, width) in fit {
        let cell = &cells[place];
        let text = cut(&cell.text, width);
        let spare = " ".repeat(width.saturating_sub(Span::raw(&text).width()));
        if !spans.is_empty() {
            spans.push(Span::raw("  "));
        }
        let text = Span::styled(text, style(cell.tone));
        match COLUMNS[place].side {
            Side::Left => spans.extend([text, Span::raw(spare)]),
            Side::Right => spans.extend([Span::raw(spare), text]),
        }
    }
    Line::from(spans)
}

fn filled(mut line: Line<'static>, width: u16) -> Line<'static> {
    let spare = usize::from(width).saturating_sub(line.width());
    line.push_span(Span::raw(" ".repeat(spare)));
    line
}

fn help(frame: &mut Frame<'_>, area: Rect) {
    let height = (HELP.len() as u16).min(area.height);
    let width = (HELP.iter().map(|line| line.len()).max().unwrap_or(0) as u16 + 2).min(area.width);
    let middle =
        Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    frame.render_widget(Clear, middle);
    let lines: Vec<Line<'_>> = HELP.iter().map(|line| Line::raw(format!(" {line}"))).collect();
    frame.render_widget(Paragraph::new(lines).style(Style::new().add_modifier(Modifier::REVERSED)), middle);
}

fn bold() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

fn style(tone: Tone) -> Style {
    match tone {
        Tone::Plain => Style::new(),
        Tone::Good => Style::new().fg(Color::Green),
        Tone::Odd => Style::new().fg(Color::Yellow),
        Tone::Bad => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
        Tone::Quiet => Style::new().add_modifier(Modifier::DIM),
    }
}

#[cfg(test)]
mod tests;
