//! Sessions that are running, and the end of one.

use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{Answer, Shared, backend_of, pool_of, tell};
use crate::admin::extract::{Named, Params};
use crate::admin::shapes::{Problem, Session};
use crate::admin::who::Who;
use crate::control::{LISTED_MAX, Listed, Wanted};
use crate::generation::Generation;
use crate::session_id::SessionId;
use crate::watch::Stage;

/// Which sessions.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
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
    body = Vec<Session>),
    (status = 404, description = "there is no pool or no backend of that name, and no session either", body = Problem,
    content_type = "application/problem+json")))]
pub(crate) async fn sessions(app: Shared, Params(which): Params<Which>) -> Answer<Vec<Session>> {
    let limit = which.limit.unwrap_or(100) as usize;
    if !(1..=LISTED_MAX).contains(&limit) {
        return Err(Problem::malformed(format!(
            "limit: {limit} is out of bounds; it goes from 1 to {LISTED_MAX}"
        )));
    }
    let wanted = Wanted { limit, pool: which.pool, backend: which.backend };
    let mut listed = app.control.sessions(wanted.clone()).await;
    // Only then: what has been removed may still have sessions, and who waits for their end asks by its name.
    if listed.is_empty() {
        known(&app.control.generation(), &wanted)?;
    }
    listed.sort_by_key(|session| std::cmp::Reverse(session.age));
    listed.truncate(limit);
    Ok(axum::Json(listed.into_iter().map(session).collect()))
}

/// That there is what is asked about: a slip must not read as "no sessions".
fn known(generation: &Generation, wanted: &Wanted) -> Result<(), Problem> {
    match (&wanted.pool, &wanted.backend) {
        (None, None) => Ok(()),
        (Some(pool), None) => pool_of(generation, pool).map(drop),
        (Some(pool), Some(backend)) => {
            let pool = pool_of(generation, pool)?;
            backend_of(generation, pool, backend).map(drop)
        }
        (None, Some(name)) => {
            let pools = &generation.config.pools;
            let backends = || {
                pools
                    .iter()
                    .flat_map(|pool| pool.backends.iter().map(move |backend| (&pool.name, &backend.name)))
            };
            if backends().any(|(_, backend)| backend == name) {
                return Ok(());
            }
            let names: Vec<String> =
                backends().take(20).map(|(pool, backend)| format!("{pool}/{backend}")).collect();
            Err(Problem::not_found(format!("no pool has a backend {name:?}; there are {}", names.join(", "))))
        }
    }
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
    responses((status = 204, description = "it ends"), (status = 404, description = "there is none of that name, or no more",
    body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn kill_session(
    app: Shared,
    Named(id): Named<String>,
    Who(who): Who,
) -> Result<StatusCode, Problem> {
    let missing = |why: &str| {
        Problem::not_found(format!(
            "there is no session {id:?}: {why}; `ringway sessions` and GET /api/v1/sessions list those that run"
        ))
    };
    let parsed: SessionId = id.parse().map_err(|()| missing("an id is worker and number, such as 0-17"))?;
    if !app.control.kill(parsed).await {
        return Err(missing("it has ended, or never was"));
    }
    tell(&app, &who, format!("session {id}"), "running".into(), "killed".into());
    Ok(StatusCode::NO_CONTENT)
}
