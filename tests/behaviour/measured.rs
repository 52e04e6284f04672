//! Choosing by what is measured, on real sockets: the slow, the stalled and the one that recovers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ringway::config::{Algorithm, Config, Signal, Statistic};

use crate::common::*;

/// A backend that answers one request after a while, or not at all while it is stalled.
struct Paced {
    backend: TestBackend,
    after_ms: Arc<AtomicU64>,
    stalled: Arc<AtomicBool>,
}

impl Paced {
    fn new(after_ms: u64) -> Paced {
        let (after_ms, stalled) = (Arc::new(AtomicU64::new(after_ms)), Arc::new(AtomicBool::new(false)));
        let (after, is_stalled) = (Arc::clone(&after_ms), Arc::clone(&stalled));
        let backend = TestBackend::new(move |mut stream| {
            let mut request = [0; 1];
            if stream.read_exact(&mut request).is_err() {
                return;
            }
            while is_stalled.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(2));
            }
            thread::sleep(Duration::from_millis(after.load(Ordering::SeqCst)));
            let _ = stream.write_all(&request);
        });
        Paced { backend, after_ms, stalled }
    }

    fn stall(&self, now: bool) {
        self.stalled.store(now, Ordering::SeqCst);
    }

    fn accepted(&self) -> usize {
        self.backend.accepted()
    }
}

impl Drop for Paced {
    fn drop(&mut self) {
        // Whoever still waits is let go, so that the test ends.
        self.stall(false);
    }
}

fn measured(backends: &[&Paced], algorithm: Algorithm) -> Config {
    let addresses: Vec<SocketAddr> = backends.iter().map(|paced| paced.backend.address).collect();
    let mut config = config(&addresses);
    config.pools[0].algorithm = algorithm;
    if algorithm == Algorithm::PeakEwma {
        config.pools[0].response_time.statistic = Statistic::PeakEwma;
    }
    config
}

/// One request and its answer; gives up with a reset after a while. Whether it was answered.
fn ask(address: SocketAddr, patience: Duration) -> bool {
    let mut client = connect(address);
    client.set_read_timeout(Some(patience)).unwrap();
    client.write_all(b"?").unwrap();
    let is_answered = matches!(client.read(&mut [0; 1]), Ok(1));
    if !is_answered {
        reset(client);
    }
    is_answered
}

/// So many clients at once, each of which asks so often.
fn ask_many(address: SocketAddr, clients: usize, times: usize) {
    let client = |_| {
        thread::spawn(move || {
            for _ in 0..times {
                assert!(ask(address, DEADLINE));
            }
        })
    };
    let clients: Vec<_> = (0..clients).map(client).collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
}

#[test]
fn a_slow_backend_gets_at_most_the_share_that_its_speed_earns() {
    for algorithm in [Algorithm::LeastResponseTime, Algorithm::PeakEwma] {
        let (fast, other, slow) = (Paced::new(5), Paced::new(5), Paced::new(200));
        let ringway = Ringway::start(measured(&[&slow, &fast, &other], algorithm));
        // Before anything has been measured everybody is taken to be the same.
        ask_many(ringway.address(), 4, 10);
        let before = slow.accepted();
        ask_many(ringway.address(), 4, 100);
        let got = slow.accepted() - before;
        // A fortieth of the speed beside two: 1 in 81 of 400, and by turns 133. A peak remembers each moment in which the
        // machine had other things to do, for the fast ones too.
        let allowed = if algorithm == Algorithm::PeakEwma { 40 } else { 10 };
        assert!(got <= allowed, "{algorithm:?}: {got} of 400");
        assert!(before >= 1, "it was never tried");
        for quick in [&fast, &other] {
            assert!(quick.accepted() > 100, "{algorithm:?}: {}", quick.accepted());
        }
        ringway.finish();
    }
}

#[test]
fn a_stalled_backend_is_not_picked_any_more_although_nobody_has_the_patience_to_wait_there() {
    let (stalls, steady, other) = (Paced::new(1), Paced::new(1), Paced::new(1));
    // Longer than a busy machine takes to notice, and to answer.
    const PATIENCE: Duration = Duration::from_millis(200);
    let ringway = Ringway::start(measured(&[&stalls, &steady, &other], Algorithm::LeastResponseTime));
    let address = ringway.address();
    ask_many(address, 4, 50);
    assert!(stalls.accepted() > 30);
    stalls.stall(true);
    let before = stalls.accepted();
    let (answered, begun) = (AtomicUsize::new(0), Instant::now());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while answered.load(Ordering::SeqCst) < 4000 || begun.elapsed() < 40 * PATIENCE {
                    let is_answered = ask(address, PATIENCE);
                    answered.fetch_add(usize::from(is_answered), Ordering::SeqCst);
                }
            });
        }
    });
    // Some are caught before it is noticed. Whoever picked by what was measured before would come back each time that
    // the last one has left: some 40 times in this test, or more.
    let caught = stalls.accepted() - before;
    assert!((1..=15).contains(&caught), "{caught} were caught");
    drop(stalls);
    ringway.finish();
}

#[test]
fn one_that_recovers_is_back_when_what_was_measured_is_too_old() {
    for algorithm in [Algorithm::LeastResponseTime, Algorithm::PeakEwma] {
        let (recovers, steady) = (Paced::new(300), Paced::new(2));
        let mut config = measured(&[&recovers, &steady], algorithm);
        config.pools[0].response_time.window = Duration::from_secs(1);
        let ringway = Ringway::start(config);
        ask_many(ringway.address(), 4, 25);
        let slow = recovers.accepted();
        assert!(slow < 25, "{algorithm:?}: {slow} of 100");
        recovers.after_ms.store(2, Ordering::SeqCst);
        // Within the deadline, whatever else the machine does: half of the sessions go there again.
        await_that("it has its share again", || {
            let before = recovers.accepted();
            ask_many(ringway.address(), 4, 25);
            recovers.accepted() - before >= 30
        });
        ringway.finish();
    }
}

#[test]
fn each_signal_is_measured_where_it_is_due() {
    // The backend takes its time before its first byte and again before its end.
    let backend = TestBackend::new(|mut stream: TcpStream| {
        if stream.read_exact(&mut [0; 1]).is_ok() {
            thread::sleep(Duration::from_millis(60));
            let _ = stream.write_all(b"a");
            thread::sleep(Duration::from_millis(120));
        }
    });
    for (signal, least, most) in
        [(Signal::Connect, 0.0, 30.0), (Signal::FirstByte, 60.0, 120.0), (Signal::Session, 180.0, 1000.0)]
    {
        let mut config = config(&[backend.address]);
        config.pools[0].algorithm = Algorithm::LeastResponseTime;
        config.pools[0].response_time.signal = signal;
        let ringway = Ringway::start(config);
        let known = || ringway.server().times().get(ringway::table::BackendId::new(0));
        // A busy machine can only make a time longer: the shortest of some. While a session runs its wait may be the figure.
        let mut shortest = f64::INFINITY;
        // What comes later must not be in it; a machine that is very slow gets another chance.
        await_that(&format!("{signal:?}: less than {most} ms"), || {
            let mut client = ringway.connect();
            client.write_all(b"?").unwrap();
            assert_eq!(read_all(&mut client), b"a");
            await_that("it is measured", || known().is_fresh() && known().nanos() / 1e6 >= least);
            shortest = shortest.min(known().nanos() / 1e6);
            shortest < most
        });
        ringway.finish();
    }
}

#[test]
fn where_the_server_speaks_first_its_greeting_is_what_is_measured() {
    let backend = TestBackend::new(|mut stream: TcpStream| {
        thread::sleep(Duration::from_millis(50));
        let _ = stream.write_all(b"220 ready\r\n");
        let _ = stream.read_exact(&mut [0; 1]);
    });
    let mut config = config(&[backend.address]);
    config.pools[0].algorithm = Algorithm::LeastResponseTime;
    one_worker(&mut config);
    let ringway = Ringway::start(config);
    let id = ringway::table::BackendId::new(0);
    let greeted = |pause: Duration| {
        let mut client = ringway.connect();
        let mut greeting = [0; 11];
        client.read_exact(&mut greeting).unwrap();
        // What the client says later is no request whose answer is owed, and its pause is not the backend's.
        thread::sleep(pause);
        client.write_all(b"q").unwrap();
        assert_eq!(read_all(&mut client), b"");
    };
    // Three in a row show it.
    (0..3).for_each(|_| greeted(Duration::ZERO));
    assert!(ringway.server().times().get(id).is_unknown());
    let pause = Duration::from_secs(1);
    (0..3).for_each(|_| greeted(pause));
    let known = || ringway.server().times().get(id).nanos() / 1e6;
    await_that("it is measured", || known() >= 50.0);
    assert!(known() < pause.as_secs_f64() * 1e3, "{}", known());
    ringway.finish();
}

#[test]
fn a_word_to_a_silent_client_does_not_make_a_server_one_that_speaks_first() {
    // As web servers do: a request is answered at once, silence with a word after a while.
    let backend = TestBackend::new(|mut stream: TcpStream| {
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let answer: &[u8] = if stream.read_exact(&mut [0; 1]).is_ok() { b"200" } else { b"408" };
        let _ = stream.write_all(answer);
    });
    let mut config = config(&[backend.address]);
    config.pools[0].algorithm = Algorithm::LeastResponseTime;
    one_worker(&mut config);
    let ringway = Ringway::start(config);
    assert!(ask(ringway.address(), DEADLINE));
    assert_eq!(read_all(&mut ringway.connect()), b"408");
    let mut silent = ringway.connect();
    await_that("it is served", || backend.accepted() == 3);
    // Nothing is owed to who has said nothing.
    let waits = ringway.server().stats().waits(ringway::table::BackendId::new(0), Duration::ZERO);
    assert_eq!(waits.count, 0);
    assert_eq!(read_all(&mut silent), b"408");
    drop(silent);
    ringway.finish();
}
