//! Stage: how one direction of a relay carries bytes, decided by what its stream does. Pure.
//!
//! Each stage is the cheapest for one kind of stream. Small messages want a buffer that is waiting for them. Long transfers
//! want few and large steps, and no copies at all if they are long enough to pay for the pipe. Silence wants nothing held.

/// How a direction carries its next bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Stage {
    /// Waits with a poll, which holds no buffer, then carries a small cell.
    Parked,
    /// Waits with a read into a small cell.
    #[default]
    Small,
    /// Carries large cells.
    Large,
    /// Moves pages from socket to socket through a pipe, without a copy.
    Spliced,
}

/// One step of a direction, as it turned out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    /// Bytes that came.
    pub(super) count: usize,
    /// Bytes that could have come.
    pub(super) room: usize,
    /// Ticks of the worker from the wait to the bytes.
    pub(super) ticks: u32,
}

/// What one direction's stream has been doing lately.
#[derive(Debug, Default)]
pub(super) struct Flow {
    stage: Stage,
    /// Steps in a row that spoke for another stage.
    streak: u8,
}

/// Ticks of silence after which the next wait holds no buffer: 50 to 100 ms.
const QUIET_TICKS: u32 = 2;
/// Full small cells in a row after which large ones are used.
const FULL_MAX: u8 = 2;
/// A step with at least this much speaks for splicing, and so does a full one where no large cell was to be had.
const BULK_BYTES: usize = 64 * 1024;
/// So many of them in a row decide it.
const BULK_MAX: u8 = 2;
/// A step with less than this, in a large cell or a pipe, speaks for small cells.
const CALM_BYTES: usize = 16 * 1024;
/// So many of them in a row decide it. More than it takes to get here: changing costs more than staying a little longer.
const CALM_MAX: u8 = 8;

impl Flow {
    /// How to carry the next bytes.
    pub(super) fn stage(&self) -> Stage {
        self.stage
    }

    /// Heeds how a step turned out.
    pub(super) fn saw(&mut self, step: Step) {
        let (count, is_full) = (step.count, step.count >= step.room);
        match self.stage {
            Stage::Parked | Stage::Small if is_full => self.after(FULL_MAX, Stage::Large),
            Stage::Parked | Stage::Small if step.ticks >= QUIET_TICKS => self.turn(Stage::Parked),
            Stage::Parked | Stage::Small => self.turn(Stage::Small),
            Stage::Large if is_full || count >= BULK_BYTES => self.after(BULK_MAX, Stage::Spliced),
            Stage::Large | Stage::Spliced if count < CALM_BYTES => self.after(CALM_MAX, Stage::Small),
            Stage::Large | Stage::Spliced => self.streak = 0,
        }
    }

    /// Large cells from now on: the stream has outgrown the engine for small messages, or no pipe was to be had.
    pub(super) fn turn_to_large_cells(&mut self) {
        self.turn(Stage::Large);
    }

    fn after(&mut self, steps: u8, next: Stage) {
        self.streak += 1;
        if self.streak >= steps {
            self.turn(next);
        }
    }

    fn turn(&mut self, next: Stage) {
        *self = Flow { stage: next, streak: 0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(flow: &mut Flow, steps: usize, count: usize, room: usize, ticks: u32) -> Stage {
        (0..steps).for_each(|_| flow.saw(Step { count, room, ticks }));
        flow.stage()
    }

    const SMALL_ROOM: usize = 16 * 1024;
    const LARGE_ROOM: usize = 256 * 1024;

    #[test]
    fn small_messages_stay_in_small_cells_and_silence_parks() {
        let mut flow = Flow::default();
        assert_eq!(after(&mut flow, 100, 64, SMALL_ROOM, 0), Stage::Small);
        assert_eq!(after(&mut flow, 1, 64, SMALL_ROOM, QUIET_TICKS), Stage::Parked);
        assert_eq!(after(&mut flow, 1, 64, SMALL_ROOM, 0), Stage::Small);
    }

    #[test]
    fn a_long_transfer_grows_and_is_spliced_and_shrinks_when_it_turns_into_small_messages() {
        let mut flow = Flow::default();
        assert_eq!(after(&mut flow, 1, SMALL_ROOM, SMALL_ROOM, 0), Stage::Small);
        assert_eq!(after(&mut flow, 1, SMALL_ROOM, SMALL_ROOM, 0), Stage::Large);
        assert_eq!(after(&mut flow, 2, BULK_BYTES, LARGE_ROOM, 0), Stage::Spliced);
        assert_eq!(after(&mut flow, 7, 64, 1 << 20, 0), Stage::Spliced);
        assert_eq!(after(&mut flow, 1, CALM_BYTES, 1 << 20, 0), Stage::Spliced);
        assert_eq!(after(&mut flow, 8, 64, 1 << 20, 0), Stage::Small);
    }

    #[test]
    fn a_long_transfer_that_gets_no_large_cell_is_spliced_too() {
        let mut flow = Flow::default();
        after(&mut flow, 2, SMALL_ROOM, SMALL_ROOM, 0);
        assert_eq!(after(&mut flow, 1, SMALL_ROOM, SMALL_ROOM, 0), Stage::Large);
        assert_eq!(after(&mut flow, 1, SMALL_ROOM, SMALL_ROOM, 0), Stage::Spliced);
    }

    #[test]
    fn one_full_cell_among_small_ones_changes_nothing() {
        let mut flow = Flow::default();
        for _ in 0..100 {
            assert_eq!(after(&mut flow, 1, SMALL_ROOM, SMALL_ROOM, 0), Stage::Small);
            assert_eq!(after(&mut flow, 1, 64, SMALL_ROOM, 0), Stage::Small);
        }
    }

    #[test]
    fn without_a_pipe_large_cells_serve_and_a_pipe_is_asked_for_again() {
        let mut flow = Flow::default();
        after(&mut flow, 2, SMALL_ROOM, SMALL_ROOM, 0);
        assert_eq!(after(&mut flow, 2, BULK_BYTES, LARGE_ROOM, 0), Stage::Spliced);
        flow.turn_to_large_cells();
        assert_eq!(flow.stage(), Stage::Large);
        assert_eq!(after(&mut flow, 2, BULK_BYTES, LARGE_ROOM, 0), Stage::Spliced);
    }
}
