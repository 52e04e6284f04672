//! Admitted: a session from its first moment to its account, whichever way its task goes.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use super::proxy;
use crate::access::Pass;
use crate::account;
use crate::arrivals::{Arrival, Arrivals};
use crate::balance::Tried;
use crate::config::Address;
use crate::decision::{Candidate, Decision, Number, Outcome as PickOutcome};
use crate::end::End;
use crate::entries::Entries;
use crate::load::Lease;
use crate::net::Socket;
use crate::pool::{Nobody, Request};
use crate::routing::Hello;
use crate::shadow;
use crate::shared::Shared;
use crate::watch::{Peer, Watch};

/// A session that has been let in. Counts it, and by drop counts how it ended, whichever way its task goes.
pub struct Admitted {
    /// What is of the configuration under which it goes on: the one under which it was accepted, or a later one if it had no
    /// backend yet when that came.
    shared: RefCell<Rc<Shared>>,
    pub(super) watch: Rc<Watch>,
    key: Cell<usize>,
    /// Who the client is: the address that it came from, or the one that a proxy before us tells.
    pub(super) client: Cell<Address>,
    /// What else a proxy before us told of it, until a backend knows it.
    pub(super) told: RefCell<Option<Box<proxy::Told>>>,
    /// When, since the process began to serve.
    accepted: Duration,
    /// The last pick, if it is one of those that are written down, and when it was.
    note: Cell<Option<(Number, Duration)>>,
    /// What it said of where it wants to go, if its listener asks for that.
    pub(super) hello: OnceCell<Box<Hello>>,
    /// What the shadows of the pool chose for it, from its first pick to its end.
    shadows: OnceCell<shadow::Lease>,
    /// What counts it where its listener has limits.
    pub(super) pass: RefCell<Pass>,
    pub(super) end: Option<End>,
}

impl Admitted {
    /// Lets an accepted connection in.
    pub fn new(
        shared: Rc<Shared>,
        listener: usize,
        client: Socket,
        address: Address,
        pass: Pass,
    ) -> Admitted {
        let (id, pool) = (shared.core.next_id(), shared.config.listeners[listener].pool);
        let drawn = shared.core.dice.borrow_mut().f32();
        let watch = Watch::new(id, (listener, pool), client, shared.core.now.get(), drawn);
        Admitted::with(shared, watch, address, pass)
    }

    /// Lets a client in that has sent a datagram.
    pub fn of_datagrams(
        shared: Rc<Shared>,
        listener: usize,
        socket: Socket,
        peer: Peer,
        pass: Pass,
    ) -> Admitted {
        let (id, pool) = (shared.core.next_id(), shared.config.listeners[listener].pool);
        let (address, drawn) = (Address::Ip(peer.address), shared.core.dice.borrow_mut().f32());
        let watch = Watch::new(id, (listener, pool), socket, shared.core.now.get(), drawn).with_peer(peer);
        Admitted::with(shared, watch, address, pass)
    }

    fn with(shared: Rc<Shared>, watch: Watch, address: Address, pass: Pass) -> Admitted {
        let (listener, watch) = (watch.listener(), Rc::new(watch));
        let key = shared.watches.insert(Rc::clone(&watch));
        let accepted = shared.core.elapsed();
        let (note, hello, shadows) = (Cell::new(None), OnceCell::new(), OnceCell::new());
        let counters = &shared.stats.listeners[listener];
        shared.stats.core.admitted.add(1);
        shared.stats.core.active.add(1);
        counters.accepted.add(1);
        counters.active.add(1);
        let (key, shared, client) = (Cell::new(key), RefCell::new(shared), Cell::new(address));
        let (told, pass) = (RefCell::default(), RefCell::new(pass));
        Admitted { shared, watch, key, client, told, accepted, note, hello, shadows, pass, end: None }
    }

    /// Notes the port of its listener, which may have many.
    pub fn came_to(&self, port: u16) {
        self.watch.port.set(port);
    }

    /// What it shares with others of its configuration.
    pub fn shared(&self) -> Rc<Shared> {
        Rc::clone(&self.shared.borrow())
    }

    /// What the tick sees of it.
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// When it was let in, since the process began to serve.
    pub fn accepted(&self) -> Duration {
        self.accepted
    }

    /// It is over, for this reason.
    pub fn finish(mut self, end: End) {
        self.end = Some(end);
    }

    /// Goes on under the present configuration, if there is another one and the listener is in it. For a session that has no
    /// backend yet: what a reload adds is for it too, and what a reload removes must not be all that it knows.
    pub(super) fn catch_up(&self, tried: &mut Tried) {
        let before = self.shared();
        let Some((next, listener)) = before.successor(self.watch.listener()) else { return };
        // What was written down of it names backends by their old places.
        self.note.take();
        *tried = tried.translate(|id| before.heir(id));
        self.watch.served_by.set(self.watch.served_by.get().and_then(|id| before.heir(id)));
        before.watches.remove(self.key.get());
        let pool = next.route(listener, self.hello.get().map(|hello| &**hello));
        self.watch.move_to(listener, pool);
        self.key.set(next.watches.insert(Rc::clone(&self.watch)));
        self.shared.replace(next);
    }

    /// Picks a backend, unless others wait for one: those who came first go first.
    pub(super) fn pick(&self, tried: &Tried) -> Result<(Lease, Address), Nobody> {
        if self.shared().queue(&self.watch).is_empty() { self.pick_now(tried) } else { Err(Nobody::Full) }
    }

    /// Looks for news once, then picks from one whole table.
    pub fn pick_now(&self, tried: &Tried) -> Result<(Lease, Address), Nobody> {
        let shared = &*self.shared();
        let index = self.watch.pool();
        let (mut tables, mut pools) = (shared.tables.borrow_mut(), shared.pools.borrow_mut());
        let pool = &mut pools[index];
        pool.adopt(tables.refresh());
        let request = Request { client: self.client.get().ip(), tried };
        let candidates = shared.core.explains.take().then(|| pool.candidates(&request));
        let picked = pool.pick(&request, &mut shared.core.dice.borrow_mut());
        self.watch.picked_from.set(pool.epoch());
        if let Ok((served, _)) = &picked
            && self.shadows.get().is_none()
            && let Some(lease) = pool.shadow(&request, served, &mut shared.core.dice.borrow_mut())
        {
            let _ = self.shadows.set(lease);
        }
        if let Some(candidates) = candidates {
            self.write_down(index, candidates, tried, &picked);
        }
        picked
    }

    #[cold]
    fn write_down(
        &self,
        pool: usize,
        candidates: Vec<Candidate>,
        tried: &Tried,
        picked: &Result<(Lease, Address), Nobody>,
    ) {
        let chosen = picked.as_ref().ok().map(|(lease, _)| lease.backend());
        let at = self.shared().core.elapsed();
        let decision = Decision {
            at,
            client: self.client.get().ip(),
            pool,
            tried: tried.len(),
            candidates_total: candidates.len(),
            candidates,
            chosen,
            outcome: if chosen.is_some() { PickOutcome::Running } else { PickOutcome::Nobody },
        };
        let number = self.shared().stats.decisions.note(decision);
        self.note.set(number.filter(|_| chosen.is_some()).map(|number| (number, at)));
    }

    /// For the record: who it was, when, and what it took.
    fn recorded(&self, arrivals: &Arrivals, end: End) -> Arrival {
        let client = arrivals.client(self.client.get().ip());
        account::arrival(&self.watch, client, self.accepted, self.shared().core.elapsed(), end)
    }

    fn is_logged(&self) -> bool {
        self.shared().listener(&self.watch).access_log
    }

    /// For the access log.
    fn log(&mut self, entries: &Entries, end: End) {
        let (client, now) = (self.client.get(), self.shared().core.elapsed());
        let server_name = self.hello.take().and_then(|hello| hello.server_name);
        let entry = account::entry(&self.watch, client, server_name, self.accepted, now, end);
        entries.note(entry, || self.shared().core.dice.borrow_mut().u32(..1_000_000));
    }

    /// Writes down what came of the last pick, if the pick has been.
    pub fn conclude(&self, outcome: PickOutcome) {
        if let Some((number, _)) = self.note.take() {
            self.shared().stats.decisions.conclude(number, outcome);
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let end = self.end.unwrap_or_else(|| {
            // The task did not get to its end. Its operations may still be in flight and hold the sockets: break them,
            // so that they complete and let go.
            self.watch.abort();
            if std::thread::panicking() { End::Panicked } else { End::Drained }
        });
        if let Some((_, at)) = self.note.get() {
            self.conclude(PickOutcome::Ended(end, self.shared().core.elapsed().saturating_sub(at)));
        }
        let shared = self.shared();
        if let Some(arrivals) = &shared.core.arrivals {
            // After a reload its listener and its backend can have other places, or none.
            if arrivals.are_of(shared.generation) {
                arrivals.note(self.recorded(arrivals, end));
            } else {
                arrivals.lose(1);
            }
        }
        if let Some(entries) = shared.entries.as_ref().filter(|_| self.is_logged()) {
            self.log(entries, end);
        }
        drop(self.shadows.take());
        // First: whoever sees that the session is gone finds its place free.
        drop(self.pass.take());
        shared.sum_up(&self.watch);
        let counters = &shared.stats.listeners[self.watch.listener()];
        counters.ends[end as usize].add(1);
        counters.active.subtract(1);
        shared.stats.core.active.subtract(1);
        shared.watches.remove(self.key.get());
        shared.core.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generation::Generation;
    use crate::ring;
    use crate::shared::testing;
    use crate::table::BackendId;
    use std::io::{self, Read};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::OwnedFd;
    use std::pin::pin;
    use std::sync::Arc;
    use std::time::Instant;

    fn shared() -> Rc<Shared> {
        let text = "[[listener]]\nname = 'a'\nbind = '127.0.0.1:1'\npool = 'p'\n\
                    [[pool]]\nname = 'p'\nshadow = 'first'\n[[pool.backend]]\naddress = '127.0.0.1:2'\n";
        let config = crate::config::parse("test", text).unwrap();
        Shared::new(testing::core(), &Arc::new(Generation::first(config, vec![], 1).0))
    }

    #[test]
    fn a_panic_in_a_session_ends_that_session_only() {
        let runtime = ring::runtime(64).unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let admit = |shared: &Rc<Shared>| {
                let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                let (accepted, address) = listener.accept().unwrap();
                let socket = Socket::from(OwnedFd::from(accepted));
                (Admitted::new(Rc::clone(shared), 0, socket, address.into(), Pass::default()), client)
            };
            let shared = shared();
            let (healthy, _other_client) = admit(&shared);
            let (broken, mut client) = admit(&shared);
            let watch = Rc::clone(&broken.watch);
            let task = tokio_uring::spawn(async move {
                let session = broken;
                // A read is in flight and a lease is held when it happens.
                let (_lease, _) = session.pick(&Tried::default()).unwrap();
                let mut reading =
                    pin!(ring::read(&session.watch.client, session.shared().core.supplies.arena.take()));
                let first = tokio::time::timeout(Duration::from_millis(10), reading.as_mut()).await;
                assert!(first.is_ok(), "a defect of the session");
            });
            assert!(task.await.unwrap_err().is_panic());
            let error = client.read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
            let counters = &shared.stats.listeners[0];
            assert_eq!(counters.ends[End::Panicked as usize].get(), 1);
            assert_eq!((counters.accepted.get(), counters.active.get()), (2, 1));
            assert_eq!(shared.stats.sessions.get(BackendId::new(0)), 0);
            let shadows = shared.stats.shadows[0].as_ref().unwrap();
            let counts = shadows.backends[0].0.each_ref().map(|one| (one.total.get(), one.active.get()));
            assert_eq!(counts, [(1, 0), (1, 0), (0, 0), (0, 0), (0, 0)]);
            // The read that was in flight completes because its connection is broken, and gives its cell back.
            let deadline = Instant::now() + Duration::from_secs(10);
            while shared.core.supplies.arena.free() < shared.core.supplies.arena.cells() {
                assert!(Instant::now() < deadline);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            drop((watch, healthy));
        });
    }
}
