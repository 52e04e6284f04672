//! Sessions that may only be so fast: every byte, at no moment more than was due, and every end as without a pace.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use ringway::config::{Bandwidth, Config, Engine, Pace};
use ringway::end::End;

use crate::common::*;

const KIB: usize = 1024;
const MIB: usize = 1024 * 1024;
const ENGINES: [Engine; 2] = [Engine::Fixed, Engine::Auto];

fn start(
    engine: Engine,
    bandwidth: Bandwidth,
    backend: &TestBackend,
    alter: impl FnOnce(&mut Config),
) -> Ringway {
    let mut config = config(&[backend.address]);
    config.server.engine = engine;
    config.listeners[0].bandwidth = bandwidth;
    alter(&mut config);
    Ringway::start(config)
}

fn pace(rate: usize, burst: usize) -> Option<Pace> {
    Some(Pace { rate: rate as u64, burst: burst as u64 })
}

/// Reads to the end, and fails if at any moment more has come than is due. The clock runs longer than the session's.
fn read_in_time(stream: &mut TcpStream, begun: Instant, pace: Pace) -> Vec<u8> {
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 64 * KIB]);
    loop {
        let count = stream.read(&mut buffer).unwrap();
        if count == 0 {
            return bytes;
        }
        bytes.extend_from_slice(&buffer[..count]);
        let due = pace.burst as f64 + pace.rate as f64 * begun.elapsed().as_secs_f64();
        assert!(bytes.len() as f64 <= due, "{} bytes have come, {due} are due", bytes.len());
    }
}

/// Slow enough for crumbs, in cells, and fast enough for pipes.
#[test]
fn at_no_moment_more_has_passed_than_is_due_and_every_byte_arrives() {
    let cases = [(16 * KIB, KIB, 24 * KIB), (MIB, 64 * KIB, MIB), (64 * MIB, 4 * MIB, 48 * MIB)];
    for engine in ENGINES {
        for (rate, burst, size) in cases {
            let bytes = Noise::new(size as u64).bytes(size);
            // To clients.
            let sent = bytes.clone();
            let backend = TestBackend::new(move |mut stream| stream.write_all(&sent).unwrap());
            let to_client = Bandwidth { to_backend: None, to_client: pace(rate, burst) };
            let begun = Instant::now();
            let ringway = start(engine, to_client, &backend, |_| {});
            let mut client = ringway.connect();
            let got = read_in_time(&mut client, begun, to_client.to_client.unwrap());
            assert!(got == bytes, "the bytes differ");
            drop(client);
            await_that("it is over", || ringway.totals().active == 0);
            let spliced = ringway.carried().spliced;
            assert_eq!(spliced > 0, rate == 64 * MIB, "{spliced} bytes spliced at {rate}");
            assert_eq!(ringway.finish().bytes_to_client, size as u64);

            // To backends, which tell what they got.
            let (due, begun) = (Pace { rate: rate as u64, burst: burst as u64 }, Instant::now());
            let expected = bytes.clone();
            let backend = TestBackend::new(move |mut stream| {
                let got = read_in_time(&mut stream, begun, due);
                stream.write_all(if got == expected { b"same" } else { b"differ" }).unwrap();
            });
            let to_backend = Bandwidth { to_backend: Some(due), to_client: None };
            let ringway = start(engine, to_backend, &backend, |_| {});
            let mut client = ringway.connect();
            client.write_all(&bytes).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            assert_eq!(read_all(&mut client), b"same");
            drop(client);
            assert_eq!(ringway.finish().ended(End::Complete), 1);
        }
    }
}

#[test]
fn both_directions_have_their_own_pace_and_small_messages_are_not_held_up() {
    for engine in ENGINES {
        let backend = TestBackend::echo();
        let both = Bandwidth { to_backend: pace(MIB, 64 * KIB), to_client: pace(512 * KIB, 32 * KIB) };
        let ringway = start(engine, both, &backend, |_| {});
        let mut client = ringway.connect();
        for round in 0..50 {
            assert_echo(&mut client, &Noise::new(round).bytes(100));
        }
        let bytes = Noise::new(9).bytes(600 * KIB);
        let mut reader = client.try_clone().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                client.write_all(&bytes).unwrap();
                client.shutdown(Shutdown::Write).unwrap();
            });
            assert!(read_all(&mut reader) == bytes, "the echo differs");
        });
        drop((client, reader));
        assert_eq!(ringway.finish().ended(End::Complete), 1);
    }
}

/// With each of them, at the same time: both only wait.
fn with_each_engine(test: fn(Engine)) {
    thread::scope(|scope| ENGINES.iter().for_each(|&engine| drop(scope.spawn(move || test(engine)))));
}

/// It lasts for many times of what counts as silence, all of it waiting for its time.
#[test]
fn waiting_for_its_time_is_no_silence() {
    with_each_engine(|engine| {
        let backend = TestBackend::new(|mut stream| stream.write_all(&[7; 20 * KIB]).unwrap());
        let slow = Bandwidth { to_backend: None, to_client: pace(4 * KIB, KIB) };
        let ringway = start(engine, slow, &backend, |config| {
            config.listeners[0].idle_timeout = Some(Duration::from_secs(1));
            config.listeners[0].half_closed_timeout = Some(Duration::from_secs(1));
        });
        let mut client = ringway.connect();
        assert_eq!(read_all(&mut client), [7; 20 * KIB]);
        drop(client);
        assert_eq!(ringway.finish().ended(End::Complete), 1);
    });
}

#[test]
fn a_silent_session_is_still_ended() {
    with_each_engine(|engine| {
        let backend = TestBackend::echo();
        let both = Bandwidth { to_backend: pace(MIB, 64 * KIB), to_client: pace(MIB, 64 * KIB) };
        let ringway = start(engine, both, &backend, |config| {
            config.listeners[0].idle_timeout = Some(Duration::from_secs(2));
        });
        let mut client = ringway.connect();
        assert_echo(&mut client, b"last words");
        assert_reset(&mut client);
        drop(client);
        assert_eq!(ringway.finish().ended(End::IdleTimeout), 1);
    });
}

#[test]
fn a_transfer_that_is_cut_does_not_look_whole() {
    for engine in ENGINES {
        let sent = Noise::new(5).bytes(4 * MIB);
        let bytes = sent.clone();
        let backend = TestBackend::new(move |mut stream| {
            // A reset that comes at once would be a connection that was never made.
            let _ = stream.read_exact(&mut [0]);
            let _ = stream.write_all(&bytes[..MIB]);
            reset(stream);
        });
        let slow = Bandwidth { to_backend: None, to_client: pace(MIB, 16 * KIB) };
        let ringway = start(engine, slow, &backend, |_| {});
        let mut client = ringway.connect();
        client.write_all(b"?").unwrap();
        let (got, end) = read_until_broken(&mut client);
        assert!(end.is_err(), "{} bytes look like all", got.len());
        assert!(sent.starts_with(&got));
        drop(client);
        let totals = ringway.finish();
        assert_eq!(totals.ended(End::BackendReset), 1, "{totals:?}");
    }
}

/// The client goes in the middle, and so does a session whose lifetime is over: all that was lent comes back.
#[test]
fn a_session_can_end_while_it_waits_for_its_time() {
    with_each_engine(|engine| {
        let backend = TestBackend::new(|mut stream| {
            let _ = stream.write_all(&[7; 8 * MIB]);
        });
        let slow = Bandwidth { to_backend: None, to_client: pace(64 * KIB, 8 * KIB) };
        let ringway = start(engine, slow, &backend, |config| {
            config.listeners[0].lifetime_max = Some(Duration::from_secs(3));
        });
        let mut leaving = ringway.connect();
        leaving.read_exact(&mut [0; 1024]).unwrap();
        reset(leaving);
        let mut staying = ringway.connect();
        assert!(read_until_broken(&mut staying).1.is_err());
        drop(staying);
        let totals = ringway.finish();
        assert_eq!((totals.ended(End::ClientReset), totals.ended(End::LifetimeMax)), (1, 1));
    });
}

#[test]
fn a_reload_sets_the_pace_of_sessions_that_come_after_it() {
    let bytes = Noise::new(3).bytes(256 * KIB);
    let sent = bytes.clone();
    let backend = TestBackend::new(move |mut stream| stream.write_all(&sent).unwrap());
    let ringway = start(Engine::Auto, Bandwidth::default(), &backend, |_| {});
    assert!(read_all(&mut ringway.connect()) == bytes);
    let control = ringway.server().control();
    let mut next = Config::clone(&control.generation().config);
    let slow = Pace { rate: 512 * KIB as u64, burst: 16 * KIB as u64 };
    next.listeners[0].bandwidth.to_client = Some(slow);
    control.adopt(next).unwrap_or_else(|error| panic!("{error}"));
    let begun = Instant::now();
    let mut client = ringway.connect();
    assert!(read_in_time(&mut client, begun, slow) == bytes);
    drop(client);
    assert_eq!(ringway.finish().ended(End::Complete), 2);
}
