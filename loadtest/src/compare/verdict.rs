//! What may be said of a comparison, and no more. Pure.

use super::{
    result::{Interval, Measured},
    statistics::{interval, ratio},
    units::time,
};

/// The confidence of everything that is said together.
const CONFIDENCE: f64 = 0.95;
/// Algorithms with this many more failures (as a share of the sessions) than the best are not compared by latency.
const FAILURES_APART: f64 = 0.001;

/// A few sentences: who has the shortest p99, who is slower and by how much, who cannot be told apart from it.
pub(super) fn verdict(algorithms: &[Measured]) -> String {
    if algorithms.iter().all(|one| one.repeats.is_empty()) {
        return "No round was complete: there is nothing to compare.".to_owned();
    }
    let share = |one: &Measured| one.failed as f64 / one.planned.max(1) as f64;
    let least = algorithms.iter().map(share).fold(f64::INFINITY, f64::min);
    let (answered, unanswered): (Vec<_>, Vec<_>) = algorithms.iter().partition(|one| p99s(one).is_some());
    let (compared, failing): (Vec<_>, Vec<_>) =
        answered.into_iter().partition(|one| share(one) <= least + FAILURES_APART);
    let mut text = match compared[..] {
        [] => "No algorithm had an answer in every repeat: there is nothing to compare.".to_owned(),
        [only] => format!("p99 of a session with {}: {}.", only.algorithm, with_interval(only.p99)),
        _ => by_p99(&compared),
    };
    if least > 0.0 {
        text += &format!(" With every algorithm sessions failed, at least {:.2} %.", least * 100.0);
    }
    if !failing.is_empty() {
        let names = failing
            .iter()
            .map(|one| format!("{} ({:.1} % of sessions)", one.algorithm, share(one) * 100.0))
            .collect();
        text += &format!(" Left out, because more sessions failed: {}.", list(names));
    }
    if !unanswered.is_empty() && !compared.is_empty() {
        let names = unanswered.iter().map(|one| one.algorithm.clone()).collect();
        text += &format!(" Left out, because a repeat had no answer at all: {}.", list(names));
    }
    text
}

/// Of two or more, each with an answer in every repeat.
fn by_p99(compared: &[&Measured]) -> String {
    let best =
        compared.iter().min_by(|a, b| a.p99.middle.total_cmp(&b.p99.middle)).expect("there are two or more");
    let best_p99s = p99s(best).unwrap_or_default();
    if best_p99s.len() < 2 {
        return format!(
            "The shortest p99 of a session was that of {}, {}; one repeat says nothing of how sure that is.",
            best.algorithm,
            time(best.p99.middle)
        );
    }
    // The best is found in the same figures that it is compared by: so that all that is said holds together, it has to
    // hold for every pair there is, and not only for those with the best.
    let pairs = compared.len() * (compared.len() - 1) / 2;
    let each = 1.0 - (1.0 - CONFIDENCE) / pairs as f64;
    let others = compared.iter().filter(|one| one.algorithm != best.algorithm);
    let (mut slower, mut alike) = (Vec::new(), Vec::new());
    for other in others {
        let ratio = p99s(other).and_then(|p99s| ratio(&p99s, &best_p99s, each));
        match ratio {
            Some(Interval { middle, low: Some(low), high: Some(high) }) if low > 1.0 => {
                slower
                    .push((middle, format!("{} {middle:.1} times ({low:.1} to {high:.1})", other.algorithm)));
            }
            _ => alike.push(other.algorithm.clone()),
        }
    }
    slower.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut text = format!("Shortest p99 of a session: {}, {}", best.algorithm, with_interval(best.p99));
    text += &match alike.is_empty() {
        true => ".".to_owned(),
        false => format!("; not told apart from it: {}.", list(alike)),
    };
    if slower.is_empty() {
        text += " None is slower for sure.";
    } else {
        let slower = slower.into_iter().map(|(_, text)| text).collect();
        text += &format!(" Longer: {}, with 95 % confidence for all of them together.", list(slower));
    }
    text
}

/// Of each repeat, in their order; `None` if one has none.
fn p99s(one: &Measured) -> Option<Vec<f64>> {
    let p99s: Vec<f64> = one.repeats.iter().map(|repeat| repeat.session.p99).collect();
    interval(&p99s, CONFIDENCE).map(|_| p99s)
}

fn with_interval(p99: Interval) -> String {
    match (p99.low, p99.high) {
        (Some(low), Some(high)) => {
            format!("{} (95 % confidence: {} to {})", time(p99.middle), time(low), time(high))
        }
        _ => time(p99.middle),
    }
}

fn list(mut words: Vec<String>) -> String {
    match words.len() {
        0 | 1 => words.concat(),
        _ => {
            let last = words.pop().unwrap_or_default();
            format!("{} and {last}", words.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::result::Repeat, *};
    use crate::dice::Dice;

    fn measured(algorithm: &str, p99s: &[f64], failed: u64) -> Measured {
        let mut one =
            Measured { algorithm: algorithm.to_owned(), planned: 10_000, failed, ..Measured::default() };
        for (round, &p99) in p99s.iter().enumerate() {
            let mut repeat = Repeat { round, ..Repeat::default() };
            repeat.session.p99 = p99;
            one.repeats.push(repeat);
        }
        one.p99 = interval(p99s, CONFIDENCE).unwrap_or_default();
        one
    }

    #[test]
    fn what_the_repeats_agree_on_is_said_and_the_rest_is_not() {
        let text = verdict(&[
            measured("a", &[50_000.0, 52_000.0, 48_000.0], 0),
            measured("b", &[10_000.0, 10_500.0, 9_500.0], 0),
            measured("c", &[10_000.0, 12_000.0, 9_000.0], 0),
        ]);
        assert!(text.starts_with("Shortest p99 of a session: b, 9.99 ms (95 % confidence: 8.82 ms to 11.3 ms); not told apart from it: c."), "{text}");
        assert!(text.contains("Longer: a 5.0 times ("), "{text}");
    }

    #[test]
    fn noise_alone_makes_no_winner() {
        let text = verdict(&[measured("a", &[10.0, 20.0, 15.0], 0), measured("b", &[21.0, 11.0, 14.0], 0)]);
        assert!(
            text.contains("not told apart from it: b.") || text.contains("not told apart from it: a."),
            "{text}"
        );
        assert!(text.ends_with("None is slower for sure."), "{text}");
    }

    #[test]
    fn equal_algorithms_are_seldom_called_different() {
        // Ten equal ones, four repeats, noise of 20 %: in one of twenty comparisons at most somebody may be called slower. Of
        // 400 that is 20; five standard deviations more are 42.
        let mut dice = Dice::new(11);
        let mut normal = || (-2.0 * dice.unit().ln()).sqrt() * (std::f64::consts::TAU * dice.unit()).cos();
        let mut comparison = || {
            let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
            names.map(|name| measured(name, &[0; 4].map(|_: i32| (9.0 + 0.2 * normal()).exp()), 0))
        };
        let wrong = (0..400).filter(|_| verdict(&comparison()).contains("Longer")).count();
        assert!(wrong <= 42, "{wrong} of 400");
        // And the same test does see a difference that is there.
        let mut seen = comparison();
        seen[0].repeats.iter_mut().for_each(|repeat| repeat.session.p99 *= 100.0);
        assert!(verdict(&seen).contains("Longer"), "{}", verdict(&seen));
    }

    #[test]
    fn one_repeat_is_not_enough_to_be_sure() {
        let text = verdict(&[measured("a", &[10.0], 0), measured("b", &[20.0], 0)]);
        assert!(text.contains("one repeat says nothing"), "{text}");
    }

    #[test]
    fn who_fails_is_not_the_fastest() {
        let text = verdict(&[measured("a", &[1.0, 1.0], 500), measured("b", &[9.0, 9.0], 2)]);
        assert!(text.contains("p99 of a session with b"), "{text}");
        assert!(text.contains("Left out, because more sessions failed: a (5.0 % of sessions)."), "{text}");
        assert!(text.contains("With every algorithm sessions failed, at least 0.02 %."), "{text}");
    }

    #[test]
    fn without_an_answer_there_is_nothing_to_say() {
        let text = verdict(&[measured("a", &[0.0, 0.0], 10), measured("b", &[0.0, 0.0], 10)]);
        assert_eq!(
            text,
            "No algorithm had an answer in every repeat: there is nothing to compare. With every algorithm sessions failed, at \
             least 0.10 %."
        );
        assert_eq!(verdict(&[measured("a", &[], 0)]), "No round was complete: there is nothing to compare.");
        let text = verdict(&[measured("a", &[0.0, 5.0], 0), measured("b", &[7.0, 7.0], 0)]);
        assert!(text.ends_with("Left out, because a repeat had no answer at all: a."), "{text}");
    }
}
