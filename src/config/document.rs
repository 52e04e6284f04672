//! Text to the tree as typed: TOML, with every syntax error in it.

use std::collections::BTreeSet;

use toml::de::{DeTable, Error as TomlError};

use super::errors::{Error, Errors, Place, Reason, Report, Torn};
use super::typed::{Source, Table, shown};

/// The most bytes that are read; 65,535 backends with names fit many times.
pub(super) const FILE_BYTES_MAX: usize = 4 << 20;

/// A text this long is searched for its first syntax error only: it may have one at every byte, and each takes memory.
const RECOVERED_BYTES_MAX: usize = 512 << 10;

/// The bytes of a file as text.
pub(super) fn text<'b>(file_name: &str, bytes: &'b [u8]) -> Result<&'b str, Errors> {
    if bytes.len() > FILE_BYTES_MAX {
        return Err(Errors::of_file(file_name, Place::File, Reason::FileTooLarge(FILE_BYTES_MAX as u64)));
    }
    if let Some(at) = bytes.iter().position(|&byte| byte == 0) {
        return Err(Errors::of_file(file_name, line_at(bytes, at), Reason::NulByte));
    }
    str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        Errors::of_file(file_name, line_at(bytes, at), Reason::NotUtf8(bytes[at]))
    })
}

fn line_at(bytes: &[u8], at: usize) -> Place {
    Place::Line(bytes[..at].iter().filter(|&&byte| byte == b'\n').count() + 1)
}

/// The tree, and a report that holds the syntax errors.
pub(super) fn tree(text: &str) -> (Table<'_>, Report) {
    let source = Source::new(text);
    match DeTable::parse(text) {
        Ok(table) => (source.table(table.into_inner()), Report::default()),
        Err(_) if text.len() <= RECOVERED_BYTES_MAX => {
            let (table, errors) = DeTable::parse_recoverable(text);
            (source.table(table.into_inner()), report(&source, text, &errors))
        }
        Err(first) => (Table::new(), report(&source, text, &[first])),
    }
}

/// One error for each line: what follows the first on a line is mostly its echo.
fn report(source: &Source<'_>, text: &str, errors: &[TomlError]) -> Report {
    let mut found = Vec::new();
    let mut torn = Torn::default();
    let mut twice = BTreeSet::new();
    for error in errors {
        let Some(span) = error.span() else {
            found.push(plain(Place::File, Reason::Syntax(words(error.message(), ""))));
            continue;
        };
        let line = source.line(span.start);
        let key = text.get(span).unwrap_or_default();
        if error.message().starts_with("duplicate key") {
            if twice.insert(line) {
                found.push(plain(Place::Line(line), Reason::KeyTwice(shown(key))));
            }
        } else if torn.lines.insert(line) {
            let line_text = source.line_text(line).trim();
            torn.header |= line_text.starts_with('[');
            found.push(plain(Place::Line(line), Reason::Syntax(words(error.message(), line_text))));
        }
    }
    if text.len() > RECOVERED_BYTES_MAX {
        torn.lines.insert(0); // Nothing was read, so nothing is missing.
    }
    Report::torn(found, torn)
}

fn plain(place: Place, reason: Reason) -> Error {
    Error { place, key: String::new(), owner: String::new(), reason }
}

/// The parser's words for what it met, ours for the slips that are made most.
fn words(message: &str, line: &str) -> String {
    if message.contains("recursion") {
        return "values are nested too deep; nothing in a configuration is deeper than [[pool.backend]]"
            .to_owned();
    }
    if let Some(cure) = value_cure(line) {
        return format!("syntax error in `{}`: {cure}", shown(line));
    }
    let message = match message {
        "invalid basic string, expected `\"`" => "the closing quote is missing",
        other => other,
    };
    match line {
        "" => format!("syntax error: {message}"),
        line => format!("syntax error in `{}`: {message}", shown(line)),
    }
}

/// For `name = web`, where the value is one word without quotes: `name = "web"`.
fn value_cure(line: &str) -> Option<String> {
    let (key, value) = line.split_once('=')?;
    let value = value.split_once('#').map_or(value, |(value, _)| value).trim();
    let is_word = !value.contains(['"', '\'', ' ', ',', '{', '}', '=']);
    let is_text = value.contains(|c: char| c.is_alphabetic() || c == ':' || c == '.');
    let is_list = value.starts_with('[') && !value.contains("]:");
    match value.to_ascii_lowercase().as_str() {
        "true" | "false" | "yes" | "no" | "on" => {
            Some("a switch is true or false, in small letters".to_owned())
        }
        _ if is_word && is_text && !is_list => {
            let (key, value) = (shown(key.trim()), shown(value));
            Some(format!("texts, times and addresses stand in quotes: {key} = \"{value}\""))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn no_text_takes_long_whatever_it_repeats() {
        let pieces = [
            "=",
            "[",
            "a=1\n",
            "[a]\n",
            "[[a]]\n",
            "a.b.c.d=1\n",
            "\"",
            "a={",
            "a=[",
            "{",
            "#",
            "'''\n",
            "\\",
            ",",
            "a.",
        ];
        for piece in pieces {
            for bytes in [RECOVERED_BYTES_MAX / 4, RECOVERED_BYTES_MAX + 64] {
                let text = piece.repeat(bytes / piece.len());
                let start = Instant::now();
                assert!(parse("f", &text).is_err());
                assert!(start.elapsed() < Duration::from_secs(5), "{piece:?} took {:?}", start.elapsed());
            }
        }
    }
}
