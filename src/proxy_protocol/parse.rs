//! Parse: bytes as they come, to a header or the reason why they cannot be one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::tlv::Tlvs;
use super::{
    Addresses, Command, FIXED_BYTES, HEADER_BYTES_MAX, Header, LINE_BYTES_MAX, Malformed, Parsed, SIGNATURE,
    Transport, Version,
};

/// What every line begins with.
const WORD: &[u8] = b"PROXY ";

/// The header at the beginning of a stream, in one of these versions. Call it again with more bytes while it says so.
pub fn parse(bytes: &[u8], versions: &[Version]) -> Parsed {
    let found = if begins_like(bytes, &SIGNATURE) {
        taken(Version::V2, versions).and_then(|()| block(bytes, Transport::Stream))
    } else if begins_like(bytes, WORD) {
        taken(Version::V1, versions).and_then(|()| line(bytes))
    } else {
        Err(Malformed::Signature)
    };
    match found {
        Ok(Some(header)) => Parsed::Header(header),
        Ok(None) => Parsed::More,
        Err(reason) => Parsed::Malformed(reason),
    }
}

/// Whether a datagram begins with what every header of version 2 begins with.
pub fn has_signature(bytes: &[u8]) -> bool {
    bytes.starts_with(&SIGNATURE)
}

/// The header at the beginning of a datagram, of version 2: it is all there, or there is none.
///
/// # Errors
///
/// Why it is no header.
pub fn parse_datagram(bytes: &[u8]) -> Result<Header, Malformed> {
    if !begins_like(bytes, &SIGNATURE) {
        return Err(Malformed::Signature);
    }
    block(bytes, Transport::Datagram)?.ok_or(Malformed::CutOff)
}

/// Whether what is there could be the beginning of it.
fn begins_like(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(one, other)| one == other)
}

fn taken(version: Version, versions: &[Version]) -> Result<(), Malformed> {
    if versions.contains(&version) { Ok(()) } else { Err(Malformed::VersionNotTaken) }
}

/// Version 1: `PROXY TCP4 192.0.2.7 198.51.100.1 50123 443`, CR, LF.
fn line(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let Some(end) = bytes.iter().take(LINE_BYTES_MAX).position(|byte| matches!(byte, b'\r' | b'\n')) else {
        return if bytes.len() < LINE_BYTES_MAX { Ok(None) } else { Err(Malformed::LineTooLong) };
    };
    let length = end + 2;
    match &bytes[end..] {
        [b'\r'] if length <= LINE_BYTES_MAX => return Ok(None),
        [b'\r', ..] if length > LINE_BYTES_MAX => return Err(Malformed::LineTooLong),
        [b'\r', b'\n', ..] => {}
        _ => return Err(Malformed::LineEnd),
    }
    // A line that ends within the word is not one of ours.
    let rest = bytes[..end].strip_prefix(WORD).ok_or(Malformed::Signature)?;
    let command = match rest {
        b"UNKNOWN" => Command::Unknown,
        // The specification has whatever follows ignored.
        _ if rest.starts_with(b"UNKNOWN ") => Command::Unknown,
        _ => Command::Proxied(addresses(rest)?),
    };
    Ok(Some(Header { version: Version::V1, command, tlvs: Tlvs::default(), length }))
}

fn addresses(rest: &[u8]) -> Result<Addresses, Malformed> {
    let text = str::from_utf8(rest).map_err(|_| Malformed::Fields)?;
    let (protocol, text) = text.split_once(' ').unwrap_or((text, ""));
    let ip: fn(&str) -> Result<IpAddr, Malformed> = match protocol {
        "TCP4" => address::<Ipv4Addr>,
        "TCP6" => address::<Ipv6Addr>,
        _ => return Err(Malformed::Protocol),
    };
    let fields: Vec<&str> = text.split(' ').collect();
    let [source, destination, source_port, destination_port] = fields[..] else {
        return Err(Malformed::Fields);
    };
    let (source, destination) = (ip(source)?, ip(destination)?);
    Ok(Addresses {
        source: SocketAddr::new(source, port(source_port)?),
        destination: SocketAddr::new(destination, port(destination_port)?),
    })
}

/// The standard library takes no sign, no leading zero, no part above its bound and no zone.
fn address<Ip: FromStr + Into<IpAddr>>(text: &str) -> Result<IpAddr, Malformed> {
    text.parse::<Ip>().map(Into::into).map_err(|_| Malformed::Address)
}

/// It does take a plus and leading zeros in a number.
fn port(text: &str) -> Result<u16, Malformed> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain).ok_or(Malformed::Port)
}

/// Version 2.
fn block(bytes: &[u8], transport: Transport) -> Result<Option<Header>, Malformed> {
    let command = bytes.get(SIGNATURE.len());
    if command.is_some_and(|byte| byte >> 4 != 2) {
        return Err(Malformed::Version);
    }
    if command.is_some_and(|byte| byte & 0x0f > 1) {
        return Err(Malformed::Command);
    }
    let is_local = command.is_some_and(|byte| byte & 0x0f == 0);
    // The specification has the family of a LOCAL header ignored, with all that follows.
    let family = match bytes.get(SIGNATURE.len() + 1) {
        Some(byte) if !is_local => Some(Family::of(*byte, transport)?),
        _ => None,
    };
    let Some((fixed, _)) = bytes.split_first_chunk::<FIXED_BYTES>() else { return Ok(None) };
    let length = FIXED_BYTES + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if length > HEADER_BYTES_MAX {
        return Err(Malformed::TooLong);
    }
    let addresses_end = FIXED_BYTES + family.map_or(0, Family::bytes);
    if length < addresses_end {
        return Err(Malformed::TooShort);
    }
    let Some(whole) = bytes.get(..length) else { return Ok(None) };
    let (command, tlvs) = match family {
        None => (Command::Local, Tlvs::default()),
        Some(Family::Unspecified) => (Command::Unknown, Tlvs::default()),
        Some(family) => {
            let command = family.addresses(&whole[FIXED_BYTES..]).map_or(Command::Unknown, Command::Proxied);
            (command, Tlvs::parse(whole, addresses_end)?)
        }
    };
    Ok(Some(Header { version: Version::V2, command, tlvs, length }))
}

/// What kind of addresses a header of version 2 has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    /// None that mean anything.
    Unspecified,
    V4,
    V6,
    Unix,
}

impl Family {
    fn of(byte: u8, transport: Transport) -> Result<Family, Malformed> {
        let (family, of) = match byte {
            0x00 => return Ok(Family::Unspecified),
            0x11 => (Family::V4, Transport::Stream),
            0x12 => (Family::V4, Transport::Datagram),
            0x21 => (Family::V6, Transport::Stream),
            0x22 => (Family::V6, Transport::Datagram),
            0x31 => (Family::Unix, Transport::Stream),
            0x32 => (Family::Unix, Transport::Datagram),
            _ => return Err(Malformed::Family),
        };
        if of == transport { Ok(family) } else { Err(Malformed::Transport) }
    }

    /// Bytes of both addresses and ports.
    fn bytes(self) -> usize {
        match self {
            Family::Unspecified => 0,
            Family::V4 => 12,
            Family::V6 => 36,
            Family::Unix => 216,
        }
    }

    fn addresses(self, bytes: &[u8]) -> Option<Addresses> {
        match self {
            Family::Unspecified | Family::Unix => None,
            Family::V4 => pair::<4>(bytes),
            Family::V6 => pair::<16>(bytes),
        }
    }
}

/// Two addresses of so many bytes, then two ports.
fn pair<const SIZE: usize>(bytes: &[u8]) -> Option<Addresses>
where
    IpAddr: From<[u8; SIZE]>,
{
    let (source, rest) = bytes.split_first_chunk::<SIZE>()?;
    let (destination, rest) = rest.split_first_chunk::<SIZE>()?;
    let (source_port, rest) = rest.split_first_chunk()?;
    let (destination_port, _) = rest.split_first_chunk()?;
    Some(Addresses {
        source: SocketAddr::new(IpAddr::from(*source), u16::from_be_bytes(*source_port)),
        destination: SocketAddr::new(IpAddr::from(*destination), u16::from_be_bytes(*destination_port)),
    })
}
