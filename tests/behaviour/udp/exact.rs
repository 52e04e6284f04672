//! Every datagram arrives whole, once, where it should, and from where it should.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::Command;

use ringway::end::End;
use ringway::net::{Batch, Outgoing, Piece, Socket};
use ringway::stats::Dropped;

use super::{UdpBackend, assert_echo, assert_silent, client_of, config, count, dropped, receive, socket_at};
use crate::common::{DEADLINE, Noise, Ringway, await_that, one_worker};
use crate::network::{Network, is_in_a_network_of_its_own, is_root_here};

#[test]
fn datagrams_of_every_size_pass_whole_and_the_empty_one_too() {
    let backend = UdpBackend::echo();
    let ringway = Ringway::start(config(&[backend.address]));
    let (client, mut noise) = (client_of(ringway.address()), Noise::new(1));
    for size in [0, 1, 1_472, 9_000, 65_507, 0, 512] {
        assert_echo(&client, &noise.bytes(size));
    }
    assert_eq!(backend.received(), 7);
    assert_eq!(count(&ringway, |datagrams| &datagrams.from_clients), 7);
    assert_eq!(count(&ringway, |datagrams| &datagrams.to_backends), 7);
    assert_eq!(count(&ringway, |datagrams| &datagrams.to_clients), 7);
    let totals = ringway.finish();
    assert_eq!((totals.accepted, totals.ended(End::Complete)), (1, 1));
    assert_eq!(totals.bytes_to_backend, 1 + 1_472 + 9_000 + 65_507 + 512);
}

#[test]
fn datagrams_of_a_burst_keep_their_bounds_whatever_goes_together() {
    let backend = UdpBackend::echo();
    let ringway = Ringway::start(config(&[backend.address]));
    let (client, mut noise) = (client_of(ringway.address()), Noise::new(2));
    for round in 0..20 {
        // Sizes that go together, and sizes that do not.
        let sizes: Vec<usize> = (0..30).map(|_| [100, 100, 100, 40, 0, 1_200][noise.below(6)]).collect();
        let sent: Vec<Vec<u8>> = sizes.iter().map(|&size| noise.bytes(size)).collect();
        sent.iter().for_each(|bytes| assert_eq!(client.send(bytes).unwrap(), bytes.len()));
        for (place, bytes) in sent.iter().enumerate() {
            assert!(receive(&client) == *bytes, "datagram {place} of round {round}");
        }
    }
    assert_silent(&client);
    ringway.finish();
}

#[test]
fn each_datagram_is_received_or_counted_as_dropped_by_the_kernel() {
    let backend = UdpBackend::echo();
    let mut config = config(&[backend.address]);
    config.listeners[0].socket.receive_buffer = Some(4 << 10);
    one_worker(&mut config);
    let ringway = Ringway::start(config);
    let client = client_of(ringway.address());
    let drops = || ringway.server().stats().sum(|worker| &worker.listeners[0].queue_drops);
    let mut sent = 0;
    await_that("some find no room", || {
        for _ in 0..500 {
            client.send(b"one of very many").unwrap();
        }
        sent += 500;
        drops() > 0
    });
    await_that("each is in one of the two", || {
        count(&ringway, |datagrams| &datagrams.from_clients) + drops() == sent
    });
    ringway.finish();
}

#[test]
fn a_reply_that_is_larger_than_the_way_takes_whole_goes_in_fragments() {
    if !is_in_a_network_of_its_own(
        "udp::exact::a_reply_that_is_larger_than_the_way_takes_whole_goes_in_fragments",
    ) {
        return;
    }
    let set = Command::new("ip").args(["link", "set", "lo", "mtu", "1500"]).status().unwrap();
    assert!(set.success());
    let backend = UdpBackend::echo();
    let ringway = Ringway::start(config(&[backend.address]));
    let (client, mut noise) = (client_of(ringway.address()), Noise::new(4));
    // The first one at the limit (1,500 bytes with its headers), and one beyond it; then some that come together.
    for size in [1_472, 1_473, 65_507, 100] {
        assert_echo(&client, &noise.bytes(size));
    }
    let sent: Vec<Vec<u8>> = [3_000, 3_000, 800, 800].map(|size| noise.bytes(size)).into();
    sent.iter().for_each(|bytes| assert_eq!(client.send(bytes).unwrap(), bytes.len()));
    sent.iter().for_each(|bytes| assert!(receive(&client) == *bytes));
    assert_eq!(dropped(&ringway, Dropped::TooLarge), 0);
    ringway.finish();
}

#[test]
fn when_the_first_large_replies_come_together_none_is_lost() {
    if !is_in_a_network_of_its_own("udp::exact::when_the_first_large_replies_come_together_none_is_lost") {
        return;
    }
    const CLIENTS: usize = 16;
    let set = Command::new("ip").args(["link", "set", "lo", "mtu", "1500"]).status().unwrap();
    assert!(set.success());
    // All are answered at the same moment.
    let mut held = Vec::new();
    let backend = UdpBackend::new(move |socket, bytes, from| {
        held.push((bytes.to_vec(), from));
        if held.len() == CLIENTS {
            for (bytes, from) in held.drain(..) {
                socket.send_to(&bytes, from).unwrap();
            }
        }
    });
    let mut config = config(&[backend.address]);
    one_worker(&mut config);
    let ringway = Ringway::start(config);
    let clients: Vec<_> = (0..CLIENTS).map(|_| client_of(ringway.address())).collect();
    let bytes = Noise::new(6).bytes(3_000);
    clients.iter().for_each(|client| assert_eq!(client.send(&bytes).unwrap(), 3_000));
    clients.iter().for_each(|client| assert!(receive(client) == bytes));
    assert_eq!(dropped(&ringway, Dropped::TooLarge), 0);
    ringway.finish();
}

#[test]
fn a_train_of_the_client_arrives_as_its_datagrams_and_one_of_the_backend_too() {
    let backend = UdpBackend::new(|socket, bytes, from| {
        // Each answered by a train of three.
        let reply = [bytes, bytes, bytes].concat();
        send_train(socket, &reply, bytes.len(), Some(from));
    });
    let ringway = Ringway::start(config(&[backend.address]));
    let (client, mut noise) = (client_of(ringway.address()), Noise::new(3));
    let bytes = noise.bytes(10 * 1_000 + 300);
    send_train(&client, &bytes, 1_000, None);
    for part in bytes.chunks(1_000) {
        for _ in 0..3 {
            assert!(receive(&client) == part);
        }
    }
    assert_silent(&client);
    assert_eq!(backend.received(), 11);
    assert_eq!(count(&ringway, |datagrams| &datagrams.from_clients), 11);
    assert_eq!(count(&ringway, |datagrams| &datagrams.to_clients), 33);
    ringway.finish();
}

/// Sends several datagrams of this size by one call.
pub fn send_train(socket: &UdpSocket, bytes: &[u8], size: usize, to: Option<SocketAddr>) {
    let mut batch = Batch::new();
    let own = Socket::from(OwnedFd::from(socket.try_clone().unwrap()));
    // Its slots are filled by what it receives: from a socket that has been sent the whole.
    let (from, into) = (socket_at("127.0.0.1:0".parse().unwrap()), socket_at("127.0.0.1:0".parse().unwrap()));
    from.send_to(bytes, into.local_addr().unwrap()).unwrap();
    while batch.receive(&Socket::from(OwnedFd::from(into.try_clone().unwrap())), 0, 1).is_err() {}
    let piece = Piece { slot: 0, offset: 0, bytes: bytes.len() };
    let message = Outgoing { first: 0, count: 1, segment: Some(size), to, from: None };
    batch.send_all(&own, &[piece], &[message], |_, error| panic!("{error}"));
}

#[test]
fn the_reply_comes_from_the_address_that_the_client_has_spoken_to() {
    let backend = UdpBackend::echo();
    for (bind, spoken) in [("0.0.0.0:0", ["127.0.0.1", "127.0.0.2"]), ("[::]:0", ["::1", "::1"])] {
        let mut config = config(&[backend.address]);
        config.listeners[0].bind = vec![bind.parse().unwrap()];
        let ringway = Ringway::start(config);
        for ip in spoken {
            // It hears from nobody else.
            let client = client_of(SocketAddr::new(ip.parse().unwrap(), ringway.address().port()));
            assert_echo(&client, ip.as_bytes());
        }
        ringway.finish();
    }
}

#[test]
fn one_client_has_a_session_with_each_address_that_it_speaks_to() {
    let backend = UdpBackend::echo();
    let mut config = config(&[backend.address]);
    config.listeners[0].bind = vec!["0.0.0.0:0".parse().unwrap()];
    let ringway = Ringway::start(config);
    let client = socket_at("127.0.0.1:0".parse().unwrap());
    for ip in ["127.0.0.1", "127.0.0.2"] {
        let to = SocketAddr::new(ip.parse().unwrap(), ringway.address().port());
        client.send_to(ip.as_bytes(), to).unwrap();
        let mut buffer = [0; 16];
        let (count, from) = client.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..count], from), (ip.as_bytes(), to));
    }
    assert_eq!(ringway.finish().accepted, 2);
}

#[test]
fn between_families_datagrams_pass_as_well() {
    for (listen, backend) in [("127.0.0.1:0", "[::1]:0"), ("[::1]:0", "127.0.0.1:0"), ("[::1]:0", "[::1]:0")]
    {
        let backend = UdpBackend::at(backend.parse().unwrap(), |socket, bytes, from| {
            drop(socket.send_to(bytes, from));
        });
        let mut config = config(&[backend.address]);
        config.listeners[0].bind = vec![listen.parse().unwrap()];
        let ringway = Ringway::start(config);
        let (client, mut noise) = (client_of(ringway.address()), Noise::new(4));
        for size in [0, 1, 9_000, 65_507] {
            assert_echo(&client, &noise.bytes(size));
        }
        ringway.finish();
    }
}

#[test]
fn a_stranger_who_sends_to_the_socket_of_a_session_is_never_heard() {
    let (told, ports) = std::sync::mpsc::channel();
    let backend = UdpBackend::new(move |socket, bytes, from| {
        told.send(from).unwrap();
        drop(socket.send_to(bytes, from));
    });
    let ringway = Ringway::start(config(&[backend.address]));
    let client = client_of(ringway.address());
    assert_echo(&client, b"who");
    let inside = ports.recv().unwrap();
    let stranger = socket_at("127.0.0.1:0".parse().unwrap());
    stranger.send_to(b"let me in", inside).unwrap();
    assert_silent(&client);
    assert_echo(&client, b"still there");
    ringway.finish();
}

#[test]
fn a_reply_after_the_end_of_the_session_reaches_nobody() {
    let (told, ports) = std::sync::mpsc::channel();
    let backend = UdpBackend::new(move |socket, _, from| {
        told.send((socket.try_clone().unwrap(), from)).unwrap();
    });
    let mut config = config(&[backend.address]);
    config.listeners[0].idle_timeout = Some(std::time::Duration::from_millis(100));
    let ringway = Ringway::start(config);
    let client = client_of(ringway.address());
    client.send(b"hello").unwrap();
    let (socket, from) = ports.recv().unwrap();
    ringway.await_end(End::IdleTimeout, 1);
    socket.send_to(b"late", from).unwrap();
    assert_silent(&client);
    ringway.finish();
}

#[test]
fn a_train_of_datagrams_that_are_larger_than_a_link_takes_goes_in_parts_either_way() {
    let name = "udp::exact::a_train_of_datagrams_that_are_larger_than_a_link_takes_goes_in_parts_either_way";
    if !is_root_here(name) {
        return;
    }
    // Between the two a link with the smallest size that IPv6 allows; within each none is too large.
    let (near, far) = (Network::new(), Network::new());
    near.connect(&far, ["n0", "f0"], [["10.0.3.1/24", "fd00:3::1/64"], ["10.0.3.2/24", "fd00:3::2/64"]]);
    near.ip("link set n0 mtu 1280");
    far.ip("link set f0 mtu 1280");
    let bytes = Noise::new(8).bytes(8 * 1_400 + 100);
    for (near_ip, far_ip) in [("10.0.3.1", "10.0.3.2"), ("fd00:3::1", "fd00:3::2")] {
        let [near_ip, far_ip]: [std::net::IpAddr; 2] = [near_ip, far_ip].map(|ip| ip.parse().unwrap());
        let start = move |backend: SocketAddr| {
            let mut config = config(&[backend]);
            config.listeners[0].bind = vec![SocketAddr::new(near_ip, 0).into()];
            Ringway::start(config)
        };
        // From a client that is near to a backend that is far.
        let (sender, received) = std::sync::mpsc::channel();
        let backend = far.run(move || {
            UdpBackend::at(SocketAddr::new(far_ip, 0), move |_, bytes, _| drop(sender.send(bytes.to_vec())))
        });
        let address = backend.address;
        let sent = bytes.clone();
        let ringway = near.run(move || {
            let ringway = start(address);
            let client = socket_at(SocketAddr::new(near_ip, 0));
            send_train(&client, &sent, 1_400, Some(ringway.address()));
            ringway
        });
        for part in bytes.chunks(1_400) {
            assert!(received.recv_timeout(DEADLINE).unwrap() == part);
        }
        drop(ringway);
        // From a backend that is near to a client that is far.
        let reply = bytes.clone();
        let (ringway, backend) = near.run(move || {
            let backend = UdpBackend::at(SocketAddr::new(near_ip, 0), move |socket, _, from| {
                send_train(socket, &reply, 1_400, Some(from));
            });
            (start(backend.address), backend)
        });
        let client = far.run(move || socket_at(SocketAddr::new(far_ip, 0)));
        client.connect(ringway.address()).unwrap();
        client.send(b"all of it").unwrap();
        for part in bytes.chunks(1_400) {
            assert!(receive(&client) == part);
        }
        drop((ringway, backend));
    }
}
