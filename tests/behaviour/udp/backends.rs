//! What becomes of sessions over UDP when their backends go.

use ringway::config::{Algorithm, Check};
use ringway::end::End;
use ringway::health::Order;
use ringway::stats::Dropped;
use ringway::table::{BackendId, Mode, State};

use super::{UdpBackend, assert_echo, client_of, config, count, dropped, receive};
use crate::common::{Ringway, await_that, one_worker};
use crate::network::{Network, is_root_here};
use crate::peers::own_address;

/// Takes a backend out of service.
fn order_out(ringway: &Ringway, backend: BackendId) {
    ringway.server().order(Order::SetMode { backend, mode: Mode::Maintenance }).unwrap();
}

#[test]
fn a_backend_that_is_gone_ends_neither_listener_nor_worker_and_its_client_goes_to_another() {
    // An address that is nobody else's: no other test gets the port when it is free.
    let mut first = UdpBackend::at(own_address(5301), |socket, _, from| drop(socket.send_to(b"first", from)));
    let second = UdpBackend::named("second");
    let mut config = config(&[first.address, second.address]);
    config.pools[0].algorithm = Algorithm::First;
    one_worker(&mut config);
    let ringway = Ringway::start(config);
    let client = client_of(ringway.address());
    client.send(b"who?").unwrap();
    assert_eq!(receive(&client), b"first");
    first.stop();
    // The kernel has an answer to this: nobody is there. The datagram is lost, the session is over. It does not answer every one,
    // if many of the machine's are for nobody.
    await_that("its session ends", || {
        client.send(b"who?").unwrap();
        ringway.totals().ended(End::BackendReset) == 1
    });
    client.send(b"who?").unwrap();
    assert_eq!(receive(&client), b"second");
    let failures = ringway.server().stats().backend(BackendId::new(0), |backend| &backend.connect_failures);
    assert_eq!(failures, 1);
    assert_eq!(count(&ringway, |datagrams| &datagrams.rebalanced), 1);
    assert_eq!(ringway.finish().accepted, 2);
}

#[test]
fn the_next_datagram_of_a_client_whose_backend_is_down_goes_to_one_that_is_up() {
    let (first, second) = (UdpBackend::named("first"), UdpBackend::named("second"));
    let mut config = config(&[first.address, second.address]);
    config.pools[0].algorithm = Algorithm::First;
    let ringway = Ringway::start(config);
    let client = client_of(ringway.address());
    client.send(b"who?").unwrap();
    assert_eq!(receive(&client), b"first");
    order_out(&ringway, BackendId::new(0));
    await_that("it goes to the other", || {
        client.send(b"who?").unwrap();
        receive(&client) == b"second"
    });
    assert_eq!(count(&ringway, |datagrams| &datagrams.rebalanced), 1);
    assert_eq!(ringway.finish().accepted, 2);
}

#[test]
fn while_no_other_is_up_a_client_stays_with_the_backend_that_it_has() {
    let backend = UdpBackend::echo();
    let ringway = Ringway::start(config(&[backend.address]));
    let client = client_of(ringway.address());
    assert_echo(&client, b"before");
    order_out(&ringway, BackendId::new(0));
    await_that("it is out", || !ringway.server().table().backends[0].is_open());
    assert_echo(&client, b"after");
    ringway.finish();
}

#[test]
fn one_that_was_chosen_although_it_is_down_keeps_its_clients() {
    // Nobody is there over TCP.
    let backend = UdpBackend::at(own_address(5305), |socket, bytes, from| drop(socket.send_to(bytes, from)));
    let mut config = config(&[backend.address]);
    config.pools[0].health.check = Check::Tcp(Default::default());
    config.pools[0].panic_threshold = 50;
    let ringway = Ringway::start(config);
    await_that("it is down", || ringway.server().table().backends[0].health.state == State::Down);
    let client = client_of(ringway.address());
    (0..5).for_each(|round| assert_echo(&client, &[round]));
    assert_eq!(count(&ringway, |datagrams| &datagrams.rebalanced), 0);
    assert_eq!(ringway.finish().accepted, 1);
}

#[test]
fn that_nobody_is_there_ends_a_session_also_when_its_client_sends_no_more() {
    let mut backend = UdpBackend::at(own_address(5303), |_, _, _| {});
    backend.stop();
    let ringway = Ringway::start(config(&[backend.address]));
    // Each of them asks once. The kernel does not say it of every datagram.
    let mut clients = Vec::new();
    await_that("one is told", || {
        let client = client_of(ringway.address());
        client.send(b"who?").unwrap();
        clients.push(client);
        ringway.totals().ended(End::BackendReset) > 0
    });
    ringway.finish();
}

#[test]
fn where_no_way_leads_to_a_backend_the_datagram_goes_to_the_next_one_at_once() {
    let name = "udp::backends::where_no_way_leads_to_a_backend_the_datagram_goes_to_the_next_one_at_once";
    if !is_root_here(name) {
        return;
    }
    // A network without any route but its own.
    Network::new().run(|| {
        let backend = UdpBackend::echo();
        let mut config = config(&["192.0.2.1:53".parse().unwrap(), backend.address]);
        config.pools[0].algorithm = Algorithm::First;
        let ringway = Ringway::start(config);
        assert_echo(&client_of(ringway.address()), b"at once");
        let failures = |backend| {
            ringway.server().stats().backend(BackendId::new(backend), |backend| &backend.connect_failures)
        };
        assert_eq!((failures(0), failures(1)), (1, 0));
        assert_eq!(ringway.finish().accepted, 1);
    });
}

#[test]
fn while_no_port_is_left_towards_a_backend_datagrams_are_dropped_and_it_is_not_to_blame() {
    let name =
        "udp::backends::while_no_port_is_left_towards_a_backend_datagrams_are_dropped_and_it_is_not_to_blame";
    if !is_root_here(name) {
        return;
    }
    Network::new().run(|| {
        let backend = UdpBackend::echo();
        let mut config = config(&[backend.address]);
        config.pools[0].source.ports = Some((41_030, 41_031));
        let ringway = Ringway::start(config);
        let clients: Vec<_> = (0..2).map(|_| client_of(ringway.address())).collect();
        clients.iter().for_each(|client| assert_echo(client, b"a port"));
        client_of(ringway.address()).send(b"none").unwrap();
        await_that("it is dropped", || dropped(&ringway, Dropped::NoResources) == 1);
        let stats = ringway.server().stats();
        assert_eq!(stats.backend(BackendId::new(0), |backend| &backend.connect_failures), 0);
        clients.iter().for_each(|client| assert_echo(client, b"still"));
        assert_eq!(ringway.finish().ended(End::NoResources), 1);
    });
}
