//! Multishot: the engine for small messages on a ring of its own. Nobody who waits holds a buffer, and no task wakes for a
//! message: a receive that goes on for ever hands its chunks to sends, right where completions are looked at.
//!
//! An [`Errand`] is one direction in this engine. Its task sleeps until there is something to decide: the first byte, the end of
//! the stream, a broken side, or a stream that has outgrown small chunks. Whenever it is told one of the last three, nothing
//! of the flow is under way and every byte that was received has been sent.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use slab::Slab;
use tokio::io::unix::AsyncFd;

use crate::buffers::{Arena, Chunk};
use crate::net::Socket;
use crate::ring::{self, Deeds, Event, Over, SecondRing};

use super::meter::{Direction, Meter};

/// Full chunks in a row after which a stream has outgrown this engine.
const FULL_MAX: u8 = 2;
/// Chunks that wait for the one that is being sent. With more, receiving stops until they are gone: the reader is slow.
const QUEUE_MAX: usize = 3;
/// Buffers that lie ready at first. Whenever they do not suffice there will be twice as many.
const SHELF_FIRST: usize = 64;
/// Flows for which there is room from the beginning, at most.
const FLOWS_AT_FIRST: usize = 1 << 16;
/// The kernel's own maximum for a shelf.
const SHELF_MAX: usize = 1 << 15;
/// Looks for work between two looks at the clock.
const LOOKS: usize = 16;
/// Turns in a row before the runtime's other tasks have theirs.
const TURNS_MAX: usize = 16;

/// One worker's engine. Clones share it.
#[derive(Clone)]
pub struct Multishot(Rc<Engine>);

struct Engine {
    ring: RefCell<SecondRing>,
    flows: RefCell<Slab<State>>,
    arena: Arena,
    /// How long to look for work before sleeping.
    busy_poll: Duration,
    /// Buffers to keep on the shelf.
    shelf: Cell<usize>,
    shelf_max: usize,
    /// Whoever runs the engine, while it sleeps.
    driver: RefCell<Option<Waker>>,
}

/// What the engine has to tell a flow's task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// The first byte has come (to the client), or has been sent (to the backend).
    FirstByte,
    /// The stream has come to its end.
    End,
    /// The source is broken.
    SourceBroken,
    /// The destination takes nothing more.
    DestinationBroken,
    /// Chunks come in full.
    Bulk,
    /// There is no buffer to receive into.
    NoBuffer,
}

/// One direction, seen from the engine.
struct State {
    from: Socket,
    to: Socket,
    meter: Rc<Meter>,
    direction: Direction,
    receiving: Receiving,
    is_sending: bool,
    /// Received and not sent yet, behind the one that is being sent.
    queue: VecDeque<Chunk>,
    /// Full chunks in a row.
    full: u8,
    /// Why nothing more is received or sent.
    verdict: Option<News>,
    /// Whether the first byte is still to be told of.
    wants_first: bool,
    first_has_come: bool,
    /// Its task, while it waits.
    task: Option<Waker>,
    /// Its task is gone: nobody wants to know any more.
    is_orphan: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Receiving {
    /// No receive is under way.
    No,
    /// One is, with this key.
    Yes(usize),
    /// One is, and has been asked to end.
    Stopping,
}

/// What an [`Errand`] carries, and how it begins.
pub(super) struct Course<'a> {
    pub(super) from: &'a Socket,
    pub(super) to: &'a Socket,
    pub(super) meter: &'a Rc<Meter>,
    pub(super) direction: Direction,
    /// Whether to tell of the first byte.
    pub(super) wants_first: bool,
}

impl Multishot {
    /// Makes the engine of the worker that this runs on, with room for so many operations at once. Its buffers are the
    /// arena's cells. Needs [`Multishot::run`] to be run.
    pub fn new(in_flight: usize, arena: &Arena, busy_poll: Duration) -> io::Result<Multishot> {
        // The other half is for what is on its way.
        let shelf_max = (arena.small_cells() / 2).min(SHELF_MAX);
        let ring = SecondRing::new(in_flight, shelf_max)?;
        Ok(Multishot(Rc::new(Engine {
            shelf: Cell::new(SHELF_FIRST.min(shelf_max)),
            shelf_max,
            ring: RefCell::new(ring),
            // Room for all at once costs no memory until it is used; growing would leave the old room behind.
            flows: RefCell::new(Slab::with_capacity(in_flight.min(FLOWS_AT_FIRST))),
            arena: arena.clone(),
            busy_poll,
            driver: RefCell::default(),
        })))
    }

    /// Runs the engine: to be spawned once. Never ends. Panics when the kernel refuses the ring: nobody's bytes would move.
    pub async fn run(self) {
        let refused = |error: io::Error| -> ! { panic!("the ring of the multishot engine fails: {error}") };
        let wakeups = self.0.ring.borrow().wakeups().unwrap_or_else(|error| refused(error));
        let has_work = || self.0.ring.borrow_mut().has_work();
        loop {
            for _ in 0..TURNS_MAX {
                if !self.0.busy_poll.is_zero() && !has_work() {
                    // What the last turn has woken comes first.
                    ring::let_others_run().await;
                    self.0.look_for_work();
                }
                poll_fn(|context| self.0.sleep(&wakeups, context)).await;
                self.0.turn().unwrap_or_else(|error| refused(error));
            }
            ring::let_others_run().await;
        }
    }

    /// Begins to carry one direction.
    pub(super) fn begin(&self, course: Course<'_>) -> Errand {
        let Course { from, to, meter, direction, wants_first } = course;
        let engine = &self.0;
        let (mut ring, mut flows) = (engine.ring.borrow_mut(), engine.flows.borrow_mut());
        let key = flows.insert(State {
            from: from.clone(),
            to: to.clone(),
            meter: Rc::clone(meter),
            direction,
            receiving: Receiving::No,
            is_sending: false,
            queue: VecDeque::new(),
            full: 0,
            verdict: None,
            wants_first,
            first_has_come: false,
            task: None,
            is_orphan: false,
        });
        flows[key].receive(&mut ring, key);
        engine.call();
        Errand { engine: Rc::clone(engine), key }
    }

    /// To be called at each tick: whoever sleeps although the kernel says that there is work looks again.
    pub fn look_again(&self) {
        if self.0.ring.borrow_mut().look_again() {
            self.0.call();
        }
    }

    /// Bytes that have gone through the engine, since the beginning.
    pub fn carried(&self) -> u64 {
        self.0.ring.borrow().sent()
    }

    /// What its ring has done.
    pub fn deeds(&self) -> Deeds {
        self.0.ring.borrow().deeds()
    }

    /// Gives the buffers on the shelf back, if nobody uses the engine any more.
    pub fn close(&self) {
        if self.0.flows.borrow().is_empty() {
            self.0.ring.borrow_mut().clear_shelf();
        }
    }
}

impl Engine {
    /// Makes the driver look: something has been queued.
    fn call(&self) {
        if let Some(driver) = self.driver.take() {
            driver.wake();
        }
    }

    /// Looks for work for a while: what comes then is not held up by waking this thread.
    fn look_for_work(&self) {
        let begun = Instant::now();
        while begun.elapsed() < self.busy_poll {
            for _ in 0..LOOKS {
                if self.ring.borrow_mut().has_work() {
                    return;
                }
                std::hint::spin_loop();
            }
        }
    }

    /// Until there is work; at once if there is.
    fn sleep(&self, wakeups: &AsyncFd<OwnedFd>, context: &mut Context<'_>) -> Poll<()> {
        if self.ring.borrow_mut().has_work() {
            return Poll::Ready(());
        }
        match wakeups.poll_read_ready(context) {
            // The edge has been heard. Only the kernel knows what it was for.
            Poll::Ready(ready) => {
                ready.into_iter().for_each(|mut guard| guard.clear_ready());
                Poll::Ready(())
            }
            Poll::Pending => {
                self.driver.replace(Some(context.waker().clone()));
                Poll::Pending
            }
        }
    }

    /// One batch: hands over what is queued, and acts on what is complete.
    fn turn(&self) -> io::Result<()> {
        let (mut ring, mut flows) = (self.ring.borrow_mut(), self.flows.borrow_mut());
        let mut ran_out = false;
        ring.fill_shelf(self.shelf.get(), || self.arena.take_cell());
        ring.enter()?;
        while let Some(event) = ring.next_event() {
            let (Event::Received { tag, .. } | Event::Over { tag, .. } | Event::Sent { tag, .. }) = event;
            let state = &mut flows[tag];
            match event {
                Event::Received { chunk, goes_on, .. } => state.received(&mut ring, tag, chunk, goes_on),
                Event::Over { why, .. } => {
                    ran_out |= why == Over::NoBuffer;
                    state.over(&mut ring, tag, why, self.arena.has_cell());
                }
                Event::Sent { chunk, result, .. } => state.sent(&mut ring, tag, chunk, result.ok()),
            }
            if state.is_at_rest() && state.is_orphan {
                flows.remove(tag);
            }
        }
        if ran_out {
            self.shelf.set((self.shelf.get() * 2).min(self.shelf_max));
        }
        Ok(())
    }
}

impl State {
    fn receive(&mut self, ring: &mut SecondRing, tag: usize) {
        debug_assert_eq!(self.receiving, Receiving::No);
        self.receiving = Receiving::Yes(ring.receive(&self.from, tag));
    }

    fn stop(&mut self, ring: &mut SecondRing) {
        if let Receiving::Yes(key) = self.receiving {
            ring.stop(key);
            self.receiving = Receiving::Stopping;
        }
    }

    fn received(&mut self, ring: &mut SecondRing, tag: usize, chunk: Chunk, goes_on: bool) {
        if !goes_on {
            self.receiving = Receiving::No;
        }
        if self.verdict == Some(News::DestinationBroken) {
            // Nobody takes it any more.
            return self.settle(ring, tag);
        }
        if self.direction == Direction::ToClient {
            self.tell_first();
        }
        self.full = if chunk.is_full() { self.full.saturating_add(1) } else { 0 };
        if self.full >= FULL_MAX {
            self.verdict = Some(News::Bulk);
        }
        if self.is_sending {
            self.queue.push_back(chunk);
        } else {
            self.forward(ring, tag, chunk);
        }
        if self.verdict.is_some() || self.queue.len() >= QUEUE_MAX {
            self.stop(ring);
        }
        self.settle(ring, tag);
    }

    /// The receive is over. If that was for want of a buffer and there are cells, the shelf is filled before the kernel looks
    /// again.
    fn over(&mut self, ring: &mut SecondRing, tag: usize, why: Over, has_cells: bool) {
        self.receiving = Receiving::No;
        match why {
            Over::End => self.conclude(News::End),
            Over::Broken => {
                // The kernel has told it, and will not tell it again: the tick cannot see it any more. It ends a session whose
                // client has gone while its bytes wait for the backend.
                self.meter.note_broken(self.direction);
                self.conclude(News::SourceBroken);
            }
            Over::NoBuffer if !has_cells => self.conclude(News::NoBuffer),
            Over::NoBuffer | Over::Stopped => {}
        }
        self.settle(ring, tag);
    }

    /// Sends a chunk, and those behind it. Whatever the socket takes at once needs no operation: that is nearly everything,
    /// and a call costs less than an entry and its completion. What it does not take waits on the ring.
    fn forward(&mut self, ring: &mut SecondRing, tag: usize, mut chunk: Chunk) {
        loop {
            // An error comes again from the ring, where it is dealt with.
            if let Ok(count) = ring.send_now(&self.to, &mut chunk) {
                self.has_gone(count);
            }
            if chunk.remaining() > 0 {
                self.is_sending = true;
                self.meter.set_writing(self.direction, true);
                return ring.send(&self.to, chunk, tag);
            }
            match self.queue.pop_front() {
                Some(next) => chunk = next,
                None => break,
            }
        }
        self.is_sending = false;
        self.meter.set_writing(self.direction, false);
    }

    fn sent(&mut self, ring: &mut SecondRing, tag: usize, chunk: Chunk, count: Option<usize>) {
        self.is_sending = false;
        let Some(count) = count else {
            self.queue.clear();
            self.verdict = Some(News::DestinationBroken);
            self.stop(ring);
            return self.settle(ring, tag);
        };
        self.has_gone(count);
        let next = if chunk.remaining() > 0 { Some(chunk) } else { self.queue.pop_front() };
        match next {
            Some(next) => self.forward(ring, tag, next),
            None => self.meter.set_writing(self.direction, false),
        }
        self.settle(ring, tag);
    }

    fn has_gone(&mut self, count: usize) {
        self.meter.carried(self.direction, count);
        if self.direction == Direction::ToBackend {
            self.tell_first();
        }
    }

    /// What comes first is the reason.
    fn conclude(&mut self, news: News) {
        match self.verdict {
            // That the stream ended or broke matters more than how it would have gone on.
            None | Some(News::Bulk | News::NoBuffer) => self.verdict = Some(news),
            Some(_) => {}
        }
    }

    /// Nothing is under way.
    fn is_at_rest(&self) -> bool {
        self.receiving == Receiving::No && !self.is_sending && self.queue.is_empty()
    }

    /// If nothing is under way: tells the task what was decided, or goes on receiving.
    fn settle(&mut self, ring: &mut SecondRing, tag: usize) {
        if !self.is_at_rest() {
            return;
        }
        if self.verdict.is_some() {
            self.wake();
        } else if !self.is_orphan {
            self.receive(ring, tag);
        }
    }

    fn tell_first(&mut self) {
        if self.wants_first && !self.first_has_come {
            self.first_has_come = true;
            self.wake();
        }
    }

    fn wake(&mut self) {
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }

    fn news(&mut self) -> Option<News> {
        if self.wants_first && self.first_has_come {
            self.wants_first = false;
            return Some(News::FirstByte);
        }
        self.verdict.filter(|_| self.is_at_rest())
    }
}

/// One direction in the engine, held by its task.
pub(super) struct Errand {
    engine: Rc<Engine>,
    key: usize,
}

impl Errand {
    /// The next thing that the task should know. All but the first byte are the last one.
    pub(super) async fn news(&mut self) -> News {
        poll_fn(|context| {
            let state = &mut self.engine.flows.borrow_mut()[self.key];
            match state.news() {
                Some(news) => Poll::Ready(news),
                None => {
                    state.task = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

impl Drop for Errand {
    /// At rest it goes at once. Otherwise the session was given up: whoever did that breaks its sockets, and what is under
    /// way completes.
    fn drop(&mut self) {
        let Ok(mut flows) = self.engine.flows.try_borrow_mut() else { return };
        let state = &mut flows[self.key];
        if state.is_at_rest() {
            flows.remove(self.key);
        } else {
            state.is_orphan = true;
            if let Ok(mut ring) = self.engine.ring.try_borrow_mut() {
                state.stop(&mut ring);
                self.engine.call();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffers::Layout;
    use crate::net::{self, testing::connected};
    use socket2::SockRef;
    use std::io::Write;

    #[test]
    fn a_reset_is_noted_for_the_tick_while_bytes_wait_and_all_cells_come_back() {
        let runtime = ring::runtime(64).unwrap();
        runtime.block_on(async {
            let layout = Layout { cells: 32, cell_size: 4096, large_cells: 0, large_cell_size: 0 };
            let arena = Arena::plain(layout);
            let multishot = Multishot::new(64, &arena, Duration::ZERO).unwrap();
            tokio_uring::spawn(multishot.clone().run());
            let ((from, mut client), (to, _backend)) = (connected(), connected());
            // What the kernel holds of unread bytes is little: soon a chunk waits.
            SockRef::from(&to).set_send_buffer_size(4608).unwrap();
            let meter = Rc::new(Meter::default());
            let direction = Direction::ToBackend;
            let course = Course { from: &from, to: &to, meter: &meter, direction, wants_first: true };
            let mut errand = multishot.begin(course);
            let deadline = Instant::now() + Duration::from_secs(20);
            while !meter.is_writing(direction) {
                assert!(Instant::now() < deadline, "nothing ever waits");
                client.write_all(&[7; 1024]).unwrap();
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            assert_eq!(errand.news().await, News::FirstByte);
            SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
            drop(client);
            while !meter.is_broken(direction) {
                assert!(Instant::now() < deadline, "the reset was not noted");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            net::abort(&to);
            let news = tokio::time::timeout(Duration::from_secs(20), errand.news()).await.unwrap();
            assert!(matches!(news, News::SourceBroken | News::DestinationBroken), "{news:?}");
            drop(errand);
            multishot.close();
            assert_eq!(arena.free(), arena.cells());
        });
    }
}
