//! Too few pipes, too few cells, none at all: everybody is served all the same, and memory has a bound.

use std::num::NonZeroUsize;

use ringway::config::Workers;
use ringway::end::End;

use super::super::process;
use super::*;

/// Sends so much both ways on each of so many sessions, all at once.
fn all_finish(bench: &Bench, sessions: usize, size: usize) {
    let mut pairs: Vec<Pair> = (0..sessions).map(|_| bench.pair()).collect();
    assert!(!pairs.is_empty());
    thread::scope(|scope| {
        for pair in &mut pairs {
            let Pair { client, backend, ways: [to_backend, to_client] } = pair;
            let (client, backend) = (&*client, &*backend);
            for (from, mut to, way) in [(client, backend, to_backend), (backend, client, to_client)] {
                let pattern = way.pattern;
                scope.spawn(move || {
                    write_pattern(from, pattern, 0, size);
                    from.shutdown(Shutdown::Write).unwrap();
                });
                scope.spawn(move || {
                    way.read(to, size);
                    assert_eq!(to.read(&mut [0]).unwrap(), 0, "more came than was sent");
                });
            }
        }
    });
    bench.arrived.fetch_add((2 * sessions * size) as u64, Ordering::SeqCst);
}

/// So many sessions whose readers have stopped, one way or the other in turn.
fn stall(bench: &Bench, sessions: usize) -> Vec<(Direction, Pair)> {
    let mut stalled = Vec::new();
    thread::scope(|scope| {
        let stuffing = BOTH.into_iter().cycle().take(sessions).map(|direction| {
            let mut pair = bench.pair();
            scope.spawn(move || {
                pair.stuff(direction);
                (direction, pair)
            })
        });
        let stuffing: Vec<_> = stuffing.collect();
        stalled.extend(stuffing.into_iter().map(|pair| pair.join().unwrap()));
    });
    assert_eq!(stalled.len(), sessions);
    stalled
}

/// Their readers read on, to the end of both ways.
fn go_on(bench: &Bench, stalled: Vec<(Direction, Pair)>) {
    for (direction, mut pair) in stalled {
        bench.take_rest(&mut pair, direction);
        bench.end_both(pair);
    }
}

/// Buffers from the heap so far. A worker tells of them at its tick, with the bytes that it has carried: only once all of
/// those are counted is this number the last one.
fn borrowed(bench: &Bench) -> u64 {
    bench.carried();
    bench.ringway.server().stats().sum(|worker| &worker.core.buffers_borrowed)
}

#[test]
fn with_fewer_pipes_than_transfers_all_finish() {
    for engine in ENGINES {
        for pipes in [0, 1, 3] {
            let bench = Bench::start(engine, |config| config.server.pipes_per_worker = pipes);
            all_finish(&bench, 5, 6 * MIB);
            let carried = bench.carried();
            assert_eq!(carried.spliced > 0, pipes > 0, "{pipes} pipes: {carried:?}");
            assert!(carried.large > 0, "{pipes} pipes: {carried:?}");
            assert_eq!(bench.ringway.finish().ended(End::Complete), 5);
        }
    }
}

#[test]
fn with_fewer_large_cells_than_transfers_all_finish() {
    for engine in ENGINES {
        for large in [0, 1, 2] {
            let bench = Bench::start(engine, |config| {
                config.server.pipes_per_worker = 0;
                config.server.large_buffers_per_worker = large;
            });
            all_finish(&bench, 10, 2 * MIB);
            let carried = bench.carried();
            assert_eq!(carried.large > 0, large > 0, "{large} large cells: {carried:?}");
            // Ten times both ways at once: most of it finds no large cell.
            assert!(carried.small > 0, "{large} large cells: {carried:?}");
            assert_eq!(bench.ringway.finish().ended(End::Complete), 10);
        }
    }
}

#[test]
fn with_the_smallest_arena_a_hundred_sessions_finish_both_ways() {
    for engine in ENGINES {
        let bench = Bench::start(engine, |config| {
            config.server.buffers_per_worker = 16;
            config.server.large_buffers_per_worker = 0;
            config.server.pipes_per_worker = 1;
        });
        // Left to themselves a hundred sessions may be so quick, one after the other, that 16 cells suffice.
        let stalled = stall(&bench, 30);
        all_finish(&bench, 70, 300_000);
        assert!(borrowed(&bench) > 0, "the arena was never used up: the test shows nothing");
        go_on(&bench, stalled);
        assert_eq!(bench.ringway.finish().ended(End::Complete), 100);
    }
}

#[test]
fn those_whose_readers_stopped_hold_nobody_up() {
    // They have every cell and every pipe, full of bytes; the others get theirs from the heap.
    for engine in ENGINES {
        let bench = Bench::start(engine, |config| {
            config.server.buffers_per_worker = 16;
            config.server.large_buffers_per_worker = 1;
            config.server.pipes_per_worker = 1;
        });
        let stalled = stall(&bench, 30);
        all_finish(&bench, 10, MIB);
        assert!(borrowed(&bench) > 0, "the arena was never used up: the test shows nothing");
        go_on(&bench, stalled);
        assert_eq!(bench.ringway.finish().ended(End::Complete), 40);
    }
}

#[test]
fn a_silent_session_keeps_no_pipe_from_others() {
    for engine in ENGINES {
        let bench = Bench::start(engine, |config| config.server.pipes_per_worker = 1);
        let mut silent: Vec<Pair> = Vec::new();
        for direction in BOTH {
            let mut pair = bench.pair();
            bench.splice(&mut pair, direction);
            silent.push(pair);
        }
        for mut pair in silent {
            BOTH.into_iter().for_each(|direction| bench.splice(&mut pair, direction));
            bench.end_both(pair);
        }
        assert_eq!(bench.ringway.finish().ended(End::Complete), 2);
    }
}

#[test]
fn without_registered_memory_every_stage_serves() {
    for engine in ENGINES {
        let (config, backends) = Bench::prepare(engine, |config| {
            config.server.workers = Workers::Count(NonZeroUsize::new(2).unwrap());
            config.server.buffers_per_worker = 16;
        });
        // A filter can not be taken off again: it goes with a thread of its own, and the workers inherit it.
        let confined = thread::spawn(|| {
            process::refuse(&[process::REGISTER], libc::EPERM);
            Ringway::start(config)
        });
        let bench = Bench::over(confined.join().unwrap(), backends);
        all_finish(&bench, 8, 4 * MIB);
        let mut pair = bench.pair();
        bench.message(&mut pair, Direction::ToBackend, 100);
        let carried = bench.carried();
        assert!(carried.small > 0 && carried.large > 0 && carried.spliced > 0, "{carried:?}");
        bench.end_both(pair);
        assert_eq!(bench.ringway.finish().ended(End::Complete), 9);
    }
}

#[test]
fn tiny_segments_cost_time_and_no_byte() {
    const SEGMENT: u32 = 100;
    for engine in ENGINES {
        let bench = Bench::start(engine, |_| {});
        socket2::SockRef::from(&bench.backends).set_tcp_mss(SEGMENT).unwrap();
        let client = connect_with(bench.ringway.address(), |socket| socket.set_tcp_mss(SEGMENT).unwrap());
        let mut pair = bench.pair_over(client);
        for direction in BOTH {
            let segment = socket2::SockRef::from(pair.way(direction).0).tcp_mss().unwrap();
            assert!(segment <= SEGMENT, "segments of {segment} bytes");
            for count in [1, 1000, MIB, 5, MIB, 5] {
                bench.carry(&mut pair, direction, count);
            }
        }
        bench.end_both(pair);
        bench.ringway.finish();
    }
}

#[test]
fn stalled_sessions_take_little_memory_and_give_their_descriptors_back() {
    const SESSIONS: usize = 100;
    let backends = listen(any_port());
    backends.set_nonblocking(true).unwrap();
    // As little as there may be: nearly all of what is held comes from the heap.
    let few = "workers = 1\nsessions_max = 500\nbuffers_per_worker = 16\nlarge_buffers_per_worker = 0";
    for pipes in [0, 4] {
        let server = format!("{few}\npipes_per_worker = {pipes}");
        let process = process::run_file(&server, backends.local_addr().unwrap());
        let pair = || {
            let client = process.connect();
            let mut backend = None;
            await_that("the backend is connected to", || {
                backend = backends.accept().ok();
                backend.is_some()
            });
            (client, with_deadline(backend.unwrap().0))
        };
        let (mut first, mut second) = pair();
        first.write_all(b"warm").unwrap();
        second.read_exact(&mut [0; 4]).unwrap();
        drop((first, second));
        let idle = |process: &process::Process| {
            await_that("every session ends", || process.totals().contains(" 0 active"));
            process.descriptors()
        };
        let (descriptors, memory) = (idle(&process), process.resident_kib());
        let pairs: Vec<_> = (0..SESSIONS).map(|_| pair()).collect();
        thread::scope(|scope| {
            for (number, (client, backend)) in pairs.iter().enumerate() {
                let mut from = if number % 2 == 0 { client } else { backend };
                scope.spawn(move || {
                    from.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
                    while from.write(&NOISE[..MIB]).is_ok() {}
                });
            }
        });
        let grown = process.resident_kib().saturating_sub(memory);
        assert!(grown < 64 * SESSIONS as u64, "{pipes} pipes: memory grew by {grown} KiB");
        // Clients by a reset, so that none of them waits for a reader.
        pairs.into_iter().for_each(|(client, _)| reset(client));
        await_that("descriptors are back", || {
            // Empty pipes stay open for the next who needs one.
            idle(&process) <= descriptors + 2 * pipes
        });
        process.stop();
    }
}
