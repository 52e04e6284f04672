//! Where a running ringway can be looked at and changed.

use std::net::SocketAddr;
use std::path::PathBuf;

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
