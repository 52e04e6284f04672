//! Headers from proxies before us.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use ringway::access::Refused;
use ringway::config::{Algorithm, Config, LogFormat, NoBackend, ProxyVersion};
use ringway::control::Wanted;
use ringway::end::End;
use ringway::proxy_protocol::{Parsed, parse};

use super::{ADDRESSES, BOTH, LINE, accept, accepting, block, config_of, recorder, send_whole, sending, tlv};
use crate::access_log;
use crate::common::*;

/// What is no header, from the file that the tests of the parser read too.
fn malformed() -> Vec<Vec<u8>> {
    let lines =
        include_str!("../../vectors/proxy-protocol.txt").lines().filter(|line| !line.starts_with('#'));
    let unescape = |line: &str| {
        let mut parts = line.split_once(' ').unwrap().1.split("\\x");
        let mut bytes = parts.next().unwrap().as_bytes().to_vec();
        for part in parts {
            bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
            bytes.extend_from_slice(&part.as_bytes()[2..]);
        }
        bytes
    };
    lines.map(unescape).collect()
}

#[test]
fn what_is_no_header_is_reset_and_no_byte_of_it_reaches_a_backend() {
    let backend = TestBackend::echo();
    let ringway = Ringway::start(accepting(&[backend.address]));
    let malformed = malformed();
    assert!(malformed.len() > 60);
    for bytes in &malformed {
        let mut client = ringway.connect();
        let _ = client.write_all(bytes);
        let (back, end) = read_until_broken(&mut client);
        assert_eq!(back, b"", "{}", bytes.escape_ascii());
        assert!(end.is_err(), "not a reset: {}", bytes.escape_ascii());
    }
    let totals = ringway.finish();
    assert_eq!(totals.ended(End::ProxyMalformed), malformed.len() as u64);
    assert_eq!((backend.accepted(), totals.bytes_to_backend), (0, 0));
}

#[test]
fn a_header_that_is_cut_off_anywhere_reaches_no_backend() {
    let backend = TestBackend::echo();
    let ringway = Ringway::start(accepting(&[backend.address]));
    let right = [
        LINE.to_vec(),
        b"PROXY UNKNOWN\r\n".to_vec(),
        block(0x21, 0x11, &ADDRESSES),
        block(0x20, 0x00, b""),
        block(0x21, 0x11, &[&ADDRESSES[..], &tlv(0x02, b"a.example")].concat()),
    ];
    let mut cuts = 0;
    for header in malformed().iter().chain(&right).filter(|header| header.len() < 300) {
        for end in 1..header.len() {
            send_whole(ringway.address(), &header[..end]);
            cuts += 1;
        }
    }
    // And without a byte, which is what some checks do.
    send_whole(ringway.address(), b"");
    let totals = ringway.finish();
    assert_eq!((totals.ended(End::ProxyMalformed), totals.ended(End::ClientReset)), (cuts, 1));
    assert_eq!((backend.accepted(), totals.bytes_to_backend), (0, 0));
}

#[test]
fn of_mutated_headers_a_backend_gets_what_follows_those_that_are_right_and_nothing_else() {
    let (backend, got) = recorder();
    let ringway = Ringway::start(accepting(&[backend.address]));
    let mut noise = Noise::new(0x5052_4F58);
    let mut expected = Vec::new();
    for round in 0..600 {
        let tlvs = [tlv(0x02, b"a.example"), tlv(0xE1, &noise.bytes(9))].concat();
        let mut bytes = match round % 3 {
            0 => LINE.to_vec(),
            1 => block(0x21, 0x11, &[&ADDRESSES[..], &tlvs].concat()),
            _ => b"PROXY TCP6 2001:db8::7 2001:db8::1 50123 443\r\n".to_vec(),
        };
        for _ in 0..noise.up_to(2) {
            let at = noise.below(bytes.len());
            match noise.below(3) {
                0 => bytes[at] = noise.next() as u8,
                1 => bytes.insert(at, noise.next() as u8),
                _ => drop(bytes.remove(at)),
            }
        }
        bytes.extend_from_slice(format!("after header {round}").as_bytes());
        if let Parsed::Header(header) = parse(&bytes, BOTH) {
            expected.push(bytes[header.length..].to_vec());
        }
        send_whole(ringway.address(), &bytes);
    }
    let totals = ringway.finish();
    assert!(!expected.is_empty() && expected.len() < 500, "{}", expected.len());
    assert_eq!(totals.ended(End::ProxyMalformed), 600 - expected.len() as u64);
    await_that("the backend has seen all", || got.lock().unwrap().len() == expected.len());
    let mut got = got.lock().unwrap().clone();
    got.sort();
    expected.sort();
    assert!(got == expected, "the backend got something else");
}

#[test]
fn a_header_from_nobody_who_is_trusted_is_not_even_read() {
    let backend = TestBackend::echo();
    let mut config = config_of(&backend);
    config.listeners[0].proxy_protocol = Some(accept(&["127.0.0.1/32", "10.0.0.0/8"]));
    let ringway = Ringway::start(config);
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 9], 0)).into()).unwrap();
    let met = socket.connect(&ringway.address().into());
    let mut client = with_deadline(socket.into());
    // Whichever of the three meets the reset: the others then find an end.
    let wrote = client.write_all(LINE);
    let (back, end) = read_until_broken(&mut client);
    assert!(met.is_err() || wrote.is_err() || end.is_err(), "{met:?} {wrote:?} {end:?}");
    assert_eq!(back, b"");
    // Somebody else is served meanwhile.
    let mut trusted = ringway.connect();
    trusted.write_all(LINE).unwrap();
    assert_echo(&mut trusted, b"hello");
    drop(trusted);
    let totals = ringway.finish();
    assert_eq!((totals.ended(End::ProxyUntrusted), totals.ended(End::Complete)), (1, 1));
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn a_header_that_does_not_come_in_time_ends_the_connection() {
    let backend = TestBackend::echo();
    let mut config = accepting(&[backend.address]);
    config.listeners[0].proxy_protocol.as_mut().unwrap().timeout = Duration::from_millis(100);
    let ringway = Ringway::start(config);
    let parts = [&b""[..], b"P", &LINE[..LINE.len() - 1], &block(0x21, 0x11, &ADDRESSES)[..20]];
    let mut clients = parts.map(|part| {
        let mut client = ringway.connect();
        client.write_all(part).unwrap();
        client
    });
    clients.iter_mut().for_each(assert_reset);
    let totals = ringway.finish();
    assert_eq!((totals.ended(End::ProxyTimeout), backend.accepted()), (parts.len() as u64, 0));
}

#[test]
fn a_header_may_come_byte_by_byte_or_with_the_first_bytes_of_the_client() {
    let backend = TestBackend::echo();
    let ringway = Ringway::start(accepting(&[backend.address]));
    for header in [
        LINE.to_vec(),
        block(0x21, 0x11, &ADDRESSES),
        block(0x20, 0x00, b""),
        block(0x21, 0x31, &[0; 216]),
        b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n".to_vec(),
    ] {
        let mut client = ringway.connect();
        for byte in &header {
            client.write_all(&[*byte]).unwrap();
        }
        assert_echo(&mut client, b"one by one");
        let mut client = ringway.connect();
        client.write_all(&[&header[..], b"in one "].concat()).unwrap();
        client.write_all(b"segment").unwrap();
        let mut back = [0; 14];
        client.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"in one segment");
    }
    let totals = ringway.finish();
    // What is told before the first byte is nobody's byte.
    assert_eq!((totals.bytes_to_backend, totals.bytes_to_client), (5 * 24, 5 * 24));
}

#[test]
fn a_listener_takes_the_versions_that_it_is_told_to() {
    let backend = TestBackend::echo();
    let mut config = accepting(&[backend.address]);
    config.listeners[0].proxy_protocol.as_mut().unwrap().versions = vec![ProxyVersion::V2];
    let ringway = Ringway::start(config);
    send_whole(ringway.address(), LINE);
    let mut client = ringway.connect();
    client.write_all(&block(0x21, 0x11, &ADDRESSES)).unwrap();
    assert_echo(&mut client, b"hello");
    drop(client);
    let totals = ringway.finish();
    assert_eq!((totals.ended(End::ProxyMalformed), backend.accepted()), (1, 1));
}

#[test]
fn the_client_of_the_header_is_in_the_access_log_and_chooses_the_backend() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let backends = [TestBackend::echo(), TestBackend::echo()];
    let mut config = accepting(&backends.each_ref().map(|backend| backend.address));
    one_worker(&mut config);
    config.pools[0].algorithm = Algorithm::SourceHash;
    config.access_log = Some(access_log::file(&path, LogFormat::Text));
    let ringway = Ringway::start(config);
    for client in 0..64 {
        send_whole(
            ringway.address(),
            format!("PROXY TCP4 192.0.2.{client} 198.51.100.1 7 443\r\n").as_bytes(),
        );
    }
    let local = send_whole(ringway.address(), &block(0x20, 0x11, &ADDRESSES)).local_addr().unwrap();
    send_whole(ringway.address(), b"PROXY TCP4 192.0.2.256 198.51.100.1 7 443\r\n");
    ringway.finish();
    let text = std::fs::read_to_string(path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    for client in 0..64 {
        assert!(
            lines.iter().any(|line| line.starts_with(&format!("192.0.2.{client}:7 "))),
            "{client}: {text}"
        );
    }
    assert!(lines.iter().any(|line| line.starts_with(&format!("{local} "))), "{text}");
    assert!(lines.iter().any(|line| line.contains(" PR ") && line.contains("end=proxy-malformed")), "{text}");
    // Clients that all came from one address are still many.
    for backend in &backends {
        assert!((10..55).contains(&backend.accepted()), "{}", backend.accepted());
    }
}

/// Not for the proxy, whose address comes first; and a check of the proxy's own is nobody's.
#[test]
fn the_rules_and_limits_are_asked_for_the_client_that_is_told() {
    let backend = TestBackend::echo();
    let mut config = accepting(&[backend.address]);
    let deny = ["192.0.2.0/24", "127.0.0.0/8"].map(|network| network.parse().unwrap());
    config.listeners[0].access.deny = deny.to_vec();
    config.listeners[0].limits.sessions_per_source = std::num::NonZeroU32::new(1);
    let ringway = Ringway::start(config);
    let from = |client: &str| {
        let mut stream = ringway.connect();
        stream.write_all(format!("PROXY TCP4 {client} 198.51.100.1 7 443\r\n").as_bytes()).unwrap();
        stream
    };
    let served = |mut stream: TcpStream| {
        assert_echo(&mut stream, b"hello");
        stream
    };
    assert_reset(&mut from("192.0.2.7"));
    let first = served(from("198.51.100.7"));
    assert_reset(&mut from("198.51.100.7"));
    let _other = served(from("198.51.100.8"));
    drop(first);
    await_that("its place is free", || ringway.totals().active == 1);
    let again = served(from("198.51.100.7"));
    let mut local = ringway.connect();
    local.write_all(&block(0x20, 0x00, b"")).unwrap();
    let local = served(local);
    let refused = |reason: Refused| {
        ringway.server().stats().sum(|worker| &worker.listeners[0].refused[reason as usize])
    };
    assert_eq!((refused(Refused::Denied), refused(Refused::SourceSessions)), (1, 1));
    ringway.await_end(End::Refused, 2);
    assert_eq!(backend.accepted(), 4);
    drop((again, local));
}

/// What is said to clients that find no backend is not for who is no client; and who is one has come further than its header.
#[test]
fn a_farewell_is_for_those_who_have_said_who_they_are() {
    for (no_backend, said) in [(NoBackend::Message("gone".into()), Some(b"gone")), (NoBackend::Reset, None)] {
        let (address, _held) = refusing();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut config = accepting(&[address]);
        one_worker(&mut config);
        config.listeners[0].no_backend = no_backend;
        config.access_log = Some(access_log::file(&path, LogFormat::Text));
        let ringway = Ringway::start(config);
        let mut client = ringway.connect();
        client.write_all(LINE).unwrap();
        // The end may have come before.
        let _ = client.shutdown(Shutdown::Write);
        match said {
            Some(said) => assert_eq!(read_all(&mut client), said),
            None => assert_reset(&mut client),
        }
        ringway.await_end(End::ConnectFailed, 1);
        let mut nobody = ringway.connect();
        nobody.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        assert_reset(&mut nobody);
        ringway.finish();
        let log = std::fs::read_to_string(path).unwrap();
        let letters: Vec<_> = log.lines().map(|line| line.split(' ').nth(6).unwrap()).collect();
        assert_eq!(letters, ["SC", "PR"], "{log}");
    }
}

#[test]
fn the_list_of_sessions_has_the_client_that_was_told() {
    let backend = TestBackend::echo();
    let ringway = Ringway::start(accepting(&[backend.address]));
    let mut client = ringway.connect();
    client.write_all(LINE).unwrap();
    assert_echo(&mut client, b"hello");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listed = runtime.block_on(ringway.server().control().sessions(Wanted {
        limit: 10,
        pool: None,
        backend: None,
    }));
    let clients: Vec<_> = listed.iter().map(|session| session.client.unwrap().to_string()).collect();
    assert_eq!(clients, ["192.0.2.7:50123"]);
}

#[test]
fn a_reload_changes_what_new_connections_have_to_say() {
    let (backend, got) = recorder();
    let ringway = Ringway::start(config_of(&backend));
    let change = |alter: fn(&mut Config)| {
        let control = ringway.server().control();
        let mut config = Config::clone(&control.generation().config);
        alter(&mut config);
        control.adopt(config).unwrap_or_else(|refused| panic!("{refused}"));
    };
    let mut old = ringway.connect();
    old.write_all(b"no header").unwrap();
    await_that("the old one has its backend", || backend.accepted() == 1);
    change(|config| {
        config.listeners[0].proxy_protocol = Some(accept(&["127.0.0.1/32"]));
        sending(config, ProxyVersion::V1, &[]);
    });
    send_whole(ringway.address(), b"no header");
    ringway.await_end(End::ProxyMalformed, 1);
    send_whole(ringway.address(), &[LINE, b"hello"].concat());
    drop(old);
    ringway.finish();
    let mut got = got.lock().unwrap().clone();
    got.sort();
    assert_eq!(got, [[LINE, b"hello"].concat(), b"no header".to_vec()]);
}
