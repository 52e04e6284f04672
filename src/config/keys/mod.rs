//! Every key there is: its kind, its bounds, its default, what it means.
//!
//! The reader looks its keys up here, the flags and the documentation are tested against it: a key, a bound or a default
//! is written down once.

mod access;
mod access_log;
mod admin;
mod backend;
mod bandwidth;
mod health;
mod limits;
mod listener;
mod listening_socket;
mod pool;
mod pool_socket;
mod proxy_protocol;
mod route;
mod server;
mod source;
mod udp;

use std::time::Duration;

pub use access::ACCESS;
pub use access_log::ACCESS_LOG;
pub use admin::ADMIN;
pub use backend::BACKEND;
pub use bandwidth::BANDWIDTH;
pub use health::HEALTH;
pub use limits::LIMITS;
pub use listener::LISTENER;
pub use listening_socket::LISTENING_SOCKET;
pub use pool::{EJECTION, POOL, RESPONSE_TIME};
pub use pool_socket::POOL_SOCKET;
pub use proxy_protocol::{ACCEPT_PROXY, CUSTOM_TLV, CUSTOM_TLVS_MAX, SEND_PROXY};
pub use route::{ROUTE, TLS};
pub use server::SERVER;
pub use source::SOURCE;
pub use udp::UDP;

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
    /// One `ip:port` or Unix socket.
    Address,
    /// One `ip:port`, range of ports or Unix socket, or a list of at most so many.
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
    /// A number of bytes, or `off`.
    SizeOrOff {
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
    },
    /// So many in a second, a minute or an hour, or `off`.
    Rate {
        /// The most.
        max: u32,
    },
    /// One network or a list of at most so many.
    Networks(usize),
    /// One path or a list of at most so many.
    Files(usize),
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
    /// At most so many IP addresses, or networks of them.
    Sources(usize),
    /// A port, or from one port to another.
    PortRange,
    /// A class of packets.
    Dscp,
    /// The mode of a file, in octal digits.
    FileMode,
    /// The path of a file; whether it can be read is found out by who reads it.
    File,
    /// At most so many texts.
    Texts(usize),
    /// At most so many HTTP statuses or ranges of them.
    Statuses(usize),
    /// At most so many algorithms.
    Algorithms(usize),
    /// One of these words, or a list of them.
    Words(&'static [&'static str]),
    /// At most so many names of servers.
    ServerNames(usize),
    /// At most so many names of protocols.
    Protocols(usize),
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
/// At most this many addresses in one `[pool.source]`, those of its networks counted.
pub const SOURCES_MAX: usize = 256;
/// At most this many ports in all ranges of all `bind` together: each is a socket for each worker.
pub const SPAN_PORTS_MAX: usize = 1_024;
/// At most this many workers.
pub const WORKERS_MAX: u64 = 1_024;
/// The largest core number that `workers` may list.
pub const CORE_MAX: u64 = 4_095;
/// The longest name.
pub const NAME_BYTES_MAX: usize = 64;
/// The most memory that one worker's relay buffers may take: `buffer_size` times `buffers_per_worker`.
pub const ARENA_BYTES_MAX: u64 = 1 << 30;

/// At most this many networks in one list of a configuration; a file may have more.
pub const NETWORKS_MAX: usize = 10_000;
/// At most this many files in one list.
pub const FILES_MAX: usize = 16;

/// The most that a check sends.
pub const SEND_BYTES_MAX: usize = 4_096;
/// The longest text, and the longest expression, that a check looks for.
pub const EXPECT_BYTES_MAX: usize = 1_024;
/// At most this many texts in one `command`.
pub const COMMAND_TEXTS_MAX: usize = 64;
/// At most this many shadows in one pool.
pub const SHADOWS_MAX: usize = 4;
/// At most this many names in one `server_name`.
pub const SERVER_NAMES_MAX: usize = 1_024;
/// At most this many protocols in one `alpn`.
pub const ALPN_MAX: usize = 16;
/// At most this many `[[listener.route]]` in one listener.
pub const ROUTES_MAX: usize = 4_096;
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

const fn rate_or_off() -> Kind {
    Kind::Rate { max: 1_000_000 }
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
pub const SECTIONS: &[Section] = &[
    SERVER,
    ACCESS_LOG,
    ADMIN,
    LISTENER,
    LISTENING_SOCKET,
    TLS,
    ROUTE,
    UDP,
    ACCEPT_PROXY,
    ACCESS,
    LIMITS,
    BANDWIDTH,
    POOL,
    SOURCE,
    RESPONSE_TIME,
    HEALTH,
    EJECTION,
    SEND_PROXY,
    CUSTOM_TLV,
    POOL_SOCKET,
    BACKEND,
];

/// What may stand at the top of a file.
pub const ROOT: Section = Section {
    path: "",
    header: "",
    keys: &[],
    tables: &["server", "access_log", "admin", "listener", "pool"],
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
            Self::Address => "\"ip:port\" or \"unix:name\"".to_owned(),
            Self::Addresses(max) => {
                format!("\"ip:port\", \"ip:first-last\" or \"unix:name\", or a list of 1 to {max} of them")
            }
            Self::Switch => "true or false".to_owned(),
            Self::Number { min, max, .. } => format!("{min} to {max}"),
            Self::Workers => format!("1 to {WORKERS_MAX}"),
            Self::Duration { min, max, step, .. } => {
                let step = if *step == SECOND { " in whole seconds" } else { "" };
                format!("{} to {}{step}", format_duration(*min), format_duration(*max))
            }
            Self::SizeOrOff { min, max } => format!("{} to {}", format_size(*min), format_size(*max)),
            Self::Size { min, max, step } => {
                let (min, max, step) = (format_size(*min), format_size(*max), format_size(*step));
                format!("{min} to {max}, a multiple of {step}")
            }
            Self::Rate { max } => format!("1 to {max} and \"/s\", \"/m\" or \"/h\""),
            Self::Networks(max) => format!("\"ip/bits\", or a list of 1 to {max} of them"),
            Self::Files(max) => format!("the path of a file, or a list of 1 to {max} of them"),
            Self::Choice(words) => quoted(words),
            Self::Bytes(max) => format!("1 to {max} bytes"),
            Self::Hex(max) => format!("1 to {max} bytes, as in \"0d 0a\""),
            Self::Regex(max) => format!("an expression of 1 to {max} bytes"),
            Self::Method => format!("1 to {METHOD_BYTES_MAX} of A-Z -"),
            Self::RequestPath => format!("\"/\" and what follows, at most {PATH_BYTES_MAX} bytes"),
            Self::Host => "a host name or an IP address, with \":port\" or without".to_owned(),
            Self::HostName => "a host name or an IP address".to_owned(),
            Self::File => "the path of a file".to_owned(),
            Self::Sources(max) => {
                format!(
                    "an IP address, or a network such as \"10.0.0.0/29\", or a list of them with 1 to {max} addresses"
                )
            }
            Self::PortRange => "from one port to another, as in \"20000-60000\"".to_owned(),
            Self::Dscp => "0 to 63, or a word such as \"ef\", \"af41\" or \"cs1\"".to_owned(),
            Self::FileMode => "0000 to 0777, in octal digits".to_owned(),
            Self::Texts(max) => format!("a list of 1 to {max} texts"),
            Self::Statuses(max) => {
                format!("100 to 599, a range such as \"200-399\", or a list of 1 to {max} of them")
            }
            Self::Algorithms(max) => format!("an algorithm, or a list of 1 to {max} of them"),
            Self::Words(words) => format!("{}, or a list of them", quoted(words)),
            Self::ServerNames(max) => {
                format!("a host name, or \"*.\" and one, or a list of 1 to {max} of them")
            }
            Self::Protocols(max) => format!("1 to 255 bytes such as \"h2\", or a list of 1 to {max} of them"),
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
            Self::Networks(max) => Some(("networks in one list", "network, or remove it", *max)),
            Self::Files(max) => Some(("files in one list", "path, or remove it", *max)),
            Self::Texts(max) => Some(("texts in one command", "program", *max)),
            Self::Sources(max) => Some(("addresses and networks in one pool", "address, or remove it", *max)),
            Self::Statuses(max) => Some(("statuses in one check", "status", *max)),
            Self::Words(words) => Some(("words in one list", "word, or remove it", words.len())),
            Self::ServerNames(max) => Some(("names in one route", "name, or remove it", *max)),
            Self::Protocols(max) => Some(("protocols in one route", "protocol, or remove it", *max)),
            Self::Algorithms(max) => Some(("shadows in one pool", "algorithm, or remove it", *max)),
            _ => None,
        }
    }

    /// The word that may stand in place of a value.
    pub(super) fn word(&self) -> Option<&'static str> {
        match self {
            Self::Number { word, .. } => *word,
            Self::Duration { off: true, .. } | Self::SizeOrOff { .. } | Self::Rate { .. } => Some("off"),
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
            | Self::FileMode
            | Self::LogTarget
            | Self::SyslogAddress => "a text in quotes: ",
            Self::Fraction => "a number: ",
            Self::Number { .. } => "a whole number: ",
            Self::Duration { .. } => "a time in quotes: ",
            Self::Size { .. } | Self::SizeOrOff { .. } => "a size in quotes: ",
            Self::Rate { .. } => "a rate in quotes: ",
            Self::Address
            | Self::Addresses(_)
            | Self::Switch
            | Self::Dscp
            | Self::Sources(_)
            | Self::PortRange
            | Self::Workers
            | Self::Choice(_)
            | Self::Texts(_)
            | Self::Networks(_)
            | Self::Files(_)
            | Self::Statuses(_)
            | Self::Algorithms(_)
            | Self::Words(_)
            | Self::ServerNames(_)
            | Self::Protocols(_)
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
