//! The stages of a relay: parked, small cells, large cells, spliced. No byte is lost, repeated or reordered at a change of
//! stage, whatever is short and however it ends; and what a test says of a stage it shows by ringway's own counts.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ringway::config::{Config, Engine};
use ringway::relay::Direction;

use crate::common::*;

mod changes;
mod endings;
mod scripts;
mod shortage;
mod stalls;

const MIB: usize = 1024 * 1024;
const BOTH: [Direction; 2] = [Direction::ToBackend, Direction::ToClient];
const EACH_AND_OTHER: [(Direction, Direction); 2] = [(BOTH[0], BOTH[1]), (BOTH[1], BOTH[0])];

/// Every test of the stages runs with each of them. Auto is multishot, but where a test takes that away.
const ENGINES: [Engine; 2] = [Engine::Fixed, Engine::Auto];

/// Bytes whose place can be told: what session or direction, and how far from its start.
#[derive(Debug, Clone, Copy)]
struct Pattern(usize);

/// Longer than what one read or splice takes, so that nothing looks like what is one step further on.
static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| Noise::new(77).bytes(8 * MIB + 13));

impl Pattern {
    /// Another for each number.
    fn new(number: u64) -> Pattern {
        Pattern(Noise::new(number).below(NOISE.len()))
    }

    /// At most `count` bytes from this place on.
    fn piece(self, place: u64, count: usize) -> &'static [u8] {
        let start = ((self.0 as u64 + place) % NOISE.len() as u64) as usize;
        &NOISE[start..NOISE.len().min(start + count)]
    }

    /// Fails unless these bytes are those from this place on.
    fn check(self, mut place: u64, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let expected = self.piece(place, bytes.len());
            let count = expected.len();
            if bytes[..count] != *expected {
                let at = (0..count).find(|&at| bytes[at] != expected[at]).unwrap();
                panic!("byte {} of the stream is not the one that was sent", place + at as u64);
            }
            (place, bytes) = (place + count as u64, &bytes[count..]);
        }
    }
}

/// A ringway before one backend, whose connections are in the hands of the test.
struct Bench {
    ringway: Ringway,
    backends: TcpListener,
    /// Bytes that have arrived, either way.
    arrived: AtomicU64,
    pairs: AtomicU64,
}

impl Bench {
    /// One worker, unless `alter` says otherwise: what happens to one session the next one meets.
    fn start(engine: Engine, alter: impl FnOnce(&mut Config)) -> Bench {
        let (config, backends) = Bench::prepare(engine, alter);
        Bench::over(Ringway::start(config), backends)
    }

    fn prepare(engine: Engine, alter: impl FnOnce(&mut Config)) -> (Config, TcpListener) {
        let backends = listen(any_port());
        backends.set_nonblocking(true).unwrap();
        let mut config = config(&[backends.local_addr().unwrap()]);
        one_worker(&mut config);
        config.server.engine = engine;
        alter(&mut config);
        (config, backends)
    }

    fn over(ringway: Ringway, backends: TcpListener) -> Bench {
        Bench { ringway, backends, arrived: AtomicU64::new(0), pairs: AtomicU64::new(0) }
    }

    /// A client and its backend, joined by ringway.
    fn pair(&self) -> Pair {
        self.pair_over(self.ringway.connect())
    }

    fn pair_over(&self, client: TcpStream) -> Pair {
        let mut backend = None;
        await_that("the backend is connected to", || {
            backend = self.backends.accept().ok();
            backend.is_some()
        });
        let number = 2 * self.pairs.fetch_add(1, Ordering::SeqCst);
        Pair {
            client,
            backend: with_deadline(backend.unwrap().0),
            ways: [number, number + 1].map(|number| Way { pattern: Pattern::new(number), sent: 0, got: 0 }),
        }
    }

    /// What was carried, once every byte that has arrived is counted.
    fn carried(&self) -> Carried {
        let arrived = self.arrived.load(Ordering::SeqCst);
        await_that("all that arrived is counted", || self.ringway.carried().bytes() >= arrived);
        self.ringway.carried()
    }

    /// Sends through the pair until bytes have been spliced that were not before.
    fn splice(&self, pair: &mut Pair, direction: Direction) {
        let before = self.carried().spliced;
        let begun = Instant::now();
        while self.carried().spliced == before {
            self.carry(pair, direction, 2 * MIB);
            assert!(begun.elapsed() < DEADLINE, "it is never spliced");
        }
    }

    /// Sends so many bytes while the other side reads and checks them.
    fn carry(&self, pair: &mut Pair, direction: Direction, count: usize) {
        let (from, to, way) = pair.way(direction);
        let (pattern, start) = (way.pattern, way.sent);
        thread::scope(|scope| {
            scope.spawn(move || write_pattern(from, pattern, start, count));
            way.sent += count as u64;
            self.arrived.fetch_add(way.read(to, count), Ordering::SeqCst);
        });
    }

    /// Sends a message, and waits until it has come.
    fn message(&self, pair: &mut Pair, direction: Direction, count: usize) {
        pair.send(direction, count);
        self.take(pair, direction, count);
    }

    /// Reads and checks so many bytes.
    fn take(&self, pair: &mut Pair, direction: Direction, count: usize) {
        let (_, to, way) = pair.way(direction);
        self.arrived.fetch_add(way.read(to, count), Ordering::SeqCst);
    }

    /// Reads and checks all that was sent and has not come.
    fn take_rest(&self, pair: &mut Pair, direction: Direction) {
        let (.., way) = pair.way(direction);
        let left = (way.sent - way.got) as usize;
        self.take(pair, direction, left);
    }

    /// Ends a direction, whose last bytes may still be on their way: they come first, then the end.
    fn end(&self, pair: &mut Pair, direction: Direction) {
        pair.way(direction).0.shutdown(Shutdown::Write).unwrap();
        self.take_end(pair, direction);
    }

    /// Reads and checks all that was sent and has not come, and then the end of the stream.
    fn take_end(&self, pair: &mut Pair, direction: Direction) {
        self.take_rest(pair, direction);
        let (_, mut to, _) = pair.way(direction);
        assert_eq!(to.read(&mut [0]).unwrap(), 0, "more came than was sent");
    }

    /// Ends both directions.
    fn end_both(&self, mut pair: Pair) {
        BOTH.into_iter().for_each(|direction| self.end(&mut pair, direction));
    }
}

/// The two ends of a session.
struct Pair {
    client: TcpStream,
    backend: TcpStream,
    /// By direction.
    ways: [Way; 2],
}

/// What went one way.
struct Way {
    pattern: Pattern,
    sent: u64,
    got: u64,
}

impl Way {
    fn read(&mut self, mut from: &TcpStream, count: usize) -> u64 {
        let mut buffer = vec![0; count.min(256 * 1024)];
        let mut left = count;
        while left > 0 {
            let room = left.min(buffer.len());
            let got = from.read(&mut buffer[..room]).unwrap();
            assert!(got > 0, "the stream ended {left} bytes early");
            self.pattern.check(self.got, &buffer[..got]);
            self.got += got as u64;
            left -= got;
        }
        count as u64
    }
}

impl Pair {
    /// Who sends that way, who receives, and what went so far.
    fn way(&mut self, direction: Direction) -> (&TcpStream, &TcpStream, &mut Way) {
        let way = &mut self.ways[direction as usize];
        match direction {
            Direction::ToBackend => (&self.client, &self.backend, way),
            Direction::ToClient => (&self.backend, &self.client, way),
        }
    }

    /// Sends; somebody has to read it later.
    fn send(&mut self, direction: Direction, count: usize) {
        let (from, _, way) = self.way(direction);
        write_pattern(from, way.pattern, way.sent, count);
        way.sent += count as u64;
    }

    /// Sends until nothing moves any more: the receiver does not read, and everything on the way is full.
    fn stuff(&mut self, direction: Direction) {
        let (mut from, _, way) = self.way(direction);
        from.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
        let mut failures = 0;
        while failures < 2 {
            match from.write(way.pattern.piece(way.sent, MIB)) {
                Ok(count) => (way.sent, failures) = (way.sent + count as u64, 0),
                Err(error) if error.kind() == ErrorKind::WouldBlock => failures += 1,
                Err(error) => panic!("{error}"),
            }
        }
        from.set_write_timeout(Some(DEADLINE)).unwrap();
    }

    /// Sends the next byte as an urgent one.
    fn send_urgent(&mut self, direction: Direction) {
        let (from, _, way) = self.way(direction);
        send_urgent(from, way.pattern, way.sent);
        way.sent += 1;
    }
}

fn send_urgent(to: &TcpStream, pattern: Pattern, place: u64) {
    assert_eq!(socket2::SockRef::from(to).send_out_of_band(pattern.piece(place, 1)).unwrap(), 1);
}

fn write_pattern(mut to: &TcpStream, pattern: Pattern, start: u64, count: usize) {
    let mut sent = 0;
    while sent < count {
        let piece = pattern.piece(start + sent as u64, (count - sent).min(MIB));
        to.write_all(piece).unwrap();
        sent += piece.len();
    }
}

/// Fails unless the stream breaks: what comes before that must be what was sent, from where the way stands.
fn assert_breaks(stream: &mut TcpStream, way: &Way) {
    let (bytes, how) = read_until_broken(stream);
    assert!(bytes.len() as u64 <= way.sent - way.got, "more came than was sent");
    way.pattern.check(way.got, &bytes);
    let error = how.expect_err("a cut transfer looks whole");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

/// Fails unless both ends of a session break.
fn assert_both_break(mut pair: Pair) {
    let [to_backend, to_client] = &pair.ways;
    assert_breaks(&mut pair.client, to_client);
    assert_breaks(&mut pair.backend, to_backend);
}

/// A client that begins with options of its own.
fn connect_with(address: SocketAddr, set: impl FnOnce(&socket2::Socket)) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None);
    let socket = socket.unwrap();
    set(&socket);
    socket.connect_timeout(&address.into(), DEADLINE).unwrap();
    with_deadline(socket.into())
}
