//! Upgrading: another process takes over, or this one goes on.

use std::process;
use std::sync::mpsc::Receiver;

use super::logging::Logging;
use super::recording::Recording;
use super::supervision::Supervision;
use super::{Error, Request, Server};
use crate::output::Output;
use crate::upgrade::{Failure, Program, Successor};

/// What the server knows of upgrades.
#[derive(Default)]
pub(super) struct Upgrading {
    /// What is started. `None` if this process cannot be replaced.
    pub(super) program: Option<Program>,
    /// On its way.
    successor: Option<Successor>,
}

impl Server {
    /// From now on it can be replaced by another process of this program.
    pub(super) fn allow_upgrades(&mut self, program: Program) {
        self.upgrading.program = Some(program);
    }

    /// Starts another process that is to take over. What comes of it shows later.
    pub(super) fn upgrade(&mut self) {
        let (pid, running) = (process::id(), self.upgrading.successor.as_ref().map(|successor| successor.id));
        let refusal = match (&self.upgrading.program, running) {
            (_, Some(successor)) => format!("process {successor} is about to take over already"),
            (None, _) => "the demo holds its backends itself; only ringway run can be upgraded".into(),
            // A container ends with its first process, and the new one with it.
            (_, None) if pid == 1 => {
                "this is process 1, with which its container ends; replace the container".into()
            }
            (Some(program), None) => match self.start_successor(program) {
                Ok(successor) => {
                    let path = program.path.display();
                    tracing::info!(
                        pid,
                        successor = successor.id,
                        "upgrade: {path} is started and gets the listening sockets"
                    );
                    self.upgrading.successor = Some(successor);
                    return;
                }
                Err(why) => why,
            },
        };
        tracing::error!(pid, "the upgrade is refused: {refusal}; everything stays as it is");
    }

    fn start_successor(&self, program: &Program) -> Result<Successor, String> {
        let limit = self.control.generation().config.server.upgrade_timeout;
        let sockets = self.control.lend_sockets().map_err(|refused| refused.to_string())?;
        Successor::start(program, sockets, limit).map_err(|failure| {
            self.control.keep_sockets();
            failure.to_string()
        })
    }

    /// Looks whether it serves. If so, its number; this process is to end then.
    pub(super) fn look_at_successor(&mut self) -> Option<u32> {
        let outcome = self.upgrading.successor.as_ref()?.outcome()?;
        let successor = self.upgrading.successor.take()?.id;
        let pid = process::id();
        match outcome {
            Ok(left) => {
                // The new one waits for its address.
                drop(self.admin.take());
                if let Err(refused) = self.control.give_sockets_away(left) {
                    // It accepts as well as it can without that worker, which is of no use here any more.
                    tracing::error!(pid, "upgrade: {refused}");
                }
                // The new one has the file from now on. What still ends here is not in it.
                self.recording.iter_mut().for_each(Recording::finish);
                tracing::info!(
                    pid,
                    successor,
                    "upgrade: the new process serves; this one accepts nobody any more"
                );
                Some(successor)
            }
            Err(failure) => {
                self.control.keep_sockets();
                for line in failure.to_string().lines() {
                    tracing::error!(pid, successor, "upgrade: {line}");
                }
                tracing::error!(pid, "the upgrade has failed; this process goes on serving");
                None
            }
        }
    }

    /// Before this process stops for another reason: nobody is to take over.
    pub(super) fn cancel_upgrade(&mut self) {
        let Some(successor) = self.upgrading.successor.take() else { return };
        let (pid, id) = (process::id(), successor.id);
        match successor.cancel() {
            Ok(_) => {
                tracing::warn!(
                    pid,
                    successor = id,
                    "the new process serves already: whoever wants it to stop must tell it so"
                );
            }
            Err(Failure::Cancelled) => tracing::warn!(pid, successor = id, "the upgrade is given up"),
            Err(failure) => tracing::warn!(pid, successor = id, "the upgrade is given up: {failure}"),
        }
    }

    /// The end of a process that has been replaced: its sessions end, up to `drain_timeout`.
    pub(super) fn retire(
        &mut self,
        successor: u32,
        requests: &Receiver<Request>,
        output: Output,
        supervision: &Supervision,
    ) -> Result<(), Error> {
        // Whoever supervises us supervises the new one from now on, or our end would be taken for that of the service.
        supervision.replaced_by(successor);
        let generation = self.control.generation();
        let (pid, timeout) = (process::id(), generation.config.server.drain_timeout);
        let active = generation.stats.totals().active;
        tracing::info!(pid, active, drain_timeout = ?timeout, "draining; a second signal ends it at once");
        let mut is_told = false;
        let reopener = self.logging.as_ref().map(Logging::reopener);
        self.finish(timeout, output, || match requests.try_recv() {
            Ok(Request::Reload) => {
                // It may have to do with the log that both write.
                reopener.iter().for_each(|reopen| reopen());
                None
            }
            // Whoever stops the service tells all of its processes. This one is stopping.
            Ok(Request::Stop | Request::StopBySignal(_)) if !is_told => {
                is_told = true;
                None
            }
            Ok(request @ (Request::Stop | Request::StopBySignal(_))) => request.signal(),
            Ok(Request::Upgrade) => {
                tracing::error!(
                    pid,
                    successor,
                    "this process drains; the one that serves has another number"
                );
                None
            }
            Ok(Request::PrintStatus) | Err(_) => None,
        })
    }
}
