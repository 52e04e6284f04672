//! Names: what the numbers in an entry stand for.

use crate::config::{Address, Choice, Config};
use crate::entries::Entry;
use crate::table::BackendId;

/// What listeners, pools and backends are called, by their numbers.
#[derive(Debug)]
pub(super) struct Names {
    listeners: Vec<String>,
    pools: Vec<Pool>,
    /// Those of all pools, one after the other, as the table of backends has them.
    backends: Vec<(String, Address)>,
}

#[derive(Debug)]
struct Pool {
    name: String,
    algorithm: &'static str,
    /// Where its backends begin, and how many there are.
    backends: std::ops::Range<usize>,
}

/// The names that belong to one entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named<'a> {
    pub(super) listener: &'a str,
    pub(super) pool: &'a str,
    pub(super) algorithm: &'static str,
    /// Its name and where it serves, if one was picked.
    pub(super) backend: Option<(&'a str, Address)>,
}

impl Names {
    /// Those of a configuration.
    pub(super) fn new(config: &Config) -> Names {
        let listeners = config.listeners.iter().map(|listener| listener.name.clone());
        let mut backends = Vec::new();
        let pools = config.pools.iter().map(|pool| {
            let first = backends.len();
            backends.extend(pool.backends.iter().map(|backend| (backend.name.clone(), backend.address)));
            let backends = first..backends.len();
            Pool { name: pool.name.clone(), algorithm: pool.algorithm.word(), backends }
        });
        let (listeners, pools) = (listeners.collect(), pools.collect());
        Names { listeners, pools, backends }
    }

    pub(super) fn of(&self, entry: &Entry) -> Named<'_> {
        let listener = &self.listeners[entry.listener as usize];
        let pool = &self.pools[entry.pool as usize];
        let backend = entry.backend.map(|id| &self.backends[id.index()]);
        Named {
            listener,
            pool: &pool.name,
            algorithm: pool.algorithm,
            backend: backend.map(|(name, address)| (name.as_str(), *address)),
        }
    }

    /// The backends of a pool.
    pub(super) fn backends(&self, pool: usize) -> impl Iterator<Item = BackendId> {
        self.pools[pool].backends.clone().map(BackendId::new)
    }
}
