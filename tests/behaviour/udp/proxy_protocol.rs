//! Backends over UDP are told who the client is.

use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc;

use ringway::config::{Config, ProxyDatagrams, ProxyTlv, ProxyVersion, SendProxy};
use ringway::stats::Dropped;

use super::{UdpBackend, client_of, config, dropped, socket_at};
use crate::common::{DEADLINE, Ringway, await_that};

/// A backend that hands over what it gets, and sends back the last byte of it.
pub fn listening() -> (UdpBackend, mpsc::Receiver<Vec<u8>>) {
    let (sender, received) = mpsc::channel();
    let backend = UdpBackend::new(move |socket, bytes, from| {
        let _ = sender.send(bytes.to_vec());
        let _ = socket.send_to(&bytes[bytes.len().saturating_sub(1)..], from);
    });
    (backend, received)
}

pub fn telling(backend: SocketAddr, datagrams: ProxyDatagrams, tlvs: Vec<ProxyTlv>) -> Config {
    let mut config = config(&[backend]);
    let custom = Vec::new();
    config.pools[0].proxy_protocol = Some(SendProxy { version: ProxyVersion::V2, datagrams, tlvs, custom });
    config
}

/// Version 2, PROXY, UDP over IPv4, 12 bytes of addresses.
pub fn header(client: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let (SocketAddr::V4(client), SocketAddr::V4(to)) = (client, to) else { panic!("IPv4 only") };
    let mut bytes = b"\x0d\x0a\x0d\x0a\x00\x0d\x0aQUIT\x0a\x21\x12\x00\x0c".to_vec();
    bytes.extend([client.ip().octets(), to.ip().octets()].concat());
    bytes.extend([client.port().to_be_bytes(), to.port().to_be_bytes()].concat());
    bytes
}

pub fn ask(client: &UdpSocket, bytes: &[u8]) {
    client.send(bytes).unwrap();
    assert_eq!(super::receive(client), bytes[bytes.len().saturating_sub(1)..]);
}

#[test]
fn the_header_stands_before_the_first_datagram_of_a_session_or_before_each() {
    for (which, again) in [(ProxyDatagrams::First, false), (ProxyDatagrams::Each, true)] {
        let (backend, received) = listening();
        let ringway = Ringway::start(telling(backend.address, which, Vec::new()));
        for _ in 0..2 {
            let client = client_of(ringway.address());
            let header = header(client.local_addr().unwrap(), ringway.address());
            for (place, bytes) in [&b"first"[..], b"second", b"3"].into_iter().enumerate() {
                ask(&client, bytes);
                let expected = if place == 0 || again { [&header, bytes].concat() } else { bytes.to_vec() };
                assert_eq!(received.recv_timeout(DEADLINE).unwrap(), expected, "{which:?} {place}");
            }
        }
        // What is counted is what the clients sent.
        let totals = ringway.finish();
        assert_eq!((totals.accepted, totals.bytes_to_backend, totals.bytes_to_client), (2, 24, 6));
    }
}

#[test]
fn a_burst_and_an_address_of_several_are_told_too() {
    let (backend, received) = listening();
    let mut config = telling(backend.address, ProxyDatagrams::First, vec![ProxyTlv::Checksum]);
    config.listeners[0].bind = vec!["0.0.0.0:0".parse::<SocketAddr>().unwrap().into()];
    let ringway = Ringway::start(config);
    let to = SocketAddr::from(([127, 0, 0, 2], ringway.address().port()));
    let client = socket_at("127.0.0.1:0".parse().unwrap());
    client.connect(to).unwrap();
    for byte in 0..50 {
        client.send(&[byte; 100]).unwrap();
    }
    let first = received.recv_timeout(DEADLINE).unwrap();
    let plain = header(client.local_addr().unwrap(), to);
    // The length has the checksum in it, seven bytes, which stands behind the addresses.
    assert_eq!((&first[..14], &first[16..28]), (&plain[..14], &plain[16..]));
    assert_eq!((first[14..16].to_vec(), first[28..31].to_vec()), (vec![0, 19], vec![3, 0, 4]));
    assert_eq!(first[35..], [0; 100]);
    for byte in 1..50 {
        assert_eq!(received.recv_timeout(DEADLINE).unwrap(), [byte; 100]);
    }
    ringway.finish();
}

#[test]
fn what_the_header_makes_too_large_is_dropped_and_not_cut() {
    let (backend, received) = listening();
    let ringway = Ringway::start(telling(backend.address, ProxyDatagrams::Each, Vec::new()));
    let client = client_of(ringway.address());
    client.send(&vec![7; 65_507]).unwrap();
    await_that("it is dropped", || dropped(&ringway, Dropped::TooLarge) == 1);
    let fits = vec![8; 65_507 - 28];
    ask(&client, &fits);
    assert_eq!(received.recv_timeout(DEADLINE).unwrap()[28..], fits);
    ringway.finish();
}
