//! Backends: drain, ready, maintenance, weight; add and remove.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;

use super::pools::one_backend;
use super::{Answer, Shared, aside, backend_of, pool_of, tell};
use crate::admin::App;
use crate::admin::extract::{Json, Named};
use crate::admin::shapes::{Backend, BackendPatch, Mode, NewBackend, Problem};
use crate::admin::who::Who;
use crate::config::{self, Flags};
use crate::generation::Generation;
use crate::health::Order;
use crate::table::{self, BackendId};

/// How long a change of a backend may take to show.
const SHOWN_TIMEOUT: Duration = Duration::from_secs(2);
/// Between two looks whether it does.
const LOOK: Duration = Duration::from_millis(5);

/// Has a backend serve, drain or rest, or gives it another share. Lasts until the process ends; a reload keeps it.
#[utoipa::path(patch, path = "/api/v1/pools/{pool}/backends/{backend}",
    params(("pool" = String, Path, description = "the name of its pool"), ("backend" = String, Path, description = "its name")),
    request_body = BackendPatch,
    responses((status = 200, description = "it does", body = Backend),
    (status = 404, description = "there is none of that name", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "the weight is out of bounds", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn patch_backend(
    app: Shared,
    Named((pool, backend)): Named<(String, String)>,
    Who(who): Who,
    Json(patch): Json<BackendPatch>,
) -> Answer<Backend> {
    let before = found(&app, &pool, &backend)?;
    let (app, patch) = (Arc::clone(&app), Arc::new(patch));
    // Aside: an order waits for a reload that is under way.
    let (ordering, names, wanted) = (Arc::clone(&app), (pool.clone(), backend.clone()), Arc::clone(&patch));
    aside(move || give_orders(&ordering, &names.0, &names.1, &wanted)).await?;
    let what = format!("pool {pool}, backend {backend}");
    if let Some(weight) = patch.weight.filter(|weight| *weight != before.weight) {
        tell(&app, &who, what.clone(), format!("weight {}", before.weight), format!("weight {weight}"));
    }
    if let Some(mode) = patch.mode.map(table::Mode::from).filter(|mode| mode.name() != before.mode) {
        tell(&app, &who, what, before.mode, mode.name().to_owned());
    }
    Ok(axum::Json(shown(&app, &pool, &backend, &patch).await?))
}

fn give_orders(app: &App, pool: &str, backend: &str, patch: &BackendPatch) -> Result<(), Problem> {
    let order = |told: &dyn Fn(BackendId) -> Order| {
        app.control
            .order_of(|generation| -> Result<Order, Problem> { Ok(told(id_of(generation, pool, backend)?)) })
    };
    // The weight first: it is the one that can be refused, and then nothing has changed.
    if let Some(weight) = patch.weight {
        order(&|backend| Order::SetWeight { backend, weight })?;
    }
    if let Some(mode) = patch.mode {
        order(&|backend| Order::SetMode { backend, mode: mode.into() })?;
    }
    Ok(())
}

/// The backend once it is as it was asked to be, or as it is when that takes too long.
async fn shown(app: &App, pool: &str, backend: &str, patch: &BackendPatch) -> Result<Backend, Problem> {
    let deadline = tokio::time::Instant::now() + SHOWN_TIMEOUT;
    loop {
        let now = found(app, pool, backend)?;
        let has_mode = patch.mode.is_none_or(|mode| table::Mode::from(mode).name() == now.mode);
        let has_weight = patch.weight.is_none_or(|weight| weight == now.weight);
        if (has_mode && has_weight) || tokio::time::Instant::now() >= deadline {
            return Ok(now);
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn found(app: &App, pool: &str, backend: &str) -> Result<Backend, Problem> {
    let generation = app.control.generation();
    let id = id_of(&generation, pool, backend)?;
    Ok(one_backend(&generation, &generation.table().backends[id.index()]))
}

fn id_of(generation: &Generation, pool: &str, backend: &str) -> Result<BackendId, Problem> {
    let pool = pool_of(generation, pool)?;
    let place = backend_of(generation, pool, backend)?;
    Ok(BackendId::new(generation.table().pools[pool].start + place))
}

impl From<Mode> for table::Mode {
    fn from(mode: Mode) -> table::Mode {
        match mode {
            Mode::Ready => table::Mode::Ready,
            Mode::Drain => table::Mode::Drain,
            Mode::Maintenance => table::Mode::Maintenance,
        }
    }
}

/// Adds a backend, with the settings of its pool. It is as if the file had been changed and read again; the next reload of the
/// file wins.
#[utoipa::path(post, path = "/api/v1/pools/{pool}/backends", params(("pool" = String, Path, description = "the name of the pool")),
    request_body = NewBackend,
    responses((status = 201, description = "it is there", body = Backend),
    (status = 404, description = "there is no pool of that name", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "the pool has one of that name or at that address", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "a value is wrong", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn add_backend(
    app: Shared,
    Named(pool): Named<String>,
    Who(who): Who,
    Json(new): Json<NewBackend>,
) -> Result<(StatusCode, axum::Json<Backend>), Problem> {
    let app = Arc::clone(&app);
    aside(move || {
        let mut name = String::new();
        app.control.alter(|generation, config| -> Result<(), Problem> {
            let place = pool_of(generation, &pool)?;
            let backend = parsed(&new)?;
            name.clone_from(&backend.name);
            let pool = &mut config.pools[place];
            if let Some(other) =
                pool.backends.iter().find(|one| one.name == backend.name || one.address == backend.address)
            {
                return Err(Problem::conflict(format!(
                    "pool {} has backend {} at {} already; names and addresses are unique in a pool",
                    pool.name, other.name, other.address
                )));
            }
            let count = generation.config.backends().count();
            if count >= config::keys::BACKENDS_MAX {
                return Err(Problem::conflict(format!(
                    "there are {count} backends; at most {} are allowed",
                    config::keys::BACKENDS_MAX
                )));
            }
            pool.backends.push(backend);
            Ok(())
        })?;
        let backend = found(&app, &pool, &name)?;
        tell(
            &app,
            &who,
            format!("pool {pool}, backend {name}"),
            "absent".into(),
            format!("at {}", backend.address),
        );
        Ok((StatusCode::CREATED, axum::Json(backend)))
    })
    .await
}

/// Judged by the rules of the file.
fn parsed(new: &NewBackend) -> Result<config::Backend, Problem> {
    let mut text = new.address.clone();
    let comma = |text: &str| text.contains([',', '=']);
    if comma(&new.address) || new.name.as_deref().is_some_and(comma) {
        return Err(Problem::unfit("address and name have no commas and no equals signs"));
    }
    for (key, value) in [
        ("name", new.name.clone()),
        ("weight", new.weight.map(|weight| weight.to_string())),
        ("max-connections", new.max_connections.map(|max| max.to_string())),
    ] {
        if let Some(value) = value {
            text += &format!(",{key}={value}");
        }
    }
    let flags = Flags { listen: vec!["127.0.0.1:1".into()], backends: vec![text], ..Flags::default() };
    let mut config = config::from_flags(&flags).map_err(|errors| {
        let text = errors.to_string();
        let lines = text.lines().map(|line| line.split_once(": ").map_or(line, |(_, words)| words));
        Problem::unfit(lines.collect::<Vec<_>>().join("\n"))
    })?;
    let mut backend = config.pools.remove(0).backends.remove(0);
    backend.backup = new.backup;
    Ok(backend)
}

/// Removes a backend: it gets no new sessions, and those that run may go on for `removed_drain_timeout`. It is as if the file
/// had been changed and read again; the next reload of the file wins.
#[utoipa::path(delete, path = "/api/v1/pools/{pool}/backends/{backend}",
    params(("pool" = String, Path, description = "the name of its pool"), ("backend" = String, Path, description = "its name")),
    responses((status = 204, description = "it is gone"),
    (status = 404, description = "there is none of that name", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "the pool would have nobody to serve", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "what is left cannot be a configuration", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn remove_backend(
    app: Shared,
    Named((pool, backend)): Named<(String, String)>,
    Who(who): Who,
) -> Result<StatusCode, Problem> {
    let app = Arc::clone(&app);
    aside(move || {
        let mut address = None;
        app.control.alter(|generation, config| -> Result<(), Problem> {
            let pool = pool_of(generation, &pool)?;
            let place = backend_of(generation, pool, &backend)?;
            let pool = &mut config.pools[pool];
            let removed = pool.backends.remove(place);
            if pool.backends.iter().all(|one| one.backup) {
                return Err(Problem::conflict(format!(
                    "pool {} would have no backend that is not a backup; add another one first, or drain this one",
                    pool.name
                )));
            }
            address = Some(removed.address);
            Ok(())
        })?;
        let from = address.map_or_else(String::new, |address| format!("at {address}"));
        tell(&app, &who, format!("pool {pool}, backend {backend}"), from, "removed".into());
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}
