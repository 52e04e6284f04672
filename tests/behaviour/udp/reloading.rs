//! Another configuration while datagrams go on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ringway::config::Config;

use super::{UdpBackend, assert_echo, client_of, config, count, receive, socket_at};
use crate::common::{DEADLINE, Ringway, await_that, one_worker};
use crate::peers::own_address;

/// Goes on with the present configuration, changed.
pub fn change(ringway: &Ringway, change: impl FnOnce(&mut Config)) {
    let control = ringway.server().control();
    let mut config = Config::clone(&control.generation().config);
    change(&mut config);
    control.adopt(config).unwrap_or_else(|refused| panic!("{refused}"));
}

#[test]
fn sessions_go_on_at_their_backend_through_reloads_and_lose_nothing() {
    let (first, second) = (UdpBackend::named("first"), UdpBackend::named("second"));
    let ringway = Ringway::start(config(&[first.address]));
    let clients: Vec<_> = (0..20).map(|_| client_of(ringway.address())).collect();
    let ask = |name: &[u8]| {
        for client in &clients {
            client.send(b"who?").unwrap();
            assert_eq!(receive(client), name);
        }
    };
    ask(b"first");
    let is_over = Arc::new(AtomicBool::new(false));
    let traffic = {
        let (is_over, address) = (Arc::clone(&is_over), ringway.address());
        thread::spawn(move || {
            let mut asked = 0;
            // Each reply before the next request: none is ever lost.
            let client = client_of(address);
            while !is_over.load(Ordering::SeqCst) {
                client.send(b"who?").unwrap();
                assert_eq!(receive(&client), b"first");
                asked += 1;
            }
            asked
        })
    };
    for round in 0..5 {
        change(&ringway, |config| {
            config.listeners[0].idle_timeout = Some(DEADLINE * (2 + round));
            config.pools[0].queue_max = round;
        });
        ask(b"first");
    }
    // The old backend drains; whoever is new goes to the new one.
    change(&ringway, |config| {
        config.pools[0].backends[0].address = second.address.into();
        config.pools[0].backends[0].name = "second".into();
    });
    ask(b"first");
    is_over.store(true, Ordering::SeqCst);
    assert!(traffic.join().unwrap() > 0);
    let new = client_of(ringway.address());
    new.send(b"who?").unwrap();
    assert_eq!(receive(&new), b"second");
    assert_eq!(ringway.finish().accepted, 22);
}

#[test]
fn listeners_come_and_go_and_an_address_may_be_that_of_tcp_too() {
    // Nobody has its port over TCP.
    let backend = UdpBackend::at(own_address(5304), |socket, bytes, from| drop(socket.send_to(bytes, from)));
    let mut config = config(&[backend.address]);
    one_worker(&mut config);
    let ringway = Ringway::start(config);
    let client = client_of(ringway.address());
    assert_echo(&client, b"one");
    change(&ringway, |config| {
        let mut more = config.listeners[0].clone();
        more.name = "more".into();
        // Nobody else's: the same number has to be free over TCP, too.
        more.bind = vec![own_address(5300).into()];
        config.listeners.push(more);
    });
    let added = ringway.server().control().generation().addresses[1][0].as_ip().unwrap();
    let other = client_of(added);
    assert_echo(&other, b"two");
    // The same number over TCP is another socket.
    change(&ringway, |config| {
        let mut tcp = config.listeners[0].clone();
        tcp.name = "tcp".into();
        tcp.protocol = ringway::config::Protocol::Tcp;
        tcp.bind = vec![added.into()];
        config.listeners.push(tcp);
    });
    // Nobody serves TCP behind it, which says that somebody has accepted it.
    crate::common::assert_connect_is_reset(added);
    assert_echo(&other, b"three");
    change(&ringway, |config| drop(config.listeners.remove(1)));
    await_that("its session ends", || ringway.totals().active == 1);
    assert_echo(&client, b"four");
    await_that("the address is free", || std::net::UdpSocket::bind(added).is_ok());
    ringway.finish();
}

#[test]
fn a_listener_with_another_name_keeps_its_socket_where_the_file_says_the_port() {
    let backend = UdpBackend::echo();
    let mut config = config(&[backend.address]);
    config.listeners[0].bind = vec![own_address(5302).into()];
    let mut any = config.listeners[0].clone();
    any.name = "any".into();
    any.bind = vec![crate::common::any_port().into()];
    config.listeners.push(any);
    let ringway = Ringway::start(config);
    let addresses = |ringway: &Ringway| ringway.server().control().generation().addresses.concat();
    let before = addresses(&ringway);
    let client = client_of(ringway.address());
    assert_echo(&client, b"before");
    change(&ringway, |config| config.listeners[0].name = "renamed".into());
    assert_eq!(addresses(&ringway), before);
    assert_echo(&client, b"after");
    assert_eq!(ringway.totals().accepted, 1, "the session has gone on");
    assert_eq!(count(&ringway, |datagrams| &datagrams.to_clients), 1, "and is counted for the new name");
    // One that takes any port is known by its name.
    change(&ringway, |config| config.listeners[1].name = "another".into());
    assert_eq!(addresses(&ringway)[0], before[0]);
    assert_ne!(addresses(&ringway)[1], before[1]);
    ringway.finish();
}

#[test]
fn a_client_of_a_listener_that_is_gone_is_a_new_one_at_the_next() {
    let (first, second) = (UdpBackend::named("first"), UdpBackend::named("second"));
    let mut config = config(&[first.address]);
    one_worker(&mut config);
    let ringway = Ringway::start(config);
    let client = socket_at("127.0.0.1:0".parse().unwrap());
    let ask = |address: SocketAddr| {
        client.send_to(b"who?", address).unwrap();
        let mut buffer = [0; 16];
        let (count, from) = client.recv_from(&mut buffer).unwrap();
        assert_eq!(from, address);
        String::from_utf8(buffer[..count].to_vec()).unwrap()
    };
    let before = ringway.address();
    assert_eq!(ask(before), "first");
    change(&ringway, |config| {
        config.listeners[0].name = "another".into();
        config.pools[0].backends[0].address = second.address.into();
        config.pools[0].backends[0].name = "second".into();
    });
    let after = ringway.address();
    assert_ne!(before, after);
    assert_eq!(ask(after), "second");
    assert_eq!(ringway.finish().accepted, 2);
}
