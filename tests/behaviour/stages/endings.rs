//! How a session that is spliced ends when nobody at its ends ends it.

use ringway::config::{Check, OnDown};
use ringway::end::End;
use ringway::table::State;

use super::*;

/// Sessions that are spliced that way; the readers of all but the first stop.
fn spliced(bench: &Bench, directions: &[Direction]) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for &direction in directions {
        let mut pair = bench.pair();
        bench.splice(&mut pair, direction);
        pairs.push(pair);
    }
    thread::scope(|scope| {
        for (pair, &direction) in pairs.iter_mut().zip(directions).skip(1) {
            scope.spawn(move || pair.stuff(direction));
        }
    });
    pairs
}

/// Either way, silent and stalled.
const ONE_OF_EACH: [Direction; 3] = [Direction::ToBackend, Direction::ToBackend, Direction::ToClient];

#[test]
fn the_silent_and_the_stalled_end_by_idle_timeout_and_the_busy_do_not() {
    for engine in ENGINES {
        for direction in BOTH {
            let bench = Bench::start(engine, |config| {
                config.listeners[0].idle_timeout = Some(Duration::from_secs(2));
            });
            let pairs = spliced(&bench, &[direction, direction]);
            let mut busy = bench.pair();
            bench.splice(&mut busy, direction);
            let begun = Instant::now();
            while bench.ringway.totals().ended(End::IdleTimeout) < 2 {
                bench.carry(&mut busy, direction, MIB);
                assert!(begun.elapsed() < DEADLINE);
            }
            pairs.into_iter().for_each(assert_both_break);
            bench.carry(&mut busy, direction, MIB);
            bench.end_both(busy);
            let totals = bench.ringway.finish();
            assert_eq!((totals.ended(End::IdleTimeout), totals.ended(End::Complete)), (2, 1));
        }
    }
}

#[test]
fn a_lifetime_that_is_over_ends_a_transfer_and_it_does_not_look_whole() {
    for engine in ENGINES {
        let bench = Bench::start(engine, |config| {
            config.listeners[0].lifetime_max = Some(Duration::from_secs(2));
        });
        let mut pairs = BOTH.map(|_| bench.pair());
        thread::scope(|scope| {
            for (direction, pair) in BOTH.into_iter().zip(&mut pairs) {
                let (from, to, way) = pair.way(direction);
                let pattern = way.pattern;
                let sending = scope.spawn(move || write_until_broken(from, pattern));
                scope.spawn(move || {
                    let got = check_until_broken(to, pattern);
                    assert!(got <= sending.join().unwrap(), "more came than was sent");
                });
            }
        });
        assert!(bench.ringway.carried().spliced > 0);
        assert_eq!(bench.ringway.finish().ended(End::LifetimeMax), 2);
    }
}

/// Returns how much could be sent.
fn write_until_broken(mut to: &TcpStream, pattern: Pattern) -> u64 {
    let mut sent = 0;
    loop {
        match to.write(pattern.piece(sent, MIB)) {
            Ok(count) => sent += count as u64,
            Err(error) => {
                let is_broken = matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe);
                assert!(is_broken, "{error}");
                return sent;
            }
        }
    }
}

/// Returns how much came before the reset.
fn check_until_broken(mut from: &TcpStream, pattern: Pattern) -> u64 {
    let (mut buffer, mut got) = (vec![0; MIB], 0);
    loop {
        match from.read(&mut buffer) {
            Ok(0) => panic!("a cut transfer looks whole"),
            Ok(count) => {
                pattern.check(got, &buffer[..count]);
                got += count as u64;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                return got;
            }
        }
    }
}

#[test]
fn transfers_that_are_spliced_when_the_drain_begins_come_to_their_end() {
    for engine in ENGINES {
        let bench = Bench::start(engine, |_| {});
        let directions: Vec<Direction> = BOTH.into_iter().cycle().take(6).collect();
        let pairs = spliced(&bench, &directions);
        assert_eq!(pairs.len(), 6);
        thread::scope(|scope| {
            let draining = scope.spawn(|| bench.ringway.finish());
            // So that it is under way before anything moves on.
            thread::sleep(Duration::from_millis(100));
            for (direction, mut pair) in directions.into_iter().zip(pairs) {
                scope.spawn(move || send_more_and_end(&mut pair, direction));
            }
            assert_eq!(draining.join().unwrap().ended(End::Complete), 6);
        });
    }
}

/// Sends on, to a reader that takes all that is on its way too.
fn send_more_and_end(pair: &mut Pair, direction: Direction) {
    let (from, mut to, way) = pair.way(direction);
    let (pattern, start) = (way.pattern, way.sent);
    way.sent += 8 * MIB as u64;
    thread::scope(|scope| {
        scope.spawn(move || {
            write_pattern(from, pattern, start, 8 * MIB);
            from.shutdown(Shutdown::Write).unwrap();
        });
        way.read(to, (way.sent - way.got) as usize);
    });
    assert_eq!(to.read(&mut [0]).unwrap(), 0);
}

#[test]
fn sessions_that_outlast_the_drain_are_reset() {
    for engine in ENGINES {
        let bench = Bench::start(engine, |_| {});
        let pairs = spliced(&bench, &ONE_OF_EACH);
        assert_eq!(pairs.len(), 3);
        drop(bench);
        pairs.into_iter().for_each(assert_both_break);
    }
}

#[test]
fn sessions_of_a_backend_that_goes_down_end_or_go_on_as_asked() {
    for engine in ENGINES {
        for on_down in [OnDown::Close, OnDown::Keep] {
            let mut checks = TestBackend::named("healthy");
            let bench = Bench::start(engine, |config| {
                let pool = &mut config.pools[0];
                pool.on_down = on_down;
                pool.backends[0].check_address = Some(checks.address.into());
                pool.health.check = Check::Tcp(Default::default());
            });
            let mut pairs = spliced(&bench, &ONE_OF_EACH);
            checks.stop();
            let is_down = || bench.ringway.server().table().backends[0].health.state == State::Down;
            await_that("the backend is down", is_down);
            if on_down == OnDown::Close {
                bench.ringway.await_end(End::BackendDown, 3);
                pairs.drain(..).for_each(assert_both_break);
            }
            for mut pair in pairs {
                BOTH.into_iter().for_each(|direction| bench.take_rest(&mut pair, direction));
                BOTH.into_iter().for_each(|direction| bench.carry(&mut pair, direction, 2 * MIB));
                bench.end_both(pair);
            }
            bench.ringway.finish();
        }
    }
}
