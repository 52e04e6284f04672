//! Paced: one direction that may only be so fast.
//!
//! It goes by the same stages, but always waits with a poll, which holds nothing, then for its time, with nothing under way,
//! and only then reads, no more than may go. So what it may not carry yet stays in the kernel, whose window holds the sender
//! back. The multishot engine has no part in it: that one receives what comes, however much it is.

use std::time::{Duration, Instant};

use super::pace::{Bucket, Pace};
use super::stage::{Flow, Stage, Step};
use super::{Direction, Side, Way, would_block};
use crate::net;
use crate::ring;

impl<F: Fn(Direction)> Way<'_, F> {
    /// Carries every byte up to the end of the stream, as fast as it may. Fails with the side that broke.
    pub(super) async fn copy_paced(&self, pace: Pace) -> Result<(), Side> {
        let (begun, mut bucket, mut flow) = (Instant::now(), Bucket::new(pace), Flow::default());
        let mut can_splice = false;
        loop {
            self.source_readable().await?;
            let allowed = self.await_allowance(&mut bucket, begun).await;
            if flow.stage() == Stage::Spliced && !can_splice {
                net::set_nonblocking(self.source()).map_err(|_| self.source_side())?;
                net::set_nonblocking(self.destination()).map_err(|_| self.destination_side())?;
                can_splice = true;
            }
            let step = match flow.stage() {
                Stage::Spliced => self.splice_at_most(allowed, &mut flow).await?,
                stage => self.carry_at_most(allowed, stage).await?,
            };
            let Some(step) = step else { return self.judge_the_end() };
            bucket.spend(step.count);
            flow.saw(step);
        }
    }

    /// Nothing is in flight meanwhile. Who ends the session breaks its sockets, which the next read meets.
    async fn await_allowance(&self, bucket: &mut Bucket, begun: Instant) -> usize {
        loop {
            match bucket.allowance(begun.elapsed()) {
                Ok(bytes) => return bytes,
                Err(wait) => self.pause(wait).await,
            }
        }
    }

    async fn pause(&self, time: Duration) {
        let meter = self.relay.meter;
        meter.set_pausing(self.direction, true);
        tokio::time::sleep(time).await;
        meter.set_pausing(self.direction, false);
    }

    /// Reads once, no more than this, and writes all of it. `None` is the end of the stream.
    async fn carry_at_most(&self, allowed: usize, stage: Stage) -> Result<Option<Step>, Side> {
        let supplies = self.relay.supplies;
        let arena = &supplies.arena;
        let buffer = if stage == Stage::Large { arena.take_large() } else { arena.take() };
        // What the flow is to see is how much there was, against what a cell holds.
        let room = buffer.size();
        let by = if buffer.is_large() { &supplies.carried.large } else { &supplies.carried.small };
        let chunk = ring::read_at_most(self.source(), buffer, allowed).await;
        let Some(chunk) = chunk.map_err(|_| self.source_side())? else { return Ok(None) };
        let count = chunk.remaining();
        self.has_come();
        self.pass_on(chunk, by).await?;
        Ok(Some(Step { count, room, ticks: 0 }))
    }

    /// Moves no more than this through a pipe, if there is one.
    async fn splice_at_most(&self, allowed: usize, flow: &mut Flow) -> Result<Option<Step>, Side> {
        let Some(mut pipe) = self.relay.supplies.pipes.take() else {
            flow.turn_to_large_cells();
            return self.carry_at_most(allowed, Stage::Large).await;
        };
        let filled = pipe.fill_at_most(self.source(), allowed);
        if matches!(filled, Ok(0)) || would_block(&filled) {
            // The end of the stream or an urgent byte: a read tells them apart.
            drop(pipe);
            return self.carry_at_most(allowed, Stage::Small).await;
        }
        let count = filled.map_err(|_| self.source_side())?;
        let room = pipe.size();
        self.has_come();
        self.empty(pipe).await?;
        Ok(Some(Step { count, room, ticks: 0 }))
    }
}
