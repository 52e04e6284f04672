//! Draw: the view on a terminal of whatever size.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph};

use super::figures::Figures;
use super::view::{Message, Prompt, View, Wanted};
use crate::admin::shapes::{Backend, Mode};
use crate::operate::backends::{is_fine, sessions, state, weight};
use crate::operate::columns::{Cell, Column, Side, cut, fit, number, word, words};
use crate::operate::form::{Tone, harmless};
use crate::operate::units::{age, count, micros, rate};

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

const HELP: [&str; 14] = [
    "up, down, k, j     select a backend",
    "page up, page down a page further",
    "g, G               the first, the last",
    "p                  the next pool alone, then all",
    "",
    "d                  drain: no new sessions",
    "r                  ready: serve",
    "m                  maintenance: no sessions, no checks",
    "+, -               another weight",
    "                   y or Enter does it, others do not",
    "",
    "?                  this",
    "q, Ctrl-C          leave",
    "NEW/s, FAIL/s      in the last second",
];

/// Draws all of it. The view learns how many lines there were room for.
pub(super) fn draw(frame: &mut Frame<'_>, view: &mut View) {
    let area = frame.area();
    if area.height < 3 || area.width < 10 {
        let words = if view.lost.is_some() { "no answer" } else { "too small" };
        frame.render_widget(Paragraph::new(words), area);
        return;
    }
    let [head, table, foot] =
        Layout::vertical([Constraint::Length(2), Constraint::Min(0), Constraint::Length(1)]).areas(area);
    frame.render_widget(Paragraph::new(heads(view)), head);
    view.scroll(usize::from(table.height.saturating_sub(1)));
    frame.render_widget(Paragraph::new(lines(view, table)), table);
    frame.render_widget(Paragraph::new(foot_line(view, foot.width)), foot);
    if view.shows_help {
        help(frame, area);
    }
}

fn heads(view: &View) -> Vec<Line<'_>> {
    let mut first = vec![Span::styled("ringway ", bold()), Span::raw(&view.address)];
    let Some(figures) = &view.figures else {
        first.push(Span::raw(": asking ..."));
        return vec![Line::from(first), lost(view).unwrap_or_default()];
    };
    let info = &figures.info;
    let (state_style, waiting) =
        (style(if info.state == "running" { Tone::Good } else { Tone::Odd }), figures.waiting());
    first.extend([
        Span::raw(": "),
        Span::styled(&info.state, state_style),
        Span::raw(format!(
            ", up {}, configuration {}, version {}",
            age(info.uptime_seconds),
            info.generation,
            info.version
        )),
    ]);
    let second = lost(view).unwrap_or_else(|| {
        let mut spans = vec![Span::raw(format!(
            "{}, {} new/s, {waiting} waiting; serving: ",
            count(figures.active(), "session"),
            rate(view.rates.accepted),
        ))];
        spans.extend(pools(figures, view.pool.as_deref()));
        Line::from(spans)
    });
    vec![Line::from(first), second]
}

/// How many of each pool serve, the one that is shown alone first.
fn pools<'f>(figures: &'f Figures, only: Option<&str>) -> Vec<Span<'f>> {
    let shown = figures.pools.iter().filter(|pool| only.is_none_or(|only| only == pool.name));
    let mut spans = Vec::new();
    for pool in shown {
        let up = pool.backends.iter().filter(|backend| is_fine(backend)).count();
        let tone = match up {
            0 => Tone::Bad,
            up if up < pool.backends.len() => Tone::Odd,
            _ => Tone::Good,
        };
        if !spans.is_empty() {
            spans.push(Span::raw(", "));
        }
        spans.push(Span::raw(format!("{} ", pool.name)));
        spans.push(Span::styled(format!("{up}/{}", pool.backends.len()), style(tone)));
    }
    spans
}

fn lost(view: &View) -> Option<Line<'_>> {
    let why = view.lost.as_ref()?;
    let old = if view.figures.is_some() { "old figures: " } else { "" };
    Some(Line::styled(format!("{old}{}", harmless(why)), style(Tone::Bad)))
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

/// What is asked, or what became of it, or which keys there are.
fn foot_line(view: &View, width: u16) -> Line<'static> {
    let fitting = |text: &str| cut(&harmless(text), usize::from(width));
    match (&view.prompt, &view.message) {
        (Some(prompt), _) => Line::styled(fitting(&question(prompt)), bold().fg(Color::Yellow)),
        (None, Some(Message::Done(words))) => Line::styled(fitting(words), style(Tone::Good)),
        (None, Some(Message::Refused(words))) => Line::styled(fitting(words), style(Tone::Bad)),
        (None, None) => {
            let keys = "q quit  ? help  d drain  r ready  m maint  +- weight  p pool";
            let shown = match (view.rows().len(), view.room) {
                (rows, room) if rows > room => {
                    format!("{}  {}-{} of {rows}", keys, view.first + 1, (view.first + room).min(rows))
                }
                _ => keys.to_owned(),
            };
            Line::styled(shown, style(Tone::Quiet))
        }
    }
}

fn question(prompt: &Prompt) -> String {
    let (target, sessions) = (prompt.target.shown(), count(prompt.sessions, "session"));
    match prompt.wanted {
        Wanted::Mode(Mode::Drain) => format!("drain {target}? {sessions} may go on (y/n)"),
        Wanted::Mode(Mode::Maintenance) => {
            format!("maintenance of {target}? {sessions} may go on, no checks (y/n)")
        }
        Wanted::Mode(Mode::Ready) => format!("{target} ready? (y/n)"),
        Wanted::Weight { now, next } => format!("weight of {target}: {now} -> {next}? (+/- changes it, y/n)"),
    }
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
