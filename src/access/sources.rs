//! Sources: how many sessions each source has, and how often it comes. Bounded, whoever comes.
//!
//! A table of small sets, as caches have them: the hash of a source names its set, and within it any place does. So it
//! never grows, nothing is allocated for a connection, and a lock is held for a look at sixteen places. Who is quiet makes
//! room for others, the longest quiet first. Where every place of a set is held by sources that have sessions, a new source
//! is not known: it is let in and counted, because to refuse it would let whoever has many addresses shut out the rest.
//!
//! Locks are between workers that accept, never between sessions that carry bytes; one is taken for each connection of a
//! listener with limits by source, and once more when that session ends.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::rate::Rate;
use super::refused::Refused;

/// Places in a set.
const WAYS: usize = 16;
/// A set is half full when there are as many sources as there may be, so that hardly any set is ever full before.
const ROOM: usize = 2;

/// All sources of one listener.
#[derive(Debug)]
pub struct Sources {
    sets: Box<[Set]>,
    /// So that nobody can choose addresses that share a set.
    seed: u64,
    bits: Bits,
    unknown: AtomicU64,
}

/// How many bits of an address tell sources apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bits {
    /// Of an IPv4 address.
    pub v4: u8,
    /// Of an IPv6 address.
    pub v6: u8,
}

/// What a source may do.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    /// Sessions at once.
    pub sessions: Option<u32>,
    /// How often it may come.
    pub rate: Option<Rate>,
}

#[derive(Debug, Default)]
struct Set(Mutex<[Place; WAYS]>);

/// One source, or nobody: then there are no sessions, and the moment has passed.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    source: u128,
    /// When all that came would have come evenly; see [`Rate`].
    even_at: u64,
    sessions: u32,
}

/// Where a source is that has a session.
#[derive(Debug)]
pub struct Held {
    set: u32,
    way: u32,
}

impl Sources {
    /// Room for so many, and some more.
    pub fn new(sources_max: u32, bits: Bits, seed: u64) -> Sources {
        let sets = (sources_max as usize * ROOM).div_ceil(WAYS).max(1);
        Sources { sets: (0..sets).map(|_| Set::default()).collect(), seed, bits, unknown: AtomicU64::new(0) }
    }

    /// Bytes that it takes for so many sources.
    pub fn bytes(sources_max: u32) -> usize {
        (sources_max as usize * ROOM).div_ceil(WAYS).max(1) * size_of::<Set>()
    }

    /// Whether it is the table for this.
    pub fn is_for(&self, sources_max: u32, bits: Bits) -> bool {
        self.bits == bits && size_of_val(&*self.sets) == Sources::bytes(sources_max)
    }

    /// Connections whose source found no place.
    pub fn unknown(&self) -> u64 {
        self.unknown.load(Ordering::Relaxed)
    }

    /// Counts a connection of a source, unless that may not have it. `None` is a source that found no place.
    ///
    /// # Errors
    ///
    /// Why not. A connection that is refused does not count: who tries too often is not kept out for trying.
    pub fn enter(&self, address: IpAddr, allowance: Allowance, now: u64) -> Result<Option<Held>, Refused> {
        let source = self.source(address);
        let set = (xxh3_64_with_seed(&source.to_le_bytes(), self.seed) % self.sets.len() as u64) as usize;
        let mut places = self.places(set);
        let Some(way) = find(&places, source) else {
            self.unknown.fetch_add(1, Ordering::Relaxed);
            return Ok(None);
        };
        let place = &mut places[way];
        if place.source != source {
            *place = Place { source, even_at: 0, sessions: 0 };
        }
        if allowance.sessions.is_some_and(|max| place.sessions >= max) {
            return Err(Refused::SourceSessions);
        }
        if let Some(rate) = allowance.rate {
            place.even_at = rate.take(place.even_at, now).map_err(|_| Refused::SourceRate)?;
        } else {
            // Only for who is longest quiet.
            place.even_at = place.even_at.max(now);
        }
        place.sessions += 1;
        Ok(Some(Held { set: set as u32, way: way as u32 }))
    }

    /// A session of a source has ended.
    pub fn leave(&self, held: &Held) {
        let place = &mut self.places(held.set as usize)[held.way as usize];
        // Nobody else can have had the place: it had a session.
        assert!(place.sessions > 0);
        place.sessions -= 1;
    }

    /// Sessions that a source has.
    pub fn sessions(&self, address: IpAddr) -> u32 {
        let source = self.source(address);
        let set = (xxh3_64_with_seed(&source.to_le_bytes(), self.seed) % self.sets.len() as u64) as usize;
        let places = self.places(set);
        places.iter().filter(|place| place.source == source).map(|place| place.sessions).sum()
    }

    /// Families do not meet: an IPv6 address whose upper half is all ones is nobody's.
    fn source(&self, address: IpAddr) -> u128 {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(u32::from(32 - self.bits.v4)).unwrap_or(0);
                u128::from(u32::from(address) & mask) | u128::from(u64::MAX) << 64
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(u32::from(128 - self.bits.v6)).unwrap_or(0);
                u128::from(address) & mask
            }
        }
    }

    /// A panic while it is held is a defect that ends the worker anyway.
    fn places(&self, set: usize) -> MutexGuard<'_, [Place; WAYS]> {
        self.sets[set].0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a source is, or may be: in the place of the one that has been quiet for longest.
fn find(places: &[Place; WAYS], source: u128) -> Option<usize> {
    if let Some(way) = places.iter().position(|place| place.source == source) {
        return Some(way);
    }
    let quiet = places.iter().enumerate().filter(|(_, place)| place.sessions == 0);
    quiet.min_by_key(|(_, place)| place.even_at).map(|(way, _)| way)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, RateUnit};
    use std::num::NonZeroU32;

    const BITS: Bits = Bits { v4: 24, v6: 64 };

    fn at_most(sessions: u32) -> Allowance {
        Allowance { sessions: Some(sessions), rate: None }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_of_one_network_are_one_source() {
        let sources = Sources::new(256, BITS, 1);
        let enter = |address| sources.enter(ip(address), at_most(1), 0);
        let first = enter("10.0.0.1").unwrap().unwrap();
        for same in ["10.0.0.1", "10.0.0.255", "::ffff:10.0.0.7"] {
            assert_eq!(enter(same).unwrap_err(), Refused::SourceSessions, "{same}");
        }
        assert_eq!(sources.sessions(ip("10.0.0.9")), 1);
        enter("10.0.1.1").unwrap().unwrap();
        enter("2001:db8::1").unwrap().unwrap();
        enter("2001:db8::ffff:0:0:1").unwrap_err();
        enter("2001:db8:0:1::1").unwrap().unwrap();
        sources.leave(&first);
        assert_eq!(sources.sessions(ip("10.0.0.1")), 0);
        enter("10.0.0.2").unwrap().unwrap();
    }

    #[test]
    fn the_whole_address_and_none_of_it_can_be_the_source() {
        let whole = Sources::new(256, Bits { v4: 32, v6: 128 }, 1);
        let none = Sources::new(256, Bits { v4: 0, v6: 0 }, 1);
        for (one, other) in [("10.0.0.1", "10.0.0.2"), ("::1", "::2")] {
            whole.enter(ip(one), at_most(1), 0).unwrap();
            whole.enter(ip(other), at_most(1), 0).unwrap();
            none.enter(ip(one), at_most(1), 0).unwrap();
            none.enter(ip(other), at_most(1), 0).unwrap_err();
        }
    }

    #[test]
    fn who_comes_too_often_is_refused_until_its_time_has_come_and_others_are_not() {
        let sources = Sources::new(256, BITS, 1);
        let [count, burst] = [10, 2].map(|number| NonZeroU32::new(number).unwrap());
        let rate = Some(Rate::new(config::Rate { count, unit: RateUnit::Second, burst }));
        let comes = |address, now_ms: u64| {
            let entered = sources.enter(ip(address), Allowance { sessions: None, rate }, now_ms * 1_000_000);
            // It leaves at once: what counts is that it came.
            entered.map(|held| sources.leave(&held.unwrap()))
        };
        assert_eq!([0, 0, 0].map(|now| comes("10.0.0.1", now)), [Ok(()), Ok(()), Err(Refused::SourceRate)]);
        assert_eq!(comes("10.0.1.1", 0), Ok(()));
        assert_eq!(
            [99, 100, 100].map(|now| comes("10.0.0.1", now)),
            [Err(Refused::SourceRate), Ok(()), Err(Refused::SourceRate)]
        );
    }

    #[test]
    fn a_full_table_forgets_who_is_quiet_and_never_who_has_sessions() {
        let sources = Sources::new(1, Bits { v4: 32, v6: 64 }, 1);
        let address = |number: u32| IpAddr::from(std::net::Ipv4Addr::from(0x0a00_0000 + number));
        let mut held = Vec::new();
        for number in 0..WAYS as u32 {
            held.push(sources.enter(address(number), at_most(1), u64::from(number)).unwrap().unwrap());
        }
        assert!(sources.enter(address(100), at_most(1), 99).unwrap().is_none(), "there was no place");
        assert_eq!(sources.unknown(), 1);
        assert_eq!(sources.enter(address(3), at_most(1), 99).unwrap_err(), Refused::SourceSessions);
        // Two are quiet; the one that came first goes.
        sources.leave(&held[5]);
        sources.leave(&held[3]);
        sources.enter(address(100), at_most(1), 99).unwrap().unwrap();
        sources.enter(address(5), at_most(1), 99).unwrap().unwrap();
        assert_eq!(sources.sessions(address(3)), 0);
        assert_eq!(sources.unknown(), 1);
    }

    #[test]
    fn who_has_been_quiet_longest_makes_room_and_leaves_nothing_to_who_comes() {
        let sources = Sources::new(1, Bits { v4: 32, v6: 64 }, 1);
        let one = NonZeroU32::new(1).unwrap();
        let rate = Some(Rate::new(config::Rate { count: one, unit: RateUnit::Hour, burst: one }));
        let comes = |number: u32, now: u64| {
            let address = IpAddr::from(std::net::Ipv4Addr::from(0x0a00_0000 + number));
            let entered = sources.enter(address, Allowance { sessions: None, rate }, now);
            entered.map(|held| sources.leave(&held.unwrap()))
        };
        let ways = WAYS as u32;
        // As many as there are places, each an hour from its next time.
        assert!((0..ways).all(|number| comes(number, u64::from(number)).is_ok()));
        assert_eq!(comes(ways, 100), Ok(()), "it has not come before");
        // The first had to go, and the others are known.
        assert!((1..ways).all(|number| comes(number, 100) == Err(Refused::SourceRate)));
        assert_eq!(comes(0, 100), Ok(()));
        assert_eq!(sources.unknown(), 0);
    }

    #[test]
    fn as_many_sources_as_there_may_be_find_a_place() {
        let sources = Sources::new(65_536, Bits { v4: 32, v6: 64 }, 7);
        let held: Vec<_> = (0..65_536_u32)
            .map(|number| sources.enter(IpAddr::from(number.to_be_bytes()), at_most(1), 0).unwrap())
            .collect();
        let known = held.iter().flatten().count();
        assert!(known > 65_000, "{known}");
        assert_eq!(known as u64 + sources.unknown(), 65_536);
        held.iter().flatten().for_each(|held| sources.leave(held));
        assert!((0..65_536_u32).all(|number| sources.sessions(IpAddr::from(number.to_be_bytes())) == 0));
    }
}
