//! Supervision: looks after the workers for the service manager, and tells it how we are.

use std::time::{Duration, Instant};

use super::CLOSE_TIMEOUT;
use crate::heartbeat::{Heartbeats, News, STUCK_AFTER};
use crate::notify::Notifier;
use crate::stats::Stats;
use crate::table::BackendTable;

/// How often the manager gets a new line about us, if there is something new in it.
const STATUS_INTERVAL: Duration = Duration::from_secs(5);

/// What the server does for whoever supervises it.
pub(super) struct Supervision {
    notifier: Notifier,
    heartbeats: Heartbeats,
    next_sign: Instant,
    next_status: Instant,
    status: String,
}

impl Supervision {
    /// All workers accept: says so.
    pub(super) fn ready(stats: &Stats, table: &BackendTable) -> Supervision {
        let now = Instant::now();
        let notifier = Notifier::from_environment();
        let status = status(stats, table);
        notifier.ready(&status);
        Supervision {
            notifier,
            heartbeats: Heartbeats::new(stats.workers.len(), now),
            next_sign: now,
            next_status: now + STATUS_INTERVAL,
            status,
        }
    }

    /// Looks at every worker. Signs of life go out while all of them move: one that is stuck holds a share of the clients
    /// and nothing but a restart frees it, which is what the manager does when the signs stay away.
    pub(super) fn look(&mut self, stats: &Stats, table: &BackendTable, now: Instant) {
        for news in self.heartbeats.look(stats.workers.iter().map(|worker| worker.core.ticks.get()), now) {
            tell(news, self.notifier.watchdog());
        }
        if self.heartbeats.all_move() {
            self.sign_of_life(now);
        }
        if now >= self.next_status {
            self.next_status = now + STATUS_INTERVAL;
            let status = status(stats, table);
            if status != self.status {
                self.notifier.status(&status);
                self.status = status;
            }
        }
    }

    /// A reload begins.
    pub(super) fn reloading(&self) {
        self.notifier.reloading();
    }

    /// It is over, however it went.
    pub(super) fn reloaded(&mut self, stats: &Stats, table: &BackendTable) {
        self.status = status(stats, table);
        self.notifier.ready(&self.status);
    }

    /// Another process serves from now on, and is to be looked after. It says the rest itself.
    pub(super) fn replaced_by(&self, process: u32) {
        self.notifier.main_process(process);
    }

    /// The drain begins, and takes no longer than this.
    pub(super) fn stopping(&self, drain_timeout: Duration, stats: &Stats) {
        let sessions = stats.totals().active;
        self.notifier
            .stopping(drain_timeout + 2 * CLOSE_TIMEOUT, &format!("draining, {sessions} sessions are left"));
    }

    /// Workers that are done tick no more, so that nobody is looked at: the drain has an end of its own.
    pub(super) fn draining(&mut self, now: Instant) {
        self.sign_of_life(now);
    }

    fn sign_of_life(&mut self, now: Instant) {
        let Some(time) = self.notifier.watchdog() else { return };
        if now >= self.next_sign {
            self.notifier.alive();
            self.next_sign = now + time / 2;
        }
    }
}

fn tell(news: News, watchdog: Option<Duration>) {
    match news {
        News::Stuck { worker } => tracing::error!(
            worker,
            stuck_after = ?STUCK_AFTER,
            watchdog = ?watchdog,
            "the worker stands still: its sessions and its share of the new clients wait; {}",
            match watchdog {
                Some(_) => "the service manager gets no signs of life until it moves again, and will restart us",
                None => "no watchdog is set, so nobody restarts us: WatchdogSec= in a systemd unit would",
            }
        ),
        News::Moves { worker, after } => tracing::warn!(worker, ?after, "the worker moves again"),
    }
}

fn status(stats: &Stats, table: &BackendTable) -> String {
    let up = table.backends.iter().filter(|backend| backend.is_open()).count();
    format!(
        "{} workers, {} sessions, {up} of {} backends up",
        stats.workers.len(),
        stats.totals().active,
        table.backends.len()
    )
}
