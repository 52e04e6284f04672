//! The comparison, for real: nginx, haproxy and wrk have to be installed, and ringway built.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    process::Signal,
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};
use serde_json::Value;
use tempfile::TempDir;

use crate::command::{PATIENCE, Ran, Running};

/// A place of its own for each comparison, with which everything that it starts can be found.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        for name in ["out", "bin"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        fs::create_dir(folder.path().join("temporary")).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `loadtest versus` leads a session of its own, which all that it starts belong to.
    fn start(&self, arguments: &str, path: Option<&Path>) -> Running {
        let mut command = Command::new("/usr/bin/setsid");
        command.arg(env!("CARGO_BIN_EXE_loadtest")).arg("versus").args(arguments.split_whitespace());
        if !arguments.contains("--ringway ") && !arguments.contains("--peers-only") {
            command.arg("--ringway").arg(ringway());
        }
        command.arg("--out").arg(self.path("out")).env("TMPDIR", self.path("temporary"));
        if let Some(path) = path {
            command.env("PATH", path);
        }
        Running::spawn(command)
    }

    fn run(&self, arguments: &str) -> Ran {
        self.start(arguments, None).wait()
    }

    /// The lines of the raw data: first the header, then the cells.
    fn raw(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.kept("jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn kept(&self, ending: &str) -> PathBuf {
        let files = fs::read_dir(self.path("out")).unwrap().map(|entry| entry.unwrap().path());
        let mut found = files.filter(|path| path.extension().is_some_and(|is| is == ending));
        let file = found.next().unwrap_or_else(|| panic!("no file .{ending}"));
        assert!(found.next().is_none());
        file
    }

    /// No file, and no process of this session.
    fn assert_nothing_is_left(&self, session: u32) {
        let left: Vec<_> = fs::read_dir(self.path("temporary")).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
        assert_eq!(processes(session), Vec::<String>::new());
    }
}

/// Name and number of each process in this session.
fn processes(session: u32) -> Vec<String> {
    let all = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let stat = fs::read_to_string(entry.unwrap().path().join("stat")).ok()?;
        let (name, rest) = stat.rsplit_once(')')?;
        let is_ours = rest.split_whitespace().nth(3)?.parse() == Ok(session);
        is_ours.then(|| name.to_owned())
    });
    all.collect()
}

/// Built beside us by `cargo test` for the whole workspace.
pub(crate) fn ringway() -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_loadtest")).with_file_name("ringway");
    assert!(path.is_file(), "{} is not there: 'cargo build' makes it", path.display());
    path
}

#[test]
fn a_comparison_gives_tables_and_raw_data_and_leaves_nothing_running() {
    let place = Place::new();
    let running = place
        .start("--quick --work small-64,latency-1,idle --idle-connections 50 --peers haproxy,nginx", None);
    let session = running.id();
    let ran = running.wait();
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    place.assert_nothing_is_left(session);

    for says in [
        "ringway 0.",
        "HAProxy version",
        "nginx version",
        "wrk ",
        "best peer",
        "small-64",
        "CPU us / request",
        "resident KB each",
        "of the best peer or less",
    ] {
        assert!(ran.stdout.contains(says), "{says}: {}", ran.stdout);
    }
    let text = fs::read_to_string(place.kept("txt")).unwrap();
    assert!(ran.stdout.starts_with(&text), "{text}");
    let markdown = fs::read_to_string(place.kept("md")).unwrap();
    assert!(markdown.contains("| work ") && markdown.contains("## Targets"), "{markdown}");

    let raw = place.raw();
    assert!(raw[0]["run"]["command"].as_str().unwrap().contains("versus --quick"));
    let cells = &raw[1..];
    assert_eq!(cells.len(), 9);
    for cell in cells {
        assert_eq!(cell["faults"].as_array().unwrap().len(), 0, "{cell:#}");
        if cell["work"] == "idle" {
            assert_eq!(cell["memory"]["connections"], 50);
        } else {
            assert!(cell["load"]["requests"].as_u64().unwrap() > 0, "{cell:#}");
            assert!(cell["load"]["p50_us"].as_f64().unwrap() > 0.0, "{cell:#}");
            // It is the proxy's, and the proxy carried every byte of it.
            assert!(cell["cpu_ns"].as_u64().unwrap() > 0, "{cell:#}");
            assert!(!cell["raw"].as_str().unwrap().is_empty());
        }
    }
    // A progress line each, with the time that is left.
    assert_eq!(ran.stderr.lines().filter(|line| line.ends_with(" left")).count(), 9, "{}", ran.stderr);
}

#[test]
fn datagrams_are_compared_without_the_peers_that_do_not_carry_them() {
    let place = Place::new();
    let ran = place.run("--quick --udp --work udp-64-1,udp-64-64,udp-1200-64 --peers-only");
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    for text in ["udp-64-64", "udp-1200-64", "datagrams / CPU s", "nginx"] {
        assert!(ran.stdout.contains(text), "{text}: {}", ran.stdout);
    }
    let raw = place.raw();
    assert_eq!(raw.len(), 1 + 3);
    for cell in &raw[1..] {
        assert_eq!(cell["proxy"], "nginx");
        assert!(cell["load"]["requests"].as_u64().unwrap() > 0, "{cell}");
    }
}

#[test]
fn a_variant_that_leaves_clients_waiting_is_not_valid_and_not_counted() {
    let place = Place::new();
    let ran = place.run("--quick --work small-64 --peers nginx --variant tiny=sessions_max=10");
    assert_eq!(ran.code, Some(1), "{}{}", ran.stdout, ran.stderr);
    let fault = "small-64 tiny round 1: ";
    assert!(
        ran.stdout.contains(fault) && ran.stdout.contains("not all of 64 connections were served"),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains("Between the ringways"), "{}", ran.stdout);
    let of_the_work: Vec<_> = ran.stdout.lines().filter(|line| line.contains("requests/s")).collect();
    assert!(of_the_work[0].contains("not valid"), "{of_the_work:?}");
    // The others are.
    let cells = &place.raw()[1..];
    let faulty: Vec<_> = cells.iter().filter(|cell| cell["faults"] != Value::Array(Vec::new())).collect();
    assert_eq!(faulty.len(), 1);
    assert_eq!(faulty[0]["proxy"], "tiny");
}

#[test]
fn an_interrupt_keeps_what_was_measured_and_leaves_nothing_running() {
    let place = Place::new();
    let running = place.start("--rounds 100 --seconds 1 --work small-1 --peers nginx", None);
    let session = running.id();
    let deadline = Instant::now() + PATIENCE;
    let cells = || fs::read_dir(place.path("out")).unwrap().count() == 1 && place.raw().len() > 1;
    while !cells() {
        assert!(Instant::now() < deadline, "nothing is measured");
        thread::sleep(Duration::from_millis(20));
    }
    running.signal(Signal::INT);
    let ran = running.wait();
    assert_eq!(ran.code, Some(130), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("interrupted: not all was measured"), "{}", ran.stdout);
    assert!(ran.stdout.contains("small-1"), "{}", ran.stdout);
    place.assert_nothing_is_left(session);
}

#[test]
fn what_it_started_ends_even_when_it_is_killed() {
    let place = Place::new();
    let running = place.start("--rounds 100 --seconds 1 --work small-1 --peers haproxy,nginx", None);
    let session = running.id();
    let deadline = Instant::now() + PATIENCE;
    // Itself, its backends (nginx is two), three proxies (nginx is two again), and wrk.
    while processes(session).len() < 8 {
        assert!(Instant::now() < deadline, "{:?}", processes(session));
        thread::sleep(Duration::from_millis(20));
    }
    running.signal(Signal::KILL);
    running.wait();
    while !processes(session).is_empty() {
        assert!(Instant::now() < deadline, "{:?}", processes(session));
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_is_missing_is_named_with_its_package_all_at_once() {
    let place = Place::new();
    let ran = place.start("--quick", Some(&place.path("bin"))).wait();
    assert_eq!(ran.code, Some(1), "{}{}", ran.stdout, ran.stderr);
    for package in ["nginx", "wrk", "haproxy"] {
        assert!(ran.stderr.contains(&format!("apt-get install {package}'")), "{package}: {}", ran.stderr);
    }
    assert!(ran.stderr.contains("--skip-missing"), "{}", ran.stderr);
    // Nothing was begun.
    assert_eq!(fs::read_dir(place.path("out")).unwrap().count(), 0);
}

#[test]
fn a_missing_peer_can_be_left_out_and_is_said() {
    let place = Place::new();
    let nginx = ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/sbin/nginx"];
    let nginx = nginx.iter().find(|path| Path::new(path).exists()).expect("nginx is installed");
    symlink(nginx, place.path("bin").join("nginx")).unwrap();
    let arguments = "--quick --work idle --idle-connections 20 --skip-missing";
    let ran = place.start(arguments, Some(&place.path("bin"))).wait();
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("haproxy-splice: haproxy is missing (package haproxy)"), "{}", ran.stdout);
    assert_eq!(place.raw().len(), 3, "the header, ringway and nginx");
}

#[test]
fn a_ringway_that_is_not_built_and_a_folder_that_cannot_be_written_are_said_before_anything_starts() {
    let place = Place::new();
    let ran = place.run("--quick --ringway /nowhere/ringway");
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("/nowhere/ringway is not there"), "{}", ran.stderr);
    assert!(ran.stderr.contains("cargo build --release"), "{}", ran.stderr);

    fs::remove_dir(place.path("out")).unwrap();
    fs::write(place.path("out"), "a file").unwrap();
    let ran = place.run("--quick");
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("cannot write the results to"), "{}", ran.stderr);
    assert!(ran.stderr.contains("--out"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("1/"), "{}", ran.stderr);
}

#[test]
fn one_core_is_not_enough() {
    // Of this thread, and of what it starts.
    let allowed = sched_getaffinity(None).unwrap();
    let first = (0..CpuSet::MAX_CPU).find(|core| allowed.is_set(*core)).unwrap();
    let mut only = CpuSet::new();
    only.set(first);
    sched_setaffinity(None, &only).unwrap();
    let ran = Place::new().run("--quick");
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("two cores are needed"), "{}", ran.stderr);
}

#[test]
fn wrong_values_are_said_with_those_that_there_are() {
    let place = Place::new();
    for (arguments, says) in [
        ("--work small-1,udp-64-1", "measured in runs of their own"),
        ("--work tea", "there is no tea; use names of small-1"),
        ("--peers envoy", "haproxy-splice"),
        ("--rounds 0", "--rounds: value is too small (0)"),
        ("--proxy-core 100000", "--proxy-core: core 100000 is not allowed here"),
        ("--variant nginx=a=1", "--variant nginx: the name is taken"),
        ("--variant x", "NAME@PATH"),
    ] {
        let ran = place.run(arguments);
        assert_eq!(ran.code, Some(2), "{arguments}: {}", ran.stderr);
        assert!(ran.stderr.contains(says), "{arguments}: {}", ran.stderr);
    }
}
