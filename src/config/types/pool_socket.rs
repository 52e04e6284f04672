//! What the connections to a pool's backends are like, beyond what all TCP sockets have.

/// `[pool.socket]`: what the kernel is told before it connects. A Unix socket has none of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoolSocket {
    /// SO_BINDTODEVICE: connects by this interface only.
    pub device: Option<String>,
    /// SO_MARK: how packets are marked for this machine's own rules.
    pub mark: Option<u32>,
    /// TCP_FASTOPEN_CONNECT: the first bytes go out with the connection, once the backend has given a cookie.
    pub fast_open: bool,
    /// IPPROTO_MPTCP instead of IPPROTO_TCP.
    pub mptcp: bool,
    /// TCP_CONGESTION: how fast is sent; `None` is the system's.
    pub congestion: Option<String>,
    /// How packets are marked for routers (DSCP), 0 to 63; `None` is not at all.
    pub dscp: Option<u8>,
    /// TCP_MAXSEG: bytes of one segment, at most; `None` leaves it to the path.
    pub mss: Option<u32>,
    /// SO_RCVBUF and SO_SNDBUF in bytes; `None` lets the kernel find out by itself.
    pub receive_buffer: Option<u32>,
    /// The same for what is sent.
    pub send_buffer: Option<u32>,
}

impl PoolSocket {
    /// Whether nothing of it is given.
    pub fn is_plain(&self) -> bool {
        *self == PoolSocket::default()
    }
}
