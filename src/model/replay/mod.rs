//! Replay: recorded arrivals through the real choosing, against backends that answer as they did: `ringway replay`.

mod outcome;
mod past;
mod report;
mod world;

use std::fmt;
use std::path::PathBuf;

use crate::config::Algorithm;
use crate::record::Unreadable;
use past::Past;

/// What to replay, and how.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Files of the record, in any order.
    pub files: &'a [PathBuf],
    /// Which pool; may be left out when only one had sessions.
    pub pool: Option<&'a str>,
    /// With which algorithms.
    pub algorithms: &'a [Algorithm],
    /// What the dice come from.
    pub seed: u64,
    /// Clients come so many times as fast as they did.
    pub speed: f64,
}

/// Why there is nothing to replay.
#[derive(Debug)]
pub enum Error {
    /// A file is no record.
    Unreadable(Unreadable),
    /// Two files were recorded with different listeners, pools or backends.
    OtherSetting {
        /// This one.
        file: PathBuf,
        /// Differs from this.
        first: PathBuf,
    },
    /// There is no pool of this name.
    NoSuchPool {
        /// As asked for.
        name: String,
        /// Those that there are.
        pools: Vec<String>,
    },
    /// Several pools had sessions, and none was named.
    WhichPool(Vec<String>),
    /// No file has a session.
    NoSessions,
    /// No backend of the pool served any session.
    NothingServed(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Unreadable(error) => error.fmt(f),
            Error::OtherSetting { file, first } => write!(
                f,
                "{}: was recorded with other listeners, pools or backends than {}; replay them one by one",
                file.display(),
                first.display()
            ),
            Error::NoSuchPool { name, pools } => {
                write!(f, "--pool {name}: the record has no such pool; it has {}", pools.join(", "))
            }
            Error::WhichPool(pools) => {
                write!(f, "several pools had sessions: name one with --pool; there are {}", pools.join(", "))
            }
            Error::NoSessions => write!(
                f,
                "no session is recorded; sessions are written when they end, and at most a second later: record for longer"
            ),
            Error::NothingServed(pool) => write!(
                f,
                "pool {pool}: no backend served any of its sessions, so how they answer is not known; record for longer, or \
                 name another pool with --pool"
            ),
        }
    }
}

impl std::error::Error for Error {}

/// Runs each algorithm and writes what came of it. `told` hears of each before it begins.
///
/// # Errors
///
/// Why there is nothing to replay.
pub fn table(request: &Request<'_>, told: impl Fn(Algorithm)) -> Result<String, Error> {
    let past = Past::read(request.files, request.pool)?;
    let mut outcomes = Vec::new();
    for &algorithm in request.algorithms {
        told(algorithm);
        outcomes.push((algorithm, world::run(&past, algorithm, request.seed, request.speed)));
    }
    Ok(report::text(&past, request, &outcomes))
}
