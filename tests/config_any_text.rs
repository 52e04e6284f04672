//! Any text gets an answer, and a configuration that is right means what it says.

use std::fmt::Write as _;
use std::time::Duration;

use proptest::prelude::*;
use ringway::config::keys::SECTIONS;
use ringway::config::units::format_duration;
use ringway::config::{self, Algorithm, Choice, Health, Workers};

/// Lines that a file could have: headers, keys with any value, and rubbish.
fn any_line() -> impl Strategy<Value = String> {
    let headers: Vec<String> = SECTIONS.iter().map(|section| section.header.to_owned()).collect();
    let names: Vec<&str> = SECTIONS.iter().flat_map(|section| section.names()).collect();
    let value = prop_oneof![
        "\"[ -~]{0,12}\"",
        "-?[0-9]{1,25}",
        "\"[0-9]{1,6}(ms|s|m|h|d|KiB|B)\"",
        "\\[(\"?[0-9.:]{1,9}\"?,?){0,3}\\]",
        "(true|false|auto|off|\"auto\"|\"off\"|1\\.5|1979-05-27|\\{a=1\\})",
    ];
    prop_oneof![
        4 => prop::sample::select(headers),
        8 => (prop::sample::select(names), value).prop_map(|(name, value)| format!("{name} = {value}")),
        1 => "\\PC{0,20}",
        1 => "[\\[\\]={}\"'.,#a-c \\\\]{0,20}",
    ]
}

#[derive(Debug, Clone)]
struct Meant {
    workers: usize,
    drain_ms: u64,
    buffer_pages: usize,
    idle_ms: Option<u64>,
    algorithm: Algorithm,
    interval_ms: u64,
    backends: Vec<(u8, u16, u32)>,
}

fn meant() -> impl Strategy<Value = Meant> {
    (
        1..=1_024_usize,
        0..=86_400_000_u64,
        1..=256_usize,
        prop::option::of(100..=604_800_000_u64),
        prop::sample::select(Algorithm::ALL),
        100..=86_400_000_u64,
        prop::collection::btree_map((0..=255_u8, 1..=65_535_u16), 1..=256_u32, 1..20),
    )
        .prop_map(|(workers, drain_ms, buffer_pages, idle_ms, algorithm, interval_ms, backends)| Meant {
            workers,
            drain_ms,
            buffer_pages,
            idle_ms,
            algorithm,
            interval_ms,
            backends: backends.into_iter().map(|((host, port), weight)| (host, port, weight)).collect(),
        })
}

fn written(meant: &Meant) -> String {
    let time = |ms| format_duration(Duration::from_millis(ms));
    let idle = meant.idle_ms.map_or("off".to_owned(), time);
    let mut text = format!(
        "[server]\nworkers = {}\ndrain_timeout = \"{}\"\nbuffer_size = \"{}KiB\"\n\
         [[listener]]\nname = \"web\"\nbind = \"127.0.0.1:8000\"\npool = \"api\"\nidle_timeout = \"{idle}\"\n\
         [[pool]]\nname = \"api\"\nalgorithm = \"{}\"\n[pool.health]\ninterval = \"{}\"\n",
        meant.workers,
        time(meant.drain_ms),
        4 * meant.buffer_pages,
        meant.algorithm.word(),
        time(meant.interval_ms),
    );
    for (host, port, weight) in &meant.backends {
        let _ = writeln!(text, "[[pool.backend]]\naddress = \"10.0.0.{host}:{port}\"\nweight = {weight}");
    }
    text
}

proptest! {
    #[test]
    fn any_text_gets_an_answer(text in "\\PC{0,200}") {
        answer(&text);
    }

    #[test]
    fn any_lines_get_an_answer(lines in prop::collection::vec(any_line(), 0..30)) {
        answer(&lines.join("\n"));
    }

    #[test]
    fn what_is_written_is_what_is_meant(meant in meant()) {
        let config = config::parse("f", &written(&meant)).map_err(|errors| TestCaseError::fail(errors.to_string()))?;
        let [listener] = &config.listeners[..] else { return Err(TestCaseError::fail("not one listener")) };
        let [pool] = &config.pools[..] else { return Err(TestCaseError::fail("not one pool")) };
        let workers = std::num::NonZeroUsize::new(meant.workers).map(Workers::Count);
        let Health { interval, timeout, .. } = pool.health;
        prop_assert_eq!(Some(config.server.workers), workers);
        prop_assert_eq!(config.server.drain_timeout, Duration::from_millis(meant.drain_ms));
        prop_assert_eq!(config.server.buffer_size, 4_096 * meant.buffer_pages);
        prop_assert_eq!(listener.idle_timeout, meant.idle_ms.map(Duration::from_millis));
        prop_assert_eq!(pool.algorithm, meant.algorithm);
        prop_assert_eq!(interval, Duration::from_millis(meant.interval_ms));
        prop_assert_eq!(timeout, interval.min(Duration::from_secs(1)));
        let backends: Vec<_> = pool.backends.iter().map(|b| (b.address.to_string(), b.weight.get())).collect();
        let wanted = meant.backends.iter().map(|(host, port, weight)| (format!("10.0.0.{host}:{port}"), *weight));
        prop_assert_eq!(backends, wanted.collect::<Vec<_>>());
    }
}

/// An error has a text of at least one line and at most 51, each with the name of the file.
fn answer(text: &str) {
    match config::parse("f", text) {
        Ok(config) => assert!(!config.to_string().is_empty()),
        Err(errors) => {
            let said = errors.to_string();
            assert!((1..=51).contains(&said.lines().count()), "{said}");
            assert!(said.lines().all(|line| line.starts_with("f:")), "{said}");
        }
    }
}
