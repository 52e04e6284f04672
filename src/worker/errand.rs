//! Errand: what the server wants of a worker, done at its next tick; above all, that it goes on under another configuration.
//!
//! Clients that are accepted from then on are served under the new one. Sessions that are running keep the old one, but for
//! their counts: these move, so that what both configurations have is counted once and by all.

use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use tokio::sync::oneshot;

use super::Worker;
use super::accepting::Accepting;
use super::listing::Listing;
use crate::arrivals::Setting;
use crate::end::End;
use crate::generation::Generation;
use crate::net;
use crate::session_id::SessionId;
use crate::shared::Shared;
use crate::table::BackendId;

/// What the server wants of a worker.
pub enum Errand {
    /// That it goes on under another configuration.
    Adopt(Adoption),
    /// That it tells of its sessions.
    List(Listing),
    /// That it ends a session, and tells whether it was there.
    Kill(SessionId, oneshot::Sender<bool>),
}

/// Another configuration.
pub struct Adoption {
    /// What it is, and what belongs to it.
    pub generation: Arc<Generation>,
    /// The worker's sockets at addresses that it did not have, each with its listener.
    pub sockets: Vec<(usize, TcpListener)>,
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
        let Adoption { generation, sockets, sessions_max, setting, done } = adoption;
        // They name backends by their places.
        self.core.samples.begin(generation.number);
        if let (Some(arrivals), Some(setting)) = (&self.core.arrivals, setting) {
            arrivals.begin(setting);
        }

        let before = Rc::clone(&self.shared.borrow());
        let next = Shared::new(Rc::clone(&self.core), &generation);
        self.adopt_news(&next);
        let heirs = generation.lineage.heirs(before.stats.backends.len());
        before.succeed(&next, &heirs);
        self.earlier.borrow().iter().for_each(|earlier| earlier.follow(&heirs));
        self.earlier.borrow_mut().push(before);

        self.reassign_sockets(&generation);
        *self.shared.borrow_mut() = next;
        self.sessions_max.set(sessions_max);
        for (listener, socket) in sockets {
            let socket = Accepting::new(listener, socket);
            self.sockets.borrow_mut().push(Rc::clone(&socket));
            self.accept_from(socket);
        }
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
            generation.addresses.iter().position(|addresses| addresses.contains(&address))
        };
        let (kept, removed): (Vec<_>, Vec<_>) =
            self.sockets.take().into_iter().partition(|socket| listener_of(socket).is_some());
        removed.iter().for_each(|socket| self.stop_accepting_from(socket));
        for socket in &kept {
            let Some(listener) = listener_of(socket) else { continue };
            let spec = &generation.config.listeners[listener];
            if let Err(error) = net::adjust_listener(&socket.socket, spec.backlog, spec.tcp) {
                tracing::warn!(
                    worker = self.id,
                    listener = %spec.name,
                    %error,
                    "the listener keeps its old backlog and TCP options"
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
        earlier.retain(|shared| shared.generation == newest || !shared.watches.is_empty());
    }

    /// Ends the sessions of an earlier configuration whose backend was removed longer ago than the present one allows.
    pub(super) fn end_what_was_removed(&self, shared: &Shared) {
        if !shared.has_removed() {
            return;
        }
        let limit = self.shared.borrow().config.server.removed_drain_timeout;
        let now = self.core.now.get();
        let is_over = |backend: BackendId| shared.removed_at(backend).is_some_and(|at| now - at >= limit);
        shared.watches.end_those(End::BackendRemoved, |watch| watch.served_by.get().is_some_and(is_over));
    }
}
