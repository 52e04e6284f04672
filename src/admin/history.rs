//! History: what each second brought, for the lines on the page. Pure.

use std::collections::{HashMap, VecDeque};

use serde::Serialize;

use crate::stats::{BOUNDS, BUCKETS};

/// Seconds that are kept.
pub(super) const SECONDS_MAX: usize = 120;

/// One second of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Point {
    /// Sessions that were given to its backends, in a second.
    pub(super) rate: f64,
    /// The median of what the pool measures, in microseconds; estimated from buckets. None when nothing was measured.
    pub(super) p50_us: Option<f64>,
    /// The 99th percentile of it.
    pub(super) p99_us: Option<f64>,
}

/// What a pool has counted so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sums {
    /// Picks.
    pub(super) picked: u64,
    /// Measured times.
    pub(super) counts: [u64; BUCKETS],
}

/// The last seconds of all pools, by name.
#[derive(Debug, Default)]
pub(super) struct History {
    pools: HashMap<String, Pool>,
}

#[derive(Debug, Default)]
struct Pool {
    last: Sums,
    points: VecDeque<Point>,
}

impl History {
    /// Takes the sums of a pool, so many seconds after the ones before.
    pub(super) fn take(&mut self, pool: &str, sums: Sums, seconds: f64) -> Point {
        let known = self.pools.contains_key(pool);
        let one = self.pools.entry(pool.to_owned()).or_default();
        let last = std::mem::replace(&mut one.last, sums);
        // Of a pool that is new there is nothing to compare with. Sums go back when a backend is removed.
        let picked = if known { sums.picked.saturating_sub(last.picked) } else { 0 };
        let new: [u64; BUCKETS] = std::array::from_fn(|bucket| {
            if known { sums.counts[bucket].saturating_sub(last.counts[bucket]) } else { 0 }
        });
        let micros = |quantile| self::quantile(&new, quantile).map(|seconds| seconds * 1e6);
        let rate = picked as f64 / seconds.max(0.001);
        let point = Point { rate, p50_us: micros(0.5), p99_us: micros(0.99) };
        if one.points.len() == SECONDS_MAX {
            one.points.pop_front();
        }
        one.points.push_back(point);
        point
    }

    /// Those that are kept, the oldest first.
    pub(super) fn points(&self, pool: &str) -> Vec<Point> {
        self.pools.get(pool).map(|pool| pool.points.iter().copied().collect()).unwrap_or_default()
    }

    /// Forgets pools that there are no more.
    pub(super) fn keep(&mut self, is_there: impl Fn(&str) -> bool) {
        self.pools.retain(|name, _| is_there(name));
    }
}

/// Where a quantile is, in seconds, taking times to be spread evenly within their bucket; what is longer than the last bound
/// is taken to be that.
fn quantile(counts: &[u64; BUCKETS], quantile: f64) -> Option<f64> {
    let total: u64 = counts.iter().sum();
    let rank = quantile * total as f64;
    let mut below = 0.0;
    for (bucket, &count) in counts.iter().enumerate() {
        let count = count as f64;
        if count > 0.0 && below + count >= rank {
            let low = bucket.checked_sub(1).map_or(0.0, |before| BOUNDS[before]);
            let high = BOUNDS.get(bucket).copied().unwrap_or(low);
            return Some(low + (high - low) * (rank - below) / count);
        }
        below += count;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(picked: u64, bucket: usize, count: u64) -> Sums {
        let mut counts = [0; BUCKETS];
        counts[bucket] = count;
        Sums { picked, counts }
    }

    #[test]
    fn a_second_is_what_has_come_since_the_one_before() {
        let mut history = History::default();
        let first = history.take("web", sums(1_000, 3, 10), 1.0);
        assert_eq!((first.rate, first.p50_us), (0.0, None), "nothing to compare with");
        let next = history.take("web", sums(1_500, 3, 20), 2.0);
        // All in the bucket from 0.5 to 1 ms.
        assert_eq!(
            (next.rate, next.p50_us.unwrap().round(), next.p99_us.unwrap().round()),
            (250.0, 750.0, 995.0)
        );
        let quiet = history.take("web", sums(1_500, 3, 20), 1.0);
        assert_eq!((quiet.rate, quiet.p99_us), (0.0, None));
        assert_eq!(history.points("web"), [first, next, quiet]);
        history.keep(|name| name != "web");
        assert!(history.points("web").is_empty());
    }

    #[test]
    fn no_more_is_kept_than_promised_and_sums_that_go_back_are_nothing() {
        let mut history = History::default();
        for second in 0..2 * SECONDS_MAX as u64 {
            history.take("web", sums(second, 0, 0), 1.0);
        }
        assert_eq!(history.points("web").len(), SECONDS_MAX);
        assert_eq!(history.take("web", sums(3, 0, 0), 1.0).rate, 0.0);
    }

    #[test]
    fn what_is_longer_than_all_bounds_is_the_last_of_them() {
        let mut counts = [0; BUCKETS];
        counts[BUCKETS - 1] = 5;
        assert_eq!(quantile(&counts, 0.5), Some(60.0));
    }
}
