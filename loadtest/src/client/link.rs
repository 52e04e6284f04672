//! A connection to the target.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use tokio::net::{TcpSocket, TcpStream};

/// An open connection with the buffer it reads into.
#[derive(Debug)]
pub(super) struct Link {
    /// The connection.
    pub(super) stream: TcpStream,
    /// One byte more than a short reply, so that a byte too many is seen with the reply it follows.
    pub(super) input: Vec<u8>,
    /// Bytes that came while nothing was asked for.
    pub(super) unasked: bool,
}

/// What a connection did between two requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Idle {
    /// It can carry the next request.
    Open,
    /// The peer closed or reset it.
    Closed,
}

impl Link {
    /// Connects, from this address if one is given.
    pub(super) async fn connect(
        target: SocketAddr,
        from: Option<Ipv4Addr>,
        input_len: usize,
    ) -> io::Result<Self> {
        let stream = match from {
            None => TcpStream::connect(target).await?,
            Some(from) => {
                let socket = TcpSocket::new_v4()?;
                // Or a port that one of its connections has left a minute ago could not be taken again.
                socket.set_reuseaddr(true)?;
                socket.bind(SocketAddr::from((from, 0)))?;
                socket.connect(target).await?
            }
        };
        stream.set_nodelay(true)?;
        Ok(Self { stream, input: vec![0; input_len], unasked: false })
    }

    /// Looks at a connection that has carried nothing for a while; no system call unless something arrived.
    pub(super) fn look(&mut self) -> Idle {
        match self.stream.try_read(&mut self.input) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Idle::Open,
            Ok(0) | Err(_) => Idle::Closed,
            Ok(_) => {
                self.unasked = true;
                Idle::Open
            }
        }
    }
}
