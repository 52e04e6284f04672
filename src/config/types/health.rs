//! How it is found out whether a backend can serve.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use super::Choice;

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
    /// Whether a check begins with a PROXY protocol header that says that it is one.
    pub proxy_protocol: bool,
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

/// What a health check does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// Nothing: the backend counts as up.
    None,
    /// Connects; then, if asked to, sends and waits for an answer.
    Tcp(Exchange),
    /// Asks with a datagram and waits for one that is an answer.
    Udp(Datagrams),
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

/// What a UDP check sends and what it waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagrams {
    /// The datagram that asks; never empty.
    pub send: Vec<u8>,
    /// What one of those that come must have in it. `None`: any of them passes, and so does silence that nobody breaks by a
    /// refusal.
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
