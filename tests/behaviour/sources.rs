//! Where connections to backends come from: addresses in turn, ports of a range, and the next address when one is used up.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};

use ringway::config::{Check, Config, Datagrams, Exchange};
use ringway::end::End;

use crate::common::*;
use crate::network::{Network, is_root_here};
use crate::udp;

/// A backend that echoes, and who has come.
fn noting() -> (TestBackend, Arc<Mutex<Vec<SocketAddr>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let backend = TestBackend::new(move |stream| {
        noted.lock().unwrap().push(stream.peer_addr().unwrap());
        echo(stream);
    });
    (backend, seen)
}

/// Listens where nobody else is, and takes its connections to backends from these ports of these addresses.
fn from(mut config: Config, addresses: &[IpAddr], ports: (u16, u16), listen: SocketAddr) -> Config {
    one_worker(&mut config);
    config.listeners[0].bind = vec![listen.into()];
    config.pools[0].source.addresses = addresses.to_vec();
    config.pools[0].source.ports = Some(ports);
    config
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

#[test]
fn more_sessions_than_one_address_has_ports_reach_one_backend() {
    if !is_root_here("sources::more_sessions_than_one_address_has_ports_reach_one_backend") {
        return;
    }
    // Elsewhere anybody may have one of the ports.
    Network::new().run(|| {
        let (backend, seen) = noting();
        let sources: [IpAddr; 2] = [[127, 71, 0, 2].into(), [127, 71, 0, 3].into()];
        let ports = (41_000, 41_003);
        // Somebody has two of the four ports of the first address, which therefore has none left at its third turn.
        let other = Ringway::start(from(config(&[backend.address]), &sources[..1], ports, local(8_000)));
        let mut clients: Vec<_> = (0..2).map(|_| other.connect()).collect();
        clients.iter_mut().for_each(|client| assert_echo(client, b"was first"));
        let ringway = Ringway::start(from(config(&[backend.address]), &sources, ports, local(8_001)));
        let mut later: Vec<_> = (0..6).map(|_| ringway.connect()).collect();
        later.iter_mut().for_each(|client| assert_echo(client, b"has a port"));
        let seen = seen.lock().unwrap().clone();
        for source in sources {
            let mut ports: Vec<u16> =
                seen.iter().filter(|peer| peer.ip() == source).map(|peer| peer.port()).collect();
            ports.sort_unstable();
            assert_eq!(ports, [41_000, 41_001, 41_002, 41_003], "{source}");
        }
        // Now no port is left at either, and the backend is not blamed.
        assert_connect_is_reset(ringway.address());
        ringway.await_end(End::NoResources, 1);
        drop((clients, later));
        other.await_end(End::Complete, 2);
        ringway.await_end(End::Complete, 6);
        other.finish();
        ringway.finish();
    });
}

#[test]
fn connections_by_mptcp_come_from_there_as_well() {
    if !is_root_here("sources::connections_by_mptcp_come_from_there_as_well") {
        return;
    }
    Network::new().run(|| {
        let (backend, seen) = noting();
        let sources: [IpAddr; 2] = [[127, 71, 0, 13].into(), [127, 71, 0, 14].into()];
        let ports = (41_030, 41_031);
        let mut config = from(config(&[backend.address]), &sources, ports, local(8_000));
        config.pools[0].socket.mptcp = true;
        let ringway = Ringway::start(config);
        let mut clients: Vec<_> = (0..4).map(|_| ringway.connect()).collect();
        clients.iter_mut().for_each(|client| assert_echo(client, b"by MPTCP"));
        let seen: HashSet<SocketAddr> = seen.lock().unwrap().iter().copied().collect();
        let wanted = sources.iter().flat_map(|&ip| [41_030, 41_031].map(|port| SocketAddr::from((ip, port))));
        assert_eq!(seen, wanted.collect());
        assert_connect_is_reset(ringway.address());
        ringway.await_end(End::NoResources, 1);
        drop(clients);
        ringway.await_end(End::Complete, 4);
        ringway.finish();
    });
}

#[test]
fn an_address_that_the_machine_does_not_have_is_told_at_the_start_and_refuses_a_reload() {
    let backend = TestBackend::echo();
    let config = config(&[backend.address]);
    let mut wrong = config.clone();
    wrong.pools[0].source.addresses = vec![[192, 0, 2, 77].into()];
    let Err(error) = ringway::server::Server::start(wrong.clone(), 0) else { panic!("it started") };
    let words =
        "pool test: pool.source.addresses = 192.0.2.77 (bind) is refused: Cannot assign requested address";
    assert!(error.to_string().contains(words) && error.to_string().contains("ip address"), "{error}");
    let ringway = Ringway::start(config);
    let refused = ringway.server().control().adopt(wrong).unwrap_err();
    assert!(refused.to_string().contains(words), "{refused}");
    assert_echo(&mut ringway.connect(), b"as before");
    ringway.await_end(End::Complete, 1);
    ringway.finish();
}

#[test]
fn checks_come_from_these_addresses_as_well() {
    let listener = TcpListener::bind(any_port()).unwrap();
    listener.set_nonblocking(true).unwrap();
    let mut config = config(&[listener.local_addr().unwrap()]);
    let sources: HashSet<IpAddr> = [[127, 71, 0, 4].into(), [127, 71, 0, 5].into()].into();
    config.pools[0].source.addresses = sources.iter().copied().collect();
    config.pools[0].health.check = Check::Tcp(Exchange::default());
    let ringway = Ringway::start(config);
    let mut seen = HashSet::new();
    await_that("checks come from both", || {
        seen.extend(listener.accept().ok().map(|(_, peer)| peer.ip()));
        seen.len() >= sources.len()
    });
    assert_eq!(seen, sources);
    ringway.finish();
}

#[test]
fn datagrams_that_check_come_from_there_too() {
    if !is_root_here("sources::datagrams_that_check_come_from_there_too") {
        return;
    }
    Network::new().run(|| {
        let socket = udp::socket_at(local(9_000));
        let (source, ports) = (IpAddr::from([127, 71, 0, 8]), (41_010, 41_019));
        let mut config = from(config(&[local(9_000)]), &[source], ports, local(8_000));
        config.pools[0].health.check = Check::Udp(Datagrams { send: b"there?".to_vec(), expect: None });
        let ringway = Ringway::start(config);
        let mut buffer = [0; 16];
        let (count, peer) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], b"there?");
        assert_eq!(peer.ip(), source);
        assert!((ports.0..=ports.1).contains(&peer.port()), "{peer}");
        ringway.finish();
    });
}

#[test]
fn addresses_take_turns_at_each_backend_and_not_over_all_of_them() {
    let backends = [noting(), noting()];
    let mut config = config(&[backends[0].0.address, backends[1].0.address]);
    one_worker(&mut config);
    let sources: [IpAddr; 2] = [[127, 71, 0, 6].into(), [127, 71, 0, 7].into()];
    config.pools[0].source.addresses = sources.to_vec();
    let ringway = Ringway::start(config);
    for _ in 0..8 {
        assert_echo(&mut ringway.connect(), b"in turn");
    }
    for (_, seen) in &backends {
        let seen = seen.lock().unwrap();
        let counts = sources.map(|source| seen.iter().filter(|peer| peer.ip() == source).count());
        assert_eq!(counts, [2, 2]);
    }
    ringway.await_end(End::Complete, 8);
    ringway.finish();
}

#[test]
fn ports_of_which_the_kernel_would_not_take_any_are_told_at_the_start() {
    let backend = TestBackend::echo();
    let mut config = config(&[backend.address]);
    config.pools[0].source.ports = Some((1, 2));
    let Err(error) = ringway::server::Server::start(config, 0) else { panic!("it started") };
    let error = error.to_string();
    assert!(error.contains("pool test: pool.source.ports = 1-2 goes beyond "), "{error}");
    assert!(error.contains("sysctl -w net.ipv4.ip_local_port_range=\"1 "), "{error}");
}

#[test]
fn sessions_of_datagrams_come_from_there_and_from_the_next_address_when_one_has_no_port_left() {
    if !is_root_here(
        "sources::sessions_of_datagrams_come_from_there_and_from_the_next_address_when_one_has_no_port_left",
    ) {
        return;
    }
    Network::new().run(|| {
        let backend = udp::socket_at(local(9_000));
        let sources: [IpAddr; 2] = [[127, 71, 0, 9].into(), [127, 71, 0, 10].into()];
        let ports = (41_020, 41_021);
        let config = udp::config(&[backend.local_addr().unwrap()]);
        let _taken = UdpSocket::bind((sources[0], ports.0)).unwrap();
        let ringway = Ringway::start(from(config, &sources, ports, local(8_000)));
        let clients: Vec<UdpSocket> = (0..3).map(|_| udp::client_of(local(8_000))).collect();
        let mut seen = HashSet::new();
        for client in &clients {
            client.send(b"from where").unwrap();
            seen.insert(backend.recv_from(&mut [0; 16]).unwrap().1);
        }
        let wanted = [(sources[0], ports.1), (sources[1], ports.0), (sources[1], ports.1)];
        assert_eq!(seen, wanted.map(SocketAddr::from).into());
        drop(ringway);
    });
}

#[test]
fn a_reload_gives_new_sessions_other_addresses() {
    let (backend, seen) = noting();
    let mut before = config(&[backend.address]);
    before.pools[0].source.addresses = vec![[127, 71, 0, 11].into()];
    let mut after = before.clone();
    after.pools[0].source.addresses = vec![[127, 71, 0, 12].into()];
    let ringway = Ringway::start(before);
    let mut old = ringway.connect();
    assert_echo(&mut old, b"before");
    ringway.server().control().adopt(after).unwrap();
    await_that("a session comes from the new address", || {
        assert_echo(&mut ringway.connect(), b"after");
        seen.lock().unwrap().last().unwrap().ip() == IpAddr::from([127, 71, 0, 12])
    });
    assert_echo(&mut old, b"still there");
    drop(old);
    ringway.finish();
}
