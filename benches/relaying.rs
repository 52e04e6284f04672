//! What does one session cost: to set up, for each message by its size, and for each long transfer by the stage that carries it?
//!
//! `cargo bench --bench relaying`. Client, ringway and backend share the machine, and one session never fills it: these are
//! times there and back, with every wake-up of a thread in them. `direct` is the same without ringway, the ruler for the others:
//! compare only within one run.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringway::config;
use ringway::server::Server;
use ringway::stats::{Counter, WorkerStats};

/// What the binary allocates with.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The engines for small messages, each by the lines of `[server]` that ask for it.
const ENGINES: [(&str, &str); 2] = [("fixed", "engine = 'fixed'"), ("multishot", "engine = 'multishot'")];

/// The stages of a long transfer, each by the lines of `[server]` that leave nothing better.
const STAGES: [(&str, &str); 3] = [
    ("small cells", "engine = 'fixed'\npipes_per_worker = 0\nlarge_buffers_per_worker = 0"),
    ("large cells", "engine = 'fixed'\npipes_per_worker = 0"),
    ("spliced", "engine = 'fixed'"),
];

/// A session from connect to the end of both streams, with one byte each way.
fn session(criterion: &mut Criterion) {
    let backend = backend(|mut stream| {
        let mut byte = [0];
        // The backend ends it: whoever ends it keeps the port for a minute, and clients would run out of them.
        if stream.read_exact(&mut byte).is_ok() {
            stream.write_all(&byte).unwrap();
        }
    });
    let mut group = criterion.benchmark_group("session");
    let logged = ("multishot, access log", "engine = 'multishot'\n[access_log]\nto = '/dev/null'");
    for route in routes(backend, &[ENGINES[0], ENGINES[1], logged]) {
        group.bench_function(route.name, |bencher| {
            bencher.iter(|| {
                let mut stream = route.connect();
                stream.write_all(b"x").unwrap();
                assert_eq!(stream.read(&mut [0; 2]).unwrap(), 1);
                assert_eq!(stream.read(&mut [0; 2]).unwrap(), 0);
            });
        });
    }
    group.finish();
}

/// One message there and back on a session that stays, by its size.
fn message(criterion: &mut Criterion) {
    let backend = backend(|mut stream| {
        thread::spawn(move || {
            let mut buffer = vec![0; 1 << 20];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                if stream.write_all(&buffer[..count]).is_err() {
                    return;
                }
            }
        });
    });
    let mut group = criterion.benchmark_group("message");
    for route in routes(backend, &ENGINES) {
        // The last one fills a small cell: the stream outgrows both engines.
        for size in [64, 1024, 4 * 1024, 15 * 1024, 16 * 1024] {
            group.throughput(Throughput::Bytes(2 * size as u64));
            let mut stream = route.connect();
            let (message, mut back) = (vec![1; size], vec![0; size]);
            group.bench_function(BenchmarkId::new(route.name, size), |bencher| {
                bencher.iter(|| {
                    stream.write_all(&message).unwrap();
                    stream.read_exact(&mut back).unwrap();
                });
            });
        }
        route.tell();
    }
    group.finish();
}

/// So many bytes from the backend, asked for by a small message, on a session that stays.
fn transfer(criterion: &mut Criterion) {
    let backend = backend(|mut stream| {
        thread::spawn(move || {
            let (mut wanted, bytes) = ([0; 8], vec![1; 8 << 20]);
            while stream.read_exact(&mut wanted).is_ok() {
                if stream.write_all(&bytes[..u64::from_be_bytes(wanted) as usize]).is_err() {
                    return;
                }
            }
        });
    });
    let mut group = criterion.benchmark_group("transfer");
    for route in routes(backend, &STAGES) {
        for size in [64 << 10, 1 << 20, 8 << 20] {
            group.throughput(Throughput::Bytes(size));
            let (mut stream, mut back) = (route.connect(), vec![0; 1 << 20]);
            group.bench_function(BenchmarkId::new(route.name, size), |bencher| {
                bencher.iter(|| {
                    stream.write_all(&size.to_be_bytes()).unwrap();
                    let mut missing = size as usize;
                    while missing > 0 {
                        let most = missing.min(back.len());
                        let count = stream.read(&mut back[..most]).unwrap();
                        assert!(count > 0, "the session ended");
                        missing -= count;
                    }
                });
            });
        }
        route.tell();
    }
    group.finish();
}

/// A backend that does this with each connection, one after the other.
fn backend(serve: impl Fn(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            stream.set_nodelay(true).unwrap();
            serve(stream);
        }
    });
    address
}

/// A way to the backend: straight, or through a ringway of its own.
struct Route {
    name: &'static str,
    address: SocketAddr,
    server: Option<Server>,
}

/// The straight one, and one for each setting.
fn routes(backend: SocketAddr, settings: &[(&'static str, &str)]) -> Vec<Route> {
    let direct = Route { name: "direct", address: backend, server: None };
    let through = settings.iter().map(|&(name, lines)| {
        let server = ringway(backend, lines);
        Route { name, address: server.addresses(0)[0], server: Some(server) }
    });
    std::iter::once(direct).chain(through).collect()
}

fn ringway(backend: SocketAddr, lines: &str) -> Server {
    let text = format!(
        "[server]\nworkers = 1\n{lines}\n[[listener]]\nname = 'a'\nbind = '127.0.0.1:0'\npool = 'p'\n\
         [[pool]]\nname = 'p'\nhealth = {{ check = 'none' }}\n[[pool.backend]]\naddress = '{backend}'\n"
    );
    let config = config::parse("bench", &text).unwrap_or_else(|errors| panic!("{errors}"));
    Server::start(config, 0).unwrap_or_else(|error| panic!("{error}"))
}

impl Route {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// Says which way the bytes went, so that a figure is not taken for that of another stage.
    fn tell(&self) {
        let Some(server) = &self.server else { return };
        let sum = |counter: fn(&WorkerStats) -> &Counter| server.stats().sum(counter);
        let small = sum(|worker| &worker.core.carried.small);
        let large = sum(|worker| &worker.core.carried.large);
        let spliced = sum(|worker| &worker.core.carried.spliced);
        let percent = |bytes| 100.0 * bytes as f64 / (small + large + spliced).max(1) as f64;
        println!(
            "{}: {:.0} % of the bytes in small cells, {:.0} % in large ones, {:.0} % spliced\n",
            self.name,
            percent(small),
            percent(large),
            percent(spliced)
        );
    }
}

criterion_group!(benches, session, message, transfer);
criterion_main!(benches);
