//! Listening: a socket on which clients are accepted, and whose it is.

use std::io;
use std::net::{Shutdown, TcpListener};
use std::ops::Deref;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use socket2::{SockRef, Type};

use super::set_tcp_options;
use crate::config::TcpOptions;

/// A listening socket of one worker.
#[derive(Debug)]
pub struct Listening {
    socket: TcpListener,
    is_lent: bool,
}

impl Listening {
    /// One that we made, and that ends with us.
    pub fn own(socket: TcpListener) -> Listening {
        Listening { socket, is_lent: false }
    }

    /// One that somebody else made, and keeps when we are gone.
    ///
    /// # Errors
    ///
    /// When it is not a TCP socket that listens.
    pub fn lent(descriptor: OwnedFd) -> io::Result<Listening> {
        let wrong = |what| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        let socket = socket2::Socket::from(descriptor);
        // What is no socket at all has no type.
        let is_stream = socket.r#type().is_ok_and(|kind| kind == Type::STREAM);
        if !is_stream || socket.local_addr()?.as_socket().is_none() {
            return wrong("it is not a TCP socket");
        }
        if !socket.is_listener()? {
            return wrong("it does not listen");
        }
        // The same as those that we make ourselves.
        socket.set_nonblocking(true)?;
        Ok(Listening { socket: socket.into(), is_lent: true })
    }

    /// What accepted connections inherit. The backlog is left as whoever lent it wants it.
    pub fn set_options(&self, tcp: TcpOptions) -> io::Result<()> {
        set_tcp_options(&SockRef::from(&self.socket), tcp)
    }

    /// Gives it another backlog, unless it is lent, and other options. Connections that it has accepted keep theirs.
    pub fn adjust(&self, backlog: u32, tcp: TcpOptions) -> io::Result<()> {
        let socket = SockRef::from(&self.socket);
        if !self.is_lent {
            socket.listen(backlog as i32)?;
        }
        socket.set_tcp_nodelay(tcp.nodelay)?;
        socket.set_keepalive(tcp.keepalive.is_some())?;
        socket.set_tcp_user_timeout(None)?;
        set_tcp_options(&socket, tcp)
    }

    /// Another descriptor of the same socket, with the same queue.
    pub fn another(&self) -> io::Result<Listening> {
        Ok(Listening { socket: self.socket.try_clone()?, is_lent: self.is_lent })
    }

    /// Whether it is somebody else's.
    pub fn is_lent(&self) -> bool {
        self.is_lent
    }

    /// Whether it accepts IPv4 as well, on an IPv6 address.
    pub fn is_dual_stack(&self) -> bool {
        let is_ipv6 = self.socket.local_addr().is_ok_and(|address| address.is_ipv6());
        is_ipv6 && SockRef::from(&self.socket).only_v6().is_ok_and(|only| !only)
    }

    /// Ends it: a poll that waits on it completes, `accept` fails from now on. The descriptor stays. One that is lent goes on
    /// listening, because it would end for its owner as well; who waits on it has to be told otherwise.
    pub fn stop(&self) {
        if !self.is_lent {
            // An error says that it does not listen any more, which is what is wanted.
            let _ = SockRef::from(&self.socket).shutdown(Shutdown::Read);
        }
    }
}

impl Deref for Listening {
    type Target = TcpListener;

    fn deref(&self) -> &TcpListener {
        &self.socket
    }
}

impl AsRawFd for Listening {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
