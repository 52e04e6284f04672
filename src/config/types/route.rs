//! Which pool serves a TLS client, by what its hello says.

use std::time::Duration;

use super::Choice;

/// `[listener.tls]`: how long a client's hello is waited for, and what becomes of those that no route is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tls {
    /// How long the hello may take to come.
    pub hello_timeout: Duration,
    /// Bytes of a client that are looked at, at most.
    pub hello_bytes_max: usize,
    /// What becomes of a client whose hello no route is for.
    pub unmatched: Otherwise,
    /// What becomes of one that says no hello, or not in time.
    pub no_hello: Otherwise,
}

/// What becomes of a client that no route is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Otherwise {
    /// The pool of its listener serves it.
    Pool,
    /// It sees a reset.
    Reset,
}

impl Choice for Otherwise {
    const ALL: &'static [Self] = &[Self::Pool, Self::Reset];

    fn word(self) -> &'static str {
        match self {
            Self::Pool => "pool",
            Self::Reset => "reset",
        }
    }
}

/// `[[listener.route]]`: the clients that ask for one of these names, and offer one of these protocols, go to another pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Names of servers; none of them is any name, and no name.
    pub server_names: Vec<ServerName>,
    /// Protocols, as ALPN calls them; none of them is any, and none.
    pub alpn: Vec<Box<str>>,
    /// The pool: an index into the configuration's pools.
    pub pool: usize,
}

/// A name of servers, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ServerName {
    /// This one.
    Exact(Box<str>),
    /// All that end in a dot and this: `*.example.com`.
    Below(Box<str>),
}

impl std::fmt::Display for ServerName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ServerName::Exact(name) => f.write_str(name),
            ServerName::Below(name) => write!(f, "*.{name}"),
        }
    }
}
