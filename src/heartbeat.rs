//! Heartbeat: which workers have stood still, by the ticks that they count. Pure.

use std::time::{Duration, Instant};

/// A worker that has not ticked for this long is stuck: forty ticks.
pub const STUCK_AFTER: Duration = Duration::from_secs(2);
/// The clock here advances by no more than this from one look to the next. After a gap (the process was stopped, the machine
/// slept) nobody has ticked, and nobody is stuck.
const STEP_MAX: Duration = Duration::from_millis(250);

/// What is known of the ticks of all workers.
#[derive(Debug)]
pub struct Heartbeats {
    workers: Vec<Heartbeat>,
    looked: Instant,
    clock: Duration,
}

#[derive(Debug)]
struct Heartbeat {
    count: u64,
    moved: Duration,
    is_stuck: bool,
}

/// What a look found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// This worker stands still.
    Stuck {
        /// Its number.
        worker: usize,
    },
    /// This one did, and ticks again.
    Moves {
        /// Its number.
        worker: usize,
        /// How long it stood still.
        after: Duration,
    },
}

impl Heartbeats {
    /// Workers that tick from now on.
    pub fn new(workers: usize, now: Instant) -> Heartbeats {
        let heartbeat = || Heartbeat { count: 0, moved: Duration::ZERO, is_stuck: false };
        Heartbeats {
            workers: (0..workers).map(|_| heartbeat()).collect(),
            looked: now,
            clock: Duration::ZERO,
        }
    }

    /// Looks at the ticks that each has counted.
    pub fn look(&mut self, counts: impl IntoIterator<Item = u64>, now: Instant) -> Vec<News> {
        self.clock += now.saturating_duration_since(self.looked).min(STEP_MAX);
        self.looked = now;
        let clock = self.clock;
        let news = self.workers.iter_mut().zip(counts).enumerate();
        news.filter_map(|(worker, (heartbeat, count))| heartbeat.look(worker, count, clock)).collect()
    }

    /// Whether everybody has ticked lately.
    pub fn all_move(&self) -> bool {
        self.workers.iter().all(|heartbeat| !heartbeat.is_stuck)
    }
}

impl Heartbeat {
    fn look(&mut self, worker: usize, count: u64, clock: Duration) -> Option<News> {
        let after = clock - self.moved;
        if count != self.count {
            (self.count, self.moved) = (count, clock);
            let was_stuck = std::mem::take(&mut self.is_stuck);
            return was_stuck.then_some(News::Moves { worker, after });
        }
        let is_news = !self.is_stuck && after >= STUCK_AFTER;
        self.is_stuck |= is_news;
        is_news.then_some(News::Stuck { worker })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Duration = Duration::from_millis(100);

    #[test]
    fn who_does_not_tick_is_told_once_and_told_again_when_it_moves() {
        let mut now = Instant::now();
        let mut heartbeats = Heartbeats::new(2, now);
        let mut ticks = 0;
        let mut look = |heartbeats: &mut Heartbeats, second: u64| {
            now += LOOK;
            ticks += 2;
            heartbeats.look([ticks, second], now)
        };
        // Twenty looks of 100 ms are two seconds; the first of them saw it move.
        assert_eq!(look(&mut heartbeats, 5), []);
        for _ in 0..19 {
            assert_eq!(look(&mut heartbeats, 5), []);
            assert!(heartbeats.all_move());
        }
        assert_eq!(look(&mut heartbeats, 5), [News::Stuck { worker: 1 }]);
        assert!(!heartbeats.all_move());
        assert_eq!(look(&mut heartbeats, 5), []);
        assert_eq!(look(&mut heartbeats, 6), [News::Moves { worker: 1, after: 22 * LOOK }]);
        assert!(heartbeats.all_move());
    }

    #[test]
    fn after_a_gap_of_the_whole_process_nobody_is_stuck() {
        let begun = Instant::now();
        let mut heartbeats = Heartbeats::new(1, begun);
        assert_eq!(heartbeats.look([1], begun + LOOK), []);
        // The process stood still for an hour, and this look comes before the worker's next tick.
        let after = begun + Duration::from_secs(3600);
        assert_eq!(heartbeats.look([1], after), []);
        assert_eq!(heartbeats.look([2], after + LOOK), []);
        assert!(heartbeats.all_move());
    }

    #[test]
    fn who_never_ticks_is_stuck_too() {
        let begun = Instant::now();
        let mut heartbeats = Heartbeats::new(1, begun);
        let news: Vec<News> = (1..=30).flat_map(|nth| heartbeats.look([0], begun + LOOK * nth)).collect();
        assert_eq!(news, [News::Stuck { worker: 0 }]);
    }
}
