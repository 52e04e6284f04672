//! Listening: a socket on which clients are accepted, and whose it is.

use std::cell::Cell;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use socket2::{SockRef, Type};

use super::{prepare_listener, set_tcp_options};
use crate::config::TcpOptions;

/// A listening socket of one worker.
#[derive(Debug)]
pub struct Listening {
    socket: TcpListener,
    is_lent: Cell<bool>,
    /// The backlog of one that is bound and does not listen yet.
    waiting: Cell<Option<u32>>,
}

impl Listening {
    /// One that ends with us.
    pub fn own(socket: TcpListener) -> Listening {
        Listening { socket, is_lent: Cell::new(false), waiting: Cell::new(None) }
    }

    /// One that somebody else made, and keeps when we are gone.
    ///
    /// # Errors
    ///
    /// When it is not a TCP socket that listens.
    pub fn lent(descriptor: OwnedFd) -> io::Result<Listening> {
        let listening = Listening::given(descriptor)?;
        listening.lend();
        Ok(listening)
    }

    /// One that somebody else made, and leaves to us.
    ///
    /// # Errors
    ///
    /// When it is not a TCP socket that listens.
    pub fn given(descriptor: OwnedFd) -> io::Result<Listening> {
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
        Ok(Listening::own(socket.into()))
    }

    /// One more at an address at which others of ours listen. It has the address from now on, and gets its share of the
    /// clients from [`Listening::begin`] on.
    pub fn beside(address: SocketAddr, backlog: u32, tcp: TcpOptions) -> io::Result<Listening> {
        let socket = prepare_listener(address, tcp)?;
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())?;
        let listening = Listening::own(socket.into());
        listening.waiting.set(Some(backlog));
        Ok(listening)
    }

    /// Listens, if it does not yet.
    pub fn begin(&self) -> io::Result<()> {
        self.waiting.take().map_or(Ok(()), |backlog| SockRef::from(&self.socket).listen(backlog as i32))
    }

    /// Gives it another backlog, unless it is lent, and other options. Connections that it has accepted keep theirs.
    pub fn adjust(&self, backlog: u32, tcp: TcpOptions) -> io::Result<()> {
        let socket = SockRef::from(&self.socket);
        if !self.is_lent() {
            socket.listen(backlog as i32)?;
        }
        socket.set_tcp_nodelay(tcp.nodelay)?;
        socket.set_keepalive(tcp.keepalive.is_some())?;
        socket.set_tcp_user_timeout(None)?;
        set_tcp_options(&socket, tcp)
    }

    /// What accepted connections inherit. The backlog is left as whoever lent it wants it.
    pub fn set_options(&self, tcp: TcpOptions) -> io::Result<()> {
        set_tcp_options(&SockRef::from(&self.socket), tcp)
    }

    /// Another descriptor of the same socket, with the same queue.
    pub fn another(&self) -> io::Result<Listening> {
        Ok(Listening {
            socket: self.socket.try_clone()?,
            is_lent: self.is_lent.clone(),
            waiting: self.waiting.clone(),
        })
    }

    /// From now on it is somebody else's, who keeps it when we are gone.
    pub fn lend(&self) {
        self.is_lent.set(true);
    }

    /// Whether it is somebody else's.
    pub fn is_lent(&self) -> bool {
        self.is_lent.get()
    }

    /// Whether it accepts IPv4 as well, on an IPv6 address.
    pub fn is_dual_stack(&self) -> bool {
        let is_ipv6 = self.socket.local_addr().is_ok_and(|address| address.is_ipv6());
        is_ipv6 && SockRef::from(&self.socket).only_v6().is_ok_and(|only| !only)
    }

    /// The same number for all descriptors of one socket, and for no other socket.
    pub fn identity(&self) -> io::Result<u64> {
        SockRef::from(&self.socket).cookie()
    }

    /// Ends it: a poll that waits on it completes, `accept` fails from now on. The descriptor stays. One that is lent goes on
    /// listening, because it would end for its owner as well; who waits on it has to be told otherwise.
    pub fn stop(&self) {
        if !self.is_lent() {
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

impl AsFd for Listening {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Listening {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
