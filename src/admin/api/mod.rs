//! The API: what each route does. What it sends is in `shapes.rs`.

mod backends;
mod configuration;
mod info;
mod pools;
mod sessions;
mod stories;

use std::sync::Arc;
use std::time::SystemTime;

use axum::http::StatusCode;
use tokio::task::spawn_blocking;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder, ResponsesBuilder};
use utoipa::{Modify, OpenApi};

use super::App;
use super::shapes::{self, Problem};
use crate::changes::Change;
use crate::generation::Generation;

pub(super) use backends::{add_backend, patch_backend, remove_backend};
pub(super) use configuration::{config, reload};
pub(super) use info::{health, info, ready, state_word};
pub(super) use pools::{all_pools, listeners, patch_pool, pool, pools};
pub(super) use sessions::{kill_session, sessions};
pub(super) use stories::{changes, decisions, newest_changes, newest_decisions};

/// What a handler answers.
type Answer<T> = Result<axum::Json<T>, Problem>;

/// Does what may wait for the workers, on another thread: others are answered meanwhile.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let broken =
        |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "broken", "a defect of ringway; see its log");
    spawn_blocking(work).await.map_err(broken)?
}

/// The place of a pool of this name.
fn pool_of(generation: &Generation, name: &str) -> Result<usize, Problem> {
    let pools = &generation.config.pools;
    pools.iter().position(|pool| pool.name == name).ok_or_else(|| {
        let names: Vec<&str> = pools.iter().take(20).map(|pool| pool.name.as_str()).collect();
        let known = if names.len() == 1 { "the only one is" } else { "there are" };
        Problem::not_found(format!("there is no pool {name:?}; {known} {}", names.join(", ")))
    })
}

/// The place of a backend in its pool.
fn backend_of(generation: &Generation, pool: usize, name: &str) -> Result<usize, Problem> {
    let pool = &generation.config.pools[pool];
    pool.backends.iter().position(|backend| backend.name == name).ok_or_else(|| {
        let names: Vec<&str> = pool.backends.iter().take(20).map(|backend| backend.name.as_str()).collect();
        Problem::not_found(format!("pool {} has no backend {name:?}; it has {}", pool.name, names.join(", ")))
    })
}

/// Keeps and logs what an operator did.
fn tell(app: &App, who: &str, what: String, from: String, to: String) {
    tracing::info!(%who, %what, %from, %to, "changed by an operator");
    let reason = "an operator wanted it".to_owned();
    app.control.changes().note(Change { at: SystemTime::now(), what, from, to, reason, who: who.to_owned() });
}

/// The document that describes all of this.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "ringway admin API",
        description = "What a running ringway shows and what it can be told. Errors are application/problem+json."
    ),
    paths(
        info::health,
        info::ready,
        info::info,
        pools::listeners,
        pools::pools,
        pools::pool,
        pools::patch_pool,
        backends::patch_backend,
        backends::add_backend,
        backends::remove_backend,
        sessions::sessions,
        sessions::kill_session,
        stories::decisions,
        stories::changes,
        configuration::config,
        configuration::reload,
        super::scrape,
        super::events::events,
    ),
    components(schemas(shapes::Problem)),
    modifiers(&Problems)
)]
struct Document;

/// What can go wrong everywhere.
struct Problems;

impl Modify for Problems {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let problem = |description: &str| -> RefOr<Response> {
            let schema = Ref::from_schema_name("Problem");
            let content = ContentBuilder::new().schema(Some(schema)).build();
            let response = ResponseBuilder::new().description(description);
            RefOr::T(response.content("application/problem+json", content).build())
        };
        for item in document.paths.paths.values_mut() {
            let operations =
                [&mut item.get, &mut item.post, &mut item.patch, &mut item.delete].into_iter().flatten();
            for operation in operations {
                let common = ResponsesBuilder::new()
                    .response("400", problem("the request cannot be read"))
                    .response("401", problem("a token is asked for"))
                    .response(
                        "403",
                        problem("from another site, or from a page that pretends to be on this machine"),
                    )
                    .response("408", problem("the body did not come in time"))
                    .response("413", problem("the body is too large"))
                    .response("503", problem("not now"))
                    .build();
                for (status, response) in common.responses {
                    operation.responses.responses.entry(status).or_insert(response);
                }
            }
        }
    }
}

/// The document as JSON.
pub(super) fn document() -> String {
    Document::openapi().to_json().unwrap_or_default()
}

/// So that handlers share what they need.
pub(super) type Shared = axum::extract::State<Arc<App>>;
