//! Datagrams: UDP sockets, those that clients send to and those to backends.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use socket2::{Domain, Protocol, SockRef, Type};

use super::queue_drops::QueueDrops;
use super::sockopt::{number, set, set_number};
use super::{Socket, is_out_of_ports, options, set_source};
use crate::config::{Address, ListeningSocket, PoolSocket, PoolSource};

/// What the kernel is asked to hold for us while a worker is busy elsewhere; it grants what net.core.rmem_max allows.
const KERNEL_BYTES: usize = 4 * 1024 * 1024;

/// One instruction of a program in the kernel (struct sock_filter).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// What to do.
    pub code: u16,
    /// How many to leave out if a comparison holds.
    pub if_true: u8,
    /// How many to leave out if it does not.
    pub if_false: u8,
    /// Whatever it needs.
    pub operand: u32,
}

/// A UDP socket that clients send to: one for each worker and address.
#[derive(Debug)]
pub struct Inlet {
    socket: OwnedFd,
    /// What the kernel has dropped there since we have it.
    drops: QueueDrops,
}

impl Inlet {
    /// One that somebody else made, and leaves to us.
    ///
    /// # Errors
    ///
    /// When it is not a UDP socket that is bound.
    pub fn given(descriptor: OwnedFd) -> io::Result<Inlet> {
        let socket = SockRef::from(&descriptor);
        let is_datagram = socket.r#type().is_ok_and(|kind| kind == Type::DGRAM);
        if !is_datagram || socket.local_addr()?.as_socket().is_none_or(|address| address.port() == 0) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a UDP socket that is bound"));
        }
        prepare(&socket)?;
        Ok(Inlet::holding(descriptor))
    }

    /// Another descriptor of a socket that is in use.
    pub fn of(socket: &Socket) -> io::Result<Inlet> {
        Ok(Inlet::holding(socket.as_fd().try_clone_to_owned()?))
    }

    /// One more at an address where others of ours are.
    pub fn beside(address: SocketAddr, wanted: &ListeningSocket) -> io::Result<Inlet> {
        let socket = new_inlet(address, wanted)?;
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())?;
        prepare(&SockRef::from(&socket))?;
        Ok(Inlet::holding(socket.into()))
    }

    fn holding(socket: OwnedFd) -> Inlet {
        Inlet { drops: QueueDrops::of(&socket), socket }
    }

    /// Where clients send to.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let address = SockRef::from(&self.socket).local_addr()?;
        address.as_socket().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
    }

    /// Another descriptor of the same socket.
    pub fn another(&self) -> io::Result<Inlet> {
        Ok(Inlet::holding(self.socket.try_clone()?))
    }

    /// Gives it other options. What it has received already is still there.
    pub fn adjust(&self, wanted: &ListeningSocket) -> io::Result<()> {
        let socket = SockRef::from(&self.socket);
        // As without a wish, where that has been taken back.
        set_room(&socket);
        options::set_any_time_for_packets(&socket, self.local_addr()?, wanted)
    }

    /// Has this program say which socket of the group gets a datagram. The sockets are numbered as they were bound.
    pub fn steer(&self, program: &[Instruction]) -> io::Result<()> {
        let mut filters: Vec<libc::sock_filter> = program
            .iter()
            .map(|one| libc::sock_filter {
                code: one.code,
                jt: one.if_true,
                jf: one.if_false,
                k: one.operand,
            })
            .collect();
        let len = u16::try_from(filters.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let program = libc::sock_fprog { len, filter: filters.as_mut_ptr() };
        // SAFETY: the kernel reads one sock_fprog, and from its pointer the `len` instructions of a vector that outlives the
        // call; it keeps a copy.
        unsafe { set(&self.socket, libc::SOL_SOCKET, libc::SO_ATTACH_REUSEPORT_CBPF, &program) }
    }
}

impl From<Inlet> for (Socket, QueueDrops) {
    fn from(inlet: Inlet) -> (Socket, QueueDrops) {
        (Socket::from(inlet.socket), inlet.drops)
    }
}

impl AsFd for Inlet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Whether it is a UDP socket.
pub fn is_inlet(descriptor: &OwnedFd) -> bool {
    SockRef::from(descriptor).r#type().is_ok_and(|kind| kind == Type::DGRAM)
}

/// Opens `count` sockets that share `address`, one for each worker. Fails if anybody else has it; see [`super::listen`] for how.
pub fn bind_inlets(address: Address, count: usize, wanted: &ListeningSocket) -> io::Result<Vec<Inlet>> {
    assert!(count > 0);
    let address = address.as_ip().ok_or_else(no_datagrams)?;
    let first = new_inlet(address, wanted)?;
    first.bind(&address.into())?;
    first.set_reuse_port(true)?;
    prepare(&SockRef::from(&first))?;
    let first = Inlet::holding(first.into());
    let shared = first.local_addr()?;
    let mut inlets = vec![first];
    for _ in 1..count {
        inlets.push(Inlet::beside(shared, wanted)?);
    }
    Ok(inlets)
}

fn no_datagrams() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "no datagrams go to a Unix socket")
}

/// Whether the kernel grants all that a listener wants, as far as that shows before its sockets have their address.
pub fn try_inlet(address: SocketAddr, wanted: &ListeningSocket) -> io::Result<()> {
    new_inlet(address, wanted).map(drop)
}

fn new_inlet(address: SocketAddr, wanted: &ListeningSocket) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    set_room(&socket);
    send_whole(&socket);
    options::set_before_bind_for_datagrams(&socket, address, wanted)?;
    Ok(socket)
}

/// Room for what waits, as far as the kernel grants it; no reason not to serve.
fn set_room(socket: &socket2::Socket) {
    let _ = socket.set_recv_buffer_size(KERNEL_BYTES);
    let _ = socket.set_send_buffer_size(KERNEL_BYTES);
}

/// What every socket for clients has.
fn prepare(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    receive_trains(&**socket);
    // At an address that stands for all of the machine's, only the datagram says to which one it was sent.
    match socket.local_addr()?.as_socket() {
        Some(SocketAddr::V4(address)) if address.ip().is_unspecified() => {
            set_number(&**socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)
        }
        Some(SocketAddr::V6(address)) if address.ip().is_unspecified() => {
            set_number(&**socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)
        }
        _ => Ok(()),
    }
}

/// Has the socket hand over trains. An older kernel hands over their parts one by one.
fn receive_trains(socket: impl AsFd) {
    let _ = set_number(socket, libc::SOL_UDP, libc::UDP_GRO, 1);
}

/// Has the kernel refuse what would leave in fragments (EMSGSIZE), until [`let_fragment`]. What goes whole needs no number by
/// which fragments would be known, and to find one for each of many clients is a twentieth of what a reply costs.
fn send_whole(socket: &socket2::Socket) {
    // Only where whole is the rule already (net.ipv4.ip_no_pmtu_disc = 0); of a socket of IPv6 this is not asked at all.
    if number(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER).ok() == Some(libc::IP_PMTUDISC_WANT) {
        let _ = set_number(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DO);
    }
}

/// Lets the socket send in fragments what is larger than the way takes whole. Says whether it did not until now.
pub fn let_fragment(socket: &Socket) -> bool {
    let (level, name) = (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER);
    number(socket, level, name).ok() == Some(libc::IP_PMTUDISC_DO)
        && set_number(socket, level, name, libc::IP_PMTUDISC_WANT).is_ok()
}

/// A socket from which only this address is reached, and which hears from nobody else. Errors that the network reports about
/// it are told by the next call. It comes from the first of these addresses that has a port left.
pub fn datagrams_to(
    address: Address,
    (wanted, source): (&PoolSocket, &PoolSource),
    addresses: impl Iterator<Item = Option<IpAddr>>,
) -> io::Result<Socket> {
    let address = address.as_ip().ok_or_else(no_datagrams)?;
    let mut addresses = addresses.peekable();
    loop {
        let from = addresses.next().flatten();
        match datagrams_between(from, address, (wanted, source)) {
            // EAGAIN: no port is left for a socket that has none yet (connect(2)).
            Err(error)
                if (error.kind() == io::ErrorKind::WouldBlock || is_out_of_ports(&error))
                    && addresses.peek().is_some() => {}
            result => return result,
        }
    }
}

fn datagrams_between(
    from: Option<IpAddr>,
    address: SocketAddr,
    (wanted, source): (&PoolSocket, &PoolSource),
) -> io::Result<Socket> {
    let socket = socket2::Socket::from(prepare_datagrams(address, wanted)?);
    set_source(&socket, from, source)?;
    socket.connect(&address.into())?;
    receive_trains(&socket);
    Ok(Socket::from(OwnedFd::from(socket)))
}

/// A socket that may be connected to this address. It never waits.
pub fn prepare_datagrams(address: SocketAddr, wanted: &PoolSocket) -> io::Result<OwnedFd> {
    let socket =
        socket2::Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    options::set_for_packets(&socket, address, wanted)?;
    Ok(socket.into())
}
