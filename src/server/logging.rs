//! Logging: the thread that writes the access log, from the server's side.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{self, Receiver, Sender};

use signal_hook::consts::SIGXFSZ;
use signal_hook::flag;

use super::threads::{Event, spawn};
use super::{CLOSE_TIMEOUT, Error};
use crate::access_log::{self, Order, Writer};
use crate::config::{AccessLog, Choice, Config, LogTo, SyslogAddress};
use crate::entries::{self, Counts};
use crate::stats::Stats;

/// An access log that is being written.
pub(super) struct Logging {
    spec: AccessLog,
    counts: Arc<Counts>,
    orders: Sender<Order>,
    /// Nothing comes; it is disconnected when the thread is over.
    ended: Receiver<()>,
}

impl Logging {
    /// Begins the log, if one is wanted; beside it what each worker is to have.
    pub(super) fn start(
        config: &Config,
        stats: &Stats,
        events: &Sender<Event>,
    ) -> Result<Option<(Logging, entries::Sender)>, Error> {
        let Some(spec) = config.access_log.clone() else { return Ok(None) };
        let (sender, inbox) = entries::channel(stats.workers.len(), &spec);
        let counts = inbox.counts();
        let writer = Writer::open(&spec, stats.begun, inbox).map_err(Error::AccessLog)?;
        // A limit on the size of files (ulimit -f) must fail the write, as a full disk does, and not end the process.
        flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false))).map_err(Error::Signals)?;
        let (orders, receiver) = mpsc::channel();
        let (lives, ended) = mpsc::channel();
        spawn("access-log".into(), events, move |_| {
            let _lives: Sender<()> = lives;
            access_log::run(writer, &receiver);
            Ok(None)
        })?;
        Ok(Some((Logging { spec, counts, orders, ended }, sender)))
    }

    /// Has the file closed, and the one opened that has its name now.
    pub(super) fn reopen(&self) {
        self.reopener()();
    }

    /// The same, for later.
    pub(super) fn reopener(&self) -> impl Fn() + 'static {
        let orders = self.orders.clone();
        // A thread that is over has no file.
        move || {
            let _ = orders.send(Order::Reopen);
        }
    }

    /// Has what has been handed over written, as far as somebody takes it soon, and the thread end.
    pub(super) fn finish(&mut self) {
        let _ = self.orders.send(Order::Stop);
        let _ = self.ended.recv_timeout(CLOSE_TIMEOUT);
    }

    /// One line of what became of the lines.
    pub(super) fn summary(&self) -> String {
        let (written, dropped) = (self.counts.lines_written(), self.counts.lines_dropped());
        format!("access log: {written} lines written, {dropped} dropped\n")
    }

    /// Where lines go, and the most that they take of the memory on their way.
    pub(super) fn limits(&self, workers: usize, config: &Config) -> impl fmt::Display {
        let to = match &self.spec.to {
            LogTo::Stdout => "standard output".to_owned(),
            LogTo::Stderr => "standard error".to_owned(),
            LogTo::File(path) => path.display().to_string(),
            LogTo::Syslog(SyslogAddress::Socket(path), _) => format!("syslog at {}", path.display()),
            LogTo::Syslog(SyslogAddress::Udp(address), _) => format!("syslog at {address}"),
        };
        format!(
            "{} to {to}; up to {workers} workers x {} KiB of memory",
            self.spec.format.word(),
            entries::bytes_per_worker_max(
                config.listeners.iter().any(|listener| !listener.routes.is_empty())
            ) / 1024
        )
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        self.finish();
    }
}
