//! Accepting: how clients come to a worker, from its own sockets and from other workers, and how it stops.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;

use super::{ACCEPT_BATCH, ACCEPT_PAUSE, PAUSE_REPORT_INTERVAL, TICK, Worker};
use crate::access::{Wait, nanos};
use crate::config::{Accept, Address, Listener, Refuse};
use crate::handover::{Boxes, Connection};
use crate::net::{self, Listening, Socket};
use crate::phase::Phase;
use crate::ring;
use crate::session::{self, Admitted};
use crate::shared::Shared;
use crate::spread;

/// From one look for a new configuration to the next, while a client waits for it.
const NEWS_PAUSE: Duration = Duration::from_millis(1);

/// How long a socket that is removed may wait for room for those in its queue.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(30);

/// A listening socket of one worker. It lasts as long as any configuration has its address.
#[derive(Debug)]
pub(super) struct Accepting {
    pub(super) socket: Rc<Listening>,
    /// Where it accepts, with the real port.
    pub(super) address: Option<Address>,
    /// Whose it is: an index into the present configuration's listeners.
    pub(super) listener: Cell<usize>,
    /// Whether no listener has it any more.
    is_removed: Cell<bool>,
    /// Tells who waits on a socket that is lent that nobody is accepted there any more.
    accepts_no_more: Notify,
}

impl Accepting {
    pub(super) fn new(listener: usize, socket: Listening) -> Rc<Accepting> {
        let (address, socket) = (socket.local_addr().ok(), Rc::new(socket));
        Rc::new(Accepting {
            socket,
            address,
            listener: Cell::new(listener),
            is_removed: Cell::new(false),
            accepts_no_more: Notify::new(),
        })
    }

    /// Its port; a Unix socket has none, which is 0.
    fn port(&self) -> u16 {
        self.address.and_then(Address::as_ip).map_or(0, |address| address.port())
    }

    /// Until somebody waits to be accepted, or nobody is any more. A poll on a socket that is lent, or comes to be, does not
    /// end with that. It takes nothing, so that it can be left behind.
    async fn acceptable(&self) -> io::Result<()> {
        tokio::select! {
            result = ring::acceptable(&self.socket) => result,
            () = self.accepts_no_more.notified() => Ok(()),
        }
    }

    /// Ends it. The permit stays for who does not wait yet.
    fn end(&self) {
        self.is_removed.set(true);
        self.socket.stop();
        self.accepts_no_more.notify_one();
    }
}

impl Worker {
    /// Takes clients from a socket until it is removed or the process drains.
    pub(super) fn accept_from(self: &Rc<Self>, from: Rc<Accepting>) {
        if let Err(error) = from.socket.begin() {
            // Others listen there.
            tracing::warn!(worker = self.id, %error, "the worker has one listening socket less");
            return;
        }
        let task = tokio_uring::spawn(Rc::clone(self).accept_loop(from));
        self.tasks.borrow_mut().push(task);
    }

    async fn accept_loop(self: Rc<Self>, from: Rc<Accepting>) {
        loop {
            if let Err(error) = from.acceptable().await {
                tracing::error!(worker = self.id, %error, "cannot wait for connections; trying again");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            if self.phase.get() != Phase::Running || from.is_removed.get() {
                return;
            }
            if self.core.is_short_of_resources() {
                // Each new client would need what those who wait for a connection do not get.
                self.pause(&from, &"sessions wait for descriptors or memory to connect with").await;
                continue;
            }
            let shared = Rc::clone(&self.shared.borrow());
            match self.accept_batch(&from, &shared) {
                // Another worker has shut it, and this one is about to hear why.
                Ok(Queue::Empty) if from.socket.is_shut() => {
                    let _ = tokio::time::timeout(TICK, from.accepts_no_more.notified()).await;
                }
                Ok(_) => {}
                Err(Refusal::Wait(Wait::Rate(time))) => tokio::time::sleep(time.min(TICK)).await,
                Err(Refusal::Full | Refusal::Wait(Wait::Full)) => {
                    // Those who wait stay in the kernel's queue until a session ends. Another worker's may: look then.
                    let freed = self.core.freed.notified();
                    let _ = tokio::time::timeout(TICK, freed).await;
                }
                Err(Refusal::Failed(error)) => self.pause(&from, &error).await,
            }
            // Sessions first: a flood of connections must not keep those that are running from their turn.
            tokio::task::yield_now().await;
        }
    }

    /// Takes what waits in the kernel's queue, up to a batch, under this configuration.
    fn accept_batch(&self, from: &Accepting, shared: &Rc<Shared>) -> Result<Queue, Refusal> {
        let (listener, mut room) = (from.listener.get(), self.room());
        let door = &shared.doors[listener];
        let is_told = shared.config.listeners[listener].proxy_protocol.is_some();
        // One look at the clock: rates are late by no more than a batch.
        let now = nanos(self.core.elapsed());
        for _ in 0..ACCEPT_BATCH {
            if room == 0 {
                return Err(Refusal::Full);
            }
            let turn = door.turn(now).map_err(Refusal::Wait)?;
            match net::accept(&from.socket) {
                Ok(Some((client, address))) => {
                    // Where a proxy says who the client is, that one is asked for when it has said so.
                    let known = address.as_ip().filter(|_| !is_told).map(|address| address.ip());
                    match turn.enter(known, now) {
                        Ok(pass) => {
                            room -= 1;
                            self.let_in(
                                Connection {
                                    client,
                                    address,
                                    listener,
                                    port: from.port(),
                                    generation: shared.generation,
                                    pass,
                                },
                                shared,
                            );
                        }
                        Err(reason) => {
                            shared.count_refused(listener, reason, address);
                            refuse(client, &shared.config.listeners[listener]);
                        }
                    }
                }
                Ok(None) => return Ok(Queue::Empty),
                Err(error) if is_the_clients(&error) => {}
                Err(error) => return Err(Refusal::Failed(error)),
            }
        }
        Ok(Queue::More)
    }

    fn let_in(&self, connection: Connection, shared: &Rc<Shared>) {
        if let Err(connection) = self.hand_over(connection, shared) {
            self.admit_under(Rc::clone(shared), connection);
        }
    }

    /// Lets a connection in, here.
    fn admit_under(&self, shared: Rc<Shared>, connection: Connection) {
        let Connection { client, address, listener, port, pass, .. } = connection;
        let admitted = Admitted::new(shared, listener, Socket::from(client), address, pass);
        admitted.came_to(port);
        // Nobody waits for it: a panic in it ends it alone, and its drop still counts it.
        drop(tokio_uring::spawn(session::run(admitted)));
    }

    /// Gives a connection to a worker that has fewer sessions; gives it back if this one is to serve it.
    fn hand_over(&self, connection: Connection, shared: &Shared) -> Result<(), Connection> {
        let is_balanced = shared.config.listeners[connection.listener].accept == Accept::Balanced;
        let Some(Boxes { outbox, .. }) = self.boxes.as_ref().filter(|_| is_balanced) else {
            return Err(connection);
        };
        // Those under way count: or a burst would all go to the one that had the fewest before it.
        let load = |worker: usize| outbox.under_way(worker) + self.counts[worker].active.get();
        let others = self.neighbours.borrow_mut().look().map(|other| (other, load(other)));
        let Some(other) = spread::lighter(load(self.id), self.slack.get(), others) else {
            return Err(connection);
        };
        outbox.hand_over(other, connection)?;
        self.counts[self.id].handed_over.add(1);
        Ok(())
    }

    /// Lets in what others hand over, also while this worker drains: the clients came before that.
    pub(super) async fn inbox_loop(self: Rc<Self>) {
        let Some(Boxes { inbox, .. }) = &self.boxes else { return };
        let mut taken = 0;
        while let Some(handed) = inbox.next().await {
            // It is let in before it is no longer under way, and that before anybody else has a turn.
            let (connection, under_way) = handed.into_parts();
            self.admit_handed(connection).await;
            drop(under_way);
            taken += 1;
            if taken % ACCEPT_BATCH == 0 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Lets in what another worker has accepted, under the configuration that this one had.
    async fn admit_handed(self: &Rc<Self>, connection: Connection) {
        loop {
            let wanted = connection.generation;
            let present = Rc::clone(&self.shared.borrow());
            if wanted == present.generation {
                return self.admit_under(present, connection);
            }
            let earlier = self.earlier.borrow().iter().rfind(|shared| shared.generation == wanted).cloned();
            if let Some(shared) = earlier {
                return self.admit_under(shared, connection);
            }
            if wanted < present.generation {
                // It was under way for the whole of a reload. Its listener may be gone; the client may connect again.
                return net::abort(&Socket::from(connection.client));
            }
            // The other one has adopted a configuration that is still on its way here.
            self.run_errands();
            tokio::time::sleep(NEWS_PAUSE).await;
        }
    }

    /// Hands over nothing more and takes nothing more. If the worker ends before its inbox does, who is left there must see
    /// a reset.
    pub(super) fn shut_boxes(&self) {
        let Some(Boxes { outbox, inbox }) = &self.boxes else { return };
        outbox.shut();
        for handed in inbox.shut() {
            net::abort(&Socket::from(handed.connection.client));
        }
    }

    /// How many sessions more the process may take: one look at every worker's count for a whole batch. Connections on
    /// their way from one worker to another count as sessions.
    ///
    /// Workers that look at the same moment can each take the last places. They overshoot by a batch each at most, for
    /// which the reserve of descriptors has room.
    fn room(&self) -> usize {
        let under_way = self.boxes.as_ref().map_or(0, |boxes| boxes.outbox.under_way_to_all());
        let active: u64 = self.counts.iter().map(|worker| worker.active.get()).sum();
        self.sessions_max.get().saturating_sub((under_way + active) as usize)
    }

    async fn pause(&self, from: &Accepting, why: &dyn fmt::Display) {
        let now = self.core.now.get();
        if self.pause_told.get().is_none_or(|told| now - told >= PAUSE_REPORT_INTERVAL) {
            self.pause_told.set(Some(now));
            tracing::warn!(
                worker = self.id,
                listener = %self.shared.borrow().config.listeners[from.listener.get()].name,
                %why,
                "accepting pauses; running sessions go on, new clients wait in the kernel's queue"
            );
        }
        self.counts[self.id].accept_pauses.add(1);
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }

    /// Takes those who have been waiting, then ends the listeners.
    ///
    /// What it takes now it serves itself: another worker may have ended its inbox only because this one hands over nothing.
    pub(super) fn stop_accepting(&self) {
        self.boxes.as_ref().inspect(|boxes| boxes.outbox.shut());
        self.datagrams.borrow().iter().for_each(|datagrams| datagrams.stop(self.is_replaced.get()));
        let shared = Rc::clone(&self.shared.borrow());
        for from in &*self.sockets.borrow() {
            from.socket.shut();
            // Who waits at a socket that is somebody else's waits for that one.
            if !from.socket.is_lent() {
                let _ = self.take_those_who_wait(from, &shared);
            }
            from.end();
        }
        self.leaving.take().iter().for_each(|leaving| leaving.socket.end());
        self.core.freed.notify_waiters();
    }

    /// Takes nobody there any more but those who wait already. `shared` is of the configuration that had the listener.
    pub(super) fn leave(&self, socket: Rc<Accepting>, shared: &Rc<Shared>) {
        socket.is_removed.set(true);
        socket.socket.shut();
        let until = self.core.now.get() + LEAVE_TIMEOUT;
        self.leaving.borrow_mut().push(Leaving { socket, shared: Rc::clone(shared), until });
        self.leave_sockets();
    }

    /// Ends the sockets that are removed as soon as nobody waits there. Closing one with somebody in its queue would reset a
    /// client that believes itself connected; so it stays while there is no room for more sessions.
    pub(super) fn leave_sockets(&self) {
        let (now, leaving) = (self.core.now.get(), self.leaving.take());
        for one in leaving {
            if self.take_those_who_wait(&one.socket, &one.shared).is_ok() || now >= one.until {
                one.socket.end();
            } else {
                self.leaving.borrow_mut().push(one);
            }
        }
    }

    /// Bounded: a batch is at most what one wake-up takes, and the queue is at most the backlog.
    fn take_those_who_wait(&self, from: &Accepting, shared: &Rc<Shared>) -> Result<(), Refusal> {
        let backlog = shared.config.listeners[from.listener.get()].backlog;
        for _ in 0..backlog as usize / ACCEPT_BATCH + 1 {
            if self.accept_batch(from, shared)? == Queue::Empty {
                break;
            }
        }
        Ok(())
    }
}

/// A socket that no listener has any more, while somebody still waits in its queue.
pub(super) struct Leaving {
    socket: Rc<Accepting>,
    /// The configuration that had it.
    shared: Rc<Shared>,
    /// It is ended then, whoever waits.
    until: Duration,
}

impl Leaving {
    /// Whether its clients are served under this configuration.
    pub(super) fn is_under(&self, shared: &Rc<Shared>) -> bool {
        Rc::ptr_eq(&self.shared, shared)
    }
}

/// What a batch has left behind.
#[derive(PartialEq, Eq)]
enum Queue {
    /// Nobody.
    Empty,
    /// Somebody, perhaps.
    More,
}

/// Why a batch of accepts ended early.
enum Refusal {
    /// The limit on sessions of the process is reached.
    Full,
    /// A limit of the listener, or a rate, is.
    Wait(Wait),
    /// The kernel could not.
    Failed(io::Error),
}

/// Errors of accept that are about the one client that has already left, not about us (accept(2)).
fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNABORTED
                | libc::EINTR
                | libc::EPROTO
                | libc::ENETDOWN
                | libc::ENOPROTOOPT
                | libc::EHOSTDOWN
                | libc::ENONET
                | libc::EHOSTUNREACH
                | libc::ENETUNREACH
                | libc::EPERM
        )
    )
}

/// Gets rid of a connection as cheaply as can be: nothing of a session has been made. Whoever floods us costs an accept and
/// a close. The server's thread tells of it in the log.
fn refuse(client: OwnedFd, spec: &Listener) {
    match spec.access.refuse {
        Refuse::Reset => net::abort(&Socket::from(client)),
        Refuse::Close => drop(client),
    }
}
