//! Headers that are right, headers that are wrong, and the one from the other.

use super::tlv::NOOP;
use super::*;

/// Reasons and the bytes that are refused for them; the behaviour tests send the same to a listener.
const MALFORMED: &str = include_str!("../../tests/vectors/proxy-protocol.txt");
const BOTH: &[Version] = &[Version::V1, Version::V2];

fn unescaped(text: &str) -> Vec<u8> {
    let mut parts = text.split("\\x");
    let mut bytes = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    bytes
}

fn malformed() -> Vec<(&'static str, Vec<u8>)> {
    let lines = MALFORMED.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split_once(' ').unwrap()).map(|(reason, text)| (reason, unescaped(text))).collect()
}

fn addresses(source: &str, destination: &str) -> Addresses {
    Addresses { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

fn header(bytes: &[u8]) -> Header {
    match parse(bytes, BOTH) {
        Parsed::Header(header) => header,
        other => panic!("{other:?}: {}", bytes.escape_ascii()),
    }
}

fn announcement(addresses: Addresses) -> Announcement<'static> {
    Announcement {
        transport: Transport::Stream,
        addresses,
        alpn: None,
        authority: None,
        unique_id: None,
        received: None,
        custom: &[],
        checksum: false,
    }
}

/// Version 2 by hand: command, family, addresses and TLVs.
fn by_hand(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend_from_slice(&[command, family]);
    bytes.extend_from_slice(&(rest.len() as u16).to_be_bytes());
    bytes.extend_from_slice(rest);
    bytes
}

#[test]
fn each_wrong_header_is_refused_for_its_reason() {
    let malformed = malformed();
    assert!(malformed.len() > 60);
    for (reason, bytes) in malformed {
        let Parsed::Malformed(found) = parse(&bytes, BOTH) else { panic!("{}", bytes.escape_ascii()) };
        assert_eq!(format!("{found:?}"), reason, "{}", bytes.escape_ascii());
        // However much of it has come, no header is ever seen in it.
        for end in 0..bytes.len() {
            assert!(!matches!(parse(&bytes[..end], BOTH), Parsed::Header(_)), "{}", bytes.escape_ascii());
        }
        assert!(parse_datagram(&bytes).is_err() || reason == "Transport", "{}", bytes.escape_ascii());
    }
}

#[test]
fn lines_are_taken_byte_by_byte_and_end_where_they_end() {
    let told = addresses("192.0.2.7:50123", "198.51.100.1:443");
    for (line, command) in [
        ("PROXY TCP4 192.0.2.7 198.51.100.1 50123 443\r\n", Command::Proxied(told)),
        (
            "PROXY TCP6 2001:db8::7 2001:db8::1 0 65535\r\n",
            Command::Proxied(addresses("[2001:db8::7]:0", "[2001:db8::1]:65535")),
        ),
        (
            "PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n",
            Command::Proxied(addresses("[::ffff:192.0.2.7]:1", "[::1]:2")),
        ),
        ("PROXY UNKNOWN\r\n", Command::Unknown),
        ("PROXY UNKNOWN whatever  it is\r\n", Command::Unknown),
        // 107 bytes, the longest.
        (
            "PROXY UNKNOWN xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n",
            Command::Unknown,
        ),
    ] {
        for end in 0..line.len() {
            assert_eq!(parse(&line.as_bytes()[..end], BOTH), Parsed::More, "{end} of {line}");
        }
        let found = header(&[line.as_bytes(), b"\r\nPROXY"].concat());
        assert_eq!((found.version, found.command, found.length), (Version::V1, command, line.len()));
        assert!(found.tlvs.is_empty());
        assert!(line.len() <= LINE_BYTES_MAX);
    }
}

#[test]
fn blocks_are_taken_byte_by_byte_and_end_where_they_end() {
    let v4 = [192, 0, 2, 7, 198, 51, 100, 1, 0xC3, 0xCB, 1, 0xBB];
    let told = Command::Proxied(addresses("192.0.2.7:50123", "198.51.100.1:443"));
    let unix = [b'/'; 216];
    for (bytes, command) in [
        (by_hand(0x21, 0x11, &v4), told),
        (by_hand(0x21, 0x31, &unix), Command::Unknown),
        (by_hand(0x21, 0x00, b"anything"), Command::Unknown),
        (by_hand(0x20, 0x00, b""), Command::Local),
        // What follows in a LOCAL header is not looked at.
        (by_hand(0x20, 0x11, b"\x03\x00\x04"), Command::Local),
        (by_hand(0x20, 0xff, &[0; 4080]), Command::Local),
    ] {
        for end in 0..bytes.len() {
            assert_eq!(parse(&bytes[..end], BOTH), Parsed::More, "{end} of {}", bytes.escape_ascii());
        }
        let found = header(&[&bytes[..], b"GET /"].concat());
        assert_eq!((found.version, found.command, found.length), (Version::V2, command, bytes.len()));
    }
}

#[test]
fn a_version_that_is_not_taken_is_refused_at_its_first_byte() {
    let refused = Parsed::Malformed(Malformed::VersionNotTaken);
    assert_eq!(parse(b"P", &[Version::V2]), refused);
    assert_eq!(parse(b"\r", &[Version::V1]), refused);
    assert_eq!(parse(b"", BOTH), Parsed::More);
}

#[test]
fn what_is_written_is_read_as_the_same() {
    let custom = [(0xE1, b"rack-7"[..].into()), (0xEF, [0xff, 0][..].into())];
    for told in [
        addresses("192.0.2.7:50123", "198.51.100.1:443"),
        addresses("[2001:db8::7]:1", "[2001:db8::1]:65535"),
        addresses("[::ffff:192.0.2.7]:1", "[::ffff:192.0.2.8]:0"),
    ] {
        let line = header(&version_1(&told));
        assert_eq!((line.command, line.version), (Command::Proxied(told), Version::V1));
        let written = version_2(&Announcement {
            alpn: Some(b"h2"),
            authority: Some(b"\xff\xfe"),
            unique_id: Some(b"1-17"),
            custom: &custom,
            checksum: true,
            ..announcement(told)
        });
        let block = header(&written);
        assert_eq!((block.command, block.length), (Command::Proxied(told), written.len()));
        let kinds: Vec<u8> = block.tlvs.iter().map(|(kind, _)| kind).collect();
        assert_eq!(kinds, [ALPN, AUTHORITY, UNIQUE_ID, 0xE1, 0xEF, CRC32C]);
        assert_eq!(block.tlvs.get(AUTHORITY), Some(&b"\xff\xfe"[..]));
        // One bit of it, wherever: another header, or none. A checksum cannot be right for both.
        for bit in 0..8 * written.len() {
            let mut altered = written.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            match parse(&altered, BOTH) {
                Parsed::Header(Header { command: Command::Local | Command::Unknown, .. }) => {
                    assert!([12, 13].contains(&(bit / 8)), "bit {bit}");
                }
                // Without its checksum, because it is of another type now or does not reach that far.
                Parsed::Header(found) => assert_eq!(found.tlvs.get(CRC32C), None, "bit {bit}"),
                Parsed::More | Parsed::Malformed(_) => {}
            }
        }
    }
    let mixed = addresses("192.0.2.7:1", "[::1]:2");
    assert_eq!(version_1(&mixed), b"PROXY UNKNOWN\r\n");
    assert_eq!(version_2(&announcement(mixed)), local(Version::V2));
    assert_eq!(header(local(Version::V2)).command, Command::Local);
    assert_eq!(header(local(Version::V1)).command, Command::Unknown);
}

#[test]
fn what_a_proxy_told_is_passed_on_but_for_what_we_tell_ourselves() {
    let told = addresses("192.0.2.7:50123", "198.51.100.1:443");
    let first = version_2(&Announcement {
        authority: Some(b"a.example"),
        unique_id: Some(b"theirs"),
        custom: &[
            (NOOP, b"pad"[..].into()),
            (0xE1, b"theirs"[..].into()),
            (0xEA, b"vpce"[..].into()),
            (0xEA, b"2"[..].into()),
        ],
        checksum: true,
        ..announcement(told)
    });
    let received = header(&first).tlvs;
    let second = header(&version_2(&Announcement {
        unique_id: Some(b"ours"),
        custom: &[(0xE1, b"ours"[..].into())],
        received: Some(&received),
        ..announcement(told)
    }));
    let found: Vec<(u8, &[u8])> = second.tlvs.iter().collect();
    let expected: [(u8, &[u8]); 5] =
        [(UNIQUE_ID, b"ours"), (AUTHORITY, b"a.example"), (0xEA, b"vpce"), (0xEA, b"2"), (0xE1, b"ours")];
    assert_eq!(found, expected);
}

#[test]
fn a_datagram_has_its_whole_header_or_none() {
    let told = addresses("192.0.2.7:50123", "198.51.100.1:443");
    let written = version_2(&Announcement { transport: Transport::Datagram, ..announcement(told) });
    assert_eq!(written[13], 0x12);
    let datagram = [&written[..], b"payload"].concat();
    let found = parse_datagram(&datagram).unwrap();
    assert_eq!((found.command, &datagram[found.length..]), (Command::Proxied(told), &b"payload"[..]));
    for end in 0..written.len() {
        assert_eq!(parse_datagram(&written[..end]), Err(Malformed::CutOff), "{end}");
    }
    assert_eq!(parse(&written, BOTH), Parsed::Malformed(Malformed::Transport));
    let of_a_stream = version_2(&announcement(told));
    assert_eq!(parse_datagram(&of_a_stream), Err(Malformed::Transport));
    assert_eq!(parse_datagram(b"PROXY UNKNOWN\r\n"), Err(Malformed::Signature));
    assert_eq!(parse_datagram(local(Version::V2)).unwrap().command, Command::Local);
}

#[test]
fn a_mutated_header_never_panics_and_never_claims_more_than_is_there() {
    let mut dice = fastrand::Rng::with_seed(7);
    let told = addresses("[2001:db8::7]:1", "[2001:db8::1]:65535");
    let custom = [(0xE1, b"rack-7"[..].into())];
    let block = version_2(&Announcement { custom: &custom, checksum: true, ..announcement(told) });
    for round in 0..100_000 {
        let mut bytes = if round % 2 == 0 { version_1(&told) } else { block.clone() };
        for _ in 0..dice.usize(1..4) {
            let at = dice.usize(0..bytes.len());
            match dice.u8(0..3) {
                0 => bytes[at] = dice.u8(..),
                1 => bytes.insert(at, dice.u8(..)),
                _ => drop(bytes.remove(at)),
            }
        }
        if let Parsed::Header(found) = parse(&bytes, BOTH) {
            assert!(found.length <= bytes.len().min(HEADER_BYTES_MAX));
            found.tlvs.iter().for_each(drop);
        }
        let _ = parse_datagram(&bytes);
    }
}
