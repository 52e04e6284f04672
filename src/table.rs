//! The backend table: every backend with its health, as one immutable value.
//!
//! The health thread makes a new table for each change of state and publishes it; nobody alters one that is published.
//! A worker reads whichever table it last took, whole: a pick never mixes two states of the world.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use crate::config;

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
    pub address: SocketAddr,
    /// Its share, against the other weights of its pool.
    pub weight: NonZeroU32,
    /// Whether it can serve, since when and why.
    pub health: Health,
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

/// Up or down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Gets sessions.
    Up,
    /// Gets none.
    Down,
}

impl State {
    /// As it is printed.
    pub fn name(self) -> &'static str {
        match self {
            State::Up => "up",
            State::Down => "down",
        }
    }
}

impl BackendTable {
    /// The first table: every backend of the configuration, up until a check says otherwise.
    pub fn first(pools: &[config::Pool], now: Instant) -> BackendTable {
        let reason: Arc<str> = "not checked yet".into();
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
                weight: backend.weight,
                health: Health { state: State::Up, since: now, reason: Arc::clone(&reason) },
            })
            .collect();
        BackendTable { epoch: 1, backends, pools: ranges }
    }
}
