//! Any text gets an answer, and a configuration that is right means what it says.

use std::fmt::Write as _;
use std::time::Duration;

use proptest::prelude::*;
use ringway::config::keys::{Kind, SECTIONS};
use ringway::config::units::format_duration;
use ringway::config::{self, Algorithm, Check, Choice, Exchange, Expect, Health, Pool, Signal, Workers};

/// Every word that some key takes: without them hardly any line would be right.
fn words() -> Vec<&'static str> {
    let choices = SECTIONS.iter().flat_map(|section| section.keys).filter_map(|key| match key.kind {
        Kind::Choice(words) => Some(words),
        _ => None,
    });
    choices.flatten().copied().collect()
}

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
        "\"([0-9a-f]{2} ?){0,6}\"",
        "'[a-c()\\[\\]{}0-9,*+?|^$.\\\\-]{0,12}'",
        "\\[(\"?[1-6][0-9]{2}(-[1-6][0-9]{2})?\"?,?){0,3}\\]",
        prop::sample::select(words()).prop_map(|word| format!("\"{word}\"")),
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
    choosing: Choosing,
    checking: Checking,
}

/// Of `[[pool]]`, `[pool.response_time]` and `[pool.ejection]`.
#[derive(Debug, Clone)]
struct Choosing {
    queue_max: u32,
    slow_start_ms: Option<u64>,
    panic_threshold: u32,
    signal: Signal,
    window_ms: u64,
    failures: Option<u32>,
    ejection_ms: u64,
    max_connections: Option<u32>,
}

/// Of `[pool.health]`, with a text and an expression that may hold anything.
#[derive(Debug, Clone)]
struct Checking {
    fast_ms: u64,
    jitter: u32,
    send: Vec<u8>,
    expect: String,
    is_regex: bool,
}

fn choosing() -> impl Strategy<Value = Choosing> {
    (
        0..=1_000_000_u32,
        prop::option::of(100..=3_600_000_u64),
        0..=100_u32,
        prop::sample::select(Signal::ALL),
        1_000..=600_000_u64,
        prop::option::of(1..=1_000_u32),
        100..=86_400_000_u64,
        prop::option::of(1..=10_000_000_u32),
    )
        .prop_map(|of| Choosing {
            queue_max: of.0,
            slow_start_ms: of.1,
            panic_threshold: of.2,
            signal: of.3,
            window_ms: of.4,
            failures: of.5,
            ejection_ms: of.6,
            max_connections: of.7,
        })
}

fn checking() -> impl Strategy<Value = Checking> {
    let bytes = prop::collection::vec(any::<u8>(), 1..40);
    (100..=86_400_000_u64, 0..=50_u32, bytes, "[ -~é\r\n\t]{1,40}", any::<bool>()).prop_map(
        |(fast_ms, jitter, send, expect, is_regex)| Checking { fast_ms, jitter, send, expect, is_regex },
    )
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
        choosing(),
        checking(),
    )
        .prop_map(|of| Meant {
            workers: of.0,
            drain_ms: of.1,
            buffer_pages: of.2,
            idle_ms: of.3,
            algorithm: of.4,
            interval_ms: of.5,
            backends: of.6.into_iter().map(|((host, port), weight)| (host, port, weight)).collect(),
            choosing: of.7,
            checking: of.8,
        })
}

fn written(meant: &Meant) -> String {
    let time = |ms| format_duration(Duration::from_millis(ms));
    let idle = meant.idle_ms.map_or("off".to_owned(), time);
    let mut text = format!(
        "[server]\nworkers = {}\ndrain_timeout = \"{}\"\nbuffer_size = \"{}KiB\"\n\
         [[listener]]\nname = \"web\"\nbind = \"127.0.0.1:8000\"\npool = \"api\"\nidle_timeout = \"{idle}\"\n\
         [[pool]]\nname = \"api\"\nalgorithm = \"{}\"\n",
        meant.workers,
        time(meant.drain_ms),
        4 * meant.buffer_pages,
        meant.algorithm.word(),
    );
    write_choosing(&mut text, &meant.choosing);
    let _ = writeln!(text, "[pool.health]\ninterval = \"{}\"", time(meant.interval_ms));
    write_checking(&mut text, &meant.checking);
    let max = number_or_off(meant.choosing.max_connections);
    for (host, port, weight) in &meant.backends {
        let _ = writeln!(text, "[[pool.backend]]\naddress = \"10.0.0.{host}:{port}\"\nweight = {weight}");
        let _ = writeln!(text, "max_connections = {max}");
    }
    text
}

fn number_or_off(number: Option<u32>) -> String {
    number.map_or("\"off\"".to_owned(), |number| number.to_string())
}

fn write_choosing(text: &mut String, meant: &Choosing) {
    let time = |ms| format_duration(Duration::from_millis(ms));
    let _ = write!(
        text,
        "queue_max = {}\nslow_start = \"{}\"\npanic_threshold = {}\n[pool.response_time]\nsignal = \"{}\"\n\
         window = \"{}\"\n[pool.ejection]\nfailures = {}\ntime = \"{}\"\n",
        meant.queue_max,
        meant.slow_start_ms.map_or("off".to_owned(), time),
        meant.panic_threshold,
        meant.signal.word(),
        time(meant.window_ms),
        number_or_off(meant.failures),
        time(meant.ejection_ms),
    );
}

fn write_checking(text: &mut String, meant: &Checking) {
    let hex: String = meant.send.iter().map(|byte| format!("{byte:02X}")).collect();
    let fast = format_duration(Duration::from_millis(meant.fast_ms));
    let _ = writeln!(text, "fast_interval = \"{fast}\"\njitter = {}\nsend_hex = \"{hex}\"", meant.jitter);
    let escaped =
        |text: &str| -> String { text.chars().map(|c| format!("\\U{:08X}", u32::from(c))).collect() };
    let _ = match meant.is_regex {
        false => writeln!(text, "expect = \"{}\"", escaped(&meant.expect)),
        true => writeln!(text, "expect_regex = \"{}\"", escaped(&regex::escape(&meant.expect))),
    };
}

/// What a pool of these was understood as.
fn compare(pool: &Pool, meant: &Meant) -> Result<(), TestCaseError> {
    let (choosing, checking) = (&meant.choosing, &meant.checking);
    let ms = Duration::from_millis;
    prop_assert_eq!(pool.queue_max, choosing.queue_max);
    prop_assert_eq!(pool.slow_start, choosing.slow_start_ms.map(ms));
    prop_assert_eq!(pool.panic_threshold, choosing.panic_threshold);
    prop_assert_eq!(pool.response_time.signal, choosing.signal);
    prop_assert_eq!(pool.response_time.window, ms(choosing.window_ms));
    prop_assert_eq!(pool.ejection.failures.map(|max| max.get()), choosing.failures);
    prop_assert_eq!(pool.ejection.time, ms(choosing.ejection_ms));
    prop_assert_eq!(pool.ejection.time_max, ms(choosing.ejection_ms.max(300_000)));
    for backend in &pool.backends {
        prop_assert_eq!(backend.max_connections.map(|max| max.get()), choosing.max_connections);
    }
    let Health { interval, fast_interval, down_interval, jitter, timeout, .. } = pool.health;
    prop_assert_eq!(interval, ms(meant.interval_ms));
    prop_assert_eq!([fast_interval, down_interval], [ms(checking.fast_ms), interval]);
    prop_assert_eq!(jitter, checking.jitter);
    let shortest_ms = meant.interval_ms.min(checking.fast_ms) * u64::from(100 - jitter) / 100;
    prop_assert_eq!(timeout, ms(shortest_ms.min(1_000)));
    let Check::Tcp(Exchange { send, expect }) = &pool.health.check else {
        return Err(TestCaseError::fail("not a TCP check"));
    };
    prop_assert_eq!(send, &checking.send);
    match (expect, checking.is_regex) {
        (Some(Expect::Bytes(bytes)), false) => prop_assert_eq!(bytes, checking.expect.as_bytes()),
        (Some(Expect::Regex(regex)), true) => prop_assert!(regex.is_match(checking.expect.as_bytes())),
        _ => return Err(TestCaseError::fail("not what is expected")),
    }
    Ok(())
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
        prop_assert_eq!(Some(config.server.workers), workers);
        prop_assert_eq!(config.server.drain_timeout, Duration::from_millis(meant.drain_ms));
        prop_assert_eq!(config.server.buffer_size, 4_096 * meant.buffer_pages);
        prop_assert_eq!(listener.idle_timeout, meant.idle_ms.map(Duration::from_millis));
        prop_assert_eq!(pool.algorithm, meant.algorithm);
        compare(pool, &meant)?;
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
