//! Flow: one session over datagrams, from the first one of its client.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::appetite::Appetite;
use super::pairing::Pairing;
use super::policer::Policer;
use super::recency::Standing;
use crate::access::{Pass, nanos};
use crate::balance::Tried;
use crate::config::{Address, Bandwidth, Pace, ProxyDatagrams, Signal, Udp};
use crate::decision::Outcome as PickOutcome;
use crate::end::End;
use crate::load::Lease;
use crate::net::{self, QueueDrops, Received, Socket};
use crate::pool::Nobody;
use crate::proxy_protocol::{Addresses, Command, Header as Told};
use crate::relay::Direction;
use crate::session::{Admitted, Origin};
use crate::shared::Shared;
use crate::stats::{Dropped, ListenerStats};
use crate::table::{BackendId, Mode, State};
use crate::watch::{Marks, Peer, Stage, micros};

/// The way on which clients are spoken to. It outlives its listener as long as it has sessions.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) socket: Socket,
    pub(super) address: SocketAddr,
    /// Whether nobody is listened to there any more: sessions that owe nothing end then.
    pub(super) is_leaving: Rc<Cell<bool>>,
    /// Whose it is: an index into the present configuration's listeners.
    pub(super) listener: Cell<usize>,
    pub(super) counters: RefCell<Arc<ListenerStats>>,
    /// What the kernel has dropped there.
    pub(super) drops: QueueDrops,
}

/// Who a session is with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// Which listening socket.
    pub(super) inlet: usize,
    pub(super) client: SocketAddr,
    /// Which of the machine's addresses it speaks to, where the socket stands for all of them.
    pub(super) local: Option<IpAddr>,
    /// Who the client really is, where `client` is a proxy that has told so.
    pub(super) told: Option<SocketAddr>,
}

impl Key {
    /// Who the client really is.
    pub(super) fn real_client(&self) -> SocketAddr {
        self.told.unwrap_or(self.client)
    }
}

/// One session.
pub(super) struct Flow {
    pub(super) session: Admitted,
    pub(super) key: Key,
    pub(super) way: Rc<Way>,
    /// Only the backend reaches it, and only the backend is reached by it.
    pub(super) backend: Socket,
    lease: Lease,
    /// What is sent before the client's own bytes, as long as it is to be sent.
    pub(super) header: Option<Header>,
    pub(super) udp: Udp,
    pub(super) pairing: Pairing,
    pub(super) appetite: Appetite,
    /// What keeps it to its rates, in the order of [`Direction`].
    policers: [Option<Policer>; 2],
    /// Whether the client's next datagram is of this session.
    pub(super) is_bound: bool,
    picked: Duration,
    /// When the last datagram moved.
    touched: Cell<Duration>,
    /// The epoch of the table in which its backend was last looked up, and what came of it.
    looked: Cell<(u64, bool)>,
}

/// What tells a backend who the client is.
pub(super) struct Header {
    pub(super) bytes: Box<[u8]>,
    /// Before which datagrams it goes.
    pub(super) before: ProxyDatagrams,
}

impl Header {
    fn of(
        shared: &Shared,
        session: &Admitted,
        (way, key): (&Way, Key),
        told: Option<&Told>,
    ) -> Option<Header> {
        let terms = shared.pool(session.watch()).proxy_protocol.as_ref()?;
        let addresses = told.and_then(Told::addresses).unwrap_or_else(|| Addresses {
            source: key.client,
            destination: SocketAddr::new(key.local.unwrap_or(way.address.ip()), way.address.port()),
        });
        let bytes = session.datagram_header(terms, addresses, told.map(|told| &told.tlvs));
        Some(Header { bytes: bytes.into(), before: terms.datagrams })
    }
}

/// Why there is no session.
pub(super) struct Unopened {
    pub(super) end: End,
    pub(super) why: Dropped,
}

impl Flow {
    /// Chooses a backend for a client and makes a socket for the two, trying one backend after the other. `told` is what a
    /// proxy told of the client.
    pub(super) fn open(
        shared: &Rc<Shared>,
        way: &Rc<Way>,
        (key, peer, told): (Key, Peer, Option<&Told>),
        (pass, mut tried): (Pass, Tried),
    ) -> Result<Flow, Unopened> {
        let listener = way.listener.get();
        let session = Admitted::of_datagrams(Rc::clone(shared), listener, way.socket.clone(), peer, pass);
        session.came_to(way.address.port());
        match Flow::connect(shared, &session, &mut tried) {
            Ok((lease, backend, picked)) => {
                let spec = &shared.config.listeners[listener];
                let Bandwidth { to_backend, to_client } = spec.bandwidth;
                let policer = |pace: Pace| Policer::new(pace, picked);
                let header = Header::of(shared, &session, (way, key), told);
                Ok(Flow {
                    session,
                    key,
                    way: Rc::clone(way),
                    backend,
                    lease,
                    header,
                    udp: spec.udp,
                    pairing: Pairing::new(spec.udp.responses),
                    appetite: Appetite::new(),
                    policers: [to_backend.map(policer), to_client.map(policer)],
                    is_bound: true,
                    picked,
                    touched: Cell::new(picked),
                    looked: Cell::new((0, false)),
                })
            }
            Err(unopened) => {
                session.finish(unopened.end);
                Err(unopened)
            }
        }
    }

    /// Asks the rules and limits of the listener. Nobody waits: who would have to is dropped.
    pub(super) fn enter(
        shared: &Shared,
        way: &Way,
        (key, told): (Key, Option<&Told>),
    ) -> Result<Pass, Dropped> {
        let (listener, now) = (way.listener.get(), nanos(shared.core.elapsed()));
        // What a proxy sends of its own is nobody's.
        let is_own = told.is_some_and(|told| told.command == Command::Local);
        let client = (!is_own).then(|| key.real_client().ip());
        let turn = shared.doors[listener].turn(now).map_err(|_| Dropped::NoRoom)?;
        turn.enter(client, now).map_err(|reason| {
            shared.count_refused(listener, reason, Address::Ip(key.real_client()));
            Dropped::Source
        })
    }

    fn connect(
        shared: &Rc<Shared>,
        session: &Admitted,
        tried: &mut Tried,
    ) -> Result<(Lease, Socket, Duration), Unopened> {
        let watch = session.watch();
        let attempts = shared.pool(watch).connect_attempts.map_or(usize::MAX, |most| most.get() as usize);
        let mut unopened = Unopened { end: End::NoBackend, why: Dropped::NoBackend };
        for _ in 0..attempts {
            // Nobody waits for a place: by then the client would have asked again.
            let (lease, address) = match session.pick_now(tried) {
                Ok(picked) => picked,
                Err(Nobody::Full) => {
                    return Err(Unopened { end: End::QueueFull, why: Dropped::BackendsFull });
                }
                Err(Nobody::Left) => break,
            };
            let picked = shared.core.elapsed();
            watch.served_by.set(Some(lease.backend()));
            watch.trial.replace(lease.trial());
            watch.marks.set(watch.marks.get().picked(picked.saturating_sub(session.accepted())));
            let pool = shared.pool(watch);
            let origin = Origin::new(session, shared, pool, &lease);
            match net::datagrams_to(address, (&pool.socket, &pool.source), origin.addresses(pool, address)) {
                Ok(backend) => {
                    watch.marks.set(Marks { connect_us: Some(0), ..watch.marks.get() });
                    watch.stage.set(Stage::Relaying);
                    lease.expect(Signal::Session, picked);
                    return Ok((lease, backend, picked));
                }
                // EAGAIN: no port is left for a socket that is not bound yet (connect(2)).
                Err(error) if net::is_shortage(&error) || is_out_of_ports(&error) => {
                    session.conclude(PickOutcome::ConnectFailed);
                    return Err(Unopened { end: End::NoResources, why: Dropped::NoResources });
                }
                Err(error) => {
                    tracing::debug!(backend = %address, %error, "no way to the backend");
                    session.conclude(PickOutcome::ConnectFailed);
                    lease.failed();
                    tried.add(lease.backend());
                    unopened = Unopened { end: End::ConnectFailed, why: Dropped::NoBackend };
                }
            }
        }
        Err(unopened)
    }

    /// Whether what its client sends may go now, or is over its rate.
    pub(super) fn may_ask(&mut self, bytes: usize, now: Duration) -> bool {
        let policer = self.policers[Direction::ToBackend as usize].as_mut();
        policer.is_none_or(|policer| policer.take(bytes, now))
    }

    /// How many of the datagrams in a train, or the one, that its backend has sent may go to its client now.
    pub(super) fn may_reply(&mut self, received: &Received, now: Duration) -> Option<usize> {
        let policer = self.policers[Direction::ToClient as usize].as_mut()?;
        Some(policer.take_of_train(received.bytes, received.segment.unwrap_or(received.bytes), now))
    }

    /// Its client sends so many datagrams, and they are to be sent on now.
    pub(super) fn ask(&mut self, count: usize, now: Duration) {
        self.touched.set(now);
        // Who has just come came a moment after the look that found its datagram.
        let now = now.max(self.picked);
        if self.pairing.replies() > 0
            && let Some(peer) = &self.session.watch().peer
        {
            peer.is_proven.set(true);
        }
        if self.pairing.ask(count, now) {
            if self.pairing.replies() == 0 {
                self.lease.expect(Signal::Connect, now);
            }
            self.lease.expect(Signal::FirstByte, now);
            let watch = self.session.watch();
            watch.is_late.set(false);
            watch.owed.set(Some(self.session.shared().core.now.get()));
        }
        self.note_owed();
    }

    /// They have gone.
    pub(super) fn asked(&self, count: usize, bytes: usize) {
        self.moved(Direction::ToBackend, count, bytes);
    }

    /// Its backend has sent so many datagrams.
    pub(super) fn replied(&mut self, count: usize, now: Duration) {
        self.touched.set(now);
        self.way.counters.borrow().datagrams.from_backends.add(count as u64);
        let (watch, lease) = (self.session.watch(), &self.lease);
        let is_first = self.pairing.replies() == 0;
        self.pairing.reply(count, |asked| {
            let took = now.saturating_sub(asked);
            lease.measured(Signal::FirstByte, took);
            if is_first && watch.marks.get().first_byte_us.is_none() {
                // Nobody connects: the first answer is what shows that it is there.
                lease.measured(Signal::Connect, took);
                watch.marks.set(Marks { first_byte_us: Some(micros(took)), ..watch.marks.get() });
            }
        });
        if !watch.is_late.get() {
            lease.served();
        }
        match self.pairing.owed() {
            None => watch.owed.set(None),
            Some(since) => {
                lease.expect(Signal::FirstByte, since);
                watch.owed.set(Some(self.session.shared().core.now.get()));
            }
        }
        self.note_owed();
    }

    /// They go to its client.
    pub(super) fn told(&self, count: usize, bytes: usize) {
        self.moved(Direction::ToClient, count, bytes);
    }

    fn note_owed(&self) {
        if let Some(peer) = &self.session.watch().peer {
            peer.is_owed.set(self.pairing.owed().is_some());
        }
    }

    fn moved(&self, direction: Direction, count: usize, bytes: usize) {
        let (shared, watch) = (self.session.shared(), self.session.watch());
        watch.meter.carried(direction, bytes);
        let carried = &shared.core.supplies.carried.datagrams;
        carried.set(carried.get() + bytes as u64);
        if let Some(peer) = &watch.peer {
            peer.moved.set(shared.core.now.get());
        }
        let counters = self.way.counters.borrow();
        match direction {
            Direction::ToBackend => counters.datagrams.to_backends.add(count as u64),
            Direction::ToClient => counters.datagrams.to_clients.add(count as u64),
        }
    }

    /// What its client has shown so far.
    pub(super) fn standing(&self) -> Standing {
        let is_proven = self.session.watch().peer.as_ref().is_some_and(|peer| peer.is_proven.get());
        if is_proven { Standing::Proven } else { Standing::New }
    }

    /// When the last datagram moved.
    pub(super) fn touched(&self) -> Duration {
        self.touched.get()
    }

    /// The backend that serves it, and under which configuration.
    pub(super) fn backend_id(&self) -> (u64, BackendId) {
        (self.session.shared().generation, self.lease.backend())
    }

    /// Whether its backend has been taken out of service since it was picked.
    pub(super) fn is_lost(&self) -> bool {
        let shared = self.session.shared();
        let mut tables = shared.tables.borrow_mut();
        let table = tables.refresh();
        let (epoch, was_lost) = self.looked.get();
        if epoch == table.epoch {
            return was_lost;
        }
        let backend = &table.backends[self.lease.backend().index()];
        let is_out =
            backend.mode == Mode::Maintenance || matches!(backend.health.state, State::Down | State::Ejected);
        // Whoever was picked from a later table was picked in spite of that: all were down.
        let is_lost = is_out && self.session.watch().picked_from.get() < backend.lost_at;
        self.looked.set((table.epoch, is_lost));
        is_lost
    }

    /// Its backend says that nobody is there, or the network says it of the backend.
    pub(super) fn refused(&self) {
        self.lease.failed();
    }

    /// It is over. What the tick decided tells more if nothing was to be heard of the backend.
    pub(super) fn close(self, end: End) {
        let end = match end {
            End::IdleTimeout if self.pairing.is_unanswered() => {
                self.lease.failed();
                End::NoReply
            }
            End::Complete if self.pairing.replies() > 0 => {
                let shared = self.session.shared();
                self.lease.measured(Signal::Session, shared.core.elapsed().saturating_sub(self.picked));
                End::Complete
            }
            other => other,
        };
        drop(self.lease);
        self.session.finish(end);
    }
}

fn is_out_of_ports(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::WouldBlock || net::is_out_of_ports(error)
}
