//! Proxies before us say of whom their datagrams are.

use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use ringway::config::{AcceptProxy, Algorithm, Config, ProxyDatagrams, ProxyTlv, ProxyVersion, SourcePorts};
use ringway::control::Wanted;
use ringway::end::End;
use ringway::stats::Dropped;

use super::exact::send_train;
use super::proxy_protocol::{ask, header, listening, telling};
use super::reloading::change;
use super::{UdpBackend, assert_echo, assert_silent, client_of, config, count, dropped, receive, socket_at};
use crate::common::{DEADLINE, Noise, Ringway, await_that, one_worker};

const EACH_WAY: [ProxyDatagrams; 2] = [ProxyDatagrams::First, ProxyDatagrams::Each];

fn accept(datagrams: ProxyDatagrams) -> AcceptProxy {
    AcceptProxy {
        accept_from: vec!["127.0.0.1/32".parse().unwrap(), "::1/128".parse().unwrap()],
        versions: vec![ProxyVersion::V2],
        timeout: Duration::ZERO,
        datagrams,
    }
}

/// A listener that has clients told by 127.0.0.1 and ::1, before backends that are told by a header before each datagram.
fn accepting(backend: SocketAddr, datagrams: ProxyDatagrams) -> Config {
    let mut config = telling(backend, ProxyDatagrams::Each, Vec::new());
    config.listeners[0].proxy_protocol = Some(accept(datagrams));
    config
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Of 192.0.2.7 or another of its network.
fn told(host: u8) -> Vec<u8> {
    header(SocketAddr::from(([192, 0, 2, host], 50_123)), address("198.51.100.1:443"))
}

/// Who all sessions are with, as an operator sees them.
fn clients_of(ringway: &Ringway) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let wanted = Wanted { limit: 100, ..Wanted::default() };
    let listed = runtime.block_on(ringway.server().control().sessions(wanted));
    listed.into_iter().map(|session| session.client.unwrap().to_string()).collect()
}

fn assert_gets(received: &Receiver<Vec<u8>>, parts: &[&[u8]]) {
    assert_eq!(received.recv_timeout(DEADLINE).unwrap(), parts.concat());
}

#[test]
fn the_header_is_taken_off_and_its_client_is_the_client_of_all_that_follows() {
    for datagrams in EACH_WAY {
        let (backend, received) = listening();
        let ringway = Ringway::start(accepting(backend.address, datagrams));
        let sender = client_of(ringway.address());
        for (place, bytes) in [&b"one"[..], b"two", b"", b"three"].into_iter().enumerate() {
            let has_header = place == 0 || datagrams == ProxyDatagrams::Each;
            let head = if has_header { told(7) } else { Vec::new() };
            sender.send(&[&head, bytes].concat()).unwrap();
            assert_gets(&received, &[&told(7), bytes]);
            receive(&sender);
        }
        // A header again, though none is needed: it is one all the same.
        sender.send(&[&told(7)[..], b"four"].concat()).unwrap();
        assert_gets(&received, &[&told(7), b"four"]);
        receive(&sender);
        let listed = clients_of(&ringway);
        assert_eq!(listed, [address("192.0.2.7:50123").to_string()]);
        let totals = ringway.finish();
        assert_eq!((totals.accepted, totals.bytes_to_backend), (1, 15));
    }
}

#[test]
fn what_ringway_tells_another_ringway_understands() {
    for (told, demanded) in [
        (ProxyDatagrams::First, ProxyDatagrams::First),
        (ProxyDatagrams::Each, ProxyDatagrams::First),
        (ProxyDatagrams::Each, ProxyDatagrams::Each),
    ] {
        for bind in ["127.0.0.1:0", "[::1]:0"] {
            let backend = UdpBackend::echo();
            let mut inner = config(&[backend.address]);
            inner.listeners[0].bind = vec![bind.parse().unwrap()];
            inner.listeners[0].proxy_protocol = Some(accept(demanded));
            let inner = Ringway::start(inner);
            let tlvs = vec![ProxyTlv::Checksum, ProxyTlv::UniqueId];
            let outer = Ringway::start(telling(inner.address(), told, tlvs));
            let clients: Vec<_> = (0..8).map(|_| client_of(outer.address())).collect();
            let mut noise = Noise::new(5);
            for _ in 0..5 {
                // Bursts, of which some go together.
                let sent: Vec<Vec<u8>> = (0..12)
                    .map(|_| {
                        let size = [100, 100, 100, 7, 0][noise.below(5)];
                        noise.bytes(size)
                    })
                    .collect();
                for client in &clients {
                    sent.iter().for_each(|bytes| assert_eq!(client.send(bytes).unwrap(), bytes.len()));
                    sent.iter().for_each(|bytes| assert_eq!(&receive(client), bytes));
                }
            }
            let mut listed = clients_of(&inner);
            let mut expected: Vec<_> =
                clients.iter().map(|client| client.local_addr().unwrap().to_string()).collect();
            listed.sort();
            expected.sort();
            assert_eq!(listed, expected);
            assert_eq!((outer.finish().accepted, inner.finish().accepted), (8, 8));
        }
    }
}

#[test]
fn a_train_of_datagrams_each_with_a_header_is_taken_apart() {
    let (backend, received) = listening();
    let ringway = Ringway::start(accepting(backend.address, ProxyDatagrams::Each));
    let sender = client_of(ringway.address());
    let bytes: Vec<u8> = (0..20).flat_map(|nth| [told(nth % 3), vec![nth; 100]].concat()).collect();
    send_train(&sender, &bytes, 128, None);
    for nth in 0..20 {
        assert_gets(&received, &[&told(nth % 3), &[nth; 100]]);
    }
    assert_eq!(count(&ringway, |datagrams| &datagrams.from_clients), 20);
    assert_eq!(ringway.finish().accepted, 3);
}

#[test]
fn clients_behind_one_socket_of_a_proxy_have_sessions_and_backends_of_their_own() {
    let backends: Vec<_> = ["a", "b", "c", "d"].into_iter().map(UdpBackend::named).collect();
    let addresses: Vec<_> = backends.iter().map(|backend| backend.address).collect();
    let mut config = config(&addresses);
    config.pools[0].algorithm = Algorithm::SourceHash;
    config.listeners[0].proxy_protocol = Some(accept(ProxyDatagrams::First));
    let ringway = Ringway::start(config);
    let sender = client_of(ringway.address());
    let mut of = |host| {
        sender.send(&[&told(host)[..], b"who?"].concat()).unwrap();
        let first = receive(&sender);
        // Without a header it is of the last one.
        sender.send(b"who?").unwrap();
        assert_eq!(receive(&sender), first);
        first
    };
    let first: Vec<_> = (0..20).map(&mut of).collect();
    let again: Vec<_> = (0..20).map(&mut of).collect();
    assert_eq!(first, again);
    assert!(first.iter().any(|name| *name != first[0]), "the client of the header is hashed");
    assert_eq!(ringway.finish().accepted, 20);
}

#[test]
fn a_client_whose_session_is_complete_goes_on_without_another_header() {
    let (backend, received) = listening();
    let mut config = accepting(backend.address, ProxyDatagrams::First);
    config.listeners[0].udp.responses = Some(1);
    let ringway = Ringway::start(config);
    let sender = client_of(ringway.address());
    sender.send(&[&told(7)[..], b"one"].concat()).unwrap();
    assert_gets(&received, &[&told(7), b"one"]);
    receive(&sender);
    ringway.await_end(End::Complete, 1);
    ask(&sender, b"two");
    assert_gets(&received, &[&told(7), b"two"]);
    ringway.await_end(End::Complete, 2);
    ringway.finish();
}

#[test]
fn what_is_no_header_is_dropped_and_counted_and_nothing_of_it_reaches_a_backend() {
    let whole = [&told(7)[..], b"\x03\x00\x04\0\0\0\0"].concat();
    let with = |place: usize, byte: u8| {
        let mut bytes = told(7);
        bytes[place] = byte;
        bytes
    };
    let checksum = {
        let mut bytes = whole.clone();
        bytes[15] = 19;
        bytes
    };
    // Another version, another command, families that are none or of streams, lengths too short, too long and beyond the end, a
    // checksum that is wrong.
    let mut malformed = vec![
        with(12, 0x11),
        with(12, 0x22),
        with(13, 0x13),
        with(13, 0x41),
        with(13, 0x11),
        with(13, 0x21),
        with(15, 11),
        with(14, 0x20),
        with(15, 13),
        checksum,
    ];
    // Cut at every byte of it, from the end of the signature on.
    malformed.extend((12..28).map(|end| told(7)[..end].to_vec()));
    for datagrams in EACH_WAY {
        let backend = UdpBackend::echo();
        let mut config = config(&[backend.address]);
        config.listeners[0].proxy_protocol = Some(accept(datagrams));
        one_worker(&mut config);
        let ringway = Ringway::start(config);
        let sender = client_of(ringway.address());
        malformed.iter().for_each(|bytes| assert_eq!(sender.send(bytes).unwrap(), bytes.len()));
        await_that("all are dropped", || {
            dropped(&ringway, Dropped::ProxyMalformed) == malformed.len() as u64
        });
        // None at all, as far as anybody can see.
        for bytes in [&b"payload"[..], b"", &told(7)[..11], b"PROXY UNKNOWN\r\n"] {
            sender.send(bytes).unwrap();
        }
        await_that("they are dropped", || dropped(&ringway, Dropped::ProxyMissing) == 4);
        assert_eq!((ringway.totals().accepted, backend.received()), (0, 0));
        // It is still served when it says it right.
        sender.send(&[&told(7)[..], b"right"].concat()).unwrap();
        assert_eq!(receive(&sender), b"right");
        // What is wrong changes nothing of what was told before.
        sender.send(&malformed[0]).unwrap();
        await_that("it is dropped", || {
            dropped(&ringway, Dropped::ProxyMalformed) == malformed.len() as u64 + 1
        });
        if datagrams == ProxyDatagrams::Each {
            sender.send(b"no header").unwrap();
            await_that("it is dropped", || dropped(&ringway, Dropped::ProxyMissing) == 5);
        } else {
            assert_echo(&sender, b"no header");
        }
        assert_eq!(ringway.finish().accepted, 1);
    }
}

#[test]
fn nobody_else_is_heard_whatever_it_says() {
    let backend = UdpBackend::echo();
    let mut config = config(&[backend.address]);
    config.listeners[0].proxy_protocol = Some(accept(ProxyDatagrams::First));
    let ringway = Ringway::start(config);
    let stranger = socket_at("127.0.0.9:0".parse().unwrap());
    stranger.connect(ringway.address()).unwrap();
    stranger.send(b"plain").unwrap();
    stranger.send(&[&told(7)[..], b"told"].concat()).unwrap();
    await_that("both are dropped", || dropped(&ringway, Dropped::ProxyUntrusted) == 2);
    assert_silent(&stranger);
    assert_eq!((ringway.finish().accepted, backend.received()), (0, 0));
}

#[test]
fn the_rules_are_asked_for_the_client_of_the_header_and_not_for_the_proxy() {
    let backend = UdpBackend::echo();
    let mut config = config(&[backend.address]);
    config.listeners[0].proxy_protocol = Some(accept(ProxyDatagrams::Each));
    config.listeners[0].udp.source_ports = SourcePorts::Unprivileged;
    config.listeners[0].access.deny = vec!["127.0.0.0/8".parse().unwrap(), "192.0.2.8/32".parse().unwrap()];
    let ringway = Ringway::start(config);
    let sender = client_of(ringway.address());
    sender.send(&[&told(7)[..], b"in"].concat()).unwrap();
    assert_eq!(receive(&sender), b"in");
    sender.send(&[&told(8)[..], b"out"].concat()).unwrap();
    await_that("it is refused", || dropped(&ringway, Dropped::Source) == 1);
    let low = header(address("192.0.2.7:53"), address("198.51.100.1:443"));
    sender.send(&[&low[..], b"out"].concat()).unwrap();
    await_that("it is refused", || dropped(&ringway, Dropped::Source) == 2);
    // What the proxy sends of its own is nobody's: no rule is asked.
    sender.send(b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00a check").unwrap();
    assert_eq!(receive(&sender), b"a check");
    // An address that it cannot tell leaves its own.
    let sender = client_of(ringway.address());
    sender.send(b"\r\n\r\n\0\r\nQUIT\n\x21\x00\x00\x00whose").unwrap();
    await_that("it is refused", || dropped(&ringway, Dropped::Source) == 3);
    assert_eq!(ringway.finish().accepted, 2);
}

#[test]
fn a_header_of_the_proxy_s_own_leaves_the_real_addresses_and_what_else_is_told_is_passed_on() {
    let (backend, received) = listening();
    let mut config = accepting(backend.address, ProxyDatagrams::First);
    config.pools[0].proxy_protocol.as_mut().unwrap().tlvs = vec![ProxyTlv::Received];
    let ringway = Ringway::start(config);
    let sender = client_of(ringway.address());
    sender.send(b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00a check").unwrap();
    assert_gets(&received, &[&header(sender.local_addr().unwrap(), ringway.address()), b"a check"]);
    receive(&sender);
    let mut with_tlv = told(7);
    with_tlv[15] += 7;
    with_tlv.extend(b"\xE1\x00\x04rack");
    sender.send(&[&with_tlv[..], b"from a rack"].concat()).unwrap();
    assert_gets(&received, &[&with_tlv, b"from a rack"]);
    ringway.finish();
}

#[test]
fn a_reload_that_has_clients_told_or_no_longer_lets_the_sessions_go_on_that_there_are() {
    for datagrams in EACH_WAY {
        let (backend, received) = listening();
        let ringway = Ringway::start(telling(backend.address, ProxyDatagrams::Each, Vec::new()));
        let own = |client: &UdpSocket| header(client.local_addr().unwrap(), ringway.address());
        let (before, stranger) = (client_of(ringway.address()), socket_at(address("127.0.0.9:0")));
        stranger.connect(ringway.address()).unwrap();
        for client in [&before, &stranger] {
            ask(client, b"plain");
            assert_gets(&received, &[&own(client), b"plain"]);
        }
        change(&ringway, |config| config.listeners[0].proxy_protocol = Some(accept(datagrams)));
        for client in [&before, &stranger] {
            ask(client, b"still plain");
            assert_gets(&received, &[&own(client), b"still plain"]);
        }
        // Who comes now has to say it.
        let after = client_of(ringway.address());
        after.send(b"plain").unwrap();
        await_that("it is dropped", || dropped(&ringway, Dropped::ProxyMissing) == 1);
        after.send(&[&told(7)[..], b"told"].concat()).unwrap();
        assert_gets(&received, &[&told(7), b"told"]);
        receive(&after);
        assert_eq!(ringway.totals().accepted, 3);

        change(&ringway, |config| config.listeners[0].proxy_protocol = None);
        let head = if datagrams == ProxyDatagrams::Each { told(7) } else { Vec::new() };
        after.send(&[&head[..], b"of the same"].concat()).unwrap();
        assert_gets(&received, &[&told(7), b"of the same"]);
        receive(&after);
        // Of anybody else what looks like a header is bytes as others are.
        let plain = client_of(ringway.address());
        plain.send(&told(8)).unwrap();
        assert_gets(&received, &[&own(&plain), &told(8)]);
        ask(&before, b"plain to the end");
        assert_gets(&received, &[&own(&before), b"plain to the end"]);
        assert_eq!(ringway.finish().accepted, 4);
    }
}

#[test]
fn clients_behind_one_socket_stay_who_they_are_when_nobody_is_asked_any_more() {
    let (backend, received) = listening();
    let ringway = Ringway::start(accepting(backend.address, ProxyDatagrams::Each));
    let sender = client_of(ringway.address());
    let say = |host, bytes: &[u8]| {
        sender.send(&[&told(host)[..], bytes].concat()).unwrap();
        assert_gets(&received, &[&told(host), bytes]);
        receive(&sender);
    };
    (7..10).for_each(|host| say(host, b"before"));
    change(&ringway, |config| config.listeners[0].proxy_protocol = None);
    // Whoever was told last, and also once the session of that one is over.
    (7..10).for_each(|host| say(host, b"after"));
    change(&ringway, |_| ());
    (7..10).rev().for_each(|host| say(host, b"and on"));
    assert_eq!(ringway.finish().accepted, 3);
}
