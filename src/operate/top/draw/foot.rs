//! The last lines: what is asked, or what became of it, or which keys there are.

use ratatui::style::Color;
use ratatui::text::Line;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::{bold, style};
use crate::admin::shapes::Mode;
use crate::operate::columns::cut;
use crate::operate::form::{Tone, harmless};
use crate::operate::target::Target;
use crate::operate::top::view::{Message, Prompt, View, Wanted};
use crate::operate::units::count;

/// Lines that it has at most.
const LINES_MAX: usize = 3;
/// The narrowest that the name of a pool becomes in a question.
const POOL_LEAST: usize = 5;
/// In the order in which they matter.
const KEYS: [&str; 7] = ["q quit", "? help", "d drain", "r ready", "m maint", "+- weight", "p pool"];

pub(super) fn foot(view: &View, width: usize) -> Vec<Line<'static>> {
    let told = |words: &str, tone| {
        folded(&harmless(words), width).into_iter().map(move |line| Line::styled(line, style(tone))).collect()
    };
    match (&view.prompt, &view.message) {
        (Some(prompt), _) => folded(&harmless(&question(prompt, width)), width)
            .into_iter()
            .map(|line| Line::styled(line, bold().fg(Color::Yellow)))
            .collect(),
        (None, Some(Message::Done(words))) => told(words, Tone::Good),
        (None, Some(Message::Refused(words))) => told(words, Tone::Bad),
        (None, None) => vec![Line::styled(keys(view, width), style(Tone::Quiet))],
    }
}

/// The keys that there is room for, and which lines are seen.
fn keys(view: &View, width: usize) -> String {
    let place = match (view.rows().len(), view.room) {
        (rows, room) if rows > room => {
            format!("{}-{} of {rows}", view.first + 1, (view.first + room).min(rows))
        }
        _ => String::new(),
    };
    let mut shown: Vec<&str> = KEYS.to_vec();
    loop {
        let line = shown.iter().copied().chain(Some(place.as_str()).filter(|place| !place.is_empty()));
        let line = line.collect::<Vec<_>>().join("  ");
        if line.width() <= width || shown.pop().is_none() {
            return line;
        }
    }
}

/// What is asked. The name of the pool gives way to stay in one line; backend and question never do.
fn question(prompt: &Prompt, width: usize) -> String {
    let asked = |target: &str| asked(prompt, target);
    let whole = asked(&prompt.target.shown());
    let excess = whole.width().saturating_sub(width);
    let Target { pool, backend } = &prompt.target;
    match pool.width().checked_sub(excess) {
        Some(room) if excess > 0 && room >= POOL_LEAST => asked(&format!("{}/{backend}", cut(pool, room))),
        // Not in one line, and hardly in all that there may be.
        _ if whole.width() > width * (LINES_MAX - 1) => {
            asked(&format!("{}/{backend}", cut(pool, POOL_LEAST)))
        }
        _ => whole,
    }
}

fn asked(prompt: &Prompt, target: &str) -> String {
    let sessions = count(prompt.sessions, "session");
    match prompt.wanted {
        Wanted::Mode(Mode::Drain) => format!("drain {target}? {sessions} may go on (y/n)"),
        Wanted::Mode(Mode::Maintenance) => {
            format!("maintenance of {target}? {sessions} may go on, no checks (y/n)")
        }
        Wanted::Mode(Mode::Ready) => format!("{target} ready? (y/n)"),
        Wanted::Weight { now, next } => format!("weight of {target}: {now} -> {next}? (+/- changes it, y/n)"),
    }
}

/// As lines of this width: broken at blanks where that can be, and the last line that there may be is cut.
fn folded(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = text;
    while rest.width() > width && lines.len() + 1 < LINES_MAX {
        let mut taken = 0;
        let end = rest.char_indices().find(|(_, c)| {
            taken += c.width().unwrap_or(0);
            taken > width
        });
        let end = end.map_or(rest.len(), |(end, _)| end).max(1);
        let blank = rest[..end].rfind(' ').filter(|blank| *blank > end / 2);
        let (line, next) = rest.split_at(blank.unwrap_or(end));
        lines.push(line.to_owned());
        rest = next.trim_start();
    }
    lines.push(cut(rest, width));
    lines
}
