//! Who is told by PROXY protocol: the client, by a proxy before us, and the backends, by us.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::Choice;

/// `[listener.proxy_protocol]`: each connection, or what comes over UDP, begins with a header that says who the client is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptProxy {
    /// Who may say so; everybody else is turned away.
    pub accept_from: Vec<IpNet>,
    /// In which versions.
    pub versions: Vec<ProxyVersion>,
    /// How long the whole header may take.
    pub timeout: Duration,
    /// Before which datagrams it has to be, over UDP.
    pub datagrams: ProxyDatagrams,
}

impl AcceptProxy {
    /// Whether this address may say who the client is.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.accept_from.iter().any(|network| network.contains(&address))
    }
}

/// `[pool.proxy_protocol]`: each connection to a backend begins with a header that says who the client is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendProxy {
    /// In which version.
    pub version: ProxyVersion,
    /// Before which datagrams of a session it goes, over UDP.
    pub datagrams: ProxyDatagrams,
    /// What is told beside the addresses, where it is known.
    pub tlvs: Vec<ProxyTlv>,
    /// Values that are the same for every connection, by their types.
    pub custom: Vec<(u8, Box<[u8]>)>,
}

impl SendProxy {
    /// Whether this is told.
    pub fn tells(&self, tlv: ProxyTlv) -> bool {
        self.tlvs.contains(&tlv)
    }
}

/// Before which datagrams of a session the header goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProxyDatagrams {
    /// The first one.
    First,
    /// All of them.
    Each,
}

impl Choice for ProxyDatagrams {
    const ALL: &'static [Self] = &[Self::First, Self::Each];

    fn word(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Each => "each",
        }
    }
}

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Bytes, with room for more than addresses.
    V2,
}

impl Choice for ProxyVersion {
    const ALL: &'static [Self] = &[Self::V1, Self::V2];

    fn word(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }
}

/// What a header of version 2 tells beside the addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProxyTlv {
    /// The name that the client asked for.
    Authority,
    /// The protocol inside of TLS.
    Alpn,
    /// What the session is called.
    UniqueId,
    /// A checksum over the header.
    Checksum,
    /// Whatever else a proxy before us told.
    Received,
}

impl Choice for ProxyTlv {
    const ALL: &'static [Self] =
        &[Self::Authority, Self::Alpn, Self::UniqueId, Self::Checksum, Self::Received];

    fn word(self) -> &'static str {
        match self {
            Self::Authority => "authority",
            Self::Alpn => "alpn",
            Self::UniqueId => "unique-id",
            Self::Checksum => "crc32c",
            Self::Received => "received",
        }
    }
}
