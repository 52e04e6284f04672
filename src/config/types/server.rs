//! What holds for the whole process.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use super::{Choice, Rate};

/// `[server]`: what holds for the whole process.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// How many workers, and on which cores.
    pub workers: Workers,
    /// What carries small messages.
    pub engine: Engine,
    /// How long a worker that has nothing to do looks for bytes before it sleeps.
    pub busy_poll: Duration,
    /// How long running sessions may go on after SIGTERM or SIGINT.
    pub drain_timeout: Duration,
    /// How long sessions may go on whose backend a reload has removed.
    pub removed_drain_timeout: Duration,
    /// How long a new process may take to be ready to replace this one.
    pub upgrade_timeout: Duration,
    /// Sessions at once in the whole process; `None` derives it from the limit on open files.
    pub sessions_max: Option<NonZeroUsize>,
    /// Connections that all listeners together take in a time; more wait in the kernel's queues.
    pub rate_max: Option<Rate>,
    /// Bytes in one relay buffer (a cell of the registered arena).
    pub buffer_size: usize,
    /// Cells in each worker's arena.
    pub buffers_per_worker: usize,
    /// Large cells in each worker's arena.
    pub large_buffers_per_worker: usize,
    /// Pipes that each worker may have open.
    pub pipes_per_worker: usize,
    /// How often the table of backends is printed; `None` is never.
    pub status_interval: Option<Duration>,
    /// The lowest level that is logged.
    pub log: LogLevel,
    /// Where arrivals are recorded, if they are.
    pub record: Option<Record>,
    /// Whom the process becomes when it has its sockets, if not who started it.
    pub run_as: Option<RunAs>,
}

/// A user and a group, each by name or by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunAs {
    /// The user.
    pub user: String,
    /// The group, if not the user's own.
    pub group: Option<String>,
}

/// Where and how arrivals are recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The file that is written; older ones stand beside it.
    pub path: PathBuf,
    /// Bytes of one file.
    pub size_max: u64,
    /// Older files that are kept.
    pub files: u32,
    /// Whether clients are told by their addresses.
    pub addresses: bool,
}

/// How many workers there are, and where they run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Workers {
    /// One worker on each core that the process may use.
    Auto,
    /// This many workers, on the first cores that the process may use.
    Count(NonZeroUsize),
    /// One worker on each of these cores.
    Cores(Vec<usize>),
}

impl Server {
    /// Bytes of a large buffer: what a socket's own buffers hold of a fast stream, and never less than a small one has.
    pub fn large_buffer_size(&self) -> usize {
        self.buffer_size.max(256 * 1024)
    }
}

/// What carries small messages. Long transfers are the same in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// The best that the kernel offers.
    Auto,
    /// Reads and writes with registered buffers on the runtime's ring.
    Fixed,
    /// Multishot receives on a ring of its own, into buffers that the kernel picks.
    Multishot,
}

impl Choice for Engine {
    const ALL: &'static [Self] = &[Self::Auto, Self::Fixed, Self::Multishot];

    fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Fixed => "fixed",
            Self::Multishot => "multishot",
        }
    }
}

/// The lowest level of message that is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Only what needs somebody to act now.
    Error,
    /// And what may.
    Warn,
    /// And starts, stops, changes of state.
    Info,
    /// And one line per session.
    Debug,
    /// And the steps inside a session.
    Trace,
}

impl Choice for LogLevel {
    const ALL: &'static [Self] = &[Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}
