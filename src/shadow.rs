//! Shadow: algorithms that choose beside the one that serves, without traffic, so that they can be compared with it.
//!
//! Each has a state and sessions of its own: those that this worker would have given it. A session counts where it was
//! chosen to be, from its first pick to its end, wherever it really is. Members, weights, health and the client are the
//! real ones, and so are the response times: they come from backends under the load that the real choices made.

use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use fastrand::Rng;

use crate::balance::{Balancer, Choice, Member, Room, Tried};
use crate::config::Pool;
use crate::config::keys::SHADOWS_MAX;
use crate::stats::{PoolShadows, SERVING, ShadowStats, Stats, WorkerStats};
use crate::table::BackendId;
use crate::times::Times;

/// The shadows of one worker's copy of a pool.
#[derive(Debug)]
pub struct Shadows {
    /// By shadow: a rule for each tier.
    rules: Box<[[Balancer; 2]]>,
    counts: Rc<Counts>,
    /// Who share the limits.
    workers: u32,
}

/// What shadows see of a pick.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    /// The backends of each tier.
    pub members: [&'a [Member]; 2],
    /// How fast each answers.
    pub times: &'a Times,
    /// Who asks.
    pub client: &'a IpAddr,
    /// The backend that serves.
    pub served: BackendId,
    /// Its place in the pool.
    pub place: usize,
}

/// Where sessions would have been.
#[derive(Debug)]
struct Counts {
    /// By shadow and place: what it chooses by.
    sessions: Box<[Box<[Cell<u32>]>]>,
    pool: usize,
    stats: Arc<WorkerStats>,
}

/// The place of a backend in its pool. The configuration allows fewer than 65,536.
type Place = u16;
/// Nobody had room.
const NOBODY: Place = Place::MAX;

/// Where one session is held to be, by what serves and by each shadow. Gives the counts back by drop. Small and
/// without an allocation: every session of a pool with shadows has one.
#[derive(Debug)]
pub struct Lease {
    counts: Rc<Counts>,
    places: [Place; 1 + SHADOWS_MAX],
}

impl Shadows {
    /// Those of this pool, if it has any.
    pub fn new(spec: &Pool, pool: usize, worker: usize, stats: &Stats) -> Option<Shadows> {
        if spec.shadow.is_empty() {
            return None;
        }
        assert!(spec.shadow.len() <= SHADOWS_MAX);
        assert!(spec.backends.len() <= usize::from(NOBODY));
        let rules = spec.shadow.iter().map(|&algorithm| {
            let rule = || Balancer::new(algorithm, spec.power_of_two_by, worker);
            [rule(), rule()]
        });
        let none = || spec.backends.iter().map(|_| Cell::new(0)).collect();
        let counts = Counts {
            sessions: spec.shadow.iter().map(|_| none()).collect(),
            pool,
            stats: Arc::clone(&stats.workers[worker]),
        };
        Some(Shadows { rules: rules.collect(), counts: Rc::new(counts), workers: stats.workers.len() as u32 })
    }

    /// Gets ready for other members of the tiers.
    pub fn adopt(&mut self, members: [&[Member]; 2]) {
        for rules in &mut self.rules {
            rules.iter_mut().zip(members).for_each(|(rule, members)| rule.adopt(members));
        }
    }

    /// Each chooses for a session that has been given a backend.
    pub fn choose(&mut self, seen: &Seen<'_>, dice: &mut Rng) -> Lease {
        let Shadows { rules, counts, workers } = self;
        let mut places = [NOBODY; 1 + SHADOWS_MAX];
        places[SERVING] = seen.place as Place;
        let tried = Tried::default();
        for (shadow, rules) in rules.iter_mut().enumerate() {
            let mut tiers = rules.iter_mut().zip(seen.members);
            let chosen = tiers.find_map(|(rule, members)| {
                let choice = Choice {
                    members,
                    sessions: &counts.sessions[shadow],
                    room: Room::Part(*workers),
                    times: seen.times,
                    tried: &tried,
                    client: seen.client,
                };
                rule.pick(&choice, dice).map(|chosen| &members[chosen])
            });
            compare(&counts.stats().shadows[shadow], seen, chosen);
            places[1 + shadow] = chosen.map_or(NOBODY, |member| member.place as Place);
        }
        counts.begin(&places);
        Lease { counts: Rc::clone(counts), places }
    }
}

/// Counts a choice against that of the algorithm that serves.
fn compare(stats: &ShadowStats, seen: &Seen<'_>, chosen: Option<&Member>) {
    let Some(chosen) = chosen else {
        return stats.nobody.add(1);
    };
    if chosen.place == seen.place {
        stats.agreed.add(1);
    }
    let [own, served] = [chosen.id, seen.served].map(|id| seen.times.get(id));
    // What is not measured now was measured under another load, or never.
    if own.is_fresh() && served.is_fresh() {
        stats.timed.add(1);
        stats.nanos.add(own.nanos() as u64);
        stats.nanos_served.add(served.nanos() as u64);
    }
}

impl Counts {
    fn stats(&self) -> &PoolShadows {
        self.stats.shadows[self.pool].as_ref().expect("the counters were made for pools with shadows")
    }

    fn begin(&self, places: &[Place; 1 + SHADOWS_MAX]) {
        for (chooser, place) in somewhere(places) {
            self.stats().backends[place].0[chooser].begin();
            if let Some(sessions) = self.sessions_of(chooser) {
                sessions[place].set(sessions[place].get() + 1);
            }
        }
    }

    fn end(&self, places: &[Place; 1 + SHADOWS_MAX]) {
        for (chooser, place) in somewhere(places) {
            self.stats().backends[place].0[chooser].end();
            if let Some(sessions) = self.sessions_of(chooser) {
                sessions[place].set(sessions[place].get() - 1);
            }
        }
    }

    /// What a shadow chooses by; what serves has its own.
    fn sessions_of(&self, chooser: usize) -> Option<&[Cell<u32>]> {
        chooser.checked_sub(1).map(|shadow| &*self.sessions[shadow])
    }
}

/// Who chose whom, without those who found nobody.
fn somewhere(places: &[Place; 1 + SHADOWS_MAX]) -> impl Iterator<Item = (usize, usize)> {
    let places = places.iter().enumerate().filter(|(_, place)| **place != NOBODY);
    places.map(|(chooser, &place)| (chooser, usize::from(place)))
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.counts.end(&self.places);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Algorithm, Choice as _};
    use crate::load::{self, Links};
    use crate::pool::{self, Request};
    use crate::samples::{self, Samples};
    use crate::table::BackendTable;
    use crate::times::Figure;
    use std::net::Ipv4Addr;
    use std::time::Instant;

    /// One worker's copy of a pool with shadows, and all that can be seen of it.
    struct World {
        pool: pool::Pool,
        stats: Arc<Stats>,
        times: Arc<Times>,
        dice: Rng,
    }

    /// A session: the real count and those of the shadows.
    type Session = (load::Lease, Option<Lease>);

    impl World {
        /// `backends` are the keys of each, `keys` those of the pool.
        fn new(keys: &str, backends: &[&str], workers: usize) -> World {
            let mut text =
                format!("[[listener]]\nname='a'\nbind='127.0.0.1:1'\npool='p'\n[[pool]]\nname='p'\n{keys}\n");
            for (at, keys) in backends.iter().enumerate() {
                text += &format!("[[pool.backend]]\naddress='127.0.0.1:{}'\n{keys}\n", 2 + at);
            }
            let config = config::parse("test", &text).unwrap_or_else(|errors| panic!("{errors}"));
            let stats = Arc::new(Stats::new(workers, 1, backends.len()).with_shadows(&config.pools));
            let times = Arc::new(Times::new(backends.len()));
            let links = Links {
                stats: Arc::clone(&stats),
                samples: Rc::new(Samples::new(samples::channel(1).0)),
                signal: config.pools[0].response_time.signal,
                queue: Arc::default(),
            };
            let setup = pool::Setup { index: 0, worker: 0, links, times: Arc::clone(&times) };
            let mut pool = pool::Pool::new(&config.pools[0], setup);
            pool.adopt(&BackendTable::first(&config.pools, Instant::now()));
            World { pool, stats, times, dice: Rng::with_seed(1) }
        }

        /// The next session, from this client.
        fn session_of(&mut self, client: u32, tried: &Tried) -> Session {
            let request = Request { client: Ipv4Addr::from(client).into(), tried };
            let (served, _) = self.pool.pick(&request, &mut self.dice).unwrap();
            let shadow = self.pool.shadow(&request, &served, &mut self.dice);
            (served, shadow)
        }

        fn session(&mut self) -> Session {
            self.session_of(1, &Tried::default())
        }

        fn counters(&self) -> &PoolShadows {
            self.stats.workers[0].shadows[0].as_ref().unwrap()
        }

        /// Sessions now by backend, of what serves (0) or of a shadow (from 1).
        fn active(&self, chooser: usize) -> Vec<u64> {
            self.counters().backends.iter().map(|backend| backend.0[chooser].active.get()).collect()
        }

        fn total(&self, chooser: usize) -> Vec<u64> {
            self.counters().backends.iter().map(|backend| backend.0[chooser].total.get()).collect()
        }

        fn most(&self, chooser: usize) -> Vec<u64> {
            self.counters().backends.iter().map(|backend| backend.0[chooser].most.get()).collect()
        }
    }

    fn places(lease: &Lease) -> Vec<Place> {
        lease.places.to_vec()
    }

    #[test]
    fn turns_beside_turns_by_weight_agree_as_computed_by_hand() {
        let backends = ["weight=5", "weight=1", "weight=1"];
        let mut world = World::new("algorithm='weighted-round-robin'\nshadow='round-robin'", &backends, 1);
        let mut pairs = String::new();
        for _ in 0..7 {
            let (_served, shadow) = world.session();
            for place in &shadow.unwrap().places[..2] {
                pairs.push(char::from(b'a' + *place as u8));
            }
            pairs.push(' ');
        }
        // By weight it is A A B A C A A, by turns A B C A B C A: the same at the first, the fourth and the last.
        assert_eq!(pairs, "aa ab bc aa cb ac aa ");
        assert_eq!(world.counters().shadows[0].agreed.get(), 3);
        assert_eq!((world.total(0), world.total(1)), (vec![5, 1, 1], vec![3, 2, 2]));
    }

    #[test]
    fn a_shadow_chooses_by_the_sessions_that_it_would_have_had() {
        let mut world = World::new("algorithm='first'\nshadow=['least-connections']", &[""; 2], 1);
        // All really go to the first one. By the real sessions the shadow would always take the second one.
        let kept: Vec<Session> = (0..4).map(|_| world.session()).collect();
        assert_eq!((world.active(0), world.active(1)), (vec![4, 0], vec![2, 2]));
        let on_second = |session: &Session| session.1.as_ref().unwrap().places[1] == 1;
        let (gone, stay): (Vec<Session>, Vec<Session>) = kept.into_iter().partition(on_second);
        drop(gone);
        assert_eq!((world.active(0), world.active(1)), (vec![2, 0], vec![2, 0]));
        // Both of the next go where the shadow has nobody left.
        let more = [world.session(), world.session()];
        assert_eq!((world.active(0), world.active(1)), (vec![4, 0], vec![2, 2]));
        assert_eq!((world.most(0), world.most(1)), (vec![4, 0], vec![2, 2]));
        drop((stay, more));
    }

    #[test]
    fn every_session_that_would_have_been_ends_with_the_real_one() {
        let names: Vec<&str> = Algorithm::ALL.iter().map(|algorithm| algorithm.word()).collect();
        for shadows in names[1..].chunks(SHADOWS_MAX) {
            let mut world = World::new(&format!("shadow={shadows:?}"), &[""; 5], 1);
            let kept: Vec<Session> =
                (0..50).map(|client| world.session_of(client, &Tried::default())).collect();
            for chooser in 0..=shadows.len() {
                assert_eq!(world.active(chooser).iter().sum::<u64>(), 50, "{shadows:?} {chooser}");
            }
            let counts = Rc::clone(&kept[0].1.as_ref().unwrap().counts);
            let broken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let _kept = kept;
                panic!("the end of all of them");
            }));
            assert!(broken.is_err());
            for chooser in 0..=shadows.len() {
                assert_eq!(world.active(chooser), [0; 5], "{shadows:?} {chooser}");
                assert_eq!(world.total(chooser).iter().sum::<u64>(), 50, "{shadows:?} {chooser}");
            }
            let mut sessions = counts.sessions.iter().flatten();
            assert!(sessions.all(|sessions| sessions.get() == 0), "{shadows:?}");
        }
    }

    #[test]
    fn a_limit_is_shared_out_among_the_workers_and_backups_come_in_when_it_is_reached() {
        let backends = ["max_connections=4", "max_connections=4", "backup=true"];
        let mut world = World::new("shadow=['first']", &backends, 2);
        let kept: Vec<Session> = (0..5).map(|_| world.session()).collect();
        // By turns the real ones are 3 and 2. The shadow fills 2 places of each: half of 4.
        assert_eq!((world.active(0), world.active(1)), (vec![3, 2, 0], vec![2, 2, 1]));
        drop(kept);
        let mut world = World::new("shadow=['first']", &backends[..2], 2);
        let kept: Vec<Session> = (0..5).map(|_| world.session()).collect();
        assert_eq!(world.counters().shadows[0].nobody.get(), 1);
        assert_eq!((world.active(0), world.active(1)), (vec![3, 2], vec![2, 2]));
        drop(kept);
        assert_eq!((world.active(0), world.active(1)), (vec![0, 0], vec![0, 0]));
    }

    #[test]
    fn times_are_compared_where_both_backends_are_measured() {
        let mut world = World::new("algorithm='first'\nshadow=['round-robin']", &[""; 3], 1);
        let figures = [Figure::fresh(100), Figure::fresh(300), Figure::stale(5)];
        for (at, figure) in figures.into_iter().enumerate() {
            world.times.set(BackendId::new(at), figure);
        }
        (0..6).for_each(|_| drop(world.session()));
        let stats = &world.counters().shadows[0];
        // By turns 100 and 300, twice; the third one is left out.
        assert_eq!((stats.timed.get(), stats.nanos.get(), stats.nanos_served.get()), (4, 800, 400));
    }

    #[test]
    fn shadows_do_not_choose_for_who_has_tried_others() {
        let mut world = World::new("shadow=['first']", &[""; 2], 1);
        let mut tried = Tried::default();
        tried.add(BackendId::new(0));
        assert!(world.session_of(1, &tried).1.is_none());
        let (_served, shadow) = world.session();
        assert_eq!(places(&shadow.unwrap())[1..], [0, NOBODY, NOBODY, NOBODY]);
    }

    #[test]
    fn a_pool_without_shadows_has_nothing_of_all_this() {
        let mut world = World::new("", &[""; 2], 1);
        assert!(world.session().1.is_none());
        assert!(world.stats.workers[0].shadows[0].is_none());
    }
}
