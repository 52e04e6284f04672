//! Refused: why a connection was not let in.

/// Why a connection was not let in. Each is counted under one of these, and is no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The rules of the listener deny its address.
    Denied,
    /// Its source has as many sessions as it may have.
    SourceSessions,
    /// Its source has come more often than it may.
    SourceRate,
    /// The listener takes no more in this time.
    Rate,
    /// The listener has as many sessions as it may have.
    Full,
}

impl Refused {
    /// Each of them, in the order in which they are counted.
    pub const ALL: [Refused; 5] =
        [Refused::Denied, Refused::SourceSessions, Refused::SourceRate, Refused::Rate, Refused::Full];
    /// How many there are.
    pub const COUNT: usize = Refused::ALL.len();

    /// As it is logged and printed.
    pub fn name(self) -> &'static str {
        match self {
            Refused::Denied => "denied",
            Refused::SourceSessions => "per-source-sessions",
            Refused::SourceRate => "per-source-rate",
            Refused::Rate => "rate",
            Refused::Full => "full",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_counted_in_its_own_place() {
        for (place, reason) in Refused::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place, "{}", reason.name());
        }
    }
}
