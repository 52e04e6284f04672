//! Batch: the samples of one backend that have come since its figure was made last, summed up.

/// Some samples, in nanoseconds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Batch {
    sum: u128,
    count: u64,
    /// The longest.
    pub max: u64,
}

impl Batch {
    /// Adds one.
    pub fn add(&mut self, nanos: u64) {
        self.sum += u128::from(nanos);
        self.count += 1;
        self.max = self.max.max(nanos);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Their mean, if there are any.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum as f64 / self.count as f64)
    }
}
