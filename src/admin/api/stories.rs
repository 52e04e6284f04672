//! What has happened lately: decisions, and changes of state.

use serde::Deserialize;
use utoipa::IntoParams;

use super::{Answer, Shared};
use crate::admin::App;
use crate::admin::extract::Params;
use crate::admin::shapes::{Candidate, Change, Decision, Problem};
use crate::changes::CHANGES_MAX;
use crate::config::Choice;
use crate::decision::{self, Outcome, Verdict};
use crate::generation::Generation;
use crate::moment::Moment;
use crate::table::BackendTable;

/// Decisions that are told at most.
const DECISIONS_MAX: usize = 1_000;

/// How many.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct HowMany {
    /// So many at most, 1 to 256.
    #[param(minimum = 1, maximum = 256)]
    limit: Option<u32>,
}

impl HowMany {
    fn or(self, preset: usize) -> Result<usize, Problem> {
        match self.limit {
            None => Ok(preset),
            Some(limit) if (1..=CHANGES_MAX).contains(&(limit as usize)) => Ok(limit as usize),
            Some(limit) => Err(Problem::malformed(format!(
                "limit: {limit} is out of bounds; it goes from 1 to {CHANGES_MAX}"
            ))),
        }
    }
}

/// How the last backends were chosen, the newest first. Each worker writes one choice down every 50 ms.
#[utoipa::path(get, path = "/api/v1/decisions", params(HowMany), responses((status = 200, description = "the newest",
    body = Vec<Decision>)))]
pub(crate) async fn decisions(app: Shared, Params(how_many): Params<HowMany>) -> Answer<Vec<Decision>> {
    Ok(axum::Json(newest_decisions(&app.control.generation(), how_many.or(20)?)))
}

/// The newest decisions of all workers.
pub(crate) fn newest_decisions(generation: &Generation, limit: usize) -> Vec<Decision> {
    let table = generation.table();
    let mut recent: Vec<decision::Decision> =
        generation.stats.workers.iter().flat_map(|worker| worker.decisions.recent()).collect();
    recent.sort_by_key(|decision| std::cmp::Reverse(decision.at));
    recent.iter().take(limit.min(DECISIONS_MAX)).map(|one| told(generation, &table, one)).collect()
}

fn told(generation: &Generation, table: &BackendTable, decision: &decision::Decision) -> Decision {
    let pool = &generation.config.pools[decision.pool];
    let name = |id: crate::table::BackendId| table.backends[id.index()].name.to_string();
    let candidate = |candidate: &decision::Candidate| Candidate {
        backend: name(candidate.id),
        sessions: candidate.active,
        time_us: (candidate.nanos > 0).then(|| candidate.nanos as f64 / 1e3),
        score: match candidate.verdict {
            Verdict::Eligible(score) => score.filter(|score| score.is_finite()),
            _ => None,
        },
        verdict: verdict(candidate.verdict).to_owned(),
    };
    let (outcome, duration_seconds) = match decision.outcome {
        Outcome::Running => ("running", None),
        Outcome::Nobody => ("nobody", None),
        Outcome::ConnectFailed => ("connect-failed", None),
        Outcome::Ended(end, after) => (end.name(), Some(after.as_secs_f64())),
    };
    Decision {
        seconds_ago: generation.stats.begun.elapsed().saturating_sub(decision.at).as_secs_f64(),
        client: decision.client.to_string(),
        pool: pool.name.clone(),
        algorithm: pool.algorithm.word().to_owned(),
        attempt: decision.tried + 1,
        chosen: decision.chosen.map(name),
        outcome: outcome.to_owned(),
        duration_seconds,
        candidates: decision.candidates.iter().map(candidate).collect(),
        candidates_total: decision.candidates_total,
    }
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Eligible(_) => "eligible",
        Verdict::Backup => "backup",
        Verdict::Closed => "closed",
        Verdict::OnTrial => "on-trial",
        Verdict::Tried => "tried",
        Verdict::Full => "full",
    }
}

/// What has become of backends lately, and what operators did; the newest first.
#[utoipa::path(get, path = "/api/v1/changes", params(HowMany), responses((status = 200, description = "the newest",
    body = Vec<Change>)))]
pub(crate) async fn changes(app: Shared, Params(how_many): Params<HowMany>) -> Answer<Vec<Change>> {
    Ok(axum::Json(newest_changes(&app, how_many.or(50)?)))
}

/// The newest changes.
pub(crate) fn newest_changes(app: &App, limit: usize) -> Vec<Change> {
    let told = |change: crate::changes::Change| Change {
        time: Moment::of(change.at).rfc3339_millis(),
        what: change.what,
        from: change.from,
        to: change.to,
        reason: change.reason,
        who: change.who,
    };
    app.control.changes().newest(limit).into_iter().map(told).collect()
}
