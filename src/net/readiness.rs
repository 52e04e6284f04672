//! Readiness: which of very many sockets have something to say, in one call.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Sockets that one look tells of.
const EVENTS: usize = 64;

/// Sockets that are watched for something to read. One that is closed is watched no more.
pub struct Readiness {
    epoll: OwnedFd,
    events: Vec<libc::epoll_event>,
}

impl Readiness {
    /// Of no socket.
    pub fn new() -> io::Result<Readiness> {
        // SAFETY: epoll_create1 takes a number.
        let descriptor = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made this descriptor for us, and nobody else knows its number.
        let epoll = unsafe { OwnedFd::from_raw_fd(descriptor) };
        Ok(Readiness { epoll, events: Vec::with_capacity(EVENTS) })
    }

    /// Another descriptor of the same: it is readable when one of the sockets is.
    pub fn another(&self) -> io::Result<OwnedFd> {
        self.epoll.try_clone()
    }

    /// Watches a socket; `key` is what a look tells.
    pub fn add(&self, socket: &impl AsRawFd, key: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, socket.as_raw_fd(), key)
    }

    /// Watches it no more. Closing it is not enough where there is another descriptor of it.
    pub fn remove(&self, socket: &impl AsRawFd) {
        // An error says that it was not watched.
        let _ = self.control(libc::EPOLL_CTL_DEL, socket.as_raw_fd(), 0);
    }

    fn control(&self, what: libc::c_int, descriptor: RawFd, key: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: key };
        // SAFETY: the kernel reads one event from a live local; both descriptors are open while their owners are borrowed.
        let result = unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), what, descriptor, &raw mut event) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Looks, without waiting, and says how many keys there are.
    pub fn look(&mut self) -> io::Result<usize> {
        self.events.clear();
        // SAFETY: the kernel writes at most EVENTS events to a vector that has room for so many.
        let count = unsafe {
            libc::epoll_wait(self.epoll.as_raw_fd(), self.events.as_mut_ptr(), EVENTS as libc::c_int, 0)
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        // SAFETY: the kernel has just written so many.
        unsafe { self.events.set_len(count) };
        Ok(count)
    }

    /// One of the keys that the last look told.
    pub fn key(&self, place: usize) -> u64 {
        self.events[place].u64
    }
}
