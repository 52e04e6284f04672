//! Sessions over UDP.

mod backends;
mod bandwidth;
mod exact;
mod options;
mod peers;
mod proxy_accepting;
mod proxy_protocol;
mod reloading;
mod sessions;
mod spreading;
mod upgrading;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ringway::config::{Config, Protocol};
use ringway::stats::{Counter, DatagramStats, Dropped};

use crate::common::{self, DEADLINE, Ringway};

/// One UDP listener before these backends.
pub fn config(backends: &[SocketAddr]) -> Config {
    let mut config = common::config(backends);
    config.listeners[0].protocol = Protocol::Udp;
    config.listeners[0].idle_timeout = Some(DEADLINE);
    config
}

/// A UDP socket of its own port, whose every operation has the deadline.
pub fn socket_at(address: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(address).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket
}

/// A client that hears from this address only.
pub fn client_of(address: SocketAddr) -> UdpSocket {
    let any = if address.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
    let socket = socket_at(any.parse().unwrap());
    socket.connect(address).unwrap();
    socket
}

pub fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 65_536];
    let count = socket.recv(&mut buffer).unwrap();
    buffer.truncate(count);
    buffer
}

/// Sends the bytes and expects the same back.
pub fn assert_echo(client: &UdpSocket, bytes: &[u8]) {
    client.send(bytes).unwrap();
    assert!(receive(client) == bytes, "the echo of {} bytes differs", bytes.len());
}

/// Nothing comes for a while.
pub fn assert_silent(socket: &UdpSocket) {
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let error = socket.recv(&mut [0; 16]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
}

/// A sum over the workers of a count of the first listener.
pub fn count(ringway: &Ringway, counter: impl Fn(&DatagramStats) -> &Counter) -> u64 {
    ringway.server().stats().sum(|worker| counter(&worker.listeners[0].datagrams))
}

pub fn dropped(ringway: &Ringway, why: Dropped) -> u64 {
    count(ringway, |datagrams| &datagrams.dropped[why as usize])
}

/// A server over UDP, with one thread.
pub struct UdpBackend {
    pub address: SocketAddr,
    received: Arc<AtomicUsize>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl UdpBackend {
    /// Gets each datagram, its sender, and the socket to answer by.
    pub fn at(
        address: SocketAddr,
        mut serve: impl FnMut(&UdpSocket, &[u8], SocketAddr) + Send + 'static,
    ) -> UdpBackend {
        let socket = UdpSocket::bind(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let address = socket.local_addr().unwrap();
        let (received, stopping) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (counter, stop) = (Arc::clone(&received), Arc::clone(&stopping));
        let thread = thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            while !stop.load(Ordering::SeqCst) {
                let Ok((count, from)) = socket.recv_from(&mut buffer) else { continue };
                counter.fetch_add(1, Ordering::SeqCst);
                serve(&socket, &buffer[..count], from);
            }
        });
        UdpBackend { address, received, stopping, thread: Some(thread) }
    }

    pub fn new(serve: impl FnMut(&UdpSocket, &[u8], SocketAddr) + Send + 'static) -> UdpBackend {
        UdpBackend::at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), serve)
    }

    /// Sends back what it gets.
    pub fn echo() -> UdpBackend {
        UdpBackend::new(|socket, bytes, from| drop(socket.send_to(bytes, from)))
    }

    /// Answers everything with its name.
    pub fn named(name: &'static str) -> UdpBackend {
        UdpBackend::new(move |socket, _, from| drop(socket.send_to(name.as_bytes(), from)))
    }

    /// Never answers.
    pub fn silent() -> UdpBackend {
        UdpBackend::new(|_, _, _| {})
    }

    pub fn received(&self) -> usize {
        self.received.load(Ordering::SeqCst)
    }

    /// Its port is closed from now on.
    pub fn stop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for UdpBackend {
    fn drop(&mut self) {
        self.stop();
    }
}
