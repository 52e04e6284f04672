//! PROXY protocol, both versions, in and out: who the client is, and that nothing else passes for it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringway::access::Refused;
use ringway::config::{
    AcceptProxy, Algorithm, Check, Config, Exchange, LogFormat, NoBackend, Pool, ProxyDatagrams, ProxyTlv,
    ProxyVersion, SendProxy,
};
use ringway::control::Wanted;
use ringway::end::End;
use ringway::proxy_protocol::{Parsed, parse};

use super::peers::Server;
use super::routing::hello;
use crate::access_log;
use crate::common::*;

const LINE: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 50123 443\r\n";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// 192.0.2.7:50123 to 198.51.100.1:443.
const ADDRESSES: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 1, 0xC3, 0xCB, 0x01, 0xBB];
const BOTH: &[ProxyVersion] = &[ProxyVersion::V1, ProxyVersion::V2];

/// A block of version 2, by hand.
fn block(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    [SIGNATURE, &[command, family], &(rest.len() as u16).to_be_bytes(), rest].concat()
}

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind][..], &(value.len() as u16).to_be_bytes(), value].concat()
}

/// Bit by bit, so that it has nothing in common with what is tested.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ if sum & 1 == 1 { 0x82F6_3B78 } else { 0 })
    })
}

/// What is no header, from the file that the tests of the parser read too.
fn malformed() -> Vec<Vec<u8>> {
    let lines = include_str!("../vectors/proxy-protocol.txt").lines().filter(|line| !line.starts_with('#'));
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

fn accept(from: &[&str]) -> AcceptProxy {
    AcceptProxy {
        accept_from: from.iter().map(|network| network.parse().unwrap()).collect(),
        versions: BOTH.to_vec(),
        timeout: DEADLINE,
        datagrams: ProxyDatagrams::First,
    }
}

/// A listener that demands a header from every client of the loopback.
fn accepting(backends: &[SocketAddr]) -> Config {
    let mut config = config(backends);
    config.listeners[0].proxy_protocol = Some(accept(&["127.0.0.0/8", "::1/128"]));
    config
}

fn sending(config: &mut Config, version: ProxyVersion, tlvs: &[ProxyTlv]) {
    config.pools[0].proxy_protocol = Some(SendProxy {
        version,
        datagrams: ProxyDatagrams::First,
        tlvs: tlvs.to_vec(),
        custom: Vec::new(),
    });
}

/// What each connection got up to the end of its stream; each is answered with its end.
fn recorder() -> (TestBackend, Arc<Mutex<Vec<Vec<u8>>>>) {
    let got = Arc::new(Mutex::new(Vec::new()));
    let store = Arc::clone(&got);
    let backend = TestBackend::new(move |mut stream| {
        let (bytes, _) = read_until_broken(&mut stream);
        store.lock().unwrap().push(bytes);
    });
    (backend, got)
}

/// Sends it, ends the stream, and waits until the other side has ended too, however.
fn send_whole(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut client = connect(address);
    // It can be refused before it is written.
    let _ = client.write_all(bytes);
    let _ = client.shutdown(Shutdown::Write);
    let _ = read_until_broken(&mut client);
    client
}

/// What a backend gets of a client that says this and ends its stream.
fn told(config: impl FnOnce(&mut Config), bytes: &[u8]) -> (Vec<u8>, SocketAddr, SocketAddr) {
    let (backend, got) = recorder();
    let mut whole = config_of(&backend);
    config(&mut whole);
    let ringway = Ringway::start(whole);
    let client = send_whole(ringway.address(), bytes);
    let (from, to) = (client.local_addr().unwrap(), ringway.address());
    drop(client);
    ringway.finish();
    let got = got.lock().unwrap();
    let [bytes] = &got[..] else { panic!("{got:?}") };
    (bytes.clone(), from, to)
}

fn config_of(backend: &TestBackend) -> Config {
    config(&[backend.address])
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

#[test]
fn a_backend_is_told_the_client_before_its_first_byte() {
    let (bytes, from, to) = told(|config| sending(config, ProxyVersion::V1, &[]), b"hello");
    let line = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\nhello", from.port(), to.port());
    assert_eq!(bytes.escape_ascii().to_string(), line.as_bytes().escape_ascii().to_string());

    let (bytes, from, to) = told(|config| sending(config, ProxyVersion::V2, &[]), b"hello");
    let loopback = [127, 0, 0, 1];
    let rest = [&loopback[..], &loopback, &from.port().to_be_bytes(), &to.port().to_be_bytes()].concat();
    assert_eq!(bytes, [block(0x21, 0x11, &rest), b"hello".to_vec()].concat());

    // A client over IPv6, a backend over IPv4: what is told is the client's connection.
    let over_v6 = |config: &mut Config| {
        config.listeners[0].bind = vec!["[::1]:0".parse().unwrap()];
        sending(config, ProxyVersion::V2, &[]);
    };
    let (bytes, from, to) = told(over_v6, b"");
    let mut loopback = [0; 16];
    loopback[15] = 1;
    let rest = [&loopback[..], &loopback, &from.port().to_be_bytes(), &to.port().to_be_bytes()].concat();
    assert_eq!(bytes, block(0x21, 0x21, &rest));
}

#[test]
fn what_a_proxy_before_us_told_is_told_to_the_backend() {
    let through = |version, tlvs: &'static [ProxyTlv], custom: Vec<(u8, Box<[u8]>)>, bytes: &[u8]| {
        let both = move |config: &mut Config| {
            one_worker(config);
            config.listeners[0].proxy_protocol = Some(accept(&["127.0.0.1/32"]));
            config.pools[0].proxy_protocol =
                Some(SendProxy { version, datagrams: ProxyDatagrams::First, tlvs: tlvs.to_vec(), custom });
        };
        told(both, bytes).0
    };
    let hello = |header: &[u8]| [header, b"hello"].concat();
    assert_eq!(through(ProxyVersion::V1, &[], vec![], &hello(&block(0x21, 0x11, &ADDRESSES))), hello(LINE));
    assert_eq!(through(ProxyVersion::V2, &[], vec![], &hello(LINE)), hello(&block(0x21, 0x11, &ADDRESSES)));

    let received = [tlv(0x02, b"\xffa.example"), tlv(0x01, b"h2"), tlv(0x04, b"pad"), tlv(0xEA, b"vpce")];
    let inbound = block(0x21, 0x11, &[&ADDRESSES[..], &received.concat()].concat());
    // Not unless it is asked for.
    let plain = hello(&block(0x21, 0x11, &ADDRESSES));
    assert_eq!(through(ProxyVersion::V2, &[], vec![], &hello(&inbound)), plain);
    let all =
        &[ProxyTlv::Authority, ProxyTlv::Alpn, ProxyTlv::UniqueId, ProxyTlv::Checksum, ProxyTlv::Received];
    let custom = vec![(0xE1, b"rack-7"[..].into())];
    let expected = [
        tlv(0x01, b"h2"),
        tlv(0x02, b"\xffa.example"),
        tlv(0x05, b"0-1"),
        tlv(0xEA, b"vpce"),
        tlv(0xE1, b"rack-7"),
        tlv(0x03, &[0; 4]),
    ];
    let mut expected = block(0x21, 0x11, &[&ADDRESSES[..], &expected.concat()].concat());
    let sum = crc32c(&expected);
    let end = expected.len();
    expected[end - 4..].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(through(ProxyVersion::V2, all, custom, &hello(&inbound)), hello(&expected));
    // A name that it has already stays.
    let named = block(0x21, 0x11, &[&ADDRESSES[..], &tlv(0x05, b"theirs")].concat());
    assert_eq!(through(ProxyVersion::V2, &[ProxyTlv::UniqueId], vec![], &hello(&named)), hello(&named));
}

#[test]
fn the_next_backend_is_told_when_the_first_does_not_take_the_connection() {
    let (refusing, _held) = refusing();
    let (backend, got) = recorder();
    let mut config = accepting(&[refusing, backend.address]);
    config.pools[0].algorithm = Algorithm::First;
    sending(&mut config, ProxyVersion::V2, &[ProxyTlv::Authority]);
    let ringway = Ringway::start(config);
    let header = block(0x21, 0x11, &[&ADDRESSES[..], &tlv(0x02, b"a.example")].concat());
    send_whole(ringway.address(), &[&header[..], b"hello"].concat());
    ringway.finish();
    assert_eq!(*got.lock().unwrap(), [[&header[..], b"hello"].concat()]);
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
fn a_client_without_an_address_is_told_as_unknown() {
    for (version, header) in
        [(ProxyVersion::V1, b"PROXY UNKNOWN\r\n".to_vec()), (ProxyVersion::V2, block(0x20, 0, b""))]
    {
        let (backend, got) = recorder();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("in");
        let mut config = config_of(&backend);
        config.listeners[0].bind = vec![format!("unix:{}", path.display()).parse().unwrap()];
        sending(&mut config, version, &[]);
        let ringway = Ringway::start(config);
        let mut client = UnixStream::connect(path).unwrap();
        client.write_all(b"hello").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        ringway.finish();
        assert_eq!(*got.lock().unwrap(), [[&header[..], b"hello"].concat()]);
    }
}

#[test]
fn what_a_client_of_tls_asks_for_is_told() {
    let (backend, got) = recorder();
    let text = format!(
        "[server]\nworkers = 1\n[[listener]]\nname = 'l'\nbind = '127.0.0.1:0'\npool = 'p'\n\
         [[listener.route]]\nserver_name = 'b.example'\npool = 'p'\n[[pool]]\nname = 'p'\nhealth.check = 'none'\n\
         [[pool.backend]]\naddress = '{}'\n",
        backend.address
    );
    let mut config = ringway::config::parse("test", &text).unwrap_or_else(|errors| panic!("{errors}"));
    sending(&mut config, ProxyVersion::V2, &[ProxyTlv::Authority, ProxyTlv::Alpn]);
    let ringway = Ringway::start(config);
    // Of several protocols the server chooses, and nobody here will see which.
    for (more, tlvs) in [
        (&["-alpn", "h2"][..], vec![tlv(0x01, b"h2"), tlv(0x02, b"a.example")]),
        (&["-alpn", "h2,http/1.1"], vec![tlv(0x02, b"a.example")]),
        (&[], vec![tlv(0x02, b"a.example")]),
    ] {
        let bytes = hello("A.example", more);
        let client = send_whole(ringway.address(), &bytes);
        let (from, to) = (client.local_addr().unwrap(), ringway.address());
        let loopback = [127, 0, 0, 1];
        let addresses = [&loopback[..], &loopback, &from.port().to_be_bytes(), &to.port().to_be_bytes()];
        let header = block(0x21, 0x11, &[addresses.concat(), tlvs.concat()].concat());
        let last = got.lock().unwrap().pop().unwrap();
        assert_eq!(last.escape_ascii().to_string(), [header, bytes].concat().escape_ascii().to_string());
    }
    ringway.finish();
}

#[test]
fn a_check_says_that_it_is_one() {
    for (version, expected) in [
        (ProxyVersion::V1, b"PROXY UNKNOWN\r\nPING".to_vec()),
        (ProxyVersion::V2, [&block(0x20, 0, b"")[..], b"PING"].concat()),
    ] {
        let (backend, got) = recorder();
        let mut config = config_of(&backend);
        sending(&mut config, version, &[]);
        config.pools[0].health.check = Check::Tcp(Exchange { send: b"PING".to_vec(), expect: None });
        config.pools[0].health.proxy_protocol = true;
        config.pools[0].health.interval = Duration::from_millis(100);
        let ringway = Ringway::start(config);
        // A check ends with a reset, which can overtake what it sent.
        await_that("a check came whole", || got.lock().unwrap().contains(&expected));
        ringway.finish();
    }
}

/// A pool like the first one, of this one backend.
fn pool(like: &Pool, name: &str, backend: SocketAddr) -> Pool {
    let mut pool = Pool { name: name.into(), ..like.clone() };
    pool.backends.truncate(1);
    pool.backends[0].address = backend.into();
    pool
}

/// Asks over HTTP; the body.
fn ask(address: SocketAddr) -> (String, SocketAddr) {
    let mut client = connect(address);
    let own = client.local_addr().unwrap();
    client.write_all(b"GET / HTTP/1.0\r\nHost: a.example\r\n\r\n").unwrap();
    let answer = String::from_utf8(read_all(&mut client)).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    assert!(head.contains(" 200 "), "{answer}");
    (body.trim().to_owned(), own)
}

#[test]
fn haproxy_and_nginx_before_and_behind_us_agree_on_who_the_client_is() {
    let haproxy = Server::haproxy(|address| {
        format!(
            "defaults\n mode http\n timeout connect 20s\n timeout client 20s\n timeout server 20s\n\
             frontend f\n bind {address} accept-proxy\n http-request return status 200 content-type text/plain \
             lf-string \"%[src]:%[src_port] %[fc_pp_unique_id]\"\n"
        )
    });
    let nginx = Server::nginx_of(|address| {
        format!(
            "http {{ access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;\n\
             uwsgi_temp_path uwsgi; scgi_temp_path scgi;\nserver {{ listen {address} proxy_protocol;\n\
             location / {{ return 200 \"$proxy_protocol_addr:$proxy_protocol_port\"; }} }} }}"
        )
    });
    let mut config = accepting(&[haproxy.address]);
    let receivers = [
        ("haproxy-v1", haproxy.address, ProxyVersion::V1),
        ("haproxy-v2", haproxy.address, ProxyVersion::V2),
        ("nginx-v1", nginx.address, ProxyVersion::V1),
        ("nginx-v2", nginx.address, ProxyVersion::V2),
    ];
    let (listener, like) = (config.listeners.remove(0), config.pools.remove(0));
    for (place, (name, address, version)) in receivers.into_iter().enumerate() {
        let mut pool = pool(&like, name, address);
        let tlvs = match version {
            ProxyVersion::V1 => vec![],
            ProxyVersion::V2 => vec![ProxyTlv::UniqueId, ProxyTlv::Checksum, ProxyTlv::Received],
        };
        pool.proxy_protocol =
            Some(SendProxy { version, datagrams: ProxyDatagrams::First, tlvs, custom: vec![] });
        config.pools.push(pool);
        let mut listener = listener.clone();
        (listener.name, listener.pool) = (name.into(), place);
        config.listeners.push(listener);
    }
    let ringway = Ringway::start(config);
    let ours: Vec<SocketAddr> = (0..4).map(|place| ringway.server().addresses(place)[0]).collect();

    let options = ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"];
    let mut senders = Vec::new();
    let first = Server::haproxy(|address| {
        let mut text =
            "defaults\n mode tcp\n timeout connect 20s\n timeout client 20s\n timeout server 20s\n"
                .to_owned();
        for (place, (option, ours)) in
            options.iter().flat_map(|option| ours.iter().map(move |ours| (option, ours))).enumerate()
        {
            let mut at = address;
            at.set_port(address.port() + place as u16);
            senders.push((at, place % 4, option.contains("unique-id")));
            text += &format!(
                "listen l{place}\n bind {at}\n unique-id-format id-%cp\n server s {ours} {option}\n"
            );
        }
        text
    });
    let second = Server::nginx_of(|address| {
        let mut text = "stream { proxy_protocol on;\n".to_owned();
        for (place, ours) in ours.iter().enumerate() {
            let mut at = address;
            at.set_port(address.port() + place as u16);
            senders.push((at, place, false));
            text += &format!("server {{ listen {at}; proxy_pass {ours}; }}\n");
        }
        text + "}"
    });
    assert_eq!(senders.len(), 16);
    for (sender, receiver, is_named) in senders {
        let (said, own) = ask(sender);
        let name = receivers[receiver].0;
        let (client, id) = said.split_once(' ').unwrap_or((&said, ""));
        assert_eq!(client, own.to_string(), "{sender} {name}");
        if name == "haproxy-v2" {
            let is_ours = !is_named && id.split_once('-').is_some_and(|(worker, _)| worker.len() == 1);
            assert!(is_ours || id == format!("id-{}", own.port()), "{sender} {name}: {id}");
        }
    }
    drop((first, second));
    ringway.finish();
}

#[test]
fn a_told_address_needs_no_family_of_this_machine() {
    let bytes = b"PROXY TCP6 2001:db8::7 2001:db8::1 50123 443\r\nhello";
    let both = |config: &mut Config| {
        config.listeners[0].proxy_protocol = Some(accept(&["127.0.0.1/32"]));
        sending(config, ProxyVersion::V1, &[]);
    };
    assert_eq!(told(both, bytes).0, bytes);
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
