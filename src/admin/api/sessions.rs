//! Sessions that are running, and the end of one.

use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{Answer, Shared, tell};
use crate::admin::extract::{Named, Params};
use crate::admin::shapes::{Problem, Session};
use crate::admin::who::Who;
use crate::control::{LISTED_MAX, Listed, Wanted};
use crate::session_id::SessionId;
use crate::watch::Stage;

/// Which sessions.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// So many at most, 1 to 1000.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// Those of the pool of this name.
    pool: Option<String>,
    /// Those on the backend of this name.
    backend: Option<String>,
}

/// Sessions that are running, the oldest first.
#[utoipa::path(get, path = "/api/v1/sessions", params(Which), responses((status = 200, description = "some of them",
    body = Vec<Session>)))]
pub(crate) async fn sessions(app: Shared, Params(which): Params<Which>) -> Answer<Vec<Session>> {
    let limit = which.limit.unwrap_or(100) as usize;
    if !(1..=LISTED_MAX).contains(&limit) {
        return Err(Problem::malformed(format!(
            "limit: {limit} is out of bounds; it goes from 1 to {LISTED_MAX}"
        )));
    }
    let wanted = Wanted { limit, pool: which.pool, backend: which.backend };
    let mut listed = app.control.sessions(wanted).await;
    listed.sort_by_key(|session| std::cmp::Reverse(session.age));
    listed.truncate(limit);
    Ok(axum::Json(listed.into_iter().map(session).collect()))
}

fn session(listed: Listed) -> Session {
    let stage = match listed.stage {
        Stage::Greeting => "greeting",
        Stage::Connecting => "connecting",
        Stage::Queued => "queued",
        Stage::Relaying => "relaying",
        Stage::Farewell(_) => "farewell",
    };
    Session {
        id: listed.id.to_string(),
        worker: listed.id.worker(),
        listener: listed.listener,
        client: listed.client.map(|client| client.to_string()),
        pool: listed.pool,
        backend: listed.backend,
        stage: stage.to_owned(),
        age_seconds: listed.age.as_secs_f64(),
        bytes_to_backend: listed.bytes_to_backend,
        bytes_to_client: listed.bytes_to_client,
        idle_seconds: listed.idle.as_secs_f64(),
    }
}

/// Ends a session: both peers see a reset, and it counts as `killed`.
#[utoipa::path(delete, path = "/api/v1/sessions/{id}", params(("id" = String, Path, description = "worker and number: 0-17")),
    responses((status = 204, description = "it ends"), (status = 404, description = "there is none of that name any more",
    body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn kill_session(
    app: Shared,
    Named(id): Named<String>,
    Who(who): Who,
) -> Result<StatusCode, Problem> {
    let gone = || {
        Problem::not_found(format!(
            "there is no session {id:?} any more; GET /api/v1/sessions lists those that run"
        ))
    };
    let parsed = parsed(&id).ok_or_else(gone)?;
    if !app.control.kill(parsed).await {
        return Err(gone());
    }
    tell(&app, &who, format!("session {id}"), "running".into(), "killed".into());
    Ok(StatusCode::NO_CONTENT)
}

fn parsed(text: &str) -> Option<SessionId> {
    let (worker, number) = text.split_once('-')?;
    let (worker, number) = (worker.parse::<u16>().ok()?, number.parse::<u64>().ok()?);
    (number >> SessionId::NUMBER_BITS == 0).then(|| SessionId::new(usize::from(worker), number))
}
