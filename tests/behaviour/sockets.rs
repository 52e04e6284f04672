//! Options of sockets: what a listener and a pool want is what the kernel has, and what the other end sees.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::process::Command;
use std::thread;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use ringway::config::{Check, Config, Exchange, ListeningSocket, PoolSocket};
use ringway::control::Refused;
use ringway::end::End;
use ringway::server::Server;
use ringway::table::State;

use super::udp;
use crate::common::*;
use crate::network::is_in_a_network_of_its_own;

/// What the kernel says of the sockets that this filter finds, all of a socket in one line.
fn seen(filter: &str) -> String {
    seen_of("-t", filter)
}

/// The same of TCP (`-t`) or UDP (`-u`).
fn seen_of(kind: &str, filter: &str) -> String {
    let told =
        Command::new("ss").args(["-H", "-O", "-n", kind, "-a", "-i", "-m", "-e", "--tos", filter]).output();
    let told = told.expect("ss of iproute2 is there");
    assert!(told.status.success(), "{filter}: {}", String::from_utf8_lossy(&told.stderr));
    String::from_utf8(told.stdout).unwrap()
}

/// The socket at this end of a connection.
fn seen_between(own: SocketAddr, peer: SocketAddr) -> String {
    let found = seen(&format!("src {own} and dst {peer}"));
    assert_eq!(found.lines().count(), 1, "{found}");
    found
}

/// A word of what the kernel says, after its name.
fn word<'a>(told: &'a str, name: &str) -> &'a str {
    let found = told.split_whitespace().find_map(|word| word.strip_prefix(name));
    found.unwrap_or_else(|| panic!("no {name} in {told}"))
}

/// Receive and send buffers of `skmem:(r0,rb131072,t0,tb65536,...)`.
fn buffers(told: &str) -> (&str, &str) {
    let all = word(told, "skmem:(");
    let one = |name| all.split(',').find_map(|part| part.strip_prefix(name)).unwrap();
    (one("rb"), one("tb"))
}

fn with_listener(backend: SocketAddr, socket: ListeningSocket) -> Config {
    let mut config = config(&[backend]);
    config.listeners[0].socket = ListeningSocket { mode: 0o660, ..socket };
    config
}

fn with_pool(backend: SocketAddr, socket: PoolSocket) -> Config {
    let mut config = config(&[backend]);
    config.pools[0].socket = socket;
    config
}

/// Says where the connection came from, then sends back what it gets.
fn tells_its_peer(mut stream: TcpStream) {
    let peer = stream.peer_addr().unwrap().to_string();
    if stream.write_all(format!("{peer}\n").as_bytes()).is_ok() {
        echo(stream);
    }
}

fn line(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut one = [0];
    while one != *b"\n" {
        stream.read_exact(&mut one).unwrap();
        bytes.extend(one);
    }
    String::from_utf8(bytes).unwrap().trim().to_owned()
}

#[test]
fn clients_inherit_what_a_listener_wants() {
    let backend = TestBackend::echo();
    let wanted = ListeningSocket {
        device: Some("lo".into()),
        fast_open: Some(7),
        congestion: Some("reno".into()),
        dscp: Some(46),
        mss: Some(1000),
        receive_buffer: Some(64 << 10),
        send_buffer: Some(32 << 10),
        ..ListeningSocket::default()
    };
    let ringway = Ringway::start(with_listener(backend.address, wanted));
    let mut client = ringway.connect();
    assert_echo(&mut client, b"hello");
    let own = ringway.address();
    let told = seen_between(own, client.local_addr().unwrap());
    assert!(told.contains(&format!("{}%lo:{}", own.ip(), own.port())), "{told}");
    assert!(told.split_whitespace().any(|word| word == "reno"), "{told}");
    assert_eq!(word(&told, "tos:"), "0xb8", "46 and two bits for congestion");
    // The kernel doubles them, for its own books.
    assert_eq!(buffers(&told), ("131072", "65536"));
    // 12 of them are timestamps.
    assert_eq!(SockRef::from(&client).tcp_mss().unwrap(), 988, "what the peer sees");
    let listening = seen(&format!("src {own} and dport = 0"));
    assert_eq!(listening.lines().count(), 2, "one for each worker: {listening}");
    assert!(listening.lines().all(|line| line.contains("%lo")), "{listening}");
    drop(client);
    ringway.finish();
}

#[test]
fn a_reload_changes_what_clients_to_come_inherit() {
    let backend = TestBackend::echo();
    let wanted = ListeningSocket { dscp: Some(46), mss: Some(1000), ..ListeningSocket::default() };
    let ringway = Ringway::start(with_listener(backend.address, wanted));
    let mut old = ringway.connect();
    assert_echo(&mut old, b"before");
    let adopt = |change: fn(&mut ListeningSocket)| {
        let mut config = Config::clone(&ringway.server().control().generation().config);
        change(&mut config.listeners[0].socket);
        ringway.server().control().adopt(config)
    };
    adopt(|socket| (socket.dscp, socket.mss) = (Some(10), None)).unwrap();
    let mss = |client: &TcpStream| SockRef::from(client).tcp_mss().unwrap();
    let tos = |client: &TcpStream| {
        let told = seen_between(ringway.address(), client.local_addr().unwrap());
        word(&told, "tos:").to_owned()
    };
    // Each worker does it in its own time, and a reload waits for all of them.
    for _ in 0..8 {
        let mut new = ringway.connect();
        assert_echo(&mut new, b"after");
        assert_eq!((tos(&new).as_str(), mss(&new) > 1000), ("0x28", true));
    }
    assert_eq!((tos(&old).as_str(), mss(&old)), ("0xb8", 988), "one that is there keeps what it has");
    drop(old);
    ringway.finish();
}

#[test]
fn a_reload_that_the_kernel_refuses_says_why_and_changes_nothing() {
    let backend = TestBackend::echo();
    let ringway = Ringway::over(&[backend.address]);
    let refused = |change: fn(&mut Config)| {
        let mut config = Config::clone(&ringway.server().control().generation().config);
        change(&mut config);
        match ringway.server().control().adopt(config) {
            Err(refused @ Refused::Bind(_)) => refused.to_string(),
            other => panic!("{other:?}"),
        }
    };
    let said = refused(|config| config.listeners[0].socket.congestion = Some("nobody".into()));
    assert!(said.contains("listener test: "), "{said}");
    assert!(said.contains("listener.socket.congestion = nobody (TCP_CONGESTION) is refused"), "{said}");
    assert!(said.contains("(os error 2)") && said.contains("this kernel has"), "{said}");
    let said = refused(|config| config.pools[0].socket.congestion = Some("nobody".into()));
    assert!(
        said.starts_with("pool test: pool.socket.congestion = nobody (TCP_CONGESTION) is refused"),
        "{said}"
    );
    assert!(said.contains("(os error 2)") && said.contains("this kernel has"), "{said}");
    let said = refused(|config| config.pools[0].socket.device = Some("nowhere0".into()));
    assert!(said.contains("pool.socket.device = nowhere0 (SO_BINDTODEVICE) is refused"), "{said}");
    assert!(said.contains("(os error 19)") && said.contains("ip link shows"), "{said}");
    assert_echo(&mut ringway.connect(), b"as before");
    ringway.finish();
}

#[test]
fn a_start_that_the_kernel_refuses_says_why() {
    let backend = TestBackend::echo();
    let wanted = PoolSocket { congestion: Some("nobody".into()), ..PoolSocket::default() };
    let error = match Server::start(with_pool(backend.address, wanted), 0) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("it started"),
    };
    assert!(
        error.contains("pool test: pool.socket.congestion = nobody (TCP_CONGESTION) is refused"),
        "{error}"
    );
}

#[test]
fn a_free_bind_listens_where_the_machine_is_not_yet() {
    let backend = TestBackend::echo();
    // Of those that are for examples only.
    let elsewhere: SocketAddr = "192.0.2.1:0".parse().unwrap();
    let mut config = with_listener(backend.address, ListeningSocket::default());
    config.listeners[0].bind = vec![elsewhere.into()];
    let error = match Server::start(config.clone(), 0) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("it started"),
    };
    assert!(error.contains("this machine does not have that address"), "{error}");
    config.listeners[0].socket.free_bind = true;
    let ringway = Ringway::start(config);
    assert_eq!(ringway.address().ip(), elsewhere.ip());
    ringway.finish();
}

#[test]
fn a_client_that_says_nothing_is_no_session_where_that_is_deferred() {
    let backend = TestBackend::echo();
    let wanted =
        ListeningSocket { defer_accept: Some(Duration::from_secs(600)), ..ListeningSocket::default() };
    let mut config = with_listener(backend.address, wanted);
    one_worker(&mut config);
    let ringway = Ringway::start(config);
    let mut silent = ringway.connect();
    // One that came later and speaks is accepted before it.
    assert_echo(&mut ringway.connect(), b"hello");
    assert_eq!(ringway.totals().accepted, 1);
    assert_echo(&mut silent, b"at last");
    assert_eq!(ringway.totals().accepted, 2);
    drop(silent);
    ringway.finish();
}

#[test]
fn connections_to_backends_are_what_the_pool_wants() {
    // A mark takes rights over the network.
    if !is_in_a_network_of_its_own("sockets::connections_to_backends_are_what_the_pool_wants") {
        return;
    }
    let backend = TestBackend::new(tells_its_peer);
    let wanted = PoolSocket {
        device: Some("lo".into()),
        mark: Some(42),
        congestion: Some("reno".into()),
        dscp: Some(46),
        mss: Some(1000),
        receive_buffer: Some(64 << 10),
        send_buffer: Some(32 << 10),
        ..PoolSocket::default()
    };
    let ringway = Ringway::start(with_pool(backend.address, wanted));
    let mut client = ringway.connect();
    let own: SocketAddr = line(&mut client).parse().unwrap();
    let told = seen_between(own, backend.address);
    assert!(told.contains(&format!("{}%lo:{}", own.ip(), own.port())), "{told}");
    assert!(told.split_whitespace().any(|word| word == "reno"), "{told}");
    assert_eq!((word(&told, "tos:"), word(&told, "fwmark:")), ("0xb8", "0x2a"));
    assert_eq!(buffers(&told), ("131072", "65536"));
    let at_the_peer = seen_between(backend.address, own);
    assert_eq!(word(&at_the_peer, "mss:"), "988", "of 1000, 12 are timestamps: {at_the_peer}");
    drop(client);
    ringway.finish();
}

#[test]
fn checks_are_what_the_pool_wants_too() {
    // The smallest: a check is over at once, and a number that the peer can see all the same stays.
    let backend = TestBackend::new(|mut stream| {
        let mss = SockRef::from(&stream).tcp_mss().unwrap();
        let _ = stream.write_all(format!("mss {mss};").as_bytes());
    });
    let wanted = PoolSocket { mss: Some(600), ..PoolSocket::default() };
    let mut config = with_pool(backend.address, wanted);
    let expect = Some(ringway::config::Expect::Bytes(b"mss 588;".to_vec()));
    config.pools[0].health.check = Check::Tcp(Exchange { expect, ..Exchange::default() });
    config.pools[0].health.initial_state = ringway::config::InitialState::Down;
    config.pools[0].health.timeout = DEADLINE;
    let ringway = Ringway::start(config);
    await_that("the backend is up", || ringway.server().table().backends[0].health.state == State::Up);
    ringway.finish();
}

#[test]
fn datagrams_to_backends_are_what_the_pool_wants() {
    // A mark takes rights over the network.
    if !is_in_a_network_of_its_own("sockets::datagrams_to_backends_are_what_the_pool_wants") {
        return;
    }
    let backend = udp::UdpBackend::new(|socket, _, peer| {
        let _ = socket.send_to(peer.to_string().as_bytes(), peer);
    });
    let mut config = udp::config(&[backend.address]);
    config.pools[0].socket = PoolSocket {
        device: Some("lo".into()),
        mark: Some(42),
        dscp: Some(46),
        receive_buffer: Some(64 << 10),
        send_buffer: Some(32 << 10),
        ..PoolSocket::default()
    };
    let ringway = Ringway::start(config);
    let client = udp::client_of(ringway.address());
    client.send(b"who asks?").unwrap();
    let own: SocketAddr = String::from_utf8(udp::receive(&client)).unwrap().parse().unwrap();
    let told = seen_of("-u", &format!("src {own} and dst {}", backend.address));
    assert!(told.contains(&format!("{}%lo:{}", own.ip(), own.port())), "{told}");
    assert_eq!((word(&told, "tos:"), word(&told, "fwmark:")), ("0xb8", "0x2a"));
    assert_eq!(buffers(&told), ("131072", "65536"));
    ringway.finish();
}

/// A ringway that takes MPTCP in front of an echo, and one that speaks it to that one: the first is between plain clients and
/// two MPTCP ends.
fn two_by_mptcp(backend: SocketAddr) -> (Ringway, Ringway) {
    let far =
        Ringway::start(with_listener(backend, ListeningSocket { mptcp: true, ..ListeningSocket::default() }));
    let near = Ringway::start(with_pool(far.address(), PoolSocket { mptcp: true, ..PoolSocket::default() }));
    (near, far)
}

/// The MPTCP connections that lead to this port.
fn mptcp_to(port: u16) -> usize {
    mptcp(&format!("dport = {port}"))
}

/// MPTCP sockets that are connected and that `ss` finds by this; a client's is one also where the server knows TCP alone.
pub(super) fn mptcp(filter: &str) -> usize {
    let told = Command::new("ss").args(["-H", "-n", "-M", filter]).output().unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    String::from_utf8(told.stdout).unwrap().lines().filter(|line| !line.is_empty()).count()
}

#[test]
fn a_session_goes_by_mptcp_whole() {
    let backend = TestBackend::echo();
    let (near, far) = two_by_mptcp(backend.address);
    let mut client = near.connect();
    assert_echo(&mut client, b"small");
    assert_eq!(mptcp_to(far.address().port()), 1);
    // Large enough to go without a copy.
    let bytes = Noise::new(5).bytes(8 << 20);
    let (mut sending, sent) = (client.try_clone().unwrap(), bytes.clone());
    let writer = thread::spawn(move || {
        sending.write_all(&sent).unwrap();
        SockRef::from(&sending).send_out_of_band(b"!").unwrap();
        sending.write_all(b"end").unwrap();
        sending.shutdown(Shutdown::Write).unwrap();
    });
    let back = read_all(&mut client);
    writer.join().unwrap();
    let (head, tail) = back.split_at(bytes.len());
    assert!(head == bytes, "the echo differs");
    assert_eq!(tail, b"!end", "an urgent byte is where it stands");
    // Counted at a tick.
    await_that("it has gone by pipes", || near.carried().spliced > 0 && far.carried().spliced > 0);
    near.await_end(End::Complete, 1);
    far.await_end(End::Complete, 1);
    near.finish();
    far.finish();
}

#[test]
fn a_reset_goes_by_mptcp_as_a_reset_both_ways() {
    let breaking = TestBackend::new(|mut stream| {
        let _ = stream.read(&mut [0; 4]);
        reset(stream);
    });
    let (near, far) = two_by_mptcp(breaking.address);
    let mut client = near.connect();
    client.write_all(b"now!").unwrap();
    assert_reset(&mut client);
    near.await_end(End::BackendReset, 1);
    near.finish();
    far.finish();

    let backend = TestBackend::echo();
    let (near, far) = two_by_mptcp(backend.address);
    let mut client = near.connect();
    assert_echo(&mut client, b"hello");
    reset(client);
    far.await_end(End::ClientReset, 1);
    near.finish();
    far.finish();
}

#[test]
fn clients_and_backends_without_mptcp_are_reached_by_tcp() {
    let backend = TestBackend::echo();
    let mut config =
        with_listener(backend.address, ListeningSocket { mptcp: true, ..ListeningSocket::default() });
    config.pools[0].socket.mptcp = true;
    let ringway = Ringway::start(config);
    let mut client = ringway.connect();
    client.write_all(b"abc").unwrap();
    SockRef::from(&client).send_out_of_band(b"d").unwrap();
    client.write_all(b"efg").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut client), b"abcdefg");
    // And one with it.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::MPTCP)).unwrap();
    socket.connect(&ringway.address().into()).unwrap();
    let mut client = with_deadline(socket.into());
    assert_echo(&mut client, b"by several paths");
    drop(client);
    ringway.finish();
}

#[test]
fn a_backend_that_does_not_answer_ends_a_connect_by_mptcp_in_time() {
    let (silent, _held) = blackhole();
    let backend = TestBackend::echo();
    let mut config = with_pool(silent, PoolSocket { mptcp: true, ..PoolSocket::default() });
    config.pools[0].connect_timeout = Duration::from_millis(200);
    let second = super::common::config(&[backend.address]).pools.remove(0).backends.remove(0);
    config.pools[0].backends.push(second);
    let ringway = Ringway::start(config);
    for _ in 0..2 {
        assert_echo(&mut ringway.connect(), b"the other one");
    }
    ringway.finish();
}

/// A counter of the kernel's, in this network.
fn counted(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/net/netstat").unwrap();
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let at = names.split_whitespace().position(|word| word == name).unwrap();
    values.split_whitespace().nth(at).unwrap().parse().unwrap()
}

#[test]
fn the_first_bytes_go_out_with_the_connection() {
    if !is_in_a_network_of_its_own("sockets::the_first_bytes_go_out_with_the_connection") {
        return;
    }
    fs::write("/proc/sys/net/ipv4/tcp_fastopen", "3").unwrap();
    let backend = TestBackend::echo();
    let wanted = ListeningSocket { fast_open: Some(16), ..ListeningSocket::default() };
    let far = Ringway::start(with_listener(backend.address, wanted));
    assert_eq!(far.address().ip(), IpAddr::from([127, 0, 0, 1]));
    let near =
        Ringway::start(with_pool(far.address(), PoolSocket { fast_open: true, ..PoolSocket::default() }));
    // The first is given a cookie, those that follow use it.
    for _ in 0..4 {
        let mut client = near.connect();
        assert_echo(&mut client, b"hello");
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(&mut client), b"");
    }
    assert_eq!((counted("TCPFastOpenActive"), counted("TCPFastOpenPassive")), (3, 3));
    // One that says nothing.
    let client = near.connect();
    client.shutdown(Shutdown::Write).unwrap();
    await_that("it ends", || near.totals().active == 0);
    near.finish();
    far.finish();
}
