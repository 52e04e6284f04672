//! Listeners and pools, and how a pool chooses.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::{Answer, Shared, aside, pool_of, tell};
use crate::access::Refused;
use crate::admin::extract::{Json, Named};
use crate::admin::shapes::{Backend, Listener, Pool, PoolPatch, Problem};
use crate::admin::who::Who;
use crate::config::{Algorithm, Choice};
use crate::end::End;
use crate::generation::Generation;
use crate::stats::{Counter, ListenerStats};
use crate::table::{self, BackendTable};

/// Where clients come in.
#[utoipa::path(get, path = "/api/v1/listeners", responses((status = 200, description = "all of them", body = Vec<Listener>)))]
pub(crate) async fn listeners(app: Shared) -> Answer<Vec<Listener>> {
    let generation = app.control.generation();
    let listener = |place: usize| {
        let spec = &generation.config.listeners[place];
        let stats = &generation.stats;
        let sum =
            |counter: fn(&ListenerStats) -> &Counter| stats.sum(|worker| counter(&worker.listeners[place]));
        let ended = |end: End| stats.sum(|worker| &worker.listeners[place].ends[end as usize]);
        let ends: BTreeMap<String, u64> =
            End::ALL.into_iter().map(|end| (end.name().to_owned(), ended(end))).collect();
        let turned_away = |reason: Refused| {
            let count = stats.sum(|worker| &worker.listeners[place].refused[reason as usize]);
            (reason.name().to_owned(), count)
        };
        let refused = Refused::ALL.into_iter().map(turned_away).collect();
        Listener {
            name: spec.name.clone(),
            protocol: spec.protocol.word().to_owned(),
            addresses: crate::config::spans(&generation.addresses[place]),
            pool: generation.config.pools[spec.pool].name.clone(),
            accepted: sum(|one| &one.accepted),
            active: sum(|one| &one.active),
            ends,
            refused,
            waiting: sum(|one| &one.waiting),
            queue_drops: sum(|one| &one.queue_drops),
            bytes_to_backend: sum(|one| &one.bytes_to_backend),
            bytes_to_client: sum(|one| &one.bytes_to_client),
        }
    };
    Ok(axum::Json((0..generation.config.listeners.len()).map(listener).collect()))
}

/// Backends and how one of them is chosen.
#[utoipa::path(get, path = "/api/v1/pools", responses((status = 200, description = "all of them", body = Vec<Pool>)))]
pub(crate) async fn pools(app: Shared) -> Answer<Vec<Pool>> {
    Ok(axum::Json(all_pools(&app.control.generation())))
}

/// One pool.
#[utoipa::path(get, path = "/api/v1/pools/{pool}", params(("pool" = String, Path, description = "its name")),
    responses((status = 200, description = "this", body = Pool), (status = 404, description = "there is none of that name",
    body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn pool(app: Shared, Named(name): Named<String>) -> Answer<Pool> {
    let generation = app.control.generation();
    let place = pool_of(&generation, &name)?;
    Ok(axum::Json(one_pool(&generation, &generation.table(), place)))
}

/// Has a pool choose in another way. It is as if the file had been changed and read again; the next reload of the file wins.
#[utoipa::path(patch, path = "/api/v1/pools/{pool}", params(("pool" = String, Path, description = "its name")),
    request_body = PoolPatch,
    responses((status = 200, description = "it does", body = Pool),
    (status = 404, description = "there is none of that name", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "there is no such algorithm", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn patch_pool(
    app: Shared,
    Named(name): Named<String>,
    Who(who): Who,
    Json(patch): Json<PoolPatch>,
) -> Answer<Pool> {
    let app = Arc::clone(&app);
    aside(move || {
        let mut before = None;
        app.control.alter(|generation, config| -> Result<(), Problem> {
            let place = pool_of(generation, &name)?;
            let algorithm = algorithm(&patch.algorithm)?;
            let pool = &mut config.pools[place];
            let was = std::mem::replace(&mut pool.algorithm, algorithm);
            // What serves is no shadow of itself.
            pool.shadow.iter_mut().filter(|shadow| **shadow == algorithm).for_each(|shadow| *shadow = was);
            before = Some(was);
            Ok(())
        })?;
        if let Some(before) = before.filter(|before| before.word() != patch.algorithm) {
            tell(&app, &who, format!("pool {name}"), before.word().to_owned(), patch.algorithm);
        }
        let generation = app.control.generation();
        let place = pool_of(&generation, &name)?;
        Ok(axum::Json(one_pool(&generation, &generation.table(), place)))
    })
    .await
}

fn algorithm(word: &str) -> Result<Algorithm, Problem> {
    Algorithm::ALL.iter().copied().find(|algorithm| algorithm.word() == word).ok_or_else(|| {
        let words: Vec<&str> = Algorithm::ALL.iter().map(|algorithm| algorithm.word()).collect();
        Problem::unfit(format!("algorithm: {word:?} is none; write one of {}", words.join(", ")))
    })
}

/// All pools, of one table.
pub(crate) fn all_pools(generation: &Generation) -> Vec<Pool> {
    let table = generation.table();
    (0..generation.config.pools.len()).map(|place| one_pool(generation, &table, place)).collect()
}

fn one_pool(generation: &Generation, table: &BackendTable, place: usize) -> Pool {
    let spec = &generation.config.pools[place];
    let backends = &table.backends[table.pools[place].clone()];
    Pool {
        name: spec.name.clone(),
        algorithm: spec.algorithm.word().to_owned(),
        shadows: spec.shadow.iter().map(|shadow| shadow.word().to_owned()).collect(),
        queued: generation.queues[place].len(),
        backends: backends.iter().map(|backend| one_backend(generation, backend)).collect(),
    }
}

/// A backend, with what is counted and measured there.
pub(super) fn one_backend(generation: &Generation, backend: &table::Backend) -> Backend {
    let (stats, id) = (&generation.stats, backend.id);
    let (figure, timings) = (generation.times.get(id), &stats.timings[id.index()]);
    let micros =
        |counter: &Counter| Some(counter.get()).filter(|nanos| *nanos > 0).map(|nanos| nanos as f64 / 1e3);
    Backend {
        name: backend.name.to_string(),
        address: backend.address.to_string(),
        state: backend.health.state.name().to_owned(),
        mode: backend.mode.name().to_owned(),
        since_seconds: Instant::now().saturating_duration_since(backend.since()).as_secs_f64(),
        reason: backend.reason().into_owned(),
        weight: backend.weight,
        ramp_percent: backend.ramp,
        backup: backend.backup,
        max_connections: backend.max_connections.map(|max| max.get()),
        active: stats.sessions(id),
        picked: stats.backend(id, |one| &one.picked),
        connected: stats.backend(id, |one| &one.connected),
        connect_failures: stats.backend(id, |one| &one.connect_failures),
        unanswered: stats.backend(id, |one| &one.unanswered),
        response_time_us: (!figure.is_unknown()).then(|| figure.nanos() / 1e3),
        p50_us: micros(&timings.p50),
        p99_us: micros(&timings.p99),
    }
}
