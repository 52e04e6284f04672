//! dnsdist before us and behind us, over UDP and TCP: what it tells, and what it is told.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};

use ringway::config::{
    Algorithm, Check, Choice, Config, Exchange, Expect, InitialState, LogFormat, Protocol, ProxyDatagrams,
    ProxyTlv, ProxyVersion, SendProxy,
};
use ringway::table::State;

use super::accept;
use crate::access_log;
use crate::checks::http;
use crate::common::*;
use crate::peers::{Server, own_address};
use crate::udp::{receive, socket_at};

const BOTH_WAYS: [Protocol; 2] = [Protocol::Udp, Protocol::Tcp];

/// Where dnsdist has its statistics, beside its own port.
const WEB_PORT: u16 = 8083;
/// Codes of answers.
const SERVFAIL: u8 = 2;
const REFUSED: u8 = 5;

/// A question for the IPv4 address of a name, with recursion wanted.
fn question(number: u16, name: &str) -> Vec<u8> {
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.extend(b"\x01\0\0\x01\0\0\0\0\0\0");
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.extend(b"\0\0\x01\0\x01");
    bytes
}

/// As it goes over a connection.
fn with_length(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes(), bytes].concat()
}

/// The address that is told, or the code of an answer that tells none.
type Answer = Result<Ipv4Addr, u8>;

fn answer(bytes: &[u8], number: u16) -> Answer {
    assert_eq!((&bytes[..2], bytes[2] & 0x80), (&number.to_be_bytes()[..], 0x80), "{bytes:x?}");
    match bytes[3] & 0x0F {
        // One record, whose last field it is: nobody asked for more.
        0 => Ok(Ipv4Addr::from(*bytes.last_chunk::<4>().unwrap())),
        code => Err(code),
    }
}

/// Who asks a name server, with a socket of its own.
enum Client {
    Udp(UdpSocket),
    Tcp(TcpStream),
}

impl Client {
    fn new(protocol: Protocol, from: IpAddr, server: SocketAddr) -> Client {
        let from = SocketAddr::new(from, 0);
        match protocol {
            Protocol::Udp => {
                let socket = socket_at(from);
                socket.connect(server).unwrap();
                Client::Udp(socket)
            }
            Protocol::Tcp => {
                let domain = socket2::Domain::for_address(from);
                let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).unwrap();
                socket.bind(&from.into()).unwrap();
                socket.connect(&server.into()).unwrap();
                Client::Tcp(with_deadline(socket.into()))
            }
        }
    }

    fn address(&self) -> SocketAddr {
        match self {
            Client::Udp(socket) => socket.local_addr().unwrap(),
            Client::Tcp(stream) => stream.local_addr().unwrap(),
        }
    }

    fn ask(&mut self, number: u16, name: &str) {
        let bytes = question(number, name);
        match self {
            Client::Udp(socket) => assert_eq!(socket.send(&bytes).unwrap(), bytes.len()),
            Client::Tcp(stream) => stream.write_all(&with_length(&bytes)).unwrap(),
        }
    }

    fn hear(&mut self, number: u16) -> Answer {
        let bytes = match self {
            Client::Udp(socket) => receive(socket),
            Client::Tcp(stream) => {
                let mut length = [0; 2];
                stream.read_exact(&mut length).unwrap();
                let mut bytes = vec![0; u16::from_be_bytes(length).into()];
                stream.read_exact(&mut bytes).unwrap();
                bytes
            }
        };
        answer(&bytes, number)
    }

    fn resolve(&mut self, number: u16, name: &str) -> Answer {
        self.ask(number, name);
        self.hear(number)
    }
}

/// Listeners for both protocols at one address, before one pool.
fn listening_both_ways(at: SocketAddr, backends: &[SocketAddr], responses: Option<u32>) -> Config {
    let mut config = config(backends);
    let mut tcp = config.listeners.remove(0);
    tcp.bind = vec![at.into()];
    for protocol in BOTH_WAYS {
        let mut listener = tcp.clone();
        (listener.name, listener.protocol) = (protocol.word().into(), protocol);
        if protocol == Protocol::Udp {
            listener.udp.responses = responses;
            listener.idle_timeout = Some(DEADLINE);
        }
        config.listeners.push(listener);
    }
    config
}

#[test]
fn whom_dnsdist_tells_is_the_client_over_udp_and_tcp_also_of_many_behind_one_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    // Each knows one name and refuses the other.
    let servers = [Server::dnsmasq("even.test"), Server::dnsmasq("odd.test")];
    let ours = own_address(5300);
    let mut config = listening_both_ways(ours, &servers.each_ref().map(|server| server.address), Some(1));
    for listener in &mut config.listeners {
        let mut accept = accept(&["127.0.0.1/32"]);
        accept.datagrams = ProxyDatagrams::Each;
        if listener.protocol == Protocol::Udp {
            accept.versions = vec![ProxyVersion::V2];
        }
        listener.proxy_protocol = Some(accept);
        // Of whom it does not tell. Its own checks are nobody's.
        listener.access.deny = vec!["127.0.0.1/32".parse().unwrap()];
    }
    config.pools[0].algorithm = Algorithm::SourceHash;
    config.access_log = Some(access_log::file(&path, LogFormat::Text));
    let ringway = Ringway::start(config);
    // No other test has a port of its own there, and below those that are given to anybody.
    let over_v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, 10_000 + (std::process::id() % 20_000) as u16));
    // Its checks stay on, and come to us with a header that tells no client.
    let dnsdist = Server::dnsdist(|_| {
        format!(
            "addLocal('{over_v6}')\n\
             newServer({{address='{ours}', useProxyProtocol=true, checkTimeout=5000, maxCheckFailures=20}})"
        )
    });
    let is_up = || {
        let mut client = Client::new(Protocol::Udp, IpAddr::from([127, 0, 0, 2]), dnsdist.address);
        client.resolve(1, "up.test") != Err(SERVFAIL)
    };
    await_that("dnsdist has checked us", is_up);

    let mut expected = Vec::new();
    // Few enough for dnsmasq, which serves twenty connections at once.
    for protocol in BOTH_WAYS {
        let mut clients: Vec<Client> = (10..25)
            .map(|host| Client::new(protocol, IpAddr::from([127, 0, 0, host]), dnsdist.address))
            .chain([Client::new(protocol, over_v6.ip(), over_v6)])
            .collect();
        // All have asked before one is heard.
        for (number, client) in (0..).zip(&mut clients) {
            client.ask(number, "even.test");
        }
        for (number, client) in (0..).zip(&mut clients) {
            let place = match client.hear(number) {
                Ok(address) if address == Ipv4Addr::new(192, 0, 2, 7) => 0,
                Err(REFUSED) => 1,
                other => panic!("{other:?}"),
            };
            let address = client.address();
            let address = format!("{}:{}", address.ip(), address.port());
            expected.push((address, protocol.word(), servers[place].address.to_string()));
        }
    }
    drop(dnsdist);
    ringway.finish();

    let log = std::fs::read_to_string(path).unwrap();
    for (client, listener, backend) in &expected {
        let found = log.lines().filter(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            fields[0] == client && fields[2..4] == [*listener, format!("test/{backend}").as_str()]
        });
        assert_eq!(found.count(), 1, "{client} {listener} {backend}: {log}");
    }
    // The client's address alone is hashed, and a client has one backend over both.
    let backends: Vec<&str> = expected.iter().map(|(_, _, backend)| backend.as_str()).collect();
    let (udp, tcp) = backends.split_at(backends.len() / 2);
    assert_eq!(udp, tcp);
    assert!(udp.iter().any(|backend| *backend != udp[0]), "the clients are hashed, not dnsdist");
}

#[test]
fn dnsdist_behind_us_knows_the_clients_and_what_else_it_is_told_over_udp_and_tcp() {
    let ours = own_address(5300);
    let dnsdist = Server::dnsdist(|address| {
        let mut lines = format!(
            "setProxyProtocolACL({{'127.0.0.1/32'}})\n\
             webserver('{}')\nsetWebserverConfig({{statsRequireAuthentication=false, acl='127.0.0.0/8'}})\n\
             addAction(QNameRule('health.example'), SpoofAction('192.0.2.1'))\n\
             to = newNMG()\nto:addMask('{}/32')\nto:addMask('::1/128')\n\
             addAction(NotRule(NetmaskGroupRule(to, false)), RCodeAction(DNSRCode.NOTIMP))\n\
             addAction(NotRule(ProxyProtocolValueRule(0xE1, 'rack-7')), RCodeAction(DNSRCode.REFUSED))\n\
             addAction(makeRule('::1/128'), SpoofAction('192.0.2.61'))\n",
            SocketAddr::new(address.ip(), WEB_PORT),
            ours.ip()
        );
        for host in 1..20 {
            lines += &format!("addAction(makeRule('127.0.0.{host}/32'), SpoofAction('192.0.2.{host}'))\n");
        }
        lines
    });
    let example = ringway::config::parse("f", include_str!("../../../examples/dnsdist.toml"));
    let example = example.unwrap_or_else(|errors| panic!("{errors}")).pools.remove(0).health.check;
    let asks = with_length(&question(7, "health.example"));
    let checks = [
        example,
        Check::Tcp(Exchange { send: asks, expect: Some(Expect::Bytes(vec![192, 0, 2, 1])) }),
        // That port is no name server's, and expects no header.
        Check::Http(http("/metrics")),
    ];
    // One header for a session is enough where a session has one question.
    let ways = [(ProxyDatagrams::Each, None), (ProxyDatagrams::First, Some(1)), (ProxyDatagrams::Each, None)];
    for (check, (datagrams, responses)) in checks.into_iter().zip(ways) {
        let mut config = listening_both_ways(ours, &[dnsdist.address], responses);
        config.listeners.iter_mut().for_each(|listener| listener.bind.push("[::1]:0".parse().unwrap()));
        let pool = &mut config.pools[0];
        pool.proxy_protocol = Some(SendProxy {
            version: ProxyVersion::V2,
            datagrams,
            tlvs: vec![ProxyTlv::UniqueId, ProxyTlv::Checksum],
            custom: vec![(0xE1, b"rack-7"[..].into())],
        });
        pool.health.proxy_protocol = !matches!(check, Check::Http(_));
        pool.health.port = (!pool.health.proxy_protocol).then_some(WEB_PORT);
        pool.health.check = check;
        pool.health.initial_state = InitialState::FullyDown;
        pool.health.timeout = DEADLINE;
        let ringway = Ringway::start(config);
        let health = || ringway.server().table().backends[0].health.clone();
        await_that("dnsdist passes a check", || {
            assert!(!health().reason.contains("failed"), "{:?}", health().reason);
            health().state == State::Up
        });
        for (place, protocol) in BOTH_WAYS.into_iter().enumerate() {
            let addresses = ringway.server().addresses(place);
            let mut clients: Vec<(Client, Ipv4Addr)> = (5..15)
                .map(|host| (Client::new(protocol, IpAddr::from([127, 0, 0, host]), addresses[0]), host))
                .map(|(client, host)| (client, Ipv4Addr::new(192, 0, 2, host)))
                .collect();
            let over_v6 = Client::new(protocol, "::1".parse().unwrap(), addresses[1]);
            clients.push((over_v6, Ipv4Addr::new(192, 0, 2, 61)));
            for number in 0..3 {
                for (client, _) in &mut clients {
                    client.ask(number, "who.test");
                }
                for (client, told) in &mut clients {
                    assert_eq!(client.hear(number), Ok(*told), "{protocol:?} {datagrams:?} {number}");
                }
            }
        }
        ringway.finish();
    }
}
