//! Meter: what can be seen of a relay while it runs.

use std::cell::Cell;

/// One of the two ends that a session joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Who connected to us.
    Client,
    /// Where we connected.
    Backend,
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client.
    ToBackend,
    /// From the backend.
    ToClient,
}

impl Direction {
    /// The other way.
    pub fn opposite(self) -> Direction {
        match self {
            Direction::ToBackend => Direction::ToClient,
            Direction::ToClient => Direction::ToBackend,
        }
    }
}

/// Counts only: time is for those who look.
#[derive(Debug, Default)]
pub struct Meter {
    bytes: [Cell<u64>; 2],
    /// Those of them that are in the sums already.
    summed: [Cell<u64>; 2],
    writing: [Cell<bool>; 2],
    pausing: [Cell<bool>; 2],
    ended: [Cell<bool>; 2],
    /// Whose source broke, seen before its reader could meet it.
    broken: [Cell<bool>; 2],
    /// The direction that ended before the other.
    ended_first: Cell<Option<Direction>>,
}

impl Meter {
    /// Bytes that were written so far.
    pub fn bytes(&self, direction: Direction) -> u64 {
        self.bytes[direction as usize].get()
    }

    /// Those since this was last asked, for a sum.
    pub fn more_bytes(&self, direction: Direction) -> u64 {
        let now = self.bytes(direction);
        now - self.summed[direction as usize].replace(now)
    }

    /// A number that changes whenever anything moves: a byte either way, or the end of a stream.
    pub fn progress(&self) -> u64 {
        let bytes = self.bytes(Direction::ToBackend).wrapping_add(self.bytes(Direction::ToClient));
        let ended = self.ended.iter().filter(|ended| ended.get()).count();
        bytes.wrapping_add(ended as u64)
    }

    /// Whether this direction has come to its end: nobody reads from its source any more.
    pub fn has_ended(&self, direction: Direction) -> bool {
        self.ended[direction as usize].get()
    }

    /// Whether one of the directions has come to its end.
    pub fn is_half_closed(&self) -> bool {
        self.ended.iter().any(Cell::get)
    }

    /// Which side's stream ended before the other's.
    pub fn ended_first(&self) -> Option<Direction> {
        self.ended_first.get()
    }

    pub(super) fn end(&self, direction: Direction) {
        self.ended[direction as usize].set(true);
        if self.ended_first.get().is_none() {
            self.ended_first.set(Some(direction));
        }
    }

    /// True exactly while a write is under way: the reader of that direction is slow, or gone.
    pub fn is_writing(&self, direction: Direction) -> bool {
        self.writing[direction as usize].get()
    }

    /// Whether the source of this direction is known to be broken, although bytes of it still wait for the other side, or
    /// although nobody reads from it any more.
    pub fn is_broken(&self, direction: Direction) -> bool {
        self.broken[direction as usize].get()
    }

    /// Says so.
    pub fn note_broken(&self, direction: Direction) {
        self.broken[direction as usize].set(true);
    }

    /// Whether bytes have come that may not go yet, because of a pace: that is no silence.
    pub fn is_pausing(&self) -> bool {
        self.pausing.iter().any(Cell::get)
    }

    pub(super) fn set_pausing(&self, direction: Direction, now: bool) {
        self.pausing[direction as usize].set(now);
    }

    pub(super) fn set_writing(&self, direction: Direction, now: bool) {
        self.writing[direction as usize].set(now);
    }

    /// Bytes were written.
    pub fn carried(&self, direction: Direction, count: usize) {
        let bytes = &self.bytes[direction as usize];
        bytes.set(bytes.get() + count as u64);
    }
}
