//! A reader that stops while its stream is spliced: what is in the pipe then, and what becomes of it.

use ringway::end::End;

use super::*;

/// A session with a pipe that is full: its stream is spliced, nobody reads, and nothing more can be sent.
fn stalled(bench: &Bench, direction: Direction) -> Pair {
    let mut pair = bench.pair();
    bench.splice(&mut pair, direction);
    let before = bench.carried();
    pair.stuff(direction);
    await_that("more is spliced than arrives", || bench.ringway.carried().spliced > before.spliced);
    let after = bench.ringway.carried();
    assert_eq!((after.small, after.large), (before.small, before.large), "it is not spliced any more");
    pair
}

/// The one pipe of the worker is to be had, and nobody else's bytes are in it.
fn assert_pipe_is_clean(bench: &Bench) {
    for direction in BOTH {
        let mut pair = bench.pair();
        bench.splice(&mut pair, direction);
        bench.carry(&mut pair, direction, 4 * MIB);
        bench.end_both(pair);
    }
}

fn one_pipe(config: &mut Config) {
    config.server.pipes_per_worker = 1;
}

#[test]
fn a_reader_that_stops_and_goes_on_gets_every_byte() {
    for engine in ENGINES {
        for direction in BOTH {
            let bench = Bench::start(engine, one_pipe);
            let mut pair = stalled(&bench, direction);
            // Not all at once: the pipe is emptied in part, filled again, and so on.
            for count in [1, 1000, 100_000, 3 * MIB, 1] {
                bench.take(&mut pair, direction, count);
                thread::sleep(Duration::from_millis(5));
            }
            pair.stuff(direction);
            bench.take_rest(&mut pair, direction);
            bench.carry(&mut pair, direction, 4 * MIB);
            bench.end_both(pair);
            assert_pipe_is_clean(&bench);
            bench.ringway.finish();
        }
    }
}

#[test]
fn the_end_of_a_stream_comes_after_what_is_in_the_pipe() {
    for engine in ENGINES {
        for (direction, other) in EACH_AND_OTHER {
            let bench = Bench::start(engine, one_pipe);
            let mut pair = stalled(&bench, direction);
            pair.way(direction).0.shutdown(Shutdown::Write).unwrap();
            bench.message(&mut pair, other, 1000);
            // Reads all, then the end.
            bench.end(&mut pair, direction);
            bench.carry(&mut pair, other, 4 * MIB);
            bench.end(&mut pair, other);
            await_that("it ends", || bench.ringway.totals().ended(End::Complete) == 1);
            drop(pair);
            assert_pipe_is_clean(&bench);
            bench.ringway.finish();
        }
    }
}

#[test]
fn a_reset_while_the_pipe_is_full_is_a_reset_and_the_next_session_never_sees_those_bytes() {
    for engine in ENGINES {
        for direction in BOTH {
            for client_resets in [true, false] {
                let bench = Bench::start(engine, one_pipe);
                let Pair { client, backend, ways } = stalled(&bench, direction);
                let (broken, mut other, way, end) = if client_resets {
                    (client, backend, &ways[Direction::ToBackend as usize], End::ClientReset)
                } else {
                    (backend, client, &ways[Direction::ToClient as usize], End::BackendReset)
                };
                reset(broken);
                if client_resets || direction == Direction::ToBackend {
                    // Noticed although nobody reads. What a backend sent before its reset waits for the client.
                    bench.ringway.await_end(end, 1);
                }
                assert_breaks(&mut other, way);
                bench.ringway.await_end(end, 1);
                assert_pipe_is_clean(&bench);
                bench.ringway.finish();
            }
        }
    }
}

#[test]
fn an_urgent_byte_is_carried_where_it_stands() {
    for engine in ENGINES {
        for direction in BOTH {
            let bench = Bench::start(engine, one_pipe);
            let mut pair = bench.pair();
            for round in 0..3 {
                bench.splice(&mut pair, direction);
                let before = bench.carried().small;
                // Alone, last, first, and in the middle of what is sent with it.
                for (before, after) in [(0, 0), (100_000, 0), (0, 1000), (1000, 1000)] {
                    pair.send(direction, before);
                    pair.send_urgent(direction);
                    pair.send(direction, after);
                    bench.take_rest(&mut pair, direction);
                }
                // It cannot be spliced.
                assert!(bench.carried().small > before, "round {round}");
            }
            bench.end_both(pair);
            bench.ringway.finish();
        }
    }
}

#[test]
fn what_stands_behind_an_urgent_byte_comes_although_the_stream_has_ended() {
    // The end is known by the time that the urgent byte is met: what is there must not be taken for nothing.
    for engine in ENGINES {
        for (direction, other) in EACH_AND_OTHER {
            let bench = Bench::start(engine, one_pipe);
            for tail in [0, 1000] {
                let mut pair = stalled(&bench, direction);
                let (from, to, way) = pair.way(direction);
                let (pattern, start) = (way.pattern, way.sent);
                let mut stuffed = (way.sent - way.got) as usize;
                way.sent += (1000 + 1 + tail) as u64;
                thread::scope(|scope| {
                    let sending = scope.spawn(move || {
                        write_pattern(from, pattern, start, 1000);
                        send_urgent(from, pattern, start + 1000);
                        write_pattern(from, pattern, start + 1001, tail);
                        from.shutdown(Shutdown::Write).unwrap();
                    });
                    // No more than what makes room for that: most is still on its way when the end is sent.
                    while !sending.is_finished() {
                        let count = stuffed.min(64 * 1024);
                        stuffed -= count;
                        bench.arrived.fetch_add(way.read(to, count), Ordering::SeqCst);
                        thread::sleep(Duration::from_millis(1));
                    }
                });
                bench.take_end(&mut pair, direction);
                bench.end(&mut pair, other);
            }
            assert_pipe_is_clean(&bench);
            bench.ringway.finish();
        }
    }
}
