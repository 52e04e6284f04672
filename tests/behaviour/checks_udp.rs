//! What a check over UDP passes and fails, against real sockets and a real name server.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use ringway::config::{Check, Datagrams, Expect, Pool, ProxyDatagrams, ProxyTlv, ProxyVersion, SendProxy};

use crate::checks::{self, LONG, assert_verdicts, bytes, regex};
use crate::common::await_that;
use crate::peers::Server;
use crate::udp::UdpBackend;

/// Where the time has to run out.
const SHORT: Duration = Duration::from_secs(2);

/// The same as for other checks, with a time of its own.
fn pool(address: SocketAddr, send: &[u8], expect: Option<Expect>, timeout: Duration) -> Pool {
    let mut pool = checks::pool(address, Check::Udp(Datagrams { send: send.to_vec(), expect }));
    pool.health.timeout = timeout;
    pool
}

fn reply(socket: &UdpSocket, to: SocketAddr, bytes: &[u8]) {
    // Nobody may be left who wants it.
    let _ = socket.send_to(bytes, to);
}

#[test]
fn a_datagram_is_sent_and_one_that_has_what_is_expected_passes() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let words = Arc::clone(&heard);
    let backend = UdpBackend::new(move |socket, bytes, from| {
        words.lock().unwrap().push(bytes.to_vec());
        // In three datagrams: the one that counts comes last, and an empty one is a datagram too.
        reply(socket, from, b"first");
        reply(socket, from, b"");
        reply(socket, from, b"+PONG 42");
    });
    let with = |expect| pool(backend.address, b"PING", expect, LONG);
    let fails = |expect| pool(backend.address, b"PING", expect, SHORT);
    assert_verdicts(vec![
        (with(None), None),
        (with(bytes(b"+PONG")), None),
        (with(bytes(b"first")), None),
        (with(regex(r"^\+PONG \d+$")), None),
        // Each datagram is an answer of its own.
        (fails(bytes(b"first+PONG")), Some(r#"answer "+PONG 42", expected "first+PONG" within 2s"#)),
        (fails(regex("^PONG")), Some(r#"expected a match of "^PONG" within 2s"#)),
    ]);
    assert!(heard.lock().unwrap().iter().all(|bytes| bytes == b"PING"));
}

#[test]
fn two_datagrams_that_are_lost_fail_no_check() {
    let mut asked = 0;
    let backend = UdpBackend::new(move |socket, _, from| {
        asked += 1;
        if asked > 2 {
            reply(socket, from, b"at last");
        }
    });
    assert_verdicts(vec![(pool(backend.address, b"?", bytes(b"at last"), SHORT * 2), None)]);
    assert_eq!(backend.received(), 3);
}

#[test]
fn where_sessions_begin_with_a_header_each_datagram_of_a_check_says_that_it_is_one() {
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";
    for (is_told, expected) in [(true, [&local[..], b"?"].concat()), (false, b"?".to_vec())] {
        let (sender, heard) = mpsc::channel();
        let mut asked = 0;
        let backend = UdpBackend::new(move |socket, bytes, from| {
            sender.send(bytes.to_vec()).unwrap();
            asked += 1;
            if asked == 3 {
                reply(socket, from, b"!");
            }
        });
        let mut pool = pool(backend.address, b"?", bytes(b"!"), SHORT * 2);
        pool.proxy_protocol = Some(SendProxy {
            version: ProxyVersion::V2,
            datagrams: ProxyDatagrams::First,
            tlvs: vec![ProxyTlv::Checksum],
            custom: Vec::new(),
        });
        pool.health.proxy_protocol = is_told;
        assert_verdicts(vec![(pool, None)]);
        assert_eq!(heard.try_iter().collect::<Vec<_>>(), vec![expected; 3]);
    }
}

#[test]
fn silence_fails_where_something_is_expected_and_passes_where_nothing_is() {
    let (silent, still) = (UdpBackend::silent(), UdpBackend::silent());
    assert_verdicts(vec![
        (pool(silent.address, b"?", bytes(b"!"), SHORT), Some("no answer within 2s, asked 3 times")),
        (pool(still.address, b"?", None, SHORT), None),
    ]);
    // Each backend has a thread of its own.
    await_that("all have come", || silent.received() + still.received() >= 6);
    assert_eq!((silent.received(), still.received()), (3, 3));
}

#[test]
fn a_port_that_nobody_has_fails_at_once_also_where_nothing_is_expected() {
    // Whoever hears from one other address only is nobody for all the rest, and nobody else gets the port.
    let deaf = |socket: UdpSocket| {
        let address = socket.local_addr().unwrap();
        socket.connect(address).unwrap();
        (address, socket)
    };
    let (nobody, _bound) = deaf(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    let (nobody_v6, _bound_v6) = deaf(UdpSocket::bind(("::1", 0)).unwrap());
    assert_verdicts(vec![
        (pool(nobody, b"?", None, LONG), Some("port unreachable")),
        (pool(nobody, b"?", bytes(b"!"), LONG), Some("port unreachable")),
        (pool(nobody_v6, b"?", None, LONG), Some("port unreachable")),
    ]);
}

#[test]
fn nobody_else_can_answer() {
    let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut asked = 0;
    let backend = UdpBackend::new(move |socket, _, from| {
        asked += 1;
        reply(&stranger, from, b"yes");
        if asked == 3 {
            reply(socket, from, b"no");
        }
    });
    assert_verdicts(vec![(
        pool(backend.address, b"?", bytes(b"yes"), SHORT * 2),
        Some(r#"answer "no", expected "yes""#),
    )]);
}

#[test]
fn who_talks_without_an_end_is_not_listened_to_for_ever() {
    let backend = UdpBackend::new(|socket, _, from| (0..200).for_each(|_| reply(socket, from, b"bla")));
    assert_verdicts(vec![(pool(backend.address, b"?", bytes(b"!"), LONG), Some("and 64 such datagrams"))]);
}

#[test]
fn a_name_server_is_asked_as_in_the_example() {
    let example = ringway::config::parse("f", include_str!("../../examples/health-checks.toml")).unwrap();
    let check = example.pools.iter().find(|pool| pool.name == "dns").unwrap().health.check.clone();
    let dnsmasq = Server::dnsmasq("example.com");
    // Knows another name only, asks nobody, and so refuses.
    let ignorant = Server::dnsmasq("example.org");
    let asks = |server: &Server, timeout| {
        let mut pool = pool(server.address, b"?", None, timeout);
        pool.health.check = check.clone();
        pool
    };
    assert_verdicts(vec![
        (asks(&dnsmasq, LONG), None),
        (asks(&ignorant, SHORT), Some(r#"answer "\x1a+\x81\x85"#)),
    ]);
}
