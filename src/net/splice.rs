//! Splice: bytes from socket to socket through a pipe, without a copy.

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use super::Socket;

/// The two ends of a pipe.
#[derive(Debug)]
pub struct PipeEnds {
    reading: io::PipeReader,
    writing: io::PipeWriter,
}

/// A pipe with room for this much, or for as much as the kernel grants; returns what that is.
pub fn pipe(size: usize) -> io::Result<(PipeEnds, usize)> {
    let (reading, writing) = io::pipe()?;
    let asked = libc::c_int::try_from(size).unwrap_or(libc::c_int::MAX);
    // SAFETY: fcntl with F_SETPIPE_SZ takes two numbers; the descriptor is open for as long as `writing` lives.
    let granted = unsafe { libc::fcntl(writing.as_raw_fd(), libc::F_SETPIPE_SZ, asked) };
    // EPERM: over what this user may have. The pipe stays as it was made.
    let granted = if granted > 0 {
        granted
    } else {
        // SAFETY: fcntl with F_GETPIPE_SZ takes one number; the descriptor is open for as long as `writing` lives.
        unsafe { libc::fcntl(writing.as_raw_fd(), libc::F_GETPIPE_SZ) }
    };
    let size = usize::try_from(granted).map_err(|_| io::Error::last_os_error())?;
    Ok((PipeEnds { reading, writing }, size))
}

/// Moves up to `count` bytes that the socket has into the pipe, without a copy and without waiting.
///
/// The socket has to be non-blocking: on the receiving side the kernel heeds nothing else.
pub fn splice_from(socket: &Socket, pipe: &PipeEnds, count: usize) -> io::Result<usize> {
    splice(socket.raw(), pipe.writing.as_raw_fd(), count)
}

/// Moves up to `count` bytes of the pipe to the socket, without a copy and without waiting.
pub fn splice_to(pipe: &PipeEnds, socket: &Socket, count: usize) -> io::Result<usize> {
    splice(pipe.reading.as_raw_fd(), socket.raw(), count)
}

/// The system call, because the ring's own operation always takes a thread of its own for it.
fn splice(from: RawFd, to: RawFd, count: usize) -> io::Result<usize> {
    let flags = libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK;
    // SAFETY: both descriptors are open, because the callers hold their owners; no offsets are given, so that the kernel
    // touches no memory of ours.
    let moved = unsafe { libc::splice(from, std::ptr::null_mut(), to, std::ptr::null_mut(), count, flags) };
    usize::try_from(moved).map_err(|_| io::Error::last_os_error())
}
