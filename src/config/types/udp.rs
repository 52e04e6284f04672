//! What only listeners over UDP have.

use std::num::NonZeroU32;
use std::num::NonZeroUsize;

use super::Choice;

/// `[listener.udp]`: sessions over datagrams. How long one may be silent is the listener's own `idle_timeout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Udp {
    /// Replies to each request after which a session is complete; `None` is until it is idle.
    pub responses: Option<u32>,
    /// Datagrams of a client after which its next one opens another session; `None` is never.
    pub requests: Option<NonZeroU32>,
    /// Sessions at once, shared out evenly over the workers.
    pub sessions_max: NonZeroUsize,
    /// From which ports clients may send.
    pub source_ports: SourcePorts,
}

impl Udp {
    /// What holds where nothing else is asked for.
    pub const DEFAULT: Udp = Udp {
        responses: None,
        requests: None,
        sessions_max: NonZeroUsize::new(16_384).unwrap(),
        source_ports: SourcePorts::Any,
    };
}

/// From which ports clients may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourcePorts {
    /// From all.
    Any,
    /// Not from those below 1024: there are services, which answer, and two that answer each other never stop.
    Unprivileged,
}

impl Choice for SourcePorts {
    const ALL: &'static [Self] = &[Self::Any, Self::Unprivileged];

    fn word(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Unprivileged => "unprivileged",
        }
    }
}
