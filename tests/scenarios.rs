//! Scenarios: the real choosing over modelled backends with a virtual clock, each with the result that it must have.
//!
//! No sleep and no threshold on real time: what is compared is virtual, and the same for a seed on every machine.

use std::ops::Range;
use std::time::Duration;

use ringway::config::Algorithm;
use ringway::model::{Plan, Run, Scenario, TROUBLE_AT, run};

/// Those that spread sessions evenly over equal backends.
const SPREADING: [Algorithm; 7] = [
    Algorithm::RoundRobin,
    Algorithm::WeightedRoundRobin,
    Algorithm::LeastConnections,
    Algorithm::LeastResponseTime,
    Algorithm::PeakEwma,
    Algorithm::Random,
    Algorithm::PowerOfTwo,
];
const SEEDS: Range<u64> = 1..4;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn p99(run: &Run) -> Duration {
    Duration::from_nanos(run.latencies.value_at_quantile(0.99))
}

/// How many picks there were in this time, and how many of them were of the backends before `troubled`.
fn picks(run: &Run, time: Range<Duration>, troubled: usize) -> (usize, usize) {
    let in_time: Vec<usize> =
        run.picks.iter().filter(|(at, _)| time.contains(at)).map(|(_, backend)| *backend).collect();
    assert!(in_time.len() > 100, "nothing happened");
    (in_time.len(), in_time.iter().filter(|&&backend| backend < troubled).count())
}

/// The part of the picks in this time that the troubled ones got.
fn share(plan: &Plan, run: &Run, time: Range<Duration>) -> f64 {
    let (all, troubled) = picks(run, time, plan.troubled);
    troubled as f64 / all as f64
}

#[test]
fn equal_backends_get_equal_shares() {
    let plan = Scenario::Equal.plan(secs(10));
    for seed in SEEDS {
        for algorithm in SPREADING {
            let run = run(&plan, algorithm, seed);
            let (all, _) = picks(&run, secs(0)..secs(10), 0);
            for backend in 0..4 {
                let got = run.picks.iter().filter(|(_, picked)| *picked == backend).count() as f64;
                let (expected, deviation) = (all as f64 / 4.0, (all as f64 * 0.25 * 0.75).sqrt());
                let allowed = match algorithm {
                    // What is measured differs by chance for a while, also where nothing else does.
                    Algorithm::LeastResponseTime | Algorithm::PeakEwma => 0.1 * expected,
                    // No worse than throwing dice: five standard deviations of a binomial.
                    _ => 5.0 * deviation,
                };
                let off = (got - expected).abs();
                assert!(off < allowed, "{algorithm:?}, seed {seed}: {got} of {all}");
            }
            assert_eq!(run.failed, 0);
        }
    }
}

#[test]
fn what_measures_gives_a_slow_backend_no_more_than_its_speed_earns() {
    let plan = Scenario::OneSlow.plan(secs(30));
    for seed in SEEDS {
        let turns = run(&plan, Algorithm::RoundRobin, seed);
        assert!((share(&plan, &turns, secs(0)..secs(30)) - 0.25).abs() < 0.01);
        for algorithm in [Algorithm::LeastResponseTime, Algorithm::PeakEwma] {
            let measured = run(&plan, algorithm, seed);
            // A tenth of the speed beside three: 0.1 / 3.1.
            let got = share(&plan, &measured, secs(0)..secs(30));
            assert!(got > 0.0 && got < 0.1 / 3.1, "{algorithm:?}, seed {seed}: {got}");
            // Of answers that take 5 ms on average 1 % take longer than 23 ms; by turns a quarter takes 50 ms.
            assert!(p99(&measured) < Duration::from_millis(30), "{algorithm:?}: {:?}", p99(&measured));
            assert!(p99(&turns) > 5 * p99(&measured));
        }
        // Counting sessions helps, and not as much.
        let counted = run(&plan, Algorithm::LeastConnections, seed);
        assert!(p99(&counted) < p99(&turns) && p99(&counted) > Duration::from_millis(60));
    }
}

#[test]
fn a_stalled_backend_stops_being_picked_within_a_second_and_is_back_in_time() {
    let plan = Scenario::OneStalls.plan(secs(45));
    let end = TROUBLE_AT + secs(5);
    for seed in SEEDS {
        // The few answers that took five seconds are all that the window has of it, and go with it: after 10 s. A peak
        // fades to a thousandth in seven times a quarter of that.
        for (algorithm, after) in [(Algorithm::LeastResponseTime, 10), (Algorithm::PeakEwma, 20)] {
            let run = run(&plan, algorithm, seed);
            let (_, in_first_second) = picks(&run, TROUBLE_AT..TROUBLE_AT + secs(1), 1);
            // 2,880 sessions come in that second: as many as everybody has may be caught, not a quarter.
            assert!(in_first_second < 40, "{algorithm:?}, seed {seed}: {in_first_second}");
            let (_, later) = picks(&run, TROUBLE_AT + secs(1)..end, 1);
            assert_eq!(later, 0, "{algorithm:?}, seed {seed}");
            let back = share(&plan, &run, end + secs(after)..secs(45));
            assert!((0.20..0.30).contains(&back), "{algorithm:?}, seed {seed}: {back}");
            // Those that were caught are too few to be seen in the 99.9th percentile.
            assert!(run.latencies.value_at_quantile(0.999) < 100_000_000);
        }
        // By turns a quarter of five seconds is caught.
        let turns = run(&plan, Algorithm::RoundRobin, seed);
        assert!(turns.most_active > 3000 && p99(&turns) > secs(2));
    }
}

#[test]
fn a_backend_that_returns_from_the_dead_has_its_share_again() {
    let plan = Scenario::OneReturns.plan(secs(30));
    // Two checks pass, one second apart, and one more may just have been missed.
    let (dead, back) = (TROUBLE_AT + secs(1)..TROUBLE_AT + secs(10), TROUBLE_AT + secs(13)..secs(30));
    for seed in SEEDS {
        for algorithm in SPREADING {
            let run = run(&plan, algorithm, seed);
            let lost = run.failed;
            assert!(lost < 30, "{algorithm:?}, seed {seed}: {lost} were lost with it, which were on it");
            let (_, tries) = picks(&run, dead.clone(), 1);
            assert!(tries < 20, "{algorithm:?}, seed {seed}: picked {tries} times while it was dead");
            let share = share(&plan, &run, back.clone());
            assert!((0.20..0.30).contains(&share), "{algorithm:?}, seed {seed}: {share}");
        }
    }
}

#[test]
fn two_kinds_of_requests_do_not_mislead_what_measures() {
    let plan = Scenario::Bimodal.plan(secs(30));
    for seed in SEEDS {
        let turns = run(&plan, Algorithm::RoundRobin, seed);
        for algorithm in [Algorithm::LeastResponseTime, Algorithm::PeakEwma, Algorithm::PowerOfTwo] {
            let run = run(&plan, algorithm, seed);
            assert!(p99(&run) <= p99(&turns), "{algorithm:?}: {:?} and {:?}", p99(&run), p99(&turns));
            for backend in 0..4 {
                let got = run.picks.iter().filter(|(_, picked)| *picked == backend).count() as f64;
                let share = got / run.picks.len() as f64;
                assert!((0.23..0.27).contains(&share), "{algorithm:?}, seed {seed}: {share}");
            }
        }
    }
}

#[test]
fn of_a_thousand_none_is_run_over_and_none_is_forgotten() {
    let plan = Scenario::Thousand.plan(secs(3));
    for algorithm in [Algorithm::LeastResponseTime, Algorithm::LeastConnections, Algorithm::PeakEwma] {
        let run = run(&plan, algorithm, 1);
        // A lucky first answer must not draw everybody: 1,267 sessions at once it was, before few samples were doubted.
        assert!(run.most_active <= 12, "{algorithm:?}: {} at once", run.most_active);
        let mut seen = vec![0; 1000];
        run.picks.iter().for_each(|(_, backend)| seen[*backend] += 1);
        assert!(seen.iter().all(|&count| count > 0), "{algorithm:?} forgot somebody");
        if algorithm != Algorithm::LeastConnections {
            // A fifth of the speed for one in ten: 20 of 920.
            let got = share(&plan, &run, secs(1)..secs(3));
            assert!(got < 20.0 / 920.0, "{algorithm:?}: {got}");
        }
    }
}

#[test]
fn first_fills_one_up_before_it_touches_the_next() {
    let plan = Scenario::Equal.plan(secs(10));
    let run = run(&plan, Algorithm::First, 1);
    let mut got = [0_usize; 4];
    run.picks.iter().for_each(|(_, backend)| got[*backend] += 1);
    // Six tenths of what four can do: the first two are always full, the last is hardly needed.
    assert!(got[0].abs_diff(got[1]) < got[0] / 20 && got[2] < got[1] && got[3] < got[0] / 50, "{got:?}");
    assert_eq!(run.most_active, 16, "as many as wait and are worked on");
    assert_eq!(run.failed, 0);
}

#[test]
fn a_seed_gives_the_same_run_and_another_one_does_not() {
    let plan = Scenario::OneReturns.plan(secs(12));
    for algorithm in [Algorithm::LeastResponseTime, Algorithm::PowerOfTwo] {
        let first = run(&plan, algorithm, 7);
        assert!(first.picks == run(&plan, algorithm, 7).picks);
        assert!(first.picks != run(&plan, algorithm, 8).picks);
    }
}
