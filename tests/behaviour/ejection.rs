//! Backends are taken out for a while because of what sessions meet there, and come back by one session.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::Duration;

use ringway::config::Config;
use ringway::table::{Health, State};

use crate::common::*;

/// What a backend does with its sessions, once the first byte of the client is there.
const RESET: u8 = 0;
const HANG: u8 = 1;
const SERVE: u8 = 2;

/// A backend whose manners can be changed.
struct Moody {
    backend: TestBackend,
    mood: Arc<AtomicU8>,
}

impl Moody {
    fn new(mood: u8) -> Moody {
        let mood = Arc::new(AtomicU8::new(mood));
        let of_backend = Arc::clone(&mood);
        let backend = TestBackend::new(move |mut stream| {
            if stream.read_exact(&mut [0]).is_err() {
                return;
            }
            await_that("a mood that ends it", || of_backend.load(Ordering::SeqCst) != HANG);
            match of_backend.load(Ordering::SeqCst) {
                RESET => reset(stream),
                _ => drop(stream.write_all(b"moody")),
            }
        });
        Moody { backend, mood }
    }

    fn turn(&self, mood: u8) {
        self.mood.store(mood, Ordering::SeqCst);
    }
}

/// Answers each client.
fn steady() -> TestBackend {
    TestBackend::new(|mut stream| {
        if stream.read_exact(&mut [0]).is_ok() {
            let _ = stream.write_all(b"steady");
        }
    })
}

/// Three failures eject; the first time for two seconds: longer than a busy machine keeps a test from looking.
fn ejecting(backends: &[SocketAddr]) -> Config {
    let mut config = config(backends);
    config.pools[0].ejection.failures = NonZeroU32::new(3);
    config.pools[0].ejection.time = Duration::from_secs(2);
    config.pools[0].connect_timeout = Duration::from_millis(200);
    config
}

fn health(ringway: &Ringway, backend: usize) -> Health {
    ringway.server().table().backends[backend].health.clone()
}

/// Whether it is ejected; its reason then, which lasts no longer than that.
fn is_ejected(ringway: &Ringway, reason: &mut String) -> bool {
    let Health { state, reason: now, .. } = health(ringway, 0);
    *reason = now.to_string();
    state == State::Ejected
}

/// One session that asks; what came, if it came to anything.
fn ask(address: SocketAddr) -> Option<Vec<u8>> {
    let mut client = connect(address);
    client.write_all(b"?").ok()?;
    let (bytes, end) = read_until_broken(&mut client);
    end.ok().map(|()| bytes)
}

/// Sends sessions until it is so.
fn ask_until(ringway: &Ringway, what: &str, mut is_so: impl FnMut() -> bool) {
    await_that(what, || {
        let _ = ask(ringway.address());
        is_so()
    });
}

#[test]
fn connects_that_are_refused_eject_and_a_connection_brings_back() {
    let ((dead, _bound), steady) = (refusing(), steady());
    let ringway = Ringway::start(ejecting(&[dead, steady.address]));
    let mut reason = String::new();
    ask_until(&ringway, "it is ejected", || is_ejected(&ringway, &mut reason));
    assert!(
        reason.ends_with("sessions failed in a row (connect failed); ejected for 2s, 1st time"),
        "{reason}"
    );
    // It takes connections and says nothing: where connecting had failed, that is enough.
    let _alive = TestBackend::at(dead, |mut stream| {
        let _ = stream.read(&mut [0; 1]);
        let _ = stream.read(&mut [0; 1]);
    });
    let mut tries: Vec<TcpStream> = Vec::new();
    await_that("it is back", || {
        let mut client = ringway.connect();
        let _ = client.write_all(b"?");
        tries.push(client);
        health(&ringway, 0).state == State::Up
    });
    assert_eq!(&*health(&ringway, 0).reason, "trial session got a connection");
    drop(tries);
    ringway.finish();
}

#[test]
fn connects_that_are_not_answered_eject() {
    let ((silent, _held), steady) = (blackhole(), steady());
    let ringway = Ringway::start(ejecting(&[silent, steady.address]));
    let mut reason = String::new();
    ask_until(&ringway, "it is ejected", || is_ejected(&ringway, &mut reason));
    assert!(reason.contains("(connect failed)"), "{reason}");
    ringway.finish();
}

#[test]
fn resets_before_the_first_byte_eject_and_one_session_that_is_answered_brings_back() {
    let (moody, steady) = (Moody::new(RESET), steady());
    let ringway = Ringway::start(ejecting(&[moody.backend.address, steady.address]));
    let mut reason = String::new();
    ask_until(&ringway, "it is ejected", || is_ejected(&ringway, &mut reason));
    assert!(
        reason.ends_with("sessions failed in a row (reset before the first byte); ejected for 2s, 1st time"),
        "{reason}"
    );
    moody.turn(HANG);
    await_that("it is on trial", || health(&ringway, 0).state == State::OnTrial);
    let before = moody.backend.accepted();
    // The trial is the first session that comes; it waits. All the others go elsewhere.
    let address = ringway.address();
    let trial = thread::spawn(move || ask(address));
    await_that("the trial is there", || moody.backend.accepted() == before + 1);
    for _ in 0..10 {
        assert_eq!(ask(ringway.address()).unwrap(), b"steady");
    }
    assert_eq!(moody.backend.accepted(), before + 1, "more than one session tried");
    assert_eq!(health(&ringway, 0).state, State::OnTrial);
    moody.turn(SERVE);
    assert_eq!(trial.join().unwrap().unwrap(), b"moody");
    await_that("it is back", || health(&ringway, 0).state == State::Up);
    assert_eq!(&*health(&ringway, 0).reason, "trial session was answered");
    ask_until(&ringway, "it serves", || moody.backend.accepted() >= before + 3);
    ringway.finish();
}

#[test]
fn a_first_byte_that_is_late_ejects_and_fails_a_trial() {
    let (moody, steady) = (Moody::new(HANG), steady());
    let mut config = ejecting(&[moody.backend.address, steady.address]);
    config.pools[0].ejection.first_byte_timeout = Some(Duration::from_millis(100));
    let ringway = Ringway::start(config);
    let mut waiting = Vec::new();
    let mut ask_on = || {
        let mut client = ringway.connect();
        client.write_all(b"?").unwrap();
        waiting.push(client);
    };
    let mut reason = String::new();
    await_that("it is ejected", || {
        ask_on();
        is_ejected(&ringway, &mut reason)
    });
    assert!(reason.contains("sessions failed in a row (no first byte in time); ejected for 2s"), "{reason}");
    await_that("the trial fails", || {
        ask_on();
        health(&ringway, 0).reason.starts_with("trial session failed; ejected for 4s, 2nd time")
    });
    moody.turn(SERVE);
    // Sessions that are late have failed, and go on all the same.
    for client in &mut waiting {
        let (bytes, end) = read_until_broken(client);
        assert!(end.is_ok() && (bytes == b"moody" || bytes == b"steady"));
    }
    drop(waiting);
    ringway.finish();
}

#[test]
fn answers_that_come_late_each_time_are_no_proof_of_health() {
    let slow = TestBackend::new(|mut stream| {
        if stream.read_exact(&mut [0]).is_ok() {
            thread::sleep(Duration::from_millis(300));
            let _ = stream.write_all(b"slow");
        }
    });
    let steady = steady();
    let mut config = ejecting(&[slow.address, steady.address]);
    config.pools[0].ejection.first_byte_timeout = Some(Duration::from_millis(100));
    let ringway = Ringway::start(config);
    // One after the other: each late answer comes before the next session fails.
    ask_until(&ringway, "it is ejected", || health(&ringway, 0).state == State::Ejected);
    ringway.finish();
}

#[test]
fn each_ejection_that_follows_is_longer_up_to_the_longest() {
    let (moody, steady) = (Moody::new(RESET), steady());
    let mut config = ejecting(&[moody.backend.address, steady.address]);
    config.pools[0].ejection.time = Duration::from_secs(1);
    config.pools[0].ejection.time_max = Duration::from_millis(2500);
    let ringway = Ringway::start(config);
    for words in
        ["ejected for 1s, 1st", "ejected for 2s, 2nd", "ejected for 2.5s, 3rd", "ejected for 2.5s, 4th"]
    {
        ask_until(&ringway, words, || health(&ringway, 0).reason.contains(words));
    }
    ringway.finish();
}

#[test]
fn no_more_than_the_share_are_out_at_once_and_never_the_last_that_is_up() {
    for (backends, share_max, most) in [(4, 50, 2), (4, 1, 1), (3, 100, 2), (2, 50, 1)] {
        let moody: Vec<Moody> = (0..backends).map(|_| Moody::new(RESET)).collect();
        let addresses: Vec<SocketAddr> = moody.iter().map(|moody| moody.backend.address).collect();
        let mut config = ejecting(&addresses);
        config.pools[0].ejection.share_max = share_max;
        config.pools[0].ejection.time = Duration::from_secs(100);
        config.pools[0].ejection.time_max = Duration::from_secs(100);
        let ringway = Ringway::start(config);
        let out = || {
            let table = ringway.server().table();
            let out = table.backends.iter().filter(|backend| backend.health.state != State::Up).count();
            assert!(out <= most, "{out} of {backends} are out");
            out
        };
        ask_until(&ringway, "as many as may be are out", || out() == most);
        // Those that are left fail as well, and stay.
        let left = ringway.server().table();
        let left = left.backends.iter().filter(|backend| backend.health.state == State::Up);
        let picked = || {
            left.clone().map(|backend| ringway.server().stats().backend(backend.id, |one| &one.unanswered))
        };
        ask_until(&ringway, "those that are left fail as often", || {
            out();
            picked().all(|failed| failed >= 10)
        });
        assert_eq!(out(), most);
        ringway.finish();
    }
}

#[test]
fn the_only_backend_is_never_ejected_and_without_a_number_nobody_is() {
    for (count, failures) in [(1, 3), (2, 0)] {
        let moody: Vec<Moody> = (0..count).map(|_| Moody::new(RESET)).collect();
        let addresses: Vec<SocketAddr> = moody.iter().map(|moody| moody.backend.address).collect();
        let mut config = ejecting(&addresses);
        config.pools[0].ejection.failures = NonZeroU32::new(failures);
        config.pools[0].ejection.share_max = 100;
        let ringway = Ringway::start(config);
        ask_until(&ringway, "it has failed often", || moody[0].backend.accepted() >= 20);
        assert!(ringway.server().table().backends.iter().all(|backend| backend.health.state == State::Up));
        ringway.finish();
    }
}

#[test]
fn failures_between_which_sessions_are_served_eject_nobody() {
    let served = std::sync::atomic::AtomicUsize::new(0);
    let every_other = TestBackend::new(move |mut stream| {
        if stream.read_exact(&mut [0]).is_err() {
            return;
        }
        if served.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
            reset(stream);
        } else {
            let _ = stream.write_all(b"served");
        }
    });
    let steady = steady();
    let mut config = ejecting(&[every_other.address, steady.address]);
    one_worker(&mut config);
    let ringway = Ringway::start(config);
    ask_until(&ringway, "many have failed", || {
        assert_eq!(health(&ringway, 0).state, State::Up, "{}", health(&ringway, 0).reason);
        every_other.accepted() >= 60
    });
    ringway.finish();
}
