//! Columns: rows of cells as text, a line for each.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::form::{Look, Tone, harmless};

/// What stands where a name was cut.
const CUT: char = '…';
/// Between two columns.
const GAP: usize = 2;

/// A column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    /// What stands above it.
    pub(super) heading: &'static str,
    /// Where its cells stand.
    pub(super) side: Side,
    /// How narrow it may be made where there is no room; `None` for what has to be read whole.
    pub(super) least: Option<usize>,
}

/// Where a cell stands in its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A cell.
#[derive(Debug, Clone, Default)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) tone: Tone,
}

/// Words that may be cut to this width.
pub(super) const fn words(heading: &'static str, least: usize) -> Column {
    Column { heading, side: Side::Left, least: Some(least) }
}

/// Words that are short.
pub(super) const fn word(heading: &'static str) -> Column {
    Column { heading, side: Side::Left, least: None }
}

/// Numbers.
pub(super) const fn number(heading: &'static str) -> Column {
    Column { heading, side: Side::Right, least: None }
}

impl Cell {
    /// With nothing to say about it.
    pub(super) fn plain(text: impl ToString) -> Cell {
        Cell::new(text, Tone::Plain)
    }

    /// In this tone.
    pub(super) fn new(text: impl ToString, tone: Tone) -> Cell {
        Cell { text: harmless(&text.to_string()), tone }
    }
}

/// The rows below their headings. Numbers to the right, words to the left, nothing behind the last column.
pub(super) fn table(columns: &[Column], rows: &[Vec<Cell>], look: Look) -> String {
    let widths = widths(columns, rows, look.width);
    let headings: Vec<Cell> = columns.iter().map(|column| Cell::new(column.heading, Tone::Quiet)).collect();
    let mut text = line(columns, &headings, &widths, look);
    for row in rows {
        text += &line(columns, row, &widths, look);
    }
    text
}

/// As wide as the widest cell; where that is too wide together, the widest of those that may be cut give way.
pub(super) fn widths(columns: &[Column], rows: &[Vec<Cell>], room: Option<usize>) -> Vec<usize> {
    let mut widths: Vec<usize> = columns.iter().map(|column| column.heading.width()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.text.width());
        }
    }
    let Some(room) = room else { return widths };
    let gaps = GAP * columns.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > room {
        let least = |column: &Column| column.least.map(|least| least.max(column.heading.width()));
        let can_give = |&index: &usize| least(&columns[index]).is_some_and(|least| widths[index] > least);
        let Some(widest) = (0..columns.len()).filter(can_give).max_by_key(|&index| widths[index]) else {
            break;
        };
        widths[widest] -= 1;
    }
    widths
}

fn line(columns: &[Column], cells: &[Cell], widths: &[usize], look: Look) -> String {
    let mut line = String::new();
    let mut owed = 0;
    for ((column, cell), &width) in columns.iter().zip(cells).zip(widths) {
        let text = cut(&cell.text, width);
        let spare = width - text.width().min(width);
        let before = owed + if column.side == Side::Right { spare } else { 0 };
        if !text.is_empty() {
            line.extend(std::iter::repeat_n(' ', before));
            line += &cell.tone.paint(&text, look);
            owed = 0;
        } else {
            owed = before;
        }
        owed += GAP + if column.side == Side::Left { spare } else { 0 };
    }
    line.push('\n');
    line
}

/// So much of a text as there is room for. The middle goes: names differ at their ends.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let room = width.saturating_sub(1);
    let tail: String = {
        let mut taken = 0;
        let last: Vec<char> = text
            .chars()
            .rev()
            .take_while(|c| {
                taken += c.width().unwrap_or(0);
                taken <= room / 3
            })
            .collect();
        last.into_iter().rev().collect()
    };
    let mut taken = tail.width();
    let head: String = text
        .chars()
        .take_while(|c| {
            taken += c.width().unwrap_or(0);
            taken <= room
        })
        .collect();
    format!("{head}{CUT}{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] = [words("NAME", 6), number("COUNT"), words("WHY", 5)];

    fn row(name: &str, count: u32, why: &str) -> Vec<Cell> {
        vec![Cell::plain(name), Cell::plain(count), Cell::new(why, Tone::Bad)]
    }

    #[test]
    fn numbers_stand_to_the_right_and_nothing_behind_the_last_word() {
        let rows = [row("a", 7, ""), row("longer", 12_345, "refused")];
        let expected = "\
NAME    COUNT  WHY
a           7
longer  12345  refused
";
        assert_eq!(table(&COLUMNS, &rows, Look::default()), expected);
    }

    #[test]
    fn where_there_is_no_room_the_longest_words_are_cut_in_the_middle() {
        let rows = [row("a-backend-with-a-long-name-1", 1, "the connection was refused by it")];
        let shown = table(&COLUMNS, &rows, Look { colour: false, width: Some(40) });
        let expected = "\
NAME              COUNT  WHY
a-backend…name-1      1  the connec…by it
";
        assert_eq!(shown, expected);
        // Numbers are never cut; what is left has its least width.
        let narrow = table(&COLUMNS, &rows, Look { colour: false, width: Some(5) });
        assert_eq!(narrow, "NAME    COUNT  WHY\na-ba…1      1  the…t\n");
    }

    #[test]
    fn a_wide_character_takes_two_columns() {
        let rows = [row("日本", 1, ""), row("abcd", 2, "")];
        let shown = table(&COLUMNS, &rows, Look::default());
        assert_eq!(shown, "NAME  COUNT  WHY\n日本      1\nabcd      2\n");
        assert_eq!(cut("日本語の名前", 7), "日本…前");
    }

    #[test]
    fn a_colour_takes_no_room() {
        let shown = table(&COLUMNS, &[row("a", 1, "b")], Look { colour: true, width: Some(80) });
        assert!(shown.ends_with("a         1  \x1b[1;31mb\x1b[0m\n"), "{shown:?}");
    }
}
