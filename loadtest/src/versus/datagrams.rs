//! Works of datagrams: their backend, and their generator, `loadtest udp`, as processes of their own.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    path::Path,
    time::Duration,
};

use serde_json::Value;

use super::{cell::Load, work::Flows, wrk::Gave};
use crate::{
    interrupt::Stop,
    pinning::Pinned,
    process::{Output, Process},
};

/// Starts the backend, and waits until it answers.
pub(super) fn start_backend(core: usize, folder: &Path, stop: &Stop) -> io::Result<(SocketAddr, Process)> {
    let address = free_address()?;
    let mut command = Pinned::command(&[core], std::env::current_exe()?)?;
    command.args(["backend", "udp", "--listen", &address.to_string()]);
    let process =
        Process::start("the backend of datagrams", command, folder.join("udp-backend.log"), Output::ToLog)?;
    process.wait_until(stop, || is_answered(address))?;
    Ok((address, process))
}

/// An address that no socket of datagrams has now.
pub(super) fn free_address() -> io::Result<SocketAddr> {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// Whether a datagram comes back.
pub(super) fn is_answered(address: SocketAddr) -> bool {
    let ask = || {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_read_timeout(Some(ANSWERS_WITHIN))?;
        socket.connect(address)?;
        socket.send(b"?")?;
        socket.recv(&mut [0; 8])
    };
    ask().is_ok()
}

/// Sends for this long, after a warm-up, from this core.
pub(super) fn run(
    (core, folder): (usize, &Path),
    flows: Flows,
    target: SocketAddr,
    (warm_up, time): (Duration, Duration),
    stop: &Stop,
) -> io::Result<Gave> {
    let mut command = Pinned::command(&[core], std::env::current_exe()?)?;
    command.args(["udp", "--json", "--from", SOURCES, "--target", &target.to_string()]);
    for (option, value) in
        [("--clients", flows.clients), ("--outstanding", flows.outstanding), ("--size", flows.size)]
    {
        command.args([option, &value.to_string()]);
    }
    command.args(["--warm-up", &format!("{}ms", warm_up.as_millis())]);
    command.args(["--duration", &format!("{}ms", time.as_millis())]);
    command.args(["--timeout", &format!("{}ms", TIMEOUT.as_millis())]);
    let process = Process::start(SOURCE, command, folder.join("generator.log"), Output::Kept)?;
    let Some(ended) = process.wait(warm_up + time + TIMEOUT + END_WITHIN, stop)? else {
        let faults = vec![format!("{SOURCE} did not end within {time:?} and {END_WITHIN:?}")];
        return Ok(Gave { load: None, faults, raw: String::new() });
    };
    // It fails for a single datagram that was lost; what is too much is said here.
    let (load, faults) = read(&ended.stdout, &ended.complaint);
    Ok(Gave { load, faults, raw: ended.stdout })
}

/// Reads the report.
fn read(stdout: &str, complaint: &str) -> (Option<Load>, Vec<String>) {
    let Ok(report) = serde_json::from_str::<Value>(stdout) else {
        return (None, vec![format!("{SOURCE} printed no report: {complaint}")]);
    };
    let number = |pointer: &str| report.pointer(pointer).and_then(Value::as_f64);
    let count = |name: &str| {
        report.pointer(&format!("/datagrams/{name}")).and_then(Value::as_u64).unwrap_or_default()
    };
    let (sent, answered, lost) = (count("sent"), count("answered"), count("lost"));
    let mut faults = Vec::new();
    for what in ["duplicated", "altered", "misdelivered", "strange", "not_sent"] {
        let bad = count(what);
        if bad > 0 {
            faults.push(format!("{bad} datagrams {}", what.replace('_', " ")));
        }
    }
    if lost as f64 > sent as f64 * LOST_SHARE_MAX {
        faults.push(format!(
            "{lost} of {sent} datagrams were lost, more than one of a thousand; where buffers are too small for so many \
             clients, try 'sysctl -w net.core.rmem_max=8388608'"
        ));
    }
    if answered == 0 {
        faults.push("no datagram was answered".to_owned());
    }
    let load = Load {
        requests: answered,
        warm_up_requests: count("warm_up_answered"),
        warm_up_seconds: number("/run/warm_up_s").unwrap_or(0.0),
        bytes: (number("/run/reply_size").unwrap_or(0.0) * answered as f64) as u64,
        seconds: number("/throughput/window_s").unwrap_or(0.0),
        source: SOURCE,
        p50_us: number("/microseconds/answer/p50"),
        p99_us: number("/microseconds/answer/p99"),
        p99_9_us: number("/microseconds/answer/p99.9"),
        late_p50_us: None,
        late_p99_us: None,
    };
    (Some(load), faults)
}

const SOURCE: &str = "loadtest udp";
/// Addresses for the clients that no proxy and no backend has.
const SOURCES: &str = "127.32.0.0/16";
const ANSWERS_WITHIN: Duration = Duration::from_millis(100);
/// A client whose datagram is lost goes on after this.
const TIMEOUT: Duration = Duration::from_secs(1);
const LOST_SHARE_MAX: f64 = 0.001;
const END_WITHIN: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_may_be_lost_and_none_may_be_wrong() {
        let report = |lost, altered| {
            format!(
                r#"{{"run": {{"reply_size": 64, "warm_up_s": 1.0}},
                    "datagrams": {{"warm_up_answered": 5, "sent": 2000, "answered": 1990, "lost": {lost}, "altered": {altered}}},
                    "throughput": {{"window_s": 2.0}},
                    "microseconds": {{"answer": {{"p50": 1.5, "p99": 2.5, "p99.9": 3.5}}}}}}"#
            )
        };
        let (load, faults) = read(&report(2, 0), "");
        let load = load.unwrap();
        assert!(faults.is_empty(), "{faults:?}");
        assert_eq!((load.requests, load.warm_up_requests, load.bytes), (1990, 5, 127_360));
        assert_eq!((load.seconds, load.p50_us, load.p99_9_us), (2.0, Some(1.5), Some(3.5)));
        let (_, faults) = read(&report(3, 0), "");
        assert!(faults[0].starts_with("3 of 2000 datagrams were lost, ") && faults.len() == 1, "{faults:?}");
        assert_eq!(read(&report(0, 1), "").1, ["1 datagrams altered"]);
        assert_eq!(read("", "no such address").1, ["loadtest udp printed no report: no such address"]);
    }
}
