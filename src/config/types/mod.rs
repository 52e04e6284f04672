//! What a configuration means: types that cannot hold a wrong value.
//!
//! Nothing after this module checks a value again: an address is an `Address`, a time a `Duration`, a choice an enum.

mod access;
mod access_log;
mod address;
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
mod tcp_options;
mod udp;

pub use access::{Access, Refuse, Standing};
pub use access_log::{AccessLog, Facility, LogFormat, LogTo, Only, SyslogAddress};
pub use address::{Address, UnixFault, UnixName};
pub use admin::{Admin, AdminAddress};
pub use backend::Backend;
pub use health::{Check, Datagrams, Exchange, Expect, Health, HttpCheck, InitialState, TlsCheck};

pub use bandwidth::{Bandwidth, Pace};
pub use limits::{ListenerLimits, Over, Rate, RateUnit};
pub use listener::{Accept, Listener, NoBackend, Protocol};
pub use listening_socket::ListeningSocket;
pub use pool::{Algorithm, Ejection, OnDown, Pool, PowerOfTwoBy, ResponseTime, Signal, Statistic};
pub use pool_socket::PoolSocket;
pub use proxy_protocol::{AcceptProxy, ProxyDatagrams, ProxyTlv, ProxyVersion, SendProxy};
pub use route::{Otherwise, Route, ServerName, Tls};
pub use server::{Engine, LogLevel, Record, RunAs, Server, Workers};
pub use source::Source;
pub use tcp_options::TcpOptions;
pub use udp::{SourcePorts, Udp};

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
    /// Whether any socket is to have addresses that are not this machine's.
    pub fn is_transparent(&self) -> bool {
        self.listeners.iter().any(|listener| listener.socket.transparent)
            || self.pools.iter().any(|pool| pool.source.transparent)
    }

    /// The backends of all pools, each with its pool, in the order of the table.
    pub fn backends(&self) -> impl Iterator<Item = (&Pool, &Backend)> {
        self.pools.iter().flat_map(|pool| pool.backends.iter().map(move |backend| (pool, backend)))
    }
}

/// A closed set of words: each value has one, in files, flags and summaries alike.
pub trait Choice: Copy + 'static {
    /// Every value.
    const ALL: &'static [Self];

    /// How it is written.
    fn word(self) -> &'static str;
}
