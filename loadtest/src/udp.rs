//! Clients of a service of datagrams: a closed loop, or an open one at a rate.
//!
//! Read [`run`] first. A client is an address that datagrams come from: with `--from` each has an address of the loopback,
//! and one socket speaks for all of them, so that a million cost no more than one; without, each has a socket of its own.
//! What is in flight is known by the number that each datagram carries, and by nothing else.

mod datagram;
mod ledger;
mod ports;
mod report;
mod sources;
mod worker;

use std::{io, io::Write, net::SocketAddr, process::ExitCode, thread, time::Duration, time::Instant};

pub(crate) use self::ports::{Inbox, Outbox, Port};
pub(crate) use self::{datagram::HEAD_LEN, ledger::RECORDS_MAX, ports::DATAGRAM_MAX, sources::Sources};
use self::{report::Report, worker::Worker};
use crate::{interrupt::Stop, schedule::Arrivals};

/// What is to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    /// Where to.
    pub(crate) target: SocketAddr,
    /// How many there are who send.
    pub(crate) clients: usize,
    /// Their addresses; `None` is a socket for each.
    pub(crate) sources: Option<Sources>,
    /// When they send.
    pub(crate) load: Load,
    /// Bytes of a datagram.
    pub(crate) size: usize,
    /// Bytes of an answer.
    pub(crate) reply_size: usize,
    /// Datagrams that answer one.
    pub(crate) replies: u16,
    /// What is not answered by then is lost.
    pub(crate) timeout: Duration,
    /// Sent, but in none of the figures.
    pub(crate) warm_up: Duration,
    /// Measured.
    pub(crate) duration: Duration,
    /// No more datagrams than this.
    pub(crate) datagrams_max: u64,
    /// Decides the bytes and the arrivals.
    pub(crate) seed: u64,
    /// Each with a share of the clients.
    pub(crate) threads: usize,
}

/// When datagrams are sent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Load {
    /// Each client has as many outstanding, and sends the next when one is answered or lost.
    Closed {
        /// Of one client.
        outstanding: usize,
    },
    /// On a schedule, whatever the service does; the clients take turns.
    Open {
        /// In a second, of all clients.
        rate: f64,
        /// How they are spread.
        arrivals: Arrivals,
    },
}

/// Sends, and prints what came of it.
pub(crate) fn run(run: &Run, json: bool) -> io::Result<ExitCode> {
    let stop = Stop::on_signals()?;
    let workers = (0..run.threads).map(|thread| Worker::new(run, thread)).collect::<io::Result<Vec<_>>>()?;
    let begun = Instant::now();
    let tallies = thread::scope(|scope| {
        let threads: Vec<_> = workers
            .into_iter()
            .map(|worker| {
                let stop = &stop;
                scope.spawn(move || worker.run(begun, stop))
            })
            .collect();
        let ended = threads.into_iter().map(|thread| thread.join().expect("no worker panics"));
        ended.collect::<io::Result<Vec<_>>>()
    })?;
    let report = Report::new(run, tallies, stop.is_set());
    let text = if json { report.to_json() + "\n" } else { report.to_string() };
    io::stdout().write_all(text.as_bytes())?;
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
