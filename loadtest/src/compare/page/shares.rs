//! The chart of shares: which part of the sessions each backend served, a bar for each algorithm.

use maud::{Markup, html};

use super::{
    drawing::{Frame, Shown, fit, px, text_width},
    entry::Entry,
    number,
};

pub(super) fn figure(entries: &[Entry], backends: &[String]) -> Markup {
    let longest = entries.iter().map(|entry| text_width(entry.name())).fold(0.0, f64::max);
    let rows = entries.len() as f64;
    let left = (longest + 20.0).clamp(90.0, 230.0);
    let (high, narrow_high) = (34.0 * rows + 8.0, 52.0 * rows + 8.0);
    let wide = Frame {
        shown: Shown::Wide,
        width: 1040.0,
        height: high.max(160.0),
        left,
        right: 1030.0,
        top: 0.0,
        bottom: high,
    };
    let narrow = Frame {
        shown: Shown::Narrow,
        width: 400.0,
        height: narrow_high.max(160.0),
        left: 4.0,
        right: 396.0,
        top: 0.0,
        bottom: narrow_high,
    };
    html! {
        figure id="shares" {
            h2 { "Share of each backend" }
            ul.legend {
                @for (index, name) in backends.iter().enumerate() {
                    li { span.label {
                        svg class="swatch" viewBox="0 0 30 10" aria-hidden="true" {
                            rect width="30" height="10" rx="2" fill=(Shade::of(index, backends.len()).fill) {}
                        }
                        span.name { (name) }
                    } }
                }
            }
            @for frame in [&wide, &narrow] {
                (frame.svg("Share of the sessions that each backend served, a bar for each algorithm", drawing(entries, backends, frame)))
            }
            (table(entries, backends))
            figcaption {
                "Each bar is all sessions (100 %) with that algorithm, cut into what each backend served, in the order of "
                "the names above. Equal parts mean an even spread; a short part is a backend that was spared."
            }
        }
    }
}

fn drawing(entries: &[Entry], backends: &[String], frame: &Frame) -> Markup {
    let row_height = (frame.bottom - 8.0) / entries.len().max(1) as f64;
    let bar_height = 24.0;
    html! {
        @for (row, entry) in entries.iter().enumerate() {
            @let top = 4.0 + row_height * row as f64;
            @let bar = if frame.is_wide() { top + 5.0 } else { top + 22.0 };
            @if frame.is_wide() {
                text class="name end" x=(px(frame.left - 12.0)) y=(px(bar + bar_height / 2.0)) dy="0.33em" {
                    (fit(entry.name(), frame.left - 16.0))
                }
            } @else {
                text class="name" x=(px(frame.left)) y=(px(top + 11.0)) dy="0.33em" {
                    (fit(entry.name(), frame.right - frame.left))
                }
            }
            @for part in parts(&entry.measured.shares) {
                @let shade = Shade::of(part.backend, backends.len());
                @let (from, to) = (frame.x(part.from), frame.x(part.to));
                // A gap of a pixel between them: neighbours are of like colours.
                rect class="share" x=(px(from)) width=(px((to - from - 1.5).max(0.7))) y=(px(bar)) height=(px(bar_height)) rx="2"
                    fill=(shade.fill) {
                    title { (name(backends, part.backend)) ": " (number::percent(part.share)) }
                }
                @let text = number::percent(part.share);
                @if to - from > text_width(&text) + 8.0 {
                    text class="in-bar middle" x=(px((from + to) / 2.0)) y=(px(bar + bar_height / 2.0)) dy="0.33em" fill=(shade.ink) {
                        (text)
                    }
                }
            }
            @if parts(&entry.measured.shares).is_empty() {
                text class="value" x=(px(frame.left)) y=(px(bar + bar_height / 2.0)) dy="0.33em" { "no session served" }
            }
        }
    }
}

fn table(entries: &[Entry], backends: &[String]) -> Markup {
    html! {
        div.scroll {
            table {
                thead { tr { th { "algorithm" } @for backend in backends { th.number { (backend) } } } }
                tbody {
                    @for entry in entries {
                        tr {
                            th scope="row" { (entry.label()) }
                            @for index in 0..backends.len() {
                                td.number {
                                    (number::percent(entry.measured.shares.get(index).copied().unwrap_or(f64::NAN)))
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A piece of a bar, which goes from 0 to 1.
#[derive(Debug, PartialEq)]
struct Part {
    backend: usize,
    share: f64,
    from: f64,
    to: f64,
}

/// Those of the backends that served something.
fn parts(shares: &[f64]) -> Vec<Part> {
    let served = || shares.iter().copied().enumerate().filter(|(_, share)| share.is_finite() && *share > 0.0);
    let whole = served().map(|(_, share)| share).sum::<f64>().max(1.0);
    let mut from = 0.0;
    served()
        .map(|(backend, share)| {
            let to = from + share / whole;
            Part { backend, share, from: std::mem::replace(&mut from, to), to }
        })
        .collect()
}

fn name(backends: &[String], index: usize) -> &str {
    backends.get(index).map_or("unknown backend", String::as_str)
}

/// A backend's colour: one hue from dark to light, so that the order can be seen without the hue.
#[derive(Debug)]
struct Shade {
    fill: String,
    /// Of the text on it.
    ink: &'static str,
}

impl Shade {
    fn of(index: usize, count: usize) -> Self {
        let part = index as f64 / count.saturating_sub(1).max(1) as f64;
        let mix = |from: f64, to: f64| (from + (to - from) * part.min(1.0)).round();
        let fill = format!("rgb({} {} {})", mix(38.0, 190.0), mix(90.0, 218.0), mix(150.0, 240.0));
        // Where black and white have the same contrast.
        Self { fill, ink: if part < 0.235 { "#fff" } else { "#000" } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_has_no_part_for_who_served_nothing_and_is_never_longer_than_all() {
        let found = parts(&[0.5, 0.0, f64::NAN, 0.25]);
        assert_eq!(found[0], Part { backend: 0, share: 0.5, from: 0.0, to: 0.5 });
        assert_eq!(found[1], Part { backend: 3, share: 0.25, from: 0.5, to: 0.75 });
        assert_eq!(parts(&[1.5, 0.5])[1].to, 1.0);
        assert!(parts(&[]).is_empty());
    }
}
