//! Which backend gets a session.

use std::num::NonZeroU32;

use ringway::config::{Algorithm, Config};

use crate::common::*;

/// Weights for the backends of the only pool; one worker, because each worker counts for itself.
fn weighted(config: &mut Config, algorithm: Algorithm, weights: &[u32]) {
    one_worker(config);
    config.pools[0].algorithm = algorithm;
    for (backend, &weight) in config.pools[0].backends.iter_mut().zip(weights) {
        backend.weight = NonZeroU32::new(weight).unwrap();
    }
}

fn ask(ringway: &Ringway) -> String {
    String::from_utf8(read_all(&mut ringway.connect())).unwrap()
}

#[test]
fn round_robin_takes_turns() {
    let backends = [TestBackend::named("a"), TestBackend::named("b"), TestBackend::named("c")];
    let mut config = config(&backends.each_ref().map(|backend| backend.address));
    weighted(&mut config, Algorithm::RoundRobin, &[1, 5, 1]);
    let ringway = Ringway::start(config);
    let answers: String = (0..7).map(|_| ask(&ringway)).collect();
    assert_eq!(answers, "abcabca");
    ringway.finish();
}

#[test]
fn the_weighted_split_is_exact_and_smooth() {
    let backends = [TestBackend::named("a"), TestBackend::named("b"), TestBackend::named("c")];
    let mut config = config(&backends.each_ref().map(|backend| backend.address));
    weighted(&mut config, Algorithm::WeightedRoundRobin, &[5, 1, 1]);
    let ringway = Ringway::start(config);
    let answers: String = (0..14).map(|_| ask(&ringway)).collect();
    assert_eq!(answers, "aabacaaaabacaa");
    ringway.finish();
}

#[test]
fn least_connections_avoids_the_busy_backend() {
    let (busy, idle) = (TestBackend::echo(), TestBackend::echo());
    let mut config = config(&[busy.address, idle.address]);
    weighted(&mut config, Algorithm::LeastConnections, &[1, 1]);
    let ringway = Ringway::start(config);
    let mut kept = Vec::new();
    for _ in 0..10 {
        let mut client = ringway.connect();
        assert_echo(&mut client, b"x");
        kept.push(client);
    }
    assert_eq!((busy.accepted(), idle.accepted()), (5, 5));
    // Those on the second backend leave: the next five go there, and not one to the first.
    let second_half: Vec<_> = kept.chunks(2).map(|pair| pair[1].try_clone().unwrap()).collect();
    let mut index = 0;
    kept.retain(|_| {
        index += 1;
        index % 2 == 1
    });
    drop(second_half);
    await_that("five sessions end", || ringway.totals().active == 5);
    for _ in 0..5 {
        let mut client = ringway.connect();
        assert_echo(&mut client, b"x");
        kept.push(client);
    }
    assert_eq!((busy.accepted(), idle.accepted()), (5, 10));
    drop(kept);
    ringway.finish();
}

#[test]
fn each_listener_uses_its_own_pool() {
    let (red, blue) = (TestBackend::named("red"), TestBackend::named("blue"));
    let mut config = config(&[red.address]);
    let mut second = config.clone();
    config.listeners[0].bind = vec![any_port().into()];
    second.listeners[0].name = "second".into();
    second.listeners[0].pool = 1;
    second.pools[0].name = "second".into();
    second.pools[0].backends[0].address = blue.address.into();
    config.listeners.append(&mut second.listeners);
    config.pools.append(&mut second.pools);
    let ringway = Ringway::start(config);
    for _ in 0..3 {
        assert_eq!(read_all(&mut connect(ringway.server().addresses(0)[0])), b"red");
        assert_eq!(read_all(&mut connect(ringway.server().addresses(1)[0])), b"blue");
    }
    ringway.finish();
}
