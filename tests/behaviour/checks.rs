//! What each kind of check passes and fails, against real servers.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use ringway::config::{Check, Exchange, Expect, HttpCheck, InitialState, Pool, TlsCheck};
use ringway::server;
use ringway::table::State;

use crate::common::*;
use crate::peers::{Authority, Server};

/// Long enough for the first verdict on a busy machine; the second check is far away.
pub const LONG: Duration = Duration::from_secs(20);

/// A pool of one backend that is down until its first check passes, and whose first check decides.
pub fn pool(address: SocketAddr, check: Check) -> Pool {
    let mut pool = config(&[address]).pools.remove(0);
    pool.health.check = check;
    pool.health.initial_state = InitialState::FullyDown;
    (pool.health.rise, pool.health.fall) = (NonZeroU32::MIN, NonZeroU32::MIN);
    let intervals =
        [&mut pool.health.interval, &mut pool.health.fast_interval, &mut pool.health.down_interval];
    intervals.into_iter().for_each(|interval| *interval = LONG);
    pool.health.timeout = LONG;
    pool
}

/// Runs with these pools.
fn start(pools: Vec<Pool>) -> Ringway {
    let mut config = config(&[]);
    config.pools = pools;
    for (index, pool) in config.pools.iter_mut().enumerate() {
        pool.name = format!("pool-{index}");
    }
    Ringway::start(config)
}

/// What the first check of a backend says.
fn verdict(ringway: &Ringway, backend: usize) -> (State, String) {
    let health = || ringway.server().table().backends[backend].health.clone();
    await_that("the first check", || &*health().reason != "not checked yet");
    (health().state, health().reason.to_string())
}

/// Makes each check once: it must pass (`None`), or fail and say this.
pub fn assert_verdicts(checks: Vec<(Pool, Option<&str>)>) {
    assert!(!checks.is_empty());
    let (pools, expected): (Vec<Pool>, Vec<Option<&str>>) = checks.into_iter().unzip();
    let ringway = start(pools);
    for (index, expected) in expected.into_iter().enumerate() {
        let (state, reason) = verdict(&ringway, index);
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

pub fn bytes(bytes: &[u8]) -> Option<Expect> {
    Some(Expect::Bytes(bytes.to_vec()))
}

pub fn regex(text: &str) -> Option<Expect> {
    Some(Expect::Regex(regex::bytes::Regex::new(text).unwrap()))
}

/// Says hello in two parts; answers `PING` and ends the stream.
fn talker(mut stream: std::net::TcpStream) {
    stream.write_all(b"\x00\x01hel").unwrap();
    stream.flush().unwrap();
    let _ = stream.write_all(b"lo 42\r\n");
    let mut request = [0; 4];
    if stream.read_exact(&mut request).is_ok() && &request == b"PING" {
        let _ = stream.write_all(b"+PONG\r\n");
    }
}

#[test]
fn a_tcp_check_sends_and_finds_what_it_expects_or_says_what_came() {
    let backend = TestBackend::new(talker);
    let tcp =
        |send: &[u8], expect| pool(backend.address, Check::Tcp(Exchange { send: send.to_vec(), expect }));
    let mut waits_in_vain = tcp(b"", bytes(b"never"));
    waits_in_vain.health.timeout = Duration::from_secs(2);
    assert_verdicts(vec![
        (tcp(b"", None), None),
        (tcp(b"", bytes(b"hello")), None),
        (tcp(b"", bytes(b"\x00\x01h")), None),
        (tcp(b"PING", bytes(b"+PONG")), None),
        (tcp(b"", regex(r"hello \d+")), None),
        (
            tcp(b"PONG", bytes(b"+PONG")),
            Some(r#"answer "\x00\x01hello 42\r\n", expected "+PONG" before the end"#),
        ),
        (tcp(b"PONG", regex("^hello")), Some(r#"expected a match of "^hello" before the end"#)),
        (waits_in_vain, Some(r#"hello 42\r\n", expected "never" within 2s"#)),
    ]);
}

#[test]
fn an_answer_that_does_not_end_is_not_read_for_ever() {
    let backend = TestBackend::new(|mut stream| while stream.write_all(&[b'x'; 8192]).is_ok() {});
    let check = Check::Tcp(Exchange { send: Vec::new(), expect: bytes(b"y") });
    assert_verdicts(vec![(pool(backend.address, check), Some("and too much of it"))]);
}

#[test]
fn nobody_there_fails_every_check_over_a_socket() {
    let (nobody, _bound) = refusing();
    assert_verdicts(vec![
        (pool(nobody, Check::Tcp(Exchange::default())), Some("refused")),
        (pool(nobody, Check::Http(http("/"))), Some("refused")),
        (pool(nobody, Check::Https(http("/"), unverified())), Some("refused")),
    ]);
}

pub fn http(path: &str) -> HttpCheck {
    HttpCheck { method: "GET".into(), path: path.into(), host: None, status: vec![(200, 399)], body: None }
}

const LOCATIONS: &str = "location /well { return 200 'all is well'; } location /sick { return 503 'not now'; } \
                         location /moved { return 301 /well; } location /empty { return 204; }";

#[test]
fn an_http_check_looks_at_the_status_and_at_the_body() {
    let nginx = Server::nginx(LOCATIONS, None);
    let with = |check| pool(nginx.address, Check::Http(check));
    let body = |path, body| with(HttpCheck { body, ..http(path) });
    let status = |path, status| with(HttpCheck { status, ..http(path) });
    assert_verdicts(vec![
        (with(http("/well?full=1")), None),
        (with(http("/moved")), None),
        (with(http("/sick")), Some("status 503, expected 200-399")),
        (with(HttpCheck { method: "HEAD".into(), ..http("/well") }), None),
        (status("/sick", vec![(200, 299), (503, 503)]), None),
        (status("/well", vec![(300, 399), (404, 404)]), Some("status 200, expected 300-399, 404")),
        (body("/well", bytes(b"is well")), None),
        (body("/well", regex("^all .* well$")), None),
        (body("/well", bytes(b"is sick")), Some(r#"status 200, body "all is well", expected "is sick""#)),
        (body("/empty", bytes(b"x")), Some(r#"status 204, body "", expected "x""#)),
        // The end stands behind what is looked at.
        (body("/large", bytes(b"end")), Some("in the first part of it")),
    ]);
}

#[test]
fn an_http_check_says_who_it_is_and_that_it_wants_one_answer() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let requests = Arc::clone(&heard);
    let backend = TestBackend::new(move |mut stream| {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if stream.read_exact(&mut byte).is_err() {
                return;
            }
            head.push(byte[0]);
        }
        requests.lock().unwrap().push(String::from_utf8(head).unwrap().to_lowercase());
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    let named = HttpCheck { host: Some("www.example.org".into()), ..http("/a") };
    assert_verdicts(vec![
        (pool(backend.address, Check::Http(http("/b?c=d"))), None),
        (pool(backend.address, Check::Http(named)), None),
    ]);
    let mut heard = heard.lock().unwrap().clone();
    heard.sort();
    assert_eq!(heard.len(), 2);
    assert!(heard[0].starts_with("get /a http/1.1\r\n") && heard[1].starts_with("get /b?c=d http/1.1\r\n"));
    assert!(heard[0].contains("\r\nhost: www.example.org\r\n"));
    assert!(heard[1].contains(&format!("\r\nhost: {}\r\n", backend.address)));
    for request in &*heard {
        assert!(
            request.contains("\r\nuser-agent: ringway\r\n") && request.contains("\r\nconnection: close\r\n")
        );
    }
}

#[test]
fn an_answer_that_is_not_http_fails() {
    let other = TestBackend::new(|mut stream| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n");
    });
    let cut = TestBackend::new(|mut stream| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort");
    });
    let body = HttpCheck { body: bytes(b"long"), ..http("/") };
    assert_verdicts(vec![
        (pool(other.address, Check::Http(http("/"))), Some("invalid HTTP version parsed")),
        (pool(cut.address, Check::Http(body)), Some("end of file before message length reached")),
    ]);
}

fn verified(name: Option<&str>, authorities: &Path) -> TlsCheck {
    TlsCheck { name: name.map(str::to_owned), verify: true, authorities: Some(authorities.to_owned()) }
}

fn unverified() -> TlsCheck {
    TlsCheck { name: None, verify: false, authorities: None }
}

#[test]
fn an_https_check_trusts_whom_it_was_told_to_trust() {
    let (authority, stranger) = (Authority::new("backend.test"), Authority::new("backend.test"));
    let nginx = Server::nginx(LOCATIONS, Some(&authority));
    let old = Server::openssl(&authority, "-tls1_2");
    let https = |server: &Server, path, tls| pool(server.address, Check::Https(http(path), tls));
    let ours = |name| verified(name, &authority.file());
    assert_verdicts(vec![
        (https(&nginx, "/well", ours(Some("backend.test"))), None),
        (https(&nginx, "/sick", ours(Some("backend.test"))), Some("status 503")),
        (
            https(&nginx, "/well", ours(Some("other.test"))),
            Some("certificate not valid for name \"other.test\""),
        ),
        // Without a name the certificate must be one for the address.
        (https(&nginx, "/well", ours(None)), Some("certificate not valid for name")),
        (
            https(&nginx, "/well", verified(Some("backend.test"), &stranger.file())),
            Some("invalid peer certificate"),
        ),
        (https(&nginx, "/well", unverified()), None),
        (https(&old, "/", ours(Some("backend.test"))), None),
        (https(&old, "/", unverified()), None),
    ]);
}

#[test]
fn a_server_without_tls_fails_an_https_check() {
    let nginx = Server::nginx(LOCATIONS, None);
    assert_verdicts(vec![(pool(nginx.address, Check::Https(http("/well"), unverified())), Some("TLS: "))]);
}

#[test]
fn authorities_that_cannot_be_read_are_told_at_the_start_and_nothing_is_bound() {
    let folder = tempfile::tempdir().unwrap();
    let (missing, empty, broken) =
        (folder.path().join("missing"), folder.path().join("empty"), folder.path().join("broken"));
    fs::write(&empty, "nothing in it\n").unwrap();
    fs::write(&broken, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    for (path, why) in [(missing, "No such file"), (empty, "no certificate"), (broken, "")] {
        let (address, _bound) = refusing();
        let mut config = config(&[address]);
        config.listeners[0].bind = vec![address.into()];
        config.pools[0].health.check = Check::Https(http("/"), verified(None, &path));
        let Err(error) = server::Server::start(config, 0) else { panic!("{} was taken", path.display()) };
        let text = error.to_string();
        assert!(text.starts_with("pool test: ") && text.contains(&path.display().to_string()), "{text}");
        assert!(text.contains(why) && text.contains("give a PEM file"), "{text}");
        drop(TcpListener::bind(address).expect("nothing is bound"));
    }
}

fn shell(script: &str) -> Check {
    Check::Command(["/bin/sh", "-c", script].map(str::to_owned).into())
}

#[test]
fn a_command_passes_by_its_exit_status_and_knows_whom_it_checks() {
    let (address, _bound) = refusing();
    let facts = format!(
        "test \"$RINGWAY_BACKEND_NAME/$RINGWAY_BACKEND_ADDRESS/$RINGWAY_BACKEND_PORT/$RINGWAY_POOL\" \
         = 'web 1/127.0.0.1/{}/pool-1'",
        address.port()
    );
    let mut named = pool(address, shell(&facts));
    named.backends[0].name = "web 1".into();
    assert_verdicts(vec![
        (pool(address, shell("exit 0")), None),
        (named, None),
        (
            pool(address, shell("echo to nobody; echo >&2; echo 'disk is full' >&2; echo more >&2; exit 3")),
            Some("exit status: 3: \"disk is full\""),
        ),
        // More than a pipe holds: nobody waits for a reader.
        (pool(address, shell("head -c 300000 /dev/zero >&2; exit 1")), Some("exit status: 1")),
        (pool(address, shell("kill -9 $$")), Some("signal: 9")),
        // Who is left behind with the standard error is not waited for.
        (pool(address, shell("sleep 5 & exit 0")), None),
        (
            pool(address, Check::Command(vec!["/nonexistent/check".into()])),
            Some("cannot be run: No such file"),
        ),
    ]);
}

/// The processes that have this word among their arguments, with their states.
fn processes(word: &str) -> Vec<(u32, char)> {
    let folders =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    let pids = folders.filter_map(|name| name.parse().ok());
    pids.filter_map(|pid: u32| {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let is_it = arguments.split(|&byte| byte == 0).any(|argument| argument == word.as_bytes());
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let state = stat.rsplit(") ").next()?.chars().next()?;
        is_it.then_some((pid, state))
    })
    .collect()
}

fn children_that_are_zombies() -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let children = tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("children")).ok());
    let pids: Vec<String> =
        children.flat_map(|text| text.split(' ').map(str::to_owned).collect::<Vec<_>>()).collect();
    let is_zombie = |pid: &&String| {
        fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(" (sh) Z "))
    };
    pids.iter().filter(is_zombie).count()
}

#[test]
fn a_command_that_takes_too_long_is_ended_with_all_that_it_started() {
    let (address, _bound) = refusing();
    // A number that nobody else sleeps for tells whose it is.
    let seconds = format!("86{:05}", std::process::id() % 100_000);
    let mut slow =
        pool(address, shell(&format!("echo waiting >&2; sleep {seconds} & sleep {seconds}; exit 0")));
    slow.health.timeout = Duration::from_secs(3);
    let ringway = start(vec![slow]);
    await_that("it runs", || !processes(&seconds).is_empty());
    let (state, reason) = verdict(&ringway, 0);
    assert_eq!((state, reason.as_str()), (State::Down, "check failed: no exit within 3s: \"waiting\""));
    await_that("nobody is left", || processes(&seconds).is_empty());
    await_that("nobody is left unburied", || children_that_are_zombies() == 0);
    ringway.finish();
}

#[test]
fn a_command_that_runs_at_the_end_does_not_outlive_ringway() {
    let (address, _bound) = refusing();
    let seconds = format!("87{:05}", std::process::id() % 100_000);
    let ringway = start(vec![pool(address, shell(&format!("sleep {seconds} & sleep {seconds}; exit 0")))]);
    await_that("it runs", || processes(&seconds).len() >= 2);
    ringway.finish();
    await_that("nobody is left", || processes(&seconds).is_empty());
    await_that("nobody is left unburied", || children_that_are_zombies() == 0);
}

#[test]
fn another_port_is_checked_and_another_address_goes_before_it() {
    let (serves, checks) = (TestBackend::named("serves"), TestBackend::named("checks"));
    let (nobody, _bound) = refusing();
    let named = |name: &str| Check::Tcp(Exchange { send: Vec::new(), expect: bytes(name.as_bytes()) });
    let with = |check, port: Option<SocketAddr>, address| {
        let mut pool = pool(serves.address, check);
        pool.health.port = port.map(|address| address.port());
        pool.backends[0].check_address = address;
        pool
    };
    assert_verdicts(vec![
        (with(named("serves"), None, None), None),
        (with(named("checks"), Some(checks.address), None), None),
        (with(named("checks"), None, Some(checks.address.into())), None),
        (with(named("checks"), Some(nobody), Some(checks.address.into())), None),
        (with(named("serves"), Some(nobody), None), Some("refused")),
    ]);
}

#[test]
fn what_is_held_of_a_backend_before_its_first_check_is_as_asked() {
    let (silent, _held) = blackhole();
    for (initial, state) in [
        (InitialState::FullyUp, State::Up),
        (InitialState::Up, State::Up),
        (InitialState::Down, State::Down),
        (InitialState::FullyDown, State::Down),
    ] {
        let mut pool = pool(silent, Check::Tcp(Exchange::default()));
        pool.health.initial_state = initial;
        let ringway = start(vec![pool]);
        let health = ringway.server().table().backends[0].health.clone();
        assert_eq!((health.state, &*health.reason), (state, "not checked yet"), "{initial:?}");
    }
}

#[test]
fn rise_passes_bring_in_one_that_begins_fully_down_and_one_brings_in_one_that_begins_down() {
    let passes = |initial, at_least: usize| {
        let backend = TestBackend::named("x");
        let mut pool = pool(backend.address, Check::Tcp(Exchange::default()));
        pool.health.initial_state = initial;
        pool.health.rise = NonZeroU32::new(4).unwrap();
        pool.health.fast_interval = Duration::from_millis(300);
        let ringway = start(vec![pool]);
        await_that("it is up", || ringway.server().table().backends[0].health.state == State::Up);
        // It is up before the backend's own thread has counted all of them; the next check is far away.
        await_that("it was checked", || backend.accepted() >= at_least);
        backend.accepted()
    };
    assert_eq!(passes(InitialState::FullyDown, 4), 4);
    assert_eq!(passes(InitialState::Down, 1), 1);
}

#[test]
fn checks_that_hang_delay_no_others() {
    let (backend, (silent, _held)) = (TestBackend::named("x"), blackhole());
    let mut pools: Vec<Pool> = (0..4).map(|_| pool(backend.address, shell("sleep 1000"))).collect();
    pools.extend((0..4).map(|_| pool(silent, Check::Tcp(Exchange::default()))));
    pools.push(pool(backend.address, shell("exit 0")));
    pools.push(pool(backend.address, Check::Tcp(Exchange::default())));
    let ringway = start(pools);
    for backend in [8, 9] {
        assert_eq!(verdict(&ringway, backend), (State::Up, "check passed".into()));
    }
    let hang =
        (0..8).all(|backend| &*ringway.server().table().backends[backend].health.reason == "not checked yet");
    assert!(hang, "they had their verdict first");
}

#[test]
fn two_thousand_backends_are_all_checked_as_often() {
    const BACKENDS: usize = 2_000;
    // Room for all at once: a connection that is reset before there is room is never accepted, and not counted.
    let listener = listen_with_backlog(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), 4096);
    let port = listener.local_addr().unwrap().port();
    let counts: Arc<Mutex<HashMap<IpAddr, usize>>> = Arc::default();
    let counted = Arc::clone(&counts);
    thread::spawn(move || {
        for stream in listener.incoming() {
            // The address is also known of a connection that has been reset since.
            if let Ok(address) = stream.and_then(|stream| stream.local_addr()) {
                *counted.lock().unwrap().entry(address.ip()).or_default() += 1;
            }
        }
    });
    let address = |index: usize| {
        let address = Ipv4Addr::new(127, 1, (index / 250) as u8, 1 + (index % 250) as u8);
        SocketAddr::from((address, port))
    };
    let addresses: Vec<SocketAddr> = (0..BACKENDS).map(address).collect();
    let mut config = config(&addresses);
    let health = &mut config.pools[0].health;
    health.check = Check::Tcp(Exchange::default());
    health.interval = Duration::from_secs(2);
    health.fast_interval = Duration::from_secs(2);
    health.down_interval = Duration::from_secs(2);
    health.timeout = Duration::from_secs(2);
    health.jitter = 10;
    let ringway = Ringway::start(config);
    let spread = || {
        let counts = counts.lock().unwrap();
        let least = if counts.len() == BACKENDS { *counts.values().min().unwrap() } else { 0 };
        (least, counts.values().max().copied().unwrap_or(0))
    };
    await_that("each was checked four times", || spread().0 >= 4);
    let (least, most) = spread();
    assert!(most <= least + 2, "the slowest was checked {least} times and the fastest {most} times");
    let states = ringway.server().table();
    assert!(states.backends.iter().all(|backend| backend.health.state == State::Up));
    ringway.finish();
}
