//! Message: what the two processes say to each other.
//!
//! Two builds of ringway that differ by years may meet here: what is said stays as it is, or [`PROTOCOL`] changes.

use std::fmt;

use crate::config::Address;

/// The number of this language.
pub(super) const PROTOCOL: u32 = 1;

/// What one process says to the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    /// Old: which language it speaks.
    Hello(u32),
    /// Old: sockets that are beside this message. More of the same address may follow.
    Sockets(Sockets),
    /// Old: these were all.
    All,
    /// New: it is ready, and wants none of the sockets at these addresses.
    Ready(Vec<Address>),
    /// New: it cannot start.
    Failed(String),
    /// Old: it may accept.
    Go,
    /// New: it accepts.
    Serving,
}

/// Which sockets they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sockets {
    /// A service manager's, which keeps them when all of ringway is gone.
    pub(super) are_lent: bool,
    /// The address as the configuration has it.
    pub(super) configured: Address,
    /// Which of the listener's addresses it is.
    pub(super) place: usize,
    /// The listener's name.
    pub(super) listener: String,
}

impl Message {
    /// `None` for what is no message.
    pub(super) fn parse(text: &str) -> Option<Message> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        Some(match word {
            "ringway-upgrade" => Message::Hello(rest.parse().ok()?),
            "sockets" => Message::Sockets(Sockets::parse(rest)?),
            "all" => Message::All,
            "ready" => {
                let left = rest.split_whitespace().map(|address| address.parse().ok());
                Message::Ready(left.collect::<Option<_>>()?)
            }
            "failed" => Message::Failed(rest.to_owned()),
            "go" => Message::Go,
            "serving" => Message::Serving,
            _ => return None,
        })
    }
}

impl Sockets {
    fn parse(text: &str) -> Option<Sockets> {
        let mut words = text.splitn(4, ' ');
        let are_lent = match words.next()? {
            "lent" => true,
            "own" => false,
            _ => return None,
        };
        let (configured, place) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        // Last, because it may have spaces in it.
        Some(Sockets { are_lent, configured, place, listener: words.next()?.to_owned() })
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Message::Hello(number) => write!(f, "ringway-upgrade {number}"),
            Message::Sockets(Sockets { are_lent, configured, place, listener }) => {
                let whose = if *are_lent { "lent" } else { "own" };
                write!(f, "sockets {whose} {configured} {place} {listener}")
            }
            Message::All => write!(f, "all"),
            Message::Ready(left) => {
                write!(f, "ready")?;
                left.iter().try_for_each(|address| write!(f, " {address}"))
            }
            Message::Failed(why) => write!(f, "failed {why}"),
            Message::Go => write!(f, "go"),
            Message::Serving => write!(f, "serving"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_what_is_heard() {
        let sockets = |are_lent, configured: &str| {
            Message::Sockets(Sockets {
                are_lent,
                configured: configured.parse().unwrap(),
                place: 3,
                listener: "the web, and more".into(),
            })
        };
        for (message, text) in [
            (Message::Hello(1), "ringway-upgrade 1"),
            (sockets(false, "127.0.0.1:0"), "sockets own 127.0.0.1:0 3 the web, and more"),
            (sockets(true, "[::1]:80"), "sockets lent [::1]:80 3 the web, and more"),
            (sockets(false, "unix:/run/app.sock"), "sockets own unix:/run/app.sock 3 the web, and more"),
            (Message::All, "all"),
            (Message::Ready(Vec::new()), "ready"),
            (
                Message::Ready(vec!["127.0.0.1:80".parse().unwrap(), "[::1]:80".parse().unwrap()]),
                "ready 127.0.0.1:80 [::1]:80",
            ),
            (Message::Failed("no ring:\nsysctl".into()), "failed no ring:\nsysctl"),
            (Message::Go, "go"),
            (Message::Serving, "serving"),
        ] {
            assert_eq!(message.to_string(), text);
            assert_eq!(Message::parse(text), Some(message));
        }
    }

    #[test]
    fn nonsense_is_no_message() {
        for text in [
            "",
            "hello",
            "ringway-upgrade",
            "ringway-upgrade x",
            "sockets",
            "sockets own 1.2.3.4:5",
            "ready x",
        ] {
            assert_eq!(Message::parse(text), None, "{text:?}");
        }
    }
}
