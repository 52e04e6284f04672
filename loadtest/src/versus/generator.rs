//! Our own generator as a process of its own: `loadtest closed` and `loadtest open`.

use std::{io, net::SocketAddr, path::Path, time::Duration};

use serde_json::Value;

use super::{cell::Load, plan::SESSIONS_SPARE, wrk::Gave};
use crate::{
    interrupt::Stop,
    pinning::Pinned,
    process::{Output, Process},
};

/// When requests start.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// As many connections, each with one request after another.
    Closed(usize),
    /// As many a second.
    Open(f64),
}

/// The generator as it can be started here.
#[derive(Debug)]
pub(super) struct Generator<'a> {
    pub(super) core: usize,
    pub(super) folder: &'a Path,
}

impl Generator<'_> {
    /// Sends for this long.
    pub(super) fn run(
        &self,
        kind: Kind,
        target: SocketAddr,
        warm_up: Duration,
        time: Duration,
        stop: &Stop,
    ) -> io::Result<Gave> {
        let mut command = Pinned::command(&[self.core], std::env::current_exe()?)?;
        let source = match kind {
            Kind::Closed(connections) => {
                command.args(["closed", "--connections", &connections.to_string()]);
                "loadtest closed"
            }
            Kind::Open(rate) => {
                // So many may be outstanding after a stall of the machine; the proxies have room for them.
                command.args(["open", "--connections", &OUTSTANDING_MAX.to_string()]);
                command.args(["--rate", &format!("{rate:.1}")]);
                "loadtest open"
            }
        };
        command.args(["--target", &target.to_string(), "--json", "--progress=never"]);
        command.args(["--warm-up", &format!("{}ms", warm_up.as_millis())]);
        command.args(["--duration", &format!("{}ms", time.as_millis())]);
        let log = self.folder.join("generator.log");
        let process = Process::start(source, command, log, Output::Kept)?;
        let Some(ended) = process.wait(warm_up + time + END_WITHIN, stop)? else {
            let faults = vec![format!("{source} did not end within {time:?} and {END_WITHIN:?}")];
            return Ok(Gave { load: None, faults, raw: String::new() });
        };
        let (load, mut faults) = read(&ended.stdout, source);
        if !ended.success && faults.is_empty() {
            faults.push(format!("{source} failed: {}", ended.complaint));
        }
        Ok(Gave { load, faults, raw: ended.stdout })
    }
}

/// Reads the report.
fn read(stdout: &str, source: &'static str) -> (Option<Load>, Vec<String>) {
    let Ok(report) = serde_json::from_str::<Value>(stdout) else {
        return (None, vec![format!("{source} printed no report")]);
    };
    let number = |pointer: &str| report.pointer(pointer).and_then(Value::as_f64);
    let count = |pointer: &str| report.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    let requests = count("/requests/ok");
    let mut faults = Vec::new();
    for (bad, what) in [
        (count("/requests/failed") + count("/requests/warm_up_failed"), "requests failed"),
        (count("/requests/not_sent"), "arrivals were not sent"),
    ] {
        if bad > 0 {
            faults.push(format!("{bad} {what}"));
        }
    }
    if requests == 0 {
        faults.push("no request was answered".to_owned());
    }
    let load = Load {
        requests,
        warm_up_requests: count("/requests/warm_up"),
        warm_up_seconds: number("/run/warm_up_s").unwrap_or(0.0),
        bytes: requests * count("/run/reply_bytes"),
        seconds: number("/throughput/window_s").unwrap_or(0.0),
        source,
        p50_us: number("/microseconds/request/p50"),
        p99_us: number("/microseconds/request/p99"),
        p99_9_us: number("/microseconds/request/p99.9"),
        late_p50_us: number("/microseconds/started_late/p50"),
        late_p99_us: number("/microseconds/started_late/p99"),
    };
    (Some(load), faults)
}

const OUTSTANDING_MAX: usize = SESSIONS_SPARE - 500;
const END_WITHIN: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_or_was_not_sent_is_a_fault() {
        let report = |failed, not_sent| {
            format!(
                r#"{{"run": {{"reply_bytes": 64}},
                    "requests": {{"ok": 10, "failed": {failed}, "not_sent": {not_sent}}},
                    "throughput": {{"window_s": 2.0}},
                    "microseconds": {{"request": {{"p50": 1.5, "p99": 2.5, "p99.9": 3.5}}, "started_late": {{"p99": 0.5}}}}}}"#
            )
        };
        let (load, faults) = read(&report(0, 0), "loadtest open");
        let load = load.unwrap();
        assert!(faults.is_empty());
        assert_eq!((load.requests, load.bytes, load.seconds), (10, 640, 2.0));
        assert_eq!((load.p50_us, load.p99_us, load.p99_9_us), (Some(1.5), Some(2.5), Some(3.5)));
        assert_eq!(load.late_p99_us, Some(0.5));
        assert_eq!(read(&report(3, 0), "x").1, ["3 requests failed"]);
        assert_eq!(read(&report(0, 4), "x").1, ["4 arrivals were not sent"]);
        assert_eq!(read("", "x").1, ["x printed no report"]);
    }
}
