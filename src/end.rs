//! End: why a session ended.

/// Why a session ended. Each ends exactly once, for one of these reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Both streams came to their end.
    Complete,
    /// The client broke the connection.
    ClientReset,
    /// The backend broke the connection.
    BackendReset,
    /// No backend of the pool was up.
    NoBackend,
    /// Every backend was at its limit, and so was the queue.
    QueueFull,
    /// Every backend was at its limit for all of `queue_timeout`.
    QueueTimeout,
    /// Every attempt to connect to a backend failed.
    ConnectFailed,
    /// This machine had no port, descriptor or memory left to connect with.
    NoResources,
    /// No byte moved for `idle_timeout`.
    IdleTimeout,
    /// One stream had ended and no byte moved for `half_closed_timeout`.
    HalfClosedTimeout,
    /// It lasted as long as `lifetime_max` allows.
    LifetimeMax,
    /// Its backend went down, and the pool has `on_down = "close"`.
    BackendDown,
    /// A reload removed its backend, and it was still running when `removed_drain_timeout` was over.
    BackendRemoved,
    /// It was still running when `drain_timeout` was over.
    Drained,
    /// A defect of ringway's ended it.
    Panicked,
    /// An operator ended it.
    Killed,
    /// No route of its listener is for what the client said, and the listener refuses those.
    Unrouted,
    /// It came from nobody who may say by PROXY protocol who the client is.
    ProxyUntrusted,
    /// No whole header of PROXY protocol came within `proxy_protocol.timeout`.
    ProxyTimeout,
    /// What came was no header of PROXY protocol.
    ProxyMalformed,
    /// The access rules or limits of its listener refuse the client that a proxy said it is.
    Refused,
    /// The backend sent no reply at all for `udp.idle_timeout`, and `udp.responses` says that it should.
    NoReply,
    /// It was the one that had been idle longest when there was no room for another one over UDP.
    Evicted,
}

impl End {
    /// Each of them, in the order in which they are counted.
    pub const ALL: [End; 23] = [
        End::Complete,
        End::ClientReset,
        End::BackendReset,
        End::NoBackend,
        End::QueueFull,
        End::QueueTimeout,
        End::ConnectFailed,
        End::NoResources,
        End::IdleTimeout,
        End::HalfClosedTimeout,
        End::LifetimeMax,
        End::BackendDown,
        End::BackendRemoved,
        End::Drained,
        End::Panicked,
        End::Killed,
        End::Unrouted,
        End::ProxyUntrusted,
        End::ProxyTimeout,
        End::ProxyMalformed,
        End::Refused,
        End::NoReply,
        End::Evicted,
    ];
    /// How many there are.
    pub const COUNT: usize = End::ALL.len();

    /// As it is logged and printed.
    pub fn name(self) -> &'static str {
        match self {
            End::Complete => "complete",
            End::ClientReset => "client-reset",
            End::BackendReset => "backend-reset",
            End::NoBackend => "no-backend",
            End::QueueFull => "queue-full",
            End::QueueTimeout => "queue-timeout",
            End::ConnectFailed => "connect-failed",
            End::NoResources => "no-resources",
            End::IdleTimeout => "idle-timeout",
            End::HalfClosedTimeout => "half-closed-timeout",
            End::LifetimeMax => "lifetime-max",
            End::BackendDown => "backend-down",
            End::BackendRemoved => "backend-removed",
            End::Drained => "drained",
            End::Panicked => "panicked",
            End::Killed => "killed",
            End::Unrouted => "unrouted",
            End::ProxyUntrusted => "proxy-untrusted",
            End::ProxyTimeout => "proxy-timeout",
            End::ProxyMalformed => "proxy-malformed",
            End::Refused => "refused",
            End::NoReply => "no-reply",
            End::Evicted => "evicted",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_is_counted_in_its_own_place() {
        for (place, end) in End::ALL.into_iter().enumerate() {
            assert_eq!(end as usize, place, "{}", end.name());
        }
    }
}
