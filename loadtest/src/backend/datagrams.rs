//! The backend of datagrams: each goes back to where it came from, once or more often, late or not at all if so asked.

use std::{
    collections::VecDeque,
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use super::{say, wait_for_signal};
use crate::{
    dice::Dice,
    udp::{Inbox, Outbox, Port},
};

/// A backend of datagrams as it is to run.
#[derive(Debug, Clone)]
pub(crate) struct DatagramBackend {
    /// Where it listens; port 0 takes a free one.
    pub(crate) listen: SocketAddr,
    /// Stands in front of the totals.
    pub(crate) name: String,
    /// How late each is answered.
    pub(crate) delay: Duration,
    /// Of a million, how many are not answered.
    pub(crate) drop_ppm: u32,
    /// Datagrams that answer one.
    pub(crate) replies: u16,
    /// How long an answer is; `None`: as long as the question.
    pub(crate) size: Option<usize>,
    /// Decides which are dropped.
    pub(crate) seed: u64,
    /// Each with a socket of its own, among which the kernel spreads the clients.
    pub(crate) threads: usize,
}

/// Serves until SIGTERM or SIGINT, then prints the totals.
pub(crate) fn run(backend: &DatagramBackend) -> io::Result<()> {
    let cannot = |error| io::Error::other(format!("cannot listen on {} (UDP): {error}", backend.listen));
    let is_shared = backend.threads > 1;
    let first = Port::bind(backend.listen, is_shared).map_err(cannot)?;
    let address = first.address()?;
    let others = (1..backend.threads).map(|_| Port::bind(address, is_shared).map_err(cannot));
    let ports = std::iter::once(Ok(first)).chain(others).collect::<io::Result<Vec<_>>>()?;
    let (totals, is_over) = (Arc::new(Totals::default()), Arc::new(AtomicBool::new(false)));
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for (number, port) in ports.into_iter().enumerate() {
            let (totals, is_over) = (Arc::clone(&totals), Arc::clone(&is_over));
            threads.push(scope.spawn(move || Server::new(backend, number, &totals).run(&port, &is_over)));
        }
        let waited = wait_for_signal(|| say(&format!("listening on {address}")));
        is_over.store(true, Relaxed);
        let ended = threads.into_iter().map(|thread| thread.join().expect("no thread panics"));
        waited.and(ended.collect::<io::Result<()>>())
    })?;
    say(&format!("{}: {totals}", backend.name))
}

/// Counts since the start.
#[derive(Debug, Default)]
struct Totals {
    datagrams: AtomicU64,
    bytes_in: AtomicU64,
    dropped: AtomicU64,
    replies: AtomicU64,
    bytes_out: AtomicU64,
    refused: AtomicU64,
}

impl fmt::Display for Totals {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |count: &AtomicU64| count.load(Relaxed);
        write!(out, "datagrams={} bytes_in={} ", of(&self.datagrams), of(&self.bytes_in))?;
        write!(out, "dropped={} replies={} ", of(&self.dropped), of(&self.replies))?;
        write!(out, "bytes_out={} refused={}", of(&self.bytes_out), of(&self.refused))
    }
}

/// One thread of it, without its port.
struct Server<'a> {
    backend: &'a DatagramBackend,
    totals: &'a Totals,
    dice: Dice,
    outbox: Outbox,
    /// What is answered later, in this order: all are as late.
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    due: Instant,
    way: Way,
    bytes: Box<[u8]>,
}

/// Where an answer goes, and which of our addresses it comes from.
type Way = (SocketAddr, Option<IpAddr>);

impl<'a> Server<'a> {
    fn new(backend: &'a DatagramBackend, number: usize, totals: &'a Totals) -> Self {
        let dice = Dice::new(backend.seed.wrapping_add(number as u64));
        Self { backend, totals, dice, outbox: Outbox::default(), waiting: VecDeque::new() }
    }

    fn run(mut self, port: &Port, is_over: &AtomicBool) -> io::Result<()> {
        let mut inbox = Inbox::new();
        while !is_over.load(Relaxed) {
            let count = inbox.receive(port, |from, to, bytes| self.take(port, (from, to), bytes))?;
            self.answer_what_is_due(port);
            self.outbox.flush(port);
            if count == 0 {
                let due = self.waiting.front().map(|first| first.due);
                let time = due.map_or(LOOK_EVERY, |due| due.saturating_duration_since(Instant::now()));
                port.wait(time.min(LOOK_EVERY))?;
            }
        }
        self.totals.refused.fetch_add(self.outbox.refused, Relaxed);
        Ok(())
    }

    fn take(&mut self, port: &Port, way: Way, bytes: &[u8]) {
        self.totals.datagrams.fetch_add(1, Relaxed);
        self.totals.bytes_in.fetch_add(bytes.len() as u64, Relaxed);
        let drop_share = f64::from(self.backend.drop_ppm) / 1e6;
        if drop_share > 0.0 && self.dice.unit() <= drop_share {
            self.totals.dropped.fetch_add(1, Relaxed);
        } else if self.backend.delay.is_zero() {
            self.answer(port, way, bytes);
        } else if self.waiting.len() == WAITING_MAX {
            self.totals.dropped.fetch_add(1, Relaxed);
        } else {
            let due = Instant::now() + self.backend.delay;
            self.waiting.push_back(Waiting { due, way, bytes: bytes.into() });
        }
    }

    fn answer_what_is_due(&mut self, port: &Port) {
        while let Some(first) = self.waiting.pop_front_if(|first| first.due <= Instant::now()) {
            self.answer(port, first.way, &first.bytes);
        }
    }

    fn answer(&mut self, port: &Port, way: Way, bytes: &[u8]) {
        let len = self.backend.size.unwrap_or(bytes.len());
        let copied = len.min(bytes.len());
        for _ in 0..self.backend.replies {
            // What is longer than the question ends with zeros.
            self.outbox.send(port, way, len, |out| out[..copied].copy_from_slice(&bytes[..copied]));
            self.totals.replies.fetch_add(1, Relaxed);
            self.totals.bytes_out.fetch_add(len as u64, Relaxed);
        }
    }
}

const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Answers that wait for their time; more are dropped.
const WAITING_MAX: usize = 100_000;
