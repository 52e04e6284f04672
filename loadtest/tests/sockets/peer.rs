//! Servers that do what no backend should, and clients with a deadline.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use socket2::{Domain, SockRef, Socket, Type};

use crate::command::PATIENCE;

/// Length of the requests that [`serve`]d clients should send.
pub(crate) const REQUEST_LEN: usize = 64;

/// Calls `behave` with each connection, each on a thread of its own, until the test process ends.
pub(crate) fn serve(behave: fn(TcpStream)) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || behave(stream.unwrap()));
        }
    });
    address
}

/// Accepts everything and never answers; tells of each connection.
pub(crate) fn serve_never() -> (SocketAddr, Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (send, accepted) = channel();
    thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming() {
            held.push(stream.unwrap());
            let _ = send.send(());
        }
    });
    (address, accepted)
}

/// An address where nobody listens, and nobody else can as long as the socket is held.
pub(crate) fn nobody() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

/// The next request, or `None` if the client closed.
pub(crate) fn request(stream: &mut TcpStream) -> Option<[u8; REQUEST_LEN]> {
    let mut bytes = [0; REQUEST_LEN];
    stream.read_exact(&mut bytes).ok().map(|()| bytes)
}

/// Sends back what comes, request by request, after `change`.
pub(crate) fn echo_changed(mut stream: TcpStream, change: impl Fn(&mut Vec<u8>)) {
    while let Some(bytes) = request(&mut stream) {
        let mut bytes = bytes.to_vec();
        change(&mut bytes);
        if stream.write_all(&bytes).is_err() {
            return;
        }
    }
}

pub(crate) fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// A connection that gives up instead of waiting without end.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}
