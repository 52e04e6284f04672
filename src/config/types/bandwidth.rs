//! How fast the sessions of a listener may carry bytes.

/// `[listener.bandwidth]`: for each session, each way by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bandwidth {
    /// From clients.
    pub to_backend: Option<Pace>,
    /// To clients.
    pub to_client: Option<Pace>,
}

/// How fast bytes may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Bytes in a second.
    pub rate: u64,
    /// Bytes that may go at once after a silence.
    pub burst: u64,
}
