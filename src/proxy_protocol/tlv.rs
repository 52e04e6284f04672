//! Tlv: what a header of version 2 tells beside the addresses, each with its type, length and value.

use super::{Malformed, UNIQUE_ID_BYTES_MAX};

/// The protocol inside of TLS, as the client and somebody agreed on it.
pub const ALPN: u8 = 0x01;
/// The name that the client asked for (SNI).
pub const AUTHORITY: u8 = 0x02;
/// A checksum over the header.
pub const CRC32C: u8 = 0x03;
/// Nothing: padding.
pub(super) const NOOP: u8 = 0x04;
/// What the connection is called.
pub const UNIQUE_ID: u8 = 0x05;

/// Those of a header, in their order. Their values are bytes: nobody says that they are text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tlvs(Box<[u8]>);

impl Tlvs {
    /// Those that stand in this header from `start` on. The header is whole.
    pub(super) fn parse(header: &[u8], start: usize) -> Result<Tlvs, Malformed> {
        let bytes = &header[start..];
        // The four kinds that mean one thing of a connection: two of a kind would mean either.
        let mut seen = [false; UNIQUE_ID as usize + 1];
        let mut rest = bytes;
        while !rest.is_empty() {
            let (kind, value, after) = first(rest).ok_or(Malformed::TlvOverrun)?;
            if let Some(seen) = seen.get_mut(usize::from(kind)).filter(|_| kind != NOOP && kind != 0)
                && std::mem::replace(seen, true)
            {
                return Err(Malformed::TlvRepeated);
            }
            match kind {
                CRC32C => {
                    let value_at = header.len() - after.len() - value.len();
                    check(header, value_at, value)?;
                }
                UNIQUE_ID if value.len() > UNIQUE_ID_BYTES_MAX => return Err(Malformed::UniqueIdTooLong),
                _ => {}
            }
            rest = after;
        }
        Ok(Tlvs(bytes.into()))
    }

    /// Each with its type and value.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &[u8])> {
        let mut rest = &*self.0;
        std::iter::from_fn(move || {
            let (kind, value, after) = first(rest)?;
            rest = after;
            Some((kind, value))
        })
    }

    /// The value of the first one of this type.
    pub fn get(&self, kind: u8) -> Option<&[u8]> {
        self.iter().find(|(found, _)| *found == kind).map(|(_, value)| value)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Type and value of the first one, and what follows it.
fn first(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let ([kind, high, low], rest) = bytes.split_first_chunk()?;
    let (value, after) = rest.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))?;
    Some((*kind, value, after))
}

/// The checksum is that of the header with four zeros in its place.
fn check(header: &[u8], value_at: usize, value: &[u8]) -> Result<(), Malformed> {
    let told: [u8; 4] = value.try_into().map_err(|_| Malformed::ChecksumLength)?;
    let before = crc32c::crc32c(&header[..value_at]);
    let zeros = crc32c::crc32c_append(before, &[0; 4]);
    let found = crc32c::crc32c_append(zeros, &header[value_at + 4..]);
    if found == u32::from_be_bytes(told) { Ok(()) } else { Err(Malformed::Checksum) }
}
