//! A process that was started here, and that is ended when it is dropped.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};

use crate::interrupt::Stop;

/// A child with its log; leads a process group of its own (see [`crate::pinning::Pinned::command`]), which ends with it.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    // From then on its number may be somebody else's.
    reaped: bool,
}

/// Where a process prints to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// To us; no more than fits into a pipe.
    Kept,
    /// To its log.
    ToLog,
}

/// What a process that has ended left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Whether it exited with 0.
    pub(crate) success: bool,
    /// What it printed.
    pub(crate) stdout: String,
    /// The end of its log.
    pub(crate) complaint: String,
}

impl Process {
    /// Starts it; what it says goes to `log`, what it prints to `output`.
    pub(crate) fn start(name: &str, mut command: Command, log: PathBuf, output: Output) -> io::Result<Self> {
        let file = fs::File::create(&log)?;
        match output {
            Output::Kept => command.stdout(Stdio::piped()),
            Output::ToLog => command.stdout(file.try_clone()?),
        };
        command.stdin(Stdio::null()).stderr(file);
        let child =
            command.spawn().map_err(|error| io::Error::other(format!("cannot start {name}: {error}")))?;
        Ok(Self { name: name.to_owned(), child, log, reaped: false })
    }

    /// It and all that descend from it.
    pub(crate) fn tree(&self) -> io::Result<Vec<u32>> {
        let mut parents = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            // One that ended meanwhile is none of ours: those live as long as the run.
            let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
            parents.extend(parent(&stat).map(|parent| (pid, parent)));
        }
        let mut tree = vec![self.child.id()];
        let mut at = 0;
        while at < tree.len() {
            let above = tree[at];
            tree.extend(parents.iter().filter(|(_, parent)| *parent == above).map(|(pid, _)| *pid));
            at += 1;
        }
        Ok(tree)
    }

    /// Until `ready` says so.
    pub(crate) fn wait_until(&self, stop: &Stop, mut ready: impl FnMut() -> bool) -> io::Result<()> {
        let deadline = Instant::now() + READY_DEADLINE;
        while !ready() {
            if stop.is_set() {
                return Err(io::Error::other("interrupted"));
            }
            if self.has_ended() || Instant::now() > deadline {
                let what = if self.has_ended() { "has ended" } else { "is not ready after 20 s" };
                return Err(io::Error::other(format!("{} {what}; its log: {}", self.name, self.complaint())));
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Until it ends by itself. `None` if it takes longer than `time`, or the run is interrupted; then it is ended.
    pub(crate) fn wait(mut self, time: Duration, stop: &Stop) -> io::Result<Option<Ended>> {
        let deadline = Instant::now() + time;
        while !self.has_ended() {
            if stop.is_set() || Instant::now() > deadline {
                return Ok(None);
            }
            thread::sleep(LOOK_EVERY);
        }
        let mut stdout = String::new();
        if let Some(mut output) = self.child.stdout.take() {
            output.read_to_string(&mut stdout)?;
        }
        let success = self.reap()?.success();
        Ok(Some(Ended { success, stdout, complaint: self.complaint() }))
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            // One that has ended is not gone before it was waited for: nobody else can be hit.
            let _ = kill_process(pid, signal);
        }
    }

    /// Whether it has ended; its number stays taken all the same.
    pub(crate) fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        self.pid().is_none_or(|pid| !matches!(waitid(WaitId::Pid(pid), options), Ok(None)))
    }

    /// The end of its log.
    pub(crate) fn complaint(&self) -> String {
        tail(&self.log)
    }

    /// Waits for it, after the end of all that it left behind.
    fn reap(&mut self) -> io::Result<ExitStatus> {
        if let Some(pid) = self.pid() {
            // Its number is its group's too, and taken until the wait.
            let _ = kill_process_group(pid, Signal::KILL);
        }
        self.reaped = true;
        self.child.wait()
    }

    fn pid(&self) -> Option<Pid> {
        Pid::from_raw(self.child.id().cast_signed())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.reaped {
            return;
        }
        self.signal(Signal::TERM);
        let deadline = Instant::now() + END_DEADLINE;
        while !self.has_ended() && Instant::now() < deadline {
            thread::sleep(LOOK_EVERY);
        }
        let _ = self.reap();
    }
}

/// The parent in /proc/PID/stat; the name before it may have spaces and brackets in it.
fn parent(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn tail(path: &Path) -> String {
    let text = fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<_> = text.lines().rev().take(COMPLAINT_LINES).collect();
    if lines.is_empty() {
        return "(empty)".to_owned();
    }
    lines.into_iter().rev().collect::<Vec<_>>().join("\n  ")
}

const READY_DEADLINE: Duration = Duration::from_secs(20);
const END_DEADLINE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(10);
const COMPLAINT_LINES: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_found_behind_any_name() {
        assert_eq!(parent("12 (nginx: worker) S 7 12 12 0"), Some(7));
        assert_eq!(parent("12 (a) b) (c) R 8 12"), Some(8));
        assert_eq!(parent("12 (cut"), None);
    }
}
