//! Times: the response time of each backend, as the workers see it when they choose.
//!
//! The thread `figures` writes, some twenty times a second; workers read. One number per backend, each whole:
//! a pick may see the new figure of one backend beside the old one of another, which does no harm.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::lineage::Lineage;
use crate::table::BackendId;

/// One figure for each backend.
#[derive(Debug)]
pub struct Times(Box<[AtomicU64]>);

/// What is known of one backend's response time: nanoseconds, at least 1; 0 when nobody has measured it; below zero when
/// no sample is left in the window and this is what was measured last.
///
/// A float, because scores are products of it: whoever picks multiplies and converts nothing.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Figure(f64);

impl Figure {
    /// Nobody has measured it.
    pub const UNKNOWN: Figure = Figure(0.0);

    /// A time from samples that are in the window, or from sessions that are waiting now. In nanoseconds.
    pub fn fresh(nanos: u64) -> Figure {
        Figure(nanos.max(1) as f64)
    }

    /// What was measured last, before the window ran empty. In nanoseconds.
    pub fn stale(nanos: u64) -> Figure {
        Figure(-Figure::fresh(nanos).0)
    }

    /// The time in nanoseconds, at least 1; 0 when it is unknown.
    pub fn nanos(self) -> f64 {
        self.0.abs()
    }

    /// Whether there is no time at all.
    pub fn is_unknown(self) -> bool {
        self.0 == 0.0
    }

    /// Whether there is one from the window.
    pub fn is_fresh(self) -> bool {
        self.0 > 0.0
    }

    /// Whether there is one, but an old one.
    pub fn is_stale(self) -> bool {
        self.0 < 0.0
    }
}

impl Times {
    /// All unknown.
    pub fn new(backends: usize) -> Times {
        Times((0..backends).map(|_| AtomicU64::new(0)).collect())
    }

    /// Those of the configuration after this one: what it has too is known on.
    pub fn succeed(&self, lineage: &Lineage) -> Times {
        let known = |place: &Option<usize>| place.map_or(0, |place| self.0[place].load(Ordering::Relaxed));
        Times(lineage.backends.iter().map(|place| AtomicU64::new(known(place))).collect())
    }

    /// Writes one; only the thread that measures does.
    pub fn set(&self, id: BackendId, figure: Figure) {
        self.0[id.index()].store(figure.0.to_bits(), Ordering::Relaxed);
    }

    /// Reads one.
    pub fn get(&self, id: BackendId) -> Figure {
        Figure(f64::from_bits(self.0[id.index()].load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_comes_back_as_it_was_written() {
        let times = Times::new(2);
        let id = BackendId::new(1);
        assert!(times.get(id).is_unknown());
        times.set(id, Figure::stale(1_500));
        assert_eq!((times.get(id).nanos(), times.get(id).is_stale()), (1_500.0, true));
        times.set(id, Figure::fresh(0));
        assert_eq!((times.get(id).nanos(), times.get(id).is_stale()), (1.0, false));
        assert!(times.get(BackendId::new(0)).is_unknown());
    }
}
