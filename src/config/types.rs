//! What a configuration means: types that cannot hold a wrong value.
//!
//! Nothing after this module checks a value again: an address is a `SocketAddr`, a time a `Duration`, a choice an enum.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

/// Everything that one run of ringway needs to know.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `[server]`: threads, limits, stopping.
    pub server: Server,
    /// `[[listener]]`, in file order; at least one.
    pub listeners: Vec<Listener>,
    /// `[[pool]]`, in file order; at least one, each with at least one backend.
    pub pools: Vec<Pool>,
}

/// `[server]`: what holds for the whole process.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// How many workers, and on which cores.
    pub workers: Workers,
    /// How long running sessions may go on after SIGTERM or SIGINT.
    pub drain_timeout: Duration,
    /// Sessions at once in the whole process; `None` derives it from the limit on open files.
    pub sessions_max: Option<NonZeroUsize>,
    /// Bytes in one relay buffer (a cell of the registered arena).
    pub buffer_size: usize,
    /// Cells in each worker's arena.
    pub buffers_per_worker: usize,
    /// How often the table of backends is printed; `None` is never.
    pub status_interval: Option<Duration>,
    /// The lowest level that is logged.
    pub log: LogLevel,
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

/// `[[listener]]`: addresses that accept clients for one pool.
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    /// Unique among listeners.
    pub name: String,
    /// Where it accepts; unique over all listeners.
    pub bind: Vec<SocketAddr>,
    /// What it accepts.
    pub protocol: Protocol,
    /// The pool that serves it: an index into [`Config::pools`].
    pub pool: usize,
    /// Connections that the kernel holds for us before they are accepted, per worker and address.
    pub backlog: u32,
    /// TCP options of the client connections.
    pub tcp: TcpOptions,
    /// Ends a session in which no byte moved for this long.
    pub idle_timeout: Option<Duration>,
    /// The same, once one side has ended its stream.
    pub half_closed_timeout: Option<Duration>,
    /// Ends a session that has lasted this long, whatever it does.
    pub lifetime_max: Option<Duration>,
    /// What a client gets when no backend could be reached.
    pub no_backend: NoBackend,
}

/// What a listener accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// TCP connections.
    Tcp,
}

/// Options of a TCP connection, on either side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpOptions {
    /// TCP_NODELAY: small writes go out at once.
    pub nodelay: bool,
    /// SO_KEEPALIVE with this time of silence before the first probe; `None` is off.
    pub keepalive: Option<Duration>,
    /// TCP_USER_TIMEOUT: sent bytes that stay unacknowledged this long end the connection; `None` is the kernel's rule.
    pub user_timeout: Option<Duration>,
}

/// What a client gets when no backend could be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoBackend {
    /// A TCP reset.
    Reset,
    /// The end of the stream, with no byte before it.
    Close,
    /// This text, then the end of the stream.
    Message(String),
}

/// `[[pool]]`: backends that serve the same thing, and how one of them is chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    /// Unique among pools.
    pub name: String,
    /// How a backend is chosen.
    pub algorithm: Algorithm,
    /// How long one attempt to connect may take.
    pub connect_timeout: Duration,
    /// How long all attempts for one session may take together.
    pub connect_total_timeout: Duration,
    /// Backends tried for one session; `None` tries each that is up once.
    pub connect_attempts: Option<NonZeroU32>,
    /// TCP options of the backend connections.
    pub tcp: TcpOptions,
    /// `[pool.health]`
    pub health: Health,
    /// `[[pool.backend]]`, in file order; at least one.
    pub backends: Vec<Backend>,
}

/// How a backend is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Each in turn; weights are not used.
    RoundRobin,
    /// Each in turn, as often as its weight says, spread evenly.
    WeightedRoundRobin,
    /// The one with the fewest sessions for its weight.
    LeastConnections,
}

/// `[pool.health]`: how it is found out whether a backend can serve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Health {
    /// What is checked.
    pub check: Check,
    /// From the start of one check to the start of the next.
    pub interval: Duration,
    /// How long a check may take; at most the interval.
    pub timeout: Duration,
    /// Passes in a row that bring a backend back.
    pub rise: NonZeroU32,
    /// Failures in a row that take a backend out.
    pub fall: NonZeroU32,
    /// Whether a session's failed connect counts as a failed check.
    pub passive: bool,
}

/// What a health check does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Connects and closes.
    Tcp,
    /// Nothing: the backend counts as up.
    None,
}

/// `[[pool.backend]]`: one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// What it is called in logs and tables; its address unless named.
    pub name: String,
    /// Where it serves; unique in its pool.
    pub address: SocketAddr,
    /// Its share, against the other weights of its pool; 1 to 256.
    pub weight: NonZeroU32,
}

/// A closed set of words: each value has one, in files, flags and summaries alike.
pub trait Choice: Copy + 'static {
    /// Every value.
    const ALL: &'static [Self];

    /// How it is written.
    fn word(self) -> &'static str;
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

impl Choice for Protocol {
    const ALL: &'static [Self] = &[Self::Tcp];

    fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
        }
    }
}

impl Choice for Algorithm {
    const ALL: &'static [Self] = &[Self::RoundRobin, Self::WeightedRoundRobin, Self::LeastConnections];

    fn word(self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::WeightedRoundRobin => "weighted-round-robin",
            Self::LeastConnections => "least-connections",
        }
    }
}

impl Choice for Check {
    const ALL: &'static [Self] = &[Self::Tcp, Self::None];

    fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::None => "none",
        }
    }
}
