//! How many clients a listener takes: at once and in a time, all together and from one source.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use super::Choice;

/// `[listener.limits]`: what holds for all workers together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenerLimits {
    /// Sessions at once.
    pub sessions_max: Option<NonZeroU32>,
    /// Connections in a time.
    pub rate: Option<Rate>,
    /// What becomes of those who come over one of these two.
    pub over: Over,
    /// Sessions at once from one source; more are refused.
    pub sessions_per_source: Option<NonZeroU32>,
    /// Connections in a time from one source; more are refused.
    pub rate_per_source: Option<Rate>,
    /// How many bits of an IPv4 address tell one source from another.
    pub source_prefix_v4: u8,
    /// The same of an IPv6 address.
    pub source_prefix_v6: u8,
    /// How many sources are known at a time.
    pub sources_max: u32,
}

impl Default for ListenerLimits {
    /// As many as come.
    fn default() -> ListenerLimits {
        ListenerLimits {
            sessions_max: None,
            rate: None,
            over: Over::Wait,
            sessions_per_source: None,
            rate_per_source: None,
            source_prefix_v4: 32,
            source_prefix_v6: 64,
            sources_max: 65_536,
        }
    }
}

impl ListenerLimits {
    /// Whether sources are told from each other at all.
    pub fn has_sources(&self) -> bool {
        self.sessions_per_source.is_some() || self.rate_per_source.is_some()
    }
}

/// So many in a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: NonZeroU32,
    /// In which time.
    pub unit: RateUnit,
    /// How many of them may come at the same moment.
    pub burst: NonZeroU32,
}

impl Rate {
    /// From one to the next, when they come evenly.
    pub fn interval(&self) -> Duration {
        self.unit.time() / self.count.get()
    }
}

impl fmt::Display for Rate {
    /// As it is typed, without the burst.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.unit.word())
    }
}

/// The time in which they are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateUnit {
    /// A second.
    Second,
    /// A minute.
    Minute,
    /// An hour.
    Hour,
}

impl RateUnit {
    /// How long it is.
    pub fn time(self) -> Duration {
        match self {
            Self::Second => Duration::from_secs(1),
            Self::Minute => Duration::from_secs(60),
            Self::Hour => Duration::from_secs(3_600),
        }
    }
}

impl Choice for RateUnit {
    const ALL: &'static [Self] = &[Self::Second, Self::Minute, Self::Hour];

    fn word(self) -> &'static str {
        match self {
            Self::Second => "s",
            Self::Minute => "m",
            Self::Hour => "h",
        }
    }
}

/// What becomes of those who come over a limit of the whole listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// They wait in the kernel's queue.
    Wait,
    /// They are refused.
    Refuse,
}

impl Choice for Over {
    const ALL: &'static [Self] = &[Self::Wait, Self::Refuse];

    fn word(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Refuse => "refuse",
        }
    }
}
