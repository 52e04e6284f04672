//! Format: the bytes of a record. Pure; the table of `docs/replay.md`.
//!
//! Numbers of the header are little-endian. Those of a session are LEB128: seven bits in a byte, the lowest first, the top
//! bit set in all but the last.

use std::net::IpAddr;

use crate::arrivals::{Arrival, Client};
use crate::end::End;
use crate::table::BackendId;

/// What each file begins with.
pub(super) const MAGIC: [u8; 8] = *b"RINGREC\n";
/// Of the format that this reads and writes.
pub(super) const VERSION: u16 = 2;
/// Up to the text of the setting.
const FIXED_BYTES: usize = 32;
/// The longest text of a setting: as long as a configuration may be.
const SETTING_BYTES_MAX: usize = 4 << 20;
/// The longest header.
pub(super) const HEADER_BYTES_MAX: usize = FIXED_BYTES + SETTING_BYTES_MAX;

/// Flag of the header: clients are told by their addresses.
const ADDRESSES: u16 = 1;

/// Bits of the first byte of a session, above its end.
const END_MASK: u8 = 0x1f;
const HAS_BACKEND: u8 = 0x20;
const HAS_CONNECT: u8 = 0x40;
const HAS_FIRST_BYTE: u8 = 0x80;

const _: () = assert!(End::COUNT <= END_MASK as usize + 1);

/// What a file begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The moment from which times are told, in microseconds since 1970.
    pub begun_unix_us: u64,
    /// Which run of ringway it is of: in another one a client has another number.
    pub run: u64,
    /// Whether clients are told by their addresses.
    pub addresses: bool,
    /// Listeners, pools and backends, as a configuration.
    pub setting: String,
}

/// Why bytes are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// They end too early.
    Cut,
    /// They are no record.
    NotARecord,
    /// They are a record of this version, which is not known.
    Version(u16),
    /// They have a value that cannot be.
    Damaged(&'static str),
}

impl Header {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let flags = if self.addresses { ADDRESSES } else { 0 };
        let length = u32::try_from(self.setting.len()).expect("a configuration is far shorter");
        let mut bytes = Vec::with_capacity(FIXED_BYTES + self.setting.len());
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(flags.to_le_bytes());
        bytes.extend(length.to_le_bytes());
        bytes.extend(self.begun_unix_us.to_le_bytes());
        bytes.extend(self.run.to_le_bytes());
        bytes.extend(self.setting.as_bytes());
        bytes
    }

    /// From bytes, and how many of them it was.
    ///
    /// # Errors
    ///
    /// What is wrong with them.
    pub fn decode(bytes: &[u8]) -> Result<(Header, usize), Fault> {
        if bytes.is_empty() || !MAGIC.starts_with(&bytes[..bytes.len().min(MAGIC.len())]) {
            return Err(Fault::NotARecord);
        }
        let mut rest = bytes.get(MAGIC.len()..).ok_or(Fault::Cut)?;
        let version = u16::from_le_bytes(fixed(&mut rest)?);
        if version != VERSION {
            return Err(Fault::Version(version));
        }
        let flags = u16::from_le_bytes(fixed(&mut rest)?);
        let length = u32::from_le_bytes(fixed(&mut rest)?) as usize;
        let begun_unix_us = u64::from_le_bytes(fixed(&mut rest)?);
        let run = u64::from_le_bytes(fixed(&mut rest)?);
        if length > SETTING_BYTES_MAX {
            return Err(Fault::Damaged("the length of the header"));
        }
        let text = rest.get(..length).ok_or(Fault::Cut)?;
        let setting = std::str::from_utf8(text).map_err(|_| Fault::Damaged("the header"))?.to_owned();
        let header = Header { begun_unix_us, run, addresses: flags & ADDRESSES != 0, setting };
        Ok((header, FIXED_BYTES + length))
    }
}

/// Writes and reads the sessions of one file, from its first on: each is told by what has passed since the one before.
#[derive(Debug, Clone, Copy, Default)]
pub struct Coder {
    /// When the session before ended. They come nearly in this order.
    ended_us: u64,
}

impl Coder {
    /// Appends a session.
    pub fn encode(&mut self, arrival: &Arrival, bytes: &mut Vec<u8>) {
        let given = |value: Option<u64>, flag: u8| if value.is_some() { flag } else { 0 };
        let backend = arrival.backend.map(|backend| backend.index() as u64);
        bytes.push(
            arrival.end as u8
                | given(backend, HAS_BACKEND)
                | given(arrival.connect_us, HAS_CONNECT)
                | given(arrival.first_byte_us, HAS_FIRST_BYTE),
        );
        let ended_us = arrival.accepted_us.wrapping_add(arrival.duration_us);
        put(zigzag(ended_us.wrapping_sub(self.ended_us) as i64), bytes);
        self.ended_us = ended_us;
        put(arrival.duration_us, bytes);
        put(arrival.waited_us, bytes);
        put(u64::from(arrival.listener), bytes);
        put(u64::from(arrival.pool), bytes);
        for value in [backend, arrival.connect_us, arrival.first_byte_us].into_iter().flatten() {
            put(value, bytes);
        }
        put(arrival.bytes_to_backend, bytes);
        put(arrival.bytes_to_client, bytes);
        match arrival.client {
            Client::Hash(hash) => bytes.extend(hash.to_le_bytes()),
            Client::Address(IpAddr::V4(v4)) => {
                bytes.push(4);
                bytes.extend(v4.octets());
            }
            Client::Address(IpAddr::V6(v6)) => {
                bytes.push(6);
                bytes.extend(v6.octets());
            }
        }
    }

    /// Takes a session from the front of `bytes`. After an error neither has moved.
    ///
    /// # Errors
    ///
    /// What is wrong with the bytes.
    pub fn decode(&mut self, bytes: &mut &[u8], addresses: bool) -> Result<Arrival, Fault> {
        let mut rest = *bytes;
        let [first] = fixed(&mut rest)?;
        let end =
            End::ALL.get(usize::from(first & END_MASK)).ok_or(Fault::Damaged("the end of a session"))?;
        let ended_us = self.ended_us.wrapping_add(unzigzag(take(&mut rest)?) as u64);
        let duration_us = take(&mut rest)?;
        let accepted_us = ended_us.checked_sub(duration_us).ok_or(Fault::Damaged("the time of a session"))?;
        let waited_us = take(&mut rest)?;
        if waited_us > duration_us {
            return Err(Fault::Damaged("the times of a session"));
        }
        let listener = u32::try_from(take(&mut rest)?).map_err(|_| Fault::Damaged("a listener"))?;
        let pool = u32::try_from(take(&mut rest)?).map_err(|_| Fault::Damaged("a pool"))?;
        let mut optional = |flag: u8| (first & flag != 0).then(|| take(&mut rest)).transpose();
        let backend = optional(HAS_BACKEND)?.map(u32::try_from).transpose();
        let backend = backend.map_err(|_| Fault::Damaged("a backend"))?;
        let (connect_us, first_byte_us) = (optional(HAS_CONNECT)?, optional(HAS_FIRST_BYTE)?);
        // Zeros, as a crash leaves them at the end of a file, must not pass for sessions: they would be such ones.
        if *end == End::Complete && (backend.is_none() || connect_us.is_none()) {
            return Err(Fault::Damaged("the backend of a complete session"));
        }
        let arrival = Arrival {
            listener,
            pool,
            backend: backend.map(|backend| BackendId::new(backend as usize)),
            accepted_us,
            waited_us,
            connect_us,
            first_byte_us,
            duration_us,
            bytes_to_backend: take(&mut rest)?,
            bytes_to_client: take(&mut rest)?,
            client: client(&mut rest, addresses)?,
            end: *end,
        };
        self.ended_us = ended_us;
        *bytes = rest;
        Ok(arrival)
    }
}

fn client(rest: &mut &[u8], addresses: bool) -> Result<Client, Fault> {
    if !addresses {
        return Ok(Client::Hash(u64::from_le_bytes(fixed(rest)?)));
    }
    match fixed(rest)? {
        [4] => Ok(Client::Address(IpAddr::from(fixed::<4>(rest)?))),
        [6] => Ok(Client::Address(IpAddr::from(fixed::<16>(rest)?))),
        _ => Err(Fault::Damaged("the address of a client")),
    }
}

/// Small numbers of either sign as small numbers.
fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

fn put(mut number: u64, bytes: &mut Vec<u8>) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take(rest: &mut &[u8]) -> Result<u64, Fault> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let [byte] = fixed(rest)?;
        let bits = u64::from(byte & 0x7f);
        if (bits << shift) >> shift != bits {
            break;
        }
        number |= bits << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(Fault::Damaged("a number"))
}

fn fixed<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Fault> {
    let (front, back) = rest.split_first_chunk().ok_or(Fault::Cut)?;
    *rest = back;
    Ok(*front)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastrand::Rng;

    /// A session with numbers of every length.
    fn any(dice: &mut Rng, addresses: bool) -> Arrival {
        let mut up_to = |bits: u32| dice.u64(..) >> (64 - dice.u32(1..=bits));
        let (waited_us, rest_us) = (up_to(40), up_to(45));
        let numbers = [up_to(45), up_to(24), up_to(30), up_to(64), up_to(64)];
        let client = match (addresses, dice.bool()) {
            (false, _) => Client::Hash(dice.u64(..)),
            (true, true) => Client::Address(IpAddr::from(dice.u32(..).to_be_bytes())),
            (true, false) => Client::Address(IpAddr::from(dice.u128(..).to_be_bytes())),
        };
        let end = End::ALL[dice.usize(0..End::COUNT)];
        // Nobody is complete who was not served.
        let mut has = || end == End::Complete || dice.bool();
        let (has_backend, has_connect) = (has(), has());
        Arrival {
            listener: dice.u32(..) >> dice.u32(0..32),
            pool: dice.u32(..) >> dice.u32(0..32),
            backend: has_backend.then(|| BackendId::new(dice.usize(0..65_535))),
            client,
            accepted_us: numbers[0],
            waited_us,
            connect_us: has_connect.then_some(numbers[1]),
            first_byte_us: dice.bool().then_some(numbers[2]),
            duration_us: waited_us + rest_us,
            bytes_to_backend: numbers[3],
            bytes_to_client: numbers[4],
            end,
        }
    }

    #[test]
    fn what_is_written_is_read_and_a_cut_is_told_at_every_byte() {
        for addresses in [false, true] {
            let mut dice = Rng::with_seed(5);
            let arrivals: Vec<Arrival> = (0..300).map(|_| any(&mut dice, addresses)).collect();
            let (mut coder, mut bytes, mut ends) = (Coder::default(), Vec::new(), vec![0]);
            for arrival in &arrivals {
                coder.encode(arrival, &mut bytes);
                ends.push(bytes.len());
            }
            for cut in 0..=bytes.len() {
                let (mut coder, mut rest, mut found) = (Coder::default(), &bytes[..cut], 0);
                let fault = loop {
                    match coder.decode(&mut rest, addresses) {
                        Ok(arrival) => assert_eq!(arrival, arrivals[found]),
                        Err(fault) => break fault,
                    }
                    found += 1;
                };
                assert_eq!(fault, Fault::Cut);
                assert_eq!(found, ends.iter().filter(|&&end| end <= cut).count() - 1);
                assert_eq!(rest.len(), cut - ends[found]);
            }
        }
    }

    #[test]
    fn zeros_are_no_sessions() {
        for addresses in [false, true] {
            let mut dice = Rng::with_seed(7);
            let (arrival, mut coder, mut bytes) = (any(&mut dice, addresses), Coder::default(), Vec::new());
            coder.encode(&arrival, &mut bytes);
            bytes.extend([0; 4_096]);
            let (mut coder, mut rest) = (Coder::default(), &bytes[..]);
            assert_eq!(coder.decode(&mut rest, addresses), Ok(arrival));
            let damage = Err(Fault::Damaged("the backend of a complete session"));
            assert_eq!(coder.decode(&mut rest, addresses), damage);
            assert_eq!(rest.len(), 4_096, "nothing is taken");
        }
    }

    #[test]
    fn a_usual_session_takes_less_than_forty_bytes() {
        let (mut coder, mut bytes) = (Coder::default(), Vec::new());
        for number in 0..1_000 {
            let arrival = Arrival {
                listener: 0,
                pool: 0,
                backend: Some(BackendId::new(5)),
                client: Client::Hash(u64::MAX),
                accepted_us: 1_000_000_000 + number * 137,
                waited_us: 4,
                connect_us: Some(180),
                first_byte_us: Some(14_000),
                duration_us: 15_000,
                bytes_to_backend: 500,
                bytes_to_client: 12_000,
                end: End::Complete,
            };
            coder.encode(&arrival, &mut bytes);
        }
        assert_eq!(bytes.len() / 1_000, 25);
    }

    #[test]
    fn a_header_is_read_as_it_was_written_and_nothing_else_passes_for_one() {
        let header = Header {
            begun_unix_us: 1_700_000_000_000_000,
            run: 7,
            addresses: true,
            setting: "a = 1\n".into(),
        };
        let bytes = header.encode();
        assert_eq!(Header::decode(&bytes), Ok((header, bytes.len())));
        for cut in 1..bytes.len() {
            assert_eq!(Header::decode(&bytes[..cut]), Err(Fault::Cut), "{cut}");
        }
        assert_eq!(Header::decode(b""), Err(Fault::NotARecord));
        assert_eq!(Header::decode(b"[server]\n"), Err(Fault::NotARecord));
        let mut newer = bytes;
        newer[8] = 9;
        assert_eq!(Header::decode(&newer), Err(Fault::Version(9)));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic() {
        let mut dice = Rng::with_seed(1);
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..dice.usize(0..60)).map(|_| dice.u8(..)).collect();
            let (mut coder, mut rest) = (Coder::default(), &bytes[..]);
            while coder.decode(&mut rest, dice.bool()).is_ok() {}
        }
    }

    #[test]
    fn numbers_that_do_not_fit_are_damage() {
        let number = |bytes: &[u8]| take(&mut &bytes[..]);
        assert_eq!(number(&[0x80, 0x01]), Ok(128));
        assert_eq!(number(&[[0xff; 9].as_slice(), &[0x01]].concat()), Ok(u64::MAX));
        assert_eq!(number(&[[0xff; 9].as_slice(), &[0x02]].concat()), Err(Fault::Damaged("a number")));
        assert_eq!(number(&[0x80; 12]), Err(Fault::Damaged("a number")));
    }
}
