//! Backends that serve the same thing, and how one of them is chosen.

use std::num::NonZeroU32;
use std::time::Duration;

use super::{Backend, Choice, Health, PoolSocket, SendProxy, Source, TcpOptions};

/// `[[pool]]`: backends that serve the same thing, and how one of them is chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    /// Unique among pools.
    pub name: String,
    /// How a backend is chosen.
    pub algorithm: Algorithm,
    /// What `power-of-two` compares its two candidates by.
    pub power_of_two_by: PowerOfTwoBy,
    /// What chooses too, without traffic; each at most once, and not what serves.
    pub shadow: Vec<Algorithm>,
    /// How long one attempt to connect may take.
    pub connect_timeout: Duration,
    /// How long all attempts for one session may take together.
    pub connect_total_timeout: Duration,
    /// Backends tried for one session; `None` tries each that is up once.
    pub connect_attempts: Option<NonZeroU32>,
    /// Sessions that may wait when every backend is at its `max_connections`; 0 is none.
    pub queue_max: u32,
    /// How long a session may wait for a backend that is not at its limit.
    pub queue_timeout: Duration,
    /// A backend that has come back gets its full share only after this long.
    pub slow_start: Option<Duration>,
    /// When fewer than this many percent of the backends are up, all get sessions; 0 is never.
    pub panic_threshold: u32,
    /// What becomes of the sessions of a backend that goes down.
    pub on_down: OnDown,
    /// TCP options of the backend connections.
    pub tcp: TcpOptions,
    /// `[pool.source]`
    pub source: Source,
    /// `[pool.response_time]`
    pub response_time: ResponseTime,
    /// `[pool.health]`
    pub health: Health,
    /// `[pool.ejection]`
    pub ejection: Ejection,
    /// `[pool.proxy_protocol]`: how backends are told who the client is, if they are.
    pub proxy_protocol: Option<SendProxy>,
    /// `[pool.socket]`
    pub socket: PoolSocket,
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
    /// The one with the smallest response time x (sessions + 1) / weight.
    LeastResponseTime,
    /// The better of two drawn at random, by the peak EWMA of its response time x (sessions + 1) / weight.
    PeakEwma,
    /// Drawn at random, by weight.
    Random,
    /// The better of two drawn at random, by sessions or by response time.
    PowerOfTwo,
    /// By the client's address: rendezvous hashing.
    SourceHash,
    /// By the client's address: Maglev's table.
    Maglev,
    /// The first in the order of the file that has room.
    First,
}

impl Choice for Algorithm {
    const ALL: &'static [Self] = &[
        Self::RoundRobin,
        Self::WeightedRoundRobin,
        Self::LeastConnections,
        Self::LeastResponseTime,
        Self::PeakEwma,
        Self::Random,
        Self::PowerOfTwo,
        Self::SourceHash,
        Self::Maglev,
        Self::First,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::WeightedRoundRobin => "weighted-round-robin",
            Self::LeastConnections => "least-connections",
            Self::LeastResponseTime => "least-response-time",
            Self::PeakEwma => "peak-ewma",
            Self::Random => "random",
            Self::PowerOfTwo => "power-of-two",
            Self::SourceHash => "source-hash",
            Self::Maglev => "maglev",
            Self::First => "first",
        }
    }
}

/// What `power-of-two` compares its two candidates by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PowerOfTwoBy {
    /// Sessions for its weight.
    Connections,
    /// Response time x (sessions + 1) / weight.
    ResponseTime,
}

impl Choice for PowerOfTwoBy {
    const ALL: &'static [Self] = &[Self::Connections, Self::ResponseTime];

    fn word(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::ResponseTime => "response-time",
        }
    }
}

/// What becomes of the sessions of a backend that goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDown {
    /// They go on as long as they can.
    Keep,
    /// They are ended with a reset, so that clients connect again.
    Close,
}

impl Choice for OnDown {
    const ALL: &'static [Self] = &[Self::Keep, Self::Close];

    fn word(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Close => "close",
        }
    }
}

/// `[pool.response_time]`: what is measured, and which figure of it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseTime {
    /// Which time is used to choose.
    pub signal: Signal,
    /// Which figure of it.
    pub statistic: Statistic,
    /// How far back samples count.
    pub window: Duration,
}

/// Which time of a session is used to choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Signal {
    /// From the start of connecting to its success.
    Connect,
    /// From the client's first byte (from the accept where the backend speaks first) to the backend's first byte.
    FirstByte,
    /// From the accept to the end.
    Session,
}

impl Choice for Signal {
    const ALL: &'static [Self] = &[Self::Connect, Self::FirstByte, Self::Session];

    fn word(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::FirstByte => "first_byte",
            Self::Session => "session",
        }
    }
}

/// Which figure of the measured times is used to choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Statistic {
    /// The median of the window.
    P50,
    /// The 90th percentile of the window.
    P90,
    /// The 99th percentile of the window.
    P99,
    /// An average in which a sample's weight fades with its age.
    Ewma,
    /// The same, but it jumps up to every sample that is above it.
    PeakEwma,
}

impl Choice for Statistic {
    const ALL: &'static [Self] = &[Self::P50, Self::P90, Self::P99, Self::Ewma, Self::PeakEwma];

    fn word(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P90 => "p90",
            Self::P99 => "p99",
            Self::Ewma => "ewma",
            Self::PeakEwma => "peak-ewma",
        }
    }
}

/// `[pool.ejection]`: takes a backend out for a while because of what sessions meet there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ejection {
    /// Sessions that failed in a row (connect failed or timed out, reset before the first byte, no first byte in time)
    /// that eject a backend; `None` is off.
    pub failures: Option<NonZeroU32>,
    /// How long the first time; each ejection that follows at once is longer by as much.
    pub time: Duration,
    /// And never longer than this.
    pub time_max: Duration,
    /// At most this many percent of the pool's backends are ejected at once.
    pub share_max: u32,
    /// A session without a first byte for this long has failed (it goes on); `None` is never.
    pub first_byte_timeout: Option<Duration>,
}
