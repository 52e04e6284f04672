//! How many, how long, how much.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use ringway::config::Accept;
use ringway::end::End;

use crate::common::*;

#[test]
fn two_thousand_sessions_at_once_on_one_worker() {
    // Far more directions than there are cells: the idle hold none, and the busy are never starved.
    let mut config = config(&[echo_for_many()]);
    one_worker(&mut config);
    let ringway = Ringway::start(config);
    let mut clients: Vec<_> = (0..2000).map(|_| ringway.connect()).collect();
    await_that("all are accepted", || ringway.totals().active == 2000);
    for round in 0..2_u32 {
        for (own, client) in (0_u32..).zip(&mut clients) {
            client.write_all(&(own * 7 + round).to_le_bytes()).unwrap();
        }
        for (own, client) in (0_u32..).zip(&mut clients) {
            let mut back = [0; 4];
            client.read_exact(&mut back).unwrap();
            assert_eq!(u32::from_le_bytes(back), own * 7 + round);
        }
    }
    drop(clients);
    assert_eq!(ringway.finish().ended(End::Complete), 2000);
}

#[test]
fn one_session_more_than_the_limit_waits_for_a_place() {
    for accept in [Accept::Reuseport, Accept::Balanced] {
        one_session_more_waits(accept);
    }
}

fn one_session_more_waits(accept: Accept) {
    let backend = TestBackend::echo();
    let mut config = config(&[backend.address]);
    config.server.sessions_max = NonZeroUsize::new(4);
    config.listeners[0].accept = accept;
    let ringway = Ringway::start(config);
    let mut clients: Vec<_> = (0..4).map(|_| ringway.connect()).collect();
    for client in &mut clients {
        assert_echo(client, b"in");
    }
    // The kernel lets it connect and keeps it for us; nobody answers yet.
    let mut waiting = ringway.connect();
    waiting.write_all(b"please").unwrap();
    waiting.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    waiting.read(&mut [0; 6]).expect_err("it was served beyond the limit");
    assert_eq!(ringway.totals().accepted, 4);
    waiting.set_read_timeout(Some(DEADLINE)).unwrap();
    drop(clients.pop());
    let mut answer = [0; 6];
    waiting.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"please");
    drop((waiting, clients));
    assert_eq!(ringway.finish().ended(End::Complete), 5);
}

#[test]
fn an_idle_session_is_ended_with_a_reset_and_a_busy_one_is_not() {
    let backend = TestBackend::echo();
    let mut config = config(&[backend.address]);
    config.listeners[0].idle_timeout = Some(Duration::from_secs(3));
    let ringway = Ringway::start(config);
    let (mut idle, mut busy) = (ringway.connect(), ringway.connect());
    assert_echo(&mut idle, b"last words");
    let begun = std::time::Instant::now();
    while ringway.totals().ended(End::IdleTimeout) == 0 {
        assert_echo(&mut busy, b"still here");
        assert!(begun.elapsed() < DEADLINE);
    }
    assert_reset(&mut idle);
    assert_echo(&mut busy, b"and here");
    drop(busy);
    let totals = ringway.finish();
    assert_eq!((totals.ended(End::IdleTimeout), totals.ended(End::Complete)), (1, 1));
}

#[test]
fn time_spent_connecting_is_not_idle_time() {
    let (silent, _held) = blackhole();
    let backend = TestBackend::new(|mut stream| {
        std::thread::sleep(Duration::from_millis(200));
        let _ = stream.write_all(b"late greeting");
    });
    let mut config = config(&[silent, backend.address]);
    one_worker(&mut config);
    config.pools[0].connect_timeout = Duration::from_secs(3);
    config.listeners[0].idle_timeout = Some(Duration::from_secs(2));
    let ringway = Ringway::start(config);
    assert_eq!(read_all(&mut ringway.connect()), b"late greeting");
    ringway.finish();
}

#[test]
fn a_half_closed_session_has_a_timeout_of_its_own() {
    let backend = TestBackend::new(|mut stream| {
        // Never ends its side.
        let _ = read_until_broken(&mut stream);
        let _ = stream.read(&mut [0]);
        std::thread::sleep(Duration::from_secs(1));
    });
    let mut config = config(&[backend.address]);
    config.listeners[0].half_closed_timeout = Some(Duration::from_millis(300));
    let ringway = Ringway::start(config);
    let open = ringway.connect();
    let mut half = ringway.connect();
    await_that("both are in", || ringway.totals().active == 2);
    half.shutdown(Shutdown::Write).unwrap();
    let (bytes, _) = read_until_broken(&mut half);
    assert_eq!(bytes, b"");
    await_that("it ends", || {
        let totals = ringway.totals();
        totals.ended(End::HalfClosedTimeout) + totals.ended(End::Complete) == 1
    });
    // A session is counted as ended a moment before it no longer counts as active.
    await_that("the one that is open both ways stays", || ringway.totals().active == 1);
    drop(open);
}

#[test]
fn a_session_ends_when_its_lifetime_is_over_however_busy() {
    let backend = TestBackend::echo();
    let mut config = config(&[backend.address]);
    config.listeners[0].lifetime_max = Some(Duration::from_secs(1));
    let ringway = Ringway::start(config);
    let mut client = ringway.connect();
    let begun = std::time::Instant::now();
    let error = loop {
        let exchange = client.write_all(b"busy").and_then(|()| client.read_exact(&mut [0; 4]));
        if let Err(error) = exchange {
            break error;
        }
        assert!(begun.elapsed() < DEADLINE);
    };
    assert!(
        matches!(error.kind(), std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe),
        "{error}"
    );
    assert_eq!(ringway.finish().ended(End::LifetimeMax), 1);
}

#[test]
fn sessions_that_do_not_end_in_the_drain_time_are_reset() {
    let backend = TestBackend::echo();
    let ringway = Ringway::over(&[backend.address]);
    let mut client = ringway.connect();
    assert_echo(&mut client, b"x");
    drop(ringway);
    assert_reset(&mut client);
}

/// The kernel does so before anybody sees them; it says at which socket.
#[test]
fn clients_that_find_the_queue_full_are_counted_at_their_listener() {
    let backend = TestBackend::echo();
    let mut config = config(&[backend.address]);
    one_worker(&mut config);
    config.listeners[0].backlog = 1;
    config.listeners[0].limits.sessions_max = NonZeroU32::new(1);
    let ringway = Ringway::start(config);
    let mut served = ringway.connect();
    assert_echo(&mut served, b"served");
    let drops = || ringway.server().stats().sum(|worker| &worker.listeners[0].queue_drops);
    assert_eq!(drops(), 0);
    // One is let in and waits, two are in the queue, and what the others send is not looked at.
    let others = || {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let _ = socket.connect(&ringway.address().into());
        socket
    };
    let others: Vec<_> = (0..10).map(|_| others()).collect();
    await_that("they are counted", || drops() > 0);
    drop((served, others));
    ringway.finish();
}

#[test]
fn with_the_smallest_arena_everybody_finishes() {
    // Eight cells for each worker would be too few for 100 busy sessions; the heap lends the rest.
    let backend = TestBackend::echo();
    let mut config = config(&[backend.address]);
    one_worker(&mut config);
    config.server.buffers_per_worker = 8;
    let ringway = Ringway::start(config);
    let address = ringway.address();
    let clients: Vec<_> = (0..100)
        .map(|seed| {
            std::thread::spawn(move || {
                let bytes = Noise::new(seed).bytes(200_000);
                let mut client = connect(address);
                let mut sending = client.try_clone().unwrap();
                let sent = bytes.clone();
                let sender = std::thread::spawn(move || {
                    sending.write_all(&sent).unwrap();
                    sending.shutdown(Shutdown::Write).unwrap();
                });
                assert!(read_all(&mut client) == bytes, "bytes were lost or altered");
                sender.join().unwrap();
            })
        })
        .collect();
    assert_eq!(clients.len(), 100);
    for client in clients {
        client.join().unwrap();
    }
    assert_eq!(ringway.finish().ended(End::Complete), 100);
}
