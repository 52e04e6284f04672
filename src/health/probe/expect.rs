//! Expect: whether an answer has in it what it must have, and how to say so if not. Pure.

use std::fmt;

use crate::config::Expect;

/// How much of an answer is looked at.
const ANSWER_MAX: usize = 64 * 1024;
/// How much of one is shown.
const SHOWN_MAX: usize = 64;

/// What has come so far.
#[derive(Debug, Default)]
pub(super) struct Answer {
    bytes: Vec<u8>,
    /// Where what came last begins.
    fresh: usize,
}

impl Answer {
    /// Takes what has come; what is more than enough is left out.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.fresh = self.bytes.len();
        let room = ANSWER_MAX - self.bytes.len();
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Whether nothing has come.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether no more of it is looked at.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() == ANSWER_MAX
    }

    /// Whether it has in it what it must have; asked each time that something has come.
    pub(super) fn meets(&self, expect: &Expect) -> bool {
        match expect {
            Expect::Bytes(wanted) => {
                // What came before has been searched: a match ends in what is new.
                let from = (self.fresh + 1).saturating_sub(wanted.len());
                wanted.is_empty() || self.bytes[from..].windows(wanted.len()).any(|part| part == wanted)
            }
            Expect::Regex(regex) => regex.is_match(&self.bytes),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.bytes))
    }
}

/// What is expected, for people.
pub(super) fn name(expect: &Expect) -> String {
    match expect {
        Expect::Bytes(bytes) => shown(bytes),
        Expect::Regex(regex) => format!("a match of {}", shown(regex.as_str().as_bytes())),
    }
}

/// Bytes in quotes, escaped and shortened.
pub(super) fn shown(bytes: &[u8]) -> String {
    let start = &bytes[..bytes.len().min(SHOWN_MAX)];
    let more = if start.len() < bytes.len() { "..." } else { "" };
    format!("\"{}\"{more}", start.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_shown_is_short_and_cannot_upset_a_terminal() {
        assert_eq!(shown(b"-ERR \x1b[2J\r\n\"\xff"), r#""-ERR \x1b[2J\r\n\"\xff""#);
        let long = shown(&[b'x'; 1000]);
        assert_eq!((long.len(), long.ends_with("...")), (SHOWN_MAX + 5, true));
    }

    #[test]
    fn no_more_is_kept_than_is_looked_at() {
        let mut answer = Answer::default();
        (0..20).for_each(|_| answer.take(&[0; 5000]));
        assert!(answer.is_full() && answer.bytes.len() == ANSWER_MAX);
    }

    #[test]
    fn an_expression_is_searched_in_all_that_has_come() {
        let mut answer = Answer::default();
        let expect = Expect::Regex(regex::bytes::Regex::new("^220 .*ESMTP").unwrap());
        answer.take(b"220 mail ");
        assert!(!answer.meets(&expect));
        answer.take(b"ESMTP");
        assert!(answer.meets(&expect));
    }

    proptest! {
        /// However an answer is cut, what is in it is found as soon as it is there, and not before.
        #[test]
        fn bytes_are_found_across_the_cuts(
            parts in prop::collection::vec(prop::collection::vec(0u8..3, 0..6), 1..20),
            wanted in prop::collection::vec(0u8..3, 0..6),
        ) {
            let (mut answer, mut whole) = (Answer::default(), Vec::new());
            let expect = Expect::Bytes(wanted.clone());
            for part in parts {
                answer.take(&part);
                whole.extend(part);
                let is_in = wanted.is_empty() || whole.windows(wanted.len()).any(|at| at == wanted);
                prop_assert_eq!(answer.meets(&expect), is_in);
                if is_in {
                    break;
                }
            }
        }
    }
}
