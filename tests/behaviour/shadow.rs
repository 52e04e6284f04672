//! Algorithms that choose beside the one that serves, without traffic.

use ringway::config::Algorithm;
use ringway::stats::{PoolShadows, SERVING};

use crate::common::*;

/// Reads the counters of the only worker for the only pool.
fn counters<R>(ringway: &Ringway, read: impl FnOnce(&PoolShadows) -> R) -> R {
    read(ringway.server().stats().workers[0].shadows[0].as_ref().unwrap())
}

/// Sessions ever and now by backend, for what serves or a shadow (from 1).
fn chosen(ringway: &Ringway, chooser: usize) -> Vec<(u64, u64)> {
    counters(ringway, |counters| {
        let counts = counters.backends.iter().map(|backend| &backend.0[chooser]);
        counts.map(|chosen| (chosen.total.get(), chosen.active.get())).collect()
    })
}

/// Two backends, the first of which gets everything.
fn first_with(shadow: &[Algorithm], backends: [&TestBackend; 2]) -> Ringway {
    let mut config = config(&backends.map(|backend| backend.address));
    one_worker(&mut config);
    config.pools[0].algorithm = Algorithm::First;
    config.pools[0].shadow = shadow.to_vec();
    config.pools[0].backends[0].name = "a".into();
    config.pools[0].backends[1].name = "b".into();
    Ringway::start(config)
}

#[test]
fn turns_beside_first_take_half_of_the_sessions_and_no_traffic() {
    let (a, b) = (TestBackend::named("a"), TestBackend::named("b"));
    let ringway = first_with(&[Algorithm::RoundRobin], [&a, &b]);
    for _ in 0..100 {
        assert_eq!(read_all(&mut ringway.connect()), b"a");
    }
    await_that("all sessions end", || ringway.totals().active == 0);
    assert_eq!((a.accepted(), b.accepted()), (100, 0));
    assert_eq!(chosen(&ringway, SERVING), [(100, 0), (0, 0)]);
    assert_eq!(chosen(&ringway, 1), [(50, 0), (50, 0)]);
    assert_eq!(counters(&ringway, |counters| counters.shadows[0].agreed.get()), 50);
    let status = ringway.server().status();
    let line = "\nshadow: pool test, round-robin agrees with first on 50 of 100 sessions (50.0%)";
    assert!(status.contains(line), "{status}");
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let rows: Vec<Vec<String>> = status.lines().map(words).collect();
    for row in [
        "test a first (serves) 100 100.0% 0",
        "test a round-robin 50 50.0% 0",
        "test b first (serves) 0 0.0% 0",
        "test b round-robin 50 50.0% 0",
    ] {
        assert!(rows.iter().any(|line| line.starts_with(&words(row))), "{row} is not in\n{status}");
    }
    ringway.finish();
}

#[test]
fn a_shadow_that_counts_sessions_counts_those_that_it_would_have_had() {
    let (a, b) = (TestBackend::echo(), TestBackend::echo());
    let ringway = first_with(&[Algorithm::LeastConnections], [&a, &b]);
    let connected = || {
        let mut client = ringway.connect();
        assert_echo(&mut client, b"x");
        client
    };
    let mut kept: Vec<_> = (0..10).map(|_| connected()).collect();
    assert_eq!(chosen(&ringway, SERVING), [(10, 10), (0, 0)]);
    assert_eq!(chosen(&ringway, 1), [(5, 5), (5, 5)]);
    // By turns they would have been on either: whoever would have been on the second one is broken off.
    let mut gone = Vec::new();
    for at in (0..5).rev() {
        gone.push(kept.remove(2 * at + 1));
    }
    gone.into_iter().for_each(reset);
    await_that("five sessions end", || ringway.totals().active == 5);
    let (first, second) = (chosen(&ringway, 1)[0].1, chosen(&ringway, 1)[1].1);
    assert_eq!((first + second, chosen(&ringway, SERVING)[0].1), (5, 5));
    // The next ones even it out again, although the real sessions are all on the first one.
    kept.extend((0..5).map(|_| connected()));
    let now: Vec<u64> = chosen(&ringway, 1).iter().map(|(_, active)| *active).collect();
    assert_eq!(now, [5, 5]);
    assert_eq!((a.accepted(), b.accepted()), (15, 0));
    drop(kept);
    ringway.finish();
}

#[test]
fn only_the_first_pick_of_a_session_counts() {
    let (refusing, _held) = refusing();
    let b = TestBackend::named("b");
    let mut config = config(&[refusing, b.address]);
    one_worker(&mut config);
    config.pools[0].algorithm = Algorithm::First;
    config.pools[0].shadow = vec![Algorithm::RoundRobin, Algorithm::Maglev];
    let ringway = Ringway::start(config);
    assert_eq!(read_all(&mut ringway.connect()), b"b");
    let ever = |chooser| chosen(&ringway, chooser).iter().map(|(total, _)| *total).sum::<u64>();
    assert_eq!(chosen(&ringway, SERVING)[0].0, 1);
    assert_eq!([SERVING, 1, 2, 3].map(ever), [1, 1, 1, 0]);
    ringway.finish();
}
