//! The comparison of algorithms, for real: ringway has to be built.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    command::{PATIENCE, Ran, Running, count, loadtest},
    peer::{nobody, serve},
    versus::ringway,
};

/// Runs `loadtest compare` with results in a folder of its own.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    fn start(&self, arguments: &[&str]) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
        command.arg("compare").args(arguments).arg("--ringway").arg(ringway());
        command.arg("--out").arg(self.folder.path().join("out")).env("TMPDIR", self.folder.path());
        Running::spawn(command)
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        self.start(arguments).wait()
    }

    /// A scenario of this test's own.
    fn scenario(&self, text: &str) -> String {
        let path = self.folder.path().join("own.toml");
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// The one folder of results.
    fn results(&self) -> PathBuf {
        let mut found = fs::read_dir(self.folder.path().join("out")).unwrap();
        let folder = found.next().expect("there are results").unwrap().path();
        assert!(found.next().is_none());
        folder
    }
}

fn number(value: &Value, pointer: &str) -> f64 {
    value.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("no {pointer} in {value:#}"))
}

#[test]
fn every_algorithm_meets_the_same_sessions_and_only_some_see_the_slow_backend() {
    let place = Place::new();
    let ran = place.run(&[
        "--scenario=one-slow",
        "--algorithms=round-robin,least-response-time",
        "--rate=300",
        "--warm-up=1s",
        "--duration=1s",
        "--repeats=2",
        "--workers=1",
        "--json",
    ]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let report = ran.report();
    let [even, quick] = [&report["algorithms"][0], &report["algorithms"][1]];
    assert_eq!(
        (&even["algorithm"], &quick["algorithm"]),
        (&"round-robin".into(), &"least-response-time".into())
    );
    assert_eq!(report["backends"], serde_json::json!(["fast-1", "fast-2", "fast-3", "slow"]));
    for one in [even, quick] {
        // The same seed and round: the same sessions, and all of them answered.
        assert_eq!(one["planned"], even["planned"]);
        assert_eq!(one["failed"], 0, "{one:#}");
        assert_eq!(count(one, "/session/count"), count(one, "/planned"));
        assert_eq!(one["repeats"].as_array().unwrap().len(), 2);
        let p50 = number(one, "/session/p50");
        assert!(number(one, "/connect/p50") <= p50 && p50 <= number(one, "/session/max"));
    }
    let [even_share, quick_share] = [even, quick].map(|one| number(one, "/shares/3"));
    assert!((even_share - 0.25).abs() < 0.02, "round-robin gave the slow one {even_share}");
    assert!(quick_share < 0.2, "least-response-time gave the slow one {quick_share}");
    assert!(number(even, "/fairness") > 0.99);
    // What is kept says the same as what was printed.
    let folder = place.results();
    let kept: Value = serde_json::from_slice(&fs::read(folder.join("result.json")).unwrap()).unwrap();
    assert_eq!(kept, report);
    let page = fs::read_to_string(folder.join("report.html")).unwrap();
    let anew = loadtest(&format!("page {}", folder.join("result.json").display()));
    assert!(page.contains("least-response-time") && anew.stdout == page, "{}", anew.stderr);
    let trials = fs::read_to_string(folder.join("trials.jsonl")).unwrap();
    assert_eq!(trials.lines().count(), 4);
    let table = fs::read_to_string(folder.join("table.txt")).unwrap();
    for part in
        ["round-robin", "least-response-time", "fast-1, fast-2, fast-3, slow", "p99.9", "Shortest p99"]
    {
        assert!(table.contains(part), "no {part} in\n{table}");
    }
    let distribution = fs::read_to_string(folder.join("round-robin-session.hgrm")).unwrap();
    let planned = count(even, "/planned");
    assert!(distribution.contains("Percentile") && distribution.trim_end().ends_with(&format!("{planned}]")));
}

#[test]
fn the_percentiles_are_those_of_the_delays_that_the_backend_is_known_to_have() {
    let place = Place::new();
    let scenario = place.scenario(
        "description = 'exponential'\nrate = 400\narrivals = 'uniform'\n\
         [[backend]]\nname = 'a'\nconcurrency = 5000\nservice = { spread = 'exponential', mean = '100ms' }\n",
    );
    // -ln(1 - q) x 100 ms. Standard errors: 100 ms x sqrt(q / (1 - q) / 2000), five of them; and what the way there and back
    // and a busy machine add, which is never less than nothing. One that is very busy gets another chance.
    let mut too_much = Vec::new();
    for _ in 0..5 {
        let ran = place.run(&[
            "--scenario",
            &scenario,
            "--algorithms=round-robin",
            "--repeats=1",
            "--warm-up=500ms",
            "--duration=5s",
            "--json",
        ]);
        let report = ran.report();
        let one = &report["algorithms"][0];
        assert_eq!((count(one, "/planned"), count(one, "/session/count")), (2000, 2000));
        too_much.clear();
        for (pointer, quantile) in [("/session/p50", 0.5f64), ("/session/p90", 0.9), ("/session/p99", 0.99)] {
            let expected_ms = -(1.0 - quantile).ln() * 100.0;
            let spread_ms = 5.0 * 100.0 * (quantile / (1.0 - quantile) / 2000.0).sqrt();
            let measured_ms = number(one, pointer) / 1e3;
            assert!(
                measured_ms > expected_ms - spread_ms,
                "{pointer}: {measured_ms} of {expected_ms} - {spread_ms}"
            );
            if measured_ms >= expected_ms + spread_ms + 40.0 {
                too_much.push(format!("{pointer}: {measured_ms} of {expected_ms} + {spread_ms}"));
            }
        }
        if too_much.is_empty() {
            break;
        }
    }
    assert!(too_much.is_empty(), "{too_much:?}");
}

#[test]
fn a_stall_of_a_second_shows_in_full_and_hides_no_session() {
    let place = Place::new();
    let scenario = place.scenario(
        "description = 'stalls'\nrate = 200\narrivals = 'uniform'\nduration = '3s'\n\
         [[backend]]\nname = 'a'\nservice = { spread = 'constant', mean = '1ms' }\n\
         [[backend.trouble]]\nwhat = 'stall'\nfrom = '1s'\nto = '2s'\n",
    );
    let ran =
        place.run(&["--scenario", &scenario, "--algorithms=first", "--repeats=1", "--warm-up=0s", "--json"]);
    let report = ran.report();
    let one = &report["algorithms"][0];
    assert_eq!((count(one, "/planned"), count(one, "/session/count")), (600, 600));
    // Sessions that were due in the stall waited for its end: a third of all, and the first of them nearly a second. A
    // generator that waited with them would have one.
    assert!(number(one, "/session/p99.9") > 980e3, "{one:#}");
    assert!(number(one, "/session/p99") > 950e3, "{one:#}");
    assert!(number(one, "/session/p90") > 650e3, "{one:#}");
    let slices = one["over_time"].as_array().unwrap();
    let worst = slices.iter().max_by(|a, b| number(a, "/p99_us").total_cmp(&number(b, "/p99_us"))).unwrap();
    assert!((1.0..1.1).contains(&number(worst, "/at_s")), "{worst:#}");
    assert_eq!(report["about"]["events"][0]["what"], "a stands still");
}

#[test]
fn a_backend_that_dies_is_left_and_taken_back() {
    let place = Place::new();
    let ran = place.run(&[
        "--scenario=backend-dies-and-returns",
        "--algorithms=round-robin",
        "--rate=200",
        "--repeats=1",
        "--workers=1",
        "--json",
    ]);
    let report = ran.report();
    let one = &report["algorithms"][0];
    // Dead for 1.5 of 4 seconds: without a return its share would be below 0.08 (a quarter of the first second).
    let share = number(one, "/shares/3");
    assert!((0.09..0.22).contains(&share), "{one:#}");
    // Only what was under way when it died is lost: at 50 sessions a second of 5 ms each, some.
    assert!(count(one, "/failed") <= 8, "{one:#}");
}

#[test]
fn real_backends_are_asked_what_is_typed_and_shares_come_from_ringway() {
    fn answer(mut stream: TcpStream) {
        let mut request = [0; 6];
        if stream.read_exact(&mut request).is_ok() {
            assert_eq!(&request, b"hello\n");
            stream.write_all(b"welcome\n").unwrap();
        }
    }
    let place = Place::new();
    let backends = format!("--backend={},{}", serve(answer), serve(answer));
    let ran = place.run(&[
        &backends,
        r"--send=hello\n",
        "--algorithms=round-robin",
        "--rate=100",
        "--warm-up=200ms",
        "--duration=1s",
        "--repeats=1",
        "--arrivals=uniform",
        "--workers=1",
        "--json",
    ]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let report = ran.report();
    let one = &report["algorithms"][0];
    assert_eq!((count(one, "/planned"), count(one, "/session/count"), count(one, "/failed")), (100, 100, 0));
    assert!((number(one, "/shares/0") - 0.5).abs() < 0.01, "{one:#}");
}

#[test]
fn a_ramp_finds_where_the_backends_are_full() {
    let place = Place::new();
    // Two backends that carry 100 sessions a second each.
    let scenario = place.scenario(
        "description = 'full'\nrate = 100\narrivals = 'uniform'\n\
         [[backend]]\nname = 'a'\ncount = 2\nconcurrency = 1\nservice = { spread = 'constant', mean = '10ms' }\n",
    );
    let mut knee = 0.0;
    // A busy machine can only make less hold; it gets some chances more.
    for _ in 0..5 {
        let ran = place.run(&[
            "--scenario",
            &scenario,
            "--algorithms=round-robin",
            "--ramp=50-800",
            "--steps=5",
            "--repeats=1",
            "--warm-up=200ms",
            "--duration=2s",
            "--workers=1",
            "--json",
        ]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let report = ran.report();
        assert_eq!(report["rates"], serde_json::json!([50.0, 100.0, 200.0, 400.0, 800.0]));
        let steps = report["algorithms"][0]["steps"].as_array().unwrap();
        assert_eq!(steps.last().unwrap()["holds"], false);
        knee = number(&report, "/algorithms/0/knees/0");
        if knee >= 100.0 {
            break;
        }
    }
    assert!((100.0..=200.0).contains(&knee), "{knee}");
}

#[test]
fn an_interrupt_keeps_the_rounds_that_are_complete_and_leaves_nothing_running() {
    let place = Place::new();
    let running = place.start(&[
        "--scenario=equal",
        "--algorithms=round-robin,random",
        "--rate=100",
        "--warm-up=100ms",
        "--duration=300ms",
        "--repeats=100",
    ]);
    let trials = || {
        let folder = fs::read_dir(place.folder.path().join("out")).ok()?.next()?.ok()?.path();
        Some(fs::read_to_string(folder.join("trials.jsonl")).ok()?.lines().count())
    };
    let begun = Instant::now();
    while trials().unwrap_or(0) < 3 {
        assert!(begun.elapsed() < PATIENCE, "no trials");
        thread::sleep(Duration::from_millis(20));
    }
    running.signal(Signal::INT);
    let ran = running.wait();
    assert_eq!(ran.code, Some(130), "{}", ran.stderr);
    assert!(
        ran.stdout.contains("interrupted: only the rounds that were complete are here"),
        "{}",
        ran.stdout
    );
    let kept: Value =
        serde_json::from_slice(&fs::read(place.results().join("result.json")).unwrap()).unwrap();
    let repeats = |index: usize| kept["algorithms"][index]["repeats"].as_array().unwrap().len();
    assert!(repeats(0) >= 1 && repeats(0) == repeats(1));
    let left: Vec<_> =
        fs::read_dir(place.folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(left, [place.folder.path().join("out")], "files are left behind");
}

#[test]
fn what_is_wrong_is_said_at_once_with_what_would_be_right() {
    for (arguments, complaints) in [
        ("", &["--scenario NAME (--list names them), or --backend ADDRESSES"][..]),
        (
            "--scenario one-slwo --algorithms best,maglev --repeats 0 --workers many",
            &[
                "--scenario: there is no one-slwo; there are backend-dies-and-returns, bimodal, equal,",
                "--algorithms: there is no best; there are round-robin,",
                "--repeats: value is too small (0), at least 1 is needed",
                "--workers: many: auto, or a number from 1 to 1024",
            ],
        ),
        ("--scenario equal --ramp 500", &["write two rates with a dash between them"]),
        ("--scenario equal --pool-config slow_start", &["--pool-config: ", "write for example"]),
        ("--backend 127.0.0.1:1", &["--send <TEXT>"]),
        ("--scenario /does/not/exist.toml", &["--scenario: cannot read /does/not/exist.toml: No such file"]),
        ("--scenario equal --rate 5 --ramp 1-2", &["cannot be used with"]),
        (
            "--scenario one-stalls --duration 500ms",
            &["--duration: backend stalls: trouble: it begins at 1s, after the measured time of 500ms"],
        ),
    ] {
        let ran = loadtest(&format!("compare {arguments}"));
        assert_eq!(ran.code, Some(2), "{arguments}: {}", ran.stderr);
        for complaint in complaints {
            assert!(ran.stderr.contains(complaint), "{arguments}: no {complaint} in {}", ran.stderr);
        }
    }
}

#[test]
fn backends_that_never_answer_are_a_failure_and_nothing_is_compared() {
    let place = Place::new();
    let (_held, nobody) = nobody();
    let backend = format!("--backend={nobody}");
    let ran = place.run(&[
        &backend,
        "--send=x",
        "--algorithms=round-robin,random",
        "--rate=50",
        "--warm-up=0s",
        "--duration=200ms",
        "--repeats=1",
    ]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stdout.contains("No algorithm had an answer in every repeat"), "{}", ran.stdout);
    let anew = loadtest(&format!("page {}", place.results().join("result.json").display()));
    assert_eq!(anew.code, Some(0), "{}", anew.stderr);
}

#[test]
fn what_ringway_refuses_is_told_before_anything_is_measured() {
    let place = Place::new();
    let ran = place.run(&[
        "--scenario=equal",
        "--algorithms=round-robin",
        "--pool-config=slow_strat = '5s'",
        "--repeats=1",
    ]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("ringway refuses the configuration for round-robin"), "{}", ran.stderr);
    assert!(ran.stderr.contains("slow_strat"), "{}", ran.stderr);
    assert!(!place.folder.path().join("out").exists());
}

#[test]
fn the_scenarios_are_listed() {
    let ran = loadtest("compare --list");
    assert_eq!(ran.code, Some(0));
    assert_eq!(ran.stdout.lines().count(), 8, "{}", ran.stdout);
    assert!(ran.stdout.contains("one-slow                  One backend of four"), "{}", ran.stdout);
}
