//! Sockets of datagrams, many datagrams to a call: received in batches, and cut out of large pieces by the kernel; sent as one
//! piece where one after another goes the same way.

use std::{
    array,
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr, UdpSocket},
    time::Duration,
};

use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// The largest datagram that IPv4 can carry.
pub(crate) const DATAGRAM_MAX: usize = 65_507;

/// A socket, and what the kernel can do for it.
#[derive(Debug)]
pub(crate) struct Port {
    socket: UdpSocket,
    state: UdpSocketState,
}

impl Port {
    /// Bound to this address, which others may share who ask for that, too.
    pub(crate) fn bind(address: SocketAddr, is_shared: bool) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if is_shared {
            socket.set_reuse_port(true)?;
        }
        // As much of it as the machine allows: what does not fit is lost.
        let _ = SockRef::from(&socket).set_recv_buffer_size(BUFFER_LEN);
        let _ = SockRef::from(&socket).set_send_buffer_size(BUFFER_LEN);
        socket.bind(&address.into())?;
        socket.set_nonblocking(true)?;
        let socket: UdpSocket = socket.into();
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        Ok(Self { socket, state })
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    pub(crate) fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// Until there is something to receive, or this time is over.
    pub(crate) fn wait(&self, time: Duration) -> io::Result<()> {
        wait(&self.socket, PollFlags::IN, time)
    }
}

fn wait(socket: &UdpSocket, what: PollFlags, time: Duration) -> io::Result<()> {
    let time = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() };
    match poll(&mut [PollFd::new(socket, what)], Some(&time)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Where datagrams are received into.
#[derive(Debug)]
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    metas: [RecvMeta; BATCH_SIZE],
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self { bytes: vec![0; BATCH_SIZE * PIECE_LEN], metas: [RecvMeta::default(); BATCH_SIZE] }
    }

    /// Takes what one call gives, if there is anything: who sent it, where it came to, and it. Says how many there were.
    pub(crate) fn receive(
        &mut self,
        port: &Port,
        mut take: impl FnMut(SocketAddr, Option<IpAddr>, &[u8]),
    ) -> io::Result<usize> {
        let mut pieces = self.bytes.chunks_mut(PIECE_LEN);
        let mut slices: [_; BATCH_SIZE] =
            array::from_fn(|_| IoSliceMut::new(pieces.next().expect("there is a piece for each")));
        let received = port.state.recv(UdpSockRef::from(&port.socket), &mut slices, &mut self.metas);
        let count = match received {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            Err(error) => return Err(error),
        };
        let mut datagrams = 0;
        for (meta, piece) in self.metas[..count].iter().zip(&slices) {
            if meta.len == 0 {
                datagrams += 1;
                take(meta.addr, meta.dst_ip, &[]);
            }
            for datagram in piece[..meta.len].chunks(meta.stride.max(1)) {
                datagrams += 1;
                take(meta.addr, meta.dst_ip, datagram);
            }
        }
        Ok(datagrams)
    }
}

/// Datagrams on their way out: those that follow each other, go the same way and are as long wait for each other until
/// [`Outbox::flush`].
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    to: Option<(SocketAddr, Option<IpAddr>)>,
    each: usize,
    count: usize,
    /// Datagrams that the kernel did not take.
    pub(crate) refused: u64,
}

impl Outbox {
    /// Sends a datagram of so many bytes, which `write` writes. Who changes the port flushes before.
    pub(crate) fn send(
        &mut self,
        port: &Port,
        (to, from): (SocketAddr, Option<IpAddr>),
        len: usize,
        write: impl FnOnce(&mut [u8]),
    ) {
        let goes_along = self.to == Some((to, from))
            && self.each == len
            && len > 0
            && self.count < port.state.max_gso_segments()
            && self.bytes.len() + len <= DATAGRAM_MAX;
        if !goes_along {
            self.flush(port);
            (self.to, self.each) = (Some((to, from)), len);
        }
        let at = self.bytes.len();
        self.bytes.resize(at + len, 0);
        write(&mut self.bytes[at..]);
        self.count += 1;
    }

    /// Sends all that waits. What the kernel does not take within a moment is counted and gone, as datagrams are.
    pub(crate) fn flush(&mut self, port: &Port) {
        let Some((destination, src_ip)) = self.to.take() else { return };
        let segment_size = (self.count > 1).then_some(self.each);
        let transmit = Transmit { destination, ecn: None, contents: &self.bytes, segment_size, src_ip };
        let send = || port.state.try_send(UdpSockRef::from(&port.socket), &transmit);
        let mut sent = send();
        for _ in 0..SEND_TRIES {
            match &sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let _ = wait(&port.socket, PollFlags::OUT, SEND_PAUSE);
                    sent = send();
                }
                _ => break,
            }
        }
        if sent.is_err() {
            self.refused += self.count as u64;
        }
        self.bytes.clear();
        self.count = 0;
    }
}

/// What the kernel puts together at most.
const PIECE_LEN: usize = 65_536;
const BUFFER_LEN: usize = 8 << 20;
const SEND_TRIES: usize = 10;
const SEND_PAUSE: Duration = Duration::from_millis(1);
