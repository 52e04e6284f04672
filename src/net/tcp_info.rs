//! What the kernel tells of a TCP socket (struct tcp_info of tcp(7)). It takes nothing from the socket.

use std::io;
use std::os::fd::{AsRawFd, RawFd};

/// The state of a connection that is over.
const TCP_CLOSE: u8 = 7;

/// The first bytes of the structure, or an error; also of what is no TCP socket.
fn read<const N: usize>(socket: RawFd) -> io::Result<[u8; N]> {
    let mut bytes = [0_u8; N];
    let mut size = N as libc::socklen_t;
    let (buffer, room) = (bytes.as_mut_ptr().cast(), &raw mut size);
    // SAFETY: the kernel writes at most `size` bytes, which are those of a live local, and the size itself; it copies no more
    // than it is asked for, however long its structure is.
    let result = unsafe { libc::getsockopt(socket, libc::IPPROTO_TCP, libc::TCP_INFO, buffer, room) };
    if result == 0 { Ok(bytes) } else { Err(io::Error::last_os_error()) }
}

/// Whether a connection is over: reset, timed out, or ended by both sides.
///
/// # Errors
///
/// When it is no connection of TCP.
pub(super) fn is_closed(socket: RawFd) -> io::Result<bool> {
    // The state comes first.
    let [state] = read::<1>(socket)?;
    Ok(state == TCP_CLOSE)
}

/// How many connections wait to be accepted on a socket that listens.
///
/// # Errors
///
/// When it is no socket of TCP.
pub(super) fn queued(socket: &impl AsRawFd) -> io::Result<u32> {
    // Eight bytes of state and options, then numbers of four: rto, ato, snd_mss, rcv_mss, unacked. The last one is what it says
    // of a connection, and the length of the queue of who listens.
    let bytes = read::<28>(socket.as_raw_fd())?;
    let [.., a, b, c, d] = bytes;
    Ok(u32::from_ne_bytes([a, b, c, d]))
}
