//! Watch: what a worker's tick can see of each session, and the deadlines that it keeps.
//!
//! Sessions only count; the tick looks at the clock. A session whose count has not moved for too long is ended by
//! breaking its sockets: its operations then complete by themselves, and none is ever dropped in flight.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use slab::Slab;

use crate::config::{Address, Config, Listener};
use crate::end::End;
use crate::gate::{Progress, Trial};
use crate::net::{self, Socket};
use crate::relay::{Direction, Meter};
use crate::session_id::SessionId;
use crate::table::BackendId;

/// How long a client may take to read the farewell and close.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);

/// How many sessions one sweep looks at, at least.
const SWEEP_MIN: usize = 4096;

/// What a session is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Waits for the client's first bytes, which say where it wants to go; has a deadline of its own.
    Greeting,
    /// Chooses and connects; has a deadline of its own.
    Connecting,
    /// Waits for a backend that is not at its limit; has a deadline of its own.
    Queued,
    /// Carries bytes.
    Relaying,
    /// Has told the client that it is over and waits for it to close, since this moment.
    Farewell(Duration),
}

/// One session, seen from outside.
#[derive(Debug)]
pub struct Watch {
    /// Which session it is.
    pub id: SessionId,
    /// The listener that accepted it: an index into the configuration's listeners.
    listener: Cell<usize>,
    /// The port at which that was; 0 of a Unix socket, and until it is told.
    pub port: Cell<u16>,
    /// The pool that serves it: an index into the configuration's pools.
    pool: Cell<usize>,
    /// When it was accepted, on the worker's clock.
    pub accepted: Duration,
    /// From 0 to 1: where its lifetime lies between the shortest and the longest that the listener allows.
    drawn: f32,
    /// The client's connection; of a session over datagrams the socket by which many clients are spoken to.
    pub client: Socket,
    /// Who the client is, if a proxy before us told it.
    pub told_client: Cell<Option<Address>>,
    /// Of a session over datagrams: its client. Boxed: sessions over connections are many and have none.
    pub peer: Option<Box<Peer>>,
    /// The backend's connection, once there is one, connected or not.
    pub backend: RefCell<Option<Socket>>,
    /// What it is about.
    pub stage: Cell<Stage>,
    /// The backend that was picked for it last.
    pub served_by: Cell<Option<BackendId>>,
    /// The epoch of the table from which that was.
    pub picked_from: Cell<u64>,
    /// The trial of that backend which it is, if it is one.
    pub trial: RefCell<Option<Rc<Trial>>>,
    /// Since when the backend owes its first byte.
    pub owed: Cell<Option<Duration>>,
    /// Whether that took longer than the pool allows.
    pub is_late: Cell<bool>,
    /// What it has carried.
    pub meter: Rc<Meter>,
    /// What the record and the access log tell of it.
    pub marks: Cell<Marks>,
    seen: Cell<Seen>,
    verdict: Cell<Option<End>>,
}

/// The client of a session over datagrams, which has no connection that could be broken.
#[derive(Debug)]
pub struct Peer {
    /// Who.
    pub address: SocketAddr,
    /// What its session is told by when it is to end.
    pub calls: Calls,
    /// The number of its session there.
    pub key: usize,
    /// When the last datagram moved, on the worker's clock.
    pub moved: Cell<Duration>,
    /// Whether the backend owes a reply.
    pub is_owed: Cell<bool>,
    /// Whether it has sent a datagram after it had got a reply: its address is its own.
    pub is_proven: Cell<bool>,
    /// Whether nobody listens to it any more.
    pub is_leaving: Rc<Cell<bool>>,
}

/// Sessions over datagrams that are to end, by their numbers.
pub type Calls = Rc<RefCell<Vec<usize>>>;

impl Peer {
    /// A session that nobody listens to any more ends when no reply is owed and nothing has moved for as long as this.
    const LEAVE_SILENCE: Duration = Duration::from_millis(500);
    /// The same when one is owed: perhaps no reply was ever to come.
    const LEAVE_SILENCE_MAX: Duration = Duration::from_secs(10);

    fn due(&self, limits: &Listener, now: Duration) -> Option<End> {
        let silence = now.saturating_sub(self.moved.get());
        let patience = if self.is_owed.get() { Peer::LEAVE_SILENCE_MAX } else { Peer::LEAVE_SILENCE };
        if self.is_leaving.get() && silence >= patience {
            return Some(End::Complete);
        }
        limits.idle_timeout.is_some_and(|limit| silence >= limit).then_some(End::IdleTimeout)
    }
}

/// When what happened to a session. In microseconds, an hour at most: there are very many sessions.
#[derive(Debug, Clone, Copy, Default)]
pub struct Marks {
    /// From the accept to the last pick.
    pub picked_us: Option<u32>,
    /// From the pick to the connection.
    pub connect_us: Option<u32>,
    /// What the backend took for its first byte.
    pub first_byte_us: Option<u32>,
    /// Who waited for a place before it, when it last began to wait.
    pub behind: u32,
    /// Times that a backend was picked.
    pub picks: u16,
    /// Whether the last connect that failed got no answer in time.
    pub timed_out: bool,
}

impl Marks {
    /// With one more pick, this long after the accept: what was measured of the one before is gone.
    pub fn picked(self, after: Duration) -> Marks {
        let Marks { behind, picks, .. } = self;
        Marks { picked_us: Some(micros(after)), behind, picks: picks.saturating_add(1), ..Marks::default() }
    }
}

/// As marks have it.
pub fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

/// What the last sweep saw.
#[derive(Debug, Clone, Copy)]
struct Seen {
    progress: u64,
    /// When the progress was first seen to be this.
    since: Duration,
}

impl Watch {
    /// A session that begins now. `drawn` is its own random number from 0 to 1.
    pub fn new(
        id: SessionId,
        (listener, pool): (usize, usize),
        client: Socket,
        now: Duration,
        drawn: f32,
    ) -> Watch {
        Watch {
            id,
            listener: Cell::new(listener),
            port: Cell::new(0),
            pool: Cell::new(pool),
            accepted: now,
            drawn,
            client,
            told_client: Cell::new(None),
            peer: None,
            backend: RefCell::new(None),
            stage: Cell::new(Stage::Connecting),
            served_by: Cell::new(None),
            picked_from: Cell::new(0),
            trial: RefCell::new(None),
            owed: Cell::new(None),
            is_late: Cell::new(false),
            meter: Rc::default(),
            marks: Cell::default(),
            seen: Cell::new(Seen { progress: 0, since: now }),
            verdict: Cell::new(None),
        }
    }

    /// The same of a session over datagrams, whose client is this; its socket is the one by which that is spoken to.
    pub fn with_peer(self, peer: Peer) -> Watch {
        Watch { peer: Some(Box::new(peer)), ..self }
    }

    /// The listener that accepted it: an index into the configuration's listeners.
    pub fn listener(&self) -> usize {
        self.listener.get()
    }

    /// The pool that serves it: an index into the configuration's pools.
    pub fn pool(&self) -> usize {
        self.pool.get()
    }

    /// It is to be served by another pool than that of its listener.
    pub fn route_to(&self, pool: usize) {
        self.pool.set(pool);
    }

    /// It goes on under another configuration, where its listener and its pool have these places.
    pub fn move_to(&self, listener: usize, pool: usize) {
        self.listener.set(listener);
        self.pool.set(pool);
    }

    /// Ends the session: both peers see a reset. What its task meets then is a consequence; this is the reason.
    pub fn end(&self, reason: End) {
        if self.verdict.get().is_some() {
            return;
        }
        self.verdict.set(Some(reason));
        match &self.peer {
            Some(peer) => peer.calls.borrow_mut().push(peer.key),
            None => self.abort(),
        }
    }

    /// Since when no byte has moved, as far as the sweeps have seen.
    pub fn silent_since(&self) -> Duration {
        self.peer.as_ref().map_or(self.seen.get().since, |peer| peer.moved.get())
    }

    /// Why it was ended from outside, if it was.
    pub fn verdict(&self) -> Option<End> {
        self.verdict.get()
    }

    /// Breaks both connections. Where there are none, whoever has the session lets go of it.
    pub fn abort(&self) {
        if self.peer.is_some() {
            return;
        }
        net::abort(&self.client);
        if let Ok(backend) = self.backend.try_borrow()
            && let Some(backend) = &*backend
        {
            net::abort(backend);
        }
    }

    /// Looks at the session once: ends it if its time is up, tells it of a reset that nobody reads.
    fn look(&self, limits: &Listener, now: Duration) {
        if self.verdict.get().is_some() {
            return;
        }
        if let Some(reason) = self.due(limits, now) {
            self.end(reason);
        }
    }

    /// Whether the backend's first byte has just become late: true once.
    fn has_become_late(&self, config: &Config, now: Duration) -> bool {
        let pool = &config.pools[self.pool()];
        let is_late = match (self.owed.get(), pool.ejection.first_byte_timeout) {
            (Some(since), Some(limit)) => now - since >= limit,
            _ => false,
        };
        is_late && !self.is_late.replace(true)
    }

    /// Why the session has to end now, if it has to.
    fn due(&self, limits: &Listener, now: Duration) -> Option<End> {
        let lifetime_max = limits.lifetime_max.map(|limit| spread(limit, limits.lifetime_jitter, self.drawn));
        if lifetime_max.is_some_and(|limit| now - self.accepted >= limit) {
            return Some(End::LifetimeMax);
        }
        if let Some(peer) = &self.peer {
            return peer.due(limits, now);
        }
        match self.stage.get() {
            Stage::Connecting => {
                // Silence begins when bytes could move.
                self.seen.set(Seen { progress: 0, since: now });
                None
            }
            Stage::Greeting | Stage::Queued => {
                self.seen.set(Seen { progress: 0, since: now });
                net::is_reset(&self.client).then_some(End::ClientReset)
            }
            Stage::Farewell(since) => (now - since >= FAREWELL_TIMEOUT).then_some(End::NoBackend),
            Stage::Relaying => self.silence_due(limits, now),
        }
    }

    fn silence_due(&self, limits: &Listener, now: Duration) -> Option<End> {
        let seen = self.seen.get();
        let progress = self.meter.progress();
        if progress != seen.progress || self.meter.is_pausing() {
            self.seen.set(Seen { progress, since: now });
            return None;
        }
        if self.is_client_gone() {
            return Some(End::ClientReset);
        }
        self.pass_unread_resets_on();
        let silence = now - seen.since;
        if self.meter.is_half_closed() {
            limits.half_closed_timeout.is_some_and(|limit| silence >= limit).then_some(End::HalfClosedTimeout)
        } else {
            limits.idle_timeout.is_some_and(|limit| silence >= limit).then_some(End::IdleTimeout)
        }
    }

    /// Nobody reads from the client while its bytes wait for the backend: without this look its reset would be noticed
    /// only when the backend reads on.
    fn is_client_gone(&self) -> bool {
        let meter = &self.meter;
        meter.is_writing(Direction::ToBackend)
            && (meter.is_broken(Direction::ToBackend) || net::is_reset(&self.client))
    }

    /// Nobody reads from a side whose stream has ended. If it is reset then, note it and end the reading from the other side:
    /// the relay goes on to pass that end on, finds the note, and does what it does with every reset.
    fn pass_unread_resets_on(&self) {
        let backend = self.backend.borrow();
        let Some(backend) = &*backend else { return };
        if self.meter.has_ended(Direction::ToBackend) && net::is_reset(&self.client) {
            self.meter.note_broken(Direction::ToBackend);
            net::stop_reading(backend);
        }
        if self.meter.has_ended(Direction::ToClient) && net::is_reset(backend) {
            self.meter.note_broken(Direction::ToClient);
            net::stop_reading(&self.client);
        }
    }
}

/// A time that is so many percent longer or shorter at most, by a number drawn from 0 to 1: what began together does not
/// end together.
fn spread(time: Duration, percent: u8, drawn: f32) -> Duration {
    match percent {
        0 => time,
        _ => time.mul_f64(1.0 + f64::from(percent) / 100.0 * (2.0 * f64::from(drawn) - 1.0)),
    }
}

/// All sessions of one worker.
#[derive(Debug, Default)]
pub struct Watches {
    slots: RefCell<Slab<Rc<Watch>>>,
    /// Where the next sweep begins.
    next: Cell<usize>,
}

impl Watches {
    /// Takes a session in; the key is what [`Watches::remove`] wants.
    pub fn insert(&self, watch: Rc<Watch>) -> usize {
        self.slots.borrow_mut().insert(watch)
    }

    /// Lets a session go.
    pub fn remove(&self, key: usize) {
        self.slots.borrow_mut().remove(key);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.slots.borrow().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends those whose time is up. Looks at a part of them, so that a tick stays short with a million sessions; each
    /// gets its look within twenty calls.
    ///
    /// Calls `seen` with each that it looks at, and `late` with the backend of each session whose first byte has become late.
    pub fn sweep(&self, config: &Config, now: Duration, seen: impl Fn(&Watch), late: impl Fn(BackendId)) {
        let slots = self.slots.borrow();
        let count = SWEEP_MIN.max(slots.capacity() / 20);
        let first = if self.next.get() < slots.capacity() { self.next.get() } else { 0 };
        for index in first..(first + count).min(slots.capacity()) {
            let Some(watch) = slots.get(index) else { continue };
            watch.look(&config.listeners[watch.listener()], now);
            seen(watch);
            if watch.has_become_late(config, now)
                && let Some(backend) = watch.served_by.get()
            {
                if let Some(trial) = &*watch.trial.borrow() {
                    trial.tell(Progress::Failed);
                }
                late(backend);
            }
        }
        self.next.set(first + count);
    }

    /// Breaks every session's connections, as a last act: also when a panic came in the middle of something.
    pub fn abort_all(&self) {
        if let Ok(slots) = self.slots.try_borrow() {
            slots.iter().for_each(|(_, watch)| watch.abort());
        }
    }

    /// Breaks the connections that some sessions are making: their connects fail at once.
    pub fn stop_connecting(&self, which: impl Fn(&Watch) -> bool) {
        for (_, watch) in &*self.slots.borrow() {
            if watch.stage.get() == Stage::Connecting && which(watch) {
                watch.backend.borrow().iter().for_each(net::abort);
            }
        }
    }

    /// Ends every session for this reason.
    pub fn end_all(&self, reason: End) {
        self.end_those(reason, |_| true);
    }

    /// Looks at so many places at most, those that are empty too.
    pub fn visit(&self, places_max: usize, mut visit: impl FnMut(&Watch)) {
        let slots = self.slots.borrow();
        (0..slots.capacity().min(places_max))
            .filter_map(|place| slots.get(place))
            .for_each(|watch| visit(watch));
    }

    /// Ends one session for this reason, if it is there.
    pub fn end_one(&self, id: SessionId, reason: End) -> bool {
        let slots = self.slots.borrow();
        let found = slots.iter().find(|(_, watch)| watch.id == id);
        found.inspect(|(_, watch)| watch.end(reason)).is_some()
    }

    /// Ends some sessions for this reason.
    pub fn end_those(&self, reason: End, which: impl Fn(&Watch) -> bool) {
        for (_, watch) in &*self.slots.borrow() {
            if which(watch) {
                watch.end(reason);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_spread_evenly_within_their_percentage() {
        let limit = Duration::from_secs(100);
        assert_eq!(spread(limit, 0, 0.9), limit);
        let spread = |drawn| spread(limit, 10, drawn).as_secs_f64();
        assert!((spread(0.0) - 90.0).abs() < 1e-3);
        assert!((spread(0.5) - 100.0).abs() < 1e-3);
        assert!((spread(1.0) - 110.0).abs() < 1e-3);
        let mut dice = fastrand::Rng::with_seed(1);
        let drawn: Vec<f64> = (0..1_000).map(|_| spread(dice.f32())).collect();
        let below = drawn.iter().filter(|&&time| time < 100.0).count();
        assert!((400..600).contains(&below), "{below} of 1000 are shorter");
    }
}
