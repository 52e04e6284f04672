//! Clients: threads that send requests, each with a runtime and counts of its own.

mod closed;
mod exchange;
mod link;
mod open;
mod watcher;

use std::{
    cell::RefCell,
    io,
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
    sync::{Arc, atomic::AtomicU64},
    thread,
    time::{Duration, Instant},
};

use tokio::{
    runtime,
    task::LocalSet,
    time::{timeout, timeout_at},
};

pub(crate) use self::exchange::{Exchange, Protocol};
use self::{exchange::Received, link::Link};
use crate::{
    dice::{Dice, mix},
    failure::Failure,
    interrupt::Stop,
    schedule::Timetable,
    tally::{Live, Tally, Window},
};

/// A run as it is to be done.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    /// Where to connect to.
    pub(crate) target: SocketAddr,
    /// When requests start.
    pub(crate) load: Load,
    /// What a request is.
    pub(crate) exchange: Exchange,
    /// What some requests are instead, each with its share of all, which add up to less than 1.
    pub(crate) others: Vec<(f64, Exchange)>,
    /// From how many addresses of this machine connections are made; 0 leaves it to the kernel.
    pub(crate) clients: u32,
    /// Whether to keep the time of every request: see [`Tally::samples`].
    pub(crate) keeps_samples: bool,
    /// No more at the same time than this, and so no more outstanding requests.
    pub(crate) connections: usize,
    /// Each with its share of the connections.
    pub(crate) threads: usize,
    /// Requests that start within this time at first are sent, and not measured.
    pub(crate) warm_up: Duration,
    /// After that, requests start, or in an open loop are due, within this time.
    pub(crate) duration: Duration,
    /// A request that takes longer has failed.
    pub(crate) deadline: Duration,
    /// A connect that takes longer has failed.
    pub(crate) connect_timeout: Duration,
    /// Makes the bytes of the requests and replies.
    pub(crate) seed: u64,
    /// Whether to say each second how it goes.
    pub(crate) progress: bool,
}

/// When requests start.
#[derive(Debug, Clone)]
pub(crate) enum Load {
    /// Each connection starts the next request when the last is answered.
    Closed {
        /// No more requests than this over all connections.
        requests_max: u64,
        /// A connection is closed after this many, and another opened.
        requests_per_connection: u64,
    },
    /// Requests start when they are due, whether the last ones are answered or not.
    Open {
        /// When they are due.
        timetable: Timetable,
        /// Each with a connection of its own, instead of one that was used before.
        new_connections: bool,
    },
}

/// What a run gave.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The counts of all threads.
    pub(crate) tally: Tally,
    /// The time that the throughput is about: the duration, or less if the run ended early.
    pub(crate) window: Duration,
    /// Whether it was interrupted.
    pub(crate) interrupted: bool,
}

/// Does the run; returns when every request has ended. Interrupted, it starts no more of them.
pub(crate) fn run(run: &Run, stop: &Stop) -> io::Result<Outcome> {
    run_from(run, stop, Instant::now())
}

/// The same, with the moment from which everything counts.
pub(crate) fn run_from(run: &Run, stop: &Stop, start: Instant) -> io::Result<Outcome> {
    let live = Arc::new(Live::default());
    let watcher = run.progress.then(|| watcher::start(Arc::clone(&live))).transpose()?;
    let requests_left = Arc::new(AtomicU64::new(match run.load {
        Load::Closed { requests_max, .. } => requests_max,
        Load::Open { .. } => 0,
    }));
    let window = Window { start: start + run.warm_up, end: start + run.warm_up + run.duration };
    let mut tally = Tally::new(window, Arc::clone(&live), run.keeps_samples);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..run.threads)
            .map(|thread| Client {
                run: run.clone(),
                thread,
                start,
                window_end: window.end,
                requests_left: Arc::clone(&requests_left),
                stop: stop.clone(),
                tally: RefCell::new(Tally::new(window, Arc::clone(&live), run.keeps_samples)),
            })
            .map(|client| scope.spawn(|| client.run()))
            .collect();
        for client in clients {
            tally.add(&client.join().expect("no client panics")?);
        }
        Ok::<(), io::Error>(())
    })?;
    let window = Instant::now().min(window.end).saturating_duration_since(window.start);
    if let Some(watcher) = watcher {
        watcher.end();
    }
    Ok(Outcome { tally, window, interrupted: stop.is_set() })
}

/// One thread of a run.
#[derive(Debug)]
struct Client {
    run: Run,
    thread: usize,
    start: Instant,
    window_end: Instant,
    requests_left: Arc<AtomicU64>,
    stop: Stop,
    tally: RefCell<Tally>,
}

impl Client {
    fn run(self) -> io::Result<Tally> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let client = Rc::new(self);
        let tasks = LocalSet::new();
        tasks.block_on(&runtime, async {
            match client.run.load.clone() {
                Load::Closed { requests_per_connection, .. } => {
                    closed::run(&client, requests_per_connection).await;
                    Ok(())
                }
                Load::Open { timetable, new_connections } => {
                    open::run(&client, &timetable, new_connections).await
                }
            }
        })?;
        // The tasks hold the client too.
        drop(tasks);
        Ok(Rc::into_inner(client).expect("all tasks have ended").tally.into_inner())
    }

    /// This thread's share of the connections; the first threads take one more if it does not divide evenly.
    fn connections(&self) -> usize {
        let (each, rest) = (self.run.connections / self.run.threads, self.run.connections % self.run.threads);
        each + usize::from(self.thread < rest)
    }

    fn is_stopped(&self) -> bool {
        self.stop.is_set()
    }

    /// One request, counted: over `link`, or over a new connection whose connect is part of the request. Gives the
    /// connection back if it can carry another one.
    async fn request(&self, link: Option<Link>, number: u64, start: Instant) -> Option<Link> {
        let deadline = start + self.run.deadline;
        let outcome = timeout_at(deadline.into(), self.attempt(link, number)).await;
        match outcome.unwrap_or(Err(Failure::Deadline)) {
            Ok((link, received)) => {
                self.tally.borrow_mut().succeeded(start, received.first_byte, received.last_byte);
                Some(link)
            }
            Err(failure) => {
                self.tally.borrow_mut().failed(start, failure, Instant::now());
                None
            }
        }
    }

    async fn attempt(&self, link: Option<Link>, number: u64) -> Result<(Link, Received), Failure> {
        let seed = mix(self.run.seed ^ mix(number));
        let mut link = match link {
            Some(link) => link,
            None => self.connect(number).await?,
        };
        let received = self.exchange(seed).perform(&mut link, seed).await?;
        Ok((link, received))
    }

    /// What the request with this seed is.
    fn exchange(&self, seed: u64) -> &Exchange {
        let mut left = Dice::new(seed).unit();
        for (share, other) in &self.run.others {
            left -= share;
            if left <= 0.0 {
                return other;
            }
        }
        &self.run.exchange
    }

    async fn connect(&self, number: u64) -> Result<Link, Failure> {
        let start = Instant::now();
        let from = (self.run.clients > 0).then(|| client_address(number, self.run.clients));
        // The largest, as another request may use it again.
        let exchanges = self.run.others.iter().map(|(_, other)| other).chain([&self.run.exchange]);
        let input_len = exchanges.map(Exchange::input_len).max().unwrap_or(0);
        let connect = Link::connect(self.run.target, from, input_len);
        let link = timeout(self.run.connect_timeout, connect).await.map_err(|_| Failure::Timeout)??;
        self.tally.borrow_mut().connected(start, start.elapsed());
        Ok(link)
    }
}

/// One of so many addresses of this machine, the same for the same number; 127.0.0.1 is not among them.
fn client_address(number: u64, clients: u32) -> Ipv4Addr {
    let index = (mix(number) % u64::from(clients)) as u32;
    Ipv4Addr::from_bits(Ipv4Addr::new(127, 1, 0, 1).to_bits() + index)
}
