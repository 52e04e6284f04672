//! Approach: how a check gets to its backend: from which of the pool's addresses, and with which bytes first.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use socket2::{SockRef, Socket};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream, UdpSocket, UnixStream};

use crate::config::{Address, Pool, PoolSocket, PoolSource};
use crate::net;

use super::{Conversation, Obstacle};

/// Each looks through all its ports in vain.
const ADDRESSES_TRIED_MAX: usize = 8;

/// How the checks of one pool get to its backends.
pub(super) struct Approach {
    /// What the connections of sessions are like too.
    socket: PoolSocket,
    /// Of a transparent pool a check has no client whose address it could have.
    source: PoolSource,
    turn: AtomicU64,
    /// A PROXY protocol header that says that it is our own, or nothing. For connections: a datagram that asks has its own.
    preamble: &'static [u8],
}

impl Approach {
    /// As the sessions of the pool, and with these bytes first.
    pub(super) fn new(pool: &Pool, preamble: &'static [u8]) -> Approach {
        let (socket, source) = (pool.socket.clone(), pool.source.clone());
        Approach { socket, source, turn: AtomicU64::new(0), preamble }
    }

    /// A connection that ends with a reset, whenever and however it is dropped: thousands of checks must not leave thousands
    /// of ports in TIME_WAIT.
    pub(super) async fn connect(&self, address: Address) -> Result<Box<dyn Conversation>, Obstacle> {
        let address = match address {
            Address::Ip(address) => address,
            Address::Unix(name) => {
                let path = name.path().map(str::to_owned);
                let path = path.unwrap_or_else(|| format!("\0{}", name.abstract_name().unwrap_or_default()));
                let mut stream = UnixStream::connect(path).await?;
                stream.write_all(self.preamble).await?;
                return Ok(Box::new(stream));
            }
        };
        let mut stream = self.connect_tcp(address).await?;
        if net::is_connected_to_itself(&stream, address) {
            return Err(Obstacle::Backend("nobody listens: the connection met itself".into()));
        }
        let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        stream.write_all(self.preamble).await?;
        Ok(Box::new(stream))
    }

    async fn connect_tcp(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let mut last = io::Error::from_raw_os_error(libc::EADDRNOTAVAIL);
        for source in self.sources(address) {
            let socket = std::net::TcpStream::from(net::prepare_check(address, &self.socket)?);
            let socket = TcpSocket::from_std_stream(socket);
            let connected = match net::set_source(&socket, source, &self.source) {
                Ok(()) => socket.connect(address).await,
                Err(error) => Err(error),
            };
            match connected {
                Err(error) if net::is_out_of_ports(&error) => last = error,
                result => return result,
            }
        }
        Err(last)
    }

    /// A socket of its own for each look: what comes late for the last one does not count for this one. Connected, so that the
    /// kernel lets nobody else answer, and tells of a refusal.
    pub(super) async fn connect_udp(&self, address: SocketAddr) -> Result<UdpSocket, Obstacle> {
        let mut last = io::Error::from_raw_os_error(libc::EADDRNOTAVAIL);
        for source in self.sources(address) {
            match self.connect_udp_from(source, address) {
                Err(error) if net::is_out_of_ports(&error) => last = error,
                // So the kernel tells of UDP that no port is left.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
                Ok(socket) if net::is_connected_to_itself(&socket, address) => {
                    return Err(Obstacle::Backend("nobody has the port: the socket met itself".into()));
                }
                Ok(socket) => return Ok(socket),
            }
        }
        Err(last.into())
    }

    fn connect_udp_from(&self, source: Option<IpAddr>, address: SocketAddr) -> io::Result<UdpSocket> {
        let socket = Socket::from(net::prepare_datagrams(address, &self.socket)?);
        net::set_source(&socket, source, &self.source)?;
        // That of UDP never waits.
        socket.connect(&address.into())?;
        UdpSocket::from_std(socket.into())
    }

    fn sources(&self, address: SocketAddr) -> impl Iterator<Item = Option<IpAddr>> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        self.source.addresses_for(address.into(), None, turn).take(ADDRESSES_TRIED_MAX)
    }
}
