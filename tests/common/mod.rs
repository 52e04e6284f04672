//! What the behaviour tests share: a ringway in this process, backends on real sockets, clients with deadlines.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use ringway::config::{
    Accept, Access, Algorithm, Backend, Bandwidth, Check, Choice, Config, Ejection, Engine, Health,
    InitialState, Listener, ListenerLimits, ListeningSocket, LogLevel, NoBackend, OnDown, Otherwise, Pool,
    PoolSocket, PoolSource, PowerOfTwoBy, Protocol, ResponseTime, Server, Signal, Statistic, TcpOptions, Tls,
    Udp, Workers,
};
use ringway::end::End;
use ringway::server;
use ringway::stats::{Stats, Totals};

/// Long enough for a busy machine; a test that waits this long has failed.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Any free port of the loopback.
pub fn any_port() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

/// What carries small messages: the default, unless the whole run is for another (RINGWAY_TEST_ENGINE=fixed).
fn engine() -> Engine {
    let Some(word) = std::env::var_os("RINGWAY_TEST_ENGINE") else { return Engine::Auto };
    let engine = Engine::ALL.iter().find(|engine| word == engine.word());
    *engine.unwrap_or_else(|| panic!("RINGWAY_TEST_ENGINE: there is no engine {}", word.display()))
}

/// A configuration with one listener on a free port and one pool of these backends; tests alter what they are about.
pub fn config(backends: &[SocketAddr]) -> Config {
    let tcp = TcpOptions { nodelay: true, keepalive: None, user_timeout: None };
    let backend = |&address: &SocketAddr| Backend {
        name: address.to_string(),
        address: address.into(),
        weight: NonZeroU32::MIN,
        backup: false,
        max_connections: None,
        check_address: None,
    };
    Config {
        server: Server {
            workers: Workers::Count(NonZeroUsize::new(2).unwrap()),
            engine: engine(),
            busy_poll: Duration::ZERO,
            drain_timeout: DEADLINE,
            removed_drain_timeout: DEADLINE,
            upgrade_timeout: DEADLINE,
            sessions_max: NonZeroUsize::new(4000),
            rate_max: None,
            buffer_size: 16 * 1024,
            buffers_per_worker: 64,
            large_buffers_per_worker: 8,
            pipes_per_worker: 8,
            status_interval: None,
            log: LogLevel::Warn,
            record: None,
            run_as: None,
        },
        access_log: None,
        admin: None,
        listeners: vec![Listener {
            name: "test".into(),
            bind: vec![any_port().into()],
            protocol: Protocol::Tcp,
            pool: 0,
            tls: Tls {
                hello_timeout: DEADLINE,
                hello_bytes_max: 16 << 10,
                unmatched: Otherwise::Pool,
                no_hello: Otherwise::Pool,
            },
            routes: Vec::new(),
            backlog: 4096,
            accept: Accept::Reuseport,
            tcp,
            socket: ListeningSocket { mode: 0o660, ..ListeningSocket::default() },
            idle_timeout: None,
            half_closed_timeout: None,
            lifetime_max: None,
            lifetime_jitter: 0,
            no_backend: NoBackend::Reset,
            udp: Udp::DEFAULT,
            access_log: true,
            proxy_protocol: None,
            access: Access::default(),
            limits: ListenerLimits::default(),
            bandwidth: Bandwidth::default(),
        }],
        pools: vec![Pool {
            name: "test".into(),
            algorithm: Algorithm::RoundRobin,
            power_of_two_by: PowerOfTwoBy::Connections,
            shadow: Vec::new(),
            connect_timeout: Duration::from_secs(5),
            connect_total_timeout: Duration::from_secs(20),
            connect_attempts: None,
            queue_max: 1024,
            queue_timeout: DEADLINE,
            slow_start: None,
            panic_threshold: 0,
            on_down: OnDown::Keep,
            tcp,
            source: PoolSource::default(),
            response_time: ResponseTime {
                signal: Signal::FirstByte,
                statistic: Statistic::P50,
                window: Duration::from_secs(10),
            },
            ejection: Ejection {
                failures: None,
                time: Duration::from_secs(1),
                time_max: Duration::from_secs(10),
                share_max: 50,
                first_byte_timeout: None,
            },
            proxy_protocol: None,
            socket: PoolSocket::default(),
            health: Health {
                // Tests of health turn it on: elsewhere a check would only be one more client of the backends.
                check: Check::None,
                port: None,
                interval: Duration::from_millis(100),
                fast_interval: Duration::from_millis(100),
                down_interval: Duration::from_millis(100),
                jitter: 0,
                initial_state: InitialState::Up,
                timeout: Duration::from_millis(100),
                rise: NonZeroU32::new(2).unwrap(),
                fall: NonZeroU32::new(3).unwrap(),
                passive: true,
                proxy_protocol: false,
            },
            backends: backends.iter().map(backend).collect(),
        }],
    }
}

/// One worker instead of two.
pub fn one_worker(config: &mut Config) {
    config.server.workers = Workers::Count(NonZeroUsize::MIN);
}

/// A ringway in this process.
pub struct Ringway(Option<server::Server>);

impl Ringway {
    pub fn start(config: Config) -> Ringway {
        Ringway(Some(server::Server::start(config, 0).unwrap_or_else(|error| panic!("{error}"))))
    }

    /// One listener, one pool of these backends, nothing special.
    pub fn over(backends: &[SocketAddr]) -> Ringway {
        Ringway::start(config(backends))
    }

    pub fn server(&self) -> &server::Server {
        self.0.as_ref().unwrap()
    }

    pub fn address(&self) -> SocketAddr {
        self.server().addresses(0)[0]
    }

    pub fn connect(&self) -> TcpStream {
        connect(self.address())
    }

    pub fn totals(&self) -> Totals {
        self.server().stats().totals()
    }

    /// How bytes were carried so far, as of the last tick.
    pub fn carried(&self) -> Carried {
        carried(&self.server().stats())
    }

    /// Waits until this many sessions have ended like this.
    pub fn await_end(&self, end: End, count: u64) {
        await_that(&format!("{count} sessions end as {}", end.name()), || self.totals().ended(end) >= count);
    }

    /// Lets every session end, and checks what must hold after the last one: every session has one end, every load is
    /// given back, every cell is in its arena.
    pub fn finish(mut self) -> Totals {
        let mut server = self.0.take().unwrap();
        let backends = server.table().backends.len();
        let reports = server.drain(DEADLINE, || None).unwrap_or_else(|error| panic!("{error}"));
        assert!(!reports.is_empty());
        for report in &reports {
            assert_eq!(report.abandoned, 0);
            assert_eq!(report.cells.0, report.cells.1, "cells that did not come back");
            assert_eq!(report.pipes_lent, 0, "pipes that did not come back");
        }
        let totals = server.stats().totals();
        let carried = carried(&server.stats());
        assert_eq!(carried.bytes(), totals.bytes_to_backend + totals.bytes_to_client, "{carried:?}");
        assert_eq!(totals.active, 0);
        assert_eq!(totals.ended(End::Drained), 0, "sessions that nobody ended");
        assert_eq!(totals.accepted, totals.ends.iter().sum::<u64>());
        for index in 0..backends {
            let id = ringway::table::BackendId::new(index);
            assert_eq!(server.stats().sessions(id), 0, "leases that did not come back");
            let waiting = server.stats().waits(id, Duration::ZERO);
            assert_eq!(waiting.count, 0, "sessions that still count as waiting");
        }
        let stats = server.stats();
        let shadows = stats.workers.iter().flat_map(|worker| worker.shadows.iter().flatten());
        for chosen in shadows.flat_map(|pool| &pool.backends).flat_map(|backend| &backend.0) {
            assert_eq!(chosen.active.get(), 0, "sessions that would still run");
        }
        totals
    }
}

/// How bytes were carried, all workers together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carried {
    pub small: u64,
    pub large: u64,
    pub spliced: u64,
    pub datagrams: u64,
    pub parked: u64,
}

impl Carried {
    pub fn bytes(&self) -> u64 {
        self.small + self.large + self.spliced + self.datagrams
    }
}

fn carried(stats: &Stats) -> Carried {
    Carried {
        small: stats.sum(|worker| &worker.core.carried.small),
        large: stats.sum(|worker| &worker.core.carried.large),
        spliced: stats.sum(|worker| &worker.core.carried.spliced),
        datagrams: stats.sum(|worker| &worker.core.carried.datagrams),
        parked: stats.sum(|worker| &worker.core.carried.parked),
    }
}

impl Drop for Ringway {
    fn drop(&mut self) {
        if let Some(mut server) = self.0.take() {
            let _ = server.drain(Duration::ZERO, || None);
        }
    }
}

/// Polls until it is so, or fails at the deadline.
pub fn await_that(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited {DEADLINE:?} in vain: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A client whose every operation has the deadline.
pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, DEADLINE).unwrap();
    with_deadline(stream)
}

pub fn with_deadline(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Closes with a reset.
pub fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}

/// Everything up to the end of the stream.
pub fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Whatever comes before the stream ends or breaks, and how it does.
pub fn read_until_broken(stream: &mut TcpStream) -> (Vec<u8>, io::Result<()>) {
    let mut bytes = Vec::new();
    let mut buffer = [0; 64 * 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return (bytes, Ok(())),
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) => return (bytes, Err(error)),
        }
    }
}

/// Fails unless the next thing that the stream shows is a reset.
pub fn assert_reset(stream: &mut TcpStream) {
    match stream.read(&mut [0; 16]) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
        other => panic!("expected a reset, got {other:?}"),
    }
}

/// Connects and fails unless that meets a reset. A quick one can already end the connect.
pub fn assert_connect_is_reset(address: SocketAddr) {
    match TcpStream::connect_timeout(&address, DEADLINE) {
        Ok(stream) => assert_reset(&mut with_deadline(stream)),
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
    }
}

/// Sends the bytes and expects the same back.
pub fn assert_echo(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).unwrap();
    let mut back = vec![0; bytes.len()];
    stream.read_exact(&mut back).unwrap();
    assert!(back == bytes, "the echo differs");
}

/// A server on a port of its own, with a thread for each connection.
pub struct TestBackend {
    pub address: SocketAddr,
    /// Nobody else gets the port while this lives, also when it is stopped.
    _port: socket2::Socket,
    accepted: Arc<AtomicUsize>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl TestBackend {
    pub fn new(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> TestBackend {
        TestBackend::at(any_port(), serve)
    }

    /// At this address; after a stop it can be the one from before, as long as that one lives.
    pub fn at(address: SocketAddr, serve: impl Fn(TcpStream) + Send + Sync + 'static) -> TestBackend {
        let (address, port) = reserve(address);
        let listener = listen(address);
        let (accepted, stopping) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, stop, serve) = (Arc::clone(&accepted), Arc::clone(&stopping), Arc::new(serve));
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                count.fetch_add(1, Ordering::SeqCst);
                let serve = Arc::clone(&serve);
                thread::spawn(move || serve(with_deadline(stream)));
            }
        });
        TestBackend { address, _port: port, accepted, stopping, thread: Some(thread) }
    }

    /// Sends back what it gets, and the end of the stream too.
    pub fn echo() -> TestBackend {
        TestBackend::new(echo)
    }

    /// Says its name and closes.
    pub fn named(name: &'static str) -> TestBackend {
        TestBackend::new(move |mut stream| {
            let _ = stream.write_all(name.as_bytes());
        })
    }

    /// Connections so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Refuses connections from now on.
    pub fn stop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.stopping.store(true, Ordering::SeqCst);
            let _ = TcpStream::connect(self.address);
            thread.join().unwrap();
        }
    }
}

impl Drop for TestBackend {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Sends back what it gets, and the end of the stream too.
pub fn echo(mut stream: TcpStream) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                if stream.write_all(&buffer[..count]).is_err() {
                    return;
                }
            }
            Err(_) => return,
        }
    }
    let _ = stream.shutdown(Shutdown::Write);
}

/// An echo server that has no thread for each connection.
pub fn echo_for_many() -> SocketAddr {
    let listener = listen(any_port());
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let mut buffer = [0; 1024];
                    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                        if stream.write_all(&buffer[..count]).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
    });
    address
}

/// Listens with SO_REUSEADDR, as servers do.
pub fn listen(address: SocketAddr) -> TcpListener {
    listen_with_backlog(address, 1024)
}

/// The same, with room for so many connections that nobody has accepted yet.
pub fn listen_with_backlog(address: SocketAddr, backlog: i32) -> TcpListener {
    let socket =
        socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.listen(backlog).unwrap();
    socket.into()
}

/// An address that refuses connections: it was free a moment ago, and stays bound so that nobody else listens there who has not
/// been told of it.
pub fn refusing() -> (SocketAddr, socket2::Socket) {
    reserve(any_port())
}

/// Takes an address without listening there. Whoever knows it can listen there beside this, and nobody else is given its port.
fn reserve(address: SocketAddr) -> (SocketAddr, socket2::Socket) {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&address.into()).unwrap();
    (socket.local_addr().unwrap().as_socket().unwrap(), socket)
}

/// A listener that never answers a connect: its queue is full, for as long as what is returned with it lives.
pub fn blackhole() -> (SocketAddr, (socket2::Socket, Vec<TcpStream>)) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&any_port().into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut queued = Vec::new();
    // Of a machine that is very busy silence says nothing yet: one at least is in it.
    for _ in 0..100 {
        match TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            Ok(stream) => queued.push(stream),
            Err(_) if queued.is_empty() => {}
            Err(_) => break,
        }
    }
    assert!((1..10).contains(&queued.len()), "{} are in a queue for none", queued.len());
    (address, (socket, queued))
}

/// A stream of bytes from a seed, the same each time: no two positions agree for long.
pub struct Noise(u64);

impl Noise {
    pub fn new(seed: u64) -> Noise {
        Noise(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// From 0, less than `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        // The high bits are the better ones.
        (self.next() >> 33) as usize % bound
    }

    /// From 1 to `max`.
    pub fn up_to(&mut self, max: usize) -> usize {
        self.below(max) + 1
    }

    /// True so many times in a hundred.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}
