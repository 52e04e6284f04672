//! The two lines above the table: the process, and the sums. What has no room goes whole, the least important first.

use ratatui::style::Style;
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr as _;

use super::{bold, style};
use crate::admin::shapes::Pool;
use crate::operate::backends::is_fine;
use crate::operate::columns::cut;
use crate::operate::form::{Tone, harmless};
use crate::operate::top::figures::Figures;
use crate::operate::top::view::View;
use crate::operate::units::{age, count, rate};

/// The narrowest that the name of a pool becomes.
const NAME_LEAST: usize = 6;
/// So much of it can be told from others.
const NAME_ENOUGH: usize = 20;

pub(super) fn heads(view: &View, width: usize) -> Vec<Line<'static>> {
    let Some(figures) = &view.figures else {
        let first = Line::from(vec![
            Span::styled("ringway ", bold()),
            Span::raw(format!("{}: asking ...", view.address)),
        ]);
        return vec![first, lost(view, width).unwrap_or_default()];
    };
    let second = lost(view, width).unwrap_or_else(|| {
        match figures.pools.iter().find(|pool| view.pool.as_ref() == Some(&pool.name)) {
            Some(pool) => alone(view, pool, width),
            None => all(view, figures, width),
        }
    });
    vec![process(view, figures, width), second]
}

fn process(view: &View, figures: &Figures, width: usize) -> Line<'static> {
    let info = &figures.info;
    let name = "ringway ";
    let address = cut(&view.address, width.saturating_sub(name.width() + 2 + info.state.width()));
    let mut line = Line::from(vec![
        Span::styled(name, bold()),
        Span::raw(format!("{address}: ")),
        Span::styled(info.state.clone(), style(if info.state == "running" { Tone::Good } else { Tone::Odd })),
    ]);
    for more in [
        format!(", up {}", age(info.uptime_seconds)),
        format!(", configuration {}", info.generation),
        format!(", version {}", info.version),
    ] {
        if line.width() + more.width() > width {
            break;
        }
        line.push_span(more);
    }
    line
}

/// Of the whole process, and how many of each pool serve.
fn all(view: &View, figures: &Figures, width: usize) -> Line<'static> {
    let sessions = count(figures.active(), "session");
    let long = format!("{sessions}, {} new/s, {} waiting; ", rate(view.rates.accepted), figures.waiting());
    let counts: Vec<Counts> = figures.pools.iter().map(Counts::of).collect();
    for (before, serving) in [(&long, "serving: "), (&format!("{sessions}; "), "")] {
        let room = width.saturating_sub(before.width() + serving.width());
        if let Some(pools) = named(&counts, room) {
            let mut spans = vec![Span::raw(format!("{before}{serving}"))];
            spans.extend(pools);
            return Line::from(spans);
        }
    }
    // Too many to be named: all of them together.
    let sum = counts.iter().fold(Counts::default(), |sum, one| Counts {
        name: String::new(),
        serving: sum.serving + one.serving,
        backends: sum.backends + one.backends,
    });
    let tail = |before: &str| {
        Line::from(vec![
            Span::raw(format!("{before}serving: ")),
            Span::styled(sum.shown(), sum.style()),
            Span::raw(format!(" of {}", count(counts.len() as u64, "pool"))),
        ])
    };
    let line = tail(&long);
    if line.width() <= width { line } else { tail(&format!("{sessions}; ")) }
}

/// Of the pool that is shown alone.
fn alone(view: &View, pool: &Pool, width: usize) -> Line<'static> {
    let counts = Counts::of(pool);
    let active = pool.backends.iter().map(|backend| backend.active).sum();
    let new = pool.backends.iter().map(|backend| view.rates.of(&pool.name, &backend.name).connected).sum();
    let mut tail = vec![format!("; {}", count(active, "session"))];
    tail.extend([format!(", {} new/s", rate(new)), format!(", {} waiting", pool.queued)]);
    let fixed = "pool : serving ".width() + counts.shown().width();
    // A name that can be told from others first, then as many of the figures as there is room for.
    while tail.len() > 1 && fixed + counts.name.width().min(NAME_ENOUGH) + tail.concat().width() > width {
        tail.pop();
    }
    let room = width.saturating_sub(fixed + tail.concat().width()).max(NAME_LEAST);
    Line::from(vec![
        Span::raw("pool "),
        Span::styled(cut(&counts.name, room), bold()),
        Span::raw(": serving "),
        Span::styled(counts.shown(), counts.style()),
        Span::raw(tail.concat()),
    ])
}

/// How many of a pool serve.
#[derive(Debug, Clone, Default)]
struct Counts {
    name: String,
    serving: usize,
    backends: usize,
}

impl Counts {
    fn of(pool: &Pool) -> Counts {
        let serving = pool.backends.iter().filter(|backend| is_fine(backend)).count();
        Counts { name: harmless(&pool.name), serving, backends: pool.backends.len() }
    }

    fn shown(&self) -> String {
        format!("{}/{}", self.serving, self.backends)
    }

    fn style(&self) -> Style {
        style(match self.serving {
            0 => Tone::Bad,
            serving if serving < self.backends => Tone::Odd,
            _ => Tone::Good,
        })
    }
}

/// Every pool with its counts in so much room: names give way, the longest first, counts never.
fn named(pools: &[Counts], room: usize) -> Option<Vec<Span<'static>>> {
    let fixed: usize =
        pools.iter().map(|pool| pool.shown().width() + 1).sum::<usize>() + 2 * pools.len().saturating_sub(1);
    let names = |longest: usize| pools.iter().map(|pool| cut(&pool.name, longest)).collect::<Vec<_>>();
    let fits = |names: &[String]| fixed + names.iter().map(|name| name.width()).sum::<usize>() <= room;
    let longest = pools.iter().map(|pool| pool.name.width()).max().unwrap_or(0);
    let names = (NAME_LEAST.min(longest)..=longest).rev().map(names).find(|names| fits(names))?;
    let mut spans = Vec::new();
    for (pool, name) in pools.iter().zip(names) {
        let comma = if spans.is_empty() { "" } else { ", " };
        spans.push(Span::raw(format!("{comma}{name} ")));
        spans.push(Span::styled(pool.shown(), pool.style()));
    }
    Some(spans)
}

/// Why there are no newer figures.
fn lost(view: &View, width: usize) -> Option<Line<'static>> {
    let why = match (&view.lost, view.silent) {
        (Some(why), _) => why.clone(),
        (None, Some(seconds)) => format!("no answer for {seconds}s"),
        (None, None) => return None,
    };
    let old = if view.figures.is_some() { "old figures: " } else { "" };
    Some(Line::styled(cut(&format!("{old}{}", harmless(&why)), width), style(Tone::Bad)))
}
