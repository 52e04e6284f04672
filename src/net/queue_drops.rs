//! What the kernel dropped at a socket because its queue was full: clients at one that listens, datagrams at one of UDP.

use std::cell::Cell;
use std::os::fd::AsFd;

use super::sockopt::first_bytes;

/// The drops of one socket that somebody has been told of already. The kernel counts them from the start of the socket, which may
/// have had another owner, and goes round.
#[derive(Debug, Clone)]
pub struct QueueDrops(Cell<u32>);

impl QueueDrops {
    /// Of this socket, from now on.
    pub fn of(socket: impl AsFd) -> QueueDrops {
        QueueDrops(Cell::new(count(socket).unwrap_or(0)))
    }

    /// Those since it was last asked, of the same socket.
    pub fn more(&self, socket: impl AsFd) -> u64 {
        let Some(now) = count(socket) else { return 0 };
        u64::from(now.wrapping_sub(self.0.replace(now)))
    }
}

/// `None` where the kernel does not tell (before Linux 4.12).
fn count(socket: impl AsFd) -> Option<u32> {
    // SK_MEMINFO_DROPS, the last of the nine numbers of linux/sock_diag.h.
    let bytes: [u8; 36] = first_bytes(socket, libc::SOL_SOCKET, libc::SO_MEMINFO).ok()?;
    let [.., a, b, c, d] = bytes;
    Some(u32::from_ne_bytes([a, b, c, d]))
}
