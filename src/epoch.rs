//! How a new backend table reaches the workers: one pointer swap, seen by each worker at its next connection.

use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};

use crate::table::BackendTable;

/// The two ends of the way down: one publisher, and a subscriber that each worker clones.
pub fn channel(first: BackendTable) -> (Publisher, Subscriber) {
    let shared = Arc::new(ArcSwap::from_pointee(first));
    let publisher = Publisher { shared: Arc::clone(&shared) };
    (publisher, Subscriber { cache: Cache::new(shared) })
}

/// Where tables are published. There is one, and it is not cloned: epochs can only grow.
#[derive(Debug)]
pub struct Publisher {
    shared: Arc<ArcSwap<BackendTable>>,
}

impl Publisher {
    /// Makes `table` what every worker sees at its next refresh.
    pub fn publish(&mut self, table: BackendTable) {
        assert!(table.epoch > self.shared.load().epoch, "an epoch never goes back");
        self.shared.store(Arc::new(table));
    }

    /// Whether anybody is left who could see a table.
    pub fn is_heard(&self) -> bool {
        Arc::strong_count(&self.shared) > 1
    }

    /// The table that was published last.
    pub fn current(&self) -> Arc<BackendTable> {
        self.shared.load_full()
    }
}

/// One worker's view: a table of its own that costs one load to keep fresh.
#[derive(Debug, Clone)]
pub struct Subscriber {
    cache: Cache<Arc<ArcSwap<BackendTable>>, Arc<BackendTable>>,
}

impl Subscriber {
    /// Takes the newest table. When none was published since the last call this is one load of a shared pointer: no
    /// reference count moves, no cache line is written.
    pub fn refresh(&mut self) -> &Arc<BackendTable> {
        self.cache.load()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    fn empty(epoch: u64) -> BackendTable {
        BackendTable { epoch, backends: Vec::new(), pools: Arc::new([]) }
    }

    #[test]
    fn a_refresh_sees_what_was_published_last() {
        let (mut publisher, mut subscriber) = channel(empty(1));
        assert_eq!(subscriber.refresh().epoch, 1);
        publisher.publish(empty(2));
        publisher.publish(empty(3));
        assert_eq!(subscriber.refresh().epoch, 3);
    }

    #[test]
    #[should_panic(expected = "never goes back")]
    fn an_epoch_that_does_not_grow_is_refused() {
        let (mut publisher, _subscriber) = channel(empty(2));
        publisher.publish(empty(2));
    }

    #[test]
    fn epochs_only_grow_for_every_subscriber_while_one_publishes() {
        let (mut publisher, subscriber) = channel(empty(1));
        thread::scope(|scope| {
            for _ in 0..3 {
                let mut mine = subscriber.clone();
                scope.spawn(move || {
                    let mut last = 0;
                    while last < 1000 {
                        let epoch = mine.refresh().epoch;
                        assert!(epoch >= last);
                        last = epoch;
                    }
                });
            }
            for epoch in 2..=1000 {
                publisher.publish(empty(epoch));
            }
        });
    }
}
