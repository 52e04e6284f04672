//! What operators order while ringway runs, and how a backend comes back slowly.

use std::num::NonZeroU32;
use std::time::Duration;

use ringway::config::{Algorithm, Check, Config};
use ringway::health::{Order, Refusal};
use ringway::table::{BackendId, Mode, State};

use crate::common::*;

fn set_mode(ringway: &Ringway, backend: usize, mode: Mode) {
    let id = BackendId::new(backend);
    ringway.server().order(Order::SetMode { backend: id, mode }).unwrap();
    await_that("the order is obeyed", || ringway.server().table().backends[backend].mode == mode);
}

fn set_weight(ringway: &Ringway, backend: usize, weight: u32) {
    let id = BackendId::new(backend);
    ringway.server().order(Order::SetWeight { backend: id, weight }).unwrap();
    await_that("the order is obeyed", || ringway.server().table().backends[backend].weight == weight);
}

fn picked(ringway: &Ringway, backend: usize) -> u64 {
    ringway.server().stats().backend(BackendId::new(backend), |counters| &counters.picked)
}

fn checked(config: &mut Config) {
    config.pools[0].health.check = Check::Tcp(Default::default());
    let health = &mut config.pools[0].health;
    let intervals = [&mut health.interval, &mut health.fast_interval, &mut health.down_interval];
    intervals.into_iter().for_each(|interval| *interval = Duration::from_millis(50));
}

#[test]
fn a_backend_that_drains_keeps_its_sessions_and_gets_no_new_ones() {
    let (first, second) = (TestBackend::echo(), TestBackend::echo());
    let ringway = Ringway::over(&[first.address, second.address]);
    let mut clients: Vec<_> = (0..4).map(|_| ringway.connect()).collect();
    clients.iter_mut().for_each(|client| assert_echo(client, b"before"));
    assert!(first.accepted() > 0);
    set_mode(&ringway, 0, Mode::Drain);
    let backend = ringway.server().table().backends[0].clone();
    assert_eq!(backend.reason(), "an operator wanted it");
    assert!(backend.since() > backend.health.since, "since it drains, and not since it is up");
    let before = first.accepted();
    for _ in 0..10 {
        assert_echo(&mut ringway.connect(), b"x");
    }
    clients.iter_mut().for_each(|client| assert_echo(client, b"after"));
    assert_eq!(first.accepted(), before);
    set_mode(&ringway, 0, Mode::Ready);
    let backend = ringway.server().table().backends[0].clone();
    assert_eq!((&*backend.reason(), backend.since()), (&*backend.health.reason, backend.health.since));
    for _ in 0..10 {
        assert_echo(&mut ringway.connect(), b"x");
    }
    assert!(first.accepted() > before);
    drop(clients);
    ringway.finish();
}

#[test]
fn a_backend_in_maintenance_is_not_checked_and_is_checked_anew_afterwards() {
    let (mut resting, other) = (TestBackend::named("resting"), TestBackend::named("other"));
    let address = resting.address;
    let mut config = config(&[address, other.address]);
    checked(&mut config);
    let ringway = Ringway::start(config);
    let health = || ringway.server().table().backends[0].health.clone();
    await_that("the first check", || &*health().reason == "check passed");
    set_mode(&ringway, 0, Mode::Maintenance);
    // One check may have been under way; while the other backend is checked ten times more, no more come.
    let other_before = other.accepted();
    await_that("a check of the other", || other.accepted() >= other_before + 2);
    // Whoever has come is counted before one that comes now is answered.
    let visit = || assert_eq!(read_all(&mut connect(address)), b"resting");
    visit();
    let (before, other_before) = (resting.accepted(), other.accepted());
    await_that("checks of the other", || other.accepted() >= other_before + 10);
    visit();
    assert_eq!(resting.accepted(), before + 1, "it was checked in maintenance");
    resting.stop();
    assert_eq!(health().state, State::Up);
    set_mode(&ringway, 0, Mode::Ready);
    await_that("checks find it down", || health().state == State::Down);
    let _back = TestBackend::named("nobody asks");
    ringway.finish();
}

#[test]
fn a_weight_is_heeded_at_once_and_none_means_no_sessions() {
    let (first, second) = (TestBackend::named("1"), TestBackend::named("2"));
    let mut config = config(&[first.address, second.address]);
    config.pools[0].algorithm = Algorithm::WeightedRoundRobin;
    one_worker(&mut config);
    let ringway = Ringway::start(config);
    let share = || {
        let before = picked(&ringway, 0);
        for _ in 0..40 {
            read_all(&mut ringway.connect());
        }
        picked(&ringway, 0) - before
    };
    assert_eq!(share(), 20);
    set_weight(&ringway, 0, 3);
    assert_eq!(share(), 30);
    set_weight(&ringway, 0, 0);
    assert_eq!(share(), 0);
    set_weight(&ringway, 0, 256);
    assert!(share() > 38);
    ringway.finish();
}

#[test]
fn an_order_that_cannot_be_obeyed_is_refused() {
    let backend = TestBackend::named("x");
    let ringway = Ringway::over(&[backend.address]);
    let order =
        |index, weight| ringway.server().order(Order::SetWeight { backend: BackendId::new(index), weight });
    assert_eq!(order(1, 1), Err(Refusal::NoSuchBackend { index: 1, count: 1 }));
    assert_eq!(order(0, 257), Err(Refusal::TooHeavy { weight: 257 }));
    ringway.finish();
}

#[test]
fn a_backend_that_comes_back_gets_its_share_little_by_little() {
    let (mut flaky, steady) = (TestBackend::named("flaky"), TestBackend::named("steady"));
    let address = flaky.address;
    let mut config = config(&[address, steady.address]);
    checked(&mut config);
    config.pools[0].algorithm = Algorithm::WeightedRoundRobin;
    config.pools[0].slow_start = Some(Duration::from_secs(4));
    config.pools[0].backends[0].max_connections = NonZeroU32::new(100);
    one_worker(&mut config);
    let ringway = Ringway::start(config);
    let backend = || ringway.server().table().backends[0].clone();
    await_that("the first check", || &*backend().health.reason == "check passed");
    assert_eq!(backend().ramp, 100, "at the start of the process there is nothing to come back from");
    flaky.stop();
    await_that("it goes down", || backend().health.state == State::Down);
    let _flaky =
        TestBackend::at(address, |mut stream| drop(std::io::Write::write_all(&mut stream, b"flaky")));
    await_that("it comes back", || backend().health.state == State::Up);
    // The shares while it gets less than half, and when it has all.
    let (mut ramps, mut early) = (Vec::new(), [0, 0]);
    await_that("it has its whole share", || {
        let before = backend();
        let counts = [picked(&ringway, 0), picked(&ringway, 1)];
        read_all(&mut ringway.connect());
        if backend().ramp < 50 {
            early[0] += picked(&ringway, 0) - counts[0];
            early[1] += picked(&ringway, 1) - counts[1];
        }
        assert_eq!(before.max_connections.unwrap().get(), before.ramp, "the limit goes along");
        ramps.push(before.ramp);
        before.ramp == 100
    });
    ramps.dedup();
    assert!(ramps.is_sorted() && ramps.len() > 2, "{ramps:?}");
    assert!(early[0] < early[1], "less than half of its share, and yet {early:?}");
    let before = picked(&ringway, 0);
    for _ in 0..40 {
        read_all(&mut ringway.connect());
    }
    assert_eq!(picked(&ringway, 0) - before, 20);
    ringway.finish();
}
