//! Sessions over UDP that may only be so fast: what is over the rate is dropped whole, and counted.

use std::time::Instant;

use ringway::config::{Bandwidth, Config, Pace};
use ringway::stats::Dropped;

use super::exact::send_train;
use super::{UdpBackend, assert_echo, client_of, config, count, dropped, receive};
use crate::common::{Noise, Ringway, await_that};

/// Too slow for anything to pass behind the burst, in a test.
const SLOW: Pace = Pace { rate: 1_024, burst: 16 * 1_024 };

fn limited(backend: &UdpBackend, to_backend: Option<Pace>, to_client: Option<Pace>) -> Config {
    let mut config = config(&[backend.address]);
    config.listeners[0].bandwidth = Bandwidth { to_backend, to_client };
    config
}

/// How many datagrams of a thousand bytes may have passed by now, and how many must have.
fn due(begun: Instant) -> std::ops::RangeInclusive<u64> {
    let most = SLOW.burst as f64 + SLOW.rate as f64 * begun.elapsed().as_secs_f64();
    SLOW.burst / 1_000..=(most / 1_000.0) as u64
}

#[test]
fn what_a_client_sends_over_the_rate_is_dropped_and_what_is_not_passes_whole() {
    let backend = UdpBackend::echo();
    let begun = Instant::now();
    let ringway = Ringway::start(limited(&backend, Some(SLOW), None));
    let (client, mut noise) = (client_of(ringway.address()), Noise::new(6));
    let sent = noise.bytes(60 * 1_000);
    // Some by themselves, and some that come as a train.
    sent[..10_000].chunks(1_000).for_each(|bytes| assert_eq!(client.send(bytes).unwrap(), 1_000));
    send_train(&client, &sent[10_000..], 1_000, None);
    await_that("each has passed or is dropped", || {
        count(&ringway, |datagrams| &datagrams.to_backends) + dropped(&ringway, Dropped::Bandwidth) == 60
    });
    let passed = count(&ringway, |datagrams| &datagrams.to_backends);
    assert!(due(begun).contains(&passed), "{passed} of {:?}", due(begun));
    // The first ones are those that pass.
    for bytes in sent.chunks(1_000).take(16) {
        assert!(receive(&client) == bytes);
    }
    // Another client has a rate of its own, and one that is larger than the burst passes at the beginning.
    let other = client_of(ringway.address());
    assert_echo(&other, &noise.bytes(40_000));
    other.send(b"too soon").unwrap();
    await_that("it is dropped", || dropped(&ringway, Dropped::Bandwidth) == 61 - passed);
    ringway.finish();
}

#[test]
fn of_what_a_backend_sends_the_first_datagrams_pass_that_fit() {
    let backend =
        UdpBackend::new(|socket, bytes, from| send_train(socket, &bytes.repeat(40), bytes.len(), Some(from)));
    let begun = Instant::now();
    let ringway = Ringway::start(limited(&backend, None, Some(SLOW)));
    let (client, mut noise) = (client_of(ringway.address()), Noise::new(7));
    let asked = noise.bytes(1_000);
    client.send(&asked).unwrap();
    await_that("each has passed or is dropped", || {
        count(&ringway, |datagrams| &datagrams.to_clients) + dropped(&ringway, Dropped::Bandwidth) == 40
    });
    let passed = count(&ringway, |datagrams| &datagrams.to_clients);
    assert!(due(begun).contains(&passed), "{passed} of {:?}", due(begun));
    for _ in 0..passed {
        assert!(receive(&client) == asked);
    }
    super::assert_silent(&client);
    assert_eq!(count(&ringway, |datagrams| &datagrams.from_backends), 40);
    assert_eq!(ringway.finish().bytes_to_client, passed * 1_000);
}
