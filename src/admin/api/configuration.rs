//! The configuration in force, and the file read again.

use std::sync::Arc;

use serde::Deserialize;
use utoipa::IntoParams;

use super::{Answer, Shared, aside};
use crate::admin::extract::Params;
use crate::admin::shapes::{Problem, Reload, ReloadChange, Section, Setting};
use crate::admin::who::Who;
use crate::config;
use crate::plan::Change;

/// What is in force, as sections with every setting that holds, given or not.
#[utoipa::path(get, path = "/api/v1/config", responses((status = 200, description = "all of it", body = Vec<Section>)))]
pub(crate) async fn config(app: Shared) -> Answer<Vec<Section>> {
    let config = Arc::clone(&app.control.generation().config);
    let mut sections = vec![shown(config.server_section()), shown(config.admin_section())];
    sections.extend((0..config.listeners.len()).map(|place| shown(config.listener_section(place))));
    for (place, pool) in config.pools.iter().enumerate() {
        let mut section = shown(config.pool_section(place));
        section.settings.extend(pool.backends.iter().map(backend));
        sections.push(section);
    }
    Ok(axum::Json(sections))
}

fn shown(section: config::Section) -> Section {
    let mut settings: Vec<Setting> = Vec::new();
    for (name, value) in section.settings {
        // Of several values only the first has the name.
        let name = match settings.last() {
            Some(last) if name.is_empty() => last.name.clone(),
            _ => name.to_owned(),
        };
        settings.push(Setting { name, value });
    }
    Section { title: section.title, settings }
}

fn backend(backend: &config::Backend) -> Setting {
    let mut value = format!("{} {} weight {}", backend.name, backend.address, backend.weight);
    if let Some(max) = backend.max_connections {
        value += &format!(" max_connections {max}");
    }
    if backend.backup {
        value += " backup";
    }
    Setting { name: "backend".into(), value }
}

/// Whether it is only to be tried.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct How {
    /// Only says what would change.
    #[serde(default)]
    dry_run: bool,
}

/// Reads the file again and goes on with what it says; no session is cut. Or, with `dry_run`, says what that would change.
#[utoipa::path(post, path = "/api/v1/reload", params(How), responses((status = 200, description = "what has changed", body = Reload),
    (status = 409, description = "there is no file to read again", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "the file is wrong, and every mistake in it", body = Problem,
    content_type = "application/problem+json")))]
pub(crate) async fn reload(app: Shared, Params(how): Params<How>, Who(who): Who) -> Answer<Reload> {
    let app = Arc::clone(&app);
    aside(move || {
        if how.dry_run {
            return Ok(axum::Json(told(app.control.plan()?)));
        }
        let reload = app.control.reload().inspect_err(|refused| {
            tracing::error!(%who, "the reload is refused; everything stays as it is: {refused}");
        })?;
        app.control.tell_of(&reload, &who);
        tracing::info!(%who, generation = reload.generation, "reloaded");
        Ok(axum::Json(told(reload)))
    })
    .await
}

fn told(reload: crate::control::Reload) -> Reload {
    let change = |Change { kind, what, how, sessions }: Change| ReloadChange {
        kind: kind.word().to_owned(),
        what,
        how,
        sessions,
    };
    Reload { generation: reload.generation, changes: reload.plan.changes.into_iter().map(change).collect() }
}
