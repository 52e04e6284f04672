//! Which worker serves a connection: how even that is, and that nobody is lost on the way from one to another.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use ringway::config::{Accept, Config, Workers};
use ringway::end::End;
use ringway::generation::Generation;
use ringway::handover::{self, Connection};
use ringway::net;
use ringway::phase::{Phase, PhaseFlag};
use ringway::stats::Stats;
use ringway::{samples, worker};

use crate::common::*;

const WORKERS: usize = 4;

/// Four workers; on a machine with fewer cores they share some.
fn config_of_four(backend: SocketAddr, accept: Accept) -> Config {
    let mut config = config(&[backend]);
    config.server.workers = Workers::Count(NonZeroUsize::new(WORKERS).unwrap());
    config.listeners[0].accept = accept;
    config
}

/// Sessions of each worker.
fn counts(stats: &Stats) -> Vec<u64> {
    stats.workers.iter().map(|worker| worker.core.active.get()).collect()
}

fn handed_over(stats: &Stats) -> u64 {
    stats.sum(|worker| &worker.core.handed_over)
}

/// Sessions of the most and of the least loaded worker.
fn ends(counts: &[u64]) -> (u64, u64) {
    (*counts.iter().max().unwrap(), *counts.iter().min().unwrap())
}

#[test]
fn long_sessions_that_begin_one_after_the_other_are_spread_to_within_one() {
    let ringway = Ringway::start(config_of_four(echo_for_many(), Accept::Balanced));
    let mut clients = Vec::new();
    for count in [10, 100, 1000] {
        while clients.len() < count {
            let mut client = ringway.connect();
            // Its session runs before the next client comes.
            assert_echo(&mut client, &(clients.len() as u64).to_le_bytes());
            clients.push(client);
        }
        let counts = counts(&ringway.server().stats());
        let (most, fewest) = ends(&counts);
        assert_eq!(counts.iter().sum::<u64>(), count as u64);
        assert!(most <= fewest + 1, "{count}: {counts:?}");
    }
    let stats = ringway.server().stats();
    assert!(handed_over(&stats) > 0, "the kernel alone does not spread like this");
    let told = ringway.server().status();
    let counts: Vec<String> = counts(&stats).iter().map(u64::to_string).collect();
    assert!(told.contains(&format!("workers: active {}; accepted", counts.join(" "))), "{told}");
    // Those that have moved are whole, like those that have not.
    for (seed, client) in (0..).zip(&mut clients) {
        assert_echo(client, &Noise::new(seed).bytes(900));
    }
    drop(clients);
    assert_eq!(ringway.finish().ended(End::Complete), 1000);
}

#[test]
fn a_burst_is_spread_as_evenly_but_for_one_connection_of_each_other_worker() {
    let ringway = Ringway::start(config_of_four(echo_for_many(), Accept::Balanced));
    let clients: Vec<TcpStream> = (0..800).map(|_| ringway.connect()).collect();
    await_that("all are served", || ringway.totals().active == 800);
    let counts = counts(&ringway.server().stats());
    let (most, fewest) = ends(&counts);
    // Each worker decides on one connection at a time: what the others decide in that moment it does not see.
    let unseen = WORKERS as u64 - 1;
    assert!(most <= fewest + 1 + unseen, "{counts:?}");
    drop(clients);
    assert_eq!(ringway.finish().ended(End::Complete), 800);
}

#[test]
fn with_reuseport_each_worker_serves_what_the_kernel_gives_it() {
    let ringway = Ringway::start(config_of_four(echo_for_many(), Accept::Reuseport));
    let mut clients: Vec<TcpStream> = (0..200).map(|_| ringway.connect()).collect();
    clients.iter_mut().for_each(|client| assert_echo(client, b"served"));
    assert_eq!(handed_over(&ringway.server().stats()), 0);
    drop(clients);
    assert_eq!(ringway.finish().ended(End::Complete), 200);
}

#[test]
fn each_listener_has_its_own_way_and_the_sessions_of_all_count() {
    let mut config = config_of_four(echo_for_many(), Accept::Reuseport);
    let mut balanced = config.listeners[0].clone();
    balanced.name = "balanced".into();
    balanced.accept = Accept::Balanced;
    config.listeners.push(balanced);
    let ringway = Ringway::start(config);
    let (uneven, even) = (ringway.address(), ringway.server().addresses(1)[0]);
    let served = |address: SocketAddr| {
        let mut client = connect(address);
        assert_echo(&mut client, b"served");
        client
    };
    let mut clients: Vec<TcpStream> = (0..100).map(|_| served(uneven)).collect();
    assert_eq!(handed_over(&ringway.server().stats()), 0);
    // As many as could fill up the others if one of them had got all.
    clients.extend((0..300).map(|_| served(even)));
    let counts = counts(&ringway.server().stats());
    let (most, fewest) = ends(&counts);
    assert!(most <= fewest + 1, "{counts:?}");
    drop(clients);
    assert_eq!(ringway.finish().ended(End::Complete), 400);
}

#[test]
fn a_single_worker_hands_nothing_over() {
    let mut config = config_of_four(echo_for_many(), Accept::Balanced);
    one_worker(&mut config);
    let ringway = Ringway::start(config);
    for _ in 0..20 {
        assert_echo(&mut ringway.connect(), b"served");
    }
    assert_eq!(handed_over(&ringway.server().stats()), 0);
    assert!(!ringway.server().status().contains("workers:"));
    assert_eq!(ringway.finish().accepted, 20);
}

/// Opens a session and sends something, unless there is nobody.
fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let mut client = with_deadline(TcpStream::connect_timeout(&address, DEADLINE)?);
    client.write_all(b"all of it")?;
    Ok(client)
}

/// Ends a session in order. Whether it was served in full; if not, nothing of it looks like a whole one.
fn is_served(mut client: TcpStream) -> bool {
    let mut bytes = Vec::new();
    match client.shutdown(Shutdown::Write).and_then(|()| client.read_to_end(&mut bytes)) {
        Ok(_) => {
            assert_eq!(bytes, b"all of it", "a session was cut and looks whole");
            true
        }
        Err(error) => {
            // NotConnected: the reset came before the end was sent.
            let reset = [io::ErrorKind::ConnectionReset, io::ErrorKind::NotConnected];
            assert!(reset.contains(&error.kind()), "{error}");
            false
        }
    }
}

/// Drains while sessions are being opened, from a moment on; each one that is accepted is served to its end.
fn drain_under_load(moment: impl Fn(&Stats) -> bool) {
    let ringway = Ringway::start(config_of_four(echo_for_many(), Accept::Balanced));
    let address = ringway.address();
    // They open sessions until they are refused, and end them then.
    let client = move || {
        let opened: Vec<TcpStream> = (0..60).map_while(|_| open(address).ok()).collect();
        opened.into_iter().map(|client| u64::from(is_served(client))).sum::<u64>()
    };
    let clients: Vec<_> = (0..16).map(|_| thread::spawn(client)).collect();
    await_that("the moment has come", || moment(&ringway.server().stats()));
    let totals = ringway.finish();
    let served: u64 = clients.into_iter().map(|client| client.join().unwrap()).sum();
    assert_eq!((served, totals.ended(End::Complete)), (totals.accepted, totals.accepted));
}

#[test]
fn a_drain_loses_nobody_who_was_accepted() {
    (0..5).for_each(|_| drain_under_load(|stats| handed_over(stats) > 50));
}

#[test]
fn a_worker_with_nothing_to_do_ends_only_when_nobody_can_hand_it_anything() {
    // Worker 1 of two; the test is worker 0, which is slow to notice the drain.
    let config = config_of_four(echo_for_many(), Accept::Balanced);
    let socket = net::listen(any_port().into(), 1, &config.listeners[0]).unwrap().remove(0);
    let listener = std::net::TcpListener::from(socket.as_fd().try_clone_to_owned().unwrap());
    let (generation, publisher) = Generation::first(config, vec![vec![socket.local_addr().unwrap()]], 2);
    let (samples, _inbox) = samples::channel(1);
    let (stats, phase) = (Arc::clone(&generation.stats), PhaseFlag::default());
    let (_errands, errands) = mpsc::channel();
    let mut boxes = handover::between(2);
    let setup = worker::Setup {
        id: 1,
        engine: ringway::config::Engine::Fixed,
        sockets: vec![(0, socket)],
        inlets: Vec::new(),
        generation: Arc::new(generation),
        samples,
        arrivals: None,
        entries: None,
        boxes: boxes.pop(),
        phase: phase.clone(),
        sessions_max: 10,
        errands,
    };
    let running = thread::spawn(move || worker::run(setup, |_| {}).unwrap());
    phase.advance(Phase::Draining);
    await_that("it listens no more", || !socket2::SockRef::from(&listener).is_listener().unwrap());
    // Some ticks: enough for a worker that does not wait to be gone.
    thread::sleep(Duration::from_millis(300));

    let outside = listen(any_port());
    let mut client = connect(outside.local_addr().unwrap());
    let (accepted, from) = outside.accept().unwrap();
    let connection = Connection {
        client: accepted.into(),
        address: from.into(),
        listener: 0,
        port: 0,
        generation: 1,
        pass: Default::default(),
    };
    boxes[0].outbox.hand_over(1, connection).expect("it still takes what is handed over");
    assert_echo(&mut client, b"served after the drain began");
    boxes[0].outbox.shut();
    drop(client);
    await_that("it ends", || running.is_finished());
    assert_eq!(running.join().unwrap().abandoned, 0);
    assert_eq!(stats.totals().ended(End::Complete), 1);
    assert_eq!(boxes[0].outbox.under_way_to_all(), 0);
    drop(publisher);
}
