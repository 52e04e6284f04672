//! What does it cost to note a response time, to make a figure of many, and to let the old ones go?
//!
//! `cargo bench --bench measuring`. A worker pays for `note`, once or twice per session; everything else is paid by the
//! thread that makes figures, twenty times a second for each backend.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use fastrand::Rng;
use ringway::config::{ResponseTime, Signal, Statistic};
use ringway::figures::gauge::Gauge;
use ringway::figures::window::{Window, histogram};
use ringway::samples::{self, Sample, Samples};
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

criterion_group!(benches, note, record, score, rotate);
criterion_main!(benches);
