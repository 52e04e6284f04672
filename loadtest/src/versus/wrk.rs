//! wrk: requests over HTTP, each connection one after another.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde::Deserialize;

use super::{cell::Load, work::Keep};
use crate::{
    interrupt::Stop,
    pinning::Pinned,
    process::{Output, Process},
};

/// What is to be sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Requests {
    pub(super) target: SocketAddr,
    pub(super) path: &'static str,
    pub(super) connections: usize,
    pub(super) keep: Keep,
}

/// wrk as it can be started here.
#[derive(Debug)]
pub(super) struct Wrk<'a> {
    pub(super) program: &'a Path,
    pub(super) core: usize,
    pub(super) folder: &'a Path,
}

/// What a run gave.
#[derive(Debug)]
pub(super) struct Gave {
    pub(super) load: Option<Load>,
    pub(super) faults: Vec<String>,
    pub(super) raw: String,
}

impl Requests {
    /// What is wrong if the backend got this many connections for this many answered requests.
    pub(super) fn fault(&self, answered: u64, accepted: u64) -> Option<String> {
        let connections = self.connections as u64;
        // One more: wrk tries the address before it begins.
        let expected = match self.keep {
            Keep::Alive => connections..=connections + 1,
            // Those under way at the end were not answered.
            Keep::ForOne => answered..=answered + connections + 1,
        };
        (!expected.contains(&accepted)).then(|| {
            format!(
                "{accepted} connections came to the backend, not {expected:?}: some were closed under way"
            )
        })
    }
}

impl Wrk<'_> {
    /// Sends for this long, and longer until `served` says so, at most two seconds; gives what it said at last.
    pub(super) fn warm_up(
        &self,
        requests: &Requests,
        time: Duration,
        stop: &Stop,
        mut served: impl FnMut() -> io::Result<bool>,
    ) -> io::Result<bool> {
        let wrk = self.start(requests, WARM_UP_SECONDS_MAX)?;
        let deadline = Instant::now() + SERVED_WITHIN;
        thread::sleep(time);
        while !served()? && !wrk.has_ended() && !stop.is_set() && Instant::now() < deadline {
            thread::sleep(LOOK_EVERY);
        }
        let is_served = served()?;
        // It ends in order, within a tenth of a second.
        wrk.signal(Signal::INT);
        wrk.wait(END_WITHIN, stop)?;
        Ok(is_served)
    }

    /// Sends for this long.
    pub(super) fn run(&self, requests: &Requests, seconds: u64, stop: &Stop) -> io::Result<Gave> {
        let wrk = self.start(requests, seconds)?;
        let Some(ended) = wrk.wait(Duration::from_secs(seconds) + END_WITHIN, stop)? else {
            let faults = vec![format!("wrk did not end within {seconds} s and {END_WITHIN:?}")];
            return Ok(Gave { load: None, faults, raw: String::new() });
        };
        if !ended.success {
            let faults = vec![format!("wrk failed: {}", ended.complaint)];
            return Ok(Gave { load: None, faults, raw: ended.stdout });
        }
        let (load, faults) = read(&ended.stdout);
        Ok(Gave { load, faults, raw: ended.stdout })
    }

    fn start(&self, requests: &Requests, seconds: u64) -> io::Result<Process> {
        let log = self.folder.join("wrk.log");
        Process::start("wrk", self.command(requests, seconds)?, log, Output::Kept)
    }

    fn command(&self, requests: &Requests, seconds: u64) -> io::Result<Command> {
        let mut command = Pinned::command(&[self.core], self.program)?;
        command.args(["-t", "1", "-c", &requests.connections.to_string()]);
        command.args(["-d", &format!("{seconds}s"), "--timeout", "15s", "--latency", "-s"]);
        command.arg(self.script()?);
        if requests.keep == Keep::ForOne {
            command.args(["-H", "Connection: close"]);
        }
        command.arg(format!("http://{}{}", requests.target, requests.path));
        Ok(command)
    }

    /// What wrk prints for people is rounded; a script can have it exactly. It is called at the end only, and so costs
    /// nothing before.
    fn script(&self) -> io::Result<PathBuf> {
        let path = self.folder.join("wrk.lua");
        fs::write(&path, SCRIPT)?;
        Ok(path)
    }
}

/// Reads the line of the script.
fn read(stdout: &str) -> (Option<Load>, Vec<String>) {
    let line = stdout.lines().find_map(|line| line.strip_prefix(MARK));
    let summary: Summary = match line.map(serde_json::from_str) {
        Some(Ok(summary)) => summary,
        Some(Err(error)) => return (None, vec![format!("wrk's summary cannot be read: {error}")]),
        None => return (None, vec!["wrk printed no summary".to_owned()]),
    };
    let mut faults = Vec::new();
    for (count, what) in [
        (summary.status, "replies with another status than 2xx or 3xx"),
        (summary.connect, "connects failed"),
        (summary.read, "reads failed"),
        (summary.write, "writes failed"),
        (summary.timeout, "requests took longer than 15 s"),
    ] {
        if count > 0 {
            faults.push(format!("{count} {what}"));
        }
    }
    if summary.requests == 0 {
        faults.push("no request was answered".to_owned());
    }
    let load = Load {
        requests: summary.requests,
        warm_up_requests: 0,
        warm_up_seconds: 0.0,
        bytes: summary.bytes,
        seconds: summary.duration_us as f64 / 1e6,
        source: "wrk",
        p50_us: Some(summary.p50),
        p99_us: Some(summary.p99),
        p99_9_us: Some(summary.p999),
        late_p50_us: None,
        late_p99_us: None,
    };
    (Some(load), faults)
}

#[derive(Debug, Deserialize)]
struct Summary {
    requests: u64,
    bytes: u64,
    duration_us: u64,
    connect: u64,
    read: u64,
    write: u64,
    status: u64,
    timeout: u64,
    p50: f64,
    p99: f64,
    p999: f64,
}

const MARK: &str = "loadtest: ";
const SCRIPT: &str = r#"
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    'loadtest: {"requests":%.0f,"bytes":%.0f,"duration_us":%.0f,' ..
    '"connect":%.0f,"read":%.0f,"write":%.0f,"status":%.0f,"timeout":%.0f,' ..
    '"p50":%.3f,"p99":%.3f,"p999":%.3f}\n',
    summary.requests, summary.bytes, summary.duration,
    e.connect, e.read, e.write, e.status, e.timeout,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
"#;
const WARM_UP_SECONDS_MAX: u64 = 60;
const SERVED_WITHIN: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(10);
const END_WITHIN: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "Running 3s test @ http://127.0.0.1:1/\n  1 threads and 64 connections\n\
        loadtest: {\"requests\":1500,\"bytes\":250000,\"duration_us\":3000000,\"connect\":0,\"read\":0,\"write\":0,\
        \"status\":0,\"timeout\":0,\"p50\":812.000,\"p99\":1204.500,\"p999\":3000.000}\n";

    #[test]
    fn the_summary_is_read_exactly() {
        let (load, faults) = read(GOOD);
        let load = load.unwrap();
        assert!(faults.is_empty(), "{faults:?}");
        assert_eq!((load.requests, load.bytes, load.seconds), (1500, 250_000, 3.0));
        assert_eq!(load.p99_us, Some(1204.5));
    }

    #[test]
    fn every_kind_of_error_is_a_fault() {
        for (name, says) in [
            ("connect", "connects failed"),
            ("read", "reads failed"),
            ("write", "writes failed"),
            ("status", "another status"),
            ("timeout", "longer than 15 s"),
        ] {
            let (_, faults) = read(&GOOD.replace(&format!("\"{name}\":0"), &format!("\"{name}\":3")));
            assert_eq!(faults.len(), 1, "{name}");
            assert!(faults[0].starts_with("3 ") && faults[0].contains(says), "{}", faults[0]);
        }
    }

    #[test]
    fn connections_that_wrk_does_not_speak_of_are_a_fault() {
        let fault = |keep, answered, accepted| {
            let target = SocketAddr::from(([127, 0, 0, 1], 1));
            Requests { target, path: "/", connections: 64, keep }.fault(answered, accepted)
        };
        assert_eq!(fault(Keep::Alive, 10_000, 64), None);
        assert_eq!(fault(Keep::Alive, 10_000, 65), None);
        assert!(
            fault(Keep::Alive, 10_000, 66)
                .unwrap()
                .contains("66 connections came to the backend, not 64..=65")
        );
        assert_eq!(fault(Keep::ForOne, 1000, 1000), None);
        assert_eq!(fault(Keep::ForOne, 1000, 1065), None);
        assert!(fault(Keep::ForOne, 1000, 1066).unwrap().contains("closed under way"));
    }

    #[test]
    fn nothing_answered_and_nothing_said_are_faults() {
        assert_eq!(read(&GOOD.replace("\"requests\":1500", "\"requests\":0")).1, ["no request was answered"]);
        assert_eq!(read("Running 3s test\n").1, ["wrk printed no summary"]);
        assert!(read("loadtest: {\"requests\":}\n").1[0].contains("cannot be read"));
    }
}
