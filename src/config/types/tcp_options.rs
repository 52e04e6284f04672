//! Options of a TCP connection, on either side.

use std::time::Duration;

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
