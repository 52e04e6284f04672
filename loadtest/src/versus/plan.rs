//! What is to be compared, and how.

use std::{path::PathBuf, time::Duration};

use clap::ValueEnum;

use super::work::Work;
use crate::pinning::Cores;

/// A comparison as it is to be done.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Builds and settings of ringway; the first is what the others are compared with.
    pub(crate) ringways: Vec<Ringway>,
    /// What ringway is compared with.
    pub(crate) peers: Vec<Peer>,
    /// What they have to do.
    pub(crate) works: Vec<Work>,
    /// How often each cell is measured.
    pub(crate) rounds: usize,
    /// How long each cell is measured; whole seconds, as wrk knows no others.
    pub(crate) seconds: u64,
    /// Who runs where.
    pub(crate) cores: Cores,
    /// Connections of the work `idle`.
    pub(crate) idle_connections: usize,
    /// Leave out peers that are not installed.
    pub(crate) skip_missing: bool,
    /// Where the results go, if not below `loadtest/runs`.
    pub(crate) out: Option<PathBuf>,
}

impl Plan {
    /// How long one cell is measured.
    pub(crate) fn cell_time(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// Whether datagrams are carried.
    pub(crate) fn has_datagrams(&self) -> bool {
        self.works.iter().any(Work::is_of_datagrams)
    }

    /// Connections that a proxy has to be able to carry.
    pub(crate) fn sessions_max(&self) -> usize {
        self.idle_connections + SESSIONS_SPARE
    }
}

/// A build of ringway with its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ringway {
    /// Unique among the proxies.
    pub(crate) name: String,
    /// The program.
    pub(crate) program: PathBuf,
    /// Lines for `[server]` of its configuration.
    pub(crate) settings: Vec<String>,
}

/// What ringway can be compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    /// HAProxy in mode tcp with one thread
    #[value(name = "haproxy")]
    HaProxy,
    /// The same with options splice-auto and splice-response
    #[value(name = "haproxy-splice")]
    HaProxySplice,
    /// nginx stream with one worker
    Nginx,
}

impl Peer {
    /// Whether it can carry datagrams.
    pub(crate) fn carries_datagrams(self) -> bool {
        match self {
            Self::Nginx => true,
            Self::HaProxy | Self::HaProxySplice => false,
        }
    }
}

/// For the works that are not idle; the open loop may have this many outstanding.
pub(crate) const SESSIONS_SPARE: usize = 2_500;
