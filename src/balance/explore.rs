//! Explore: when a backend that nobody has measured lately is tried again.
//!
//! A backend that was slow is not picked, so it is not measured, so it would stay slow for ever. One pick in so many goes
//! to such a backend, whatever its last score was. One that has never been measured needs no such turn: it is taken to be
//! as fast as the fastest, and the sessions that it is given raise its score like everybody's.

/// At most one pick in so many.
pub const ONE_IN: u32 = 20;

/// Picks since the last one of this kind.
#[derive(Debug)]
pub(super) struct Explore {
    since: u32,
}

impl Explore {
    /// The workers begin at different places, so that they do not all try the same backend at the same moment.
    pub(super) fn starting_at(first: usize) -> Explore {
        Explore { since: (first as u32).wrapping_mul(7) % ONE_IN }
    }

    /// Counts a pick; whether it may go to a backend that nobody has measured lately.
    pub(super) fn is_due(&mut self) -> bool {
        self.since = (self.since + 1).min(ONE_IN);
        self.since == ONE_IN
    }

    /// It did go there.
    pub(super) fn done(&mut self) {
        self.since = 0;
    }
}
