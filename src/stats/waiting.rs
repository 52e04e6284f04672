//! Sessions that wait, and how long: both in one word.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How many sessions wait, and since when all together, in one word: whoever reads it sees both or neither of a change.
/// Two words would be read at two moments, and a session that went in between would look like a wait since the start of
/// the process. One writer.
#[derive(Debug, Default)]
pub struct Waiting(AtomicU64);

/// Bits of the sum of the moments; above them is the count, up to four million.
const SINCE_BITS: u32 = 42;
const SINCE_MASK: u64 = (1 << SINCE_BITS) - 1;
/// A moment is told in units of 2^20 ns, about a millisecond. The sum goes round; a difference of two sums does not, as
/// long as a million sessions do not wait for half an hour at one backend.
const SINCE_UNIT: u32 = 20;
/// The same in nanoseconds: waits are known to this.
pub const WAIT_UNIT: u64 = 1 << SINCE_UNIT;

/// Sessions that wait, and how long all of them together have done so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Waits {
    /// How many.
    pub count: u64,
    /// In nanoseconds, to a millisecond for each.
    pub total: u64,
}

impl Waiting {
    /// One begins to wait, at a moment since [`super::Stats::begun`]; only its worker says so.
    pub fn begin(&self, since: Duration) {
        let (count, sum) = self.parts();
        self.set(count + 1, sum.wrapping_add(units(since)));
    }

    /// One that has begun at this moment waits no more; only its worker says so.
    pub fn end(&self, since: Duration) {
        let (count, sum) = self.parts();
        assert!(count > 0, "a count goes below zero");
        self.set(count - 1, sum.wrapping_sub(units(since)));
    }

    /// Who waits now.
    pub fn waits(&self, now: Duration) -> Waits {
        let (count, sum) = self.parts();
        let passed = units(now).wrapping_mul(count).wrapping_sub(sum) & SINCE_MASK;
        // Half of what fits is time that has passed; the other half is one that began after `now` was read.
        let passed = if passed >> (SINCE_BITS - 1) == 0 { passed } else { 0 };
        Waits { count, total: passed << SINCE_UNIT }
    }

    fn parts(&self) -> (u64, u64) {
        let word = self.0.load(Ordering::Relaxed);
        (word >> SINCE_BITS, word & SINCE_MASK)
    }

    fn set(&self, count: u64, sum: u64) {
        self.0.store(count << SINCE_BITS | (sum & SINCE_MASK), Ordering::Relaxed);
    }
}

fn units(time: Duration) -> u64 {
    (time.as_nanos() >> SINCE_UNIT) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_those_that_have_begun_and_not_ended() {
        let unit = |count: u64| Duration::from_nanos(count << SINCE_UNIT);
        let waiting = Waiting::default();
        assert_eq!(waiting.waits(unit(1_000_000)), Waits::default());
        // A year after the start: the sums go round many times.
        let year = 30_000_000_000;
        (0..1000).for_each(|_| waiting.begin(unit(year)));
        waiting.begin(unit(year + 50));
        let waits = waiting.waits(unit(year + 60));
        assert_eq!((waits.count, waits.total >> SINCE_UNIT), (1001, 60 * 1000 + 10));
        (0..1000).for_each(|_| waiting.end(unit(year)));
        assert_eq!(waiting.waits(unit(year + 60)).total >> SINCE_UNIT, 10);
        // It began after the reader had looked at its clock.
        assert_eq!(waiting.waits(unit(year + 40)), Waits { count: 1, total: 0 });
        waiting.end(unit(year + 50));
        assert_eq!(waiting.waits(unit(year + 60)), Waits::default());
    }
}
