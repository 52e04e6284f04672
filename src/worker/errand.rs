//! Errand: what the server wants of a worker, done at its next tick; above all, that it goes on under another configuration.
//!
//! Clients that are accepted from then on are served under the new one. Sessions that are running keep the old one, but for
//! their counts: these move, so that what both configurations have is counted once and by all.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use tokio::sync::oneshot;

use super::Worker;
use super::accepting::Accepting;
use super::listing::Listing;
use crate::arrivals::Setting;
use crate::config::{Address, Protocol};
use crate::end::End;
use crate::generation::Generation;
use crate::net::{Inlet, Listening};
use crate::phase::Phase;
use crate::session_id::SessionId;
use crate::shared::Shared;
use crate::table::BackendId;
use crate::watch::{Stage, Watch};

/// What the server wants of a worker.
pub enum Errand {
    /// That it goes on under another configuration.
    Adopt(Adoption),
    /// That it shows its listening sockets, another descriptor of each, and says which worker it is.
    Show(Sender<(usize, io::Result<Shown>)>),
    /// That it treats its sockets as somebody else's, but for those at some addresses.
    Lend {
        /// Nobody has taken those.
        but: Arc<[Address]>,
        /// Told when it is done.
        done: Sender<()>,
    },
    /// That it tells of its sessions.
    List(Listing),
    /// That it ends a session, and tells whether it was there.
    Kill(SessionId, oneshot::Sender<bool>),
}

/// A worker's sockets, for connections and for datagrams.
pub type Shown = (Vec<Listening>, Vec<Inlet>);

/// Another configuration.
pub struct Adoption {
    /// What it is, and what belongs to it.
    pub generation: Arc<Generation>,
    /// The worker's sockets at addresses that it did not have, each with its listener.
    pub sockets: Vec<(usize, Listening)>,
    /// The same for datagrams.
    pub inlets: Vec<(usize, Inlet)>,
    /// Sessions at once in the whole process.
    pub sessions_max: usize,
    /// The same as the record keeps it, if there is one.
    pub setting: Option<Arc<Setting>>,
    /// Told when it is done.
    pub done: Sender<()>,
}

impl Worker {
    /// Does what the server wants.
    pub(super) fn run_errands(self: &Rc<Self>) {
        while let Ok(errand) = self.errands.try_recv() {
            match errand {
                Errand::Adopt(adoption) => self.adopt(adoption),
                Errand::Show(to) => {
                    let sockets = self.sockets.borrow();
                    // The server may have given up waiting, here and below.
                    let of_connections = sockets.iter().map(|from| from.socket.another());
                    let of_connections = of_connections.collect::<io::Result<Vec<Listening>>>();
                    let of_datagrams =
                        self.datagrams.borrow().as_ref().map_or(Ok(Vec::new()), |all| all.inlets());
                    let shown = of_connections.and_then(|sockets| Ok((sockets, of_datagrams?)));
                    let _ = to.send((self.id, shown));
                }
                Errand::Lend { but, done } => {
                    let sockets = self.sockets.borrow();
                    let taken = sockets
                        .iter()
                        .filter(|from| from.address.is_none_or(|address| !but.contains(&address)));
                    taken.for_each(|from| from.socket.lend());
                    self.has_lent.set(true);
                    self.is_replaced.set(true);
                    let _ = done.send(());
                }
                Errand::List(listing) => self.list(listing),
                Errand::Kill(id, reply) => {
                    let ended =
                        self.generations().iter().any(|shared| shared.watches.end_one(id, End::Killed));
                    // Whoever asked may have left.
                    let _ = reply.send(ended);
                }
            }
        }
    }

    fn adopt(self: &Rc<Self>, adoption: Adoption) {
        if self.phase.get() != Phase::Running {
            // It takes nobody any more, under whatever configuration.
            let _ = adoption.done.send(());
            return;
        }
        let Adoption { generation, sockets, inlets, sessions_max, setting, done } = adoption;
        // They name backends by their places.
        self.core.samples.begin(generation.number);
        if let (Some(arrivals), Some(setting)) = (&self.core.arrivals, setting) {
            arrivals.begin(setting);
        }

        let before = Rc::clone(&self.shared.borrow());
        let next = Shared::new(Rc::clone(&self.core), &generation);
        next.inherit(&before, &generation.lineage);
        self.adopt_news(&next);
        before.succeed(&next, &generation.lineage);
        self.earlier.borrow().iter().for_each(|earlier| earlier.follow(&next, &generation.lineage));
        self.earlier.borrow_mut().push(before);

        self.reassign_sockets(&generation);
        if let Some(datagrams) = &*self.datagrams.borrow() {
            datagrams.adopt(Rc::clone(&next), &generation, sessions_max);
        }
        *self.shared.borrow_mut() = next;
        self.sessions_max.set(sessions_max);
        for (listener, socket) in sockets {
            let socket = Accepting::new(listener, socket);
            self.sockets.borrow_mut().push(Rc::clone(&socket));
            self.accept_from(socket);
        }
        self.take_datagrams(inlets);
        // There may be room now.
        self.core.freed.notify_waiters();
        // The server may have given up waiting.
        let _ = done.send(());
    }

    /// Each socket goes to the listener that has its address now. Those that none has are drained under the configuration
    /// that had them, which still is the present one.
    fn reassign_sockets(&self, generation: &Generation) {
        let listener_of = |socket: &Accepting| {
            let address = socket.address?;
            let mut all = generation.config.listeners.iter().zip(&generation.addresses);
            all.position(|(spec, addresses)| spec.protocol == Protocol::Tcp && addresses.contains(&address))
        };
        let (kept, removed): (Vec<_>, Vec<_>) =
            self.sockets.take().into_iter().partition(|socket| listener_of(socket).is_some());
        let before = Rc::clone(&self.shared.borrow());
        removed.into_iter().for_each(|socket| self.leave(socket, &before));
        for socket in &kept {
            let Some(listener) = listener_of(socket) else { continue };
            let spec = &generation.config.listeners[listener];
            if let Err(error) = socket.socket.adjust(spec) {
                tracing::warn!(
                    worker = self.id,
                    listener = %spec.name,
                    %error,
                    "the listener keeps its old backlog and options"
                );
            }
            socket.listener.set(listener);
        }
        self.sockets.replace(kept);
    }

    /// Configurations without sessions are over. The last one may still be that of a connection on its way from another
    /// worker.
    pub(super) fn forget_what_is_over(&self) {
        let mut earlier = self.earlier.borrow_mut();
        let newest = earlier.last().map_or(0, |shared| shared.generation);
        let is_leaving = |shared: &Rc<Shared>| self.leaving.borrow().iter().any(|one| one.is_under(shared));
        earlier
            .retain(|shared| shared.generation == newest || !shared.watches.is_empty() || is_leaving(shared));
    }

    /// Ends the sessions of an earlier configuration whose backend was removed longer ago than the present one allows.
    pub(super) fn end_what_was_removed(&self, shared: &Shared) {
        let over = shared.over_for(self.shared.borrow().config.server.removed_drain_timeout);
        if over.is_empty() {
            return;
        }
        // One that has lost it already looks for another.
        let is_there = |watch: &Watch| matches!(watch.stage.get(), Stage::Connecting | Stage::Relaying);
        let is_over = |backend: BackendId| over.binary_search(&backend).is_ok();
        shared.watches.end_those(End::BackendRemoved, |watch| {
            is_there(watch) && watch.served_by.get().is_some_and(is_over)
        });
    }
}
