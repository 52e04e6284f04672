//! Recency: which session has been idle longest, of those who have shown that they are somebody and of those who have not. Pure.
//!
//! Whoever sends from a false address never gets a reply, and so never sends another datagram after one. A flood of false
//! addresses pushes out its own sessions, as soon as these are a quarter of all.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::access::{self, nanos};
use crate::config::{Rate, RateUnit};

/// Those that have shown nothing make room for each other once they are more than this part of all. Up to there it is whoever has
/// been idle longest: if only they ever went, new clients would push each other out before their replies come, as long as
/// those that are there do not expire.
const NEW_PART: usize = 4;

/// All of one standing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    /// How many there are.
    pub(super) count: usize,
    /// How long the one has been idle that has been so longest.
    pub(super) idle: Option<Duration>,
}

/// Of which standing the one is that is to make room.
pub(super) fn makes_room(new: Group, proven: Group) -> Option<Standing> {
    match (new.idle, proven.idle) {
        (Some(_), Some(_)) if new.count > (new.count + proven.count) / NEW_PART => Some(Standing::New),
        (Some(new), Some(proven)) if new < proven => Some(Standing::Proven),
        (Some(_), _) => Some(Standing::New),
        (None, Some(_)) => Some(Standing::Proven),
        (None, None) => None,
    }
}

/// How often one session is pushed out by another. To open one costs some twenty times what it costs to drop a datagram: a
/// worker that did nothing else would leave the datagrams of those who have one in the kernel's queue until that is full.
#[derive(Debug)]
pub(super) struct Evictions {
    rate: access::Rate,
    even_at: u64,
}

impl Evictions {
    /// So many a second take about a quarter of a core.
    const A_SECOND: NonZeroU32 = NonZeroU32::new(10_000).expect("not 0");
    /// And so many at once.
    const BURST: NonZeroU32 = NonZeroU32::new(1_000).expect("not 0");

    pub(super) fn new() -> Evictions {
        let rate = Rate { count: Evictions::A_SECOND, unit: RateUnit::Second, burst: Evictions::BURST };
        Evictions { rate: access::Rate::new(rate), even_at: 0 }
    }

    /// Whether one more may be pushed out now. Then it is.
    pub(super) fn may(&mut self, now: Duration) -> bool {
        let next = self.rate.take(self.even_at, nanos(now));
        next.is_ok_and(|next| {
            self.even_at = next;
            true
        })
    }
}

/// What a session has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing yet.
    New = 0,
    /// That replies reach it.
    Proven = 1,
}

/// Two lists of the sessions of one listening socket, each from the one that moved last to the one that has been idle longest.
#[derive(Debug, Default)]
pub(super) struct Recency {
    /// By the number of the session.
    links: Vec<Option<Link>>,
    lists: [List; 2],
}

#[derive(Debug, Clone, Copy, Default)]
struct List {
    count: usize,
    newest: Option<usize>,
    oldest: Option<usize>,
}

#[derive(Debug, Clone, Copy)]
struct Link {
    standing: Standing,
    newer: Option<usize>,
    older: Option<usize>,
}

impl Recency {
    /// It has moved just now.
    pub(super) fn touch(&mut self, session: usize, standing: Standing) {
        if self.lists[standing as usize].newest == Some(session) {
            return;
        }
        self.remove(session);
        if session >= self.links.len() {
            self.links.resize(session + 1, None);
        }
        let list = &mut self.lists[standing as usize];
        list.count += 1;
        let older = list.newest.replace(session);
        if list.oldest.is_none() {
            list.oldest = Some(session);
        }
        self.links[session] = Some(Link { standing, newer: None, older });
        if let Some(link) = older.and_then(|older| self.links[older].as_mut()) {
            link.newer = Some(session);
        }
    }

    /// It is over.
    pub(super) fn remove(&mut self, session: usize) {
        let Some(link) = self.links.get_mut(session).and_then(Option::take) else { return };
        let Link { standing, newer, older } = link;
        self.lists[standing as usize].count -= 1;
        match newer.and_then(|newer| self.links[newer].as_mut()) {
            Some(link) => link.older = older,
            None => self.lists[standing as usize].newest = older,
        }
        match older.and_then(|older| self.links[older].as_mut()) {
            Some(link) => link.newer = newer,
            None => self.lists[standing as usize].oldest = newer,
        }
    }

    /// The one of that standing that has been idle longest.
    pub(super) fn oldest(&self, standing: Standing) -> Option<usize> {
        self.lists[standing as usize].oldest
    }

    /// How many there are of that standing.
    pub(super) fn count(&self, standing: Standing) -> usize {
        self.lists[standing as usize].count
    }
}

#[cfg(test)]
mod tests {
    use super::Standing::{New, Proven};
    use super::*;

    #[test]
    fn the_one_that_moved_longest_ago_is_the_oldest_of_its_standing() {
        let mut recency = Recency::default();
        (0..4).for_each(|session| recency.touch(session, New));
        recency.touch(0, New);
        assert_eq!(recency.oldest(New), Some(1));
        recency.touch(1, Proven);
        assert_eq!((recency.oldest(New), recency.oldest(Proven)), (Some(2), Some(1)));
        recency.remove(2);
        recency.remove(2);
        assert_eq!(recency.oldest(New), Some(3));
        for session in [1, 3, 0] {
            recency.remove(session);
        }
        assert_eq!((recency.oldest(New), recency.oldest(Proven)), (None, None));
    }

    #[test]
    fn who_has_been_idle_longest_makes_room_unless_very_many_have_shown_nothing() {
        let group = |count, millis| Group { count, idle: Some(Duration::from_millis(millis)) };
        let none = Group { count: 0, idle: None };
        assert_eq!(makes_room(none, none), None);
        assert_eq!(makes_room(none, group(1, 0)), Some(Proven));
        assert_eq!(makes_room(group(1, 0), none), Some(New));
        for (new, proven, makes) in [
            (group(1, 5), group(99, 5), New),
            (group(1, 5), group(99, 6), Proven),
            (group(1, 6), group(99, 5), New),
            (group(25, 5), group(75, 6), Proven),
            (group(26, 5), group(74, 6_000_000), New),
            (group(1, 5), group(1, 6), New),
        ] {
            assert_eq!(makes_room(new, proven), Some(makes), "{new:?} {proven:?}");
        }
    }

    #[test]
    fn sessions_are_pushed_out_in_a_burst_and_then_at_a_rate() {
        let mut evictions = Evictions::new();
        let begun = Duration::from_secs(7);
        let at_once = (0..5_000).filter(|_| evictions.may(begun)).count();
        assert_eq!(at_once, 1_000);
        // A flood: far more want to.
        let in_a_second =
            (0..60_000_u32).filter(|nth| evictions.may(begun + Duration::from_secs(1) * *nth / 60_000));
        let count = in_a_second.count();
        assert!((9_990..=10_000).contains(&count), "{count}");
        // And all is as before after a silence.
        assert_eq!((0..5_000).filter(|_| evictions.may(begun * 2)).count(), 1_000);
    }

    #[test]
    fn it_agrees_with_a_list_that_is_sorted_each_time() {
        let mut dice = fastrand::Rng::with_seed(11);
        let (mut recency, mut plain) = (Recency::default(), Vec::<(usize, Standing)>::new());
        for _ in 0..20_000 {
            let session = dice.usize(..40);
            plain.retain(|(other, _)| *other != session);
            if dice.u8(..4) == 0 {
                recency.remove(session);
            } else {
                let standing = if dice.bool() { New } else { Proven };
                recency.touch(session, standing);
                plain.push((session, standing));
            }
            for standing in [New, Proven] {
                let oldest = plain.iter().find(|(_, other)| *other == standing).map(|(session, _)| *session);
                assert_eq!(recency.oldest(standing), oldest);
                let count = plain.iter().filter(|(_, other)| *other == standing).count();
                assert_eq!(recency.count(standing), count);
            }
        }
    }
}
