//! Sums over all workers and listeners.

use super::ListenerStats;
use crate::access::Refused;
use crate::end::End;

/// Sums over all workers and listeners.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Connections accepted.
    pub accepted: u64,
    /// Sessions now.
    pub active: u64,
    /// Sessions by how they ended, in the order of [`End::ALL`].
    pub ends: [u64; End::COUNT],
    /// Connections that were not let in, by why, in the order of [`Refused::ALL`]. They are not among those accepted.
    pub refused: [u64; Refused::COUNT],
    /// Bytes carried from clients.
    pub bytes_to_backend: u64,
    /// Bytes carried to clients.
    pub bytes_to_client: u64,
}

impl Totals {
    pub(super) fn add(&mut self, listener: &ListenerStats) {
        self.accepted += listener.accepted.get();
        self.active += listener.active.get();
        self.bytes_to_backend += listener.bytes_to_backend.get();
        self.bytes_to_client += listener.bytes_to_client.get();
        for (sum, end) in self.ends.iter_mut().zip(&listener.ends) {
            *sum += end.get();
        }
        for (sum, refused) in self.refused.iter_mut().zip(&listener.refused) {
            *sum += refused.get();
        }
    }

    /// Sessions that ended like this.
    pub fn ended(&self, end: End) -> u64 {
        self.ends[end as usize]
    }
}
