//! What a configuration means: types that cannot hold a wrong value.
//!
//! Nothing after this module checks a value again: an address is a `SocketAddr`, a time a `Duration`, a choice an enum.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

/// Everything that one run of ringway needs to know.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `[server]`: threads, limits, stopping.
    pub server: Server,
    /// `[access_log]`: what is told of each session, if anything is.
    pub access_log: Option<AccessLog>,
    /// `[admin]`: where it can be looked at and changed while it runs, if anywhere.
    pub admin: Option<Admin>,
    /// `[[listener]]`, in file order; at least one.
    pub listeners: Vec<Listener>,
    /// `[[pool]]`, in file order; at least one, each with at least one backend.
    pub pools: Vec<Pool>,
}

impl Config {
    /// The backends of all pools, each with its pool, in the order of the table.
    pub fn backends(&self) -> impl Iterator<Item = (&Pool, &Backend)> {
        self.pools.iter().flat_map(|pool| pool.backends.iter().map(move |backend| (pool, backend)))
    }
}

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

/// `[access_log]`: one line for each session that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLog {
    /// Where lines go.
    pub to: LogTo,
    /// What a line looks like.
    pub format: LogFormat,
    /// Which sessions get one.
    pub only: Only,
    /// Of a million sessions that went well, so many get one; of the others all.
    pub sample_ppm: u32,
}

impl AccessLog {
    /// All of a million.
    pub const WHOLE_PPM: u32 = 1_000_000;
}

/// Where the lines of the access log go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTo {
    /// Standard output.
    Stdout,
    /// Standard error, between the messages.
    Stderr,
    /// This file, or what else has a path.
    File(PathBuf),
    /// A syslog server, under this facility.
    Syslog(SyslogAddress, Facility),
}

/// Where a syslog server takes lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyslogAddress {
    /// A Unix socket of this machine.
    Socket(PathBuf),
    /// By UDP.
    Udp(SocketAddr),
}

/// What a line of the access log looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// That of HAProxy, and more.
    Text,
    /// One JSON object.
    Json,
}

/// Which sessions get a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Only {
    /// All of them, or the sample.
    All,
    /// Those that did not go well.
    Errors,
}

/// Under what a syslog server files the lines. Those that are for other purposes are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are as syslog calls them")]
pub enum Facility {
    User,
    Daemon,
    Local0,
    Local1,
    Local2,
    Local3,
    Local4,
    Local5,
    Local6,
    Local7,
}

impl Facility {
    /// Its number in the protocol.
    pub fn code(self) -> u8 {
        match self {
            Self::User => 1,
            Self::Daemon => 3,
            Self::Local0 => 16,
            Self::Local1 => 17,
            Self::Local2 => 18,
            Self::Local3 => 19,
            Self::Local4 => 20,
            Self::Local5 => 21,
            Self::Local6 => 22,
            Self::Local7 => 23,
        }
    }
}

/// `[admin]`: the API, the metrics and the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Where it listens.
    pub bind: AdminAddress,
    /// Where the token stands that whoever asks has to know; `None` lets everybody in who gets there.
    pub token_file: Option<PathBuf>,
    /// Backends of each pool that have to be up for the process to call itself ready.
    pub quorum: u32,
}

/// Where the admin API listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminAddress {
    /// At this address; with a token unless it is one of the loopback.
    Address(SocketAddr),
    /// At this path, for whoever may write to it.
    Socket(PathBuf),
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
    /// Which worker serves a connection.
    pub accept: Accept,
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
    /// Whether its sessions are in the access log.
    pub access_log: bool,
}

/// What a listener accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// TCP connections.
    Tcp,
}

/// Which worker serves a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accept {
    /// The one whose socket the kernel gave it to, by a hash of the addresses and ports.
    Reuseport,
    /// The one with the fewest sessions: the one that accepted it hands it over.
    Balanced,
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
    /// `[pool.response_time]`
    pub response_time: ResponseTime,
    /// `[pool.health]`
    pub health: Health,
    /// `[pool.ejection]`
    pub ejection: Ejection,
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

/// What `power-of-two` compares its two candidates by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PowerOfTwoBy {
    /// Sessions for its weight.
    Connections,
    /// Response time x (sessions + 1) / weight.
    ResponseTime,
}

/// What becomes of the sessions of a backend that goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDown {
    /// They go on as long as they can.
    Keep,
    /// They are ended with a reset, so that clients connect again.
    Close,
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

/// `[pool.health]`: how it is found out whether a backend can serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// What is checked.
    pub check: Check,
    /// The port that is checked in place of the backend's own.
    pub port: Option<u16>,
    /// From the start of one check to the start of the next.
    pub interval: Duration,
    /// The same while the state is about to change or not known yet.
    pub fast_interval: Duration,
    /// The same while the backend is down for good.
    pub down_interval: Duration,
    /// How many percent an interval may be shorter or longer, at random.
    pub jitter: u32,
    /// How long a check may take; at most the shortest interval.
    pub timeout: Duration,
    /// Passes in a row that bring a backend back.
    pub rise: NonZeroU32,
    /// Failures in a row that take a backend out.
    pub fall: NonZeroU32,
    /// What is held of a backend before its first check.
    pub initial_state: InitialState,
    /// Whether a session's failed connect counts as a failed check.
    pub passive: bool,
}

/// What is held of a backend before its first check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitialState {
    /// Up, and `fall` failures take it out.
    FullyUp,
    /// Up, and one failure takes it out.
    Up,
    /// Down, and one pass brings it in.
    Down,
    /// Down, and `rise` passes bring it in.
    FullyDown,
}

/// What a health check does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// Nothing: the backend counts as up.
    None,
    /// Connects; then, if asked to, sends and waits for an answer.
    Tcp(Exchange),
    /// An HTTP/1.1 request.
    Http(HttpCheck),
    /// The same over TLS.
    Https(HttpCheck, TlsCheck),
    /// A program whose exit status 0 is a pass.
    Command(Vec<String>),
}

/// What a TCP check sends and what it waits for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exchange {
    /// These bytes are sent once connected.
    pub send: Vec<u8>,
    /// What the answer must have in it.
    pub expect: Option<Expect>,
}

/// What an answer must have in it.
#[derive(Debug, Clone)]
pub enum Expect {
    /// These bytes.
    Bytes(Vec<u8>),
    /// A match of this expression.
    Regex(regex::bytes::Regex),
}

impl PartialEq for Expect {
    fn eq(&self, other: &Expect) -> bool {
        match (self, other) {
            (Expect::Bytes(one), Expect::Bytes(other)) => one == other,
            (Expect::Regex(one), Expect::Regex(other)) => one.as_str() == other.as_str(),
            _ => false,
        }
    }
}

impl Eq for Expect {}

/// What an HTTP check asks for and what it accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpCheck {
    /// Such as `GET`.
    pub method: String,
    /// Such as `/healthz?full=1`.
    pub path: String,
    /// The value of the Host header; `None` is the address that is checked.
    pub host: Option<String>,
    /// Statuses that pass: inclusive ranges.
    pub status: Vec<(u16, u16)>,
    /// What the body must have in it.
    pub body: Option<Expect>,
}

/// How an https check trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsCheck {
    /// The name that is sent (SNI) and that the certificate must have; `None` is the address.
    pub name: Option<String>,
    /// Whether the certificate is verified.
    pub verify: bool,
    /// A PEM file of the authorities that are trusted in place of the system's.
    pub authorities: Option<PathBuf>,
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

/// `[[pool.backend]]`: one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// What it is called in logs and tables; its address unless named.
    pub name: String,
    /// Where it serves; unique in its pool.
    pub address: SocketAddr,
    /// Its share, against the other weights of its pool; 1 to 256.
    pub weight: NonZeroU32,
    /// Serves only when no other can.
    pub backup: bool,
    /// Sessions that it takes at once; `None` is no limit.
    pub max_connections: Option<NonZeroU32>,
    /// Where it is checked, if not where it serves.
    pub check_address: Option<SocketAddr>,
}

/// A closed set of words: each value has one, in files, flags and summaries alike.
pub trait Choice: Copy + 'static {
    /// Every value.
    const ALL: &'static [Self];

    /// How it is written.
    fn word(self) -> &'static str;
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

impl Choice for LogFormat {
    const ALL: &'static [Self] = &[Self::Text, Self::Json];

    fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

impl Choice for Only {
    const ALL: &'static [Self] = &[Self::All, Self::Errors];

    fn word(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Errors => "errors",
        }
    }
}

impl Choice for Facility {
    const ALL: &'static [Self] = &[
        Self::User,
        Self::Daemon,
        Self::Local0,
        Self::Local1,
        Self::Local2,
        Self::Local3,
        Self::Local4,
        Self::Local5,
        Self::Local6,
        Self::Local7,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Daemon => "daemon",
            Self::Local0 => "local0",
            Self::Local1 => "local1",
            Self::Local2 => "local2",
            Self::Local3 => "local3",
            Self::Local4 => "local4",
            Self::Local5 => "local5",
            Self::Local6 => "local6",
            Self::Local7 => "local7",
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

impl Choice for Accept {
    const ALL: &'static [Self] = &[Self::Reuseport, Self::Balanced];

    fn word(self) -> &'static str {
        match self {
            Self::Reuseport => "reuseport",
            Self::Balanced => "balanced",
        }
    }
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

impl Choice for PowerOfTwoBy {
    const ALL: &'static [Self] = &[Self::Connections, Self::ResponseTime];

    fn word(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::ResponseTime => "response-time",
        }
    }
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

impl Choice for InitialState {
    const ALL: &'static [Self] = &[Self::FullyUp, Self::Up, Self::Down, Self::FullyDown];

    fn word(self) -> &'static str {
        match self {
            Self::FullyUp => "fully-up",
            Self::Up => "up",
            Self::Down => "down",
            Self::FullyDown => "fully-down",
        }
    }
}
