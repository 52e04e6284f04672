//! Recording: the thread that writes the record, from the server's side.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{SystemTime, UNIX_EPOCH};

use signal_hook::consts::SIGXFSZ;
use signal_hook::flag;

use super::threads::{Event, spawn};
use super::{CLOSE_TIMEOUT, Error};
use crate::arrivals::{self, Counts, Setting};
use crate::config::{Config, Record};
use crate::record::{self, Header, Writer};
use crate::stats::Stats;

/// A record that is being written.
pub(super) struct Recording {
    spec: Record,
    counts: Arc<Counts>,
    /// Ends the thread when it is dropped.
    stop: Option<Sender<()>>,
    /// Nothing comes; it is disconnected when the thread is over.
    ended: Receiver<()>,
}

impl Recording {
    /// Begins the record, if one is wanted; beside it what each worker is to have. As a successor it leaves the file to the
    /// process before for as long as that one serves.
    pub(super) fn start(
        config: &Config,
        stats: &Stats,
        is_successor: bool,
        events: &Sender<Event>,
    ) -> Result<Option<(Recording, arrivals::Sender)>, Error> {
        let Some(spec) = config.server.record.clone() else { return Ok(None) };
        let workers = stats.workers.len();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let begun = now.saturating_sub(stats.begun.elapsed());
        let header = Header {
            begun_unix_us: begun.as_micros() as u64,
            run: fastrand::u64(..),
            addresses: spec.addresses,
            setting: record::setting(config, workers),
        };
        let first = Setting { generation: 1, text: header.setting.clone() };
        let (sender, inbox) = arrivals::channel(workers, spec.addresses, first);
        let counts = inbox.counts();
        let open = if is_successor { Writer::open_after } else { Writer::open };
        let writer = open(spec.clone(), header, Arc::clone(&counts)).map_err(Error::Record)?;
        // A limit on the size of files (ulimit -f) must fail the write, as a full disk does, and not end the process.
        flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false))).map_err(Error::Signals)?;
        let (stop, stopped) = mpsc::channel();
        let (lives, ended) = mpsc::channel();
        let setup = record::Setup { writer, inbox, stop: stopped };
        spawn("record".into(), events, move |_| {
            let _lives: Sender<()> = lives;
            record::run(setup);
            Ok(None)
        })?;
        Ok(Some((Recording { spec, counts, stop: Some(stop), ended }, sender)))
    }

    /// Has everything written that has been handed over, and the thread end.
    pub(super) fn finish(&mut self) {
        drop(self.stop.take());
        let _ = self.ended.recv_timeout(CLOSE_TIMEOUT);
    }

    /// One line of what has been recorded.
    pub(super) fn summary(&self) -> String {
        format!("recorded: {} sessions, {} lost\n", self.counts.written(), self.counts.lost())
    }

    /// The most that it takes: of the disk, and of the memory for sessions on their way to it.
    pub(super) fn limits(&self, workers: usize) -> impl fmt::Display {
        let Record { path, size_max, files, .. } = &self.spec;
        format!(
            "{} and up to {files} older files of {} MiB = {} MiB; up to {workers} workers x {} KiB of memory",
            path.display(),
            size_max.div_ceil(1 << 20),
            (size_max * (u64::from(*files) + 1)).div_ceil(1 << 20),
            arrivals::BYTES_PER_WORKER_MAX / 1024
        )
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.finish();
    }
}
