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
    /// When it is left out where there is no room even so: the highest first, 0 never.
    pub(super) rank: u8,
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
    Column { heading, side: Side::Left, least: Some(least), rank: 0 }
}

/// Words that are cut only once every column that may go has gone.
pub(super) const fn whole(heading: &'static str) -> Column {
    words(heading, usize::MAX)
}

/// Words that are short.
pub(super) const fn word(heading: &'static str) -> Column {
    Column { heading, side: Side::Left, least: None, rank: 0 }
}

/// Numbers.
pub(super) const fn number(heading: &'static str) -> Column {
    Column { heading, side: Side::Right, least: None, rank: 0 }
}

impl Column {
    /// Left out in this turn.
    pub(super) const fn rank(self, rank: u8) -> Column {
        Column { rank, ..self }
    }

    fn least_width(&self) -> Option<usize> {
        self.least.map(|least| least.max(self.heading.width()))
    }
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
    let fit = fit(columns, rows, look.width);
    let headings: Vec<Cell> = columns.iter().map(|column| Cell::new(column.heading, Tone::Quiet)).collect();
    let mut text = line(columns, &headings, &fit, look);
    for row in rows {
        text += &line(columns, row, &fit, look);
    }
    text
}

/// The columns that there is room for, by their place, each with its width.
///
/// As wide as the widest cell. Where that is too wide together, words give way down to their least width, the widest first;
/// then columns go by their rank; and when only those are left that have to stay, words give way again.
pub(super) fn fit(columns: &[Column], rows: &[Vec<Cell>], room: Option<usize>) -> Vec<(usize, usize)> {
    let mut kept: Vec<(usize, usize)> =
        columns.iter().map(|column| column.heading.width()).enumerate().collect();
    for row in rows {
        for ((_, width), cell) in kept.iter_mut().zip(row) {
            *width = (*width).max(cell.text.width());
        }
    }
    let Some(room) = room else { return kept };
    let wanted = kept.clone();
    loop {
        squeeze(&mut kept, room, |place| columns[place].least_width());
        let first_to_go = kept.iter().map(|&(place, _)| place).max_by_key(|&place| columns[place].rank);
        match first_to_go.filter(|&place| excess(&kept, room) > 0 && columns[place].rank > 0) {
            // What goes leaves room for others, which begin anew.
            Some(gone) => {
                let stays =
                    |&(place, _): &(usize, usize)| place != gone && kept.iter().any(|&(one, _)| one == place);
                kept = wanted.iter().copied().filter(stays).collect();
            }
            None => break,
        }
    }
    squeeze(&mut kept, room, |place| columns[place].least.map(|_| columns[place].heading.width()));
    kept
}

/// So much too wide.
fn excess(kept: &[(usize, usize)], room: usize) -> usize {
    let gaps = GAP * kept.len().saturating_sub(1);
    (kept.iter().map(|(_, width)| width).sum::<usize>() + gaps).saturating_sub(room)
}

fn squeeze(kept: &mut [(usize, usize)], room: usize, least: impl Fn(usize) -> Option<usize>) {
    for _ in 0..excess(kept, room) {
        let can_give =
            |(place, width): &&mut (usize, usize)| least(*place).is_some_and(|least| *width > least);
        match kept.iter_mut().filter(can_give).max_by_key(|(_, width)| *width) {
            Some((_, width)) => *width -= 1,
            None => return,
        }
    }
}

fn line(columns: &[Column], cells: &[Cell], fit: &[(usize, usize)], look: Look) -> String {
    let mut line = String::new();
    let mut owed = 0;
    for &(place, width) in fit {
        let (column, cell) = (&columns[place], &cells[place]);
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

/// So much of a text as there is room for. The middle goes, because names differ at their ends; of the name of a host the end
/// does, because it differs before its first dot, and of a sentence too. Of POOL/BACKEND the pool gives way first.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    if let Some((pool, backend)) = text.split_once('/').filter(|_| !text.contains(' ')) {
        match width.checked_sub(backend.width() + 1) {
            _ if pool.is_empty() => {}
            None => return cut(backend, width),
            Some(0) => return format!("{CUT}{backend}"),
            Some(room) => return format!("{}/{backend}", cut(pool, room)),
        }
    }
    let room = width.saturating_sub(1);
    let is_host = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && !text.contains(' ')
        && text.find('.').is_some_and(|dot| dot <= room);
    let tail_max = if is_host || text.contains(' ') { 0 } else { room / 3 };
    let tail: String = {
        let mut taken = 0;
        let last: Vec<char> = text
            .chars()
            .rev()
            .take_while(|c| {
                taken += c.width().unwrap_or(0);
                taken <= tail_max
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
    fn where_there_is_no_room_the_longest_words_are_cut() {
        let rows = [row("a-backend-with-a-long-name-1", 1, "the connection was refused by it")];
        let shown = table(&COLUMNS, &rows, Look { colour: false, width: Some(40) });
        let expected = "\
NAME              COUNT  WHY
a-backend-…ame-1      1  the connection…
";
        assert_eq!(shown, expected);
        assert!(shown.lines().all(|line| line.chars().count() <= 40));
        // Numbers are never cut; what is left has its least width.
        let narrow = table(&COLUMNS, &rows, Look { colour: false, width: Some(5) });
        assert_eq!(narrow, "NAME  COUNT  WHY\na-…1      1  th…\n");
    }

    #[test]
    fn columns_go_by_their_rank_and_what_goes_leaves_room() {
        let columns = [words("NAME", 6), number("COUNT").rank(1), words("WHY", 10).rank(2)];
        let rows = [row("a-backend-with-a-long-name-1", 1, "the connection was refused by it")];
        let places = |room| fit(&columns, &rows, Some(room));
        assert_eq!(places(100), [(0, 28), (1, 5), (2, 32)]);
        assert_eq!(places(25), [(0, 6), (1, 5), (2, 10)]);
        assert_eq!(places(24), [(0, 17), (1, 5)]);
        assert_eq!(places(12), [(0, 12)]);
        assert_eq!(places(1), [(0, 4)]);
    }

    #[test]
    fn what_is_to_be_read_whole_stays_so_until_nothing_more_can_go() {
        let columns = [words("NAME", 6), number("COUNT").rank(1), whole("WHY")];
        let rows = [row("a-backend-1", 1, "refused by the other end")];
        assert_eq!(fit(&columns, &rows, Some(40)), [(0, 7), (1, 5), (2, 24)]);
        assert_eq!(fit(&columns, &rows, Some(36)), [(0, 10), (2, 24)]);
        assert_eq!(fit(&columns, &rows, Some(20)), [(0, 6), (2, 12)]);
    }

    #[test]
    fn of_a_pool_and_its_backend_the_pool_gives_way() {
        let text = "a-pool-with-a-long-name/127.0.0.1:8080";
        assert_eq!(cut(text, 30), "a-pool-wit…name/127.0.0.1:8080");
        assert_eq!(cut(text, 16), "…/127.0.0.1:8080");
        assert_eq!(cut(text, 15), "…127.0.0.1:8080");
        assert_eq!(cut(text, 14), "127.0.0.1:8080");
        assert_eq!(cut(text, 10), "127.0.…080");
        assert_eq!(cut("/run/ringway/app.sock", 10), "/run/r…ock");
    }

    #[test]
    fn a_host_is_known_by_its_first_part() {
        assert_eq!(cut("postgres-replica-17.eu-central-1.example", 24), "postgres-replica-17.eu-…");
        assert_eq!(cut("10.0.0.17:8080", 10), "10.0.0…080");
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
