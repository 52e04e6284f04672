//! What is wrong with a configuration, and what to do about it: all of it at once, in file order.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt;

use super::address::AddressFault;
use super::keys::quoted;
use super::needs::Need;
use super::units::UnitFault;

/// So many errors are shown; the rest is counted.
const SHOWN_MAX: usize = 50;

/// Every error of one configuration, sorted by position. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errors {
    file_name: String,
    shown: Vec<Error>,
    total: usize,
}

/// One error: where, which key, why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Where the value stands.
    pub place: Place,
    /// Dotted, such as `pool.health.interval`; empty where no key is at fault.
    pub key: String,
    /// Such as `pool "api"`; empty where there is none or its name is not known.
    pub owner: String,
    /// What is wrong.
    pub reason: Reason,
}

/// Where a value stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The file as a whole.
    File,
    /// A line of the file, from 1.
    Line(usize),
    /// A flag, as typed.
    Flag(String),
}

/// What is wrong, with what the message needs to say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The file cannot be read.
    Unreadable(String),
    /// More bytes than are read.
    FileTooLarge(u64),
    /// A byte that is not UTF-8.
    NotUtf8(u8),
    /// A NUL byte.
    NulByte,
    /// Nothing in it, or only comments.
    Empty,
    /// Not TOML; the words of the parser and, where it helps, ours.
    Syntax(String),
    /// Two values for one key, or two headers for one table.
    KeyTwice(String),
    /// A key or a table that does not exist here.
    UnknownKey {
        /// The one that was probably meant.
        near: Option<String>,
        /// Every one that exists here.
        known: Vec<&'static str>,
    },
    /// Something that has to be given is not.
    Missing(String),
    /// A number where a text belongs, and so on.
    WrongType {
        /// As typed.
        typed: String,
        /// What it is.
        found: &'static str,
        /// What belongs there.
        wanted: String,
    },
    /// A time or a size that cannot be read.
    Unit {
        /// As typed.
        typed: String,
        /// Why.
        fault: UnitFault,
        /// What to write instead.
        cure: String,
    },
    /// Out of bounds.
    TooSmall(Bound),
    /// Out of bounds.
    TooLarge(Bound),
    /// Within bounds, but not one of the steps.
    OffStep {
        /// As typed.
        typed: String,
        /// Such as `4KiB`.
        step: String,
        /// The next larger value that is one.
        nearest: String,
    },
    /// Not one of the words.
    NotAChoice {
        /// As typed.
        typed: String,
        /// The one that was probably meant.
        near: Option<String>,
        /// Every one that exists.
        choices: Vec<String>,
    },
    /// Not a name.
    BadName(String),
    /// Not an address.
    Address {
        /// As typed.
        typed: String,
        /// Why.
        fault: AddressFault,
    },
    /// The same twice.
    Duplicate {
        /// As typed.
        typed: String,
        /// Within what it has to be unique.
        within: &'static str,
        /// Where it stands for the first time.
        first: Place,
    },
    /// A pool that does not exist.
    UnknownPool {
        /// As typed.
        typed: String,
        /// The one that was probably meant.
        near: Option<String>,
        /// Some of those that exist, in file order.
        known: Vec<String>,
        /// How many exist.
        count: usize,
    },
    /// More of something than is allowed.
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many are allowed.
        max: usize,
    },
    /// A text that does not have the form that its key needs.
    Malformed {
        /// As typed.
        typed: String,
        /// Why, and what to write instead.
        why: String,
    },
    /// Two keys that do not go together, in words.
    Conflict(String),
    /// Something that is not there on this machine, or not as it has to be, in words.
    NotHere(String),
}

/// A value out of bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// As typed.
    pub typed: String,
    /// Without its path.
    pub key: &'static str,
    /// Such as `1 to 256`.
    pub range: String,
    /// The word that may stand in its place, such as `off`.
    pub word: Option<&'static str>,
    /// What to do instead, where that is not plain.
    pub cure: Option<&'static str>,
}

impl Errors {
    /// One error about the file as a whole, or about one line of it.
    pub(super) fn of_file(file_name: &str, place: Place, reason: Reason) -> Self {
        let error = Error { place, key: String::new(), owner: String::new(), reason };
        Self { file_name: file_name.to_owned(), shown: vec![error], total: 1 }
    }

    /// The errors, sorted by position; the first 50 if there are more.
    pub fn iter(&self) -> impl Iterator<Item = &Error> {
        self.shown.iter()
    }

    /// How many there are, shown or not.
    pub fn total(&self) -> usize {
        self.total
    }
}

/// Errors while they are collected. Shared by all readers of one configuration, hence `&self` throughout.
#[derive(Debug, Default)]
pub(super) struct Report {
    found: RefCell<Vec<Error>>,
    total: Cell<usize>,
    torn: Torn,
    needs: RefCell<Vec<Need>>,
}

/// What of the text could not be read, so that nothing is blamed for what may stand there.
#[derive(Debug, Default)]
pub(super) struct Torn {
    /// Lines with a syntax error, from 1.
    pub(super) lines: BTreeSet<usize>,
    /// One of them is the header of a table: the keys below it are in the wrong table.
    pub(super) header: bool,
}

impl Torn {
    fn may_have_caused(&self, error: &Error) -> bool {
        let unread = matches!(
            error.reason,
            Reason::Missing(_) | Reason::UnknownPool { .. } | Reason::Conflict(_) | Reason::Empty
        );
        let misplaced = matches!(error.reason, Reason::UnknownKey { .. } | Reason::WrongType { .. });
        let same_line = matches!(error.place, Place::Line(line) if self.lines.contains(&line));
        !self.lines.is_empty() && (unread || same_line || (self.header && misplaced))
    }
}

impl Report {
    /// Starts with the syntax errors. What they may have caused is not reported.
    pub(super) fn torn(syntax: Vec<Error>, torn: Torn) -> Self {
        let report = Self::default();
        syntax.into_iter().for_each(|error| report.push(error));
        Self { torn, ..report }
    }

    pub(super) fn push(&self, error: Error) {
        if self.torn.may_have_caused(&error) {
            return;
        }
        self.total.set(self.total.get() + 1);
        let mut found = self.found.borrow_mut();
        found.push(error);
        // A hostile file has an error in every fourth byte: only those that will be shown are kept.
        if found.len() >= 20 * SHOWN_MAX {
            keep_first(&mut found);
        }
    }

    /// Remembers what has to be there on the machine.
    pub(super) fn need(&self, need: Need) {
        self.needs.borrow_mut().push(need);
    }

    /// Reports what is wrong with what has to be there.
    pub(super) fn look(&self, mut look: impl FnMut(&Need) -> Vec<String>) {
        for need in self.needs.take() {
            for words in look(&need) {
                let Need { place, key, owner, .. } = need.clone();
                self.push(Error { place, key, owner, reason: Reason::NotHere(words) });
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.total.get() == 0
    }

    /// `built` if nothing was reported.
    pub(super) fn finish<T>(self, file_name: &str, built: Option<T>) -> Result<T, Errors> {
        let mut shown = self.found.into_inner();
        match built {
            Some(built) if shown.is_empty() => Ok(built),
            _ => {
                // Whoever builds nothing has reported why.
                assert!(!shown.is_empty());
                keep_first(&mut shown);
                Err(Errors { file_name: file_name.to_owned(), shown, total: self.total.get() })
            }
        }
    }
}

/// Sorted by place; those of one place stay in the order in which they were found.
fn keep_first(found: &mut Vec<Error>) {
    found.sort_by(|a, b| a.place.cmp(&b.place));
    found.truncate(SHOWN_MAX);
}

impl std::error::Error for Errors {}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for error in &self.shown {
            error.write(f, &self.file_name)?;
        }
        match self.total - self.shown.len() {
            0 => Ok(()),
            more => writeln!(f, "{}: and {more} more", self.file_name),
        }
    }
}

impl Error {
    /// One line: `ringway.toml:12: pool.backend.weight in pool "api": 0 is too small; ...`
    fn write(&self, f: &mut fmt::Formatter<'_>, file_name: &str) -> fmt::Result {
        match &self.place {
            Place::File => write!(f, "{file_name}: ")?,
            Place::Line(line) => write!(f, "{file_name}:{line}: ")?,
            // Whoever types flags has not seen the dotted keys.
            Place::Flag(flag) => return writeln!(f, "{flag}: {}", self.reason),
        }
        match (self.key.as_str(), self.owner.as_str()) {
            ("", _) => writeln!(f, "{}", self.reason),
            (key, "") => writeln!(f, "{key}: {}", self.reason),
            (key, owner) => writeln!(f, "{key} in {owner}: {}", self.reason),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File => f.write_str("the file"),
            Self::Line(line) => write!(f, "line {line}"),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(why) => write!(f, "cannot be read: {why}"),
            Self::FileTooLarge(max) => {
                write!(f, "is larger than {max} bytes, the most that is read; is it the right file?")
            }
            Self::NotUtf8(byte) => write!(f, "the byte 0x{byte:02x} is not UTF-8; save the file as UTF-8 text"),
            Self::NulByte => f.write_str("a NUL byte; a configuration is plain text; is it the right file?"),
            Self::Empty => f.write_str(
                "sets nothing; it needs at least a [[listener]] with name, bind and pool, and a [[pool]] with a name \
                 and a [[pool.backend]] with an address",
            ),
            Self::Syntax(words) => f.write_str(words),
            Self::KeyTwice(key) => {
                write!(f, "{key} is given twice; keep one of the two")
            }
            Self::UnknownKey { near, known } => {
                f.write_str("there is no such key")?;
                match near {
                    Some(near) => write!(f, "; did you mean `{near}`?"),
                    None => write!(f, "; here may stand: {}", known.join(", ")),
                }
            }
            Self::Missing(cure) => write!(f, "is missing; {cure}"),
            Self::WrongType { typed, found, wanted } => write!(f, "{typed} is {found}; write {wanted}"),
            Self::Unit { typed, fault, cure } => write!(f, "{typed} {fault}; {cure}"),
            Self::TooSmall(bound) => write!(f, "{} is too small; {bound}", bound.typed),
            Self::TooLarge(bound) => write!(f, "{} is too large; {bound}", bound.typed),
            Self::OffStep { typed, step, nearest } => {
                write!(f, "{typed} is not a multiple of {step}; write \"{nearest}\"")
            },
            Self::NotAChoice { typed, near: Some(near), .. } => {
                write!(f, "{typed} is not a choice; did you mean \"{near}\"?")
            }
            Self::NotAChoice { typed, near: None, choices } => {
                write!(f, "{typed} is not a choice; write {}", quoted(choices))
            }
            Self::BadName(typed) => write!(
                f,
                "{typed} cannot be a name; names are 1 to 64 letters, digits, dots, dashes and underscores"
            ),
            Self::Address { typed, fault } => write!(f, "{typed} {fault}"),
            Self::Duplicate { typed, within, first } => {
                write!(f, "{typed} is given twice {within}, first at {first}; change one of them or remove it")
            }
            Self::UnknownPool { typed, near: Some(near), .. } => {
                write!(f, "there is no pool {typed}; did you mean \"{near}\"?")
            }
            Self::UnknownPool { typed, known, .. } if known.is_empty() => {
                write!(f, "there is no pool {typed}, nor any other; add a [[pool]] of this name")
            }
            Self::UnknownPool { typed, known, count: 1, .. } => {
                write!(f, "there is no pool {typed}; the only one is {}", known.join(", "))
            }
            Self::UnknownPool { typed, known, count, .. } => {
                write!(f, "there is no pool {typed}; the pools are {}", known.join(", "))?;
                match count - known.len() {
                    0 => Ok(()),
                    more => write!(f, " and {more} more"),
                }
            }
            Self::TooMany { what, count, max } => write!(f, "{count} {what}; at most {max} are allowed"),
            Self::Malformed { typed, why } => write!(f, "{typed} {why}"),
            Self::Conflict(words) | Self::NotHere(words) => f.write_str(words),
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} goes from {}", self.key, self.range)?;
        if let Some(word) = self.word {
            write!(f, ", or is \"{word}\"")?;
        }
        match self.cure {
            Some(cure) => write!(f, "; {cure}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: usize) -> Error {
        let place = Place::Line(line);
        Error { place, key: "a.b".to_owned(), owner: String::new(), reason: Reason::NulByte }
    }

    #[test]
    fn errors_come_out_in_file_order() {
        let report = Report::default();
        for line in [30, 1, 20] {
            report.push(at(line));
        }
        let errors = report.finish::<()>("f", None).unwrap_err();
        let lines: Vec<_> = errors.iter().map(|error| error.place.clone()).collect();
        assert_eq!(lines, [Place::Line(1), Place::Line(20), Place::Line(30)]);
    }

    #[test]
    fn of_many_errors_the_first_by_position_are_shown_and_the_rest_is_counted() {
        let report = Report::default();
        for line in (1..=5_000).rev() {
            report.push(at(line));
        }
        let errors = report.finish::<()>("f", None).unwrap_err();
        assert_eq!(errors.iter().map(|error| error.place.clone()).last(), Some(Place::Line(50)));
        assert_eq!(errors.total(), 5_000);
        assert!(errors.to_string().ends_with("\nf: and 4950 more\n"));
    }
}
