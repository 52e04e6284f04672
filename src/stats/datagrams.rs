//! Datagrams: what one worker counts of them at one listener, and why some went nowhere.

use super::Counter;

/// What one worker counts of the datagrams of one listener.
#[derive(Debug, Default)]
pub struct DatagramStats {
    /// Those that came from clients.
    pub from_clients: Counter,
    /// Those that were sent to backends.
    pub to_backends: Counter,
    /// Those that came from backends.
    pub from_backends: Counter,
    /// Those that were sent to clients.
    pub to_clients: Counter,
    /// Those that went nowhere, by why, in the order of [`Dropped::ALL`].
    pub dropped: [Counter; Dropped::ALL.len()],
    /// Sessions that were opened because the backend of the one before was lost.
    pub rebalanced: Counter,
}

/// Why a datagram went nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// No backend of the pool was up.
    NoBackend,
    /// Every backend was at its limit.
    BackendsFull,
    /// There was no room for another session.
    NoRoom,
    /// This machine had no port, descriptor or memory left for another session.
    NoResources,
    /// It was larger than we, or the way to where it should go, can take.
    TooLarge,
    /// The socket that it should leave by took no more.
    Busy,
    /// The kernel refused to send it.
    Refused,
    /// It came from somebody whom the rules or limits of the listener refuse, from a port from which nobody is served, or from
    /// ourselves.
    Source,
    /// It would have opened a session when the process was about to end.
    Ending,
    /// It came from an address that may not say who the client is, to a listener that has that said.
    ProxyUntrusted,
    /// It had no header that says so, and none had come before it.
    ProxyMissing,
    /// What it began with was no header.
    ProxyMalformed,
    /// It was over the rate of its session.
    Bandwidth,
}

impl Dropped {
    /// Each of them, in the order in which they are counted.
    pub const ALL: [Dropped; 13] = [
        Dropped::NoBackend,
        Dropped::BackendsFull,
        Dropped::NoRoom,
        Dropped::NoResources,
        Dropped::TooLarge,
        Dropped::Busy,
        Dropped::Refused,
        Dropped::Source,
        Dropped::Ending,
        Dropped::ProxyUntrusted,
        Dropped::ProxyMissing,
        Dropped::ProxyMalformed,
        Dropped::Bandwidth,
    ];

    /// As it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Dropped::NoBackend => "no-backend",
            Dropped::BackendsFull => "backends-full",
            Dropped::NoRoom => "no-room",
            Dropped::NoResources => "no-resources",
            Dropped::TooLarge => "too-large",
            Dropped::Busy => "busy",
            Dropped::Refused => "refused",
            Dropped::Source => "source",
            Dropped::Ending => "ending",
            Dropped::ProxyUntrusted => "proxy-untrusted",
            Dropped::ProxyMissing => "proxy-missing",
            Dropped::ProxyMalformed => "proxy-malformed",
            Dropped::Bandwidth => "bandwidth",
        }
    }
}

impl DatagramStats {
    /// Counts so many that went nowhere; only its worker does.
    pub fn drop(&self, why: Dropped, count: u64) {
        self.dropped[why as usize].add(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_counted_in_its_own_place() {
        for (place, why) in Dropped::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, place, "{}", why.name());
        }
    }
}
