//! The rules by which a backend is chosen: a closed set, one file each.
//!
//! A rule is pure. It sees the members, their sessions and response times, the client and what was tried already; dice come
//! in; it keeps its own state and nothing else. A new rule is a file here, a variant of [`Balancer`] and a name in the
//! configuration.

mod explore;
mod first;
mod hash;
mod least_connections;
mod least_response_time;
mod maglev;
mod peak_ewma;
mod power_of_two;
mod random;
mod round_robin;
mod score;
mod source_hash;
mod urn;
mod weighted_round_robin;

use std::cell::Cell;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use fastrand::Rng;

use crate::config::{Address, Algorithm, PowerOfTwoBy};
use crate::gate::Gate;
use crate::table::BackendId;
use crate::times::Times;

pub use explore::ONE_IN as EXPLORE_ONE_IN;
use least_connections::LeastConnections;
use least_response_time::LeastResponseTime;
use maglev::Maglev;
use peak_ewma::PeakEwma;
use power_of_two::PowerOfTwo;
use random::Random;
use round_robin::RoundRobin;
use source_hash::SourceHash;
use weighted_round_robin::WeightedRoundRobin;

/// One backend of the tier that is chosen from, whether it may be picked or not.
#[derive(Debug)]
pub struct Member {
    /// Which backend.
    pub id: BackendId,
    /// Its place in the pool: what its load is found by.
    pub place: usize,
    /// Where to connect.
    pub address: Address,
    /// Its weight as set.
    pub weight: u32,
    /// Its weight x the percentage of it that it gets now ([`SHARE_OF_WEIGHT`]), so that a slow start goes in fine steps; 1
    /// at least.
    pub share: NonZeroU32,
    /// 1 / `share`: scores multiply, which is cheaper than to divide.
    pub per_share: f64,
    /// Whether it gets sessions at all: wanted and up (or everybody is let through in a panic).
    pub is_open: bool,
    /// Sessions that it takes at once.
    pub limit: Option<NonZeroU32>,
    /// Who keeps that limit, for all workers.
    pub gate: Arc<Gate>,
}

/// The share of a weight of 1 whose slow start is over.
pub const SHARE_OF_WEIGHT: u32 = 100;

/// Backends that were tried for one session and are not to be tried again. Empty (and unallocated) on the way that
/// nearly every session takes: the first pick connects.
#[derive(Debug, Default)]
pub struct Tried(Vec<BackendId>);

impl Tried {
    /// Leaves a backend out of the picks to come.
    pub fn add(&mut self, id: BackendId) {
        self.0.push(id);
    }

    /// The same under another configuration. Who is not in it needs not be left out.
    pub fn translate(&self, heir: impl Fn(BackendId) -> Option<BackendId>) -> Tried {
        Tried(self.0.iter().filter_map(|&id| heir(id)).collect())
    }

    /// Whether it is left out.
    pub fn contains(&self, id: BackendId) -> bool {
        self.0.contains(&id)
    }

    /// How many are left out.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What a pick is made from.
#[derive(Clone, Copy)]
pub struct Choice<'a> {
    /// The backends of one tier, in table order.
    pub members: &'a [Member],
    /// How many sessions each has, by its place in the pool.
    pub sessions: &'a [Cell<u32>],
    /// What their limits are compared with.
    pub room: Room,
    /// How fast each answers.
    pub times: &'a Times,
    /// Those that must not be picked again for this session.
    pub tried: &'a Tried,
    /// Who asks.
    pub client: &'a IpAddr,
}

/// What the limit of a member is compared with.
#[derive(Clone, Copy)]
pub enum Room {
    /// What its gate has let in, in the whole process.
    Gates,
    /// The sessions that are chosen by. They are those of one worker, so it has its part of the limit: so many share it.
    Part(u32),
}

impl Choice<'_> {
    /// The one test that all rules share: open, not tried, not full.
    pub fn is_eligible(&self, member: &Member) -> bool {
        member.is_open && (self.tried.is_empty() || !self.tried.contains(member.id)) && !self.is_full(member)
    }

    /// Whether a member's limit is reached.
    #[inline]
    pub fn is_full(&self, member: &Member) -> bool {
        member.limit.is_some_and(|max| match self.room {
            Room::Gates => member.gate.is_full(max),
            Room::Part(workers) => self.active(member) >= max.get().div_ceil(workers),
        })
    }

    /// Visits every member that is eligible with its place among them, once round from `first`.
    #[inline(always)]
    fn each_eligible(&self, first: usize, mut visit: impl FnMut(usize, &Member)) {
        let (before, from) = self.members.split_at(first);
        // Two loops and not one over a chain: the rules that look at everybody spend most of their time here.
        for (index, member) in (first..).zip(from) {
            if self.is_eligible(member) {
                visit(index, member);
            }
        }
        for (index, member) in before.iter().enumerate() {
            if self.is_eligible(member) {
                visit(index, member);
            }
        }
    }

    /// Sessions on a member: those of the whole process, unless a shadow chooses.
    pub fn active(&self, member: &Member) -> u32 {
        self.sessions[member.place].get()
    }
}

/// A rule with its state.
#[derive(Debug)]
pub enum Balancer {
    /// Each in turn.
    RoundRobin(RoundRobin),
    /// Each in turn, by weight.
    WeightedRoundRobin(WeightedRoundRobin),
    /// The least busy for its weight.
    LeastConnections(LeastConnections),
    /// The fastest, times its sessions, for its weight.
    LeastResponseTime(LeastResponseTime),
    /// The better of two by peak EWMA.
    PeakEwma(PeakEwma),
    /// One drawn by weight.
    Random(Random),
    /// The better of two drawn by weight.
    PowerOfTwo(PowerOfTwo),
    /// The client's own, without a table.
    SourceHash(SourceHash),
    /// The client's own, by a table.
    Maglev(Maglev),
    /// The first that has room.
    First,
}

impl Balancer {
    /// Takes over what another one has made for the same backends: a table of Maglev takes milliseconds.
    pub fn inherit(&mut self, before: &Balancer) {
        if let (Balancer::Maglev(next), Balancer::Maglev(before)) = (self, before) {
            next.inherit(before);
        }
    }

    /// The rule with this name, in its first state. `first` is where turns begin, for the rules that take turns among
    /// equals: workers that each begin at another place do not all send their first clients to the same backend.
    pub fn new(algorithm: Algorithm, by: PowerOfTwoBy, first: usize) -> Balancer {
        match algorithm {
            Algorithm::RoundRobin => Balancer::RoundRobin(RoundRobin::starting_at(first)),
            Algorithm::WeightedRoundRobin => {
                Balancer::WeightedRoundRobin(WeightedRoundRobin::starting_at(first))
            }
            Algorithm::LeastConnections => Balancer::LeastConnections(LeastConnections::starting_at(first)),
            Algorithm::LeastResponseTime => {
                Balancer::LeastResponseTime(LeastResponseTime::starting_at(first))
            }
            Algorithm::PeakEwma => Balancer::PeakEwma(PeakEwma::starting_at(first)),
            Algorithm::Random => Balancer::Random(Random::default()),
            Algorithm::PowerOfTwo => Balancer::PowerOfTwo(PowerOfTwo::new(by, first)),
            Algorithm::SourceHash => Balancer::SourceHash(SourceHash::default()),
            Algorithm::Maglev => Balancer::Maglev(Maglev::default()),
            Algorithm::First => Balancer::First,
        }
    }

    /// Gets ready for other members: what is kept for each of them is put in their order.
    pub fn adopt(&mut self, members: &[Member]) {
        match self {
            Balancer::RoundRobin(_)
            | Balancer::LeastConnections(_)
            | Balancer::LeastResponseTime(_)
            | Balancer::First => {}
            Balancer::WeightedRoundRobin(rule) => rule.adopt(members),
            Balancer::PeakEwma(rule) => rule.adopt(members),
            Balancer::Random(rule) => rule.adopt(members),
            Balancer::PowerOfTwo(rule) => rule.adopt(members),
            Balancer::SourceHash(rule) => rule.adopt(members),
            Balancer::Maglev(rule) => rule.adopt(members),
        }
    }

    /// Chooses one of the members that are eligible: its place among them. `None` when none is.
    #[inline]
    pub fn pick(&mut self, choice: &Choice<'_>, dice: &mut Rng) -> Option<usize> {
        match self {
            Balancer::RoundRobin(rule) => rule.pick(choice),
            Balancer::WeightedRoundRobin(rule) => rule.pick(choice),
            Balancer::LeastConnections(rule) => rule.pick(choice),
            Balancer::LeastResponseTime(rule) => rule.pick(choice),
            Balancer::PeakEwma(rule) => rule.pick(choice, dice),
            Balancer::Random(rule) => rule.pick(choice, dice),
            Balancer::PowerOfTwo(rule) => rule.pick(choice, dice),
            Balancer::SourceHash(rule) => rule.pick(choice),
            Balancer::Maglev(rule) => rule.pick(choice),
            Balancer::First => first::pick(choice),
        }
    }

    /// What the rule compares members by, for who wants to understand a pick; smaller is better. For each unit of weight:
    /// nanoseconds, or sessions where nothing is timed. `None` where the rule compares nothing that is measured.
    pub fn score(&self, choice: &Choice<'_>, member: &Member) -> Option<f64> {
        self.score_per_share(choice, member).map(|score| score * f64::from(SHARE_OF_WEIGHT))
    }

    fn score_per_share(&self, choice: &Choice<'_>, member: &Member) -> Option<f64> {
        match self {
            Balancer::RoundRobin(_)
            | Balancer::WeightedRoundRobin(_)
            | Balancer::Random(_)
            | Balancer::SourceHash(_)
            | Balancer::Maglev(_)
            | Balancer::First => None,
            Balancer::LeastConnections(_) => Some(f64::from(choice.active(member)) * member.per_share),
            Balancer::LeastResponseTime(rule) => Some(rule.score(choice, member)),
            Balancer::PeakEwma(rule) => Some(rule.score(choice, member)),
            Balancer::PowerOfTwo(rule) => Some(rule.score(choice, member)),
        }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Members to choose from.

    use std::net::Ipv4Addr;
    use std::rc::Rc;

    use super::*;
    use crate::load::{Lease, Loads};

    /// Everything that a rule chooses from, with these weights and no load; ids in order from 0.
    pub(crate) struct Field {
        pub(crate) members: Vec<Member>,
        pub(crate) loads: Rc<Loads>,
        pub(crate) times: Times,
        pub(crate) tried: Tried,
        pub(crate) client: IpAddr,
        pub(crate) dice: Rng,
    }

    impl Field {
        pub(crate) fn new(weights: &[u32]) -> Field {
            let member = |(index, &weight): (usize, &u32)| Member {
                id: BackendId::new(index),
                place: index,
                address: Address::Ip((Ipv4Addr::LOCALHOST, 1000 + index as u16).into()),
                weight,
                share: NonZeroU32::new(weight * 100).unwrap(),
                per_share: 1.0 / f64::from(weight * 100),
                is_open: true,
                limit: None,
                gate: Arc::default(),
            };
            Field {
                members: weights.iter().enumerate().map(member).collect(),
                loads: crate::load::testing::loads(weights.len()),
                times: Times::new(weights.len()),
                tried: Tried::default(),
                client: IpAddr::V4(Ipv4Addr::LOCALHOST),
                dice: Rng::with_seed(1),
            }
        }

        pub(crate) fn balancer(&self, algorithm: Algorithm) -> Balancer {
            let mut balancer = Balancer::new(algorithm, PowerOfTwoBy::Connections, 0);
            balancer.adopt(&self.members);
            balancer
        }

        pub(crate) fn choice(&self) -> Choice<'_> {
            let Field { members, loads, times, tried, client, .. } = self;
            Choice { members, sessions: loads.totals(), room: Room::Gates, times, tried, client }
        }

        /// The next pick, which leaves no load.
        pub(crate) fn pick(&mut self, balancer: &mut Balancer) -> Option<usize> {
            let mut dice = self.dice.clone();
            let picked = balancer.pick(&self.choice(), &mut dice);
            self.dice = dice;
            picked
        }

        /// The next picks, which leave no load.
        pub(crate) fn picks(&mut self, balancer: &mut Balancer, count: usize) -> Vec<usize> {
            (0..count).map(|_| self.pick(balancer).unwrap()).collect()
        }

        /// The next pick for each of these clients.
        pub(crate) fn picks_of(
            &mut self,
            balancer: &mut Balancer,
            clients: impl Iterator<Item = IpAddr>,
        ) -> Vec<usize> {
            clients
                .map(|client| {
                    self.client = client;
                    self.pick(balancer).unwrap()
                })
                .collect()
        }

        /// Picks once for each client and compares the shares with the weights: each must be within five standard
        /// deviations of what independent draws would give, which a sound rule fails once in a million.
        pub(crate) fn assert_shares(
            &mut self,
            balancer: &mut Balancer,
            weights: &[u32],
            clients: impl Iterator<Item = IpAddr>,
        ) {
            let picks = self.picks_of(balancer, clients);
            let (count, total) = (picks.len() as f64, f64::from(weights.iter().sum::<u32>()));
            for (place, &weight) in weights.iter().enumerate() {
                let got = picks.iter().filter(|&&pick| pick == place).count() as f64;
                let chance = f64::from(weight) / total;
                let (expected, deviation) = (count * chance, (count * chance * (1.0 - chance)).sqrt());
                assert!(
                    (got - expected).abs() <= 5.0 * deviation,
                    "{place} of weight {weight}: {got} picks, expected {expected} with a deviation of {deviation}"
                );
            }
        }

        /// The next pick, which stays.
        pub(crate) fn pick_and_keep(&mut self, balancer: &mut Balancer) -> (usize, Lease) {
            let picked = self.pick(balancer).unwrap();
            (picked, self.loads.lease(picked))
        }
    }
    /// So many different clients.
    pub(crate) fn clients(count: u32) -> impl Iterator<Item = IpAddr> {
        (0..count).map(|number| IpAddr::V4(Ipv4Addr::from(0x0A00_0000 + number)))
    }

    /// A file of vectors, made by a twin in another language: `tests/vectors/make.py`.
    pub(crate) struct Vectors {
        pub(crate) field: Field,
        /// Which member each client must get.
        pub(crate) clients: Vec<(IpAddr, usize)>,
        /// The other lines: their first word and the rest.
        pub(crate) others: Vec<(&'static str, &'static str)>,
    }

    impl Vectors {
        pub(crate) fn parse(text: &'static str) -> Vectors {
            let lines: Vec<(&str, &str)> = text
                .lines()
                .filter(|line| !line.starts_with('#'))
                .map(|line| line.split_once(' ').unwrap())
                .collect();
            let of = |kind: &str| {
                let rest = lines.iter().filter(move |(word, _)| *word == kind).map(|(_, rest)| *rest);
                rest.map(|rest| rest.split_once(' ').unwrap()).collect::<Vec<_>>()
            };
            let backends = of("backend");
            let weights: Vec<u32> = backends.iter().map(|(_, weight)| weight.parse().unwrap()).collect();
            let mut field = Field::new(&weights);
            for (member, (address, _)) in field.members.iter_mut().zip(&backends) {
                member.address = address.parse().unwrap();
            }
            let client = |(address, place): &(&str, &str)| (address.parse().unwrap(), place.parse().unwrap());
            let clients = of("client").iter().map(client).collect();
            let others =
                lines.iter().copied().filter(|(word, _)| !["backend", "client"].contains(word)).collect();
            Vectors { field, clients, others }
        }

        /// Every client gets the member that the file says.
        pub(crate) fn assert_clients(&mut self, balancer: &mut Balancer) {
            assert!(self.clients.len() > 400);
            for &(client, expected) in &self.clients {
                self.field.client = client;
                assert_eq!(self.field.pick(balancer), Some(expected), "{client}");
            }
        }
    }
}
