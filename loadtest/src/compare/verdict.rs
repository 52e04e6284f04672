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
    let share = |one: &Measured| one.failed as f64 / one.planned.max(1) as f64;
    let least = algorithms.iter().map(share).fold(f64::INFINITY, f64::min);
    let (compared, failing): (Vec<_>, Vec<_>) =
        algorithms.iter().partition(|one| share(one) <= least + FAILURES_APART && p99s(one).is_some());
    let mut text = if let [only] = compared[..] {
        format!("p99 of a session with {}: {}.", only.algorithm, with_interval(only.p99))
    } else {
        by_p99(&compared)
    };
    if least > 0.0 && least.is_finite() {
        text += &format!(" With every algorithm sessions failed, at least {:.2} %.", least * 100.0);
    }
    if !failing.is_empty() {
        let names = failing
            .iter()
            .map(|one| format!("{} ({:.1} % of sessions)", one.algorithm, share(one) * 100.0))
            .collect();
        text += &format!(" Left out, because more sessions failed: {}.", list(names));
    }
    text.trim_start().to_owned()
}

fn by_p99(compared: &[&Measured]) -> String {
    let best = compared.iter().min_by(|a, b| a.p99.middle.total_cmp(&b.p99.middle));
    let Some(best) = best else { return "No session was answered: there is nothing to compare.".to_owned() };
    let best_p99s = p99s(best).unwrap_or_default();
    if best_p99s.len() < 2 {
        return format!(
            "The shortest p99 of a session was that of {}, {}; one repeat says nothing of how sure that is.",
            best.algorithm,
            time(best.p99.middle)
        );
    }
    // So that all comparisons with the best hold together.
    let others = compared.iter().filter(|one| one.algorithm != best.algorithm);
    let each = 1.0 - (1.0 - CONFIDENCE) / (compared.len() - 1).max(1) as f64;
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
        assert!(text.starts_with("No session was answered"), "{text}");
    }
}
