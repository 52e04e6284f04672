//! Options of sockets that nobody else sets or reads for us.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

/// Sets an option that is a number.
pub(super) fn set_number(
    socket: impl AsFd,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: an int is what these options are.
    unsafe { set(socket, level, option, &value) }
}

/// What such an option is now.
pub(super) fn number(socket: impl AsFd, level: libc::c_int, option: libc::c_int) -> io::Result<libc::c_int> {
    first_bytes(socket, level, option).map(libc::c_int::from_ne_bytes)
}

/// The first bytes of what an option is now; the rest is 0 where the kernel has less to tell.
pub(super) fn first_bytes<const N: usize>(
    socket: impl AsFd,
    level: libc::c_int,
    option: libc::c_int,
) -> io::Result<[u8; N]> {
    let mut bytes = [0_u8; N];
    let mut size = N as libc::socklen_t;
    let (buffer, room) = (bytes.as_mut_ptr().cast(), &raw mut size);
    // SAFETY: the kernel writes at most `size` bytes, which are those of a live local, and the size itself; it copies no more
    // than it is asked for, however long its structure is. `socket` is borrowed and stays open.
    let result = unsafe { libc::getsockopt(socket.as_fd().as_raw_fd(), level, option, buffer, room) };
    if result == 0 { Ok(bytes) } else { Err(io::Error::last_os_error()) }
}

/// Sets an option that is a structure.
///
/// # Safety
///
/// The kernel must expect a `T` for this option, and nothing behind its pointers that does not live as long as the call.
pub(super) unsafe fn set<T>(
    socket: impl AsFd,
    level: libc::c_int,
    option: libc::c_int,
    value: &T,
) -> io::Result<()> {
    let size = mem::size_of::<T>() as libc::socklen_t;
    // SAFETY: the kernel reads `size_of::<T>()` bytes from a live reference; what it makes of them is the caller's word. `socket`
    // is borrowed and stays open.
    let result = unsafe {
        libc::setsockopt(socket.as_fd().as_raw_fd(), level, option, ptr::from_ref(value).cast(), size)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
