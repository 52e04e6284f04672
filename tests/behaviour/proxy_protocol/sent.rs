//! Headers to backends.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ringway::config::{
    Algorithm, Check, Config, Exchange, ProxyDatagrams, ProxyTlv, ProxyVersion, SendProxy,
};

use super::{ADDRESSES, LINE, accept, accepting, block, config_of, recorder, send_whole, sending, tlv, told};
use crate::common::*;
use crate::routing::hello;

/// Bit by bit, so that it has nothing in common with what is tested.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ if sum & 1 == 1 { 0x82F6_3B78 } else { 0 })
    })
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

#[test]
fn a_told_address_needs_no_family_of_this_machine() {
    let bytes = b"PROXY TCP6 2001:db8::7 2001:db8::1 50123 443\r\nhello";
    let both = |config: &mut Config| {
        config.listeners[0].proxy_protocol = Some(accept(&["127.0.0.1/32"]));
        sending(config, ProxyVersion::V1, &[]);
    };
    assert_eq!(told(both, bytes).0, bytes);
}
