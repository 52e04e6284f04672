//! What every chart is made of: a frame, axes, lines, and text that is cut and put where it has room.

use maud::{Markup, html};

use super::{number, scale::LogScale};

/// A drawing and where its axes are, in the units of its text: pixels, if it is shown as large as it was drawn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) shown: Shown,
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
}

/// On which pages the style sheet shows a drawing. Some are made twice: text that is made small with all the rest of a
/// drawing cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    Wide,
    Narrow,
    Always,
}

impl Frame {
    pub(super) fn is_wide(&self) -> bool {
        self.shown == Shown::Wide
    }

    pub(super) fn x(&self, part: f64) -> f64 {
        self.left + (self.right - self.left) * part
    }

    /// From the bottom up.
    pub(super) fn y(&self, part: f64) -> f64 {
        self.bottom - (self.bottom - self.top) * part
    }

    pub(super) fn svg(&self, label: &str, content: Markup) -> Markup {
        let size = format!("0 0 {} {}", self.width, self.height);
        let class = match self.shown {
            Shown::Wide => "chart wide",
            Shown::Narrow => "chart narrow",
            Shown::Always => "chart",
        };
        html! { svg class=(class) viewBox=(size) role="img" aria-label=(label) { (content) } }
    }

    /// Lines across, with the times they stand for.
    pub(super) fn times_up(&self, scale: &LogScale, most: usize) -> Markup {
        html! {
            @for time in scale.ticks(most) {
                @let y = px(self.y(scale.at(time)));
                line class="grid" x1=(px(self.left)) x2=(px(self.right)) y1=(y) y2=(y) {}
                text class="tick end" x=(px(self.left - 7.0)) y=(y) dy="0.33em" { (number::tick(time)) }
            }
        }
    }

    /// Lines up, with what each stands for where there is room for the text. From left to right.
    pub(super) fn marks_below(&self, marks: impl IntoIterator<Item = (f64, String)>) -> Markup {
        let mut free_from = 0.0;
        let marks: Vec<_> = marks
            .into_iter()
            .map(|(part, text)| {
                let x = self.x(part);
                let half = text_width(&text) / 2.0;
                let has_room = x - half >= free_from && x + half <= self.width;
                if has_room {
                    free_from = x + half + 4.0;
                }
                (px(x), has_room.then_some(text))
            })
            .collect();
        html! {
            @for (x, text) in marks {
                line class="grid" x1=(x) x2=(x) y1=(px(self.top)) y2=(px(self.bottom)) {}
                @if let Some(text) = text {
                    text class="tick middle" x=(x) y=(px(self.bottom + 17.0)) { (text) }
                }
            }
        }
    }

    pub(super) fn base_line(&self) -> Markup {
        let y = px(self.bottom);
        html! { line class="axis" x1=(px(self.left)) x2=(px(self.right)) y1=(y) y2=(y) {} }
    }
}

/// A line through points, broken where there is none.
pub(super) fn path(points: impl IntoIterator<Item = Option<(f64, f64)>>) -> String {
    let mut path = String::new();
    // How many points the piece has that is being drawn.
    let mut drawn = 0;
    for point in points {
        match point {
            Some((x, y)) => {
                path += &format!("{}{x:.1} {y:.1}", if drawn == 0 { "M" } else { "L" });
                drawn += 1;
            }
            None => end_piece(&mut path, &mut drawn),
        }
    }
    end_piece(&mut path, &mut drawn);
    path
}

/// A single point is only seen as a line of its own, with its round ends.
fn end_piece(path: &mut String, drawn: &mut usize) {
    if *drawn == 1 {
        path.push_str("h0.1");
    }
    *drawn = 0;
}

/// Places as near as can be to where they are wanted, each so far from the next, between two bounds. In their order.
pub(super) fn apart(wanted: &[f64], gap: f64, low: f64, high: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|&a, &b| wanted[a].total_cmp(&wanted[b]));
    let mut places = wanted.to_vec();
    let mut least = low;
    for &index in &order {
        places[index] = places[index].max(least);
        least = places[index] + gap;
    }
    let mut most = high;
    for &index in order.iter().rev() {
        places[index] = places[index].min(most);
        most = places[index] - gap;
    }
    places
}

/// As much of a text as has room in so many pixels.
pub(super) fn fit(text: &str, room: f64) -> String {
    if text_width(text) <= room {
        return text.to_owned();
    }
    let mut width = text_width("…");
    let kept = text.chars().take_while(|&c| {
        width += char_width(c);
        width <= room
    });
    kept.chain(['…']).collect()
}

/// About how wide a text is: nobody knows what font the reader has.
pub(super) fn text_width(text: &str) -> f64 {
    text.chars().map(char_width).sum()
}

fn char_width(c: char) -> f64 {
    match c {
        'i' | 'j' | 'l' | '.' | ',' | '|' | '\'' | '-' => 4.6,
        'm' | 'w' | 'M' | 'W' | '%' | '@' => 13.0,
        // Scripts whose letters are squares.
        c if c >= '\u{1100}' => 14.0,
        c if c.is_uppercase() => 9.2,
        _ => 7.4,
    }
}

/// A tenth of a pixel is more than anybody sees.
pub(super) fn px(pixels: f64) -> String {
    format!("{pixels:.1}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_broken_where_a_point_is_missing_and_a_lone_point_is_seen() {
        let points = [Some((0.0, 1.0)), Some((1.0, 2.0)), None, None, Some((3.0, 4.0)), None];
        assert_eq!(path(points), "M0.0 1.0L1.0 2.0M3.0 4.0h0.1");
        assert_eq!(path([None]), "");
    }

    #[test]
    fn labels_keep_their_order_and_distance() {
        assert_eq!(apart(&[50.0, 10.0, 52.0], 10.0, 0.0, 100.0), [50.0, 10.0, 60.0]);
        assert_eq!(apart(&[99.0, 98.0, 97.0], 10.0, 0.0, 100.0), [100.0, 90.0, 80.0]);
        assert_eq!(apart(&[-5.0, 1.0], 10.0, 0.0, 100.0), [0.0, 10.0]);
    }

    #[test]
    fn a_long_name_is_cut() {
        assert_eq!(fit("random", 80.0), "random");
        let cut = fit(&"very-long-".repeat(9), 100.0);
        assert!(cut.ends_with('…') && cut.starts_with("very-long") && text_width(&cut) <= 110.0, "{cut}");
    }
}
