//! What one worker counts of a pool's shadows, and of the algorithm that serves beside them.

use super::Counter;
use crate::config::Pool;
use crate::config::keys::SHADOWS_MAX;

/// The algorithm that serves, among those that choose; the shadows come after it, in the order of the configuration.
pub const SERVING: usize = 0;

/// The choices of one pool's algorithms.
#[derive(Debug)]
pub struct PoolShadows {
    /// By shadow.
    pub shadows: [ShadowStats; SHADOWS_MAX],
    /// By the backend's place in the pool.
    pub backends: Box<[Choosers]>,
}

/// One shadow beside what served. Aligned so that two workers never share a cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ShadowStats {
    /// Sessions for which it chose the backend that they were given first.
    pub agreed: Counter,
    /// Sessions for which it would have found nobody with room.
    pub nobody: Counter,
    /// Sessions for which the times of both backends were known.
    pub timed: Counter,
    /// The times of its own choices, added up over these; in nanoseconds.
    pub nanos: Counter,
    /// And those of the backends that they were given.
    pub nanos_served: Counter,
}

/// One backend, by who chose it: what serves and the shadows. One line, as of [`super::BackendStats`].
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Choosers(pub [Chosen; 1 + SHADOWS_MAX]);

/// How often one algorithm chose one backend.
#[derive(Debug, Default)]
pub struct Chosen {
    /// Sessions ever.
    pub total: Counter,
    /// Sessions that are running.
    pub active: Counter,
    /// The most that were running at once.
    pub most: Counter,
}

impl PoolShadows {
    /// All at zero. `None` for a pool that has no shadows.
    pub(super) fn new(pool: &Pool) -> Option<PoolShadows> {
        (!pool.shadow.is_empty()).then(|| PoolShadows {
            shadows: Default::default(),
            backends: pool.backends.iter().map(|_| Choosers::default()).collect(),
        })
    }
}

impl Chosen {
    /// A session begins; only its worker says so.
    pub fn begin(&self) {
        self.total.add(1);
        self.active.add(1);
        self.most.raise_to(self.active.get());
    }

    /// One that has begun ends; only its worker says so.
    pub fn end(&self) {
        self.active.subtract(1);
    }
}
