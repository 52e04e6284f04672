//! Who: who asks, as changes are logged.

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

/// The longest name that is taken from a header.
const NAME_CHARS_MAX: usize = 64;
/// Where somebody in front of us, such as a proxy that knows its users, says who it is.
const HEADER: &str = "x-ringway-user";

/// The other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) enum Peer {
    /// At this address.
    Address(SocketAddr),
    /// A process of this machine, over the socket; what the kernel says of it.
    Process {
        /// Its user.
        uid: u32,
        /// Itself, if it is in a namespace that we see.
        pid: Option<i32>,
    },
    /// The kernel does not say.
    Unknown,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Address(address) => address.fmt(f),
            Peer::Process { uid, pid: Some(pid) } => write!(f, "uid {uid} pid {pid}"),
            Peer::Process { uid, pid: None } => write!(f, "uid {uid}"),
            Peer::Unknown => write!(f, "unknown"),
        }
    }
}

/// Who asks: the peer, and the name that the request gives.
#[derive(Debug, Clone)]
pub(super) struct Who(pub(super) String);

impl<S: Sync> FromRequestParts<S> for Who {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Who, Infallible> {
        let peer = parts.extensions.get::<Peer>().copied().unwrap_or(Peer::Unknown);
        let name = parts.headers.get(HEADER).and_then(|value| value.to_str().ok());
        let name: Option<String> = name.map(|name| name.chars().take(NAME_CHARS_MAX).collect());
        Ok(Who(match name.filter(|name| !name.is_empty()) {
            Some(name) => format!("{name} ({peer})"),
            None => peer.to_string(),
        }))
    }
}
