//! Small counts of all backends, side by side.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::table::BackendId;

/// Backends whose counts share a line of a [`Row`].
pub const LINE: usize = 32;
/// Two counts to a word: whoever adds up words adds up two backends at once.
pub const PAIRS: usize = LINE / 2;

/// One small count for each backend, side by side: whoever reads them all reads few cache lines. One writer.
#[derive(Debug)]
pub struct Row(Box<[Line]>);

#[derive(Debug, Default)]
#[repr(align(128))]
struct Line([AtomicU64; PAIRS]);

/// The counts of a pair: that of the even place in the lower half. Sums of pairs are pairs of sums, because no count comes
/// near four billion.
pub fn halves(pair: u64) -> [u32; 2] {
    [pair as u32, (pair >> 32) as u32]
}

impl Row {
    pub(super) fn new(backends: usize) -> Row {
        Row((0..backends.div_ceil(LINE)).map(|_| Line::default()).collect())
    }

    fn pair(&self, id: BackendId) -> &AtomicU64 {
        &self.0[id.index() / LINE].0[id.index() % LINE / 2]
    }

    /// The count of one backend.
    pub fn get(&self, id: BackendId) -> u32 {
        halves(self.pair(id).load(Ordering::Relaxed))[id.index() % 2]
    }

    /// Adds one; only its worker does.
    pub fn add(&self, id: BackendId) {
        let pair = self.pair(id);
        pair.store(pair.load(Ordering::Relaxed) + one(id), Ordering::Relaxed);
    }

    /// Takes one away; only its worker does.
    pub fn subtract(&self, id: BackendId) {
        let pair = self.pair(id);
        let before = pair.load(Ordering::Relaxed);
        assert!(halves(before)[id.index() % 2] > 0, "a count goes below zero");
        pair.store(before - one(id), Ordering::Relaxed);
    }

    /// Takes all of one away, and returns how many these were; only its worker does.
    pub fn take(&self, id: BackendId) -> u32 {
        let pair = self.pair(id);
        let before = pair.load(Ordering::Relaxed);
        let count = halves(before)[id.index() % 2];
        pair.store(before - u64::from(count) * one(id), Ordering::Relaxed);
        count
    }

    /// Adds so many; only its worker does.
    pub fn add_many(&self, id: BackendId, count: u32) {
        let pair = self.pair(id);
        pair.store(pair.load(Ordering::Relaxed) + u64::from(count) * one(id), Ordering::Relaxed);
    }

    /// Adds some of the pairs of one line to a sum.
    pub fn add_pairs(&self, line: usize, which: Range<usize>, sum: &mut [u64; PAIRS]) {
        for (sum, pair) in sum[which.clone()].iter_mut().zip(&self.0[line].0[which]) {
            *sum += pair.load(Ordering::Relaxed);
        }
    }

    /// Where it lies, and how many bytes it takes.
    #[cfg(test)]
    pub(super) fn place(&self) -> (usize, usize) {
        (self.0.as_ptr() as usize, size_of_val(&*self.0))
    }
}

/// One, in its half of the pair.
fn one(id: BackendId) -> u64 {
    1 << (32 * (id.index() % 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_that_share_a_word_do_not_touch_each_other() {
        let row = Row::new(70);
        let ids = [0, 1, 2, 33, 68, 69].map(BackendId::new);
        for (times, &id) in ids.iter().enumerate() {
            (0..=times).for_each(|_| row.add(id));
        }
        row.subtract(ids[1]);
        assert_eq!(ids.map(|id| row.get(id)), [1, 1, 3, 4, 5, 6]);
        row.add_many(ids[0], 7);
        assert_eq!((row.take(ids[0]), row.get(ids[0]), row.get(ids[1])), (8, 0, 1));
        row.add_many(ids[0], 1);
        let mut sum = [0; PAIRS];
        row.add_pairs(2, 1..3, &mut sum);
        row.add_pairs(2, 1..3, &mut sum);
        assert_eq!((halves(sum[1]), halves(sum[2]), sum[0]), ([0, 0], [10, 12], 0));
    }
}
