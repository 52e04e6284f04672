//! Proxy protocol: who the client is, as a proxy before us tells it, and as we tell it to a backend. Both versions. Pure.
//!
//! The specification is HAProxy's public `proxy-protocol.txt`. What it leaves to the receiver is decided strictly here: whoever
//! is trusted to say who a client is has to say it in exactly one way. What cannot be a header is refused at its first wrong
//! byte, and nothing is ever guessed.

mod encode;
mod parse;
mod tlv;

use std::fmt;
use std::net::SocketAddr;

pub use crate::config::ProxyVersion as Version;
pub use encode::{Announcement, local, version_1, version_2};
pub use parse::{has_signature, parse, parse_datagram};
pub use tlv::{ALPN, AUTHORITY, CRC32C, Tlvs, UNIQUE_ID};

/// The longest header that is taken, of version 2.
pub const HEADER_BYTES_MAX: usize = 4_096;
/// The same of version 1, with its line end: the specification's own bound.
pub const LINE_BYTES_MAX: usize = 107;
/// The longest UNIQUE_ID: the specification's own bound.
pub const UNIQUE_ID_BYTES_MAX: usize = 128;

/// What a header of version 2 begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The signature, version and command, family, length.
const FIXED_BYTES: usize = 16;

/// Both ends of a client's connection, as the first proxy saw them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// The client.
    pub source: SocketAddr,
    /// What it connected to.
    pub destination: SocketAddr,
}

/// What is carried behind a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Stream,
    /// UDP.
    Datagram,
}

/// A header that is right in every part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// In which version it came.
    pub version: Version,
    /// Whose connection it is.
    pub command: Command,
    /// What else was told.
    pub tlvs: Tlvs,
    /// Its bytes: what follows is the client's.
    pub length: usize,
}

impl Header {
    /// The client, and where it has sent to, if that is told.
    pub fn addresses(&self) -> Option<Addresses> {
        match self.command {
            Command::Proxied(addresses) => Some(addresses),
            Command::Local | Command::Unknown => None,
        }
    }
}

/// Whose connection it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// The proxy's own, such as a check: its real addresses hold.
    Local,
    /// Somebody's whose addresses the proxy cannot tell (UNKNOWN, UNSPEC, a Unix socket): the real addresses hold.
    Unknown,
    /// This client's.
    Proxied(Addresses),
}

/// What the bytes so far are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// The beginning of a header.
    More,
    /// A header, and perhaps more behind it.
    Header(Header),
    /// No header, whatever follows.
    Malformed(Malformed),
}

/// Why it is no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// It begins like neither version.
    Signature,
    /// This listener does not take this version.
    VersionNotTaken,
    /// Version 1: no line end within 107 bytes.
    LineTooLong,
    /// Version 1: a CR or an LF that is not the line end.
    LineEnd,
    /// Version 1: neither TCP4, TCP6 nor UNKNOWN.
    Protocol,
    /// Version 1: not four fields with one space between them.
    Fields,
    /// Version 1: no address of the family.
    Address,
    /// Version 1: not 0 to 65535 in plain digits.
    Port,
    /// Version 2: another version in the second half of a signature that is right.
    Version,
    /// Version 2: neither LOCAL nor PROXY.
    Command,
    /// Version 2: a family and a transport that are not defined.
    Family,
    /// A datagram's header on a stream, or the other way round.
    Transport,
    /// Version 2: the addresses do not fit into the length.
    TooShort,
    /// Version 2: longer than is taken.
    TooLong,
    /// A TLV ends behind the end of the header.
    TlvOverrun,
    /// A TLV that can be there once is there again.
    TlvRepeated,
    /// The checksum does not have four bytes.
    ChecksumLength,
    /// The checksum is not that of the header.
    Checksum,
    /// A UNIQUE_ID of more than 128 bytes.
    UniqueIdTooLong,
    /// The stream or the datagram ended before the header did.
    CutOff,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Malformed::Signature => "it begins like neither version",
            Malformed::VersionNotTaken => "the listener does not take this version",
            Malformed::LineTooLong => "no line end within 107 bytes",
            Malformed::LineEnd => "a CR or an LF that is not the line end",
            Malformed::Protocol => "neither TCP4, TCP6 nor UNKNOWN",
            Malformed::Fields => "not four fields with one space between them",
            Malformed::Address => "no address of the family",
            Malformed::Port => "a port that is not 0 to 65535 in plain digits",
            Malformed::Version => "a version that is not 2",
            Malformed::Command => "neither LOCAL nor PROXY",
            Malformed::Family => "a family or a transport that is not defined",
            Malformed::Transport => "another transport than that of the listener",
            Malformed::TooShort => "its addresses do not fit into its length",
            Malformed::TooLong => "longer than 4096 bytes",
            Malformed::TlvOverrun => "a TLV that ends behind the header",
            Malformed::TlvRepeated => "a TLV twice that can be there once",
            Malformed::ChecksumLength => "a checksum that does not have four bytes",
            Malformed::Checksum => "a checksum that is not that of the header",
            Malformed::UniqueIdTooLong => "a UNIQUE_ID of more than 128 bytes",
            Malformed::CutOff => "it is not whole",
        })
    }
}

#[cfg(test)]
mod tests;
