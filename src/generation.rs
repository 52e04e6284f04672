//! Generation: one configuration, and all that is held, counted and measured under it. What crosses threads at a reload is one
//! of these, whole.
//!
//! A process begins with one; each reload makes another that carries on what is in both ([`Lineage`]). Sessions keep theirs
//! to the end. The last session that has gone takes its generation with it.

use std::sync::Arc;
use std::time::Instant;

use crate::access::{self, Door, Rules};
use crate::config::{self, Address, Config};
use crate::epoch::{self, Publisher, Subscriber};
use crate::lineage::Lineage;
use crate::queue::Queue;
use crate::stats::Stats;
use crate::table::BackendTable;
use crate::times::Times;

/// One configuration, and what belongs to it.
#[derive(Debug)]
pub struct Generation {
    /// From 1; each reload makes the next.
    pub number: u64,
    /// What was asked for.
    pub config: Arc<Config>,
    /// What it has of the one before.
    pub lineage: Lineage,
    /// The addresses of each listener, with the real ports.
    pub addresses: Vec<Vec<Address>>,
    /// The counters of all workers.
    pub stats: Arc<Stats>,
    /// How fast each backend answers.
    pub times: Arc<Times>,
    /// Who is let in, by listener.
    pub doors: Arc<[Door]>,
    /// Where sessions wait, by pool.
    pub queues: Arc<[Arc<Queue>]>,
    /// Where tables of its backends come from.
    pub tables: Subscriber,
}

impl Generation {
    /// The one with which a process begins, and where its tables are published; with the rules that the configuration has
    /// itself.
    pub fn first(config: Config, addresses: Vec<Vec<Address>>, workers: usize) -> (Generation, Publisher) {
        let own = |access: &config::Access| Rules::new(access.default, &access.allow, &access.deny);
        let rules = config.listeners.iter().map(|listener| own(&listener.access)).collect();
        Generation::first_with(rules, config, addresses, workers)
    }

    /// The same with these rules, by listener.
    pub fn first_with(
        rules: Vec<Rules>,
        config: Config,
        addresses: Vec<Vec<Address>>,
        workers: usize,
    ) -> (Generation, Publisher) {
        let table = BackendTable::first(&config.pools, Instant::now());
        let backends = table.backends.len();
        let (publisher, tables) = epoch::channel(table);
        let generation = Generation {
            number: 1,
            lineage: Lineage::of_first(&config),
            addresses,
            stats: Arc::new(
                Stats::new(workers, config.listeners.len(), backends).with_shadows(&config.pools),
            ),
            times: Arc::new(Times::new(backends)),
            doors: access::doors(&config, rules, None).into(),
            queues: config.pools.iter().map(|_| Arc::default()).collect(),
            tables,
            config: Arc::new(config),
        };
        (generation, publisher)
    }

    /// The table of its backends that was published last.
    pub fn table(&self) -> Arc<BackendTable> {
        Arc::clone(self.tables.clone().refresh())
    }
}
