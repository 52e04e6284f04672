//! Ending: sessions end by themselves until a deadline, and the rest is cut off.

use std::collections::VecDeque;
use std::process;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::logging::Logging;
use super::recording::Recording;
use super::requests::Request;
use super::supervision::Supervision;
use super::threads::Event;
use super::{CLOSE_TIMEOUT, Error, Server};
use crate::output::Output;
use crate::phase::Phase;
use crate::worker::Report;
/// How often a drain says what it still waits for.
const DRAIN_REPORT_INTERVAL: Duration = Duration::from_secs(5);

impl Server {
    pub(super) fn stop(
        &mut self,
        request: Request,
        requests: &Receiver<Request>,
        mut put_off: VecDeque<Request>,
        output: Output,
        mut supervision: Supervision,
    ) -> Result<(), Error> {
        self.cancel_upgrade();
        let generation = self.control.generation();
        let timeout = generation.config.server.drain_timeout;
        tracing::info!(
            pid = process::id(),
            request = request.word(),
            active = generation.stats.totals().active,
            drain_timeout = ?timeout,
            "stopping: no new sessions; a second signal ends it at once"
        );
        // A drain can take long enough for a rotation of the log.
        let reopener = self.logging.as_ref().map(Logging::reopener);
        supervision.stopping(timeout, &generation.stats);
        self.finish(timeout, output, || {
            supervision.draining(Instant::now());
            let request = put_off.pop_front().or_else(|| requests.try_recv().ok())?;
            if request == Request::Reload {
                reopener.iter().for_each(|reopen| reopen());
            }
            request.signal()
        })
    }

    /// Drains, and tells what there was.
    pub(super) fn finish(
        &mut self,
        timeout: Duration,
        mut output: Output,
        interrupted: impl FnMut() -> Option<i32>,
    ) -> Result<(), Error> {
        let drained = self.drain(timeout, interrupted);
        // So that the totals have what they have written to the end.
        self.recording.iter_mut().for_each(Recording::finish);
        self.logging.iter_mut().for_each(Logging::finish);
        output.print(&self.summary());
        output.print(&connect_times(&drained?));
        Ok(())
    }

    /// Stops accepting, lets sessions end until `timeout`, closes those that are left. `interrupted` is asked now and
    /// then whether to give up.
    pub fn drain(
        &mut self,
        timeout: Duration,
        mut interrupted: impl FnMut() -> Option<i32>,
    ) -> Result<Vec<Report>, Error> {
        let generation = self.control.generation();
        self.control.begin_to_end();
        let begun = Instant::now();
        let mut next_report = begun + DRAIN_REPORT_INTERVAL;
        let mut reports = Vec::new();
        while reports.len() < generation.stats.workers.len() {
            match self.events.recv_timeout(Duration::from_millis(20)) {
                Ok(Event::Done(report)) => reports.push(report),
                Ok(Event::Died { name, why }) => {
                    self.cut_off(reports);
                    return Err(Error::Died { name, why });
                }
                Ok(Event::Started(_) | Event::NoRing(_)) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if let Some(signal) = interrupted() {
                let sessions = generation.stats.totals().active;
                self.cut_off(reports);
                return Err(Error::Interrupted { signal, sessions });
            }
            let now = Instant::now();
            if now - begun >= timeout {
                return Ok(self.cut_off(reports));
            }
            if now >= next_report {
                next_report = now + DRAIN_REPORT_INTERVAL;
                let (active, left) = (generation.stats.totals().active, timeout.saturating_sub(now - begun));
                tracing::info!(active, seconds_left = left.as_secs(), "draining");
            }
        }
        Ok(reports)
    }

    /// Ends the sessions that are left with a reset (the end of the process alone would make them look complete), and
    /// waits for the workers to have done it; not for one that is dead or stuck.
    pub(super) fn cut_off(&self, mut reports: Vec<Report>) -> Vec<Report> {
        let generation = self.control.generation();
        self.phase.advance(Phase::Closing);
        let deadline = Instant::now() + CLOSE_TIMEOUT;
        while reports.len() < generation.stats.workers.len() {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(Event::Done(report)) => reports.push(report),
                Ok(Event::Died { .. }) | Err(_) => break,
                Ok(Event::Started(_) | Event::NoRing(_)) => {}
            }
        }
        reports
    }
}

/// How long connecting took over all workers, as one line; nothing when nobody connected.
fn connect_times(reports: &[Report]) -> String {
    let mut times = Histogram::<u64>::new(3).expect("three digits are allowed");
    for report in reports {
        // Cannot fail: this one grows to what it is given.
        let _ = times.add(&report.connect_times);
    }
    if times.is_empty() {
        return String::new();
    }
    let at = |quantile| times.value_at_quantile(quantile);
    let (p50, p90, p99, max) = (at(0.5), at(0.9), at(0.99), times.max());
    format!("connect times (us): {p50} p50, {p90} p90, {p99} p99, {max} max\n")
}
