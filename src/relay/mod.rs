//! The relay: carries bytes both ways between two sockets until both streams have ended or one side broke.
//!
//! It knows nothing of backends, pools or limits. Two copies of one function, each the only reader of its one socket
//! and the only writer of the other. What it promises:
//!
//! - A slow reader stops the reading, memory stays bounded: who carries in cells or pipes writes every byte before reading the
//!   next, and the multishot engine stops when three chunks wait.
//! - The end of a stream is passed on after its last byte; the other direction lives on.
//! - A reset on one side becomes a reset on the other, and a transfer that was cut never looks whole. Bytes that were
//!   read before the reset are delivered first; only a client that resets while its backend does not read gives up
//!   what the backend has not taken (the tick ends such a session at once).
//! - No operation is dropped in flight. Who wants the relay to end breaks the sockets, and it ends by itself.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use crate::buffers::{Arena, Chunk};
use crate::net::{self, Socket};
use crate::pipes::{Pipe, Pipes};
use crate::ring;

use multishot::{Course, News};
use stage::{Flow, Stage, Step};

mod carried;
mod meter;
mod multishot;
mod pace;
mod paced;
mod stage;

pub use carried::Carried;
pub use meter::{Direction, Meter, Side};
pub use multishot::Multishot;
pub use pace::{Pace, Paces};

/// How much one direction may splice before the others have their turn.
const TURN_BYTES: usize = 1024 * 1024;

/// How a relay ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Both streams came to their end and every byte was passed on.
    Complete,
    /// This side broke; the other has been reset.
    Broken(Side),
}

/// What the relays of one worker carry bytes with.
pub struct Supplies {
    /// Buffers.
    pub arena: Arena,
    /// Pipes to splice through.
    pub pipes: Pipes,
    /// What carries small messages, unless that is reads and writes on the runtime's ring.
    pub multishot: Option<Multishot>,
    /// Counts the worker's ticks: the only clock that is looked at for each chunk.
    pub ticks: Cell<u32>,
    /// What they have carried.
    pub carried: Carried,
}

/// Carries bytes both ways until it is over. Calls `first` once for each direction: when the first byte has been
/// written to the backend, and when the first byte has come from the backend. With `paces`, no faster than they say.
pub async fn run(
    client: &Socket,
    backend: &Socket,
    supplies: &Supplies,
    meter: &Rc<Meter>,
    paces: Option<Box<Paces>>,
    first: impl Fn(Direction),
) -> Outcome {
    let broken = Cell::new(None);
    let relay = Relay { client, backend, supplies, meter, paces, broken, first };
    let way = |direction| Way { relay: &relay, direction, is_first: Cell::new(true) };
    tokio::join!(way(Direction::ToBackend).run(), way(Direction::ToClient).run());
    let Some(side) = relay.broken.get() else {
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

/// What both directions share.
struct Relay<'a, F> {
    client: &'a Socket,
    backend: &'a Socket,
    supplies: &'a Supplies,
    meter: &'a Rc<Meter>,
    /// Boxed, because few have any.
    paces: Option<Box<Paces>>,
    /// The side that broke first. What the other direction meets after that is a consequence, not news.
    broken: Cell<Option<Side>>,
    /// Told of the first byte each way.
    first: F,
}

/// One direction of a relay.
struct Way<'a, F> {
    relay: &'a Relay<'a, F>,
    direction: Direction,
    /// Whether its first byte is still to come.
    is_first: Cell<bool>,
}

/// What follows when a stage has done its part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// The stage that the flow names now.
    Stage,
    /// The stream has come to its end, and every byte of it was passed on.
    End,
}

impl<F: Fn(Direction)> Way<'_, F> {
    async fn run(self) {
        let result = self.copy().await.and_then(|()| self.pass_the_end_on());
        self.relay.meter.set_writing(self.direction, false);
        self.relay.meter.end(self.direction);
        let Err(side) = result else {
            return;
        };
        if self.relay.broken.get().is_none() {
            self.relay.broken.set(Some(side));
        }
        if side == self.source_side() {
            // The other direction waits for bytes that nobody can take any more: let its read complete. When the
            // destination broke there is nothing to do: the other direction reads from it, takes what came before the
            // reset, delivers it, and then meets the reset itself.
            net::stop_reading(self.destination());
        }
    }

    /// Carries every byte up to the end of the stream, by the stage that suits what the stream does. Fails with the side
    /// that broke. From one stage to the next nothing is under way: what was read has been written.
    async fn copy(&self) -> Result<(), Side> {
        if let Some(pace) = self.relay.paces.as_ref().and_then(|paces| paces[self.direction as usize]) {
            return Box::pin(self.copy_paced(pace)).await;
        }
        let mut flow = Flow::default();
        loop {
            // Boxed where few sessions ever come: room for it in every session would be most of what an idle one takes.
            let next = match (flow.stage(), &self.relay.supplies.multishot) {
                (Stage::Parked | Stage::Small, Some(multishot)) => {
                    self.carry_by_multishot(multishot, &mut flow).await?
                }
                (Stage::Spliced, _) => Box::pin(self.splice_while_it_pays(&mut flow)).await?,
                _ => Box::pin(self.carry_in_cells(&mut flow)).await?,
            };
            if next == Next::End {
                return self.judge_the_end();
            }
        }
    }

    /// Leaves small messages to the engine, for as long as they are small.
    async fn carry_by_multishot(&self, multishot: &Multishot, flow: &mut Flow) -> Result<Next, Side> {
        let mut errand = multishot.begin(Course {
            from: self.source(),
            to: self.destination(),
            meter: self.relay.meter,
            direction: self.direction,
            wants_first: self.is_first.get(),
        });
        loop {
            match errand.news().await {
                News::FirstByte => {
                    self.is_first.set(false);
                    (self.relay.first)(self.direction);
                }
                News::End => return Ok(Next::End),
                News::SourceBroken => return Err(self.source_side()),
                News::DestinationBroken => return Err(self.give_up_destination()),
                // Without a cell a large one may be left, and the heap always is.
                News::Bulk | News::NoBuffer => {
                    flow.turn_to_large_cells();
                    return Ok(Next::Stage);
                }
            }
        }
    }

    /// Reads and writes, one buffer at a time, until another stage suits the stream better.
    async fn carry_in_cells(&self, flow: &mut Flow) -> Result<Next, Side> {
        loop {
            let Some(step) = self.carry(flow.stage()).await? else { return Ok(Next::End) };
            flow.saw(step);
            match flow.stage() {
                Stage::Parked | Stage::Small if self.relay.supplies.multishot.is_some() => {
                    return Ok(Next::Stage);
                }
                Stage::Spliced => return Ok(Next::Stage),
                Stage::Parked | Stage::Small | Stage::Large => {}
            }
        }
    }

    /// Reads once and writes all of it. `None` is the end of the stream.
    async fn carry(&self, stage: Stage) -> Result<Option<Step>, Side> {
        let supplies = self.relay.supplies;
        let (arena, carried, begun) = (&supplies.arena, &supplies.carried, supplies.ticks.get());
        let to_wait_with = match stage {
            Stage::Parked => {
                carried.parked.set(carried.parked.get() + 1);
                None
            }
            Stage::Small => arena.take_to_wait(),
            Stage::Large | Stage::Spliced => arena.take_large_to_wait(),
        };
        let buffer = match to_wait_with {
            Some(buffer) => buffer,
            None => {
                self.source_readable().await?;
                if stage == Stage::Large { arena.take_large() } else { arena.take() }
            }
        };
        let room = buffer.size();
        let by = if buffer.is_large() { &carried.large } else { &carried.small };
        let Some(chunk) = ring::read(self.source(), buffer).await.map_err(|_| self.source_side())? else {
            return Ok(None);
        };
        let (count, ticks) = (chunk.remaining(), supplies.ticks.get().wrapping_sub(begun));
        self.has_come();
        self.pass_on(chunk, by).await?;
        Ok(Some(Step { count, room, ticks }))
    }

    /// Writes all of a chunk.
    async fn pass_on(&self, mut chunk: Chunk, by: &Cell<u64>) -> Result<(), Side> {
        self.relay.meter.set_writing(self.direction, true);
        while chunk.remaining() > 0 {
            let before = chunk.remaining();
            chunk = ring::write(self.destination(), chunk).await.map_err(|_| self.give_up_destination())?;
            self.has_gone(before - chunk.remaining(), by);
        }
        self.relay.meter.set_writing(self.direction, false);
        Ok(())
    }

    /// Moves what comes through a pipe until the stream has turned into small messages.
    async fn splice_while_it_pays(&self, flow: &mut Flow) -> Result<Next, Side> {
        net::set_nonblocking(self.source()).map_err(|_| self.source_side())?;
        net::set_nonblocking(self.destination()).map_err(|_| self.destination_side())?;
        let mut unpaused = 0;
        loop {
            let Some(pipe) = self.relay.supplies.pipes.take() else {
                flow.turn_to_large_cells();
                return Ok(Next::Stage);
            };
            let Some(step) = self.splice(pipe).await? else { return Ok(Next::End) };
            flow.saw(step);
            if flow.stage() != Stage::Spliced {
                return Ok(Next::Stage);
            }
            // A stream whose two sides are always ready never waits: the other sessions want their turn too.
            unpaused += step.count;
            if unpaused >= TURN_BYTES {
                unpaused = 0;
                ring::let_others_run().await;
            }
        }
    }

    /// Fills the empty pipe once and empties it again.
    async fn splice(&self, mut pipe: Pipe) -> Result<Option<Step>, Side> {
        let supplies = self.relay.supplies;
        let begun = supplies.ticks.get();
        let mut filled = pipe.fill(self.source());
        if would_block(&filled) {
            // Silence holds nothing, and may last: whoever has bytes meanwhile can have the pipe.
            drop(pipe);
            self.source_readable().await?;
            pipe = match supplies.pipes.take() {
                Some(pipe) => pipe,
                None => return self.carry(Stage::Large).await,
            };
            filled = pipe.fill(self.source());
        }
        if matches!(filled, Ok(0)) || would_block(&filled) {
            // Nothing, although it is readable: the end of the stream, or an urgent byte, which cannot be spliced. The kernel's
            // answer is the same for both when the end has come behind such a byte; a read tells them apart.
            drop(pipe);
            return self.carry(Stage::Small).await;
        }
        let (count, room) = (filled.map_err(|_| self.source_side())?, pipe.size());
        self.has_come();
        self.empty(pipe).await?;
        let ticks = supplies.ticks.get().wrapping_sub(begun);
        Ok(Some(Step { count, room, ticks }))
    }

    /// Moves all that is in the pipe to the destination.
    async fn empty(&self, mut pipe: Pipe) -> Result<(), Side> {
        self.relay.meter.set_writing(self.direction, true);
        while pipe.content() > 0 {
            match pipe.drain(self.destination()) {
                Ok(count) => self.has_gone(count, &self.relay.supplies.carried.spliced),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ring::writable(self.destination()).await.map_err(|_| self.give_up_destination())?;
                }
                Err(_) => return Err(self.give_up_destination()),
            }
        }
        self.relay.meter.set_writing(self.direction, false);
        Ok(())
    }

    async fn source_readable(&self) -> Result<(), Side> {
        ring::readable(self.source()).await.map_err(|_| self.source_side())
    }

    /// Bytes have come. From the backend the first one counts now, however slowly the client takes it.
    fn has_come(&self) {
        if self.direction == Direction::ToClient && self.is_first.replace(false) {
            (self.relay.first)(self.direction);
        }
    }

    /// Bytes have been written, and are counted by the way they went.
    fn has_gone(&self, count: usize, by: &Cell<u64>) {
        self.relay.meter.carried(self.direction, count);
        by.set(by.get() + count as u64);
        if self.direction == Direction::ToBackend && self.is_first.replace(false) {
            (self.relay.first)(self.direction);
        }
    }

    /// A read returned nothing: the stream came to its end, or it was reset and the other direction's write has taken
    /// the error (the kernel tells it once). As long as the other direction has not ended we have sent no FIN to the
    /// source, so only a reset can have closed its connection altogether.
    fn judge_the_end(&self) -> Result<(), Side> {
        if !self.relay.meter.is_half_closed() && net::is_over(self.source()) {
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
        if self.relay.broken.get().is_some() {
            // The read was ended because the other side broke: this is no end of a stream, and must not look like one.
            return Ok(());
        }
        let meter = &self.relay.meter;
        if meter.is_broken(self.direction.opposite()) {
            // The other stream had ended, and then its source was reset: the tick has seen it and ended this reading.
            return Err(self.destination_side());
        }
        if meter.is_half_closed() {
            // The other direction has ended: the session closes both sides in a moment, and that passes this end on, too.
            return Ok(());
        }
        net::finish_writing(self.destination()).map_err(|_| self.destination_side())
    }

    fn source(&self) -> &Socket {
        match self.direction {
            Direction::ToBackend => self.relay.client,
            Direction::ToClient => self.relay.backend,
        }
    }

    fn destination(&self) -> &Socket {
        match self.direction {
            Direction::ToBackend => self.relay.backend,
            Direction::ToClient => self.relay.client,
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

fn would_block(result: &io::Result<usize>) -> bool {
    matches!(result, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
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
