//! PROXY protocol, both versions, in and out: who the client is, and that nothing else passes for it.

mod dnsdist;
mod peers;
mod received;
mod sent;

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use ringway::config::{AcceptProxy, Config, ProxyDatagrams, ProxyTlv, ProxyVersion, SendProxy};

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
