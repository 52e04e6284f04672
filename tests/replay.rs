//! Replays of made-up records: through the library, and through the real command.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Instant;

use fastrand::Rng;
use ringway::arrivals::{Arrival, Client, Counts, List, Setting};
use ringway::config::{self, Algorithm, Choice, Record};
use ringway::end::End;
use ringway::model::replay::{self, Request};
use ringway::record::{Header, Writer, setting};
use ringway::table::BackendId;

/// One pool of four backends behind one listener, and another pool.
fn setting_of(pool: &str) -> String {
    let mut text = format!(
        "[[listener]]\nname = 'a'\nbind = '127.0.0.1:1'\npool = 'web'\n\
         [[listener]]\nname = 'b'\nbind = '127.0.0.1:2'\npool = 'other'\n\
         [[pool]]\nname = 'other'\n[[pool.backend]]\naddress = '10.0.0.9:80'\n\
         [[pool]]\nname = 'web'\n{pool}\n"
    );
    for backend in 1..=4 {
        text += &format!("[[pool.backend]]\naddress = '10.0.0.{backend}:80'\nname = 'b{backend}'\n");
        if pool.contains("queue") {
            text += "max_connections = 2\n";
        }
    }
    setting(&config::parse("made up", &text).unwrap(), 2)
}

fn write(path: &Path, setting: String, arrivals: impl Iterator<Item = Arrival>) {
    let spec = Record { path: path.to_owned(), size_max: 1 << 30, files: 0, addresses: false };
    let header = Header { begun_unix_us: 1_700_000_000_000_000, run: 1, addresses: false, setting };
    let counts = Arc::new(Counts::default());
    let setting = Arc::new(Setting { generation: 1, text: header.setting.clone() });
    let mut writer = Writer::open(spec, header, Arc::clone(&counts)).unwrap();
    writer.write(std::iter::once(List { setting, arrivals: arrivals.collect() }), Instant::now());
    assert_eq!(counts.lost(), 0);
}

/// So many sessions, 2,000 a second, in turn over four backends of which the first (10.0.0.1, after the one of the other pool)
/// takes ten times as long.
fn arrivals(count: u64) -> impl Iterator<Item = Arrival> {
    let mut dice = Rng::with_seed(3);
    (0..count).map(move |number| {
        let backend = number % 4;
        let first_byte_us = dice.u64(1_000..5_000) * if backend == 0 { 10 } else { 1 };
        Arrival {
            listener: 0,
            pool: 1,
            backend: Some(BackendId::new(1 + backend as usize)),
            client: Client::Hash(dice.u64(0..1_000)),
            accepted_us: number * 500,
            waited_us: 3,
            connect_us: Some(100),
            first_byte_us: Some(first_byte_us),
            duration_us: first_byte_us + 1_000,
            bytes_to_backend: 100,
            bytes_to_client: 1_000,
            end: End::Complete,
        }
    })
}

fn request<'a>(files: &'a [PathBuf], algorithms: &'a [Algorithm]) -> Request<'a> {
    Request { files, pool: None, algorithms, seed: 1, speed: 1.0 }
}

fn ringway(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringway")).current_dir(folder).arg("replay").args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// The cells of the row of an algorithm in the table that begins with a title.
fn row<'t>(table: &'t str, title: &str, name: &str) -> Vec<&'t str> {
    let part = &table[table.find(&format!("\n{title} ")).unwrap()..];
    let line = part.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
    line[name.len()..].split_whitespace().collect()
}

fn milliseconds(cell: &str) -> f64 {
    cell.strip_suffix("ms").unwrap_or_else(|| panic!("{cell}")).parse().unwrap()
}

#[test]
fn the_same_seed_gives_the_same_text_and_another_seed_another() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("record"), setting_of(""), arrivals(20_000));
    let with = |seed| ringway(folder.path(), &["record", "--seed", seed]);
    let (first, again, other) = (with("7"), with("7"), with("8"));
    for output in [&first, &again, &other] {
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert_eq!(text(&output.stderr), "");
    }
    assert!(first.stdout == again.stdout);
    assert!(first.stdout != other.stdout);
    let table = text(&first.stdout);
    assert!(table.starts_with("pool web: 20000 sessions of 1000 clients in 10.00s, 4 backends, 2 workers; "));
    assert!(table.contains("It does not tell how a\nbackend answers to more or fewer sessions"));
}

#[test]
fn turns_are_as_recorded_and_who_measures_leaves_the_slow_one() {
    let folder = tempfile::tempdir().unwrap();
    let files = [folder.path().join("record")];
    write(&files[0], setting_of("algorithm = 'round-robin'"), arrivals(40_000));
    let algorithms = [Algorithm::RoundRobin, Algorithm::LeastResponseTime, Algorithm::Maglev];
    let table = replay::table(&request(&files, &algorithms), |_| {}).unwrap();
    let shares = |name| row(&table, "SHARES", name)[4..].to_vec();
    assert_eq!(shares("as recorded"), ["25.00%"; 4]);
    assert_eq!(shares("round-robin"), ["25.00%"; 4]);
    assert_eq!(row(&table, "SHARES", "round-robin")[3], "1.0000");
    assert_ne!(shares("maglev"), ["25.00%"; 4]);
    let slow: f64 = shares("least-response-time")[0].trim_end_matches('%').parse().unwrap();
    assert!(slow < 10.0, "{table}");
    for title in ["FIRST BYTE", "SESSION"] {
        let p99 = |name| milliseconds(row(&table, title, name)[2]);
        // Drawn from what was recorded, so that it is the same but for the draw.
        assert!((p99("round-robin") / p99("as recorded") - 1.0).abs() < 0.05, "{table}");
        assert!(
            milliseconds(row(&table, title, "least-response-time")[1]) < p99("round-robin") / 2.0,
            "{table}"
        );
    }
    assert!(
        table.contains("\nThe 99th percentile of the first byte is lowest with least-response-time ("),
        "{table}"
    );
}

#[test]
fn those_who_find_every_backend_full_wait_and_some_in_vain() {
    let folder = tempfile::tempdir().unwrap();
    let files = [folder.path().join("record")];
    // 2,000 come in a second, and with two at once on each the four can serve some 1,560.
    let pool = "algorithm = 'least-connections'\nqueue_max = 10\nqueue_timeout = '2ms'";
    write(&files[0], setting_of(pool), arrivals(20_000));
    let algorithms = [Algorithm::LeastConnections];
    let table = replay::table(&request(&files, &algorithms), |_| {}).unwrap();
    let numbers: Vec<u64> =
        row(&table, "SHARES", "least-connections")[..3].iter().map(|cell| cell.parse().unwrap()).collect();
    let [queued, failed, at_once] = numbers[..] else { panic!("{table}") };
    assert!(queued > 1_000 && failed > 1_000 && at_once == 2, "{table}");
    // A tenth as fast they all have room.
    let slower = Request { speed: 0.1, ..request(&files, &algorithms) };
    let table = replay::table(&slower, |_| {}).unwrap();
    assert_eq!(row(&table, "SHARES", "least-connections")[1], "0", "{table}");
    assert!(table.contains("\nclients come 0.1 times as fast as they did\n"), "{table}");
}

#[test]
fn a_file_that_was_cut_is_replayed_up_to_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("record");
    write(&path, setting_of(""), arrivals(1_000));
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
    let output = ringway(folder.path(), &["record", "--algorithms", "random"]);
    assert_eq!(output.status.code(), Some(0));
    let table = text(&output.stdout);
    assert!(table.starts_with("pool web: 999 sessions "), "{table}");
    let note = "note: record: it ends within a session, at byte ";
    assert!(
        table.contains(note) && table.contains("; the 999 sessions before that are replayed\n"),
        "{table}"
    );
}

#[test]
fn a_hole_at_the_end_of_a_file_is_no_sessions() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("record");
    write(&path, setting_of(""), arrivals(1_000));
    // As a crash of the machine leaves it: the length is on the disk, and what was written is not.
    let length = fs::metadata(&path).unwrap().len();
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length + 60_000).unwrap();
    let output = ringway(folder.path(), &["record", "--pool", "web", "--algorithms", "random"]);
    let (table, errors) = (text(&output.stdout), text(&output.stderr));
    assert!(table.starts_with("pool web: 1000 sessions "), "{table}{errors}");
    let note = format!(
        "note: record: the backend of a complete session is damaged at byte {length}; the 1000 sessions before that are replayed\n"
    );
    assert!(table.contains(&note), "{table}");
}

#[test]
fn a_session_runs_from_its_pick_and_not_while_it_waits() {
    let folder = tempfile::tempdir().unwrap();
    let files = [folder.path().join("record")];
    // Ten come together, and each waits until the one before it has left the only backend. Who came last was let in first.
    let one_by_one = arrivals(10).enumerate().map(|(number, arrival)| {
        let (accepted_us, waited_us) = (10 * number as u64, 100_000 * (9 - number as u64));
        let backend = Some(BackendId::new(1));
        Arrival { backend, accepted_us, waited_us, duration_us: waited_us + 90_000, ..arrival }
    });
    write(&files[0], setting_of(""), one_by_one);
    let table = replay::table(&request(&files, &[Algorithm::Random]), |_| {}).unwrap();
    assert_eq!(row(&table, "SHARES", "as recorded")[2], "1", "{table}");
}

#[test]
fn times_that_cannot_be_give_a_table_or_an_error_and_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    let files = [folder.path().join("record")];
    const MAX: u64 = u64::MAX;
    // Accepted, waited, and how long it took.
    let times =
        [(0, 0, MAX), (0, MAX, MAX), (MAX, 0, 0), (MAX / 2, MAX / 4, MAX / 2), (MAX - 9, 3, 9), (0, 0, 0)];
    for queue in ["", "queue_max = 10"] {
        for first_byte_us in [None, Some(0), Some(MAX)] {
            let extremes = times.iter().flat_map(|&(accepted_us, waited_us, duration_us)| {
                arrivals(20).map(move |arrival| {
                    let times = Arrival { accepted_us, waited_us, duration_us, ..arrival };
                    Arrival { connect_us: Some(MAX), first_byte_us, bytes_to_client: MAX, ..times }
                })
            });
            write(&files[0], setting_of(queue), extremes);
            for speed in [0.001, 1.0, 1_000.0] {
                let request = Request { speed, ..request(&files, Algorithm::ALL) };
                let table = replay::table(&request, |_| {}).unwrap();
                assert!(table.starts_with("pool web: 120 sessions "), "{table}");
            }
        }
    }
}

#[test]
fn a_session_of_a_year_among_short_ones_is_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let files = [folder.path().join("record")];
    const YEAR_US: u64 = 365 * 24 * 3_600_000_000;
    let long = arrivals(1).map(|arrival| Arrival { duration_us: YEAR_US, ..arrival });
    write(&files[0], setting_of(""), long.chain(arrivals(1_000)));
    let table = replay::table(&request(&files, Algorithm::ALL), |_| {}).unwrap();
    assert!(table.starts_with("pool web: 1001 sessions "), "{table}");
}

#[test]
fn several_files_are_one_record_in_any_order() {
    let folder = tempfile::tempdir().unwrap();
    let [whole, early, late] = ["whole", "early", "late"].map(|name| folder.path().join(name));
    write(&whole, setting_of(""), arrivals(2_000));
    write(&early, setting_of(""), arrivals(2_000).take(900));
    write(&late, setting_of(""), arrivals(2_000).skip(900));
    let table = |files: &[PathBuf]| replay::table(&request(files, Algorithm::ALL), |_| {}).unwrap();
    assert_eq!(table(&[whole]), table(&[late, early]));
}

#[test]
fn what_cannot_be_replayed_says_why_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    write(&path("record"), setting_of(""), arrivals(100));
    write(&path("empty"), setting_of(""), arrivals(0));
    write(&path("other"), setting_of("algorithm = 'random'"), arrivals(100));
    let both = arrivals(100).chain(arrivals(50).map(|arrival| Arrival { listener: 1, pool: 0, ..arrival }));
    write(&path("both"), setting_of(""), both);
    let unserved =
        arrivals(10).map(|arrival| Arrival { connect_us: None, end: End::ConnectFailed, ..arrival });
    write(&path("unserved"), setting_of(""), unserved);
    fs::write(path("ringway.toml"), "[server]\n").unwrap();
    let mut bytes = fs::read(path("record")).unwrap();
    fs::write(path("short"), &bytes[..20]).unwrap();
    bytes[8] = 3;
    fs::write(path("newer"), bytes).unwrap();
    for (args, words) in [
        (
            &["none"][..],
            "none: cannot be read: No such file or directory (os error 2); give a file that server.record has written",
        ),
        (
            &["ringway.toml"],
            "ringway.toml: is not a record; give a file that a ringway with server.record in its configuration has written",
        ),
        (
            &["/dev/zero"],
            "/dev/zero: is not a record; give a file that a ringway with server.record in its configuration has written",
        ),
        (
            &["newer"],
            "newer: is a record of version 3, and this ringway reads version 2; use the one that wrote it",
        ),
        (&["short"], "short: ends within its header, so nothing is in it; leave it out"),
        (
            &["empty"],
            "no session is recorded; sessions are written when they end, and at most a second later: record for longer",
        ),
        (
            &["record", "other"],
            "other: was recorded with other listeners, pools or backends than record; replay them one by one",
        ),
        (
            &["record", "--pool", "wep"],
            "--pool wep: the record has no such pool; it has other (0 sessions), web (100 sessions)",
        ),
        (
            &["both"],
            "several pools had sessions: name one with --pool; there are other (50 sessions), web (100 sessions)",
        ),
        (
            &["unserved"],
            "pool web: no backend served any of its sessions, so how they answer is not known; record for longer, or name another pool with --pool",
        ),
    ] {
        let output = ringway(folder.path(), args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert_eq!((text(&output.stdout), text(&output.stderr)), ("", &*format!("{words}\n")), "{args:?}");
    }
    let output = ringway(folder.path(), &["both", "--pool", "web", "--algorithms", "first"]);
    assert!(text(&output.stdout).starts_with("pool web: 100 sessions "));
}

#[test]
fn a_million_arrivals_are_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let files = [folder.path().join("record")];
    write(&files[0], setting_of(""), arrivals(1_000_000));
    assert!(fs::metadata(&files[0]).unwrap().len() < 40_000_000);
    let table = replay::table(&request(&files, &[Algorithm::LeastConnections]), |_| {}).unwrap();
    assert!(table.starts_with("pool web: 1000000 sessions of 1000 clients in 8m19s, "), "{table}");
    assert_eq!(row(&table, "SHARES", "least-connections")[1], "0");
}
