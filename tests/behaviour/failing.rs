//! Backends that refuse, stay silent or are gone, and what the client sees of it.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use ringway::config::NoBackend;
use ringway::end::End;

use crate::common::*;

#[test]
fn a_backend_that_refuses_is_passed_over_and_no_client_notices() {
    let ((dead, _bound), alive) = (refusing(), TestBackend::named("alive"));
    let ringway = Ringway::over(&[dead, alive.address]);
    for _ in 0..10 {
        assert_eq!(read_all(&mut ringway.connect()), b"alive");
    }
    assert_eq!(ringway.finish().ended(End::Complete), 10);
}

#[test]
fn every_backend_is_tried_before_giving_up() {
    let (dead, alive) = ((0..5).map(|_| refusing()).collect::<Vec<_>>(), TestBackend::named("alive"));
    let mut addresses: Vec<_> = dead.iter().map(|(address, _)| *address).collect();
    assert_eq!(addresses.len(), 5);
    addresses.push(alive.address);
    let ringway = Ringway::over(&addresses);
    for _ in 0..12 {
        assert_eq!(read_all(&mut ringway.connect()), b"alive");
    }
    ringway.finish();
}

#[test]
fn attempts_are_bounded_when_asked_for() {
    let (first, second, alive) = (refusing(), refusing(), TestBackend::named("alive"));
    let mut config = config(&[first.0, second.0, alive.address]);
    one_worker(&mut config);
    config.pools[0].connect_attempts = std::num::NonZeroU32::new(2);
    let ringway = Ringway::start(config);
    assert_connect_is_reset(ringway.address());
    assert_eq!(ringway.finish().ended(End::ConnectFailed), 1);
}

#[test]
fn what_the_client_sends_while_we_retry_is_not_lost() {
    let ((dead, _bound), alive) = (refusing(), TestBackend::echo());
    let ringway = Ringway::over(&[dead, alive.address]);
    for round in 0..10 {
        let mut client = ringway.connect();
        assert_echo(&mut client, &Noise::new(round).bytes(5000));
    }
    ringway.finish();
}

#[test]
fn a_backend_that_swallows_connects_costs_one_timeout_and_no_request() {
    let ((silent, _held), alive) = (blackhole(), TestBackend::named("alive"));
    let mut config = config(&[silent, alive.address]);
    one_worker(&mut config);
    config.pools[0].connect_timeout = Duration::from_millis(300);
    let ringway = Ringway::start(config);
    let begun = Instant::now();
    assert_eq!(read_all(&mut ringway.connect()), b"alive");
    assert!(begun.elapsed() >= Duration::from_millis(300), "the silent one was not tried first");
    assert_eq!(ringway.finish().ended(End::Complete), 1);
}

#[test]
fn all_attempts_together_have_a_limit() {
    let silent: Vec<_> = (0..4).map(|_| blackhole()).collect();
    let mut config = config(&silent.iter().map(|(address, _)| *address).collect::<Vec<_>>());
    // A second between each two moments that count: a busy machine can be late by less than that.
    config.pools[0].connect_timeout = Duration::from_secs(2);
    config.pools[0].connect_total_timeout = Duration::from_secs(3);
    let ringway = Ringway::start(config);
    assert_connect_is_reset(ringway.address());
    let backends = ringway.server().table().backends.clone();
    let sum = |counter: fn(&ringway::stats::BackendStats) -> &ringway::stats::Counter| -> u64 {
        backends.iter().map(|backend| ringway.server().stats().backend(backend.id, counter)).sum()
    };
    assert_eq!(sum(|counters| &counters.picked), 2, "one of 2 s and one of what was left");
    assert_eq!(sum(|counters| &counters.connect_failures), 1, "who had less than its time is not blamed");
    ringway.finish();
}

/// Nobody serves; the client has already sent something.
fn answer(no_backend: NoBackend) -> (Vec<u8>, std::io::Result<()>) {
    let (first, second) = (refusing(), refusing());
    let mut config = config(&[first.0, second.0]);
    config.listeners[0].no_backend = no_backend;
    let ringway = Ringway::start(config);
    let answer = match std::net::TcpStream::connect_timeout(&ringway.address(), DEADLINE) {
        Ok(client) => {
            let mut client = with_deadline(client);
            // May fail: the answer can be quicker. A reset is told once, and then by this.
            let wrote = client.write_all(b"a request that nobody will read");
            let (bytes, end) = read_until_broken(&mut client);
            (bytes, wrote.and(end))
        }
        Err(error) => (Vec::new(), Err(error)),
    };
    assert_eq!(ringway.finish().ended(End::ConnectFailed), 1);
    answer
}

#[test]
fn with_all_backends_dead_a_client_can_get_a_reset() {
    let (bytes, how) = answer(NoBackend::Reset);
    assert_eq!((bytes.as_slice(), how.unwrap_err().kind()), (&b""[..], ErrorKind::ConnectionReset));
}

#[test]
fn with_all_backends_dead_a_client_can_get_a_clean_end() {
    let (bytes, how) = answer(NoBackend::Close);
    assert_eq!((bytes.as_slice(), how.is_ok()), (&b""[..], true));
}

#[test]
fn with_all_backends_dead_a_client_can_get_a_message() {
    let (bytes, how) = answer(NoBackend::Message("no backend available\n".into()));
    assert_eq!((bytes.as_slice(), how.is_ok()), (&b"no backend available\n"[..], true));
}

#[test]
fn a_client_that_does_not_take_the_message_does_not_stay() {
    let (dead, _bound) = refusing();
    let mut config = config(&[dead]);
    config.listeners[0].no_backend = NoBackend::Message("sorry\n".into());
    let ringway = Ringway::start(config);
    let mut client = ringway.connect();
    let mut text = [0; 6];
    client.read_exact(&mut text).unwrap();
    // It stays connected and silent; the tick ends it all the same.
    ringway.await_end(End::ConnectFailed, 1);
    ringway.finish();
}
