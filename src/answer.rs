//! Answer: when a backend came to owe its first byte, and when the byte came.
//!
//! Time is read once at each of these moments, and nowhere between them.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::config::Signal;
use crate::load::Lease;
use crate::relay::{Direction, Outcome, Side};
use crate::watch::{Marks, Watch, micros};

/// Whether the backends of a pool speak first, as its last sessions showed.
///
/// One session proves nothing: a server that waits for requests may close a silent connection with a word (HTTP's 408).
#[derive(Debug, Default)]
pub struct SpeaksFirst(Cell<u8>);

impl SpeaksFirst {
    /// Sessions in a row after which it is believed.
    const ENOUGH: u8 = 3;

    fn is_so(&self) -> bool {
        self.0.get() >= SpeaksFirst::ENOUGH
    }

    fn saw(&self, backend_was_first: bool) {
        self.0.set(if backend_was_first { (self.0.get() + 1).min(SpeaksFirst::ENOUGH) } else { 0 });
    }
}

/// What one session measures while its bytes are carried.
pub struct Answer<'a> {
    /// The backend's lease: it counts and notes.
    pub lease: &'a Lease,
    /// What the tick sees of the session.
    pub watch: &'a Watch,
    /// What moments are told from.
    pub begun: Instant,
    /// When the backend was picked. What the client had to wait before that, for a place or for backends that failed, is not
    /// this one's doing.
    pub picked: Duration,
    /// When the client's first byte had been passed on.
    pub asked: Cell<Option<Duration>>,
    /// Whether the backend has sent a byte.
    pub has_come: Cell<bool>,
    /// Whether the pool's backends speak first.
    pub speaks_first: &'a SpeaksFirst,
}

impl Answer<'_> {
    /// Bytes can go from now on. Where backends speak first, this one owes its first byte already.
    pub fn begin(&self, tick: Duration) {
        if self.speaks_first.is_so() {
            self.owe(self.picked, tick);
        }
    }

    /// The first byte has gone this way. `tick` is the time of the worker's clock.
    pub fn first_byte(&self, direction: Direction, tick: Duration) {
        let now = self.begun.elapsed();
        match direction {
            Direction::ToBackend if !self.has_come.get() => {
                self.speaks_first.saw(false);
                self.asked.set(Some(now));
                self.owe(now, tick);
            }
            Direction::ToBackend => {}
            Direction::ToClient => {
                let asked = self.asked.get();
                let was_owed = asked.is_some() || self.speaks_first.is_so();
                self.speaks_first.saw(asked.is_none());
                self.has_come.set(true);
                self.watch.owed.set(None);
                if was_owed {
                    let took = now - asked.unwrap_or(self.picked);
                    self.lease.measured(Signal::FirstByte, took);
                    let marks = Marks { first_byte_us: Some(micros(took)), ..self.watch.marks.get() };
                    self.watch.marks.set(marks);
                }
                self.tell_served();
            }
        }
    }

    fn owe(&self, since: Duration, tick: Duration) {
        self.lease.expect(Signal::FirstByte, since);
        self.watch.owed.set(Some(tick));
    }

    /// The relay is over. A backend that broke the connection before its first byte has failed.
    pub fn end(&self, outcome: Outcome) {
        match outcome {
            Outcome::Complete if self.has_served() => {
                self.lease.measured(Signal::Session, self.begun.elapsed() - self.picked);
                self.tell_served();
            }
            Outcome::Broken(Side::Backend) if !self.has_come.get() && !self.watch.is_late.get() => {
                self.lease.unanswered();
            }
            _ => {}
        }
    }

    /// A session whose first byte came too late has failed, whatever came of it afterwards.
    fn tell_served(&self) {
        if !self.watch.is_late.get() {
            self.lease.served();
        }
    }

    /// A backend that ended its stream before the client's and without a byte has served nobody: how fast it did that
    /// is no measure of it.
    fn has_served(&self) -> bool {
        self.has_come.get() || self.watch.meter.ended_first() == Some(Direction::ToBackend)
    }
}
