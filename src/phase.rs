//! Phase: what the process is about. Set by the server, read by every worker at its tick.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// What the process is about; it only goes forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Gets ready, and accepts nobody: whoever were accepted now would be lost if the start failed.
    Starting,
    /// Accepts and serves.
    Running,
    /// Accepts nobody; running sessions go on.
    Draining,
    /// Ends the sessions that are left.
    Closing,
}

/// The phase, shared by the server and its workers.
#[derive(Debug, Clone, Default)]
pub struct PhaseFlag(Arc<AtomicU8>);

impl PhaseFlag {
    /// The phase now. Relaxed: nothing else is read on the strength of it.
    pub fn get(&self) -> Phase {
        match self.0.load(Ordering::Relaxed) {
            0 => Phase::Starting,
            1 => Phase::Running,
            2 => Phase::Draining,
            _ => Phase::Closing,
        }
    }

    /// Goes forward to `phase`; going back does nothing.
    pub fn advance(&self, phase: Phase) {
        self.0.fetch_max(phase as u8, Ordering::Relaxed);
    }
}
