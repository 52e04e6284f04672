//! Who serves when not everybody can: backups, limits, the queue, panic, sessions of a backend that went down.

use std::io::Write;
use std::net::TcpStream;
use std::num::NonZeroU32;
use std::thread;
use std::time::Duration;

use ringway::config::{Algorithm, Check, Config, OnDown};
use ringway::decision::{Outcome, Verdict};
use ringway::end::End;
use ringway::health::Order;
use ringway::table::{Mode, State};

use crate::common::*;

fn limit(config: &mut Config, backend: usize, max: u32) {
    config.pools[0].backends[backend].max_connections = NonZeroU32::new(max);
}

fn checked(config: &mut Config) {
    config.pools[0].health.check = Check::Tcp(Default::default());
}

fn await_state(ringway: &Ringway, backend: usize, state: State) {
    await_that("the state changes", || ringway.server().table().backends[backend].health.state == state);
}

/// Clients that have been served and stay.
fn settle(ringway: &Ringway, count: usize) -> Vec<TcpStream> {
    let client = |_| {
        let mut client = ringway.connect();
        assert_echo(&mut client, b"x");
        client
    };
    (0..count).map(client).collect()
}

#[test]
fn a_backup_serves_only_when_no_other_can() {
    let (mut main, backup) = (TestBackend::named("main"), TestBackend::named("backup"));
    let address = main.address;
    let mut config = config(&[backup.address, address]);
    config.pools[0].backends[0].backup = true;
    checked(&mut config);
    let ringway = Ringway::start(config);
    for _ in 0..10 {
        assert_eq!(read_all(&mut ringway.connect()), b"main");
    }
    main.stop();
    // Also before anybody has noticed: the one that refuses is tried, and then the backup.
    for _ in 0..10 {
        assert_eq!(read_all(&mut ringway.connect()), b"backup");
    }
    await_state(&ringway, 1, State::Down);
    let _main = TestBackend::at(address, |mut stream| drop(stream.write_all(b"main")));
    await_state(&ringway, 1, State::Up);
    assert_eq!(read_all(&mut ringway.connect()), b"main");
    ringway.finish();
}

#[test]
fn a_limit_holds_over_all_workers_and_a_session_waits_for_its_place() {
    let backend = TestBackend::echo();
    let mut config = config(&[backend.address]);
    limit(&mut config, 0, 3);
    let ringway = Ringway::start(config);
    let mut kept = settle(&ringway, 3);
    let waiting: Vec<_> = (0..5)
        .map(|_| {
            let mut client = ringway.connect();
            thread::spawn(move || {
                assert_echo(&mut client, b"waited");
                drop(client);
            })
        })
        .collect();
    await_that("all have been accepted", || ringway.totals().accepted == 8);
    await_that("five wait", || ringway.server().status().contains("waiting: 5 for pool test"));
    assert_eq!(backend.accepted(), 3, "more than the limit were let through");
    kept.pop();
    // One place is enough for all five, one after the other.
    waiting.into_iter().for_each(|client| client.join().unwrap());
    assert_eq!(backend.accepted(), 8);
    drop(kept);
    assert_eq!(ringway.finish().ended(End::Complete), 8);
}

#[test]
fn no_more_than_the_limit_are_ever_inside_while_many_come_and_go() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, max) = (Arc::clone(&inside), Arc::clone(&most));
    let backend = TestBackend::new(move |stream| {
        max.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let mut stream = stream;
        let _ = std::io::Read::read(&mut stream, &mut [0; 1]);
        now.fetch_sub(1, Ordering::SeqCst);
        let _ = stream.write_all(b"y");
    });
    let mut config = config(&[backend.address]);
    limit(&mut config, 0, 4);
    let ringway = Ringway::start(config);
    let address = ringway.address();
    let clients: Vec<_> = (0..16)
        .map(|_| {
            thread::spawn(move || {
                for _ in 0..20 {
                    let mut client = connect(address);
                    client.write_all(b"x").unwrap();
                    assert_eq!(read_all(&mut client), b"y");
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    assert!(most.load(Ordering::SeqCst) <= 4, "{} were inside at once", most.load(Ordering::SeqCst));
    assert_eq!(ringway.finish().ended(End::Complete), 320);
}

#[test]
fn a_full_queue_and_a_long_wait_end_the_session_each_with_its_reason() {
    let backend = TestBackend::echo();
    let mut config = config(&[backend.address]);
    limit(&mut config, 0, 1);
    config.pools[0].queue_max = 1;
    config.pools[0].queue_timeout = Duration::from_secs(2);
    let ringway = Ringway::start(config);
    let kept = settle(&ringway, 1);
    let mut waits = ringway.connect();
    await_that("it waits", || ringway.server().status().contains("waiting: 1"));
    // A wait that is over frees its place in the queue: hurry counts, so look at the count of one reason only.
    assert_connect_is_reset(ringway.address());
    assert_reset(&mut waits);
    ringway.await_end(End::QueueTimeout, 1);
    drop(kept);
    let totals = ringway.finish();
    assert_eq!(totals.ended(End::QueueFull) + totals.ended(End::QueueTimeout), 2);
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn a_client_that_leaves_the_queue_frees_its_place_there() {
    let backend = TestBackend::echo();
    let mut config = config(&[backend.address]);
    limit(&mut config, 0, 1);
    config.pools[0].queue_max = 1;
    let ringway = Ringway::start(config);
    let kept = settle(&ringway, 1);
    let leaves = ringway.connect();
    await_that("it waits", || ringway.server().status().contains("waiting: 1"));
    reset(leaves);
    ringway.await_end(End::ClientReset, 1);
    let mut stays = ringway.connect();
    await_that("another waits", || ringway.server().status().contains("waiting: 1"));
    drop(kept);
    assert_echo(&mut stays, b"served");
    drop(stays);
    ringway.finish();
}

#[test]
fn full_backends_hand_over_to_a_backup_before_anybody_waits() {
    let (main, backup) = (TestBackend::echo(), TestBackend::echo());
    let mut config = config(&[main.address, backup.address]);
    config.pools[0].backends[1].backup = true;
    limit(&mut config, 0, 2);
    let ringway = Ringway::start(config);
    let kept = settle(&ringway, 5);
    assert_eq!((main.accepted(), backup.accepted()), (2, 3));
    drop(kept);
    ringway.finish();
}

#[test]
fn in_a_panic_a_backend_that_is_down_is_tried() {
    let backend = TestBackend::named("alive");
    let other = TestBackend::named("other");
    let mut config = config(&[backend.address, other.address]);
    // Checks look at a port where nobody is: both are down, and both would serve.
    let (nobody, _bound) = refusing();
    config.pools[0].health.port = Some(nobody.port());
    config.pools[0].backends.iter_mut().for_each(|backend| backend.check_address = Some(nobody.into()));
    config.pools[0].panic_threshold = 50;
    checked(&mut config);
    let ringway = Ringway::start(config);
    await_state(&ringway, 0, State::Down);
    await_state(&ringway, 1, State::Down);
    let answers: Vec<Vec<u8>> = (0..8).map(|_| read_all(&mut ringway.connect())).collect();
    assert!(answers.iter().all(|answer| answer == b"alive" || answer == b"other"), "{answers:?}");
    ringway.finish();
}

#[test]
fn sessions_of_a_backend_that_goes_down_go_on_or_end_as_asked() {
    for on_down in [OnDown::Keep, OnDown::Close] {
        let (served, steady) = (TestBackend::echo(), TestBackend::echo());
        let mut checks = TestBackend::named("healthy");
        let mut config = config(&[served.address, steady.address]);
        checked(&mut config);
        config.pools[0].backends[0].check_address = Some(checks.address.into());
        config.pools[0].on_down = on_down;
        let ringway = Ringway::start(config);
        let mut clients = settle(&ringway, 8);
        let on_it = served.accepted() as u64;
        assert!(on_it > 0);
        checks.stop();
        await_state(&ringway, 0, State::Down);
        match on_down {
            OnDown::Keep => clients.iter_mut().for_each(|client| assert_echo(client, b"still here")),
            OnDown::Close => ringway.await_end(End::BackendDown, on_it),
        }
        drop(clients);
        let closed = if on_down == OnDown::Close { on_it } else { 0 };
        assert_eq!(ringway.finish().ended(End::BackendDown), closed);
    }
}

#[test]
fn the_last_decisions_say_who_was_compared_who_was_left_out_and_how_it_ended() {
    let (nobody, _bound) = refusing();
    let backend = TestBackend::named("serves");
    let mut config = config(&[nobody, backend.address]);
    config.pools[0].algorithm = Algorithm::LeastConnections;
    one_worker(&mut config);
    let ringway = Ringway::start(config);
    // One decision is written down per tick: ask until both kinds are there.
    let seen = |wanted: &dyn Fn(&ringway::decision::Decision) -> bool| {
        assert_eq!(read_all(&mut ringway.connect()), b"serves");
        ringway.server().stats().workers[0].decisions.recent().iter().any(wanted)
    };
    await_that("a pick whose connect failed", || {
        seen(&|decision| {
            decision.outcome == Outcome::ConnectFailed
                && decision.chosen.is_some_and(|id| id.index() == 0)
                && matches!(decision.candidates[1].verdict, Verdict::Eligible(Some(_)))
        })
    });
    await_that("a pick that served", || {
        seen(&|decision| matches!(decision.outcome, Outcome::Ended(End::Complete, _)))
    });
    let text = ringway.server().explain();
    assert!(text.contains("pool test (least-connections)") && text.contains("connect failed"), "{text}");
    ringway.finish();
}

#[test]
fn those_who_wait_are_served_in_the_order_in_which_they_came() {
    use std::io::Read;
    use std::sync::{Arc, Mutex};
    let order = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&order);
    let backend = TestBackend::new(move |mut stream| {
        let mut own = [0; 1];
        if stream.read_exact(&mut own).is_ok() {
            seen.lock().unwrap().push(own[0]);
            let _ = stream.write_all(&own);
        }
    });
    let mut config = config(&[backend.address]);
    limit(&mut config, 0, 1);
    let ringway = Ringway::start(config);
    // Holds the only place until it speaks.
    let mut holder = ringway.connect();
    await_that("it is served", || backend.accepted() == 1);
    let mut waiting = Vec::new();
    for own in 1..=12_u8 {
        let mut client = ringway.connect();
        client.write_all(&[own]).unwrap();
        let line = format!("waiting: {own} for pool test");
        await_that("it waits", || ringway.server().status().contains(&line));
        waiting.push(client);
    }
    holder.write_all(&[0]).unwrap();
    assert_eq!(read_all(&mut holder), [0]);
    drop(holder);
    for (own, client) in (1..).zip(&mut waiting) {
        assert_eq!(read_all(client), [own]);
        client.shutdown(std::net::Shutdown::Both).unwrap();
    }
    assert_eq!(*order.lock().unwrap(), (0..=12).collect::<Vec<u8>>());
    drop(waiting);
    ringway.finish();
}

#[test]
fn when_a_backend_comes_up_all_who_wait_are_served_although_no_session_ends() {
    let (full, mut comes) = (TestBackend::echo(), TestBackend::echo());
    let address = comes.address;
    let mut config = config(&[full.address, address]);
    limit(&mut config, 0, 1);
    config.pools[0].queue_max = 40;
    checked(&mut config);
    comes.stop();
    let ringway = Ringway::start(config);
    await_state(&ringway, 1, State::Down);
    let kept = settle(&ringway, 1);
    let mut waiting: Vec<TcpStream> = (0..40).map(|_| ringway.connect()).collect();
    await_that("all wait", || ringway.server().status().contains("waiting: 40 for pool test"));
    let _back = TestBackend::at(address, echo);
    await_state(&ringway, 1, State::Up);
    // None of them ends; and who comes now finds nobody waiting, or a short line.
    waiting.iter_mut().for_each(|client| assert_echo(client, b"served"));
    let later = settle(&ringway, 100);
    assert_eq!(ringway.totals().ended(End::QueueFull), 0);
    drop((kept, waiting, later));
    ringway.finish();
}

#[test]
fn sessions_of_a_panic_are_not_closed_by_a_change_elsewhere() {
    let (one, other) = (TestBackend::echo(), TestBackend::echo());
    let mut config = config(&[one.address, other.address]);
    let (nobody, _bound) = refusing();
    config.pools[0].backends.iter_mut().for_each(|backend| backend.check_address = Some(nobody.into()));
    config.pools[0].panic_threshold = 50;
    config.pools[0].on_down = OnDown::Close;
    checked(&mut config);
    let ringway = Ringway::start(config);
    await_state(&ringway, 0, State::Down);
    await_state(&ringway, 1, State::Down);
    let mut clients = settle(&ringway, 4);
    let epoch = ringway.server().table().epoch;
    let backend = ringway.server().table().backends[1].id;
    ringway.server().order(Order::SetWeight { backend, weight: 7 }).unwrap();
    await_that("the table changes", || ringway.server().table().epoch > epoch);
    // Two ticks at least, so that every worker has looked at it.
    std::thread::sleep(Duration::from_millis(150));
    clients.iter_mut().for_each(|client| assert_echo(client, b"still here"));
    drop(clients);
    assert_eq!(ringway.finish().ended(End::BackendDown), 0);
}

#[test]
fn who_still_connects_to_a_backend_that_goes_down_tries_another_at_once() {
    let (silent, _held) = blackhole();
    let other = TestBackend::named("other");
    let mut config = config(&[silent, other.address]);
    // Far beyond the deadline: nobody waits for it.
    config.pools[0].connect_timeout = 10 * DEADLINE;
    config.pools[0].connect_total_timeout = 20 * DEADLINE;
    one_worker(&mut config);
    let ringway = Ringway::start(config);
    let mut client = ringway.connect();
    let backend = ringway.server().table().backends[0].id;
    await_that("it is connecting", || ringway.server().stats().sessions(backend) == 1);
    ringway.server().order(Order::SetMode { backend, mode: Mode::Maintenance }).unwrap();
    assert_eq!(read_all(&mut client), b"other");
    drop(client);
    assert_eq!(ringway.finish().ended(End::Complete), 1);
}
