//! The backend table: every backend with its health, as one immutable value.
//!
//! The health thread makes a new table for each change of state and publishes it; nobody alters one that is published.
//! A worker reads whichever table it last took, whole: a pick never mixes two states of the world.

use std::borrow::Cow;
use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use crate::config::{self, Address, Check, InitialState};
use crate::gate::Gate;

/// Which backend: its place in [`BackendTable::backends`], the same for the life of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendId(u32);

impl BackendId {
    /// The backend at this place of the table.
    pub fn new(index: usize) -> BackendId {
        BackendId(u32::try_from(index).expect("the configuration allows fewer backends than that"))
    }

    /// Its place in the table, and in every list of counters.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// All backends of all pools at one epoch.
#[derive(Debug, Clone)]
pub struct BackendTable {
    /// Grows by one with each table that is published.
    pub epoch: u64,
    /// In the order of the configuration: those of a pool stand together.
    pub backends: Vec<Backend>,
    /// Where those of each pool stand, in the order of the configuration.
    pub pools: Arc<[Range<usize>]>,
}

/// One backend.
#[derive(Debug, Clone)]
pub struct Backend {
    /// Its place in the table.
    pub id: BackendId,
    /// Its pool: an index into the configuration's pools.
    pub pool: usize,
    /// What it is called.
    pub name: Arc<str>,
    /// Where it serves.
    pub address: Address,
    /// Its share, against the other weights of its pool. 0 gets nothing: it can be set so while running.
    pub weight: u32,
    /// How many percent of its share it gets, 1 to 100: less after a recovery, if the pool starts slowly.
    pub ramp: u32,
    /// Serves only when no other can.
    pub backup: bool,
    /// Sessions that it takes at once, now.
    pub max_connections: Option<NonZeroU32>,
    /// Whether it is wanted.
    pub mode: Mode,
    /// Since when.
    pub mode_since: Instant,
    /// Whether it can serve, since when and why.
    pub health: Health,
    /// The first epoch in which it was down or in maintenance, of the last time that it was; 0 is never. Sessions that were
    /// picked from an older table have lost their backend.
    pub lost_at: u64,
    /// Who may be let through, where that is limited.
    pub gate: Arc<Gate>,
}

impl Backend {
    /// Whether it gets sessions.
    pub fn is_open(&self) -> bool {
        self.is_wanted() && self.health.state == State::Up
    }

    /// Whether it would get sessions if it were up.
    pub fn is_wanted(&self) -> bool {
        self.mode == Mode::Ready && self.weight > 0
    }

    /// Since when it is what it is: a mode that is not ready goes before what checks say.
    pub fn since(&self) -> Instant {
        if self.mode == Mode::Ready { self.health.since } else { self.mode_since }
    }

    /// Why it is what it is.
    pub fn reason(&self) -> Cow<'_, str> {
        match (self.mode, self.health.state) {
            (Mode::Ready, _) => Cow::Borrowed(&self.health.reason),
            (Mode::Maintenance, _) | (Mode::Drain, State::Up) => Cow::Borrowed("an operator wanted it"),
            (Mode::Drain, state) => {
                Cow::Owned(format!("an operator wanted it; {}: {}", state.name(), self.health.reason))
            }
        }
    }

    /// Whether one session may try it out.
    pub fn is_on_trial(&self) -> bool {
        self.is_wanted() && self.health.state == State::OnTrial
    }
}

/// What an operator wants of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// That it serves.
    Ready,
    /// That it gets no new sessions; those that run go on.
    Drain,
    /// That it gets no new sessions and is not checked.
    Maintenance,
}

impl Mode {
    /// As it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Ready => "ready",
            Mode::Drain => "drain",
            Mode::Maintenance => "maintenance",
        }
    }
}

/// Whether a backend can serve.
#[derive(Debug, Clone)]
pub struct Health {
    /// Up or down.
    pub state: State,
    /// When it came to be so.
    pub since: Instant,
    /// What made it so.
    pub reason: Arc<str>,
}

/// What checks and sessions say of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Gets sessions.
    Up,
    /// Gets none: checks failed.
    Down,
    /// Gets none for a while: sessions failed there.
    Ejected,
    /// Was ejected and gets one session, which decides.
    OnTrial,
}

impl State {
    /// As it is printed.
    pub fn name(self) -> &'static str {
        match self {
            State::Up => "up",
            State::Down => "down",
            State::Ejected => "ejected",
            State::OnTrial => "on-trial",
        }
    }
}

impl BackendTable {
    /// The first table: every backend of the configuration, up until a check says otherwise.
    pub fn first(pools: &[config::Pool], now: Instant) -> BackendTable {
        let of_pools =
            pools.iter().enumerate().flat_map(|(pool, spec)| spec.backends.iter().map(move |b| (pool, b)));
        let mut end = 0;
        let ranges = pools.iter().map(|pool| {
            let start = end;
            end += pool.backends.len();
            start..end
        });
        let ranges = ranges.collect();
        let backends = of_pools
            .enumerate()
            .map(|(index, (pool, backend))| Backend {
                id: BackendId::new(index),
                pool,
                name: backend.name.as_str().into(),
                address: backend.address,
                weight: backend.weight.get(),
                ramp: 100,
                backup: backend.backup,
                max_connections: backend.max_connections,
                mode: Mode::Ready,
                mode_since: now,
                health: first_health(&pools[pool].health, now),
                lost_at: 0,
                gate: Arc::default(),
            })
            .collect();
        BackendTable { epoch: 1, backends, pools: ranges }
    }
}

/// What is held of a backend before anything is known.
fn first_health(spec: &config::Health, now: Instant) -> Health {
    let is_up = match spec.initial_state {
        InitialState::FullyUp | InitialState::Up => true,
        InitialState::Down | InitialState::FullyDown => spec.check == Check::None,
    };
    let state = if is_up { State::Up } else { State::Down };
    let reason = if spec.check == Check::None { UNCHECKED } else { "not checked yet" };
    Health { state, since: now, reason: reason.into() }
}

/// Why a backend is up of which nothing is asked.
pub const UNCHECKED: &str = "nothing is checked";
