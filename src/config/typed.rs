//! A configuration as typed: tables, keys and values with their places, before anything is known about what they mean.
//!
//! The file and the flags both become this tree, so that one reader judges both.

use std::borrow::Cow;
use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::errors::Place;

/// A table: its entries by key.
pub(super) type Table<'t> = BTreeMap<Cow<'t, str>, Entry<'t>>;

/// A key with its value.
#[derive(Debug)]
pub(super) struct Entry<'t> {
    /// Where the key stands.
    pub(super) key_place: Place,
    pub(super) node: Node<'t>,
}

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Node<'t> {
    pub(super) place: Place,
    /// As it stands in the source, quotes and all.
    pub(super) typed: &'t str,
    pub(super) value: Value<'t>,
}

/// What a value is before anything is known about what it means.
#[derive(Debug)]
pub(super) enum Value<'t> {
    /// In quotes.
    Text(Cow<'t, str>),
    /// From a flag or a default, which know no quotes: may turn out to be a number, a switch or a text.
    Word(&'t str),
    /// Numbers out of the range of `i128` are its ends: no bound is near them.
    Integer(i128),
    Float,
    Boolean(bool),
    Datetime,
    List(Vec<Node<'t>>),
    Table(Table<'t>),
}

impl Value<'_> {
    /// With its article, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Word(_) => "a text",
            Self::Integer(_) => "a number",
            Self::Float => "a number with a fraction",
            Self::Boolean(_) => "a switch",
            Self::Datetime => "a date",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// The source text and where its lines begin.
pub(super) struct Source<'t> {
    text: &'t str,
    /// The offset of the first byte of each line but the first.
    line_starts: Vec<usize>,
}

impl<'t> Source<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let line_starts =
            text.bytes().enumerate().filter(|&(_, b)| b == b'\n').map(|(at, _)| at + 1).collect();
        Self { text, line_starts }
    }

    /// The number of the line with the byte at `offset`, from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|&start| start <= offset) + 1
    }

    /// The text of a line, counted from 1, with its end.
    pub(super) fn line_text(&self, line: usize) -> &'t str {
        let start = line.checked_sub(2).map_or(Some(0), |before| self.line_starts.get(before).copied());
        let end = self.line_starts.get(line - 1).copied().unwrap_or(self.text.len());
        start.and_then(|start| self.text.get(start..end)).unwrap_or_default()
    }

    pub(super) fn table(&self, table: DeTable<'t>) -> Table<'t> {
        table.into_iter().map(|(key, value)| self.entry(key, value)).collect()
    }

    fn entry(&self, key: Spanned<Cow<'t, str>>, value: Spanned<DeValue<'t>>) -> (Cow<'t, str>, Entry<'t>) {
        let key_place = self.place(key.span().start);
        (key.into_inner(), Entry { key_place, node: self.node(value) })
    }

    /// The parser bounds how deep values nest, so this recursion is bounded too.
    fn node(&self, value: Spanned<DeValue<'t>>) -> Node<'t> {
        let span = value.span();
        let value = match value.into_inner() {
            DeValue::String(text) => Value::Text(text),
            DeValue::Integer(number) => Value::Integer(integer(number.as_str(), number.radix())),
            DeValue::Float(_) => Value::Float,
            DeValue::Boolean(on) => Value::Boolean(on),
            DeValue::Datetime(_) => Value::Datetime,
            DeValue::Array(items) => Value::List(items.into_iter().map(|item| self.node(item)).collect()),
            DeValue::Table(table) => Value::Table(self.table(table)),
        };
        let place = self.place(span.start);
        Node { place, typed: self.text.get(span).unwrap_or_default(), value }
    }

    fn place(&self, offset: usize) -> Place {
        Place::Line(self.line(offset))
    }
}

fn integer(digits: &str, radix: u32) -> i128 {
    let beyond = if digits.starts_with('-') { i128::MIN } else { i128::MAX };
    i128::from_str_radix(digits, radix).unwrap_or(beyond)
}

impl<'t> Node<'t> {
    /// A value that has no quotes: from a flag, or a default.
    pub(super) fn word(place: Place, word: &'t str) -> Self {
        Self { place, typed: word, value: Value::Word(word) }
    }

    /// The text, quoted or not.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            Value::Word(word) => Some(word),
            _ => None,
        }
    }

    /// As typed, on one line and not too long.
    pub(super) fn shown(&self) -> String {
        match &self.value {
            // The header, or an inline table that may be long.
            Value::Table(_) if !self.typed.starts_with('[') => "this".to_owned(),
            _ => shown(self.typed),
        }
    }
}

const SHOWN_CHARS_MAX: usize = 60;

/// On one line, without control characters, and not too long.
pub(super) fn shown(typed: &str) -> String {
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut text: String = typed.chars().take(SHOWN_CHARS_MAX).map(clean).collect();
    if typed.chars().nth(SHOWN_CHARS_MAX).is_some() {
        text.push('…');
        // A text that is cut is a text all the same.
        let quote = typed.chars().next().filter(|quote| matches!(quote, '"' | '\''));
        text.extend(quote.filter(|quote| typed.ends_with(*quote)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_become_lines_from_one() {
        let source = Source::new("ab\ncd\n\nef");
        assert_eq!([0, 2, 3, 5, 6, 7, 9].map(|offset| source.line(offset)), [1, 1, 2, 2, 3, 4, 4]);
        assert_eq!([1, 2, 3, 4].map(|line| source.line_text(line)), ["ab\n", "cd\n", "\n", "ef"]);
        assert_eq!(source.line_text(9), "");
    }

    #[test]
    fn numbers_beyond_any_bound_stay_beyond_it() {
        assert_eq!(integer("99999999999999999999999999999999999999999999", 10), i128::MAX);
        assert_eq!(integer("-99999999999999999999999999999999999999999999", 10), i128::MIN);
        assert_eq!(integer("ff", 16), 255);
    }

    #[test]
    fn a_long_value_is_shown_in_part_and_on_one_line() {
        assert_eq!(shown("a\nb"), "a\u{fffd}b");
        assert_eq!(shown(&"é".repeat(100)), "é".repeat(60) + "…");
        assert_eq!(shown(&format!("\"{}\"", "a".repeat(100))), format!("\"{}…\"", "a".repeat(59)));
    }
}
