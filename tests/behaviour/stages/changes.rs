//! Each change of stage, forced and seen; each direction by itself.

use super::*;

/// The messages that are small.
const MESSAGE: usize = 1000;

/// Until small cells carry again: a stream of small messages is given a few steps before.
fn calm_down(bench: &Bench, pair: &mut Pair, direction: Direction) {
    let before = bench.carried();
    (0..20).for_each(|_| bench.message(pair, direction, MESSAGE));
    let after = bench.carried();
    let (small, other) =
        (after.small - before.small, after.bytes() - before.bytes() - (after.small - before.small));
    assert!(other <= 8 * MESSAGE as u64, "small messages stay in {after:?} after {before:?}");
    assert!(small >= 12 * MESSAGE as u64, "{after:?} after {before:?}");
}

/// Until a direction waits without a buffer.
fn park(engine: Engine, bench: &Bench, pair: &mut Pair, direction: Direction) {
    if engine != Engine::Fixed {
        // Who waits holds no buffer at any time.
        return;
    }
    let before = bench.carried().parked;
    await_that("it is parked", || {
        // The silence that leads there: more than two ticks.
        thread::sleep(Duration::from_millis(150));
        bench.message(pair, direction, MESSAGE);
        bench.carried().parked > before
    });
}

#[test]
fn a_direction_goes_through_every_stage_and_back_and_the_other_does_not() {
    for engine in ENGINES {
        for (direction, other) in EACH_AND_OTHER {
            let bench = Bench::start(engine, |_| {});
            let mut pair = bench.pair();
            (0..10).for_each(|_| bench.message(&mut pair, direction, MESSAGE));
            let begin = bench.carried();
            assert_eq!((begin.small, begin.large, begin.spliced), (10 * MESSAGE as u64, 0, 0));

            bench.splice(&mut pair, direction);
            let spliced = bench.carried();
            // Two steps of 64 KiB or more in large cells lead there.
            assert!(spliced.large >= 128 * 1024, "{spliced:?}");

            (0..10).for_each(|_| bench.message(&mut pair, other, MESSAGE));
            let after = bench.carried();
            assert_eq!(
                (after.large, after.spliced),
                (spliced.large, spliced.spliced),
                "the other is changed too"
            );
            assert_eq!(after.small, spliced.small + 10 * MESSAGE as u64);

            calm_down(&bench, &mut pair, direction);
            park(engine, &bench, &mut pair, direction);
            (0..10).for_each(|_| bench.message(&mut pair, direction, MESSAGE));
            assert_eq!(bench.carried().large, after.large);

            bench.splice(&mut pair, direction);
            park(engine, &bench, &mut pair, other);
            bench.end_both(pair);
            bench.ringway.finish();
        }
    }
}

#[test]
fn without_pipes_large_cells_carry_and_small_messages_lead_back() {
    for engine in ENGINES {
        for direction in BOTH {
            let bench = Bench::start(engine, |config| config.server.pipes_per_worker = 0);
            let mut pair = bench.pair();
            for _ in 0..3 {
                let before = bench.carried().large;
                await_that("large cells carry", || {
                    bench.carry(&mut pair, direction, 2 * MIB);
                    bench.carried().large > before
                });
                calm_down(&bench, &mut pair, direction);
            }
            bench.end_both(pair);
            bench.ringway.finish();
        }
    }
}

#[test]
fn both_directions_are_spliced_at_once_and_end_one_after_the_other() {
    const SIZE: usize = 24 * MIB;
    for engine in ENGINES {
        let bench = Bench::start(engine, |_| {});
        let mut pair = bench.pair();
        BOTH.into_iter().for_each(|direction| bench.splice(&mut pair, direction));
        let Pair { client, backend, ways: [to_backend, to_client] } = &mut pair;
        let (client, backend) = (&*client, &*backend);
        thread::scope(|scope| {
            for (from, to, way) in [(client, backend, to_backend), (backend, client, to_client)] {
                let (pattern, start) = (way.pattern, way.sent);
                scope.spawn(move || write_pattern(from, pattern, start, SIZE));
                scope.spawn(move || way.read(to, SIZE));
            }
        });
        for way in &mut pair.ways {
            way.sent += SIZE as u64;
            bench.arrived.fetch_add(SIZE as u64, Ordering::SeqCst);
        }
        let carried = bench.carried();
        assert!(carried.spliced as usize > SIZE, "{carried:?}");
        bench.end(&mut pair, Direction::ToClient);
        bench.carry(&mut pair, Direction::ToBackend, SIZE);
        bench.end(&mut pair, Direction::ToBackend);
        bench.ringway.finish();
    }
}

#[test]
fn a_short_burst_among_messages_is_exact_at_every_size_about_a_cell() {
    // What ends exactly with a cell looks like more to come; one byte more or less does not.
    for engine in ENGINES {
        let bench = Bench::start(engine, |_| {});
        let mut pair = bench.pair();
        let cell = 16 * 1024;
        for cells in 1..5 {
            for size in [cells * cell - 1, cells * cell, cells * cell + 1] {
                for direction in BOTH {
                    bench.message(&mut pair, direction, size);
                    bench.message(&mut pair, direction, 1);
                }
            }
        }
        bench.end_both(pair);
        bench.ringway.finish();
    }
}
