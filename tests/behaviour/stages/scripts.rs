//! Random sessions: what is sent in which pieces, when there is silence, who does not read for a while, how it ends. Many at
//! once, with little to share, and every byte is compared both ways.
//!
//! `RINGWAY_SEED=n cargo test --test behaviour scripts` replays one run; a failure prints its seed.

use std::future::Future;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::sync::mpsc;

use ringway::config::Workers;
use ringway::end::End;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net as tokio_net;

use super::super::process;
use super::*;

/// Sessions of one run.
const SESSIONS: u64 = 32;

/// What one session is to do: both of its ends make it from the same number.
#[derive(Debug)]
struct Script {
    /// What the client does, and what the backend does.
    sides: [Side; 2],
    finale: Finale,
}

/// What one end of a session does.
#[derive(Debug)]
struct Side {
    sends: Vec<Send>,
    /// Where the reader rests, by the bytes that it has, and for how long.
    rests: Vec<(u64, Duration)>,
    /// The most that it reads at once.
    read_max: usize,
    /// Bytes that its kernel holds for it, if few: then ringway waits for it in the middle of what it has. More than a
    /// segment of the loopback, or the kernels wait for each other.
    receive_buffer: Option<usize>,
}

#[derive(Debug, Clone, Copy)]
enum Send {
    /// So many bytes, in pieces up to this size.
    Bytes(usize, usize),
    Pause(Duration),
}

/// How a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finale {
    /// Both streams come to their end, whole.
    Clean,
    /// One of the ends (an index into `sides`) resets once it has sent or got so many bytes.
    Reset { by: usize, at: u64 },
}

impl Script {
    fn new(seed: u64) -> Script {
        let mut dice = Noise::new(seed);
        let sides = [Side::new(&mut dice), Side::new(&mut dice)];
        let by = dice.below(2);
        let finale = if dice.chance(60) {
            Finale::Clean
        } else {
            // Anywhere between the first byte and the last that it sends.
            Finale::Reset { by, at: dice.below(sides[by].size() as usize + 1) as u64 }
        };
        Script { sides, finale }
    }
}

impl Side {
    fn new(dice: &mut Noise) -> Side {
        let mut sends = Vec::new();
        let mut left = match dice.below(10) {
            0 => 0,
            1..=3 => dice.up_to(100_000),
            4..=7 => dice.up_to(2 * MIB),
            _ => dice.up_to(6 * MIB),
        };
        let size = left as u64;
        while left > 0 {
            if dice.chance(25) {
                // Small messages, with a silence before each that is longer than what is quiet.
                for _ in 0..dice.up_to(4) {
                    let count = dice.up_to(1000).min(left);
                    let silence = Duration::from_millis(110 + dice.below(60) as u64);
                    sends.extend([Send::Pause(silence), Send::Bytes(count, count)]);
                    left -= count;
                }
            }
            // Messages without a pause, a burst of about a cell, or bulk.
            let (count, piece) = match dice.below(4) {
                0 => (dice.up_to(10_000), dice.up_to(1000)),
                1 => (dice.up_to(100_000), dice.up_to(20_000)),
                _ => (dice.up_to(4 * MIB), dice.up_to(MIB)),
            };
            sends.push(Send::Bytes(count.min(left), piece));
            left -= count.min(left);
            sends.push(Send::Pause(match dice.below(8) {
                0..=3 => Duration::ZERO,
                4..=6 => Duration::from_millis(dice.up_to(20) as u64),
                // Longer than what is quiet.
                _ => Duration::from_millis(110 + dice.below(60) as u64),
            }));
        }
        let mut rests = Vec::new();
        let mut at = 0;
        while rests.len() < 4 && dice.chance(60) {
            at += dice.up_to(2 * MIB) as u64;
            rests.push((at, Duration::from_millis(dice.below(250) as u64)));
        }
        assert_eq!(sends.iter().map(|send| send.bytes()).sum::<u64>(), size);
        let receive_buffer = dice.chance(50).then(|| 100_000 + dice.below(150_000));
        Side { sends, rests, read_max: dice.up_to(MIB), receive_buffer }
    }

    fn narrow(&self, socket: &impl AsFd) {
        if let Some(bytes) = self.receive_buffer {
            socket2::SockRef::from(socket).set_recv_buffer_size(bytes).unwrap();
        }
    }

    fn size(&self) -> u64 {
        self.sends.iter().map(|send| send.bytes()).sum()
    }
}

impl Send {
    fn bytes(self) -> u64 {
        match self {
            Send::Bytes(count, _) => count as u64,
            Send::Pause(_) => 0,
        }
    }
}

/// What one end has sent and got, and how that went.
#[derive(Debug, Default)]
struct Told {
    seed: u64,
    /// 0 is the client.
    side: usize,
    sent: u64,
    got: u64,
    /// Whether its own end was sent, after all that it had to send.
    has_ended: bool,
    /// Whether the end of the stream has come.
    end_came: bool,
    /// Whether a read or a write met a reset.
    is_broken: bool,
    /// Whether it has reset the connection itself.
    has_reset: bool,
}

fn pattern(seed: u64, side: usize) -> Pattern {
    Pattern::new(2 * seed + side as u64)
}

fn is_reset(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::NotConnected)
}

/// Plays one end of a session.
async fn play(mut stream: tokio_net::TcpStream, seed: u64, side: usize) -> Told {
    let script = Script::new(seed);
    let limit = match script.finale {
        Finale::Reset { by, at } if by == side => Some(at),
        _ => None,
    };
    let told = std::cell::RefCell::new(Told { seed, side, ..Told::default() });
    let (reader, writer) = stream.split();
    let (sends, own) = (&script.sides[side], pattern(seed, side));
    let writing = write(writer, sends, own, limit, &told);
    let reading = read(reader, sends, pattern(seed, 1 - side), &told);
    let has_reset = match limit {
        None => {
            tokio::join!(writing, reading);
            false
        }
        Some(_) => {
            // The reading does not stop before the writing has come to the place.
            tokio::select! {
                () = async { writing.await; } => true,
                () = async { reading.await; std::future::pending().await } => unreachable!(),
            }
        }
    };
    if has_reset {
        stream.set_zero_linger().unwrap();
    }
    let mut told = told.into_inner();
    told.has_reset = has_reset && !told.is_broken;
    told
}

/// Sends what the script says, up to `limit` bytes; without a limit, the end of the stream too.
async fn write(
    mut to: impl AsyncWrite + Unpin,
    script: &Side,
    pattern: Pattern,
    limit: Option<u64>,
    told: &std::cell::RefCell<Told>,
) {
    let result: io::Result<()> = async {
        for &send in &script.sends {
            match send {
                Send::Pause(time) if time.is_zero() => tokio::task::yield_now().await,
                Send::Pause(time) => tokio::time::sleep(time).await,
                Send::Bytes(count, piece) => {
                    let mut left = count;
                    while left > 0 {
                        let sent = told.borrow().sent;
                        let room = limit.map_or(u64::MAX, |limit| limit - sent);
                        if room == 0 {
                            return Ok(());
                        }
                        let bytes = pattern.piece(sent, piece.min(left).min(room as usize));
                        let count = to.write(bytes).await?;
                        told.borrow_mut().sent += count as u64;
                        left -= count;
                    }
                }
            }
        }
        if limit.is_none() {
            to.shutdown().await?;
            told.borrow_mut().has_ended = true;
        }
        Ok(())
    }
    .await;
    if let Err(error) = result {
        assert!(is_reset(&error), "{error}");
        told.borrow_mut().is_broken = true;
    }
}

/// Reads and compares, with the rests of the script, until the stream ends or breaks.
async fn read(
    mut from: impl AsyncRead + Unpin,
    script: &Side,
    pattern: Pattern,
    told: &std::cell::RefCell<Told>,
) {
    let mut buffer = vec![0; script.read_max];
    let mut rests = script.rests.iter().peekable();
    loop {
        let got = told.borrow().got;
        if let Some((_, time)) = rests.next_if(|(at, _)| got >= *at) {
            tokio::time::sleep(*time).await;
        }
        match from.read(&mut buffer).await {
            Ok(0) => {
                // After a write that met the reset this is not the end of a stream: the kernel tells of a reset once.
                let mut told = told.borrow_mut();
                told.end_came = !told.is_broken;
                return;
            }
            Ok(count) => {
                pattern.check(got, &buffer[..count]);
                told.borrow_mut().got += count as u64;
            }
            Err(error) => {
                assert!(is_reset(&error), "{error}");
                told.borrow_mut().is_broken = true;
                return;
            }
        }
    }
}

/// Runs on a thread of its own; whoever is still busy when the time is over has failed.
fn in_time<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::time::timeout(2 * DEADLINE, work).await.expect("the sessions do not come to their end")
    })
}

/// The backends: each connection says first which script it follows.
async fn backends(listener: tokio_net::TcpListener, tell: mpsc::Sender<Told>) {
    let local = tokio::task::LocalSet::new();
    let accepting = async {
        let mut playing = Vec::new();
        for _ in 0..SESSIONS {
            let (mut stream, _) = listener.accept().await.unwrap();
            let tell = tell.clone();
            playing.push(tokio::task::spawn_local(async move {
                let seed = stream.read_u64().await.unwrap();
                Script::new(seed).sides[1].narrow(&stream);
                stream.write_all(b"!").await.unwrap();
                tell.send(play(stream, seed, 1).await).unwrap();
            }));
        }
        for each in playing {
            each.await.unwrap();
        }
    };
    local.run_until(accepting).await;
}

async fn clients(address: SocketAddr, seed: u64, tell: mpsc::Sender<Told>) {
    let local = tokio::task::LocalSet::new();
    let playing = async {
        let playing = (0..SESSIONS).map(|number| {
            let tell = tell.clone();
            tokio::task::spawn_local(async move {
                let seed = seed * 1000 + number;
                let socket = tokio_net::TcpSocket::new_v4().unwrap();
                Script::new(seed).sides[0].narrow(&socket);
                let mut stream = socket.connect(address).await.unwrap();
                stream.write_u64(seed).await.unwrap();
                // From here on both ends know the script.
                assert_eq!(stream.read_u8().await.unwrap(), b'!');
                tell.send(play(stream, seed, 0).await).unwrap();
            })
        });
        for each in playing.collect::<Vec<_>>() {
            each.await.unwrap();
        }
    };
    local.run_until(playing).await;
}

/// What must hold of the two ends of a session.
fn judge(client: &Told, backend: &Told) {
    let script = Script::new(client.seed);
    let both = || format!("{client:?}\n{backend:?}\n{script:?}");
    for (one, other) in [(client, backend), (backend, client)] {
        assert!(one.got <= other.sent, "more came than was sent: {}", both());
        if one.end_came {
            assert!(other.has_ended, "an end came that nobody sent: {}", both());
            assert_eq!(one.got, other.sent, "bytes are missing before the end: {}", both());
        }
    }
    match script.finale {
        Finale::Clean => {
            for one in [client, backend] {
                assert!(one.has_ended && one.end_came && !one.is_broken, "it broke: {}", both());
            }
        }
        Finale::Reset { by, .. } => {
            let (resets, other) = if by == 0 { (client, backend) } else { (backend, client) };
            assert!(resets.has_reset, "{}", both());
            assert!(!other.end_came, "a cut transfer looks whole: {}", both());
            assert!(other.is_broken, "the reset was not passed on: {}", both());
        }
    }
}

fn run(seed: u64, bench: Bench) -> Carried {
    let Bench { ringway, backends: listener, .. } = bench;
    let (tell, told) = mpsc::channel();
    let (address, tell_too) = (ringway.address(), tell.clone());
    thread::scope(|scope| {
        scope.spawn(move || {
            in_time(async {
                backends(tokio_net::TcpListener::from_std(listener).unwrap(), tell).await;
            });
        });
        scope.spawn(move || in_time(clients(address, seed, tell_too)));
    });
    let (clients, backends): (Vec<Told>, Vec<Told>) = told.into_iter().partition(|told| told.side == 0);
    assert_eq!((clients.len() as u64, backends.len() as u64), (SESSIONS, SESSIONS));
    let mut clean = 0;
    for client in &clients {
        let backend = backends.iter().find(|backend| backend.seed == client.seed).unwrap();
        judge(client, backend);
        clean += u64::from(Script::new(client.seed).finale == Finale::Clean);
    }
    assert!(clean > 0 && clean < SESSIONS);
    await_that("every session ends", || ringway.totals().active == 0);
    let totals = ringway.totals();
    assert_eq!(totals.ended(End::Complete), clean);
    let resets = totals.ended(End::ClientReset) + totals.ended(End::BackendReset);
    assert_eq!(resets, SESSIONS - clean);
    // As of the last tick.
    let bytes = totals.bytes_to_backend + totals.bytes_to_client;
    await_that("every byte is counted", || ringway.carried().bytes() == bytes);
    let carried = ringway.carried();
    ringway.finish();
    carried
}

/// How much there is to share on each worker: small cells, large cells, pipes.
type Shares = (usize, usize, usize);

fn start(engine: Engine, workers: usize, (cells, large, pipes): Shares, is_registered: bool) -> Bench {
    let (config, listener) = Bench::prepare(engine, |config| {
        config.server.workers = Workers::Count(NonZeroUsize::new(workers).unwrap());
        config.server.buffers_per_worker = cells;
        config.server.large_buffers_per_worker = large;
        config.server.pipes_per_worker = pipes;
    });
    let starting = thread::spawn(move || {
        if !is_registered {
            // It can not be taken off again: it goes with this thread, and the workers inherit it.
            process::refuse(&[process::REGISTER], libc::EPERM);
        }
        Ringway::start(config)
    });
    Bench::over(starting.join().unwrap(), listener)
}

fn run_all(workers: usize, shares: Shares, is_registered: bool) {
    let seeds: Vec<u64> = match std::env::var("RINGWAY_SEED") {
        Ok(seed) => vec![seed.parse().expect("RINGWAY_SEED is a number")],
        Err(_) => vec![1, 2],
    };
    let (_, large, pipes) = shares;
    for engine in ENGINES {
        // Side by side: most of their time is silence.
        let play = |seed| run(seed, start(engine, workers, shares, is_registered));
        let all: Vec<_> = thread::scope(|scope| {
            let playing: Vec<_> = seeds.iter().map(|&seed| scope.spawn(move || play(seed))).collect();
            playing.into_iter().map(thread::ScopedJoinHandle::join).collect()
        });
        for (seed, played) in seeds.iter().zip(all) {
            let carried = played.unwrap_or_else(|panic| {
                eprintln!("failed with engine {engine:?} and {shares:?}; replay: RINGWAY_SEED={seed}");
                std::panic::resume_unwind(panic)
            });
            assert!(carried.small > 0, "{carried:?}");
            // The other engine holds no buffer at any time.
            assert!(carried.parked > 0 || engine != Engine::Fixed, "{carried:?}");
            assert_eq!((carried.large > 0, carried.spliced > 0), (large > 0, pipes > 0), "{carried:?}");
        }
    }
}

#[test]
fn random_sessions_are_exact_with_enough_of_everything() {
    run_all(2, (64, 8, 8), true);
}

#[test]
fn random_sessions_are_exact_with_one_pipe_and_few_cells() {
    run_all(1, (16, 1, 1), true);
}

#[test]
fn random_sessions_are_exact_without_pipes() {
    run_all(1, (16, 2, 0), true);
}

#[test]
fn random_sessions_are_exact_with_small_cells_alone() {
    run_all(1, (16, 0, 0), true);
}

#[test]
fn random_sessions_are_exact_with_pipes_and_no_large_cells() {
    run_all(2, (16, 0, 8), true);
}

#[test]
fn random_sessions_are_exact_with_memory_that_is_not_registered() {
    run_all(2, (16, 2, 8), false);
}
