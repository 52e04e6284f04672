//! When a session over UDP begins and ends.

use std::net::UdpSocket;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use ringway::config::{ListeningSocket, SourcePorts};
use ringway::end::End;
use ringway::net::Inlet;
use ringway::stats::Dropped;

use socket2::SockRef;

use super::{UdpBackend, assert_echo, assert_silent, client_of, config, count, dropped, receive};
use crate::common::{DEADLINE, Ringway, await_that, one_worker};
use crate::upgrading::Upgradable;

#[test]
fn a_session_is_complete_after_as_many_replies_as_its_requests_are_to_have() {
    let backend = UdpBackend::new(|socket, bytes, from| {
        (0..2).for_each(|_| drop(socket.send_to(bytes, from)));
    });
    let mut config = config(&[backend.address]);
    config.listeners[0].udp.responses = Some(2);
    let ringway = Ringway::start(config);
    let client = client_of(ringway.address());
    for session in 1..=3 {
        client.send(b"twice").unwrap();
        assert_eq!((receive(&client), receive(&client)), (b"twice".to_vec(), b"twice".to_vec()));
        ringway.await_end(End::Complete, session);
    }
    assert_eq!(ringway.finish().accepted, 3);
}

#[test]
fn where_no_reply_is_to_come_each_datagram_is_a_session() {
    let backends = [UdpBackend::silent(), UdpBackend::silent()];
    let mut config = config(&[backends[0].address, backends[1].address]);
    config.listeners[0].udp.responses = Some(0);
    one_worker(&mut config);
    let ringway = Ringway::start(config);
    let client = client_of(ringway.address());
    for _ in 0..10 {
        client.send(b"log line").unwrap();
    }
    ringway.await_end(End::Complete, 10);
    await_that("both have their half", || backends.iter().all(|backend| backend.received() == 5));
    assert_eq!(ringway.finish().accepted, 10);
}

#[test]
fn after_so_many_requests_the_next_one_opens_another_session_and_the_old_one_gets_its_reply() {
    // The first backend answers its requests only when it has been told to.
    let (tell, told) = std::sync::mpsc::channel::<()>();
    let slow = UdpBackend::new(move |socket, _, from| {
        told.recv_timeout(DEADLINE).unwrap();
        drop(socket.send_to(b"slow", from));
    });
    let quick = UdpBackend::named("quick");
    let mut config = config(&[slow.address, quick.address]);
    config.listeners[0].udp.requests = NonZeroU32::new(1);
    one_worker(&mut config);
    let ringway = Ringway::start(config);
    let client = client_of(ringway.address());
    client.send(b"first").unwrap();
    client.send(b"second").unwrap();
    assert_eq!(receive(&client), b"quick");
    tell.send(()).unwrap();
    assert_eq!(receive(&client), b"slow");
    assert_eq!(ringway.finish().accepted, 2);
}

#[test]
fn who_gets_no_reply_where_one_is_to_come_has_met_a_backend_that_failed() {
    let backend = UdpBackend::silent();
    let mut config = config(&[backend.address]);
    config.listeners[0].udp.responses = Some(1);
    config.listeners[0].idle_timeout = Some(Duration::from_millis(100));
    let ringway = Ringway::start(config);
    let client = client_of(ringway.address());
    client.send(b"anybody?").unwrap();
    ringway.await_end(End::NoReply, 1);
    let id = ringway::table::BackendId::new(0);
    assert_eq!(ringway.server().stats().backend(id, |backend| &backend.connect_failures), 1);
    ringway.finish();
}

#[test]
fn when_there_is_no_room_the_one_that_has_been_idle_longest_makes_some() {
    let backend = UdpBackend::echo();
    let mut config = config(&[backend.address]);
    config.listeners[0].udp.sessions_max = NonZeroUsize::new(10).unwrap();
    one_worker(&mut config);
    let ringway = Ringway::start(config);
    let clients: Vec<_> = (0..13).map(|_| client_of(ringway.address())).collect();
    clients.iter().for_each(|client| assert_echo(client, b"here"));
    ringway.await_end(End::Evicted, 3);
    // The first one comes again: that is another session.
    assert_echo(&clients[0], b"again");
    ringway.await_end(End::Evicted, 4);
    assert_eq!(ringway.finish().accepted, 14);
}

#[test]
fn who_may_not_come_pushes_nobody_out() {
    let backend = UdpBackend::echo();
    let mut config = config(&[backend.address]);
    config.listeners[0].udp.sessions_max = NonZeroUsize::new(2).unwrap();
    config.listeners[0].access.deny = vec!["127.0.0.9/32".parse().unwrap()];
    one_worker(&mut config);
    let ringway = Ringway::start(config);
    let clients = [(); 2].map(|()| client_of(ringway.address()));
    clients.iter().for_each(|client| assert_echo(client, b"here"));
    let denied = super::socket_at("127.0.0.9:0".parse().unwrap());
    for count in 1..=5 {
        denied.send_to(b"and me", ringway.address()).unwrap();
        await_that("it is dropped", || dropped(&ringway, Dropped::Source) == count);
    }
    clients.iter().for_each(|client| assert_echo(client, b"still here"));
    let totals = ringway.finish();
    assert_eq!((totals.accepted, totals.ended(End::Evicted), totals.refused[0]), (2, 0, 5));
}

#[test]
fn a_flood_of_clients_that_answer_nothing_pushes_out_nobody_who_does() {
    let backend = UdpBackend::echo();
    let mut config = config(&[backend.address]);
    config.listeners[0].udp.sessions_max = NonZeroUsize::new(20).unwrap();
    one_worker(&mut config);
    let ringway = Ringway::start(config);
    let old: Vec<_> = (0..10).map(|_| client_of(ringway.address())).collect();
    // Each sends something after a reply: its address is its own.
    for _ in 0..2 {
        old.iter().for_each(|client| assert_echo(client, b"here"));
    }
    for _ in 0..300 {
        assert_echo(&client_of(ringway.address()), b"once");
    }
    let before = ringway.totals().accepted;
    old.iter().for_each(|client| assert_echo(client, b"still here"));
    assert_eq!(ringway.totals().accepted, before, "their sessions were still there");
    ringway.finish();
}

/// Clients that are idle make room for others, who get the time to hear something; and a quarter is all that these get.
#[test]
fn who_still_waits_for_a_reply_stays_while_others_have_been_idle_longer() {
    let mut waiting = Vec::new();
    let backend = UdpBackend::new(move |socket, bytes, from| match bytes {
        b"slow" => waiting.push(from),
        b"now" => waiting.drain(..).for_each(|from| drop(socket.send_to(b"at last", from))),
        _ => drop(socket.send_to(bytes, from)),
    });
    let mut config = config(&[backend.address]);
    config.listeners[0].udp.sessions_max = NonZeroUsize::new(16).unwrap();
    one_worker(&mut config);
    let ringway = Ringway::start(config);
    let old: Vec<_> = (0..16).map(|_| client_of(ringway.address())).collect();
    for _ in 0..2 {
        old.iter().for_each(|client| assert_echo(client, b"here"));
    }
    let slow = client_of(ringway.address());
    slow.send(b"slow").unwrap();
    (0..3).for_each(|_| assert_echo(&client_of(ringway.address()), b"new"));
    ringway.await_end(End::Evicted, 4);
    old[15].send(b"now").unwrap();
    assert_eq!(receive(&slow), b"at last");
    (0..50).for_each(|_| assert_echo(&client_of(ringway.address()), b"once"));
    let before = ringway.totals().accepted;
    old[5..].iter().for_each(|client| assert_echo(client, b"still here"));
    assert_eq!(ringway.totals().accepted, before, "their sessions were still there");
    ringway.finish();
}

#[test]
fn sessions_that_are_pushed_out_and_those_that_expire_leave_no_descriptor_open() {
    let backend = UdpBackend::echo();
    let text = format!(
        "[server]\nworkers = 1\nbuffers_per_worker = 16\nlarge_buffers_per_worker = 2\n\
         [[listener]]\nname = 'u'\nprotocol = 'udp'\nbind = '127.0.0.1:0'\npool = 'p'\n\
         [listener.udp]\nsessions_max = 50\nidle_timeout = '300ms'\n\
         [[pool]]\nname = 'p'\n[pool.health]\ncheck = 'none'\n[[pool.backend]]\naddress = '{}'\n",
        backend.address
    );
    let ringway = Upgradable::start(&text);
    let process = &ringway.process;
    assert_echo(&client_of(process.address()), b"the first");
    // Without that of its session, if it has one still.
    let least = process.descriptors() - 1;
    for _ in 0..20 {
        let clients: Vec<_> = (0..100).map(|_| client_of(process.address())).collect();
        clients.iter().for_each(|client| assert_eq!(client.send(b"here").unwrap(), 4));
        // Only so many are pushed out a second: somebody may have to ask again.
        let last = clients.last().unwrap();
        last.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        await_that("the last one is served", || last.send(b"here").is_ok() && last.recv(&mut [0; 8]).is_ok());
        assert!(process.descriptors() <= least + 1 + 50, "more than the sessions that there may be");
    }
    await_that("all have expired", || process.descriptors() <= least + 1);
    assert_echo(&client_of(process.address()), b"the last");
}

#[test]
fn datagrams_from_low_ports_are_dropped_where_that_is_asked_for() {
    let backend = UdpBackend::echo();
    let mut config = config(&[backend.address]);
    config.listeners[0].udp.source_ports = SourcePorts::Unprivileged;
    let ringway = Ringway::start(config);
    // Only root has one. For anybody else there is nothing to see here but that others are served.
    if let Some(low) = (600..700).find_map(|port| UdpSocket::bind(("127.0.0.1", port)).ok()) {
        low.set_read_timeout(Some(DEADLINE)).unwrap();
        low.connect(ringway.address()).unwrap();
        low.send(b"reflect").unwrap();
        await_that("it is dropped", || dropped(&ringway, Dropped::Source) == 1);
        assert_silent(&low);
    }
    assert_echo(&client_of(ringway.address()), b"served");
    assert_eq!(ringway.finish().accepted, 1);
}

#[test]
fn while_every_backend_is_full_datagrams_are_dropped_and_counted() {
    let backend = UdpBackend::echo();
    let mut config = config(&[backend.address]);
    config.pools[0].backends[0].max_connections = NonZeroU32::new(1);
    one_worker(&mut config);
    let ringway = Ringway::start(config);
    let (first, second) = (client_of(ringway.address()), client_of(ringway.address()));
    assert_echo(&first, b"in");
    second.send(b"out").unwrap();
    await_that("it is dropped", || dropped(&ringway, Dropped::BackendsFull) == 1);
    assert_silent(&second);
    assert_echo(&first, b"still in");
    assert_eq!(count(&ringway, |datagrams| &datagrams.from_clients), 3);
    let totals = ringway.finish();
    assert_eq!((totals.accepted, totals.ended(End::QueueFull)), (2, 1));
}

#[test]
fn a_session_ends_at_its_idle_timeout_and_the_next_datagram_opens_another() {
    let backend = UdpBackend::echo();
    let mut config = config(&[backend.address]);
    config.listeners[0].idle_timeout = Some(Duration::from_secs(2));
    let ringway = Ringway::start(config);
    let client = client_of(ringway.address());
    assert_echo(&client, b"");
    ringway.await_end(End::IdleTimeout, 1);
    assert_echo(&client, b"back");
    assert_eq!(ringway.totals().accepted, 2);
    ringway.finish();
}

#[test]
fn what_seems_to_come_from_the_listener_itself_does_not_go_round() {
    let backend = UdpBackend::echo();
    let ringway = Ringway::start(config(&[backend.address]));
    // The kernel gives what comes there to the sockets of ringway: only they are known to its program.
    let own = Inlet::beside(ringway.address(), &ListeningSocket::default()).unwrap();
    SockRef::from(&own).send_to(b"round and round", &ringway.address().into()).unwrap();
    await_that("it is dropped", || dropped(&ringway, Dropped::Source) == 1);
    assert_eq!((ringway.finish().accepted, backend.received()), (0, 0));
}

#[test]
fn sessions_of_the_whole_process_are_bounded_over_udp_too() {
    let backend = UdpBackend::echo();
    let mut config = config(&[backend.address]);
    config.server.sessions_max = NonZeroUsize::new(10);
    one_worker(&mut config);
    let ringway = Ringway::start(config);
    let clients: Vec<_> = (0..12).map(|_| client_of(ringway.address())).collect();
    clients.iter().for_each(|client| assert_echo(client, b"here"));
    ringway.await_end(End::Evicted, 2);
    // A session is counted as ended a moment before it no longer counts as active.
    await_that("the others stay", || ringway.totals().active == 10);
    ringway.finish();
}
