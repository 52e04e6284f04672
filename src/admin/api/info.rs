//! What runs, and whether clients should be sent here.

use std::process;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::{Answer, Shared};
use crate::admin::App;
use crate::admin::shapes::{Info, Readiness};
use crate::config::{Choice, Source};
use crate::moment::Moment;
use crate::net;
use crate::phase::Phase;
use crate::table::State;

/// Whether the process lives.
#[utoipa::path(get, path = "/healthz", responses((status = 200, description = "it does", body = String, content_type = "text/plain")))]
pub(crate) async fn health() -> &'static str {
    "ok\n"
}

/// Whether clients should be sent here.
#[utoipa::path(get, path = "/readyz", responses((status = 200, description = "they should", body = Readiness),
    (status = 503, description = "it drains, or a pool is below its quorum", body = Readiness)))]
pub(crate) async fn ready(app: Shared) -> Response {
    let reasons = unready(&app);
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, axum::Json(Readiness { ready: reasons.is_empty(), reasons })).into_response()
}

/// Why clients should not be sent here.
fn unready(app: &App) -> Vec<String> {
    let mut reasons = Vec::new();
    if app.control.phase() != Phase::Running {
        reasons.push("draining: no new sessions are accepted".to_owned());
    }
    let generation = app.control.generation();
    let table = generation.table();
    for (pool, places) in generation.config.pools.iter().zip(&*table.pools) {
        let backends = &table.backends[places.clone()];
        let up = backends
            .iter()
            .filter(|backend| backend.is_wanted() && backend.health.state == State::Up)
            .count();
        let wanted = (app.quorum as usize).min(backends.len());
        if up < wanted {
            reasons.push(format!(
                "pool {}: {up} of {} backends are up; at least {wanted} needed",
                pool.name,
                backends.len()
            ));
        }
    }
    reasons
}

/// What runs.
#[utoipa::path(get, path = "/api/v1/info", responses((status = 200, description = "this", body = Info)))]
pub(crate) async fn info(app: Shared) -> Answer<Info> {
    Ok(axum::Json(now(&app)))
}

/// What the process is about.
pub(crate) fn state_word(app: &App) -> &'static str {
    match app.control.phase() {
        Phase::Starting => "starting",
        Phase::Running => "running",
        Phase::Draining => "draining",
        Phase::Closing => "closing",
    }
}

/// What runs, now.
pub(super) fn now(app: &App) -> Info {
    let generation = app.control.generation();
    let config_file = match app.control.source() {
        Source::File(path) => Some(path.display().to_string()),
        Source::Flags => None,
    };
    Info {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: net::kernel_release(),
        pid: process::id(),
        uptime_seconds: generation.stats.begun.elapsed().as_secs_f64(),
        started: Moment::of(app.started).rfc3339_millis(),
        workers: app.control.workers(),
        engine: app.control.engine().word().to_owned(),
        generation: generation.number,
        epoch: generation.table().epoch,
        state: state_word(app).to_owned(),
        config_file,
    }
}
