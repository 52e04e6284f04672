//! Figures: makes one response time for each backend from what all workers measured. A thread of its own.
//!
//! Workers hand over lists of samples and count who waits ([`crate::load::Lease`]); here they become histograms, and
//! these become one number per backend ([`Times`]) that picks read. So a pick never merges, sorts or looks at a
//! histogram.

pub mod average;
pub mod batch;
pub mod gauge;
pub mod window;

use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::config::Config;
use crate::generation::Generation;
use crate::samples::{Inbox, Sample};
use crate::stats::Stats;
use crate::table::BackendId;
use crate::times::Times;

use gauge::Gauge;

/// From one turn to the next; workers hand their samples over as often.
pub const PERIOD: Duration = Duration::from_millis(50);
/// Figures that are made in one turn at most: with 2,000 backends each is made anew ten times a second.
const GAUGES_PER_TURN: usize = 1_024;
/// Cache lines of workers' counters that one turn reads at most.
const LINES_PER_TURN: usize = 16_384;

/// What the histograms of one backend take at most: three signals, two halves each.
pub const BYTES_PER_BACKEND_MAX: usize = 3 * 2 * window::HALF_BYTES_MAX;

/// What the thread is made from.
pub struct Setup {
    /// The present configuration, where the workers count who waits, and where the figures go.
    pub generation: Arc<Generation>,
    /// Where what they measured arrives.
    pub inbox: Inbox,
    /// Where the next configurations come from. Ends the thread when its sender is dropped.
    pub next: Receiver<Arc<Generation>>,
}

/// Makes figures until it is told to stop.
pub fn run(setup: Setup) {
    let Setup { mut generation, mut inbox, next } = setup;
    let mut figures = Figures::new(&generation.config);
    loop {
        match next.recv_timeout(PERIOD) {
            Ok(adopted) => {
                figures.adopt(&generation.config, &adopted);
                generation = adopted;
            }
            Err(RecvTimeoutError::Timeout) => {
                let stats = &generation.stats;
                for sample in inbox.drain(generation.number) {
                    stats.timings[sample.backend.index()].of(sample.signal).note(sample.nanos);
                    figures.take(sample);
                }
                stats.samples_lost.set(inbox.lost());
                figures.turn(stats.begun.elapsed(), stats, &generation.times);
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// All gauges.
#[derive(Debug)]
pub struct Figures {
    gauges: Vec<Gauge>,
    /// Where those of each pool stand.
    pools: Vec<Range<usize>>,
    scratch: Histogram<u32>,
    /// Whose turn is next: a pool, and a place in it.
    next: (usize, usize),
}

impl Figures {
    /// Nothing measured yet.
    pub fn new(config: &Config) -> Figures {
        let (mut gauges, mut pools) = (Vec::new(), Vec::new());
        for pool in &config.pools {
            let first = gauges.len();
            gauges.extend(pool.backends.iter().map(|_| Gauge::new(pool.response_time)));
            pools.push(first..gauges.len());
        }
        Figures { gauges, pools, scratch: window::histogram(), next: (0, 0) }
    }

    /// Goes on under another configuration: what is measured there in the same way keeps what was measured.
    fn adopt(&mut self, before: &Config, next: &Generation) {
        let mut known: Vec<Option<Gauge>> = self.gauges.drain(..).map(Some).collect();
        let places = self.pools.clone();
        let spec = |place: usize| {
            let pool = places.iter().position(|pool| pool.contains(&place));
            pool.map(|pool| before.pools[pool].response_time)
        };
        let mut figures = Figures::new(&next.config);
        let pools = next.config.pools.iter().zip(&figures.pools);
        for (pool, places) in pools {
            for place in places.clone() {
                let Some(was) = next.lineage.backends[place] else { continue };
                if spec(was) == Some(pool.response_time)
                    && let Some(gauge) = known[was].take()
                {
                    figures.gauges[place] = gauge;
                }
            }
        }
        *self = figures;
    }

    /// Takes a sample.
    pub fn take(&mut self, sample: Sample) {
        self.gauges[sample.backend.index()].take(sample.signal, sample.nanos);
    }

    /// Makes the figures of those whose turn it is: all of them, unless there are very many.
    pub fn turn(&mut self, now: Duration, stats: &Stats, times: &Times) {
        let budget = GAUGES_PER_TURN.min(LINES_PER_TURN / stats.workers.len()).max(1);
        let visits: Vec<_> = (0..budget.min(self.gauges.len())).map(|_| self.advance()).collect();
        for &(_, index) in &visits {
            self.gauges[index].look(now, &mut self.scratch);
        }
        for visits in visits.chunk_by(|(pool, _), (next, _)| pool == next) {
            let typical = self.typical(visits[0].0, now);
            for &(_, index) in visits {
                let id = BackendId::new(index);
                let figure = self.gauges[index].figure(now, stats.waits(id, now), typical);
                let [p50, p99] = self.gauges[index].percentiles();
                stats.timings[index].p50.set(p50);
                stats.timings[index].p99.set(p99);
                if times.get(id) != figure {
                    times.set(id, figure);
                }
            }
        }
    }

    /// Whose turn it is: its pool and itself.
    fn advance(&mut self) -> (usize, usize) {
        let (pool, place) = self.next;
        let index = self.pools[pool].start + place;
        let is_last = index + 1 == self.pools[pool].end;
        self.next = if is_last { ((pool + 1) % self.pools.len(), 0) } else { (pool, place + 1) };
        (pool, index)
    }

    /// The middle of what a pool's backends have, so that who has hardly been measured is not believed to be better or
    /// worse than all others.
    fn typical(&self, pool: usize, now: Duration) -> Option<u64> {
        let gauges = &self.gauges[self.pools[pool].clone()];
        let mut known: Vec<u64> = gauges.iter().filter_map(|gauge| gauge.measured(now)).collect();
        let middle = known.len() / 2;
        (!known.is_empty()).then(|| *known.select_nth_unstable(middle).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Signal;

    const MS: u64 = 1_000_000;

    fn figures(pools: &[usize]) -> Figures {
        let mut text = String::new();
        for (pool, backends) in pools.iter().enumerate() {
            text += &format!("[[listener]]\nname='l{pool}'\nbind='127.0.0.1:{}'\npool='p{pool}'\n", pool + 1);
            text += &format!("[[pool]]\nname='p{pool}'\n");
            for port in 1..=*backends {
                text += &format!("[[pool.backend]]\naddress='127.0.0.1:{port}'\n");
            }
        }
        Figures::new(&crate::config::parse("test", &text).unwrap())
    }

    fn sample(backend: usize, nanos: u64) -> Sample {
        Sample { backend: BackendId::new(backend), signal: Signal::FirstByte, nanos }
    }

    #[test]
    fn each_backend_gets_the_figure_of_its_own_samples_and_its_own_pool() {
        let mut figures = figures(&[3, 2]);
        let (stats, times) = (Stats::new(2, 2, 5), Times::new(5));
        for (backend, ms) in [(0, 1), (1, 2), (3, 50)] {
            (0..100_000).for_each(|_| figures.take(sample(backend, ms * MS)));
        }
        figures.turn(Duration::from_millis(50), &stats, &times);
        let ms = |backend| (times.get(BackendId::new(backend)).nanos() / MS as f64).round();
        assert_eq!([0, 1, 2, 3, 4].map(ms), [1.0, 2.0, 0.0, 50.0, 0.0]);
    }

    #[test]
    fn one_lucky_sample_makes_nobody_the_best_by_far() {
        let mut figures = figures(&[5]);
        let (stats, times) = (Stats::new(1, 1, 5), Times::new(5));
        (0..4).for_each(|backend| (0..100).for_each(|_| figures.take(sample(backend, 5 * MS))));
        figures.take(sample(4, 10_000));
        figures.turn(Duration::from_millis(50), &stats, &times);
        let lucky = times.get(BackendId::new(4)).nanos() as u64;
        assert!((4 * MS..5 * MS).contains(&lucky), "{lucky}");
    }

    #[test]
    fn with_very_many_backends_everybody_has_a_turn_in_the_end() {
        let mut figures = figures(&[3000]);
        let (stats, times) = (Stats::new(16, 1, 3000), Times::new(3000));
        (0..3000).for_each(|backend| figures.take(sample(backend, MS)));
        for turn in 1..=3 {
            figures.turn(turn * PERIOD, &stats, &times);
        }
        assert!((0..3000).all(|backend| !times.get(BackendId::new(backend)).is_unknown()));
    }
}
