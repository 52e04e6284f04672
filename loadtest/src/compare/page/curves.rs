//! The chart of all percentiles: how long a session takes, from the fastest to the slowest, a line for each algorithm.

use std::f64::consts::LOG10_2;

use maud::{Markup, PreEscaped, html};

use super::{
    drawing::{Frame, Shown, apart, fit, path, px},
    entry::Entry,
    number,
    scale::LogScale,
};

pub(super) fn figure(entries: &[Entry]) -> Markup {
    let lines: Vec<Line> = entries.iter().filter_map(Line::of).collect();
    let points = || lines.iter().flat_map(|line| &line.points);
    let Some(scale) = LogScale::over(points().map(|point| point.1)) else { return html! {} };
    let nines = points().map(|point| point.0).fold(NINES_LEAST, f64::max);
    html! {
        figure id="percentiles" {
            h2 { "All percentiles of a session" }
            ul.legend { @for line in &lines { li { (line.entry.label()) } } }
            @for frame in [WIDE, NARROW] { (frame.svg(LABEL, drawing(&lines, &scale, nines, &frame))) }
            figcaption {
                "Across: the share of sessions (%) that took no longer, stretched so that each further 9 has the same "
                "room: the right end is the slowest session. Up: their time, logarithmic, in µs, ms or s. Lower is "
                "better; a line that rises late has few slow sessions."
            }
        }
    }
}

/// The chart by itself, as a file. Without an answer there is none.
pub(super) fn picture(entries: &[Entry], style: &str) -> Option<Markup> {
    let lines: Vec<Line> = entries.iter().filter_map(Line::of).collect();
    let points = || lines.iter().flat_map(|line| &line.points);
    let scale = LogScale::over(points().map(|point| point.1))?;
    let nines = points().map(|point| point.0).fold(NINES_LEAST, f64::max);
    let size = format!("0 0 {} {}", WIDE.width, WIDE.height);
    Some(html! {
        svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox=(size) role="img" aria-label=(LABEL) {
            style { (PreEscaped(style)) }
            rect class="paper" width="100%" height="100%" {}
            (drawing(&lines, &scale, nines, &WIDE))
        }
    })
}

/// What is drawn of one algorithm.
#[derive(Debug)]
struct Line<'a> {
    entry: &'a Entry<'a>,
    /// How many nines the percentile has, and the time.
    points: Vec<(f64, f64)>,
}

impl<'a> Line<'a> {
    fn of(entry: &'a Entry<'a>) -> Option<Self> {
        let count = entry.measured.session.count;
        if count == 0 {
            return None;
        }
        // Of a thousand sessions the slowest is one in a thousand: 100 % would be endlessly far to the right.
        let most = (count as f64).log10().clamp(NINES_LEAST, NINES_MOST);
        let points = entry.measured.curve.iter().filter(|point| (0.0..=100.0).contains(&point.percentile));
        let points = points.filter_map(|point| {
            let nines = -(1.0 - point.percentile / 100.0).log10();
            Some((nines.clamp(0.0, most), number::known(point.us)?))
        });
        let points: Vec<_> = points.collect();
        (!points.is_empty()).then_some(Self { entry, points })
    }
}

fn drawing(lines: &[Line], scale: &LogScale, nines: f64, frame: &Frame) -> Markup {
    let place = |(at, us): (f64, f64)| (frame.x(at / nines), frame.y(scale.at(us)));
    let marks = MARKS.iter().filter(|(at, _)| *at <= nines);
    html! {
        (frame.times_up(scale, if frame.is_wide() { 9 } else { 7 }))
        (frame.marks_below(marks.map(|&(at, text)| (at / nines, text.to_owned()))))
        (frame.base_line())
        text class="axis-title" x="2" y="13" { "time of a session (logarithmic)" }
        text class="axis-title middle" x=(px(frame.x(0.5))) y=(px(frame.bottom + 40.0)) { "sessions that took no longer (%)" }
        // The best one is drawn last, above the others.
        @for line in lines.iter().rev() {
            path class={ "line " (line.entry.look()) } d=(path(line.points.iter().map(|&point| Some(place(point))))) {
                title { (line.entry.name()) }
            }
        }
        @if frame.is_wide() { (names(lines, frame, place)) }
    }
}

/// At the right, each beside the end of its line.
fn names(lines: &[Line], frame: &Frame, place: impl Fn((f64, f64)) -> (f64, f64)) -> Markup {
    let ends: Vec<(f64, f64)> = lines.iter().map(|line| place(line.points[line.points.len() - 1])).collect();
    let wanted: Vec<f64> = ends.iter().map(|end| end.1).collect();
    let (top, bottom) = (frame.top, frame.bottom);
    // With more names than there is room for they overlap; the legend has them all.
    let gap = (bottom - top) / lines.len() as f64;
    let places = apart(&wanted, gap.min(18.0), top, bottom);
    html! {
        @for ((line, end), y) in lines.iter().zip(&ends).zip(places) {
            @let x = frame.right + 6.0;
            path class={ "leader " (line.entry.look()) } d=(path([
                Some(*end), Some((x, end.1)), Some((x + 16.0, y)), Some((x + 22.0, y)),
            ])) {}
            text class="name" x=(px(x + 27.0)) y=(px(y)) dy="0.33em" { (fit(line.entry.name(), frame.width - x - 30.0)) }
        }
    }
}

const LABEL: &str = "Time of a session by percentile, a line for each algorithm";
const WIDE: Frame = Frame {
    shown: Shown::Wide,
    width: 1040.0,
    height: 470.0,
    left: 62.0,
    right: 830.0,
    top: 30.0,
    bottom: 420.0,
};
const NARROW: Frame = Frame {
    shown: Shown::Narrow,
    width: 400.0,
    height: 360.0,
    left: 56.0,
    right: 386.0,
    top: 30.0,
    bottom: 310.0,
};
/// Percentiles that are written below, by their nines.
const MARKS: [(f64, &str); 8] = [
    (0.0, "0\u{a0}%"),
    (LOG10_2, "50\u{a0}%"),
    (1.0, "90\u{a0}%"),
    (2.0, "99\u{a0}%"),
    (3.0, "99.9\u{a0}%"),
    (4.0, "99.99\u{a0}%"),
    (5.0, "99.999\u{a0}%"),
    (6.0, "99.9999\u{a0}%"),
];
/// So that 99 % is always on the axis.
const NINES_LEAST: f64 = 2.0;
const NINES_MOST: f64 = 6.3;
