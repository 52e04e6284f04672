//! The closed loop, against good backends and bad ones.

use std::io::Write;

use serde_json::Value;

use crate::{
    command::{Backend, count, loadtest},
    peer::{echo_changed, nobody, request, reset, serve, serve_never},
};

/// Runs 10 requests of 64 bytes in the echo protocol; all must fail, and as this kind.
fn all_fail(target: std::net::SocketAddr, kind: &str) -> Value {
    // Nobody else must run into it on a busy machine.
    let deadline = if kind == "deadline" { "300ms" } else { "30s" };
    let ran = loadtest(&format!(
        "closed --target {target} --protocol echo --requests 10 --connections 2 --duration 30s --deadline {deadline} --json"
    ));
    let report = ran.report();
    assert_eq!(count(&report, &format!("/requests/failed_by_kind/{kind}")), 10, "{report:#}");
    assert_eq!(count(&report, "/requests/failed"), 10, "{report:#}");
    assert_eq!(count(&report, "/requests/ok"), 0, "{report:#}");
    assert_eq!(ran.code, Some(1));
    report
}

#[test]
fn the_counts_are_those_of_the_backend() {
    let backend = Backend::start("reply");
    let ran = loadtest(&format!(
        "closed --target {} --connections 4 --requests 500 --request-size 1000 --reply-size 3000 --duration 60s \
         --threads 2 --json",
        backend.address
    ));
    let report = ran.report();
    assert_eq!(count(&report, "/requests/ok"), 500);
    assert_eq!(count(&report, "/requests/failed"), 0);
    assert_eq!(count(&report, "/connections/opened"), 4);
    for times in ["first_byte", "request"] {
        assert_eq!(count(&report, &format!("/microseconds/{times}/count")), 500);
    }
    assert_eq!(ran.code, Some(0));
    let totals = backend.totals(["connections", "requests", "bytes_in", "bytes_out", "malformed"]);
    assert_eq!(totals, [4, 500, 500_000, 1_500_000, 0]);
}

#[test]
fn a_connection_is_replaced_after_its_number_of_requests() {
    for (per_connection, connections) in [(1, 30), (7, 5)] {
        let backend = Backend::start("reply");
        let ran = loadtest(&format!(
            "closed --target {} --requests 30 --per-connection {per_connection} --json",
            backend.address
        ));
        assert_eq!(ran.code, Some(0));
        assert_eq!(count(&ran.report(), "/connections/opened"), connections);
        assert_eq!(backend.totals(["connections", "requests"]), [connections, 30]);
    }
}

#[test]
fn it_ends_by_itself_when_the_duration_is_over() {
    let backend = Backend::start("reply");
    let ran = loadtest(&format!("closed --target {} --duration 1s --json", backend.address));
    let ok = count(&ran.report(), "/requests/ok");
    assert!(ok > 0);
    assert_eq!(backend.totals(["requests"]), [ok]);
}

#[test]
fn an_echo_longer_than_the_socket_buffers_comes_back_whole() {
    let backend = Backend::start("echo");
    let ran = loadtest(&format!(
        "closed --target {} --protocol echo --request-size 10MiB --requests 2 --duration 60s --deadline 60s --json",
        backend.address
    ));
    assert_eq!(count(&ran.report(), "/requests/ok"), 2);
    assert_eq!(backend.totals(["bytes_in", "bytes_out"]), [2 * 10_485_760; 2]);
}

#[test]
fn a_flipped_bit_is_found_at_its_place() {
    let target = serve(|stream| echo_changed(stream, |bytes| bytes[63] ^= 0x40));
    let report = all_fail(target, "wrong bytes");
    assert_eq!(report["requests"]["first_failures"]["wrong bytes"], "byte 63 of the reply");
}

#[test]
fn a_byte_too_many_is_found() {
    let target = serve(|stream| echo_changed(stream, |bytes| bytes.push(0)));
    let report = all_fail(target, "wrong bytes");
    assert_eq!(report["requests"]["first_failures"]["wrong bytes"], "byte 64 of the reply");
}

#[test]
fn the_reply_to_another_request_is_found() {
    // The second reply on a connection is the first one again.
    let target = serve(|mut stream| {
        let Some(first) = request(&mut stream) else { return };
        while stream.write_all(&first).is_ok() && request(&mut stream).is_some() {}
    });
    let ran = loadtest(&format!("closed --target {target} --protocol echo --requests 10 --json"));
    let report = ran.report();
    assert_eq!(count(&report, "/requests/ok"), 5);
    assert_eq!(count(&report, "/requests/failed_by_kind/wrong bytes"), 5);
}

#[test]
fn an_early_end_of_the_stream_is_cut_short() {
    let target = serve(|mut stream| {
        if let Some(bytes) = request(&mut stream) {
            let _ = stream.write_all(&bytes[..17]);
        }
    });
    let report = all_fail(target, "cut short");
    assert_eq!(
        report["requests"]["first_failures"]["cut short"],
        "end of stream after 17 bytes of the reply"
    );
}

#[test]
fn a_reset_is_a_reset() {
    let target = serve(|mut stream| {
        request(&mut stream);
        reset(stream);
    });
    all_fail(target, "reset");
}

#[test]
fn an_address_where_nobody_listens_refuses() {
    let (_held, target) = nobody();
    let report = all_fail(target, "connect refused");
    assert_eq!(count(&report, "/connections/opened"), 0);
}

#[test]
fn a_server_that_does_not_answer_runs_into_the_deadline() {
    let (target, _accepted) = serve_never();
    let report = all_fail(target, "deadline");
    assert_eq!(report["microseconds"]["request"]["p50"], Value::Null);
    assert_eq!(count(&report, "/microseconds/until_failure/count"), 10);
}
