//! One session, from the accepted connection to its end. Read [`run`] first.

mod proxy;
mod source;

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::access::Pass;
use crate::account;
use crate::answer::Answer;
use crate::arrivals::{Arrival, Arrivals};
use crate::balance::Tried;
use crate::buffers::Chunk;
use crate::config::{self, Address, NoBackend, Otherwise, Signal, Tls, UnixName};
use crate::decision::{Candidate, Decision, Number, Outcome as PickOutcome};
use crate::end::End;
use crate::entries::Entries;
use crate::load::Lease;
use crate::net::{self, Socket};
use crate::peek::{Peeked, peek};
use crate::pool::{Nobody, Request};
use crate::relay::{self, Direction, Outcome, Pace, Paces, Side};
use crate::ring;
use crate::routing::{self, Heard, Hello, Malformed, RECORD_HEADERS_MAX, Reading};
use crate::shadow;
use crate::shared::{Core, Shared};
use crate::watch::{Marks, Peer, Stage, Watch, micros};

pub use source::Origin;

/// A session that has been let in. Counts it, and by drop counts how it ended, whichever way its task goes.
pub struct Admitted {
    /// What is of the configuration under which it goes on: the one under which it was accepted, or a later one if it had no
    /// backend yet when that came.
    shared: RefCell<Rc<Shared>>,
    watch: Rc<Watch>,
    key: Cell<usize>,
    /// Who the client is: the address that it came from, or the one that a proxy before us tells.
    client: Cell<Address>,
    /// What else a proxy before us told of it, until a backend knows it.
    told: RefCell<Option<Box<proxy::Told>>>,
    /// When, since the process began to serve.
    accepted: Duration,
    /// The last pick, if it is one of those that are written down, and when it was.
    note: Cell<Option<(Number, Duration)>>,
    /// What it said of where it wants to go, if its listener asks for that.
    hello: OnceCell<Box<Hello>>,
    /// What the shadows of the pool chose for it, from its first pick to its end.
    shadows: OnceCell<shadow::Lease>,
    /// What counts it where its listener has limits.
    pass: RefCell<Pass>,
    end: Option<End>,
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
    fn catch_up(&self, tried: &mut Tried) {
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
    fn pick(&self, tried: &Tried) -> Result<(Lease, Address), Nobody> {
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
    fn log(&self, entries: &Entries, end: End) {
        let entry =
            account::entry(&self.watch, self.client.get(), self.accepted, self.shared().core.elapsed(), end);
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
        let (counters, meter) = (&shared.stats.listeners[self.watch.listener()], &self.watch.meter);
        counters.bytes_to_backend.add(meter.bytes(Direction::ToBackend));
        counters.bytes_to_client.add(meter.bytes(Direction::ToClient));
        counters.ends[end as usize].add(1);
        counters.active.subtract(1);
        shared.stats.core.active.subtract(1);
        shared.watches.remove(self.key.get());
        shared.core.freed.notify_one();
    }
}

/// Serves one client: choose a backend and connect, carry bytes, say how it ended.
pub async fn run(mut session: Admitted) {
    let met = match reach_backend(&session).await {
        Ok(connected) => serve(&session, &connected).await,
        Err(end) => {
            let shared = session.shared();
            Box::pin(say_farewell(&shared, &session.watch, end)).await;
            end
        }
    };
    // What the tick decided comes first: what the session met then is its consequence. The verdict on a client that
    // did not take its farewell is not one on the session.
    let watch = &session.watch;
    let farewell = matches!(watch.stage.get(), Stage::Farewell(_));
    let end = if farewell { met } else { watch.verdict().unwrap_or(met) };
    tracing::debug!(
        session = %watch.id,
        client = %session.client.get(),
        listener = %session.shared().listener(watch).name,
        backend = watch.served_by.get().map(|id| id.index()),
        end = end.name(),
        bytes_to_backend = watch.meter.bytes(Direction::ToBackend),
        bytes_to_client = watch.meter.bytes(Direction::ToClient),
        duration_us = (session.shared().core.elapsed() - session.accepted).as_micros() as u64,
        "session ended"
    );
    session.end = Some(end);
}

/// From the accepted connection to a connected backend.
async fn reach_backend(session: &Admitted) -> Result<Connected, End> {
    greet(session).await?;
    choose_and_connect(session).await
}

/// Hears what the client says before a backend can be chosen, where it has to say something.
///
/// Boxed where it waits: what few listeners ask for must not make every session larger.
async fn greet(session: &Admitted) -> Result<(), End> {
    proxy::hear(session).await?;
    let shared = session.shared();
    if !shared.routes[session.watch.listener()].is_empty() {
        Box::pin(hear_hello(session, &shared)).await?;
    }
    Ok(())
}

/// Waits for the client's TLS hello, leaves it where it is, and chooses the pool by it.
async fn hear_hello(session: &Admitted, shared: &Shared) -> Result<(), End> {
    let (watch, listener) = (&*session.watch, session.watch.listener());
    let Tls { hello_timeout, hello_bytes_max, unmatched, no_hello } = shared.config.listeners[listener].tls;
    watch.stage.set(Stage::Greeting);
    let read = |bytes: &[u8]| match routing::read(bytes, hello_bytes_max) {
        Reading::More => None,
        reading => Some(reading),
    };
    // The record that holds it is longer than the message by its header.
    let peeked = peek(&watch.client, hello_bytes_max + RECORD_HEADERS_MAX, hello_timeout, read).await;
    if let Some(verdict) = watch.verdict() {
        return Err(verdict);
    }
    if net::is_reset(&watch.client) {
        return Err(End::ClientReset);
    }
    let heard = match peeked {
        Ok(Peeked::Decided(Reading::Hello(hello))) => {
            let pool = shared.routes[listener].choose(&hello);
            let _ = session.hello.set(Box::new(hello));
            watch.route_to(pool.unwrap_or(watch.pool()));
            if pool.is_some() { Heard::Matched } else { Heard::Unmatched }
        }
        Ok(Peeked::Decided(Reading::Malformed(Malformed::TooLong)) | Peeked::TooLong) => Heard::TooLong,
        Ok(Peeked::Decided(Reading::NotTls)) => Heard::NotTls,
        Ok(Peeked::Decided(_)) => Heard::Malformed,
        Ok(Peeked::Late) => Heard::Late,
        Ok(Peeked::Ended) | Err(_) => Heard::Ended,
    };
    shared.stats.listeners[listener].heard[heard as usize].add(1);
    let otherwise = match heard {
        Heard::Matched => Otherwise::Pool,
        Heard::Unmatched => unmatched,
        _ => no_hello,
    };
    match otherwise {
        // Its bytes are all still there, and go to whoever serves it.
        Otherwise::Pool => {
            watch.stage.set(Stage::Connecting);
            Ok(())
        }
        Otherwise::Reset => Err(End::Unrouted),
    }
}

/// A backend that has been picked and connected to.
struct Connected {
    backend: Socket,
    lease: Lease,
    /// When it was picked.
    picked: Duration,
}

/// Tries one backend after the other, at once and none twice, until one connects or attempts or time are used up.
///
/// No byte of the client has been read yet: what it sends meanwhile waits in its socket and goes to whoever connects.
async fn choose_and_connect(session: &Admitted) -> Result<Connected, End> {
    let (core, watch) = (Rc::clone(&session.shared().core), &*session.watch);
    // On the worker's clock, which does not count time in which the process did not run.
    let mut begun = core.now.get();
    let mut tried = Tried::default();
    let mut failure = End::NoBackend;
    loop {
        session.catch_up(&mut tried);
        let shared = &*session.shared();
        let pool = shared.pool(watch);
        let attempts_max = pool.connect_attempts.map_or(usize::MAX, |attempts| attempts.get() as usize);
        let left = pool.connect_total_timeout.saturating_sub(core.now.get() - begun);
        if tried.len() >= attempts_max || left.is_zero() {
            break;
        }
        let picked = match session.pick(&tried) {
            Err(Nobody::Left) => break,
            Err(Nobody::Full) => {
                let joined = core.now.get();
                // Boxed, like the farewell: what few sessions do must not make every one larger.
                let waited = Box::pin(wait_for_a_place(session, &mut tried)).await?;
                // Time in the queue is not time of connecting.
                begun += core.now.get() - joined;
                match waited {
                    Waited::Called(picked) => Some(picked),
                    Waited::Nobody => None,
                    Waited::Moved => continue,
                }
            }
            Ok(picked) => Some(picked),
        };
        // It may have waited for its place through a reload.
        let shared = &*session.shared();
        let pool = shared.pool(watch);
        let Some((lease, address)) = picked else { break };
        watch.served_by.set(Some(lease.backend()));
        watch.trial.replace(lease.trial());
        let attempt = shared.core.elapsed();
        lease.expect(Signal::Session, attempt);
        lease.expect(Signal::Connect, attempt);
        watch.marks.set(watch.marks.get().picked(attempt - session.accepted));
        let limit = pool.connect_timeout.min(left);
        let origin = source::Origin::new(session, shared, pool, &lease);
        let connected = source::connect(watch, address, pool, origin, limit).await;
        let error = match connected.and_then(|socket| proxy::tell(session, &socket).map(|()| socket)) {
            Ok(socket) => {
                let took = shared.core.elapsed() - attempt;
                lease.measured(Signal::Connect, took);
                watch.marks.set(Marks { connect_us: Some(micros(took)), ..watch.marks.get() });
                shared.core.connect_times.borrow_mut().saturating_record(took.as_micros() as u64);
                return Ok(Connected { backend: socket, lease, picked: attempt });
            }
            Err(error) => error,
        };
        session.conclude(PickOutcome::ConnectFailed);
        watch.trial.take();
        if let Some(verdict) = watch.verdict() {
            return Err(verdict);
        }
        tracing::debug!(backend = %address, %error, "connect failed");
        let timed_out = error.kind() == io::ErrorKind::TimedOut;
        watch.marks.set(Marks { timed_out, ..watch.marks.get() });
        failure = End::ConnectFailed;
        match blame(&error, limit < pool.connect_timeout) {
            Blame::Backend => lease.failed(),
            // That was the end of the time for all. The worker's clock may not have got there yet.
            Blame::Clock => break,
            Blame::Route => failure = End::NoResources,
            Blame::Process => {
                failure = End::NoResources;
                drop(lease);
                wait_for_resources(&shared.core).await;
                if let Some(verdict) = watch.verdict() {
                    return Err(verdict);
                }
                // Nobody has been tried.
                continue;
            }
        }
        tried.add(lease.backend());
    }
    Err(failure)
}

/// What came of waiting.
enum Waited {
    /// There was a place at a backend.
    Called((Lease, Address)),
    /// There is nobody left to wait for.
    Nobody,
    /// A reload has given the listener another pool.
    Moved,
}

/// Waits in the pool's queue until a backend that is not at its limit can be picked.
async fn wait_for_a_place(session: &Admitted, tried: &mut Tried) -> Result<Waited, End> {
    /// A place can also come by a change of the table, of which nobody tells the queue: the first looks now and then.
    const LOOK: Duration = Duration::from_millis(50);
    let (core, watch) = (Rc::clone(&session.shared().core), &*session.watch);
    let queue = Arc::clone(session.shared().queue(watch));
    watch.marks.set(Marks { behind: queue.len(), ..watch.marks.get() });
    let queue_max = session.shared().pool(watch).queue_max;
    let Some(waiting) = queue.join(queue_max) else {
        return Err(End::QueueFull);
    };
    watch.stage.set(Stage::Queued);
    let joined = core.now.get();
    // A place that came free before this one joined was told to nobody.
    let mut looks = waiting.is_first();
    loop {
        if let Some(verdict) = watch.verdict() {
            return Err(verdict);
        }
        session.catch_up(tried);
        if !Arc::ptr_eq(&queue, session.shared().queue(watch)) {
            watch.stage.set(Stage::Connecting);
            return Ok(Waited::Moved);
        }
        if looks {
            match session.pick_now(tried) {
                Err(Nobody::Full) => {
                    // Of no use to this one, because it has tried whoever has room; perhaps to the next.
                    if !tried.is_empty() {
                        waiting.call_next();
                    }
                }
                picked => {
                    watch.stage.set(Stage::Connecting);
                    // There may be more room than for one.
                    waiting.call_next();
                    return Ok(picked.map_or(Waited::Nobody, Waited::Called));
                }
            }
        }
        if core.now.get() - joined >= session.shared().pool(watch).queue_timeout {
            return Err(End::QueueTimeout);
        }
        // Nothing is in flight here: a call that the timer overtakes is kept and heard next time.
        let is_called = tokio::time::timeout(LOOK, waiting.called()).await.is_ok();
        looks = is_called || waiting.is_first();
    }
}

/// Carries bytes, and measures how the backend answers.
async fn serve(session: &Admitted, connected: &Connected) -> End {
    let Connected { backend, lease, picked } = connected;
    let (shared, watch) = (&*session.shared(), &session.watch);
    watch.stage.set(Stage::Relaying);
    let answer = Answer {
        lease,
        watch,
        begun: shared.core.begun,
        picked: *picked,
        asked: Cell::new(None),
        has_come: Cell::new(false),
        speaks_first: &shared.speaks_first[watch.pool()],
    };
    answer.begin(shared.core.now.get());
    let first_byte = |direction| answer.first_byte(direction, shared.core.now.get());
    let paces = paces(&shared.listener(watch).bandwidth);
    let supplies = &shared.core.supplies;
    let outcome = relay::run(&watch.client, backend, supplies, &watch.meter, paces, first_byte).await;
    // A session that was ended from outside tells nothing of its backend.
    if watch.verdict().is_none() {
        answer.end(outcome);
    }
    match outcome {
        Outcome::Complete => End::Complete,
        Outcome::Broken(Side::Client) => End::ClientReset,
        Outcome::Broken(Side::Backend) => End::BackendReset,
    }
}

/// How fast the relay may be, if there is a limit.
fn paces(bandwidth: &config::Bandwidth) -> Option<Box<Paces>> {
    let pace = |pace: config::Pace| Pace { rate: pace.rate, burst: pace.burst };
    let paces: Paces = [bandwidth.to_backend.map(pace), bandwidth.to_client.map(pace)];
    paces.iter().any(Option::is_some).then(|| Box::new(paces))
}

/// Whose fault a failed connect is.
enum Blame {
    /// The backend's: it counts against it.
    Backend,
    /// It had less than its time: the session has used up the rest elsewhere.
    Clock,
    /// No local port is left towards this backend: the next one may do.
    Route,
    /// This process or machine is short of descriptors or memory: no other backend would do better now.
    Process,
}

fn blame(error: &io::Error, was_cut_short: bool) -> Blame {
    if net::is_out_of_ports(error) {
        Blame::Route
    } else if net::is_shortage(error) {
        Blame::Process
    } else if was_cut_short && error.kind() == io::ErrorKind::TimedOut {
        Blame::Clock
    } else {
        Blame::Backend
    }
}

/// Lets some time pass. Meanwhile the worker lets nobody in, so that what is freed goes to those who are in.
async fn wait_for_resources(core: &Core) {
    const PAUSE: Duration = Duration::from_millis(20);
    let waiting = &core.short_of_resources;
    waiting.set(waiting.get() + 1);
    tokio::time::sleep(PAUSE).await;
    waiting.set(waiting.get() - 1);
}

/// Connects from there, or from where the kernel likes; fails when `limit` is over.
async fn connect(
    watch: &Watch,
    address: Address,
    pool: &config::Pool,
    source: Option<IpAddr>,
    limit: Duration,
) -> io::Result<Socket> {
    /// What completed while the process did not run is told a moment after the timer.
    const GRACE: Duration = Duration::from_millis(5);
    let socket = net::prepare_stream(address, pool.tcp, &pool.socket)?;
    if !address.is_unix() {
        net::set_source(&socket, source, &pool.source)?;
    }
    // From here on the tick can end it.
    watch.backend.replace(Some(socket.clone()));
    {
        let mut operation = pin!(connected(watch, &socket, address, pool.socket.mptcp));
        let mut result = tokio::time::timeout(limit, operation.as_mut()).await;
        if result.is_err() {
            result = tokio::time::timeout(GRACE, operation.as_mut()).await;
        }
        match result {
            Ok(result) => result?,
            Err(_) => {
                net::stop_connecting(&socket);
                // It completes at once. Even if it connected in that very moment, it has been shut down.
                if !address.is_unix() && !pool.socket.mptcp {
                    let _ = operation.await;
                }
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }
    if let Address::Ip(ip) = address
        && ip.ip().is_loopback()
        && net::is_connected_to_itself(&socket, ip)
    {
        net::abort(&socket);
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(socket)
}

/// Until it is connected. Only what leads to an IP address by plain TCP is an operation on the ring, and ends by
/// [`net::stop_connecting`]; the rest may be left at any moment.
async fn connected(watch: &Watch, socket: &Socket, address: Address, mptcp: bool) -> io::Result<()> {
    match address {
        Address::Ip(address) if mptcp => Box::pin(connected_by_mptcp(socket, address)).await,
        Address::Ip(address) => ring::connect(socket, address).await,
        // Boxed: it must not make every session larger.
        Address::Unix(name) => Box::pin(connected_here(watch, socket, name)).await,
    }
}

/// Not on the ring: of MPTCP a connect there that is stopped begins anew, because the kernel leaves no error that would tell it.
async fn connected_by_mptcp(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    if net::connect_now(socket, address)? {
        return Ok(());
    }
    ring::writable(socket).await?;
    net::finish_connecting(socket)
}

async fn connected_here(watch: &Watch, socket: &Socket, name: UnixName) -> io::Result<()> {
    /// From one try to the next while the queue of who listens there is full. The kernel tells nobody of room.
    const PAUSE: Duration = Duration::from_millis(2);
    loop {
        match net::connect_unix_now(socket, name) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && watch.verdict().is_none() => {
                tokio::time::sleep(PAUSE).await;
            }
            result => return result,
        }
    }
}

/// Tells a client that nobody could be reached, in the way that its listener says.
async fn say_farewell(shared: &Shared, watch: &Watch, end: End) {
    if watch.verdict().is_some() {
        return;
    }
    if matches!(end, End::Unrouted | End::ClientReset) {
        return net::abort(&watch.client);
    }
    let text = match &shared.listener(watch).no_backend {
        NoBackend::Reset => return net::abort(&watch.client),
        NoBackend::Close => "",
        NoBackend::Message(text) => text,
    };
    watch.stage.set(Stage::Farewell(shared.core.now.get()));
    // A failure here is the client's own leaving.
    let _ = write_and_close(shared, &watch.client, text).await;
}

async fn write_and_close(shared: &Shared, client: &Socket, text: &str) -> io::Result<()> {
    let mut chunk = Chunk::of(text.as_bytes());
    while chunk.remaining() > 0 {
        chunk = ring::write(client, chunk).await?;
    }
    net::finish_writing(client)?;
    // Closing a socket that holds unread bytes sends a reset, which can destroy the text on its way. So take what the
    // client sends until it closes; the tick ends it if that takes too long.
    loop {
        ring::readable(client).await?;
        if ring::read(client, shared.core.supplies.arena.take()).await?.is_none() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generation::Generation;
    use crate::shared::testing;
    use crate::table::BackendId;
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::OwnedFd;
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
