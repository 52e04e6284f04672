//! What does it cost to note a response time, to make a figure of many, and to let the old ones go? And to note a session for the
//! access log, and to make a line of it?
//!
//! `cargo bench --bench measuring`. A worker pays for `note`, once or twice per session; everything else is paid by the
//! thread that makes figures, twenty times a second for each backend, or by the one that writes the access log.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use fastrand::Rng;
use ringway::access_log::Writer;
use ringway::config::{self, AccessLog, LogFormat, LogTo, Only, ResponseTime, Signal, Statistic};
use ringway::end::End;
use ringway::entries::{self, Entries, Entry, Reached};
use ringway::figures::gauge::Gauge;
use ringway::figures::window::{Window, histogram};
use ringway::generation::Generation;
use ringway::samples::{self, Sample, Samples};
use ringway::session_id::SessionId;
use ringway::stats::Waits;
use ringway::table::BackendId;

const WINDOW: Duration = Duration::from_secs(10);
const NO_WAITS: Waits = Waits { count: 0, total: 0 };

/// Around a millisecond, with a long tail.
fn nanos(dice: &mut Rng) -> u64 {
    (1_000_000.0 * -(1.0 - dice.f64()).ln()) as u64
}

fn gauge(statistic: Statistic) -> Gauge {
    Gauge::new(ResponseTime { signal: Signal::FirstByte, statistic, window: WINDOW })
}

fn note(criterion: &mut Criterion) {
    let (sender, mut inbox) = samples::channel(1);
    let samples = Samples::new(sender);
    let mut count = 0_u32;
    criterion.bench_function("note", |bencher| {
        bencher.iter(|| {
            let sample = Sample { backend: BackendId::new(3), signal: Signal::FirstByte, nanos: 1_000_000 };
            samples.note(black_box(sample));
            // As a tick does, at ten thousand sessions a second.
            count += 1;
            if count.is_multiple_of(500) {
                samples.hand_over();
                inbox.drain(1).for_each(|sample| {
                    black_box(sample);
                });
            }
        });
    });
}

fn record(criterion: &mut Criterion) {
    let (mut gauge, mut dice) = (gauge(Statistic::P50), Rng::with_seed(1));
    // Made beforehand: a logarithm costs as much as a record.
    let nanos: Vec<u64> = (0..1024).map(|_| nanos(&mut dice)).collect();
    let mut turn = nanos.iter().cycle();
    criterion.bench_function("record", |bencher| {
        bencher.iter(|| gauge.take(Signal::FirstByte, *turn.next().unwrap()));
    });
}

fn score(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("score");
    for (name, statistic) in [("p50", Statistic::P50), ("peak-ewma", Statistic::PeakEwma)] {
        let (mut gauge, mut dice, mut scratch) = (gauge(statistic), Rng::with_seed(1), histogram());
        (0..10_000).for_each(|_| gauge.take(Signal::FirstByte, nanos(&mut dice)));
        let now = Duration::from_millis(50);
        group.bench_function(format!("{name}, with news"), |bencher| {
            bencher.iter(|| {
                gauge.take(Signal::FirstByte, 1_000_000);
                gauge.look(now, &mut scratch);
                black_box(gauge.figure(now, NO_WAITS, Some(1_000_000)))
            });
        });
        group.bench_function(format!("{name}, without news"), |bencher| {
            bencher.iter(|| {
                gauge.look(now, &mut scratch);
                black_box(gauge.figure(now, NO_WAITS, Some(1_000_000)))
            });
        });
    }
    group.finish();
}

fn rotate(criterion: &mut Criterion) {
    let (mut window, mut dice, mut now) = (Window::default(), Rng::with_seed(1), Duration::ZERO);
    criterion.bench_function("rotate, with a sample in between", |bencher| {
        bencher.iter(|| {
            window.record(nanos(&mut dice));
            now += WINDOW / 2;
            black_box(window.rotate(now, WINDOW))
        });
    });
}

/// What a worker does for the access log at the end of a session, and what the thread that writes does, to the write included (to
/// /dev/null).
fn access_log(criterion: &mut Criterion) {
    /// As many as a tick has at ten thousand sessions a second.
    const SESSIONS: u64 = 500;
    let text = "[[listener]]\nname='web'\nbind='127.0.0.1:1'\npool='app'\n[[pool]]\nname='app'\n\
                [[pool.backend]]\naddress='10.0.0.1:80'\n";
    let config = config::parse("bench", text).unwrap();
    let generation = Arc::new(Generation::first(config, vec![], 2).0);
    let mut group = criterion.benchmark_group("access log");
    for (name, format, sample_ppm) in [
        ("text", LogFormat::Text, AccessLog::WHOLE_PPM),
        ("json", LogFormat::Json, AccessLog::WHOLE_PPM),
        ("text, one in a hundred", LogFormat::Text, 10_000),
    ] {
        let spec = AccessLog { to: LogTo::File("/dev/null".into()), format, only: Only::All, sample_ppm };
        let (sender, inbox) = entries::channel(1, &spec);
        let mut writer = Writer::open(&spec, generation.stats.begun, inbox).unwrap();
        let (entries, mut dice) = (Entries::new(sender, Arc::clone(&generation)), Rng::with_seed(1));
        let mut fill = || {
            for number in 0..SESSIONS {
                entries.note(black_box(entry(number)), || dice.u32(..AccessLog::WHOLE_PPM));
            }
            entries.hand_over();
        };
        let deadline = || Instant::now() + Duration::from_secs(1);
        group.throughput(Throughput::Elements(SESSIONS));
        group.bench_function(format!("note, {name}"), |bencher| {
            bencher.iter_batched(|| writer.write(deadline()), |()| fill(), BatchSize::PerIteration);
        });
        group.bench_function(format!("note and write, {name}"), |bencher| {
            bencher.iter(|| {
                fill();
                writer.write(deadline());
            });
        });
    }
    group.finish();
}

fn entry(number: u64) -> Entry {
    Entry {
        id: SessionId::new(1, number),
        client: "192.0.2.7:50123".parse().unwrap(),
        listener: 0,
        port: 443,
        pool: 0,
        backend: Some(BackendId::new(0)),
        accepted_us: 100 * number,
        waited_us: Some(12),
        connect_us: Some(340),
        first_byte_us: Some(12_345),
        duration_us: 5_007_999,
        bytes_to_backend: 97,
        bytes_to_client: 212,
        behind: 0,
        picks: 1,
        reached: Reached::Data,
        unanswered: false,
        end: End::Complete,
        server_name: None,
    }
}

criterion_group!(benches, note, record, score, rotate, access_log);
criterion_main!(benches);
