//! How a request can fail, as data: each kind is counted on its own.

use std::{fmt, io};

/// Why a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Nobody listens there.
    ConnectRefused,
    /// No connection within `--connect-timeout`, or the kernel gave up on the peer.
    Timeout,
    /// Every local port towards the target is taken.
    NoLocalPort,
    /// The peer, or something between, reset the connection.
    Reset,
    /// The stream ended before the reply did.
    CutShort {
        /// Bytes of the reply that did come.
        received: u64,
    },
    /// The reply has a byte that does not belong there, or more bytes than asked for.
    WrongBytes {
        /// Place of the first such byte in the reply.
        at: u64,
    },
    /// Not done within `--deadline`.
    Deadline,
    /// Anything else the kernel said.
    Other(io::ErrorKind),
}

impl Failure {
    /// The names of all kinds, in the order of [`Failure::kind`].
    pub(crate) const KINDS: [&str; 8] = [
        "connect refused",
        "timeout",
        "no local port",
        "reset",
        "cut short",
        "wrong bytes",
        "deadline",
        "other",
    ];

    /// Which of [`Failure::KINDS`] this is.
    pub(crate) fn kind(self) -> usize {
        match self {
            Self::ConnectRefused => 0,
            Self::Timeout => 1,
            Self::NoLocalPort => 2,
            Self::Reset => 3,
            Self::CutShort { .. } => 4,
            Self::WrongBytes { .. } => 5,
            Self::Deadline => 6,
            Self::Other(_) => 7,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::ConnectRefused,
            io::ErrorKind::TimedOut => Self::Timeout,
            // The second from a bind to an address all of whose ports are taken.
            io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse => Self::NoLocalPort,
            // A write after the peer's reset was noticed gives a broken pipe.
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::Reset,
            kind => Self::Other(kind),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConnectRefused => write!(out, "nobody listens there"),
            Self::Timeout => write!(out, "no connection within --connect-timeout"),
            Self::NoLocalPort => write!(
                out,
                "all local ports to the target are in use or closing; reconnect less often, or widen \
                 net.ipv4.ip_local_port_range"
            ),
            Self::Reset => write!(out, "connection reset by the peer"),
            Self::CutShort { received } => write!(out, "end of stream after {received} bytes of the reply"),
            Self::WrongBytes { at } => write!(out, "byte {at} of the reply"),
            Self::Deadline => write!(out, "not done within --deadline"),
            Self::Other(kind) => write!(out, "{kind}"),
        }
    }
}
