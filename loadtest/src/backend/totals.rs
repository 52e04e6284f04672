//! What a backend has seen, shared by its threads.

use std::{
    fmt, io,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The client closed, and everything was answered.
    Clean,
    /// The client closed within a request.
    CutShort,
    /// Bytes that are not a request; the connection is reset.
    Malformed,
    /// Reset by the client, or another error of the connection.
    Broken,
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        Self::Broken
    }
}

/// Counts since the start.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    connections: AtomicU64,
    requests: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    cut_short: AtomicU64,
    malformed: AtomicU64,
    broken: AtomicU64,
    accepts_failed: AtomicU64,
}

impl Totals {
    /// A connection was accepted; gives its number, from 0.
    pub(super) fn connected(&self) -> u64 {
        self.connections.fetch_add(1, Relaxed)
    }

    pub(super) fn accept_failed(&self) {
        self.accepts_failed.fetch_add(1, Relaxed);
    }

    /// A request of the reply protocol was answered.
    pub(super) fn answered(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    pub(super) fn read(&self, bytes: usize) {
        self.bytes_in.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn wrote(&self, bytes: usize) {
        self.bytes_out.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn ended(&self, end: End) {
        match end {
            End::Clean => {}
            End::CutShort => _ = self.cut_short.fetch_add(1, Relaxed),
            End::Malformed => _ = self.malformed.fetch_add(1, Relaxed),
            End::Broken => _ = self.broken.fetch_add(1, Relaxed),
        }
    }
}

impl fmt::Display for Totals {
    /// One line of `name=count`, for people and for scripts.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            ("connections", &self.connections),
            ("requests", &self.requests),
            ("bytes_in", &self.bytes_in),
            ("bytes_out", &self.bytes_out),
            ("cut_short", &self.cut_short),
            ("malformed", &self.malformed),
            ("broken", &self.broken),
            ("accepts_failed", &self.accepts_failed),
        ];
        for (index, (name, count)) in counts.iter().enumerate() {
            let gap = if index == 0 { "" } else { " " };
            write!(out, "{gap}{name}={}", count.load(Relaxed))?;
        }
        Ok(())
    }
}
