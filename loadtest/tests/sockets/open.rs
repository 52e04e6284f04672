//! The open loop: what it plans it accounts for, whatever the server does.

use std::io::Write;

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    command::{Backend, PATIENCE, count, loadtest, start},
    peer::{request, serve, serve_never},
};

/// How many were planned, after seeing that each is ok, failed or not sent.
fn accounted(report: &Value) -> u64 {
    let [planned, ok, failed, not_sent] =
        ["planned", "ok", "failed", "not_sent"].map(|name| count(report, &format!("/requests/{name}")));
    assert_eq!(ok + failed + not_sent, planned, "{report:#}");
    planned
}

#[test]
fn every_arrival_reaches_a_server_that_answers() {
    for (options, connections) in [("--new-connections", Some(100)), ("--threads 2", None)] {
        let backend = Backend::start("reply");
        let ran = loadtest(&format!(
            "open --target {} --rate 500 --duration 200ms --arrivals uniform {options} --json",
            backend.address
        ));
        let report = ran.report();
        assert_eq!(accounted(&report), 100);
        assert_eq!(count(&report, "/requests/ok"), 100);
        assert_eq!(ran.code, Some(0));
        let opened = count(&report, "/connections/opened");
        assert_eq!(opened, connections.unwrap_or(opened));
        assert_eq!(backend.totals(["requests", "connections"]), [100, opened]);
    }
}

#[test]
fn the_warm_up_is_sent_and_not_measured() {
    let backend = Backend::start("reply");
    let ran = loadtest(&format!(
        "open --target {} --rate 500 --warm-up 200ms --duration 400ms --arrivals uniform --json",
        backend.address
    ));
    let report = ran.report();
    assert_eq!(accounted(&report), 200);
    assert_eq!(count(&report, "/requests/ok"), 200);
    assert_eq!((count(&report, "/requests/warm_up"), count(&report, "/requests/warm_up_failed")), (100, 0));
    assert_eq!(count(&report, "/microseconds/request/count"), 200);
    assert_eq!(count(&report, "/microseconds/started_late/count"), 200);
    let opened = count(&report, "/connections/opened");
    assert_eq!(backend.totals(["requests", "connections"]), [300, opened]);
}

#[test]
fn a_server_that_fails_in_the_warm_up_is_told_of() {
    let (target, _accepted) = serve_never();
    let ran = loadtest(&format!(
        "open --target {target} --rate 100 --warm-up 200ms --duration 10ms --arrivals uniform --connections 5 \
         --deadline 100ms --json"
    ));
    let report = ran.report();
    assert_eq!((count(&report, "/requests/warm_up"), count(&report, "/requests/warm_up_failed")), (20, 20));
    assert_eq!(ran.code, Some(1));
}

#[test]
fn a_server_that_stalls_stops_neither_the_sending_nor_the_counting() {
    let (target, accepted) = serve_never();
    let ran = loadtest(&format!(
        "open --target {target} --rate 1000/s --duration 400ms --arrivals uniform --connections 50 --deadline 3s \
         --json"
    ));
    let report = ran.report();
    assert_eq!(accounted(&report), 400);
    assert_eq!(count(&report, "/requests/ok"), 0);
    // Sent without an answer until the bound was reached, and never beyond: the deadline is longer than the run.
    assert_eq!(count(&report, "/requests/failed_by_kind/deadline"), 50);
    assert_eq!(count(&report, "/requests/not_sent"), 350);
    assert_eq!(accepted.try_iter().count(), 50);
    assert_eq!(ran.code, Some(1));
}

#[test]
fn not_sent_alone_is_not_success() {
    // One slow request takes the only connection; those that come meanwhile are not sent.
    let backend = Backend::start("reply --delay 1s");
    let ran = loadtest(&format!(
        "open --target {} --rate 100 --duration 100ms --arrivals uniform --connections 1 --json",
        backend.address
    ));
    let report = ran.report();
    assert_eq!(accounted(&report), 10);
    assert_eq!(count(&report, "/requests/failed"), 0);
    assert_eq!(count(&report, "/requests/not_sent"), 9);
    assert_eq!(ran.code, Some(1));
}

#[test]
fn times_count_from_the_intended_start() {
    let backend = Backend::start("reply");
    // All are due within 0.2 ms, which no generator can do: it is late, and its lateness must be in the times.
    let ran = loadtest(&format!(
        "open --target {} --rate 10000000 --requests 2000 --duration 60s --deadline 60s --connections 2000 --json",
        backend.address
    ));
    let report = ran.report();
    assert_eq!(count(&report, "/requests/ok"), 2000, "{report:#}");
    for percentile in ["p50", "p90", "p99", "max"] {
        let at = |times: &str| report["microseconds"][times][percentile].as_f64().unwrap();
        let (request, late) = (at("request"), at("started_late"));
        // Each request takes longer than it was late; the histogram rounds to three digits.
        assert!(request >= late * 0.998, "{percentile}: {request} us for a request, {late} us late");
    }
}

#[test]
fn a_pooled_connection_that_the_server_closed_is_replaced() {
    let target = serve(|mut stream| {
        if let Some(bytes) = request(&mut stream) {
            let _ = stream.write_all(&bytes);
        }
    });
    let ran = loadtest(&format!(
        "open --target {target} --protocol echo --rate 20 --duration 500ms --arrivals uniform --json"
    ));
    let report = ran.report();
    assert_eq!(accounted(&report), 10);
    // Not one more than the replies: a connection that failed was not idle.
    let closed = count(&report, "/connections/closed_while_idle");
    assert!((1..=count(&report, "/requests/ok")).contains(&closed), "{report:#}");
}

#[test]
fn an_interrupt_ends_the_run_with_its_report() {
    let (target, accepted) = serve_never();
    let running = start(&format!(
        "open --target {target} --rate 100 --duration 10min --arrivals uniform --deadline 100ms --json"
    ));
    accepted.recv_timeout(PATIENCE).expect("it has started");
    running.signal(Signal::INT);
    let ran = running.wait();
    let report = ran.report();
    assert_eq!(accounted(&report), 60_000);
    assert_eq!(report["run"]["interrupted"], true);
    assert_eq!(ran.code, Some(1));
}
