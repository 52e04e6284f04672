//! What the kernel tells of a TCP socket (struct tcp_info of tcp(7)). It takes nothing from the socket.

use std::io;
use std::os::fd::AsFd;

use super::sockopt::first_bytes;

/// The state of a connection that is over.
const TCP_CLOSE: u8 = 7;

/// Whether a connection is over: reset, timed out, or ended by both sides.
///
/// # Errors
///
/// When it is no connection of TCP.
pub(super) fn is_closed(socket: impl AsFd) -> io::Result<bool> {
    // The state comes first.
    let [state] = first_bytes(socket, libc::IPPROTO_TCP, libc::TCP_INFO)?;
    Ok(state == TCP_CLOSE)
}

/// How many connections wait to be accepted on a socket that listens.
///
/// # Errors
///
/// When it is no socket of TCP.
pub(super) fn queued(socket: impl AsFd) -> io::Result<u32> {
    // Eight bytes of state and options, then numbers of four: rto, ato, snd_mss, rcv_mss, unacked. The last one is what it says
    // of a connection, and the length of the queue of who listens.
    let bytes: [u8; 28] = first_bytes(socket, libc::IPPROTO_TCP, libc::TCP_INFO)?;
    let [.., a, b, c, d] = bytes;
    Ok(u32::from_ne_bytes([a, b, c, d]))
}
