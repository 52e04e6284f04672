//! Form: how an answer is shown.

use std::env;

/// How it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As the API says it.
    Json,
    /// For people.
    Text(Look),
}

/// What a text may look like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Look {
    /// Whether there may be colours.
    pub colour: bool,
    /// How many columns there are; what goes into a file or a pipe is shortened nowhere.
    pub width: Option<usize>,
}

impl Look {
    /// On a terminal of this width, if it is one. Colours unless NO_COLOR says no.
    pub fn on(terminal: Option<usize>) -> Look {
        let plain = env::var_os("NO_COLOR").is_some_and(|set| !set.is_empty())
            || env::var_os("TERM").is_some_and(|term| term == "dumb");
        Look { colour: terminal.is_some() && !plain, width: terminal }
    }
}

/// What a word says about how things are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Tone {
    /// Nothing.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// As somebody wants it, or not for long.
    Odd,
    /// As it should not be.
    Bad,
    /// Less important than the rest.
    Quiet,
}

impl Tone {
    /// The words in it.
    pub(super) fn paint(self, text: &str, look: Look) -> String {
        let code = match self {
            _ if !look.colour => return text.to_owned(),
            Tone::Plain => return text.to_owned(),
            Tone::Good => "32",
            Tone::Odd => "33",
            Tone::Bad => "1;31",
            Tone::Quiet => "2",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// What others have written may hold what moves a cursor or worse: shown as something that does not.
pub(super) fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals() {
        let colourful = Look { colour: true, width: Some(80) };
        assert_eq!(Tone::Bad.paint("down", colourful), "\x1b[1;31mdown\x1b[0m");
        assert_eq!(Tone::Bad.paint("down", Look::default()), "down");
        assert!(!Look::on(None).colour);
    }

    #[test]
    fn nothing_that_was_read_steers_the_terminal() {
        assert_eq!(harmless("a\x1b[2Jb\nc"), "a\u{fffd}[2Jb\u{fffd}c");
    }
}
