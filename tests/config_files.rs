//! Files through the library and through the real command: the examples pass, wrong files get exactly these texts.
//!
//! `BLESS=1 cargo test --test config_files` writes the texts anew; read the difference before you commit it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use ringway::config::{self, Config};
use rustix::time::{ClockId, clock_gettime};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Every `.toml` of a folder; a test that would loop over nothing fails here.
fn files(name: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder(name)).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    assert!(!found.is_empty(), "no file in {name}");
    found.sort();
    found
}

/// `check` in the folder of the file, so that messages show its bare name.
fn check(path: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringway"))
        .current_dir(path.parent().unwrap())
        .args(["check", "--config"])
        .arg(path.file_name().unwrap())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn every_example_is_right_and_draws_no_warning() {
    for path in files("examples") {
        let config = config::load(&path).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(config::warnings(&config), [""; 0], "{}", path.display());
        let output = check(&path);
        assert_eq!(output.status.code(), Some(0));
        let doubts = text(&output.stdout).strip_prefix(&config.to_string()).unwrap();
        // Folders that a service manager makes.
        let is_known = |line: &str| line.is_empty() || line.contains("there is no folder");
        assert!(doubts.lines().all(is_known), "{doubts}");
        assert_eq!(text(&output.stderr), "");
    }
}

#[test]
fn every_wrong_file_gets_exactly_its_text_and_status_2() {
    for path in files("tests/config/invalid") {
        let output = check(&path);
        assert_eq!(output.status.code(), Some(2), "{}", path.display());
        assert_eq!(text(&output.stdout), "", "{}", path.display());
        let expected = path.with_extension("txt");
        if std::env::var_os("BLESS").is_some() {
            fs::write(&expected, &output.stderr).unwrap();
        }
        let expected = fs::read_to_string(expected).unwrap_or_default();
        assert_eq!(text(&output.stderr), expected, "{}", path.display());
    }
}

#[test]
fn every_text_belongs_to_a_file() {
    let wrong = files("tests/config/invalid").len();
    let entries = fs::read_dir(folder("tests/config/invalid")).unwrap().count();
    assert_eq!(entries, 2 * wrong);
}

#[test]
fn check_prints_what_holds_and_what_looks_odd() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ringway.toml");
    let listener =
        "[[listener]]\nname = \"web\"\nbind = [\"127.0.0.1:8000\", \"[::1]:8000\"]\npool = \"api\"\n";
    let pool = "[[pool]]\nname = \"api\"\n[[pool.backend]]\naddress = \"127.0.0.1:8080\"\nname = \"first\"\n\
                [[pool.backend]]\naddress = \"127.0.0.1:8081\"\nweight = 12\n";
    fs::write(&path, format!("{listener}no_backend = \"message\"\nidle_timeout = \"1.5s\"\n{pool}")).unwrap();
    let output = check(&path);
    assert_eq!(output.status.code(), Some(0));
    if std::env::var_os("BLESS").is_some() {
        fs::write(self::folder("tests/config/understood.txt"), &output.stdout).unwrap();
    }
    let expected = fs::read_to_string(self::folder("tests/config/understood.txt")).unwrap();
    assert_eq!(text(&output.stdout), expected);
}

#[test]
fn a_file_that_cannot_be_read_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |name: &str, words: &str| {
        let output = check(&folder.path().join(name));
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(text(&output.stderr), format!("{name}: {words}\n"));
    };
    refused("none.toml", "cannot be read: there is no such file; check the path after --config");
    fs::create_dir(folder.path().join("folder")).unwrap();
    refused("folder", "cannot be read: it is a folder; give the file in it");
    fs::write(folder.path().join("large.toml"), "#".repeat((4 << 20) + 1)).unwrap();
    refused("large.toml", "is larger than 4194304 bytes, the most that is read; is it the right file?");
}

#[test]
fn no_file_to_check_is_an_error_of_the_command_line() {
    let output = Command::new(env!("CARGO_BIN_EXE_ringway")).arg("check").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--config <FILE>"));
}

fn pools(pools: usize, backends: usize) -> String {
    let mut text = "[[listener]]\nname = \"web\"\nbind = \"127.0.0.1:8000\"\npool = \"p0\"\n".to_owned();
    for pool in 0..pools {
        text += &format!("[[pool]]\nname = \"p{pool}\"\n");
        for backend in 0..backends {
            let [high, low] = [backend / 250, backend % 250 + 1];
            text += &format!("[[pool.backend]]\naddress = \"10.{}.{high}.{low}:80\"\n", pool % 250);
        }
    }
    text
}

#[test]
fn ten_thousand_backends_load_at_once() {
    for (pool_count, backend_count) in [(1, 10_000), (1_000, 10)] {
        let text = pools(pool_count, backend_count);
        // Of this thread's own time: what others do on the machine does not count.
        let used = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap();
        let start = used();
        let config = config::parse("f", &text).unwrap();
        let took = used() - start;
        assert!(took < Duration::from_secs(2), "{took:?}");
        assert_eq!(config.pools.iter().map(|pool| pool.backends.len()).sum::<usize>(), 10_000);
    }
}

#[test]
fn the_bounds_on_how_many_name_themselves() {
    let error = |text: String| config::parse("f", &text).unwrap_err().to_string();
    assert_eq!(error(pools(1_025, 1)), "f: 1025 [[pool]] tables; at most 1024 are allowed\n");
    assert_eq!(error(pools(2, 32_768)), "f: 65536 [[pool.backend]] tables; at most 65535 are allowed\n");
    let listeners: String = (0..1_025)
        .map(|n| {
            format!("[[listener]]\nname = \"l{n}\"\nbind = \"127.0.0.1:{}\"\npool = \"p0\"\n", n + 10_000)
        })
        .collect();
    assert_eq!(error(listeners + &pools(1, 1)), "f: 1026 [[listener]] tables; at most 1024 are allowed\n");
    let many: Vec<String> = (1..=65).map(|n| format!("\"127.0.0.1:{n}\"")).collect();
    let text = pools(1, 1).replace("\"127.0.0.1:8000\"", &format!("[{}]", many.join(", ")));
    assert!(error(text).contains("65 addresses in one listener; at most 64 are allowed"));
}

#[test]
fn both_families_on_one_port_are_two_addresses() {
    let text = pools(1, 1).replace("\"127.0.0.1:8000\"", "[\"0.0.0.0:8000\", \"[::]:8000\"]");
    let Config { listeners, .. } = config::parse("f", &text).unwrap();
    assert_eq!(listeners[0].bind.len(), 2);
}

#[test]
fn a_text_with_a_byte_order_mark_and_windows_lines_is_read() {
    let text = pools(1, 2).replace('\n', "\r\n");
    assert!(config::parse("f", &format!("\u{feff}{text}")).is_ok());
}
