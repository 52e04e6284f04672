//! What a check over UDP passes and fails, against real sockets and a real name server.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use ringway::config::{Check, Datagrams, Expect, InitialState, Pool};
use ringway::table::State;

use crate::common::*;
use crate::peers::Server;

/// Long enough for the first verdict on a busy machine; the second check is far away.
const LONG: Duration = Duration::from_secs(20);
/// Where the time has to run out.
const SHORT: Duration = Duration::from_secs(2);

/// A backend of datagrams on a thread of its own: what it gets goes to a function, with the socket it came to. Ends by drop.
struct Echo {
    address: SocketAddr,
    heard: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Echo {
    fn new(mut answer: impl FnMut(&UdpSocket, SocketAddr, &[u8], usize) + Send + 'static) -> Echo {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let address = socket.local_addr().unwrap();
        let (heard, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, is_over) = (Arc::clone(&heard), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            let mut buffer = [0; 65_535];
            while !is_over.load(Ordering::SeqCst) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
                let before = count.fetch_add(1, Ordering::SeqCst);
                answer(&socket, from, &buffer[..length], before);
            }
        });
        Echo { address, heard, stop, thread: Some(thread) }
    }

    fn heard(&self) -> usize {
        self.heard.load(Ordering::SeqCst)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = self.thread.take().unwrap().join();
    }
}

/// A pool of one backend that is down until its first check passes, and whose first check decides.
fn pool(address: SocketAddr, send: &[u8], expect: Option<Expect>, timeout: Duration) -> Pool {
    let mut pool = config(&[address]).pools.remove(0);
    pool.health.check = Check::Udp(Datagrams { send: send.to_vec(), expect });
    pool.health.initial_state = InitialState::FullyDown;
    (pool.health.rise, pool.health.fall) = (NonZeroU32::MIN, NonZeroU32::MIN);
    let intervals =
        [&mut pool.health.interval, &mut pool.health.fast_interval, &mut pool.health.down_interval];
    intervals.into_iter().for_each(|interval| *interval = LONG);
    pool.health.timeout = timeout;
    pool
}

/// Makes each check once: it must pass (`None`), or fail and say this.
fn assert_verdicts(checks: Vec<(Pool, Option<&str>)>) {
    assert!(!checks.is_empty());
    let (mut pools, expected): (Vec<Pool>, Vec<Option<&str>>) = checks.into_iter().unzip();
    for (index, pool) in pools.iter_mut().enumerate() {
        pool.name = format!("pool-{index}");
    }
    let mut config = config(&[]);
    config.pools = pools;
    let ringway = Ringway::start(config);
    for (index, expected) in expected.into_iter().enumerate() {
        let health = || ringway.server().table().backends[index].health.clone();
        await_that("the first check", || &*health().reason != "not checked yet");
        let (state, reason) = (health().state, health().reason.to_string());
        match expected {
            None => assert_eq!((state, reason.as_str()), (State::Up, "check passed"), "check {index}"),
            Some(words) => {
                assert_eq!(state, State::Down, "check {index}: {reason}");
                assert!(
                    reason.starts_with("check failed: ") && reason.contains(words),
                    "check {index}: {reason}"
                );
            }
        }
    }
    ringway.finish();
}

fn bytes(bytes: &[u8]) -> Option<Expect> {
    Some(Expect::Bytes(bytes.to_vec()))
}

fn regex(text: &str) -> Option<Expect> {
    Some(Expect::Regex(regex::bytes::Regex::new(text).unwrap()))
}

fn reply(socket: &UdpSocket, to: SocketAddr, bytes: &[u8]) {
    // Nobody may be left who wants it.
    let _ = socket.send_to(bytes, to);
}

#[test]
fn a_datagram_is_sent_and_one_that_has_what_is_expected_passes() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let words = Arc::clone(&heard);
    let backend = Echo::new(move |socket, from, bytes, _| {
        words.lock().unwrap().push(bytes.to_vec());
        // In three datagrams: the one that counts comes last, and an empty one is a datagram too.
        reply(socket, from, b"first");
        reply(socket, from, b"");
        reply(socket, from, b"+PONG 42");
    });
    let with = |expect| pool(backend.address, b"PING", expect, LONG);
    let fails = |expect| pool(backend.address, b"PING", expect, SHORT);
    assert_verdicts(vec![
        (with(None), None),
        (with(bytes(b"+PONG")), None),
        (with(bytes(b"first")), None),
        (with(regex(r"^\+PONG \d+$")), None),
        // Each datagram is an answer of its own.
        (fails(bytes(b"first+PONG")), Some(r#"answer "+PONG 42", expected "first+PONG" within 2s"#)),
        (fails(regex("^PONG")), Some(r#"expected a match of "^PONG" within 2s"#)),
    ]);
    assert!(heard.lock().unwrap().iter().all(|bytes| bytes == b"PING"));
}

#[test]
fn two_datagrams_that_are_lost_fail_no_check() {
    let backend = Echo::new(|socket, from, _, before| {
        if before >= 2 {
            reply(socket, from, b"at last");
        }
    });
    assert_verdicts(vec![(pool(backend.address, b"?", bytes(b"at last"), SHORT * 2), None)]);
    assert_eq!(backend.heard(), 3);
}

#[test]
fn silence_fails_where_something_is_expected_and_passes_where_nothing_is() {
    let (silent, still) = (Echo::new(|_, _, _, _| {}), Echo::new(|_, _, _, _| {}));
    assert_verdicts(vec![
        (pool(silent.address, b"?", bytes(b"!"), SHORT), Some("no answer within 2s, asked 3 times")),
        (pool(still.address, b"?", None, SHORT), None),
    ]);
    assert_eq!((silent.heard(), still.heard()), (3, 3));
}

#[test]
fn a_port_that_nobody_has_fails_at_once_also_where_nothing_is_expected() {
    let nobody = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let nobody_v6 = UdpSocket::bind(("::1", 0)).unwrap().local_addr().unwrap();
    assert_verdicts(vec![
        (pool(nobody, b"?", None, LONG), Some("port unreachable")),
        (pool(nobody, b"?", bytes(b"!"), LONG), Some("port unreachable")),
        (pool(nobody_v6, b"?", None, LONG), Some("port unreachable")),
    ]);
}

#[test]
fn nobody_else_can_answer() {
    let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let backend = Echo::new(move |socket, from, _, before| {
        reply(&stranger, from, b"yes");
        if before == 2 {
            reply(socket, from, b"no");
        }
    });
    assert_verdicts(vec![(
        pool(backend.address, b"?", bytes(b"yes"), SHORT),
        Some(r#"answer "no", expected "yes""#),
    )]);
}

#[test]
fn who_talks_without_an_end_is_not_listened_to_for_ever() {
    let backend = Echo::new(|socket, from, _, _| (0..200).for_each(|_| reply(socket, from, b"bla")));
    assert_verdicts(vec![(pool(backend.address, b"?", bytes(b"!"), LONG), Some("and 64 such datagrams"))]);
}

#[test]
fn a_name_server_is_asked_as_in_the_example() {
    let example = ringway::config::parse("f", include_str!("../../examples/health-checks.toml")).unwrap();
    let check = example.pools.iter().find(|pool| pool.name == "dns").unwrap().health.check.clone();
    let dnsmasq = Server::dnsmasq("example.com");
    // Knows another name only, asks nobody, and so refuses.
    let ignorant = Server::dnsmasq("example.org");
    let asks = |server: &Server, timeout| {
        let mut pool = pool(server.address, b"?", None, timeout);
        pool.health.check = check.clone();
        pool
    };
    assert_verdicts(vec![
        (asks(&dnsmasq, LONG), None),
        (asks(&ignorant, SHORT), Some(r#"answer "\x1a+\x81\x85"#)),
    ]);
}
