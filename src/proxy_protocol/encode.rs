//! Encode: the header that tells a backend who the client is.

use std::net::IpAddr;

use super::tlv::{ALPN, AUTHORITY, CRC32C, NOOP, Tlvs, UNIQUE_ID};
use super::{Addresses, FIXED_BYTES, SIGNATURE, Transport, Version};

/// What a header of version 2 tells.
#[derive(Debug, Clone, Copy)]
pub struct Announcement<'a> {
    /// What is carried behind it.
    pub transport: Transport,
    /// Both ends of the client's connection.
    pub addresses: Addresses,
    /// The protocol inside of TLS.
    pub alpn: Option<&'a [u8]>,
    /// The name that the client asked for.
    pub authority: Option<&'a [u8]>,
    /// What the connection is called.
    pub unique_id: Option<&'a [u8]>,
    /// What a proxy before us told: all that is not one of the others is passed on.
    pub received: Option<&'a Tlvs>,
    /// Values of our own, by their types.
    pub custom: &'a [(u8, Box<[u8]>)],
    /// Whether a checksum is among them.
    pub checksum: bool,
}

/// The header of a connection of our own, such as a check: no client is behind it.
pub fn local(version: Version) -> &'static [u8] {
    match version {
        Version::V1 => b"PROXY UNKNOWN\r\n",
        Version::V2 => b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00",
    }
}

/// A line that tells both addresses.
pub fn version_1(addresses: &Addresses) -> Vec<u8> {
    let Addresses { source, destination } = addresses;
    let family = match (source.ip(), destination.ip()) {
        (IpAddr::V4(_), IpAddr::V4(_)) => "TCP4",
        (IpAddr::V6(_), IpAddr::V6(_)) => "TCP6",
        // No line can tell one of each, and no connection has them.
        _ => return local(Version::V1).to_vec(),
    };
    let (from, to) = (source.ip(), destination.ip());
    format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port()).into_bytes()
}

/// The same in version 2, with TLVs.
pub fn version_2(told: &Announcement<'_>) -> Vec<u8> {
    let Addresses { source, destination } = told.addresses;
    let mut header = Vec::with_capacity(256);
    header.extend_from_slice(&SIGNATURE);
    let transport = match told.transport {
        Transport::Stream => 0x01,
        Transport::Datagram => 0x02,
    };
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            header.extend_from_slice(&[0x21, 0x10 | transport, 0, 0]);
            header.extend_from_slice(&from.octets());
            header.extend_from_slice(&to.octets());
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            header.extend_from_slice(&[0x21, 0x20 | transport, 0, 0]);
            header.extend_from_slice(&from.octets());
            header.extend_from_slice(&to.octets());
        }
        // As in version 1.
        _ => return local(Version::V2).to_vec(),
    }
    header.extend_from_slice(&source.port().to_be_bytes());
    header.extend_from_slice(&destination.port().to_be_bytes());

    let ours = [(ALPN, told.alpn), (AUTHORITY, told.authority), (UNIQUE_ID, told.unique_id)];
    for (kind, value) in ours {
        value.into_iter().for_each(|value| push(&mut header, kind, value));
    }
    // What another proxy told under a type that we set ourselves is not passed on beside it.
    let is_ours = |kind| {
        matches!(kind, CRC32C | NOOP)
            || ours.iter().any(|(own, value)| *own == kind && value.is_some())
            || told.custom.iter().any(|(own, _)| *own == kind)
    };
    for (kind, value) in told.received.into_iter().flat_map(Tlvs::iter).filter(|(kind, _)| !is_ours(*kind)) {
        push(&mut header, kind, value);
    }
    for (kind, value) in told.custom {
        push(&mut header, *kind, value);
    }
    if told.checksum {
        push(&mut header, CRC32C, &[0; 4]);
    }
    // Bounds of what is received and of what is configured keep it far below this.
    let length = u16::try_from(header.len() - FIXED_BYTES).expect("a header is shorter than 64 KiB");
    header[FIXED_BYTES - 2..FIXED_BYTES].copy_from_slice(&length.to_be_bytes());
    if told.checksum {
        let checksum = crc32c::crc32c(&header).to_be_bytes();
        let end = header.len();
        header[end - 4..].copy_from_slice(&checksum);
    }
    header
}

fn push(header: &mut Vec<u8>, kind: u8, value: &[u8]) {
    header.push(kind);
    header.extend_from_slice(&(value.len() as u16).to_be_bytes());
    header.extend_from_slice(value);
}
