//! What does it cost to get hold of what a relay carries bytes with, and from what size on is a pipe cheaper than a copy?
//!
//! `cargo bench --bench holding`. A relay takes a buffer for each message, unless the kernel picks it, and a pipe for each
//! step of a long transfer. The answer to the second question is `carry`: the same bytes from one loopback socket to
//! another by each way, sending and receiving included, which costs the same by each.

use std::hint::black_box;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use criterion::{Bencher, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringway::buffers::{Arena, Layout};
use ringway::net::{self, Socket};
use ringway::pipes::{Pipe, Pipes};
use socket2::SockRef;

/// What the binary allocates with: the heap is part of the question.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// As a worker has them by default.
const LAYOUT: Layout =
    Layout { cells: 1024, cell_size: 16 * 1024, large_cells: 16, large_cell_size: 256 * 1024 };

/// A buffer taken and given back, by where it comes from.
fn arena(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("arena");
    let arena = Arena::plain(LAYOUT);
    group.bench_function("a cell", |bencher| lend(bencher, || arena.take()));
    group.bench_function("a cell to wait with", |bencher| lend(bencher, || arena.take_to_wait()));
    group.bench_function("a large cell", |bencher| lend(bencher, || arena.take_large()));
    let empty = Arena::plain(Layout { cells: 1, large_cells: 0, ..LAYOUT });
    let _its_only_cell = empty.take();
    group.bench_function("none left, from the heap", |bencher| lend(bencher, || empty.take()));
    group.finish();
}

/// A pipe taken and given back: one that was used before, and one that the kernel has to make.
fn pipe(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pipe");
    let pipes = Pipes::new(1);
    drop(pipes.take().expect("the kernel grants a pipe"));
    group.bench_function("kept", |bencher| lend(bencher, || pipes.take()));
    group.bench_function("made", |bencher| lend(bencher, || Pipes::new(1).take()));
    group.finish();
}

/// Takes and gives back. Looks at what was taken where it is: moving it would cost more than taking it.
fn lend<T>(bencher: &mut Bencher, mut take: impl FnMut() -> T) {
    bencher.iter(|| {
        let taken = take();
        black_box(&taken);
    });
}

/// So many bytes from one socket to another: through a cell, through a large cell, through a pipe.
fn carry(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("carry");
    let (mut from, mut to) = (Link::new(), Link::new());
    let (mut cell, mut large_cell) = (vec![0; LAYOUT.cell_size], vec![0; LAYOUT.large_cell_size]);
    let mut pipe = Pipes::new(1).take().expect("the kernel grants a pipe");
    for size in [1024, 4 * 1024, 16 * 1024, 64 * 1024] {
        let (message, mut back) = (vec![1; size], vec![0; size]);
        group.throughput(Throughput::Bytes(size as u64));
        let mut way = |name, step: &mut dyn FnMut(&mut Link, &mut Link) -> io::Result<usize>| {
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                bencher.iter(|| {
                    from.peer.write_all(&message).unwrap();
                    let mut carried = 0;
                    while carried < size {
                        carried += ready(|| step(&mut from, &mut to));
                    }
                    to.peer.read_exact(&mut back).unwrap();
                });
            });
        };
        way("cell", &mut |from, to| copy(from, to, &mut cell));
        way("large cell", &mut |from, to| copy(from, to, &mut large_cell));
        way("pipe", &mut |from, to| splice(from, to, &mut pipe));
    }
    group.finish();
}

fn copy(from: &mut Link, to: &mut Link, buffer: &mut [u8]) -> io::Result<usize> {
    let count = from.ours.read(buffer)?;
    let mut written = 0;
    while written < count {
        written += ready(|| to.ours.write(&buffer[written..count]));
    }
    Ok(count)
}

fn splice(from: &Link, to: &Link, pipe: &mut Pipe) -> io::Result<usize> {
    let count = pipe.fill(&from.spliced)?;
    while pipe.content() > 0 {
        ready(|| pipe.drain(&to.spliced));
    }
    Ok(count)
}

/// Asks until the socket is ready, which on loopback it nearly always is at once.
fn ready(mut step: impl FnMut() -> io::Result<usize>) -> usize {
    loop {
        match step() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            result => return result.unwrap(),
        }
    }
}

/// A connection: our end of it, which does not wait, and the peer's, which does.
struct Link {
    peer: TcpStream,
    ours: TcpStream,
    /// The same as `ours`.
    spliced: Socket,
}

impl Link {
    fn new() -> Link {
        /// Room for the largest message on either side: nobody takes the bytes while they are being sent.
        const ROOM: usize = 512 * 1024;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let ours = listener.accept().unwrap().0;
        for stream in [&peer, &ours] {
            stream.set_nodelay(true).unwrap();
            SockRef::from(stream).set_send_buffer_size(ROOM).unwrap();
            SockRef::from(stream).set_recv_buffer_size(ROOM).unwrap();
        }
        let spliced = Socket::from(OwnedFd::from(ours.try_clone().unwrap()));
        net::set_nonblocking(&spliced).unwrap();
        Link { peer, ours, spliced }
    }
}

criterion_group!(benches, arena, pipe, carry);
criterion_main!(benches);
