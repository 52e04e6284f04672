//! Pool: this worker's own copy of one pool, from which it picks.
//!
//! Work that belongs to a change of the table (who is open, in which tier, with which weight) is done once, when a new
//! table is adopted. A pick only reads: it does not allocate, lock, look at a clock or touch a socket.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;

use fastrand::Rng;

use crate::balance::{Balancer, Choice, Member, Room, Tried};
use crate::config::{Address, Pool as Spec};
use crate::decision::{Candidate, Verdict};
use crate::load::{Lease, Links, Loads};
use crate::shadow::{self, Shadows};
use crate::table::{Backend, BackendTable};
use crate::times::Times;

/// What a worker's copy of a pool is made from.
#[derive(Debug)]
pub struct Setup {
    /// The configuration's pool number this.
    pub index: usize,
    /// This worker.
    pub worker: usize,
    /// What its loads are tied to.
    pub links: Links,
    /// How fast each backend answers.
    pub times: Arc<Times>,
}

/// One worker's copy of one pool.
#[derive(Debug)]
pub struct Pool {
    setup: Setup,
    panic_threshold: u32,
    epoch: u64,
    /// Empty until the first table is adopted.
    loads: Rc<Loads>,
    /// Those that serve, and those that serve when none of these can.
    tiers: [Tier; 2],
    /// Members on trial: the next session that they take decides about each. Hardly ever any.
    on_trial: Vec<Member>,
    /// Algorithms that choose too, without traffic. Hardly ever any.
    shadows: Option<Shadows>,
}

/// Backends that are chosen from together.
#[derive(Debug)]
struct Tier {
    members: Vec<Member>,
    balancer: Balancer,
}

/// Who asks for a backend.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// From where.
    pub client: IpAddr,
    /// Those that must not be picked again for this session.
    pub tried: &'a Tried,
}

/// Why nobody was picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nobody {
    /// Some would serve, but all of them are at their limit.
    Full,
    /// There is none that serves and was not tried.
    Left,
}

impl Pool {
    /// The worker's copy of a pool; empty until it adopts a table.
    pub fn new(spec: &Spec, setup: Setup) -> Pool {
        let tier = || Tier {
            members: Vec::new(),
            balancer: Balancer::new(spec.algorithm, spec.power_of_two_by, setup.worker),
        };
        let tiers = [tier(), tier()];
        let loads = Loads::new(0..0, setup.worker, setup.links.clone());
        let stats = &setup.links.stats;
        let shadows = Shadows::new(spec, setup.index, setup.worker, stats);
        let panic_threshold = spec.panic_threshold;
        Pool { setup, panic_threshold, epoch: 0, loads, tiers, on_trial: Vec::new(), shadows }
    }

    /// Takes over what was made for this pool under the configuration before, if it can be used.
    pub fn inherit(&mut self, before: &Pool) {
        for (tier, before) in self.tiers.iter_mut().zip(&before.tiers) {
            tier.balancer.inherit(&before.balancer);
        }
    }

    /// Makes `table` what picks are made from. Costs one comparison when it is the one already.
    pub fn adopt(&mut self, table: &BackendTable) {
        if table.epoch != self.epoch {
            self.rebuild(table);
        }
    }

    #[cold]
    fn rebuild(&mut self, table: &BackendTable) {
        assert!(table.epoch > self.epoch, "an epoch never goes back");
        self.epoch = table.epoch;
        let places = table.pools[self.setup.index].clone();
        let backends = &table.backends[places.clone()];
        if self.loads.len() != backends.len() {
            assert!(self.loads.is_empty(), "ids and their order never change");
            self.loads = Loads::new(places, self.setup.worker, self.setup.links.clone());
        }
        let in_panic = is_in_panic(backends, self.panic_threshold);
        self.on_trial.clear();
        self.tiers.iter_mut().for_each(|tier| tier.members.clear());
        for (place, backend) in backends.iter().enumerate() {
            let is_open = backend.is_open() || (in_panic && !backend.backup && backend.is_wanted());
            // Also in a panic, when it is open like everybody: only a trial brings it back, and that may end the panic.
            if backend.is_on_trial() {
                self.on_trial.push(member(place, backend, false));
            }
            self.tiers[usize::from(backend.backup)].members.push(member(place, backend, is_open));
        }
        self.tiers.iter_mut().for_each(|tier| tier.balancer.adopt(&tier.members));
        if let Some(shadows) = &mut self.shadows {
            shadows.adopt(self.tiers.each_ref().map(|tier| &*tier.members));
        }
    }

    /// Chooses a backend that is eligible, and counts it.
    #[inline]
    pub fn pick(&mut self, request: &Request<'_>, dice: &mut Rng) -> Result<(Lease, Address), Nobody> {
        self.loads.look_around();
        if !self.on_trial.is_empty()
            && let Some(picked) = self.pick_for_trial(request)
        {
            return Ok(picked);
        }
        for tier in &mut self.tiers {
            let choice = choice(&tier.members, &self.loads, &self.setup.times, request);
            // More than once only if another worker took the last place between the look and the entry.
            while let Some(chosen) = tier.balancer.pick(&choice, dice) {
                let member = &tier.members[chosen];
                debug_assert!(choice.is_eligible(member) || member.limit.is_some());
                if let Some(lease) = enter(&self.loads, member) {
                    return Ok((lease, member.address));
                }
            }
        }
        Err(self.why_nobody(request.tried))
    }

    /// A backend that was ejected gets one session to show that it serves again.
    #[cold]
    fn pick_for_trial(&self, request: &Request<'_>) -> Option<(Lease, Address)> {
        let mut untried = self.on_trial.iter().filter(|member| !request.tried.contains(member.id));
        untried.find_map(|member| {
            let trial = member.gate.take_trial()?;
            let mut lease = enter(&self.loads, member)?;
            lease.try_out(trial);
            Some((lease, member.address))
        })
    }

    /// Has the shadows choose too for a session that has just been given `served`. `None` when there are none, and when no
    /// algorithm chose: for a trial, and for a session that has tried others before.
    #[inline]
    pub fn shadow(&mut self, request: &Request<'_>, served: &Lease, dice: &mut Rng) -> Option<shadow::Lease> {
        let shadows = self.shadows.as_mut()?;
        if served.is_trial() || !request.tried.is_empty() {
            return None;
        }
        let members = self.tiers.each_ref().map(|tier| &*tier.members);
        let seen = shadow::Seen {
            members,
            times: &self.setup.times,
            client: &request.client,
            served: served.backend(),
            place: served.place(),
        };
        Some(shadows.choose(&seen, dice))
    }

    fn why_nobody(&self, tried: &Tried) -> Nobody {
        let mut members = self.tiers.iter().flat_map(|tier| &tier.members);
        let is_only_full = |member: &Member| member.is_open && !tried.contains(member.id);
        if members.any(is_only_full) { Nobody::Full } else { Nobody::Left }
    }

    /// Every backend of the pool as it looks to the next pick, in table order. For people: it allocates.
    pub fn candidates(&self, request: &Request<'_>) -> Vec<Candidate> {
        let of_tier = |tier: &Tier| {
            let choice = choice(&tier.members, &self.loads, &self.setup.times, request);
            let candidate = |member: &Member| Candidate {
                id: member.id,
                active: self.loads.active(member.place),
                nanos: self.setup.times.get(member.id).nanos() as u64,
                verdict: self.verdict(tier, &choice, member),
            };
            tier.members.iter().map(candidate).collect::<Vec<_>>()
        };
        let mut candidates: Vec<Candidate> = self.tiers.iter().flat_map(of_tier).collect();
        candidates.sort_by_key(|candidate| candidate.id);
        candidates
    }

    fn verdict(&self, tier: &Tier, choice: &Choice<'_>, member: &Member) -> Verdict {
        let [serving, backup] = &self.tiers;
        if choice.tried.contains(member.id) {
            Verdict::Tried
        } else if self.on_trial.iter().any(|on_trial| on_trial.id == member.id) {
            Verdict::OnTrial
        } else if !member.is_open {
            Verdict::Closed
        } else if choice.is_full(member) {
            Verdict::Full
        } else if std::ptr::eq(tier, backup) && serving.members.iter().any(|first| choice.is_eligible(first))
        {
            Verdict::Backup
        } else {
            Verdict::Eligible(tier.balancer.score(choice, member))
        }
    }

    /// The epoch of the table that picks are made from.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How many sessions each backend has.
    pub fn loads(&self) -> &Rc<Loads> {
        &self.loads
    }
}

/// What is chosen from, for this request.
#[inline]
fn choice<'a>(
    members: &'a [Member],
    loads: &'a Loads,
    times: &'a Times,
    request: &'a Request<'_>,
) -> Choice<'a> {
    let sessions = loads.totals();
    Choice { members, sessions, room: Room::Gates, times, tried: request.tried, client: &request.client }
}

/// Lets a session in and counts it, unless somebody else took the last place.
#[inline]
fn enter(loads: &Rc<Loads>, member: &Member) -> Option<Lease> {
    let Some(max) = member.limit else {
        return Some(loads.lease(member.place));
    };
    let place = member.gate.enter(max)?;
    let mut lease = loads.lease(member.place);
    lease.hold(place);
    Some(lease)
}

fn member(place: usize, backend: &Backend, is_open: bool) -> Member {
    // At a ramp of 100 this is the weight x `SHARE_OF_WEIGHT`.
    let share = backend.weight.saturating_mul(backend.ramp).max(1);
    Member {
        id: backend.id,
        place,
        address: backend.address,
        weight: backend.weight,
        share: NonZeroU32::new(share).unwrap_or(NonZeroU32::MIN),
        per_share: 1.0 / f64::from(share),
        is_open,
        limit: backend.max_connections,
        gate: Arc::clone(&backend.gate),
    }
}

/// Whether so few backends are up that it is better to try them all: of those that are wanted and no backup, less than
/// `threshold` percent.
fn is_in_panic(backends: &[Backend], threshold: u32) -> bool {
    let wanted = backends.iter().filter(|backend| !backend.backup && backend.is_wanted());
    let (wanted, open) = (wanted.clone().count(), wanted.filter(|backend| backend.is_open()).count());
    (open * 100) < (wanted * threshold as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{self, Samples};
    use crate::stats::Stats;
    use crate::table::State;
    use std::net::Ipv4Addr;
    use std::time::Instant;

    #[test]
    fn in_a_panic_a_backend_on_trial_still_has_its_trial() {
        let text = "[[listener]]\nname='a'\nbind='127.0.0.1:1'\npool='p'\n[[pool]]\nname='p'\npanic_threshold=60\n\
                    [[pool.backend]]\naddress='127.0.0.1:2'\n[[pool.backend]]\naddress='127.0.0.1:3'\n";
        let config = crate::config::parse("test", text).unwrap();
        let links = Links {
            stats: Arc::new(Stats::new(1, 1, 2)),
            samples: Rc::new(Samples::new(samples::channel(1).0)),
            signal: config.pools[0].response_time.signal,
            queue: Arc::default(),
        };
        let setup = Setup { index: 0, worker: 0, links, times: Arc::new(Times::new(2)) };
        let mut pool = Pool::new(&config.pools[0], setup);
        let mut table = BackendTable::first(&config.pools, Instant::now());
        table.backends[0].health.state = State::OnTrial;
        table.backends[0].gate.open_trial();
        pool.adopt(&table);
        let tried = Tried::default();
        let request = Request { client: Ipv4Addr::LOCALHOST.into(), tried: &tried };
        let mut dice = Rng::with_seed(1);
        let picks: Vec<bool> =
            (0..4).map(|_| pool.pick(&request, &mut dice).unwrap().0).map(|lease| lease.is_trial()).collect();
        // Each was given back without a result, and left the trial to the next one.
        assert_eq!(picks, [true; 4]);
        let trial = pool.pick(&request, &mut dice).unwrap().0;
        let other = pool.pick(&request, &mut dice).unwrap().0;
        assert!(trial.is_trial() && !other.is_trial());
    }
}
