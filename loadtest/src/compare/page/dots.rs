//! The chart of p99: a dot for each algorithm, with the interval in which it lies and what each repeat gave.

use maud::{Markup, html};

use super::{
    drawing::{Frame, Shown, fit, px, text_width},
    entry::Entry,
    number,
    scale::LogScale,
};

pub(super) fn figure(entries: &[Entry]) -> Markup {
    let times = entries.iter().flat_map(|entry| {
        let (low, high) = entry.interval().unzip();
        entry.p99().into_iter().chain(low).chain(high).chain(repeats(entry))
    });
    let Some(scale) = LogScale::over(times) else { return html! {} };
    let longest = entries.iter().map(|entry| text_width(entry.name())).fold(0.0, f64::max);
    let left = (longest + 20.0).clamp(90.0, 230.0);
    let rows = entries.len() as f64;
    let wide = Frame {
        shown: Shown::Wide,
        width: 1040.0,
        height: 30.0 * rows + 60.0,
        left,
        right: 834.0,
        top: 8.0,
        bottom: 30.0 * rows + 12.0,
    };
    let narrow = Frame {
        shown: Shown::Narrow,
        width: 400.0,
        height: 46.0 * rows + 60.0,
        left: 14.0,
        right: 386.0,
        top: 4.0,
        bottom: 46.0 * rows + 12.0,
    };
    html! {
        figure id="p99" {
            h2 { "p99 of a session" }
            @for frame in [&wide, &narrow] {
                (frame.svg("p99 of a session for each algorithm, with its 95 % interval", drawing(entries, &scale, frame)))
            }
            figcaption {
                "Time in which 99 of 100 sessions were done, on a logarithmic axis in µs, ms or s; further left is better. "
                "The large dot is the geometric mean over the repeats, the bar its 95 % interval, the small dots are the "
                "repeats. Whether two of them differ is what the sentence at the top says."
            }
        }
    }
}

fn drawing(entries: &[Entry], scale: &LogScale, frame: &Frame) -> Markup {
    let height = (frame.bottom - 12.0) / entries.len() as f64;
    let ticks = scale.ticks(if frame.is_wide() { 9 } else { 5 });
    html! {
        (frame.marks_below(ticks.iter().map(|&time| (scale.at(time), number::tick(time)))))
        (frame.base_line())
        text class="axis-title middle" x=(px(frame.x(0.5))) y=(px(frame.bottom + 38.0)) { "p99 of a session (logarithmic)" }
        @for (row, entry) in entries.iter().enumerate() {
            @let top = 6.0 + height * row as f64;
            (row_of(entry, scale, frame, top, height))
        }
    }
}

fn row_of(entry: &Entry, scale: &LogScale, frame: &Frame, top: f64, height: f64) -> Markup {
    let value = match (entry.p99(), entry.interval()) {
        (None, _) => "no session answered".to_owned(),
        (Some(p99), None) => number::time(p99),
        (Some(p99), Some((low, high))) => {
            format!("{} ({})", number::time(p99), number::range(low, high))
        }
    };
    // Beside the row if there is room, else above it.
    let wide = frame.is_wide();
    let (name_y, dot_y) =
        if wide { (top + height / 2.0, top + height / 2.0) } else { (top + 13.0, top + 32.0) };
    html! {
        g class=(entry.look()) {
            @if wide {
                text class="name end" x=(px(frame.left - 12.0)) y=(px(name_y)) dy="0.33em" {
                    (fit(entry.name(), frame.left - 16.0))
                }
                text class="value" x=(px(frame.right + 14.0)) y=(px(name_y)) dy="0.33em" { (value) }
            } @else {
                text class="name" x=(px(frame.left)) y=(px(name_y)) dy="0.33em" {
                    (fit(entry.name(), frame.right - frame.left - 10.0 - text_width(&value)))
                }
                text class="value end" x=(px(frame.right)) y=(px(name_y)) dy="0.33em" { (value) }
            }
            @if let Some((low, high)) = entry.interval() {
                @let y = px(dot_y);
                line class="interval" x1=(px(frame.x(scale.at(low)))) x2=(px(frame.x(scale.at(high)))) y1=(y) y2=(y) {}
            }
            @for repeat in repeats(entry) {
                circle class="repeat" cx=(px(frame.x(scale.at(repeat)))) cy=(px(dot_y)) r="3" {}
            }
            @if let Some(p99) = entry.p99() {
                circle class="dot" cx=(px(frame.x(scale.at(p99)))) cy=(px(dot_y)) r="6" {
                    title { (entry.name()) ": " (number::time(p99)) }
                }
            }
        }
    }
}

fn repeats(entry: &Entry) -> impl Iterator<Item = f64> {
    let answered = entry.measured.repeats.iter().filter(|repeat| repeat.session.count > 0);
    answered.filter_map(|repeat| number::known(repeat.session.p99))
}
