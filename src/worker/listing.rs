//! Listing: what a worker tells of its sessions when somebody asks.

use std::time::Duration;

use tokio::sync::oneshot;

use super::Worker;
use crate::config::Address;
use crate::net;
use crate::relay::Direction;
use crate::session_id::SessionId;
use crate::shared::Shared;
use crate::watch::{Stage, Watch};

/// Sessions that one worker tells of at most.
pub const LISTED_MAX: usize = 1_000;
/// Places that it looks at for them at most: some milliseconds.
const PLACES_MAX: usize = 1 << 18;

/// Which sessions are asked for.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// So many of each worker at most.
    pub limit: usize,
    /// Those of the pool of this name.
    pub pool: Option<String>,
    /// Those on the backend of this name.
    pub backend: Option<String>,
}

/// A question for sessions.
pub struct Listing {
    /// Which ones.
    pub wanted: Wanted,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Vec<Listed>>,
}

/// One session as it was at a tick.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Which one.
    pub id: SessionId,
    /// The name of its listener.
    pub listener: String,
    /// Who; nobody can say once the connection is broken.
    pub client: Option<Address>,
    /// The name of its pool.
    pub pool: String,
    /// The name of the backend that was picked last.
    pub backend: Option<String>,
    /// What it is about.
    pub stage: Stage,
    /// Since it was accepted.
    pub age: Duration,
    /// Since the last byte.
    pub idle: Duration,
    /// Bytes so far.
    pub bytes_to_backend: u64,
    /// Bytes so far.
    pub bytes_to_client: u64,
}

impl Worker {
    /// Tells of the sessions of all configurations.
    pub(super) fn list(&self, listing: Listing) {
        let Listing { wanted, reply } = listing;
        let limit = wanted.limit.min(LISTED_MAX);
        let mut found = Vec::new();
        for shared in self.generations() {
            shared.watches.visit(PLACES_MAX, |watch| {
                if found.len() < limit {
                    found.extend(listed(&shared, watch, &wanted));
                }
            });
        }
        // Whoever asked may have left.
        let _ = reply.send(found);
    }
}

fn listed(shared: &Shared, watch: &Watch, wanted: &Wanted) -> Option<Listed> {
    let (listener, pool) = (shared.listener(watch), shared.pool(watch));
    if wanted.pool.as_ref().is_some_and(|name| *name != pool.name) {
        return None;
    }
    let served_by = watch.served_by.get();
    let pools = shared.pools.borrow();
    let place = served_by.and_then(|id| pools[watch.pool()].loads().place(id));
    let backend = place.map(|place| pool.backends[place].name.as_str());
    if wanted.backend.as_ref().is_some_and(|name| Some(name.as_str()) != backend) {
        return None;
    }
    let now = shared.core.now.get();
    Some(Listed {
        id: watch.id,
        listener: listener.name.clone(),
        client: client(watch),
        pool: pool.name.clone(),
        backend: backend.map(str::to_owned),
        stage: watch.stage.get(),
        age: now.saturating_sub(watch.accepted),
        idle: now.saturating_sub(watch.silent_since()),
        bytes_to_backend: watch.meter.bytes(Direction::ToBackend),
        bytes_to_client: watch.meter.bytes(Direction::ToClient),
    })
}

fn client(watch: &Watch) -> Option<Address> {
    let told = watch.peer.as_ref().map(|peer| Address::Ip(peer.address)).or_else(|| watch.told_client.get());
    told.or_else(|| net::peer(&watch.client))
}
