//! Listening: a socket on which clients are accepted, and whose it is.

use std::cell::Cell;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use socket2::Type;

use super::queue_drops::QueueDrops;
use super::unix::{self, Door};
use super::{is_mptcp, options, prepare_listener, set_tcp_options, tcp_info};
use crate::config::{Address, Listener};

/// A listening socket of one worker; a Unix socket is all workers' together, each with a descriptor of its own.
#[derive(Debug)]
pub struct Listening {
    socket: socket2::Socket,
    is_lent: Cell<bool>,
    /// The backlog of one that is bound and does not listen yet.
    waiting: Cell<Option<u32>>,
    /// Of a Unix socket.
    door: Option<Arc<Door>>,
    is_mptcp: bool,
    /// What the kernel has dropped there, if what waits there and what does not is to be counted here.
    drops: Option<QueueDrops>,
}

impl Listening {
    /// One that ends with us.
    pub(super) fn own(socket: socket2::Socket) -> Listening {
        let is_mptcp = is_mptcp(&socket);
        Listening {
            drops: Some(QueueDrops::of(&socket)),
            socket,
            is_lent: Cell::new(false),
            waiting: Cell::new(None),
            door: None,
            is_mptcp,
        }
    }

    /// The same of a Unix socket, whose file ends with the last descriptor.
    pub(super) fn own_unix(socket: socket2::Socket, door: Door) -> Listening {
        Listening { door: Some(Arc::new(door)), ..Listening::own(socket) }
    }

    /// One that somebody else made, and keeps when we are gone.
    ///
    /// # Errors
    ///
    /// When it is no socket of TCP, nor a stream socket of this machine, that listens.
    pub fn lent(descriptor: OwnedFd) -> io::Result<Listening> {
        let listening = Listening::given(descriptor)?;
        listening.lend();
        Ok(listening)
    }

    /// One that somebody else made, and leaves to us. The file of a Unix socket is not ours yet: see [`Listening::adjust`].
    ///
    /// # Errors
    ///
    /// When it is no socket of TCP, nor a stream socket of this machine, that listens.
    pub fn given(descriptor: OwnedFd) -> io::Result<Listening> {
        let wrong = |what| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        let socket = socket2::Socket::from(descriptor);
        // What is no socket at all has no type.
        let is_stream = socket.r#type().is_ok_and(|kind| kind == Type::STREAM);
        let address = if is_stream { unix::address_of(&socket.local_addr()?) } else { None };
        let Some(address) = address else {
            return wrong("it is not a TCP socket, nor a Unix socket of streams");
        };
        if !socket.is_listener()? {
            return wrong("it does not listen");
        }
        // The same as those that we make ourselves.
        socket.set_nonblocking(true)?;
        Ok(match address {
            Address::Unix(name) => Listening::own_unix(socket, Door::of(name)),
            Address::Ip(_) => Listening::own(socket),
        })
    }

    /// One more at an address at which others of ours listen. It has the address from now on, and gets its share of the
    /// clients from [`Listening::begin`] on.
    pub fn beside(address: std::net::SocketAddr, listener: &Listener) -> io::Result<Listening> {
        let socket = prepare_listener(address, listener)?;
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())?;
        let listening = Listening::own(socket);
        listening.waiting.set(Some(listener.backlog));
        Ok(listening)
    }

    /// Listens, if it does not yet.
    pub fn begin(&self) -> io::Result<()> {
        self.waiting.take().map_or(Ok(()), |backlog| self.socket.listen(backlog as i32))
    }

    /// Gives it another backlog, unless it is lent, and other options; makes the file of a Unix socket ours. Connections that
    /// it has accepted keep theirs.
    pub fn adjust(&self, listener: &Listener) -> io::Result<()> {
        if !self.is_lent() {
            self.socket.listen(listener.backlog as i32)?;
        }
        let Some(door) = &self.door else {
            let tcp = listener.tcp;
            self.socket.set_tcp_nodelay(tcp.nodelay)?;
            self.socket.set_keepalive(tcp.keepalive.is_some())?;
            if !self.is_mptcp {
                self.socket.set_tcp_user_timeout(None)?;
            }
            set_tcp_options(&self.socket, tcp)?;
            let Address::Ip(address) = self.local_addr()? else { return Ok(()) };
            return options::set_any_time(&self.socket, address, &listener.socket);
        };
        if self.is_lent() {
            return Ok(());
        }
        door.take();
        door.set_access(&listener.socket)
    }

    /// What accepted connections inherit. The backlog is left as whoever lent it wants it.
    pub fn set_options(&self, listener: &Listener) -> io::Result<()> {
        let Address::Ip(address) = self.local_addr()? else { return Ok(()) };
        set_tcp_options(&self.socket, listener.tcp)?;
        options::set_any_time(&self.socket, address, &listener.socket)
    }

    /// Another descriptor of the same socket, with the same queue; what waits there is counted by whoever has this one.
    pub fn another(&self) -> io::Result<Listening> {
        Ok(Listening {
            drops: None,
            socket: self.socket.try_clone()?,
            is_lent: self.is_lent.clone(),
            waiting: self.waiting.clone(),
            door: self.door.clone(),
            is_mptcp: self.is_mptcp,
        })
    }

    /// The same, and what waits there is counted by whoever has the other one: to be called for one of all that workers get.
    pub fn another_that_counts(&self) -> io::Result<Listening> {
        Ok(Listening { drops: self.drops.clone(), ..self.another()? })
    }

    /// From now on it is somebody else's, who keeps it when we are gone.
    pub fn lend(&self) {
        self.is_lent.set(true);
        self.door.iter().for_each(|door| door.leave());
    }

    /// Whether it is somebody else's.
    pub fn is_lent(&self) -> bool {
        self.is_lent.get()
    }

    /// Where it is.
    pub fn local_addr(&self) -> io::Result<Address> {
        let address = self.socket.local_addr()?;
        unix::address_of(&address).ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    /// Takes a connection that waits, with the address that it came from.
    pub(super) fn accept(&self) -> io::Result<(OwnedFd, Address)> {
        let (socket, address) = self.socket.accept()?;
        if self.is_mptcp {
            // The one thing that clients cannot inherit there. For one with MPTCP this fails, who needs it not; and one that came
            // by TCP is a socket of TCP.
            let _ = socket.set_out_of_band_inline(true);
        }
        // A client of a Unix socket hardly has a name, and one that it has says nothing of who it is.
        let address = address.as_socket().map_or(Address::NAMELESS, Address::Ip);
        Ok((socket.into(), address))
    }

    /// How many clients wait in its queue, as far as the kernel tells: of a Unix socket it does not, and 0 is said; and so it is
    /// where another worker counts them.
    pub fn queued(&self) -> u64 {
        if self.drops.is_none() {
            return 0;
        }
        tcp_info::queued(&self.socket).map_or(0, u64::from)
    }

    /// How many clients the kernel has dropped because its queue was full, since this was last asked; 0 where another worker
    /// counts them.
    pub fn more_drops(&self) -> u64 {
        self.drops.as_ref().map_or(0, |drops| drops.more(&self.socket))
    }

    /// Whether it accepts IPv4 as well, on an IPv6 address.
    pub fn is_dual_stack(&self) -> bool {
        let is_ipv6 = self.socket.local_addr().is_ok_and(|address| address.is_ipv6());
        is_ipv6 && self.socket.only_v6().is_ok_and(|only| !only)
    }

    /// The same number for all descriptors of one socket, and for no other socket.
    pub fn identity(&self) -> io::Result<u64> {
        self.socket.cookie()
    }

    /// Lets nobody in any more, as far as the kernel can do that and keep who waits: at a Unix socket, whose name is free for
    /// others from now on. At a TCP socket that would reset those who wait, and nothing happens.
    pub fn shut(&self) {
        if let Some(door) = self.door.as_ref().filter(|_| !self.is_lent()) {
            door.shut();
            let _ = self.socket.shutdown(Shutdown::Read);
        }
    }

    /// Whether nobody is let in any more, by the word of whichever worker came first. A poll on it is always over at once.
    pub fn is_shut(&self) -> bool {
        self.door.as_ref().is_some_and(|door| door.is_shut())
    }

    /// Ends it: a poll that waits on it completes, `accept` fails from now on. The descriptor stays. One that is lent goes on
    /// listening, because it would end for its owner as well; who waits on it has to be told otherwise.
    pub fn stop(&self) {
        self.shut();
        if !self.is_lent() && self.door.is_none() {
            // An error says that it does not listen any more, which is what is wanted.
            let _ = self.socket.shutdown(Shutdown::Read);
        }
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
