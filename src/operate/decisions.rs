//! `ringway explain`: how some of the last backends were chosen.

use super::as_it_came;
use super::columns::{Cell, number, table, word, words};
use super::door::Door;
use super::failure::Failure;
use super::form::{Form, Look, Tone};
use super::units::{micros, seconds};
use crate::admin::shapes::{Candidate, Decision};

/// Candidates of one decision that are shown.
const CANDIDATES_MAX: usize = 12;

/// The newest decisions there, the newest last.
///
/// # Errors
///
/// Nobody answers.
pub fn decisions(door: &Door, limit: u32, form: Form) -> Result<String, Failure> {
    let body = door.get(&format!("/api/v1/decisions?limit={limit}"))?;
    let Form::Text(look) = form else { return Ok(as_it_came(&body)) };
    let mut decisions: Vec<Decision> = door.understood(&body)?;
    // They come with the newest first; in a terminal that is the line that is read first if it is the last.
    decisions.reverse();
    Ok(told(&decisions, look))
}

fn told(decisions: &[Decision], look: Look) -> String {
    if decisions.is_empty() {
        return "no decisions yet: each worker writes one down every 50 ms\n".into();
    }
    let mut text = String::new();
    for decision in decisions {
        text += &one(decision, look);
    }
    text += &Tone::Quiet.paint(
        "the smallest score is best: sessions, or time x (sessions + 1), for each unit of weight\n",
        look,
    );
    text
}

fn one(decision: &Decision, look: Look) -> String {
    let attempt =
        if decision.attempt > 1 { format!(", attempt {}", decision.attempt) } else { String::new() };
    let took = decision.duration_seconds.map(|took| format!(" after {}", seconds(took))).unwrap_or_default();
    let mut text = format!(
        "{} ago, client {}, pool {} ({}){attempt}: {}, {}{took}\n",
        seconds(decision.seconds_ago),
        decision.client,
        decision.pool,
        decision.algorithm,
        decision.chosen.as_deref().unwrap_or("nobody"),
        decision.outcome,
    );
    let columns =
        [word(""), words("BACKEND", 12), number("SESSIONS"), number("TIME"), number("SCORE"), word("")];
    // The one that was chosen is shown, wherever it stands.
    let is_chosen = |candidate: &Candidate| Some(&candidate.backend) == decision.chosen.as_ref();
    let shown: Vec<&Candidate> = decision
        .candidates
        .iter()
        .enumerate()
        .filter(|(place, candidate)| *place < CANDIDATES_MAX || is_chosen(candidate))
        .map(|(_, candidate)| candidate)
        .collect();
    let row = |candidate: &&Candidate| {
        let score =
            |score: f64| if is_timed(decision) { micros(Some(score / 1e3)) } else { format!("{score:.2}") };
        vec![
            Cell::plain(if is_chosen(candidate) { "  *" } else { "" }),
            Cell::plain(&candidate.backend),
            Cell::plain(candidate.sessions),
            Cell::plain(micros(candidate.time_us)),
            Cell::plain(candidate.score.map_or_else(|| "-".into(), score)),
            Cell::new(verdict(&candidate.verdict), Tone::Odd),
        ]
    };
    text += &table(&columns, &shown.iter().map(row).collect::<Vec<_>>(), look);
    if decision.candidates_total > shown.len() {
        text += &format!("     and {} more\n", decision.candidates_total - shown.len());
    }
    text.push('\n');
    text
}

/// Whether a score is a time. Power of two can have both: of sessions it is never more than one above them.
fn is_timed(decision: &Decision) -> bool {
    match decision.algorithm.as_str() {
        "least-response-time" | "peak-ewma" => true,
        "power-of-two" => decision
            .candidates
            .iter()
            .any(|one| one.score.is_some_and(|score| score > f64::from(one.sessions) + 1.0)),
        _ => false,
    }
}

fn verdict(verdict: &str) -> &str {
    match verdict {
        "eligible" => "",
        "backup" => "left out: a backup, and others can serve",
        "closed" => "left out: not up, or not wanted",
        "on-trial" => "on trial: one session decides",
        "tried" => "left out: tried before",
        "full" => "left out: at max_connections",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn decision(candidates: usize) -> Decision {
        let candidate = |n: usize| json!({"backend": format!("b{n}"), "sessions": n, "time_us": null, "score": n, "verdict": "eligible"});
        serde_json::from_value(json!({
            "seconds_ago": 1.25, "client": "192.0.2.7:5", "pool": "web", "algorithm": "least-connections", "attempt": 2,
            "chosen": "b0", "outcome": "complete", "duration_seconds": 0.0035,
            "candidates": (0..candidates).map(candidate).collect::<Vec<_>>(), "candidates_total": 30
        }))
        .unwrap()
    }

    #[test]
    fn a_decision_shows_what_there_was_to_choose_from() {
        let mut one = decision(2);
        one.candidates_total = 2;
        one.candidates[1].verdict = "full".into();
        one.candidates[1].score = None;
        let expected = "\
1.25s ago, client 192.0.2.7:5, pool web (least-connections), attempt 2: b0, complete after 3.50ms
     BACKEND  SESSIONS  TIME  SCORE
  *  b0              0     -   0.00
     b1              1     -      -  left out: at max_connections

the smallest score is best: sessions, or time x (sessions + 1), for each unit of weight
";
        assert_eq!(told(&[one], Look::default()), expected);
    }

    #[test]
    fn of_many_the_first_and_the_chosen_are_shown() {
        let mut one = decision(20);
        one.chosen = Some("b17".into());
        let shown = told(&[one], Look::default());
        assert!(shown.contains("\n  *  b17 ") && !shown.contains("b13"), "{shown}");
        assert!(shown.contains("and 17 more"), "{shown}");
    }
}
