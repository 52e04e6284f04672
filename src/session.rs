//! One session, from the accepted connection to its end. Read [`run`] first.

mod admitted;
mod connect;
mod farewell;
mod proxy;
mod source;

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::answer::Answer;
use crate::balance::Tried;
use crate::config::{self, Address, Otherwise, Signal, Tls};
use crate::decision::Outcome as PickOutcome;
use crate::end::End;
use crate::load::Lease;
use crate::net::{self, Socket};
use crate::peek::{Peeked, peek};
use crate::pool::Nobody;
use crate::relay::{self, Direction, Outcome, Pace, Paces, Side};
use crate::routing::{self, Heard, Malformed, RECORD_HEADERS_MAX, Reading};
use crate::shared::Shared;
use crate::watch::{Marks, Stage, micros};

pub use admitted::Admitted;
use connect::{Blame, blame, wait_for_resources};
use farewell::say_farewell;
pub use source::Origin;

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
        duration_us = (session.shared().core.elapsed() - session.accepted()).as_micros() as u64,
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
        watch.marks.set(watch.marks.get().picked(attempt - session.accepted()));
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
