//! The charts of how it went: p99 and p50 over the measured time, a small chart for each algorithm.
//!
//! Ten restless lines in one chart are a thicket. Here each has its own, with the others behind it in grey, and all have
//! the same axes.

use maud::{Markup, html};

use super::{
    drawing::{Frame, Shown, path, px},
    entry::Entry,
    number,
    scale::{LogScale, linear_ticks},
};
use crate::compare::result::{About, Event, Slice};

pub(super) fn figure(entries: &[Entry], about: &About) -> Markup {
    let measured: Vec<&Entry> = entries.iter().filter(|entry| slices(entry).next().is_some()).collect();
    let times = measured.iter().flat_map(|entry| slices(entry));
    let times = times.flat_map(|slice| number::known(slice.p50_us).into_iter().chain(Some(slice.p99_us)));
    let Some(scale) = LogScale::over(times) else { return html! {} };
    let last = measured.iter().flat_map(|entry| slices(entry)).map(|slice| slice.at_s).fold(0.0, f64::max);
    let planned = if about.duration_s.is_finite() { about.duration_s } else { 0.0 };
    let axes = Axes { scale, seconds: last.max(planned).max(0.1) };
    let events: Vec<&Event> = about.events.iter().filter(|event| event.from_s < event.to_s).collect();
    html! {
        figure id="over-time" {
            h2 { "Over the measured time" }
            div.panels {
                @for (index, entry) in measured.iter().enumerate() {
                    div.panel {
                        h3 { (entry.label()) }
                        @let others = if index == 0 { Others::Drawn(&measured) } else { Others::Again };
                        (FRAME.svg(&format!("p99 and p50 over time with {}", entry.name()), drawing(entry, others, &axes, &events)))
                    }
                }
            }
            figcaption {
                "Across: seconds of the measured time at which sessions were due. Up: time of a session, logarithmic, in µs, "
                "ms or s; the thick line is p99 of each slice of time, the thin one p50, grey are the p99 of the other "
                "algorithms. All have the same axes; lower and calmer is better."
                @if !events.is_empty() {
                    " Shaded: "
                    @for (index, event) in events.iter().enumerate() {
                        @if index > 0 { "; " }
                        strong { (event.what) } ", " (number::span(event))
                    }
                    "."
                }
            }
        }
    }
}

/// The same for all of the small charts.
#[derive(Debug)]
struct Axes {
    scale: LogScale,
    seconds: f64,
}

/// The lines behind: drawn once, and shown again by name.
#[derive(Debug, Clone, Copy)]
enum Others<'a> {
    Drawn(&'a [&'a Entry<'a>]),
    Again,
}

fn drawing(entry: &Entry, others: Others, axes: &Axes, events: &[&Event]) -> Markup {
    let line = |entry: &Entry, time: fn(&Slice) -> f64| {
        let points = entry.measured.over_time.iter().map(|slice| {
            let us = has_place(slice).then(|| number::known(time(slice)))??;
            Some((FRAME.x(slice.at_s / axes.seconds), FRAME.y(axes.scale.at(us))))
        });
        path(points)
    };
    let ticks = linear_ticks(axes.seconds, 6).into_iter();
    html! {
        @for event in events { (shade(event, axes)) }
        (FRAME.times_up(&axes.scale, 5))
        (FRAME.marks_below(ticks.map(|s| (s / axes.seconds, number::seconds(s)))))
        (FRAME.base_line())
        @match others {
            Others::Drawn(all) => {
                g id="all-p99" { @for other in all { path class="other" d=(line(other, |slice| slice.p99_us)) {} } }
            }
            Others::Again => { use href="#all-p99" {} }
        }
        g class=(entry.look()) {
            path class="p50" d=(line(entry, |slice| slice.p50_us)) {}
            path class="p99" d=(line(entry, |slice| slice.p99_us)) {}
        }
    }
}

fn shade(event: &Event, axes: &Axes) -> Markup {
    let [from, to] = [event.from_s, event.to_s].map(|s| FRAME.x((s / axes.seconds).clamp(0.0, 1.0)));
    html! {
        rect class="event" x=(px(from)) width=(px(to - from)) y=(px(FRAME.top)) height=(px(FRAME.bottom - FRAME.top)) {
            title { (event.what) ", " (number::span(event)) }
        }
    }
}

/// Those that have something to show.
fn slices<'a>(entry: &Entry<'a>) -> impl Iterator<Item = &'a Slice> + use<'a> {
    let all = entry.measured.over_time.iter();
    all.filter(|slice| has_place(slice) && number::known(slice.p99_us).is_some())
}

fn has_place(slice: &Slice) -> bool {
    slice.count > 0 && slice.at_s.is_finite() && slice.at_s >= 0.0
}

const FRAME: Frame = Frame {
    shown: Shown::Always,
    width: 360.0,
    height: 190.0,
    left: 54.0,
    right: 341.0,
    top: 8.0,
    bottom: 164.0,
};
