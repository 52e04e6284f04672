//! What does one session cost: to set up, and for each message that it carries?
//!
//! `cargo bench --bench relaying`. Client, ringway and backend share the machine: compare only within one run.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringway::config;
use ringway::server::Server;

/// A backend that sends back what it gets.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.set_nodelay(true).unwrap();
            thread::spawn(move || {
                let mut buffer = vec![0; 1 << 20];
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    if stream.write_all(&buffer[..count]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn ringway(backend: SocketAddr) -> Server {
    let text = format!(
        "[server]\nworkers = 1\n[[listener]]\nname = 'a'\nbind = '127.0.0.1:0'\npool = 'p'\n\
         [[pool]]\nname = 'p'\n[[pool.backend]]\naddress = '{backend}'\n"
    );
    let config = config::parse("bench", &text).unwrap_or_else(|errors| panic!("{errors}"));
    Server::start(config, 0).unwrap_or_else(|error| panic!("{error}"))
}

fn exchange(stream: &mut TcpStream, message: &[u8], back: &mut [u8]) {
    stream.write_all(message).unwrap();
    stream.read_exact(back).unwrap();
}

/// One message there and back on a session that stays, by its size; `direct` is the same without ringway.
fn message(criterion: &mut Criterion) {
    let backend = echo();
    let server = ringway(backend);
    let mut group = criterion.benchmark_group("message");
    for size in [64, 4 * 1024, 16 * 1024, 64 * 1024] {
        group.throughput(Throughput::Bytes(2 * size as u64));
        for (name, address) in [("direct", backend), ("ringway", server.addresses(0)[0])] {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_nodelay(true).unwrap();
            let (message, mut back) = (vec![1; size], vec![0; size]);
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                bencher.iter(|| exchange(&mut stream, &message, &mut back));
            });
        }
    }
    group.finish();
}

/// A session from connect to close, with one small message.
fn session(criterion: &mut Criterion) {
    let backend = echo();
    let server = ringway(backend);
    let mut group = criterion.benchmark_group("session");
    for (name, address) in [("direct", backend), ("ringway", server.addresses(0)[0])] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut stream = TcpStream::connect(address).unwrap();
                exchange(&mut stream, b"x", &mut [0]);
                // A reset: half a million ports in TIME_WAIT would end the benchmark.
                socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
            });
        });
    }
    group.finish();
}

criterion_group!(benches, message, session);
criterion_main!(benches);
