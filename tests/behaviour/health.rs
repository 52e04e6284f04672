//! Backends go down and come back.

use std::time::Duration;

use ringway::config::{Check, Config};
use ringway::table::State;

use crate::common::*;

fn checked(config: &mut Config) {
    config.pools[0].health.check = Check::Tcp(Default::default());
}

fn state_of(ringway: &Ringway, index: usize) -> State {
    ringway.server().table().backends[index].health.state
}

#[test]
fn checks_take_a_backend_out_and_bring_it_back() {
    let (mut flaky, steady) = (TestBackend::named("flaky"), TestBackend::named("steady"));
    let address = flaky.address;
    let mut config = config(&[address, steady.address]);
    checked(&mut config);
    let ringway = Ringway::start(config);
    await_that("the first check", || &*ringway.server().table().backends[0].health.reason == "check passed");
    for _ in 0..2 {
        flaky.stop();
        await_that("it goes down", || state_of(&ringway, 0) == State::Down);
        assert_eq!(state_of(&ringway, 1), State::Up);
        for _ in 0..4 {
            assert_eq!(read_all(&mut ringway.connect()), b"steady");
        }
        flaky = TestBackend::at(address, |mut stream| {
            let _ = std::io::Write::write_all(&mut stream, b"flaky");
        });
        await_that("it comes back", || state_of(&ringway, 0) == State::Up);
        await_that("it serves again", || read_all(&mut ringway.connect()) == b"flaky");
    }
    ringway.finish();
}

#[test]
fn no_session_goes_to_a_backend_that_is_down() {
    let (mut dying, steady) = (TestBackend::named("dying"), TestBackend::named("steady"));
    let address = dying.address;
    let mut config = config(&[address, steady.address]);
    checked(&mut config);
    let ringway = Ringway::start(config);
    let table = ringway.server().table();
    dying.stop();
    await_that("it goes down", || state_of(&ringway, 0) == State::Down);
    assert!(ringway.server().table().epoch > table.epoch);
    let picked = |index: usize| {
        ringway.server().stats().backend(table.backends[index].id, |counters| &counters.picked)
    };
    let before = picked(0);
    for _ in 0..50 {
        assert_eq!(read_all(&mut ringway.connect()), b"steady");
    }
    assert_eq!(picked(0), before, "a backend that was known to be down was picked");
    ringway.finish();
}

#[test]
fn sessions_that_cannot_connect_take_a_backend_out_between_checks() {
    let ((dead, _bound), alive) = (refusing(), TestBackend::named("alive"));
    let mut config = config(&[dead, alive.address]);
    checked(&mut config);
    // So that the first check finds it up, and the next one is far away.
    config.pools[0].health.interval = Duration::from_secs(3600);
    let ringway = Ringway::start(config);
    await_that("it goes down", || {
        assert_eq!(read_all(&mut ringway.connect()), b"alive");
        state_of(&ringway, 0) == State::Down
    });
    ringway.finish();
}

#[test]
fn running_sessions_go_on_while_their_backend_is_down_for_new_ones() {
    let mut backend = TestBackend::echo();
    let mut config = config(&[backend.address]);
    checked(&mut config);
    let ringway = Ringway::start(config);
    let mut client = ringway.connect();
    assert_echo(&mut client, b"before");
    backend.stop();
    await_that("it goes down", || state_of(&ringway, 0) == State::Down);
    assert_echo(&mut client, b"after");
    assert_connect_is_reset(ringway.address());
    drop(client);
    let totals = ringway.finish();
    assert_eq!(totals.ended(ringway::end::End::NoBackend), 1);
}

#[test]
fn a_flapping_backend_fails_no_request() {
    let (flaky, steady) = (TestBackend::named("flaky"), TestBackend::named("steady"));
    let address = flaky.address;
    let mut config = config(&[address, steady.address]);
    checked(&mut config);
    let ringway = Ringway::start(config);
    // The stopped one keeps the port.
    let (mut flaky, mut _stopped) = (Some(flaky), None);
    for round in 0..8 {
        match flaky.take() {
            Some(mut backend) => {
                backend.stop();
                _stopped = Some(backend);
            }
            None => {
                flaky = Some(TestBackend::at(address, |mut stream| {
                    let _ = std::io::Write::write_all(&mut stream, b"flaky");
                }))
            }
        }
        for _ in 0..25 {
            let answer = read_all(&mut ringway.connect());
            assert!(answer == b"flaky" || answer == b"steady", "round {round}: {answer:?}");
        }
    }
    let totals = ringway.finish();
    assert_eq!(totals.ended(ringway::end::End::Complete), 200);
}

#[test]
fn a_check_that_hangs_does_not_delay_the_others() {
    let (silent, _held) = blackhole();
    let mut other = TestBackend::named("other");
    let mut config = config(&[silent, other.address]);
    checked(&mut config);
    config.pools[0].health.interval = Duration::from_secs(2);
    config.pools[0].health.timeout = Duration::from_secs(2);
    let mut second = config.pools[0].clone();
    second.name = "second".into();
    second.backends.remove(0);
    second.health.interval = Duration::from_millis(100);
    second.health.timeout = Duration::from_millis(100);
    config.pools[0].backends.remove(1);
    config.pools.push(second);
    let ringway = Ringway::start(config);
    // The silent one needs two seconds for its first verdict; the other one's three failures come before that.
    await_that("checks of the other run", || other.accepted() >= 3);
    other.stop();
    await_that("the other goes down", || state_of(&ringway, 1) == State::Down);
    await_that("the silent one goes down", || state_of(&ringway, 0) == State::Down);
    let table = ringway.server().table();
    assert_eq!(&*table.backends[0].health.reason, "check failed: no answer within 2s");
    ringway.finish();
}
