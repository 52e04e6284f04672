//! Admin: the HTTP API, the metrics and the page, on a thread of its own.
//!
//! It reads what workers count and asks [`Control`] for the rest, so no worker ever waits for it: what it wants of one is an
//! errand that is run at a tick. Everything that others can make it hold is bounded: connections, heads and bodies of
//! requests, how long they take to come, how long an answer may stand in the socket, who listens to events.

mod api;
mod binding;
mod events;
mod extract;
mod guard;
mod history;
pub mod metrics;
mod patience;
mod problem;
mod serving;
pub mod shapes;
mod token;
mod who;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post};
use tokio::runtime;
use tokio::sync::{oneshot, watch};

use crate::config;
use crate::control::Control;
use crate::net;
use binding::Bound;
use events::News;
use metrics::{Format, Metrics};
use serving::Door;
use shapes::Problem;
use token::Token;

pub use binding::Unusable;
pub use serving::CONNECTIONS_MAX;

/// The largest body of a request.
const BODY_BYTES_MAX: usize = 64 << 10;
/// Threads for what may wait for the workers.
const ASIDE_MAX: usize = 4;
/// How long its end may take.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// A running admin API; ends by drop, and its socket goes with it.
pub struct Admin {
    address: Option<SocketAddr>,
    stop: Option<oneshot::Sender<()>>,
    /// Nothing comes; it is disconnected when the thread is over.
    ended: mpsc::Receiver<()>,
}

/// Whether a file has a token in it.
///
/// # Errors
///
/// Why it has none.
pub fn read_token(path: &std::path::Path) -> std::io::Result<()> {
    Token::read(path).map(drop)
}

/// What all requests share.
struct App {
    control: Arc<Control>,
    token: Option<Token>,
    quorum: u32,
    started: SystemTime,
    metrics: Metrics,
    news: watch::Sender<News>,
    /// Who listens to events.
    listening: AtomicUsize,
}

impl Admin {
    /// Listens where it is asked to and starts the thread, which keeps off the cores that workers have if there are others.
    ///
    /// # Errors
    ///
    /// Why there is none, and what to do about it.
    pub fn start(
        spec: &config::Admin,
        control: Arc<Control>,
        busy_cores: Vec<usize>,
    ) -> Result<Admin, Unusable> {
        let read = |path: &std::path::PathBuf| {
            Token::read(path).map_err(|error| Unusable::Token(path.clone(), error))
        };
        let token = spec.token_file.as_ref().map(read).transpose()?;
        let bound = binding::bind(&spec.bind)?;
        let address = match &bound {
            Bound::Tcp(listener) => listener.local_addr().ok(),
            Bound::Unix(..) => None,
        };
        let started = SystemTime::now()
            .checked_sub(control.generation().stats.begun.elapsed())
            .unwrap_or(SystemTime::UNIX_EPOCH);
        let refused: Arc<AtomicU64> = Arc::default();
        let app = Arc::new(App {
            metrics: Metrics::new(Arc::clone(&control), Arc::clone(&refused), started),
            control,
            token,
            quorum: spec.quorum,
            started,
            news: watch::Sender::new(News::default()),
            listening: AtomicUsize::new(0),
        });
        let (stop, stopped) = oneshot::channel();
        let (lives, ended) = mpsc::channel();
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(ASIDE_MAX)
            .build()
            .map_err(Unusable::Thread)?;
        let run = move || {
            let _lives: mpsc::Sender<()> = lives;
            // Where a core is short of time, sessions go first.
            net::step_back();
            if let Err(error) = net::keep_off(&busy_cores) {
                tracing::warn!(%error, "the admin API may run on the cores of workers");
            }
            runtime.block_on(async {
                let door = match Door::open(bound) {
                    Ok(door) => door,
                    Err(error) => return tracing::error!(%error, "there is no admin API"),
                };
                tokio::select! {
                    _ = stopped => {}
                    () = serving::serve(door, router(Arc::clone(&app)), refused) => {}
                    () = events::make(Arc::clone(&app), app.news.clone()) => {}
                }
            });
            // What waits for a worker may do so to its end.
            runtime.shutdown_background();
        };
        thread::Builder::new().name("admin".into()).spawn(run).map_err(Unusable::Thread)?;
        Ok(Admin { address, stop: Some(stop), ended })
    }

    /// Where it listens, with the real port; nothing if that is a path.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.ended.recv_timeout(END_TIMEOUT);
    }
}

fn router(app: Arc<App>) -> Router {
    // Behind the question mark these take nothing. What monitors ask, the page and what takes parameters of its own are not
    // among them.
    let plain = Router::new()
        .route("/api/v1/openapi.json", get(openapi))
        .route("/api/v1/info", get(api::info))
        .route("/api/v1/listeners", get(api::listeners))
        .route("/api/v1/pools", get(api::pools))
        .route("/api/v1/pools/{pool}", get(api::pool).merge(patch(api::patch_pool)))
        .route("/api/v1/pools/{pool}/backends", post(api::add_backend))
        .route(
            "/api/v1/pools/{pool}/backends/{backend}",
            patch(api::patch_backend).merge(delete(api::remove_backend)),
        )
        .route("/api/v1/sessions/{id}", delete(api::kill_session))
        .route("/api/v1/config", get(api::config))
        .route("/api/v1/events", get(events::events))
        .route_layer(middleware::from_fn(extract::no_params));
    Router::new()
        .merge(plain)
        .route("/healthz", get(api::health))
        .route("/readyz", get(api::ready))
        .route("/metrics", get(scrape))
        .route("/api/v1/sessions", get(api::sessions))
        .route("/api/v1/decisions", get(api::decisions))
        .route("/api/v1/changes", get(api::changes))
        .route("/api/v1/reload", post(api::reload))
        .route("/", get(|| async { page("text/html; charset=utf-8", include_str!("page/index.html")) }))
        .route("/page.css", get(|| async { page("text/css; charset=utf-8", include_str!("page/page.css")) }))
        .route(
            "/page.js",
            get(|| async { page("text/javascript; charset=utf-8", include_str!("page/page.js")) }),
        )
        .fallback(nothing_here)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), guard::guard))
        .with_state(app)
}

/// All counters, for Prometheus.
#[utoipa::path(get, path = "/metrics", responses((status = 200, description = "as text", body = String,
    content_type = "text/plain")))]
async fn scrape(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let format = Format::accepted(accept);
    ([(header::CONTENT_TYPE, format.content_type())], app.metrics.scrape(format)).into_response()
}

async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], api::document()).into_response()
}

/// Nothing of the page comes from elsewhere, and nobody may put it into a frame.
fn page(content_type: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'",
        ),
    ];
    (headers, text).into_response()
}

async fn nothing_here() -> Problem {
    Problem::not_found("there is nothing here; GET /api/v1/openapi.json tells what there is")
}

async fn no_such_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "not so",
        "this does not take that method; GET /api/v1/openapi.json tells what it takes",
    )
}
