//! What a listener's sockets are like, beyond what all TCP sockets have.

use std::time::Duration;

/// `[listener.socket]`: who may connect to a Unix socket, and what the kernel is told of the listening ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListeningSocket {
    /// The mode of a Unix socket's file: whoever may write to it may connect.
    pub mode: u32,
    /// Whose that file is; `None` leaves it to whoever started the process.
    pub user: Option<String>,
    /// Its group.
    pub group: Option<String>,
    /// SO_BINDTODEVICE: accepts what comes in by this interface only.
    pub device: Option<String>,
    /// IP_FREEBIND: listens at addresses that this machine does not have yet.
    pub free_bind: bool,
    /// IP_TRANSPARENT: accepts for addresses of others, and each client's local address is where that wanted to go.
    pub transparent: bool,
    /// TCP_FASTOPEN: clients with a cookie that may send before they are connected, at once; `None` is off.
    pub fast_open: Option<u32>,
    /// TCP_DEFER_ACCEPT: a client is accepted once it has sent something, or after about this long; whole seconds.
    pub defer_accept: Option<Duration>,
    /// TCP_CONGESTION: how fast is sent; `None` is the system's.
    pub congestion: Option<String>,
    /// How packets are marked for routers (DSCP), 0 to 63; `None` is not at all.
    pub dscp: Option<u8>,
    /// TCP_MAXSEG: bytes of one segment, at most; `None` leaves it to the path.
    pub mss: Option<u32>,
    /// IPPROTO_MPTCP instead of IPPROTO_TCP: who speaks plain TCP is accepted as ever.
    pub mptcp: bool,
    /// SO_RCVBUF and SO_SNDBUF in bytes; `None` lets the kernel find out by itself.
    pub receive_buffer: Option<u32>,
    /// The same for what is sent.
    pub send_buffer: Option<u32>,
}
