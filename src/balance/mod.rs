//! The rules by which a backend is chosen: a closed set, one file each.
//!
//! A rule is pure. It sees the members that are up, their loads and what was tried already; it keeps its own state and
//! nothing else. A new rule is a file here, a variant of [`Balancer`] and a name in the configuration.

mod least_connections;
mod round_robin;
mod weighted_round_robin;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::rc::Rc;

use crate::config::Algorithm;
use crate::load::Load;
use crate::table::BackendId;

use least_connections::LeastConnections;
use round_robin::RoundRobin;
use weighted_round_robin::WeightedRoundRobin;

/// A backend that may be picked.
#[derive(Debug)]
pub struct Member {
    /// Which backend.
    pub id: BackendId,
    /// Where to connect.
    pub address: SocketAddr,
    /// Its share.
    pub weight: NonZeroU32,
    /// What this worker has running there.
    pub load: Rc<Load>,
}

/// Backends that were tried for one session and are not to be tried again. Empty (and unallocated) on the way that
/// nearly every session takes: the first pick connects.
#[derive(Debug, Default)]
pub struct Tried(Vec<BackendId>);

impl Tried {
    /// Leaves a backend out of the picks to come.
    pub fn add(&mut self, id: BackendId) {
        self.0.push(id);
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
    /// The backends that are up, in table order.
    pub members: &'a [Member],
    /// Those that must not be picked again for this session.
    pub tried: &'a Tried,
}

impl Choice<'_> {
    /// Whether the member may be picked.
    fn is_eligible(&self, member: &Member) -> bool {
        !self.tried.contains(member.id)
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
}

impl Balancer {
    /// The rule with this name, in its first state. `first` is where turns begin, for the rules that take turns among
    /// equals: workers that each begin at another place do not all send their first clients to the same backend.
    pub fn new(algorithm: Algorithm, first: usize) -> Balancer {
        match algorithm {
            Algorithm::RoundRobin => Balancer::RoundRobin(RoundRobin::starting_at(first)),
            Algorithm::WeightedRoundRobin => Balancer::WeightedRoundRobin(WeightedRoundRobin::default()),
            Algorithm::LeastConnections => Balancer::LeastConnections(LeastConnections::starting_at(first)),
        }
    }

    /// Gets ready for other members: what is kept for each of them is put in their order.
    pub fn adopt(&mut self, members: &[Member]) {
        match self {
            Balancer::RoundRobin(_) | Balancer::LeastConnections(_) => {}
            Balancer::WeightedRoundRobin(rule) => rule.adopt(members),
        }
    }

    /// Chooses one of the members that are eligible: its place among them. `None` when none is.
    pub fn pick(&mut self, choice: Choice<'_>) -> Option<usize> {
        match self {
            Balancer::RoundRobin(rule) => rule.pick(choice),
            Balancer::WeightedRoundRobin(rule) => rule.pick(choice),
            Balancer::LeastConnections(rule) => rule.pick(choice),
        }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Members to choose from.

    use std::net::Ipv4Addr;

    use super::*;
    use crate::stats::Stats;

    /// Members with these weights and no load; ids in order from 0.
    pub(crate) fn members(weights: &[u32]) -> Vec<Member> {
        let stats = Stats::new(1, 0, weights.len());
        let member = |(index, &weight)| Member {
            id: BackendId::new(index),
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 1000 + index as u16)),
            weight: NonZeroU32::new(weight).unwrap(),
            load: Load::new(BackendId::new(index), stats.workers[0].clone()),
        };
        weights.iter().enumerate().map(member).collect()
    }

    /// The next `count` picks with nothing tried.
    pub(crate) fn picks(balancer: &mut Balancer, members: &[Member], count: usize) -> Vec<usize> {
        let tried = Tried::default();
        let picks: Vec<usize> =
            (0..count).map(|_| balancer.pick(Choice { members, tried: &tried }).unwrap()).collect();
        assert_eq!(picks.len(), count);
        picks
    }

    #[test]
    fn no_rule_chooses_what_was_tried_or_from_nothing() {
        let all = [Algorithm::RoundRobin, Algorithm::WeightedRoundRobin, Algorithm::LeastConnections];
        for algorithm in all {
            let members = members(&[1, 2, 3]);
            let mut balancer = Balancer::new(algorithm, 0);
            balancer.adopt(&members);
            let mut tried = Tried::default();
            for left in (1..=3).rev() {
                let chosen = balancer.pick(Choice { members: &members, tried: &tried }).unwrap();
                assert!(!tried.contains(members[chosen].id), "{algorithm:?} with {left} left");
                tried.add(members[chosen].id);
            }
            assert_eq!(balancer.pick(Choice { members: &members, tried: &tried }), None);
            balancer.adopt(&[]);
            assert_eq!(balancer.pick(Choice { members: &[], tried: &Tried::default() }), None);
        }
    }
}
