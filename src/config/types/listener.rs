//! Where clients are accepted, and what they get.

use std::time::Duration;

use super::{
    AcceptProxy, Access, Address, Bandwidth, Choice, ListenerLimits, ListeningSocket, Route, TcpOptions, Tls,
    Udp,
};

/// `[[listener]]`: addresses that accept clients for one pool.
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    /// Unique among listeners.
    pub name: String,
    /// Where it accepts; unique over all listeners.
    pub bind: Vec<Address>,
    /// What it accepts.
    pub protocol: Protocol,
    /// The pool that serves it: an index into the pools of the configuration.
    pub pool: usize,
    /// `[listener.tls]`
    pub tls: Tls,
    /// `[[listener.route]]`, in file order: who goes to another pool.
    pub routes: Vec<Route>,
    /// Connections that the kernel holds for us before they are accepted, per worker and address.
    pub backlog: u32,
    /// Which worker serves a connection.
    pub accept: Accept,
    /// TCP options of the client connections.
    pub tcp: TcpOptions,
    /// `[listener.socket]`
    pub socket: ListeningSocket,
    /// Ends a session in which no byte, or no datagram, moved for this long.
    pub idle_timeout: Option<Duration>,
    /// The same, once one side has ended its stream.
    pub half_closed_timeout: Option<Duration>,
    /// Ends a session that has lasted this long, whatever it does.
    pub lifetime_max: Option<Duration>,
    /// Percent that this may be shorter or longer, for each session another.
    pub lifetime_jitter: u8,
    /// What a client gets when no backend could be reached.
    pub no_backend: NoBackend,
    /// What holds for sessions over datagrams.
    pub udp: Udp,
    /// Whether its sessions are in the access log.
    pub access_log: bool,
    /// `[listener.proxy_protocol]`: who may say who the client is, if that is said.
    pub proxy_protocol: Option<AcceptProxy>,
    /// Who may connect.
    pub access: Access,
    /// How many may.
    pub limits: ListenerLimits,
    /// How fast each of them may be.
    pub bandwidth: Bandwidth,
}

impl Listener {
    /// The pools that serve it: its own first, then those of its routes.
    pub fn pools(&self) -> impl Iterator<Item = usize> {
        std::iter::once(self.pool).chain(self.routes.iter().map(|route| route.pool))
    }
}

/// What a listener accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// TCP connections.
    Tcp,
    /// UDP datagrams.
    Udp,
}

impl Choice for Protocol {
    const ALL: &'static [Self] = &[Self::Tcp, Self::Udp];

    fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// Which worker serves a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accept {
    /// The one whose socket the kernel gave it to, by a hash of the addresses and ports.
    Reuseport,
    /// The one with the fewest sessions: the one that accepted it hands it over.
    Balanced,
}

impl Choice for Accept {
    const ALL: &'static [Self] = &[Self::Reuseport, Self::Balanced];

    fn word(self) -> &'static str {
        match self {
            Self::Reuseport => "reuseport",
            Self::Balanced => "balanced",
        }
    }
}

/// What a client gets when no backend could be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoBackend {
    /// A TCP reset.
    Reset,
    /// The end of the stream, with no byte before it.
    Close,
    /// This text, then the end of the stream.
    Message(String),
}
