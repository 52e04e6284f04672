//! Explain: the last decisions as text, for who asks why a backend was chosen.

use std::fmt::Write;
use std::time::Duration;

use crate::config::{Algorithm, Choice, Config, Pool, PowerOfTwoBy};
use crate::decision::{Candidate, Decision, Outcome, Verdict};
use crate::stats::Stats;
use crate::status::{nanos, span};
use crate::table::BackendTable;

/// Decisions that are printed.
const PRINTED_MAX: usize = 10;
/// Candidates of each that are printed.
const CANDIDATES_MAX: usize = 12;

/// The newest decisions of all workers, newest last: what there was to choose from, who was chosen, how it ended.
pub fn decisions(config: &Config, table: &BackendTable, stats: &Stats) -> String {
    let mut recent: Vec<Decision> =
        stats.workers.iter().flat_map(|worker| worker.decisions.recent()).collect();
    if recent.is_empty() {
        return String::new();
    }
    recent.sort_by_key(|decision| decision.at);
    let mut text = String::from(
        "last decisions (each worker writes one down every 50 ms; the smallest score is best: sessions, or time x \
             (sessions + 1), for each unit of weight)\n",
    );
    for decision in &recent[recent.len().saturating_sub(PRINTED_MAX)..] {
        one(&mut text, config, table, decision, stats.begun.elapsed());
    }
    text
}

fn one(text: &mut String, config: &Config, table: &BackendTable, decision: &Decision, now: Duration) {
    let pool = &config.pools[decision.pool];
    let end = match (decision.chosen, decision.outcome) {
        (Some(id), end) => format!("{}, {}", table.backends[id.index()].name, outcome(end)),
        (None, end) => outcome(end),
    };
    let client = if decision.client.is_unspecified() {
        "of a Unix socket".to_owned()
    } else {
        decision.client.to_string()
    };
    let attempt = match decision.tried {
        0 => String::new(),
        tried => format!(", attempt {}", tried + 1),
    };
    let _ = writeln!(
        text,
        "{} ago, client {client}, pool {} ({}){attempt}: {end}",
        span(now.saturating_sub(decision.at)),
        pool.name,
        pool.algorithm.word(),
    );
    let shown = &decision.candidates[..decision.candidates.len().min(CANDIDATES_MAX)];
    let name = |candidate: &Candidate| table.backends[candidate.id.index()].name.chars().count();
    let width = shown.iter().map(name).max().unwrap_or(0);
    for candidate in shown {
        let mark = if Some(candidate.id) == decision.chosen { '*' } else { ' ' };
        let name = &table.backends[candidate.id.index()].name;
        let _ = writeln!(
            text,
            "  {mark} {name:<width$}  sessions {:>5}  time {:>7}  {}",
            candidate.active,
            if candidate.nanos == 0 { "-".into() } else { nanos(candidate.nanos) },
            verdict(candidate.verdict, is_timed(pool))
        );
    }
    if decision.candidates_total > shown.len() {
        let _ = writeln!(text, "    and {} more", decision.candidates_total - shown.len());
    }
}

/// Whether a pool's scores are times, and not sessions.
fn is_timed(pool: &Pool) -> bool {
    match pool.algorithm {
        Algorithm::LeastResponseTime | Algorithm::PeakEwma => true,
        Algorithm::PowerOfTwo => pool.power_of_two_by == PowerOfTwoBy::ResponseTime,
        _ => false,
    }
}

fn verdict(verdict: Verdict, is_timed: bool) -> String {
    match verdict {
        Verdict::Eligible(None) => "could be chosen".into(),
        Verdict::Eligible(Some(score)) if is_timed => format!("score {:>7}", nanos(score as u64)),
        Verdict::Eligible(Some(score)) => format!("score {score:>7.2}"),
        Verdict::Backup => "left out: a backup, and others can serve".into(),
        Verdict::Closed => "left out: not up, or not wanted".into(),
        Verdict::OnTrial => "on trial: one session decides".into(),
        Verdict::Tried => "left out: tried before".into(),
        Verdict::Full => "left out: at max_connections".into(),
    }
}

fn outcome(outcome: Outcome) -> String {
    match outcome {
        Outcome::Running => "still running".into(),
        Outcome::Nobody => "nobody could be picked".into(),
        Outcome::ConnectFailed => "connect failed".into(),
        Outcome::Ended(end, after) => format!("{} after {}", end.name(), span(after)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::end::End;
    use crate::table::BackendId;
    use std::net::Ipv4Addr;
    use std::time::Instant;

    #[test]
    fn a_decision_says_who_was_compared_who_was_left_out_and_how_it_ended() {
        let text = "[[listener]]\nname = 'a'\nbind = '127.0.0.1:1'\npool = 'web'\n[[pool]]\nname = 'web'\n\
                    algorithm = 'least-connections'\n\
                    [[pool.backend]]\naddress = '127.0.0.1:8080'\nname = 'one'\n\
                    [[pool.backend]]\naddress = '127.0.0.1:8081'\nname = 'second'\n";
        let config = crate::config::parse("test", text).unwrap();
        let table = BackendTable::first(&config.pools, Instant::now());
        let stats = Stats::new(1, 1, 2);
        let candidate =
            |index, verdict| Candidate { id: BackendId::new(index), active: 3, nanos: 1_200_000, verdict };
        stats.workers[0].decisions.note(Decision {
            at: stats.begun.elapsed(),
            client: Ipv4Addr::LOCALHOST.into(),
            pool: 0,
            tried: 1,
            candidates: vec![
                candidate(0, Verdict::Tried),
                Candidate { nanos: 0, ..candidate(1, Verdict::Eligible(Some(0.03))) },
            ],
            candidates_total: 2,
            chosen: Some(BackendId::new(1)),
            outcome: Outcome::Ended(End::Complete, Duration::from_micros(2_345)),
        });
        let shown = decisions(&config, &table, &stats);
        let (head, rest) = shown.split_once(" ago, ").unwrap();
        assert!(head.starts_with("last decisions"));
        let expected =
            "client 127.0.0.1, pool web (least-connections), attempt 2: second, complete after 2.35ms
  * second  sessions     3  time       -  score    0.03
    one     sessions     3  time  1.20ms  left out: tried before
";
        assert_eq!(rest, expected);
    }
    #[test]
    fn who_finds_nobody_and_has_no_address_is_told_of_in_words() {
        let text = "[[listener]]\nname = 'a'\nbind = 'unix:/a'\npool = 'web'\n[[pool]]\nname = 'web'\n\
                    [[pool.backend]]\naddress = '127.0.0.1:8080'\n";
        let config = crate::config::parse("test", text).unwrap();
        let table = BackendTable::first(&config.pools, Instant::now());
        let stats = Stats::new(1, 1, 1);
        stats.workers[0].decisions.note(Decision {
            at: stats.begun.elapsed(),
            client: Ipv4Addr::UNSPECIFIED.into(),
            pool: 0,
            tried: 0,
            candidates: Vec::new(),
            candidates_total: 0,
            chosen: None,
            outcome: Outcome::Nobody,
        });
        let shown = decisions(&config, &table, &stats);
        assert!(
            shown
                .ends_with(" ago, client of a Unix socket, pool web (round-robin): nobody could be picked\n"),
            "{shown}"
        );
    }
}
