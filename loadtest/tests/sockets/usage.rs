//! The command line: what it takes, and what it says to what it does not take.

use crate::{
    command::{Backend, loadtest, loadtest_after},
    peer::nobody,
};

#[test]
fn success_is_0_and_failure_is_1_also_with_the_table() {
    let backend = Backend::start("reply");
    let ran = loadtest(&format!("closed --target {} --requests 5", backend.address));
    assert_eq!(ran.code, Some(0));
    assert!(ran.stdout.contains("requests ok                    5\n"), "{}", ran.stdout);
    assert_eq!(ran.stderr, "");

    let (_held, target) = nobody();
    let ran = loadtest(&format!("closed --target {target} --requests 3"));
    assert_eq!(ran.code, Some(1));
    assert!(ran.stdout.contains("connect refused              3  first: nobody listens"), "{}", ran.stdout);
}

#[test]
fn wrong_usage_is_2_and_names_the_option_and_its_bound() {
    for (arguments, says) in [
        ("", "Usage:"),
        ("closed", "--target"),
        ("closed --target nowhere", "127.0.0.1:9000"),
        ("closed --target 127.0.0.1:1 --duration 10", "10s"),
        ("closed --target 127.0.0.1:1 --duration 0s", "--duration: must be longer than 0s"),
        ("closed --target 127.0.0.1:1 --deadline 1h", "at most 30m"),
        ("closed --target 127.0.0.1:1 --connections 0", "--connections: value is too small (0), at least 1"),
        ("closed --target 127.0.0.1:1 --request-size 10", "at least 24"),
        ("closed --target 127.0.0.1:1 --reply-size 2GiB", "at most 1073741824"),
        ("closed --target 127.0.0.1:1 --protocol echo --reply-size 9", "an echo is as long as its request"),
        ("closed --target 127.0.0.1:1 --threads 2", "--threads: value is too large (2), at most 1"),
        ("closed --target 127.0.0.1:1 --per-connection 0", "--per-connection"),
        ("open --target 127.0.0.1:1", "--rate"),
        ("open --target 127.0.0.1:1 --rate 0", "from 0.001 to 10000000"),
        ("open --target 127.0.0.1:1 --rate fast", "2000/s"),
        ("backend sink --listen 127.0.0.1:0 --delay 1ms", "a sink never answers"),
        ("backend tea --listen 127.0.0.1:0", "echo, reply, sink"),
    ] {
        let ran = loadtest(arguments);
        assert_eq!(ran.code, Some(2), "{arguments}: {}{}", ran.stdout, ran.stderr);
        assert!(ran.stderr.contains(says), "{arguments}: {}", ran.stderr);
        assert_eq!(ran.stdout, "", "{arguments}");
    }
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let ran = loadtest("closed --target 127.0.0.1:1 --connections 0 --requests 0 --deadline 0s");
    for option in ["--connections", "--requests", "--deadline"] {
        assert!(ran.stderr.contains(&format!("error: {option}: ")), "{option}: {}", ran.stderr);
    }
}

#[test]
fn a_taken_port_is_said_and_is_1() {
    let backend = Backend::start("echo");
    let ran = loadtest(&format!("backend echo --listen {}", backend.address));
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains(&format!("cannot listen on {}", backend.address)), "{}", ran.stderr);
}

#[test]
fn help_shows_examples() {
    for command in ["", "backend", "closed", "open", "versus"] {
        let ran = loadtest(&format!("{command} --help"));
        assert_eq!(ran.code, Some(0));
        assert!(ran.stdout.contains("Examples:\n  loadtest "), "{}", ran.stdout);
    }
}

#[test]
fn a_low_soft_limit_on_open_files_is_raised() {
    let backend = Backend::start("reply");
    let arguments = format!("closed --target {} --connections 200 --requests 400", backend.address);
    let ran = loadtest_after("ulimit -Sn 50", &arguments);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
}

#[test]
fn more_connections_than_the_hard_limit_allows_are_refused_before_the_run() {
    let ran = loadtest_after("ulimit -n 100", "closed --target 127.0.0.1:1 --connections 200");
    assert_eq!(ran.code, Some(2));
    let says =
        "--connections: value is too large (200), at most 76 is allowed by the hard limit of 100 open files";
    assert!(ran.stderr.contains(says), "{}", ran.stderr);
}

#[test]
fn progress_goes_to_stderr_and_leaves_stdout_alone() {
    let backend = Backend::start("reply");
    let ran = loadtest(&format!(
        "closed --target {} --duration 60s --requests 3 --request-delay 500ms --progress --json",
        backend.address
    ));
    assert!(ran.stderr.starts_with("   1 s "), "{}", ran.stderr);
    ran.report();
}
