//! Shapes: what the API sends and takes, as JSON. The OpenAPI document is made from them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What runs.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Info {
    /// Of ringway.
    pub version: String,
    /// Of the kernel.
    pub kernel: String,
    /// Of the process.
    pub pid: u32,
    /// Since it began to serve.
    pub uptime_seconds: f64,
    /// When that was (RFC 3339).
    pub started: String,
    /// How many there are.
    pub workers: usize,
    /// What carries small messages: `fixed` or `multishot`.
    pub engine: String,
    /// The number of the configuration in force; each reload and each change of a pool makes the next.
    pub generation: u64,
    /// The number of the table of backends.
    pub epoch: u64,
    /// `running`, `draining` or `closing`.
    pub state: String,
    /// What `reload` reads again; none if it was started with flags.
    pub config_file: Option<String>,
}

/// Whether clients should be sent here.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Readiness {
    /// Whether they should.
    pub ready: bool,
    /// Why not.
    pub reasons: Vec<String>,
}

/// Where clients come in.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Listener {
    /// Its name.
    pub name: String,
    /// What it takes: `tcp` or `udp`.
    #[serde(default)]
    pub protocol: String,
    /// Where it accepts; ports in a row are one, as in `127.0.0.1:8000-8099`.
    pub addresses: Vec<String>,
    /// The pool that serves it.
    pub pool: String,
    /// Connections ever.
    pub accepted: u64,
    /// Sessions now.
    pub active: u64,
    /// Sessions that have ended, by how.
    pub ends: BTreeMap<String, u64>,
    /// Connections that were not let in, by why; they are not among those above.
    #[serde(default)]
    pub refused: BTreeMap<String, u64>,
    /// Clients in the kernel's queues, whom nobody has accepted yet; 0 over UDP and of a Unix socket.
    #[serde(default)]
    pub waiting: u64,
    /// Clients, or over UDP datagrams, that the kernel dropped because a queue was full.
    #[serde(default)]
    pub queue_drops: u64,
    /// Bytes from clients; of sessions that run, up to two seconds ago.
    pub bytes_to_backend: u64,
    /// Bytes to clients, likewise.
    pub bytes_to_client: u64,
}

/// Backends and how one of them is chosen.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// How one is chosen.
    pub algorithm: String,
    /// What chooses too, without traffic.
    pub shadows: Vec<String>,
    /// Sessions that wait for a backend with room.
    pub queued: u32,
    /// In the order of the configuration.
    pub backends: Vec<Backend>,
}

/// One backend.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Backend {
    /// Its name.
    pub name: String,
    /// Where it serves.
    pub address: String,
    /// What checks and sessions say: `up`, `down`, `ejected` or `on-trial`.
    pub state: String,
    /// What operators want: `ready`, `drain` or `maintenance`.
    pub mode: String,
    /// Since the state came to be so, or the mode, if that is not `ready`.
    pub since_seconds: f64,
    /// What made it so.
    pub reason: String,
    /// Its share, against the other weights of its pool.
    pub weight: u32,
    /// How many percent of its share it gets.
    pub ramp_percent: u32,
    /// Whether it serves only when no other can.
    pub backup: bool,
    /// Sessions that it takes at once.
    pub max_connections: Option<u32>,
    /// Sessions now.
    pub active: u64,
    /// Times picked.
    pub picked: u64,
    /// Connections made.
    pub connected: u64,
    /// Connects that failed.
    pub connect_failures: u64,
    /// Sessions that got no first byte, or not in time.
    pub unanswered: u64,
    /// The figure that picks read, of what the pool measures.
    pub response_time_us: Option<f64>,
    /// The median of the pool's window, of the same.
    pub p50_us: Option<f64>,
    /// The 99th percentile of it.
    pub p99_us: Option<f64>,
}

/// One session that is running.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Session {
    /// Worker and number: `0-17`.
    pub id: String,
    /// The worker that serves it.
    pub worker: usize,
    /// Where it came in.
    pub listener: String,
    /// Who; none once the connection is broken.
    pub client: Option<String>,
    /// The pool that serves it.
    pub pool: String,
    /// The backend that was picked last.
    pub backend: Option<String>,
    /// `greeting`, `connecting`, `queued`, `relaying` or `farewell`.
    pub stage: String,
    /// Since it was accepted.
    pub age_seconds: f64,
    /// Bytes from the client.
    pub bytes_to_backend: u64,
    /// Bytes to the client.
    pub bytes_to_client: u64,
    /// Since a byte moved.
    pub idle_seconds: f64,
}

/// How one backend was chosen.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Decision {
    /// How long ago.
    pub seconds_ago: f64,
    /// Who asked.
    pub client: String,
    /// From which pool.
    pub pool: String,
    /// By what.
    pub algorithm: String,
    /// 1 unless others were tried before for the same session.
    pub attempt: usize,
    /// Who was chosen.
    pub chosen: Option<String>,
    /// `running`, `nobody`, `connect-failed`, or how the session ended.
    pub outcome: String,
    /// From the pick to the end.
    pub duration_seconds: Option<f64>,
    /// What there was to choose from, best first; not all of them if there were very many.
    pub candidates: Vec<Candidate>,
    /// How many there were.
    pub candidates_total: usize,
}

/// A backend as it looked to a pick.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Candidate {
    /// Its name.
    pub backend: String,
    /// Sessions of the whole process.
    pub sessions: u32,
    /// Its response time.
    pub time_us: Option<f64>,
    /// What was compared; smaller is better. None for algorithms that compare nothing.
    pub score: Option<f64>,
    /// `eligible`, or why not: `backup`, `closed`, `on-trial`, `tried`, `full`.
    pub verdict: String,
}

/// Something that has changed.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Change {
    /// When (RFC 3339).
    pub time: String,
    /// Of what.
    pub what: String,
    /// What it was.
    pub from: String,
    /// What it is now.
    pub to: String,
    /// Why.
    pub reason: String,
    /// Who did it: `health`, or an operator.
    pub who: String,
}

/// A part of the configuration.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Section {
    /// `server`, `admin`, `listener NAME`, `pool NAME`.
    pub title: String,
    /// Every setting that holds, given or not.
    pub settings: Vec<Setting>,
}

/// One setting; one with several values stands there several times.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Setting {
    /// Its key.
    pub name: String,
    /// As text.
    pub value: String,
}

/// What a reload did, or would do.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Reload {
    /// The number of the configuration that is in force now.
    pub generation: u64,
    /// In the order of the file.
    pub changes: Vec<ReloadChange>,
}

/// One thing that a reload changes.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ReloadChange {
    /// `added`, `removed`, `changed` or `at restart`.
    pub kind: String,
    /// What is changed.
    pub what: String,
    /// How.
    pub how: String,
    /// Sessions that are running there, of a removal.
    pub sessions: Option<u64>,
}

/// What is wanted of a pool.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PoolPatch {
    /// How a backend is chosen from now on. One that is a shadow of the pool changes places with what served.
    #[schema(
        pattern = "^(round-robin|weighted-round-robin|least-connections|least-response-time|peak-ewma|random|power-of-two|source-hash|maglev|first)$"
    )]
    pub algorithm: String,
}

/// What is wanted of a backend.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BackendPatch {
    /// Whether it serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Its share; 0 gets nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 256)]
    pub weight: Option<u32>,
}

/// What an operator wants of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// That it serves.
    Ready,
    /// That it gets no new sessions.
    Drain,
    /// That it gets no new sessions and is not checked.
    Maintenance,
}

/// A backend that is to be added.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBackend {
    /// Where it serves: `ip:port`.
    #[schema(max_length = 128)]
    pub address: String,
    /// Its name; the address unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 64)]
    pub name: Option<String>,
    /// Its share; 1 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 256)]
    pub weight: Option<u32>,
    /// Sessions that it takes at once; no limit unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 10_000_000)]
    pub max_connections: Option<u32>,
    /// Whether it serves only when no other can.
    #[serde(default)]
    pub backup: bool,
}

/// Why something was not done: what, where, the bound, the cure (RFC 9457).
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// In two or three words.
    pub title: String,
    /// In a sentence; of a wrong file one line for each mistake.
    pub detail: String,
    /// The HTTP status again.
    pub status: u16,
}
