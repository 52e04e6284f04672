//! Sockets, and with `machine.rs` process limits: every system call that ringway makes outside the ring.
//!
//! One of the two rooms with unsafe code (the other is `ring.rs`). Calls that socket2 or std wrap are made through
//! them; what is left for libc is affinity, limits, two ioctls and the disconnect that [`abort`] needs.
#![allow(unsafe_code)]

mod batch;
mod channel;
mod datagrams;
mod listening;
mod machine;
mod options;
mod queue_drops;
mod readiness;
mod sockopt;
mod source;
mod splice;
mod tcp_info;
mod unix;

use std::io;
use std::mem;
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, TcpKeepalive, Type};

use crate::config::{Address, Listener, PoolSocket, TcpOptions};

pub use batch::{
    Batch, Outgoing, Piece, Received, SLOTS, TRAIN_BYTES_MAX, TRAIN_MAX, is_no_train, is_too_large,
};
pub use channel::{BYTES_MAX, Channel, DESCRIPTORS_MAX};
pub use datagrams::{
    Inlet, Instruction, bind_inlets, datagrams_to, is_inlet, let_fragment, prepare_datagrams, try_inlet,
};
pub use listening::Listening;
pub use machine::{
    allowed_cores, backlog_max, keep_off, kernel_release, kill_group, listen_drops, locked_memory_limit,
    make_room_for_descriptors, pin_to, pipe_pages_soft, raise_open_files_limit, step_back, use_small_pages,
};
pub use queue_drops::QueueDrops;
pub use readiness::Readiness;
pub use source::{set as set_source, try_all as try_source};
pub use splice::{PipeEnds, pipe, splice_from, splice_to};
pub use unix::connect_now as connect_unix_now;

/// A connected or connecting socket of one worker: of TCP, or of this machine.
///
/// Clones share the descriptor. It closes when the last clone is gone, and each operation in flight holds one: a
/// descriptor is therefore never closed, and its number never reused, under an operation of ours.
#[derive(Debug, Clone)]
pub struct Socket(Rc<OwnedFd>);

impl Socket {
    /// The number that entries on the ring name; valid while any clone lives.
    pub fn raw(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl From<OwnedFd> for Socket {
    fn from(descriptor: OwnedFd) -> Socket {
        Socket(Rc::new(descriptor))
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.raw()
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Who is at the other end, while there is one.
pub fn peer(socket: &Socket) -> Option<Address> {
    unix::address_of(&SockRef::from(socket).peer_addr().ok()?)
}

/// What the other end has connected to, or we from, if that is an IP address.
pub fn local(socket: &Socket) -> Option<SocketAddr> {
    SockRef::from(socket).local_addr().ok()?.as_socket().map(canonical)
}

/// Opens what `count` workers listen with at `address`, one for each. Fails if anybody else listens there.
///
/// At a Unix socket the workers share one, because the kernel does not spread its clients over several.
///
/// # Errors
///
/// When the kernel refuses.
pub fn listen(address: Address, count: usize, listener: &Listener) -> io::Result<Vec<Listening>> {
    assert!(count > 0);
    match address {
        Address::Ip(address) => listen_tcp(address, count, listener),
        Address::Unix(name) => {
            let (socket, door) = unix::listen(name, listener)?;
            let shared = Listening::own_unix(socket, door);
            (0..count).map(|_| shared.another()).collect()
        }
    }
}

/// SO_REUSEPORT would let a second instance of ours (same user) share the port silently and take half of the clients.
/// So the first socket binds and listens without it, which fails with EADDRINUSE if the address is taken at all, and
/// gets the option only afterwards; the others then join it. The kernel decides at the first bind and listen: there is
/// no moment at which two instances both succeed.
fn listen_tcp(address: SocketAddr, count: usize, listener: &Listener) -> io::Result<Vec<Listening>> {
    let first = prepare_listener(address, listener)?;
    first.bind(&address.into())?;
    first.listen(listener.backlog as i32)?;
    first.set_reuse_port(true)?;
    // Port 0 asks for any free port: the others must join the one that the first was given.
    let shared = first.local_addr()?;
    let mut sockets = vec![Listening::own(first)];
    for _ in 1..count {
        let socket = prepare_listener(address, listener)?;
        socket.set_reuse_port(true)?;
        socket.bind(&shared)?;
        socket.listen(listener.backlog as i32)?;
        sockets.push(Listening::own(socket));
    }
    Ok(sockets)
}

/// Whether the kernel grants all that a listener wants, as far as that shows before its sockets have their address.
///
/// # Errors
///
/// Why not.
pub fn try_options(address: SocketAddr, listener: &Listener) -> io::Result<()> {
    prepare_listener(address, listener).map(drop)
}

fn prepare_listener(address: SocketAddr, listener: &Listener) -> io::Result<socket2::Socket> {
    let socket = options::socket_for(address, true, listener.socket.mptcp)?;
    // Restarts must not wait for the connections of the last run to leave TIME_WAIT.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // So that [::]:80 and 0.0.0.0:80 can stand side by side, whatever net.ipv6.bindv6only says.
        socket.set_only_v6(true)?;
    }
    // Accepted sockets inherit these: no system call for each connection.
    set_tcp_options(&socket, listener.tcp)?;
    options::set_before_bind(&socket, address, &listener.socket)?;
    // Only the listener: it is drained until it would block. Accepted sockets do not inherit it on Linux, and must
    // not have it: io_uring waits by itself on blocking sockets.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A socket that is ready to connect to `address`, with its options set before the first packet.
///
/// # Errors
///
/// When the kernel refuses, with the option that it refuses.
pub fn prepare_stream(address: Address, tcp: TcpOptions, wanted: &PoolSocket) -> io::Result<Socket> {
    let socket = match address {
        Address::Ip(address) => {
            let socket = options::socket_for(address, false, wanted.mptcp)?;
            set_tcp_options(&socket, tcp)?;
            options::set_before_connect(&socket, address, wanted)?;
            socket
        }
        Address::Unix(_) => socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?,
    };
    Ok(Socket::from(OwnedFd::from(socket)))
}

/// The same for a check: without waiting, for a runtime that is not on the ring.
///
/// A check ends a moment later, and does not wait for urgent bytes, silence or acknowledgements.
///
/// # Errors
///
/// When the kernel refuses.
pub fn prepare_check(address: SocketAddr, wanted: &PoolSocket) -> io::Result<OwnedFd> {
    let socket = options::socket_for(address, false, wanted.mptcp)?;
    options::set_before_connect(&socket, address, wanted)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn set_tcp_options(socket: &socket2::Socket, tcp: TcpOptions) -> io::Result<()> {
    // An urgent byte would be left out of what a read returns, and so be lost: carry it where it stands.
    match socket.set_out_of_band_inline(true) {
        // MPTCP has no urgent bytes: its sockets neither send one apart nor leave one out.
        Err(_) if is_mptcp(socket) => {}
        set => set?,
    }
    if tcp.nodelay {
        socket.set_tcp_nodelay(true)?;
    }
    if let Some(silence) = tcp.keepalive {
        // Probes 15 s apart; net.ipv4.tcp_keepalive_probes (9) of them unanswered end the connection.
        let keepalive = TcpKeepalive::new().with_time(silence).with_interval(Duration::from_secs(15));
        socket.set_tcp_keepalive(&keepalive)?;
    }
    if tcp.user_timeout.is_some() {
        socket.set_tcp_user_timeout(tcp.user_timeout)?;
    }
    Ok(())
}

fn is_mptcp(socket: &socket2::Socket) -> bool {
    socket.protocol().is_ok_and(|protocol| protocol == Some(Protocol::MPTCP))
}

/// Takes one waiting connection, or `None` when there is none.
///
/// The address is the one that accept returned: asking later fails for a connection that was reset meanwhile.
pub fn accept(listener: &Listening) -> io::Result<Option<(OwnedFd, Address)>> {
    match listener.accept() {
        Ok((stream, address)) => Ok(Some((stream, plain(address)))),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// A client over IPv4 is the same one whichever socket it came by: a dual-stack one, which we do not make but may be given,
/// tells it as an IPv6 address.
fn plain(address: Address) -> Address {
    address.as_ip().map_or(address, |address| Address::Ip(canonical(address)))
}

fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::from((ip, address.port())),
        IpAddr::V6(_) => address,
    }
}

/// The descriptors that a service manager has opened before it started this process: so many, from 3 on. They are given
/// once, and no program that we start gets them.
///
/// # Errors
///
/// When one of them is not open, or they have been given.
pub fn inherited(count: usize) -> io::Result<Vec<OwnedFd>> {
    const FIRST: RawFd = 3;
    static GIVEN: AtomicBool = AtomicBool::new(false);
    if GIVEN.swap(true, Ordering::Relaxed) {
        return Err(io::Error::other("they have been taken already"));
    }
    let descriptors = (FIRST..).take(count).map(|descriptor| {
        // SAFETY: fcntl with F_SETFD takes two numbers and touches no memory of ours; on a number that is not open it fails.
        if unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call above has shown it to be open. It was before this program's first instruction, by the word of
        // the manager that is meant for this very process, so that nobody here was ever given its number; and `GIVEN` sees
        // to it that this is the only owner.
        Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
    });
    descriptors.collect()
}

/// Passes the end of a stream on: what was written goes out first, then FIN.
pub fn finish_writing(socket: &Socket) -> io::Result<()> {
    SockRef::from(socket).shutdown(Shutdown::Write)
}

/// Ends the reading side: a pending read completes with what is there, or with the end of the stream. Sends nothing.
pub fn stop_reading(socket: &Socket) {
    // An error says that the connection is gone already: the pending read has completed.
    let _ = SockRef::from(socket).shutdown(Shutdown::Read);
}

/// Begins to connect, and says whether that is over already. If not, the socket becomes writable when it is, and
/// [`finish_connecting`] knows how it went.
pub fn connect_now(socket: &Socket, address: SocketAddr) -> io::Result<bool> {
    set_nonblocking(socket)?;
    match SockRef::from(socket).connect(&address.into()) {
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(false),
        result => {
            result?;
            SockRef::from(socket).set_nonblocking(false)?;
            Ok(true)
        }
    }
}

/// How a connect went that is over.
pub fn finish_connecting(socket: &Socket) -> io::Result<()> {
    let socket = SockRef::from(socket);
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    // One that was stopped has no error, and no peer.
    socket.peer_addr().map_err(|_| io::ErrorKind::ConnectionReset)?;
    // The relay decides by itself which of its sockets do not wait.
    socket.set_nonblocking(false)
}

/// Ends a pending connect at once with ECONNRESET (and its local port is free again).
pub fn stop_connecting(socket: &Socket) {
    let _ = SockRef::from(socket).shutdown(Shutdown::Both);
}

/// Breaks a connection: the peer sees a reset, never a clean end; all pending operations on it complete.
///
/// shutdown(2) would send FIN first, and a transfer that was cut would look whole to the peer. Connecting to AF_UNSPEC
/// is TCP's disconnect: it sends RST, drops what was not yet sent and wakes whoever waits on the socket.
///
/// A Unix socket has no reset. Its peer can write nothing more (EPIPE); it reads what was sent and then the end of the stream,
/// or ECONNRESET, once the socket is closed, if it had sent what nobody has read. More the kernel cannot show.
pub fn abort(socket: &Socket) {
    let unspecified = libc::sockaddr { sa_family: libc::AF_UNSPEC as libc::sa_family_t, sa_data: [0; 14] };
    // SAFETY: the kernel reads `sa_family` and nothing behind the size given, which is that of the local it points to;
    // the descriptor is open for as long as `socket` is borrowed.
    let result = unsafe {
        libc::connect(
            socket.raw(),
            &raw const unspecified,
            mem::size_of::<libc::sockaddr>() as libc::socklen_t,
        )
    };
    if result != 0 {
        // That of a Unix socket always refuses. Otherwise the kernel refuses while another thread waits inside the socket, which nobody does here. Should a kernel
        // refuse for another reason: linger 0 makes the close send RST, and shutdown wakes the pending operations.
        let socket = SockRef::from(socket);
        let _ = socket.set_linger(Some(Duration::ZERO));
        let _ = socket.shutdown(Shutdown::Both);
    }
}

/// Bytes (and a FIN) that were written but that the peer has not acknowledged yet.
pub fn unacknowledged(socket: &Socket) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: TIOCOUTQ (SIOCOUTQ on a socket) writes one int to the address given, which is that of a live local int.
    let result = unsafe { libc::ioctl(socket.raw(), libc::TIOCOUTQ, &raw mut bytes) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(bytes.max(0) as usize)
}

/// Makes calls on a socket answer `WouldBlock` instead of waiting. Waiting on the ring goes on as before: the kernel polls
/// there, or answers EAGAIN where it is old, and then we poll.
pub fn set_nonblocking(socket: &Socket) -> io::Result<()> {
    SockRef::from(socket).set_nonblocking(true)
}

/// Sends what the socket takes at once, without waiting: `WouldBlock` if that is nothing.
pub fn send_now(socket: &Socket, bytes: &[u8]) -> io::Result<usize> {
    SockRef::from(socket).send_with_flags(bytes, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
}

/// Whether a call failed because this process or machine is short of descriptors or memory: nobody else's fault.
pub fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

/// Whether a connect failed because no local port is left towards that address.
pub fn is_out_of_ports(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EADDRNOTAVAIL)
}

/// Whether the connection is over: reset, timed out, or ended by both sides. Takes nothing from the socket. One of a Unix
/// socket never counts as over.
pub fn is_over(socket: &Socket) -> bool {
    // A Unix socket has no state of TCP. One whose peer has closed it can still be read to its end, and then says by itself what
    // became of it.
    tcp_info::is_closed(socket).unwrap_or_else(|error| error.raw_os_error() != Some(libc::EOPNOTSUPP))
}

/// Whether the peer has reset the connection and nobody has been told yet. Takes nothing from the socket.
///
/// Unlike [`is_over`] this does not mistake a connection that both sides have ended for one that was reset.
pub fn is_reset(socket: &Socket) -> bool {
    let mut entry = libc::pollfd { fd: socket.raw(), events: 0, revents: 0 };
    // SAFETY: the pointer is to one pollfd on the stack and the count is 1; a timeout of 0 returns at once.
    let ready = unsafe { libc::poll(&raw mut entry, 1, 0) };
    ready == 1 && entry.revents & libc::POLLERR != 0
}

/// Whether the peer has ended its stream, or it is broken: nothing comes after what is there. Takes nothing from the socket.
pub fn is_at_its_end(socket: &Socket) -> bool {
    let mut entry = libc::pollfd { fd: socket.raw(), events: libc::POLLRDHUP, revents: 0 };
    // SAFETY: the pointer is to one pollfd on the stack and the count is 1; a timeout of 0 returns at once.
    let ready = unsafe { libc::poll(&raw mut entry, 1, 0) };
    ready == 1
}

/// Copies what is there, from the first byte on, and leaves it in the socket. `WouldBlock` if there is nothing, 0 at the end.
pub fn peek(socket: &Socket, buffer: &mut [u8]) -> io::Result<usize> {
    receive(socket, buffer, libc::MSG_PEEK)
}

/// The same, and takes it from the socket.
pub fn take(socket: &Socket, buffer: &mut [u8]) -> io::Result<usize> {
    receive(socket, buffer, 0)
}

fn receive(socket: &Socket, buffer: &mut [u8], flags: libc::c_int) -> io::Result<usize> {
    let flags = flags | libc::MSG_DONTWAIT;
    // SAFETY: the kernel writes at most `buffer.len()` bytes to the buffer, which is borrowed for the call.
    let count = unsafe { libc::recv(socket.raw(), buffer.as_mut_ptr().cast(), buffer.len(), flags) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Makes a socket readable only when so many bytes are there, or when its stream has ended (SO_RCVLOWAT).
pub fn set_low_water(socket: &Socket, bytes: usize) -> io::Result<()> {
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    sockopt::set_number(socket, libc::SOL_SOCKET, libc::SO_RCVLOWAT, bytes)
}

/// Waits until a write would not have to, at most so long; says whether it would not.
pub fn await_writable(descriptor: impl AsFd, patience: Duration) -> io::Result<bool> {
    let fd = descriptor.as_fd().as_raw_fd();
    let mut entry = libc::pollfd { fd, events: libc::POLLOUT, revents: 0 };
    let patience_ms = i32::try_from(patience.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the pointer is to one pollfd on the stack and the count is 1; `descriptor` is borrowed and stays open.
    let ready = unsafe { libc::poll(&raw mut entry, 1, patience_ms) };
    match io::Error::last_os_error() {
        // An error of the descriptor's counts as ready: the write says what it is.
        _ if ready >= 0 => Ok(ready == 1),
        error if error.kind() == io::ErrorKind::Interrupted => Ok(false),
        error => Err(error),
    }
}

/// Whether a connection leads to itself. A connect to a port of this machine on which nobody listens can be given the
/// same port as its own, and then meets itself.
pub fn is_connected_to_itself(socket: impl AsFd, peer: SocketAddr) -> bool {
    let own = SockRef::from(&socket).local_addr();
    own.is_ok_and(|own| own.as_socket() == Some(peer))
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    /// Our end of a connection, and the peer, which waits for ten seconds and not for ever.
    pub(crate) fn connected() -> (Socket, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let (ours, _) = listener.accept().unwrap();
        (Socket::from(OwnedFd::from(ours)), peer)
    }
}

#[cfg(test)]
mod tests;
