//! Clients: threads that send requests, each with a runtime and counts of its own.

mod closed;
mod exchange;
mod link;
mod open;
mod watcher;

use std::{
    cell::RefCell,
    io,
    net::SocketAddr,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
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
    dice::mix,
    failure::Failure,
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

/// Does the run; returns when every request has ended.
pub(crate) fn run(run: &Run) -> io::Result<Outcome> {
    let live = Arc::new(Live::default());
    let stop = Arc::new(AtomicBool::new(false));
    let watcher = watcher::start(run.progress, Arc::clone(&live), Arc::clone(&stop))?;
    let requests_left = Arc::new(AtomicU64::new(match run.load {
        Load::Closed { requests_max, .. } => requests_max,
        Load::Open { .. } => 0,
    }));
    let start = Instant::now();
    let window = Window { start: start + run.warm_up, end: start + run.warm_up + run.duration };
    let mut tally = Tally::new(window, Arc::clone(&live));
    thread::scope(|scope| {
        let clients: Vec<_> = (0..run.threads)
            .map(|thread| Client {
                run: run.clone(),
                thread,
                start,
                window_end: window.end,
                requests_left: Arc::clone(&requests_left),
                stop: Arc::clone(&stop),
                tally: RefCell::new(Tally::new(window, Arc::clone(&live))),
            })
            .map(|client| scope.spawn(|| client.run()))
            .collect();
        for client in clients {
            tally.add(&client.join().expect("no client panics")?);
        }
        Ok::<(), io::Error>(())
    })?;
    let window = Instant::now().min(window.end).saturating_duration_since(window.start);
    watcher.end();
    Ok(Outcome { tally, window, interrupted: stop.load(Relaxed) })
}

/// One thread of a run.
#[derive(Debug)]
struct Client {
    run: Run,
    thread: usize,
    start: Instant,
    window_end: Instant,
    requests_left: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
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
        self.stop.load(Relaxed)
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
        let mut link = match link {
            Some(link) => link,
            None => self.connect().await?,
        };
        let received = self.run.exchange.perform(&mut link, mix(self.run.seed ^ mix(number))).await?;
        Ok((link, received))
    }

    async fn connect(&self) -> Result<Link, Failure> {
        let start = Instant::now();
        let connect = Link::connect(self.run.target, self.run.exchange.input_len());
        let link = timeout(self.run.connect_timeout, connect).await.map_err(|_| Failure::Timeout)??;
        self.tally.borrow_mut().connected(start, start.elapsed());
        Ok(link)
    }
}
