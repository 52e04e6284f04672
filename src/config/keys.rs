//! Every key there is: its kind, its bounds, its default, what it means.
//!
//! The reader looks its keys up here, the flags and the documentation are tested against it: a key, a bound or a default
//! is written down once.

use std::time::Duration;

use super::forms::{METHOD_BYTES_MAX, PATH_BYTES_MAX};
use super::units::{format_duration, format_size};

/// One table of the file.
#[derive(Debug)]
pub struct Section {
    /// Dotted, as in `pool.health`.
    pub path: &'static str,
    /// As it is written in a file: `[server]`, `[[listener]]`.
    pub header: &'static str,
    /// In the order of the documentation.
    pub keys: &'static [Key],
    /// The tables that may stand inside.
    pub tables: &'static [&'static str],
}

/// One key.
#[derive(Debug)]
pub struct Key {
    /// Without the path of its section.
    pub name: &'static str,
    /// What it may hold.
    pub kind: Kind,
    /// What holds when it is not given.
    pub default: Preset,
    /// In one line.
    pub meaning: &'static str,
    /// What to do instead of a value out of bounds, where that is not plain.
    pub cure: Option<&'static str>,
}

/// What a key may hold.
#[derive(Debug)]
pub enum Kind {
    /// What a listener, a pool or a backend is called: 1 to 64 of `A-Z a-z 0-9 . _ -`.
    Name,
    /// The name of a pool.
    PoolName,
    /// A text of at most so many bytes.
    Text(usize),
    /// One `ip:port`.
    Address,
    /// One `ip:port` or a list of at most so many.
    Addresses(usize),
    /// True or false.
    Switch,
    /// A whole number, or a word that stands for "no number".
    Number {
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
        /// Such as `auto`.
        word: Option<&'static str>,
    },
    /// `auto`, a number, or a list of core numbers.
    Workers,
    /// A time, or `off` where that is allowed.
    Duration {
        /// The shortest.
        min: Duration,
        /// The longest.
        max: Duration,
        /// Only multiples of this.
        step: Duration,
        /// Whether `off` is allowed.
        off: bool,
    },
    /// A number of bytes.
    Size {
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
        /// Only multiples of this.
        step: u64,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A text that stands for its bytes, at most so many.
    Bytes(usize),
    /// At most so many bytes, as hex digits.
    Hex(usize),
    /// A regular expression of at most so many bytes.
    Regex(usize),
    /// The method of an HTTP request.
    Method,
    /// What an HTTP request asks for.
    RequestPath,
    /// A host name or an IP address, with a port or without.
    Host,
    /// A host name or an IP address.
    HostName,
    /// The path of a file; whether it can be read is found out by who reads it.
    File,
    /// At most so many texts.
    Texts(usize),
    /// At most so many HTTP statuses or ranges of them.
    Statuses(usize),
    /// At most so many algorithms.
    Algorithms(usize),
    /// Where lines go: a word, or the path of a file.
    LogTarget,
    /// A Unix socket's path, or an `ip:port`.
    SyslogAddress,
    /// A part of one, in millionths.
    Fraction,
    /// An `ip:port`, or the path of a Unix socket.
    AdminAddress,
}

/// What holds when a key is not given.
#[derive(Debug, Clone, Copy)]
pub enum Preset {
    /// It has to be given.
    Required,
    /// This value, written as in a file but without quotes.
    Is(&'static str),
    /// It depends on another key, or there is none; in words.
    Follows(&'static str),
}

/// At most this many `[[listener]]`.
pub const LISTENERS_MAX: usize = 1_024;
/// At most this many `[[pool]]`.
pub const POOLS_MAX: usize = 1_024;
/// At most this many `[[pool.backend]]` in all pools together.
pub const BACKENDS_MAX: usize = 65_535;
/// At most this many addresses in one `bind`.
pub const BINDS_MAX: usize = 64;
/// At most this many workers.
pub const WORKERS_MAX: u64 = 1_024;
/// The largest core number that `workers` may list.
pub const CORE_MAX: u64 = 4_095;
/// The longest name.
pub const NAME_BYTES_MAX: usize = 64;
/// The most memory that one worker's relay buffers may take: `buffer_size` times `buffers_per_worker`.
pub const ARENA_BYTES_MAX: u64 = 1 << 30;

/// The most that a check sends.
pub const SEND_BYTES_MAX: usize = 4_096;
/// The longest text, and the longest expression, that a check looks for.
pub const EXPECT_BYTES_MAX: usize = 1_024;
/// At most this many texts in one `command`.
pub const COMMAND_TEXTS_MAX: usize = 64;
/// At most this many shadows in one pool.
pub const SHADOWS_MAX: usize = 4;
/// At most this many statuses and ranges in one `status`.
pub const STATUSES_MAX: usize = 64;

/// What may stand in place of the path of a file to log to.
pub(super) const LOG_TARGETS: [&str; 4] = ["off", "stdout", "stderr", "syslog"];

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

const fn key(name: &'static str, kind: Kind, default: Preset, meaning: &'static str) -> Key {
    Key { name, kind, default, meaning, cure: None }
}

impl Key {
    const fn cure(self, cure: &'static str) -> Self {
        Self { cure: Some(cure), ..self }
    }
}

const fn number(min: u64, max: u64) -> Kind {
    Kind::Number { min, max, word: None }
}

const fn number_or(word: &'static str, min: u64, max: u64) -> Kind {
    Kind::Number { min, max, word: Some(word) }
}

const fn time(min: Duration, max: Duration) -> Kind {
    Kind::Duration { min, max, step: MILLISECOND, off: false }
}

const fn time_or_off(min: Duration, max: Duration) -> Kind {
    Kind::Duration { min, max, step: MILLISECOND, off: true }
}

const fn times(count: u32, unit: Duration) -> Duration {
    match unit.checked_mul(count) {
        Some(product) => product,
        None => panic!("a bound of a key does not fit"),
    }
}

use Preset::{Follows, Is, Required};

const NODELAY: Key = key("nodelay", Kind::Switch, Is("true"), "TCP_NODELAY: small writes go out at once");
/// The kernel counts this one in whole seconds, and no further than 32,767 of them.
const KEEPALIVE: Key = key(
    "keepalive",
    Kind::Duration { min: SECOND, max: times(9, HOUR), step: SECOND, off: true },
    Is("60s"),
    "SO_KEEPALIVE: silence before the first probe that asks whether the other side is still there",
);
const USER_TIMEOUT: Key = key(
    "user_timeout",
    time_or_off(SECOND, DAY),
    Is("off"),
    "TCP_USER_TIMEOUT: sent bytes that stay unacknowledged this long end the connection",
);

const CHECK_INTERVAL: Kind = time(times(100, MILLISECOND), DAY);

/// Every section with every key.
pub const SECTIONS: &[Section] =
    &[SERVER, ACCESS_LOG, ADMIN, LISTENER, POOL, RESPONSE_TIME, HEALTH, EJECTION, BACKEND];

/// What may stand at the top of a file.
pub const ROOT: Section = Section {
    path: "",
    header: "",
    keys: &[],
    tables: &["server", "access_log", "admin", "listener", "pool"],
};

/// `[server]`
pub const SERVER: Section = Section {
    path: "server",
    header: "[server]",
    tables: &[],
    keys: &[
        key(
            "workers",
            Kind::Workers,
            Is("auto"),
            "how many workers, or on which cores; auto is one on each core",
        ),
        key(
            "engine",
            Kind::Choice(&["auto", "fixed", "multishot"]),
            Is("auto"),
            "what carries small messages; auto is multishot where the kernel has it (Linux 6.1)",
        ),
        key(
            "busy_poll_us",
            number(0, 1000),
            Is("0"),
            "microseconds for which a worker that has nothing to do looks for bytes before it sleeps (multishot engine)",
        ),
        key(
            "drain_timeout",
            time(Duration::ZERO, DAY),
            Is("30s"),
            "how long running sessions may go on after SIGTERM or SIGINT",
        ),
        key(
            "removed_drain_timeout",
            time(Duration::ZERO, DAY),
            Is("10m"),
            "how long sessions may go on whose backend a reload has removed",
        ),
        key(
            "upgrade_timeout",
            time(Duration::from_secs(1), DAY),
            Is("1m"),
            "how long a new process may take to be ready to replace this one (SIGUSR2)",
        ),
        key(
            "sessions_max",
            number_or("auto", 1, 10_000_000),
            Is("auto"),
            "sessions at once in the whole process; auto derives it from the limit on open files",
        ),
        key(
            "buffer_size",
            Kind::Size { min: 4 << 10, max: 1 << 20, step: 4 << 10 },
            Is("16KiB"),
            "bytes in one relay buffer",
        ),
        key(
            "buffers_per_worker",
            number(16, 65_536),
            Is("1024"),
            "relay buffers that each worker holds ready",
        ),
        key(
            "large_buffers_per_worker",
            number(0, 4096),
            Is("16"),
            "buffers of 256KiB that each worker holds ready for long transfers",
        ),
        key(
            "pipes_per_worker",
            number(0, 4096),
            Is("64"),
            "pipes that each worker may splice long transfers through; 0 never splices",
        ),
        key(
            "status_interval",
            time_or_off(SECOND, DAY),
            Is("off"),
            "how often the table of backends is printed",
        ),
        key(
            "log",
            Kind::Choice(&["error", "warn", "info", "debug", "trace"]),
            Is("info"),
            "the lowest level of message that is logged",
        ),
        key(
            "user",
            Kind::Name,
            Follows("none"),
            "the user, by name or number, that the process becomes once it has its sockets; it has to be started as root then",
        ),
        key("group", Kind::Name, Follows("that of the user"), "the group that it becomes, by name or number"),
        key(
            "record",
            Kind::File,
            Follows("none"),
            "the file to which arrivals are recorded, for `ringway replay`; nothing is unless it is given",
        ),
        key(
            "record_size_max",
            Kind::Size { min: 64 << 10, max: 64 << 30, step: 4 << 10 },
            Is("64MiB"),
            "bytes of one file of the record; a full one is renamed and another begun",
        ),
        key(
            "record_files",
            number(0, 1_000),
            Is("4"),
            "full files that are kept beside it: NAME.1 is the newest",
        ),
        key(
            "record_addresses",
            Kind::Switch,
            Is("false"),
            "whether the record tells clients by their addresses, and not by numbers that are anew at each start",
        ),
    ],
};

/// `[access_log]`
pub const ACCESS_LOG: Section = Section {
    path: "access_log",
    header: "[access_log]",
    tables: &[],
    keys: &[
        key("to", Kind::LogTarget, Is("off"), "where the line of each session goes when it has ended"),
        key(
            "format",
            Kind::Choice(&["text", "json"]),
            Is("text"),
            "what a line is: HAProxy's fields and more, or one JSON object",
        ),
        key(
            "only",
            Kind::Choice(&["all", "errors"]),
            Is("all"),
            "which sessions get a line; errors are those that did not go well",
        ),
        key(
            "sample",
            Kind::Fraction,
            Is("1"),
            "which part of the sessions that went well get a line, drawn at random; of the others all do",
        )
        .cure("for errors alone write only = \"errors\""),
        key(
            "syslog",
            Kind::SyslogAddress,
            Is("/dev/log"),
            "where `to = \"syslog\"` sends: the path of a Unix socket, or an address by UDP",
        ),
        key(
            "facility",
            Kind::Choice(&[
                "user", "daemon", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
                "local7",
            ]),
            Is("local0"),
            "under what a syslog server files the lines",
        ),
    ],
};

/// `[admin]`
pub const ADMIN: Section = Section {
    path: "admin",
    header: "[admin]",
    tables: &[],
    keys: &[
        key(
            "bind",
            Kind::AdminAddress,
            Is("127.0.0.1:8404"),
            "where the admin API, the metrics and the page are",
        ),
        key(
            "token_file",
            Kind::File,
            Follows("none"),
            "the file whose first line whoever asks has to know; required unless `bind` is a loopback address or a socket",
        ),
        key(
            "quorum",
            number(0, 65_535),
            Is("1"),
            "backends of each pool that have to be up for `/readyz` to say yes; of a smaller pool all of them",
        ),
    ],
};

/// `[[listener]]`
pub const LISTENER: Section = Section {
    path: "listener",
    header: "[[listener]]",
    tables: &[],
    keys: &[
        key("name", Kind::Name, Required, "what it is called in logs and tables; unique among listeners"),
        key("bind", Kind::Addresses(BINDS_MAX), Required, "where it accepts; unique over all listeners"),
        key("protocol", Kind::Choice(&["tcp"]), Is("tcp"), "what it accepts"),
        key("pool", Kind::PoolName, Required, "the name of the pool that serves it"),
        key(
            "backlog",
            number(1, 65_535),
            Is("4096"),
            "connections that the kernel holds, per worker and address, before they are accepted",
        ),
        key(
            "accept",
            Kind::Choice(&["reuseport", "balanced"]),
            Is("reuseport"),
            "which worker serves a connection: the one whose socket the kernel gave it to, or the one with the fewest \
             sessions",
        ),
        NODELAY,
        KEEPALIVE,
        USER_TIMEOUT,
        key(
            "idle_timeout",
            time_or_off(times(100, MILLISECOND), times(7, DAY)),
            Is("10m"),
            "ends a session in which no byte moved for this long",
        ),
        key(
            "half_closed_timeout",
            time_or_off(times(100, MILLISECOND), times(7, DAY)),
            Is("1m"),
            "the same, once one side has ended its stream",
        ),
        key(
            "lifetime_max",
            time_or_off(SECOND, times(365, DAY)),
            Is("off"),
            "ends a session that has lasted this long, whatever it does",
        ),
        key(
            "no_backend",
            Kind::Choice(&["reset", "close", "message"]),
            Is("reset"),
            "what a client gets when no backend could be reached",
        ),
        key(
            "no_backend_message",
            Kind::Text(1_024),
            Is("no backend available\n"),
            "the text that `no_backend = \"message\"` sends",
        ),
        key(
            "access_log",
            Kind::Switch,
            Is("true"),
            "whether its sessions are in the access log, if there is one",
        ),
    ],
};

/// `[[pool]]`
pub const POOL: Section = Section {
    path: "pool",
    header: "[[pool]]",
    tables: &["response_time", "health", "ejection", "backend"],
    keys: &[
        key("name", Kind::Name, Required, "what it is called in logs and tables; unique among pools"),
        key(
            "algorithm",
            Kind::Choice(&[
                "round-robin",
                "weighted-round-robin",
                "least-connections",
                "least-response-time",
                "peak-ewma",
                "random",
                "power-of-two",
                "source-hash",
                "maglev",
                "first",
            ]),
            Is("round-robin"),
            "how a backend is chosen",
        ),
        key(
            "power_of_two_by",
            Kind::Choice(&["connections", "response-time"]),
            Is("connections"),
            "what `algorithm = \"power-of-two\"` compares its two candidates by",
        ),
        key(
            "shadow",
            Kind::Algorithms(SHADOWS_MAX),
            Follows("none"),
            "algorithms that choose too, without traffic, to be compared with the one that serves",
        ),
        key(
            "connect_timeout",
            time(MILLISECOND, times(10, MINUTE)),
            Follows("3s, or connect_total_timeout if that is shorter"),
            "how long one attempt to connect may take",
        ),
        key(
            "connect_total_timeout",
            time(MILLISECOND, HOUR),
            Follows("10s, or connect_timeout if that is longer"),
            "how long all attempts for one session may take together",
        ),
        key(
            "connect_attempts",
            number_or("all", 1, 1_024),
            Is("all"),
            "backends tried for one session; all tries each that is up once",
        ),
        key(
            "queue_max",
            number(0, 1_000_000),
            Is("1024"),
            "sessions that may wait while every backend is at its max_connections; 0 is none",
        ),
        key(
            "queue_timeout",
            time(MILLISECOND, HOUR),
            Is("5s"),
            "how long a session may wait for a backend that is not at its limit",
        ),
        key(
            "slow_start",
            time_or_off(times(100, MILLISECOND), HOUR),
            Is("off"),
            "a backend that has come back gets its full share only after this long",
        ),
        key(
            "panic_threshold",
            number(0, 100),
            Is("0"),
            "when fewer than this many percent of the backends are up, all get sessions; 0 is never",
        ),
        key(
            "on_down",
            Kind::Choice(&["keep", "close"]),
            Is("keep"),
            "what becomes of the sessions of a backend that goes down",
        ),
        NODELAY,
        KEEPALIVE,
        USER_TIMEOUT,
    ],
};

/// `[pool.response_time]`
pub const RESPONSE_TIME: Section = Section {
    path: "pool.response_time",
    header: "[pool.response_time]",
    tables: &[],
    keys: &[
        key(
            "signal",
            Kind::Choice(&["connect", "first_byte", "session"]),
            Is("first_byte"),
            "which time of a session counts: its connect, up to the backend's first byte, or all of it",
        ),
        key(
            "statistic",
            Kind::Choice(&["p50", "p90", "p99", "ewma", "peak-ewma"]),
            Follows("p50, or peak-ewma if that is the algorithm"),
            "which figure of the measured times counts",
        ),
        key("window", time(SECOND, times(10, MINUTE)), Is("10s"), "how far back measured times count"),
    ],
};

/// `[pool.health]`
pub const HEALTH: Section = Section {
    path: "pool.health",
    header: "[pool.health]",
    tables: &[],
    keys: &[
        key(
            "check",
            Kind::Choice(&["tcp", "http", "https", "command", "none"]),
            Is("tcp"),
            "what a check does: connect, ask over HTTP, run a program, or nothing",
        ),
        key(
            "port",
            number(1, 65_535),
            Follows("the port of the backend"),
            "the port that is checked; check_address of a backend goes before it",
        ),
        key("interval", CHECK_INTERVAL, Is("2s"), "from the start of one check to the start of the next"),
        key(
            "fast_interval",
            CHECK_INTERVAL,
            Follows("interval"),
            "the same while the state is about to change or not known yet",
        ),
        key(
            "down_interval",
            CHECK_INTERVAL,
            Follows("interval"),
            "the same while the backend is down for good",
        ),
        key(
            "jitter",
            number(0, 50),
            Is("0"),
            "how many percent an interval may be shorter or longer, at random",
        ),
        key(
            "timeout",
            time(times(10, MILLISECOND), DAY),
            Follows("1s, or the shortest interval if that is shorter"),
            "how long a check may take; at most the shortest interval, less its jitter",
        ),
        key("rise", number(1, 100), Is("2"), "passes in a row that bring a backend back"),
        key("fall", number(1, 100), Is("3"), "failures in a row that take a backend out"),
        key(
            "initial_state",
            Kind::Choice(&["fully-up", "up", "down", "fully-down"]),
            Is("up"),
            "what is held of a backend before its first check",
        ),
        key(
            "passive",
            Kind::Switch,
            Is("true"),
            "whether a session's failed connect counts as a failed check",
        ),
        key("send", Kind::Bytes(SEND_BYTES_MAX), Follows("none"), "tcp: what is sent once connected"),
        key("send_hex", Kind::Hex(SEND_BYTES_MAX), Follows("none"), "tcp: the same, as bytes in hex"),
        key(
            "expect",
            Kind::Bytes(EXPECT_BYTES_MAX),
            Follows("none"),
            "tcp, http, https: what the answer, or the body of it, must have in it",
        ),
        key(
            "expect_hex",
            Kind::Hex(EXPECT_BYTES_MAX),
            Follows("none"),
            "tcp, http, https: the same, as bytes in hex",
        ),
        key(
            "expect_regex",
            Kind::Regex(EXPECT_BYTES_MAX),
            Follows("none"),
            "tcp, http, https: the same, as a regular expression",
        ),
        key("method", Kind::Method, Is("GET"), "http, https: the method of the request"),
        key("path", Kind::RequestPath, Is("/"), "http, https: the path of the request, with its query"),
        key("host", Kind::Host, Follows("the address that is checked"), "http, https: the Host header"),
        key("status", Kind::Statuses(STATUSES_MAX), Is("200-399"), "http, https: the statuses that pass"),
        key(
            "tls_name",
            Kind::HostName,
            Follows("the IP address that is checked"),
            "https: the name that is asked for (SNI) and that the certificate must have",
        ),
        key("tls_verify", Kind::Switch, Is("true"), "https: whether the certificate has to be a good one"),
        key(
            "tls_authorities",
            Kind::File,
            Follows("those of the system"),
            "https: a PEM file of the authorities that are trusted in place of the system's",
        ),
        key(
            "command",
            Kind::Texts(COMMAND_TEXTS_MAX),
            Follows("none"),
            "command: the program that is run, and its arguments; exit status 0 passes",
        ),
    ],
};

/// `[pool.ejection]`
pub const EJECTION: Section = Section {
    path: "pool.ejection",
    header: "[pool.ejection]",
    tables: &[],
    keys: &[
        key(
            "failures",
            number_or("off", 1, 1_000),
            Is("5"),
            "sessions that fail in a row before a backend is taken out for a while",
        ),
        key(
            "time",
            time(times(100, MILLISECOND), DAY),
            Is("10s"),
            "how long it is out the first time; each time that follows at once is longer by as much",
        ),
        key(
            "time_max",
            time(times(100, MILLISECOND), DAY),
            Follows("5m, or time if that is longer"),
            "the longest that it is out",
        ),
        key(
            "share_max",
            number(0, 100),
            Is("50"),
            "at most this many percent of the backends are out at once, or one of several if that is less than one",
        ),
        key(
            "first_byte_timeout",
            time_or_off(times(10, MILLISECOND), DAY),
            Is("off"),
            "a session without a byte from its backend for this long counts as failed, and goes on",
        ),
    ],
};

/// `[[pool.backend]]`
pub const BACKEND: Section = Section {
    path: "pool.backend",
    header: "[[pool.backend]]",
    tables: &[],
    keys: &[
        key("address", Kind::Address, Required, "where it serves; unique in its pool"),
        key("weight", number(1, 256), Is("1"), "its share, against the other weights of its pool")
            .cure("to take a backend out, remove it"),
        key(
            "name",
            Kind::Name,
            Follows("the address"),
            "what it is called in logs and tables; unique in its pool",
        ),
        key("backup", Kind::Switch, Is("false"), "whether it serves only when no other can"),
        key(
            "max_connections",
            number_or("off", 1, 10_000_000),
            Is("off"),
            "sessions that it takes at once, from all workers together",
        )
        .cure("to take a backend out, remove it"),
        key("check_address", Kind::Address, Follows("the address"), "where it is checked"),
    ],
};

/// The defaults that follow another key: this, bounded by that key.
pub const CONNECT_TIMEOUT: Duration = times(3, SECOND);
/// See [`CONNECT_TIMEOUT`].
pub const CONNECT_TOTAL_TIMEOUT: Duration = times(10, SECOND);
/// See [`CONNECT_TIMEOUT`].
pub const HEALTH_TIMEOUT: Duration = SECOND;
/// See [`CONNECT_TIMEOUT`].
pub const EJECTION_TIME_MAX: Duration = times(5, MINUTE);

impl Section {
    /// The key of this name.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// Every name that may stand in this section.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().map(|key| key.name).chain(self.tables.iter().copied())
    }
}

impl Kind {
    /// What it may hold, in words: `1 to 256`, `1s to 9h in whole seconds, or "off"`.
    pub fn range(&self) -> String {
        match (self.bounds(), self.word()) {
            (bounds, Some(word)) if matches!(self, Self::Workers) => {
                format!("{bounds}, a list of core numbers such as [0, 2], or \"{word}\"")
            }
            (bounds, Some(word)) => format!("{bounds}, or \"{word}\""),
            (bounds, None) => bounds,
        }
    }

    /// The same, without the word that stands for "none" or "by itself".
    pub(super) fn bounds(&self) -> String {
        match self {
            Self::Name => format!("1 to {NAME_BYTES_MAX} of A-Z a-z 0-9 . _ -"),
            Self::PoolName => "the name of a pool".to_owned(),
            Self::Text(max) => format!("at most {max} bytes"),
            Self::Address => "\"ip:port\"".to_owned(),
            Self::Addresses(max) => format!("\"ip:port\", or a list of 1 to {max} of them"),
            Self::Switch => "true or false".to_owned(),
            Self::Number { min, max, .. } => format!("{min} to {max}"),
            Self::Workers => format!("1 to {WORKERS_MAX}"),
            Self::Duration { min, max, step, .. } => {
                let step = if *step == SECOND { " in whole seconds" } else { "" };
                format!("{} to {}{step}", format_duration(*min), format_duration(*max))
            }
            Self::Size { min, max, step } => {
                let (min, max, step) = (format_size(*min), format_size(*max), format_size(*step));
                format!("{min} to {max}, a multiple of {step}")
            }
            Self::Choice(words) => quoted(words),
            Self::Bytes(max) => format!("1 to {max} bytes"),
            Self::Hex(max) => format!("1 to {max} bytes, as in \"0d 0a\""),
            Self::Regex(max) => format!("an expression of 1 to {max} bytes"),
            Self::Method => format!("1 to {METHOD_BYTES_MAX} of A-Z -"),
            Self::RequestPath => format!("\"/\" and what follows, at most {PATH_BYTES_MAX} bytes"),
            Self::Host => "a host name or an IP address, with \":port\" or without".to_owned(),
            Self::HostName => "a host name or an IP address".to_owned(),
            Self::File => "the path of a file".to_owned(),
            Self::Texts(max) => format!("a list of 1 to {max} texts"),
            Self::Statuses(max) => {
                format!("100 to 599, a range such as \"200-399\", or a list of 1 to {max} of them")
            }
            Self::Algorithms(max) => format!("an algorithm, or a list of 1 to {max} of them"),
            Self::LogTarget => format!(
                "{}, or the path of a file, with a slash in it",
                LOG_TARGETS.map(|word| format!("\"{word}\"")).join(", ")
            ),
            Self::SyslogAddress => "the path of a socket, or \"ip:port\"".to_owned(),
            Self::Fraction => "0.000001 to 1".to_owned(),
            Self::AdminAddress => "\"ip:port\", or the path of a socket that begins with \"/\"".to_owned(),
        }
    }

    /// Of a kind that may be a list: what it lists, one of them, and how many there may be.
    pub(super) fn items(&self) -> Option<(&'static str, &'static str, usize)> {
        match self {
            Self::Addresses(max) => Some(("addresses in one listener", "\"ip:port\"", *max)),
            Self::Texts(max) => Some(("texts in one command", "program", *max)),
            Self::Statuses(max) => Some(("statuses in one check", "status", *max)),
            Self::Algorithms(max) => Some(("shadows in one pool", "algorithm, or remove it", *max)),
            _ => None,
        }
    }

    /// The word that may stand in place of a value.
    pub(super) fn word(&self) -> Option<&'static str> {
        match self {
            Self::Number { word, .. } => *word,
            Self::Duration { off: true, .. } => Some("off"),
            Self::Workers => Some("auto"),
            _ => None,
        }
    }

    /// What to write, with its type: `a whole number: 1 to 256`.
    pub(super) fn wanted(&self) -> String {
        let noun = match self {
            Self::Name
            | Self::Text(_)
            | Self::PoolName
            | Self::Bytes(_)
            | Self::Hex(_)
            | Self::Regex(_)
            | Self::Method
            | Self::RequestPath
            | Self::Host
            | Self::HostName
            | Self::File
            | Self::LogTarget
            | Self::SyslogAddress => "a text in quotes: ",
            Self::Fraction => "a number: ",
            Self::Number { .. } => "a whole number: ",
            Self::Duration { .. } => "a time in quotes: ",
            Self::Size { .. } => "a size in quotes: ",
            Self::Address
            | Self::Addresses(_)
            | Self::Switch
            | Self::Workers
            | Self::Choice(_)
            | Self::Texts(_)
            | Self::Statuses(_)
            | Self::Algorithms(_)
            | Self::AdminAddress => "",
        };
        format!("{noun}{}", self.range())
    }
}

impl Preset {
    /// As the documentation says it.
    pub fn text(&self) -> String {
        match self {
            Required => "required".to_owned(),
            Is(text) => text.escape_debug().to_string(),
            Follows(words) => (*words).to_owned(),
        }
    }
}

/// `"a", "b" or "c"`
pub(super) fn quoted(words: &[impl AsRef<str>]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("\"{}\"", word.as_ref())).collect();
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_stands_twice_in_a_section() {
        for section in SECTIONS {
            let mut names: Vec<_> = section.names().collect();
            assert!(!section.keys.is_empty());
            names.sort_unstable();
            let count = names.len();
            names.dedup();
            assert_eq!(names.len(), count, "{}", section.path);
        }
    }

    #[test]
    fn ranges_read_as_words() {
        let range =
            |section: Section, name| section.key(name).map(|key| key.kind.range()).unwrap_or_default();
        assert_eq!(range(BACKEND, "weight"), "1 to 256");
        assert_eq!(range(SERVER, "sessions_max"), "1 to 10000000, or \"auto\"");
        assert_eq!(range(LISTENER, "keepalive"), "1s to 9h in whole seconds, or \"off\"");
        assert_eq!(range(SERVER, "buffer_size"), "4KiB to 1MiB, a multiple of 4KiB");
        assert_eq!(range(HEALTH, "initial_state"), "\"fully-up\", \"up\", \"down\" or \"fully-down\"");
    }
}
