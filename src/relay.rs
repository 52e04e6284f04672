//! The relay: carries bytes both ways between two sockets until both streams have ended or one side broke.
//!
//! It knows nothing of backends, pools or limits. Two copies of one function, each the only reader of its one socket
//! and the only writer of the other. What it promises:
//!
//! - Every byte read is written before the next is read: a slow reader stops the reading, memory stays bounded.
//! - The end of a stream is passed on after its last byte; the other direction lives on.
//! - A reset on one side becomes a reset on the other, and a transfer that was cut never looks whole. Bytes that were
//!   read before the reset are delivered first; only a client that resets while its backend does not read gives up
//!   what the backend has not taken (the tick ends such a session at once).
//! - No operation is dropped in flight. Who wants the relay to end breaks the sockets, and it ends by itself.

use std::cell::Cell;
use std::time::Duration;

use crate::buffers::Arena;
use crate::net::{self, Socket};
use crate::ring;

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

/// How a relay ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Both streams came to their end and every byte was passed on.
    Complete,
    /// This side broke; the other has been reset.
    Broken(Side),
}

/// What can be seen of a relay while it runs. Counts only: time is for those who look.
#[derive(Debug, Default)]
pub struct Meter {
    bytes: [Cell<u64>; 2],
    writing: [Cell<bool>; 2],
    ended: [Cell<bool>; 2],
    /// The direction that ended before the other.
    ended_first: Cell<Option<Direction>>,
}

impl Meter {
    /// Bytes that were written so far.
    pub fn bytes(&self, direction: Direction) -> u64 {
        self.bytes[direction as usize].get()
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

    fn end(&self, direction: Direction) {
        self.ended[direction as usize].set(true);
        if self.ended_first.get().is_none() {
            self.ended_first.set(Some(direction));
        }
    }

    /// True exactly while a write is submitted: the reader of that direction is slow, or gone.
    pub fn is_writing(&self, direction: Direction) -> bool {
        self.writing[direction as usize].get()
    }

    fn carried(&self, direction: Direction, count: usize) {
        let bytes = &self.bytes[direction as usize];
        bytes.set(bytes.get() + count as u64);
    }
}

/// Carries bytes both ways until it is over. Calls `first` once for each direction: when the first byte has been
/// written to the backend, and when the first byte has come from the backend.
pub async fn run(
    client: &Socket,
    backend: &Socket,
    arena: &Arena,
    meter: &Meter,
    first: impl Fn(Direction),
) -> Outcome {
    let broken = Cell::new(None);
    let first = &first;
    let way = |direction| Way { client, backend, arena, meter, broken: &broken, direction, first };
    tokio::join!(way(Direction::ToBackend).run(), way(Direction::ToClient).run());
    let Some(side) = broken.get() else {
        return Outcome::Complete;
    };
    let survivor = match side {
        Side::Client => backend,
        Side::Backend => client,
    };
    deliver(survivor).await;
    // Both: the one that broke may live on in part, and closing it would show its peer a clean end.
    net::abort(survivor);
    net::abort(if side == Side::Client { client } else { backend });
    Outcome::Broken(side)
}

/// One direction of a relay.
struct Way<'a, F> {
    client: &'a Socket,
    backend: &'a Socket,
    arena: &'a Arena,
    meter: &'a Meter,
    /// The side that broke first. What the other direction meets after that is a consequence, not news.
    broken: &'a Cell<Option<Side>>,
    direction: Direction,
    /// Told of the first byte.
    first: &'a F,
}

impl<F: Fn(Direction)> Way<'_, F> {
    async fn run(self) {
        let result = self.copy().await.and_then(|()| self.pass_the_end_on());
        self.set_writing(false);
        self.meter.end(self.direction);
        let Err(side) = result else {
            return;
        };
        if self.broken.get().is_none() {
            self.broken.set(Some(side));
        }
        if side == self.source_side() {
            // The other direction waits for bytes that nobody can take any more: let its read complete. When the
            // destination broke there is nothing to do: the other direction reads from it, takes what came before the
            // reset, delivers it, and then meets the reset itself.
            net::stop_reading(self.destination());
        }
    }

    /// Carries every byte up to the end of the stream. Fails with the side that broke.
    async fn copy(&self) -> Result<(), Side> {
        let (from, to) = (self.source(), self.destination());
        let mut is_first = true;
        loop {
            let buffer = match self.arena.take_to_wait() {
                Some(buffer) => buffer,
                None => {
                    ring::readable(from).await.map_err(|_| self.source_side())?;
                    self.arena.take()
                }
            };
            let Some(mut chunk) = ring::read(from, buffer).await.map_err(|_| self.source_side())? else {
                return self.judge_the_end();
            };
            // From the backend it counts when it has come, however slowly the client takes it.
            if is_first && self.direction == Direction::ToClient {
                (self.first)(self.direction);
            }
            self.set_writing(true);
            while chunk.remaining() > 0 {
                let before = chunk.remaining();
                chunk = ring::write(to, chunk).await.map_err(|_| self.give_up_destination())?;
                self.meter.carried(self.direction, before - chunk.remaining());
            }
            self.set_writing(false);
            if is_first && self.direction == Direction::ToBackend {
                (self.first)(self.direction);
            }
            is_first = false;
        }
    }

    /// A read returned nothing: the stream came to its end, or it was reset and the other direction's write has taken
    /// the error (the kernel tells it once). As long as the other direction has not ended we have sent no FIN to the
    /// source, so only a reset can have closed its connection altogether.
    fn judge_the_end(&self) -> Result<(), Side> {
        if !self.meter.is_half_closed() && net::is_over(self.source()) {
            return Err(self.source_side());
        }
        Ok(())
    }

    /// Nothing more can be written. That can be for want of memory, with the connection alive: break it, so that the
    /// other direction, which reads from it, ends too.
    fn give_up_destination(&self) -> Side {
        if !net::is_over(self.destination()) {
            net::abort(self.destination());
        }
        self.destination_side()
    }

    fn pass_the_end_on(&self) -> Result<(), Side> {
        if self.broken.get().is_some() {
            // The read was ended because the other side broke: this is no end of a stream, and must not look like one.
            return Ok(());
        }
        net::finish_writing(self.destination()).map_err(|_| self.destination_side())
    }

    fn set_writing(&self, now: bool) {
        self.meter.writing[self.direction as usize].set(now);
    }

    fn source(&self) -> &Socket {
        match self.direction {
            Direction::ToBackend => self.client,
            Direction::ToClient => self.backend,
        }
    }

    fn destination(&self) -> &Socket {
        match self.direction {
            Direction::ToBackend => self.backend,
            Direction::ToClient => self.client,
        }
    }

    fn source_side(&self) -> Side {
        match self.direction {
            Direction::ToBackend => Side::Client,
            Direction::ToClient => Side::Backend,
        }
    }

    fn destination_side(&self) -> Side {
        match self.direction {
            Direction::ToBackend => Side::Backend,
            Direction::ToClient => Side::Client,
        }
    }
}

/// Waits until the peer's kernel has taken everything that was written, so that a reset does not destroy it on the way.
///
/// There is no event for this; asking is cheap, and happens only when the other side was reset.
async fn deliver(socket: &Socket) {
    /// A peer that takes nothing for this long loses what it did not take.
    const PATIENCE: Duration = Duration::from_secs(30);
    const PAUSE_MAX: Duration = Duration::from_millis(50);
    let (mut pause, mut waited) = (Duration::from_millis(1), Duration::ZERO);
    while waited < PATIENCE
        && !net::is_over(socket)
        && net::unacknowledged(socket).is_ok_and(|bytes| bytes > 0)
    {
        tokio::time::sleep(pause).await;
        waited += pause;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}
