//! World: all sockets and sessions over UDP of one worker, and how a datagram gets through.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use slab::Slab;

use super::Limits;
use super::entrances::{Entrance, Entrances};
use super::flow::{Flow, Key, Way};
use super::recency::{Evictions, Recency};
use super::senders::Senders;
use super::train::{self, Train};
use crate::config::{ProxyDatagrams, SourcePorts};
use crate::end::End;
use crate::net::{self, Batch, Inlet, Outgoing, Piece, Readiness, Received, SLOTS};
use crate::shared::Shared;
use crate::stats::Dropped;
use crate::table::BackendId;
use crate::watch::Calls;

/// Datagrams that are taken from one backend before the others have their turn.
const FROM_BACKEND: usize = 16;
/// Keys of listening sockets have this bit; the others are those of sessions.
const IS_INLET: u64 = 1 << 63;

/// All sockets and sessions over UDP of one worker.
pub(super) struct World {
    /// The configuration under which clients are served from now on.
    pub(super) present: Rc<Shared>,
    pub(super) limits: Limits,
    pub(super) readiness: Readiness,
    pub(super) batch: Batch,
    pub(super) entrances: Entrances,
    pub(super) flows: Slab<Flow>,
    /// Which session the next datagram of a client is of.
    pub(super) places: HashMap<Key, usize>,
    /// How many have been pushed out lately.
    pub(super) evictions: Evictions,
    /// Replies that are still to be sent; each is one piece, with the same number.
    pub(super) outgoing: Vec<Outgoing>,
    /// Their ways.
    pub(super) ways: Vec<Rc<Way>>,
    /// Of what is being passed on: of clients' datagrams or of replies.
    pub(super) pieces: Vec<Piece>,
    /// Slots of the batch that replies lie in.
    pub(super) filled: usize,
    /// Who was refused by which backend just now, under which configuration.
    pub(super) shunned: VecDeque<(Key, u64, BackendId)>,
    pub(super) calls: Calls,
    /// Whether nobody new is let in.
    pub(super) is_ending: bool,
}

/// What it says of the parties that something could not be sent.
pub(super) enum Fault {
    /// It is about the datagram.
    Datagram(Dropped),
    /// It is about the backend.
    Backend,
}

impl Fault {
    pub(super) fn of(error: &io::Error) -> Fault {
        match () {
            () if net::is_too_large(error) => Fault::Datagram(Dropped::TooLarge),
            () if error.kind() == io::ErrorKind::WouldBlock => Fault::Datagram(Dropped::Busy),
            () if net::is_shortage(error) => Fault::Datagram(Dropped::Busy),
            () => Fault::Backend,
        }
    }
}

impl World {
    pub(super) fn new(present: Rc<Shared>, limits: Limits, calls: Calls) -> io::Result<World> {
        Ok(World {
            present,
            limits,
            readiness: Readiness::new()?,
            batch: Batch::new(),
            entrances: Entrances::default(),
            flows: Slab::new(),
            places: HashMap::new(),
            evictions: Evictions::new(),
            outgoing: Vec::with_capacity(SLOTS),
            ways: Vec::with_capacity(SLOTS),
            pieces: Vec::with_capacity(SLOTS),
            filled: 0,
            shunned: VecDeque::new(),
            calls,
            is_ending: false,
        })
    }

    /// Readable when one of the sockets is.
    pub(super) fn readiness(&self) -> io::Result<OwnedFd> {
        self.readiness.another()
    }

    /// Another descriptor of each socket.
    pub(super) fn inlets(&self) -> io::Result<Vec<Inlet>> {
        self.entrances.iter().map(|(_, entrance)| Inlet::of(&entrance.way.socket)).collect()
    }

    /// Takes datagrams from this socket from now on.
    pub(super) fn watch(&mut self, listener: usize, inlet: Inlet) -> io::Result<()> {
        let address = inlet.local_addr()?;
        let (socket, drops) = inlet.into();
        let way = Rc::new(Way {
            socket,
            drops,
            address,
            is_leaving: Rc::new(Cell::new(self.is_ending)),
            listener: Cell::new(listener),
            counters: RefCell::new(Arc::clone(&self.present.stats.listeners[listener])),
        });
        let (recency, senders) = (Recency::default(), Senders::default());
        let entrance = Entrance { way: Rc::clone(&way), recency, senders };
        let key = self.entrances.add(entrance);
        self.readiness.add(&way.socket, key as u64 | IS_INLET)
    }

    /// Counts what the kernel has dropped since this was last called.
    pub(super) fn count_drops(&self) {
        for (_, Entrance { way, .. }) in self.entrances.iter() {
            way.counters.borrow().queue_drops.add(way.drops.more(&way.socket));
        }
    }

    /// Takes nothing more from a socket. It stays as long as it has sessions, which end when they owe nothing.
    fn shut(&mut self, key: usize) {
        let Some(entrance) = self.entrances.remove(key) else { return };
        self.readiness.remove(&entrance.way.socket);
        entrance.way.is_leaving.set(true);
    }

    /// Goes on under another configuration, where `listener_of` says whose an address is.
    pub(super) fn adopt(
        &mut self,
        present: Rc<Shared>,
        listener_of: impl Fn(SocketAddr) -> Option<usize>,
        sessions_max: usize,
    ) {
        let mut removed = Vec::new();
        for (key, Entrance { way, .. }) in self.entrances.iter() {
            let Some(listener) = listener_of(way.address) else {
                removed.push(key);
                continue;
            };
            way.listener.set(listener);
            let spec = &present.config.listeners[listener];
            if let Err(error) = Inlet::of(&way.socket).and_then(|inlet| inlet.adjust(&spec.socket)) {
                tracing::warn!(listener = %spec.name, %error, "the listener keeps its old options");
            }
            way.counters.replace(Arc::clone(&present.stats.listeners[listener]));
        }
        removed.into_iter().for_each(|key| self.shut(key));
        self.limits.sessions_max = sessions_max;
        self.present = present;
        self.forget_told();
    }

    /// Lets nobody new in.
    pub(super) fn stop(&mut self, is_replaced: bool) {
        self.is_ending = true;
        self.entrances.iter().for_each(|(_, entrance)| entrance.way.is_leaving.set(true));
        if is_replaced {
            let keys: Vec<usize> = self.entrances.iter().map(|(key, _)| key).collect();
            keys.into_iter().for_each(|key| self.shut(key));
        }
    }

    /// One look at all sockets: takes what some of them have, and sends it on. Says whether there was anything.
    pub(super) fn turn(&mut self, now: Duration) -> io::Result<bool> {
        let count = match self.readiness.look() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            count => count?,
        };
        for place in 0..count {
            match self.readiness.key(place) {
                key if key & IS_INLET != 0 => self.take_from_clients((key & !IS_INLET) as usize, now),
                key => self.take_from_backend(key as usize, now),
            }
        }
        self.send_replies();
        Ok(count > 0)
    }

    /// Takes a batch of what clients have sent to one socket.
    fn take_from_clients(&mut self, inlet: usize, now: Duration) {
        // A socket that was shut in this very turn.
        let Some(entrance) = self.entrances.get(inlet) else { return };
        let way = Rc::clone(&entrance.way);
        // The slots of replies are needed until these are sent.
        self.send_replies();
        let count = match self.batch.receive(&way.socket, 0, SLOTS) {
            Ok(count) => count,
            // Nothing there, or an error that is about one datagram that was sent. The socket goes on.
            Err(_) => return,
        };
        let spec = &self.present.config.listeners[way.listener.get()];
        let (udp, is_policed) = (spec.udp, spec.bandwidth.to_backend.is_some());
        let counters = Arc::clone(&way.counters.borrow());
        // Where datagrams are counted one by one, they go one by one.
        let goes_alone = udp.requests.is_some() || udp.responses == Some(0) || is_policed;
        let may_be_told = self.may_be_told(&way, inlet);
        self.pieces.clear();
        let mut waiting: Option<(Key, Train)> = None;
        for slot in 0..count {
            let received = self.batch.received(slot);
            let whole = Train::of(&received, self.pieces.len());
            counters.datagrams.from_clients.add(whole.datagrams as u64);
            if received.is_cut {
                counters.datagrams.drop(Dropped::TooLarge, 1);
                continue;
            }
            let Some(client) = received.from else { continue };
            if is_refused(client, received.to, &way, udp.source_ports) {
                counters.datagrams.drop(Dropped::Source, whole.datagrams as u64);
                continue;
            }
            let key = Key { inlet, client, local: received.to, told: None };
            let piece = Piece { slot, offset: 0, bytes: received.bytes };
            if goes_alone || may_be_told {
                for piece in train::apart(&[piece], received.segment.unwrap_or(received.bytes)) {
                    let found = if may_be_told { self.whose(&way, key, piece) } else { Ok((key, piece)) };
                    let (key, piece) = match found {
                        Ok(found) => found,
                        Err(why) => {
                            counters.datagrams.drop(why, 1);
                            continue;
                        }
                    };
                    let first = self.pieces.len();
                    self.pieces.push(piece);
                    self.pass_on(&way, key, Train::of_piece(&piece, first), now);
                }
                continue;
            }
            self.pieces.push(piece);
            let joins = waiting.as_mut().is_some_and(|(last, train)| *last == key && train.join(&whole));
            if !joins && let Some((key, train)) = waiting.replace((key, whole)) {
                self.pass_on(&way, key, train, now);
            }
        }
        if let Some((key, train)) = waiting {
            self.pass_on(&way, key, train, now);
        }
        self.pieces.clear();
    }

    /// Passes datagrams of one client on to the backend of its session, and opens one if there is none.
    fn pass_on(&mut self, way: &Rc<Way>, key: Key, train: Train, now: Duration) {
        let why = match self.session_for(way, key) {
            Ok(session) if !self.flows[session].may_ask(train.bytes, now) => Dropped::Bandwidth,
            Ok(session) => match self.send_to_backend(session, train, now) {
                Ok(()) => return,
                Err(error) => match Fault::of(&error) {
                    Fault::Datagram(why) => why,
                    // It is left at once, and the datagram goes to another.
                    Fault::Backend => {
                        self.refused(session);
                        let again = self.open(way, key);
                        let sent = again.map(|session| self.send_to_backend(session, train, now));
                        match sent {
                            Ok(Ok(())) => return,
                            Ok(Err(_)) => Dropped::Refused,
                            Err(why) => why,
                        }
                    }
                },
            },
            Err(why) => why,
        };
        way.counters.borrow().datagrams.drop(why, train.datagrams as u64);
    }

    fn send_to_backend(&mut self, session: usize, train: Train, now: Duration) -> io::Result<()> {
        let flow = &mut self.flows[session];
        let message = Outgoing {
            first: train.first,
            count: train.count,
            segment: train.segment(),
            to: None,
            from: None,
        };
        if flow.header.is_some() {
            send_told(&mut self.batch, flow, &self.pieces, &message)?;
        } else {
            match self.batch.send(&flow.backend, &self.pieces, &message) {
                Err(error) if message.segment.is_some() && net::is_no_train(&error) => {
                    send_apart(&mut self.batch, flow, &self.pieces, &message)?;
                }
                result => result?,
            }
        }
        flow.ask(train.datagrams, now);
        flow.asked(train.datagrams, train.bytes);
        let is_at_its_end =
            flow.udp.requests.is_some_and(|most| flow.pairing.requests() >= u64::from(most.get()));
        let (key, standing, is_complete) = (flow.key, flow.standing(), flow.pairing.is_complete());
        if let Some(entrance) = self.entrances.get_mut(key.inlet) {
            entrance.recency.touch(session, standing);
        }
        if is_complete {
            self.close(session, End::Complete);
        } else if is_at_its_end {
            self.unbind(session);
        }
        Ok(())
    }

    /// Takes what the backend of one session has sent.
    fn take_from_backend(&mut self, session: usize, now: Duration) {
        if SLOTS - self.filled < FROM_BACKEND {
            self.send_replies();
        }
        // One that has ended in this very turn. Another one at its place has nothing yet, which is no harm.
        let Some(flow) = self.flows.get_mut(session) else { return };
        let first = self.filled;
        let count = match self.batch.receive_connected(&flow.backend, first, flow.appetite.most()) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) if error.kind() == io::ErrorKind::Interrupted || net::is_shortage(&error) => return,
            // A router on the way has said so of a datagram that was sent. The next one goes in fragments.
            Err(error) if net::is_too_large(&error) => return,
            // The network has reported it of a datagram that was sent.
            Err(_) => return self.refused(session),
        };
        self.filled += count;
        flow.appetite.took(count, FROM_BACKEND);
        for slot in first..first + count {
            let received = self.batch.received(slot);
            if received.is_cut {
                flow.way.counters.borrow().datagrams.drop(Dropped::TooLarge, 1);
                continue;
            }
            let whole = Train::of(&received, self.pieces.len());
            flow.replied(whole.datagrams, now);
            let received = match flow.may_reply(&received, now) {
                Some(count) if count < whole.datagrams => {
                    let lost = (whole.datagrams - count) as u64;
                    flow.way.counters.borrow().datagrams.drop(Dropped::Bandwidth, lost);
                    if count == 0 {
                        continue;
                    }
                    // All but the last are of one size.
                    Received { bytes: count * received.segment.unwrap_or(received.bytes), ..received }
                }
                _ => received,
            };
            let train = Train::of(&received, self.pieces.len());
            flow.told(train.datagrams, train.bytes);
            self.pieces.push(Piece { slot, offset: 0, bytes: received.bytes });
            self.outgoing.push(Outgoing {
                first: train.first,
                count: 1,
                segment: train.segment(),
                to: Some(flow.key.client),
                from: flow.key.local,
            });
            self.ways.push(Rc::clone(&flow.way));
        }
        let (key, standing, is_complete) = (flow.key, flow.standing(), flow.pairing.is_complete());
        if let Some(entrance) = self.entrances.get_mut(key.inlet) {
            entrance.recency.touch(session, standing);
        }
        if is_complete {
            self.close(session, End::Complete);
        }
    }
}

/// Sends the parts of a train one by one, the first of a session or each with what tells the backend who the client is.
fn send_told(batch: &mut Batch, flow: &mut Flow, pieces: &[Piece], message: &Outgoing) -> io::Result<()> {
    let pieces = &pieces[message.first..message.first + message.count];
    // One that is no train may be of any size.
    let size = message.segment.unwrap_or_else(|| pieces.iter().map(|piece| piece.bytes).sum());
    let pieces = train::apart(pieces, size);
    for (place, piece) in pieces.iter().enumerate() {
        match &flow.header {
            Some(header) => batch.send_behind(&flow.backend, &header.bytes, piece)?,
            None => {
                let one = Outgoing { first: place, count: 1, segment: None, ..*message };
                batch.send(&flow.backend, &pieces, &one)?;
            }
        }
        // It has been told.
        flow.header.take_if(|header| header.before == ProxyDatagrams::First);
    }
    Ok(())
}

/// Sends the parts of a train one by one.
#[cold]
fn send_apart(batch: &mut Batch, flow: &Flow, pieces: &[Piece], message: &Outgoing) -> io::Result<()> {
    let size = message.segment.unwrap_or_default();
    let pieces = train::apart(&pieces[message.first..message.first + message.count], size);
    for place in 0..pieces.len() {
        let one = Outgoing { first: place, count: 1, segment: None, ..*message };
        batch.send(&flow.backend, &pieces, &one)?;
    }
    Ok(())
}

/// Whether a client has a port that the listener takes nothing from.
pub(super) fn is_too_low(client: SocketAddr, ports: SourcePorts) -> bool {
    client.port() < 1024 && ports == SourcePorts::Unprivileged
}

/// Whether nobody who sends from there is served. What seems to come from this very socket would go round for ever.
fn is_refused(client: SocketAddr, to: Option<IpAddr>, way: &Way, ports: SourcePorts) -> bool {
    let own = to.unwrap_or(way.address.ip());
    is_too_low(client, ports)
        || client.port() == 0
        || (client.port() == way.address.port() && client.ip() == own)
}
