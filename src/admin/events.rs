//! Events: what the page shows, sent to whoever listens, each second.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, Sse};
use futures_util::Stream;
use futures_util::stream;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use super::App;
use super::api;
use super::history::{History, Point, Sums};
use super::shapes::{Change, Decision, Pool, Problem};
use crate::generation::Generation;

/// Listeners at once.
pub(super) const LISTENERS_MAX: usize = 32;
/// From one snapshot to the next.
const PERIOD: Duration = Duration::from_secs(1);
/// Changes, and decisions, that a snapshot has.
const STORIES: usize = 12;

/// What the page shows.
#[derive(Debug, Serialize)]
struct Snapshot {
    version: &'static str,
    state: &'static str,
    uptime_seconds: f64,
    generation: u64,
    epoch: u64,
    sessions: u64,
    sessions_max: usize,
    accepted: u64,
    /// Whether changes by whoever sees this are possible at all: they are, wherever this can be seen.
    pools: Vec<PoolNow>,
    changes: Vec<Change>,
    decisions: Vec<Decision>,
}

/// A pool and its last second.
#[derive(Debug, Serialize)]
struct PoolNow {
    #[serde(flatten)]
    pool: Pool,
    now: Point,
}

/// What is sent: the last snapshot, and the seconds before it by pool.
#[derive(Debug, Clone, Default)]
pub(super) struct News {
    snapshot: Arc<str>,
    history: Arc<str>,
}

/// Makes news for as long as the process lives.
pub(super) async fn make(app: Arc<App>, news: watch::Sender<News>) {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut history = History::default();
    let mut last = Instant::now();
    loop {
        ticks.tick().await;
        let now = Instant::now();
        let seconds = now.duration_since(last).as_secs_f64();
        last = now;
        let generation = app.control.generation();
        let points = look(&generation, &mut history, seconds);
        // Without a listener the seconds are kept, and nothing else is done.
        if news.receiver_count() == 0 {
            continue;
        }
        let snapshot = snapshot(&app, &generation, points);
        let names =
            generation.config.pools.iter().map(|pool| (pool.name.clone(), history.points(&pool.name)));
        let past: std::collections::BTreeMap<String, Vec<Point>> = names.collect();
        let json =
            |value: Result<String, serde_json::Error>| -> Arc<str> { value.unwrap_or_default().into() };
        news.send_replace(News {
            snapshot: json(serde_json::to_string(&snapshot)),
            history: json(serde_json::to_string(&past)),
        });
    }
}

/// The last second of each pool.
fn look(generation: &Generation, history: &mut History, seconds: f64) -> Vec<Point> {
    let table = generation.table();
    history.keep(|name| generation.config.pools.iter().any(|pool| pool.name == name));
    let pools = generation.config.pools.iter().zip(&*table.pools);
    pools
        .map(|(pool, places)| {
            let mut sums = Sums::default();
            for backend in &table.backends[places.clone()] {
                sums.picked += generation.stats.backend(backend.id, |one| &one.picked);
                let timings = &generation.stats.timings[backend.id.index()];
                let counts = timings.of(pool.response_time.signal).counts();
                sums.counts.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
            }
            history.take(&pool.name, sums, seconds)
        })
        .collect()
}

fn snapshot(app: &App, generation: &Generation, points: Vec<Point>) -> Snapshot {
    let totals = generation.stats.totals();
    let pools = api::all_pools(generation).into_iter().zip(points);
    Snapshot {
        version: env!("CARGO_PKG_VERSION"),
        state: api::state_word(app),
        uptime_seconds: generation.stats.begun.elapsed().as_secs_f64(),
        generation: generation.number,
        epoch: generation.table().epoch,
        sessions: totals.active,
        sessions_max: app.control.sessions_max(),
        accepted: totals.accepted,
        pools: pools.map(|(pool, now)| PoolNow { pool, now }).collect(),
        changes: api::newest_changes(app, STORIES),
        decisions: api::newest_decisions(generation, STORIES),
    }
}

/// Server-sent events: `history` once, then `snapshot` each second.
#[utoipa::path(get, path = "/api/v1/events", responses((status = 200, description = "without an end", body = String,
    content_type = "text/event-stream")))]
pub(super) async fn events(
    State(app): State<Arc<App>>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let seat = Seat::take(&app).ok_or_else(|| {
        Problem::busy(format!("{LISTENERS_MAX} listen to events already, and no more may; close a page"))
    })?;
    let mut news = app.news.subscribe();
    // What there is now may be from before somebody listened.
    news.mark_unchanged();
    let first = true;
    let stream = stream::unfold((news, seat, first, None), |(mut news, seat, first, kept)| async move {
        if let Some(snapshot) = kept {
            return Some((Ok(snapshot), (news, seat, false, None)));
        }
        news.changed().await.ok()?;
        let now = news.borrow_and_update().clone();
        let snapshot = Event::default().event("snapshot").data(&*now.snapshot);
        if first {
            let history = Event::default().event("history").data(&*now.history);
            return Some((Ok(history), (news, seat, false, Some(snapshot))));
        }
        Some((Ok(snapshot), (news, seat, false, None)))
    });
    Ok(Sse::new(stream))
}

/// One of so many who may listen; given back by drop.
struct Seat(Arc<App>);

impl Seat {
    fn take(app: &Arc<App>) -> Option<Seat> {
        let take = |taken: usize| (taken < LISTENERS_MAX).then_some(taken + 1);
        app.listening.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?;
        Some(Seat(Arc::clone(app)))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.listening.fetch_sub(1, Ordering::Relaxed);
    }
}
