//! Past: what a record tells of one pool: who came when, and what each backend took for what it served.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use fastrand::Rng;

use super::Error;
use super::outcome::Outcome;
use crate::arrivals::{Arrival, Client};
use crate::config::{Config, Workers};
use crate::record::{self, Recorded};

/// Sessions of a backend among which one is drawn: those that came nearest in time. Enough to be a distribution, and few
/// enough that a backend which was slow for some seconds is slow for these.
pub(super) const NEAR: usize = 64;
/// Fewer sessions of a backend than this are too few to tell much.
const FEW: usize = 100;

/// What is known of one pool.
#[derive(Debug)]
pub(super) struct Past {
    /// One listener before one pool, whose backends are those that served somebody.
    pub(super) config: Config,
    /// Those of the record.
    pub(super) workers: usize,
    /// Who came, in order of time.
    pub(super) came: Vec<Came>,
    /// How many clients these are.
    pub(super) clients: usize,
    /// What came of them.
    pub(super) outcome: Outcome,
    /// What to know about the record.
    pub(super) notes: Vec<String>,
    /// What each backend served, in the order of the picks.
    services: Vec<Vec<Service>>,
}

/// A client that came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Came {
    /// Since the first one came.
    pub(super) at_us: u64,
    /// An address that stands for it, or its own.
    pub(super) client: IpAddr,
}

/// What a backend took for one session. Everything from the pick on, but the first byte from when it was owed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Service {
    /// The pick, since the first client came.
    at_us: u64,
    pub(super) connect: Duration,
    pub(super) first_byte: Option<Duration>,
    pub(super) session: Duration,
}

impl Past {
    /// Reads files, and keeps what is of one pool.
    pub(super) fn read(paths: &[PathBuf], pool: Option<&str>) -> Result<Past, Error> {
        let mut files = Vec::with_capacity(paths.len());
        let mut notes = Vec::new();
        for path in paths {
            let file = record::read(path).map_err(Error::Unreadable)?;
            if let Some(cut) = &file.cut {
                let count = file.arrivals.len();
                notes.push(format!(
                    "{}: {cut}; the {count} sessions before that are replayed",
                    path.display()
                ));
            }
            files.push(file);
        }
        let setting = |file: &Recorded| file.header.setting.clone();
        if let Some(place) = files.iter().position(|file| setting(file) != setting(&files[0])) {
            return Err(Error::OtherSetting { file: paths[place].clone(), first: paths[0].clone() });
        }
        notes.extend(told_apart(&files));
        let Some(config) = files.first().map(|file| file.config.clone()) else {
            return Err(Error::NoSessions);
        };
        let pool = choose_pool(&config, &files, pool)?;
        Past::of_pool(config, pool, &files, notes)
    }

    fn of_pool(
        mut config: Config,
        pool: usize,
        files: &[Recorded],
        mut notes: Vec<String>,
    ) -> Result<Past, Error> {
        let is_here = |arrival: &&Arrival| arrival.pool as usize == pool;
        let mut sessions: Vec<(u64, Arrival)> = Vec::new();
        for file in files {
            let at = |arrival: &Arrival| file.header.begun_unix_us.saturating_add(arrival.accepted_us);
            sessions.extend(file.arrivals.iter().filter(is_here).map(|arrival| (at(arrival), *arrival)));
        }
        sessions.sort_by_key(|(at, _)| *at);
        let first_at = sessions.first().map_or(0, |(at, _)| *at);

        let first_backend: usize = config.pools[..pool].iter().map(|pool| pool.backends.len()).sum();
        let mut spec = config.pools.swap_remove(pool);
        config.listeners.truncate(1);
        config.listeners[0].pool = 0;
        let mut services = vec![Vec::new(); spec.backends.len()];
        let mut came = Vec::with_capacity(sessions.len());
        for (at, arrival) in &sessions {
            let at_us = at.saturating_sub(first_at);
            came.push(Came { at_us, client: stand_in(arrival.client) });
            if let Some((backend, service)) = served(arrival, at_us, first_backend, spec.backends.len()) {
                services[backend].push(service);
            }
        }
        // Who waited longer may have been let in earlier.
        services.iter_mut().for_each(|services| services.sort_by_key(|service| service.at_us));
        notes.extend(leave_out_the_unknown(&mut spec.backends, &mut services));
        if services.is_empty() {
            return Err(Error::NothingServed(spec.name));
        }
        let clients = came.iter().map(|came| came.client).collect::<HashSet<_>>().len();
        let outcome = outcome(&sessions, &services);
        let workers = match config.server.workers {
            Workers::Count(count) => count.get(),
            Workers::Auto | Workers::Cores(_) => 1,
        };
        config.pools = vec![spec];
        Ok(Past { config, workers, came, clients, outcome, notes, services })
    }

    /// What a session takes that a backend gets at a moment of the record: what one took that it served about then.
    pub(super) fn draw(&self, backend: usize, at_us: u64, dice: &mut Rng) -> Service {
        let services = &self.services[backend];
        let place = services.partition_point(|service| service.at_us < at_us);
        let end = (place + NEAR / 2).max(NEAR).min(services.len());
        services[dice.usize(end.saturating_sub(NEAR)..end)]
    }

    /// From the first arrival to the last.
    pub(super) fn length(&self) -> Duration {
        Duration::from_micros(self.came.last().map_or(0, |came| came.at_us))
    }
}

/// The pool that is named, or the only one that had sessions.
fn choose_pool(config: &Config, files: &[Recorded], name: Option<&str>) -> Result<usize, Error> {
    let mut counts = vec![0_u64; config.pools.len()];
    for arrival in files.iter().flat_map(|file| &file.arrivals) {
        counts[arrival.pool as usize] += 1;
    }
    let pools = || {
        let told = |(pool, count): (&crate::config::Pool, &u64)| format!("{} ({count} sessions)", pool.name);
        config.pools.iter().zip(&counts).map(told).collect()
    };
    let busy: Vec<usize> = (0..counts.len()).filter(|&pool| counts[pool] > 0).collect();
    match (name, &busy[..]) {
        (_, []) => Err(Error::NoSessions),
        (None, [pool]) => Ok(*pool),
        (None, _) => Err(Error::WhichPool(pools())),
        (Some(name), _) => match config.pools.iter().position(|pool| pool.name == name) {
            Some(pool) if counts[pool] > 0 => Ok(pool),
            _ => Err(Error::NoSuchPool { name: name.to_owned(), pools: pools() }),
        },
    }
}

/// That a client has other numbers in another run.
fn told_apart(files: &[Recorded]) -> Option<String> {
    let runs: HashSet<u64> =
        files.iter().filter(|file| !file.header.addresses).map(|file| file.header.run).collect();
    (runs.len() > 1).then(|| {
        format!(
            "the files are of {} runs of ringway: a client that came in several counts as several",
            runs.len()
        )
    })
}

/// The place in its pool of the backend that served a session, and what that took.
fn served(
    arrival: &Arrival,
    came_us: u64,
    first_backend: usize,
    backends: usize,
) -> Option<(usize, Service)> {
    let backend = arrival.backend?.index().checked_sub(first_backend).filter(|&place| place < backends)?;
    let us = Duration::from_micros;
    let session = us(arrival.duration_us.saturating_sub(arrival.waited_us));
    let at_us = came_us.saturating_add(arrival.waited_us);
    // Only who was connected was served.
    let connect = us(arrival.connect_us?).min(session);
    Some((backend, Service { at_us, connect, first_byte: arrival.first_byte_us.map(us), session }))
}

/// How a backend answers that served nobody is not known, so that it cannot be in a replay.
fn leave_out_the_unknown(
    backends: &mut Vec<crate::config::Backend>,
    services: &mut Vec<Vec<Service>>,
) -> Vec<String> {
    let names = |which: &dyn Fn(usize) -> bool| -> Vec<String> {
        let found = backends.iter().zip(&*services).filter(|(_, services)| which(services.len()));
        found.map(|(backend, _)| backend.name.clone()).collect()
    };
    let (none, few) = (names(&|count| count == 0), names(&|count| (1..FEW).contains(&count)));
    let mut notes = Vec::new();
    if !none.is_empty() {
        notes.push(format!("left out, because they served nobody: {}", none.join(", ")));
    }
    if !few.is_empty() {
        notes.push(format!(
            "little is known of those that served less than {FEW} sessions: {}",
            few.join(", ")
        ));
    }
    let mut is_known = services.iter().map(|services| !services.is_empty());
    backends.retain(|_| is_known.next().unwrap_or(false));
    drop(is_known);
    services.retain(|services| !services.is_empty());
    notes
}

/// A number becomes an address that no client has, so that hashes of clients can be made.
fn stand_in(client: Client) -> IpAddr {
    match client {
        Client::Address(address) => address,
        Client::Hash(hash) => IpAddr::V6(Ipv6Addr::from((0xfd_u128 << 120) | u128::from(hash))),
    }
}

/// What came of the sessions when they were recorded.
fn outcome(sessions: &[(u64, Arrival)], services: &[Vec<Service>]) -> Outcome {
    let us = Duration::from_micros;
    let mut outcome = Outcome::new(services.len());
    for (_, arrival) in sessions {
        if arrival.backend.is_none() || arrival.connect_us.is_none() {
            outcome.failed += 1;
            continue;
        }
        outcome.session(us(arrival.duration_us));
        if let Some(first_byte_us) = arrival.first_byte_us {
            outcome.first_byte(us(arrival.waited_us.saturating_add(first_byte_us)));
        }
    }
    for (served, services) in outcome.served.iter_mut().zip(services) {
        *served = services.len() as u64;
        outcome.most_active = outcome.most_active.max(most_at_once(services));
    }
    outcome
}

/// The most sessions that ran at the same time.
fn most_at_once(services: &[Service]) -> u64 {
    let end = |service: &Service| service.at_us.saturating_add(service.session.as_micros() as u64);
    let mut ends: Vec<u64> = services.iter().map(end).collect();
    ends.sort_unstable();
    let (mut ended, mut most) = (0, 0);
    for (begun, service) in services.iter().enumerate() {
        while ends.get(ended).is_some_and(|&end| end < service.at_us) {
            ended += 1;
        }
        most = most.max(begun + 1 - ended);
    }
    most as u64
}
