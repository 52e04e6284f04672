//! Syslog: lines to a syslog server, each in a datagram of its own.
//!
//! To a socket of this machine as the C library does it, without a date: whoever listens there puts its own, and takes RFC 5424
//! for a part of the text. By UDP as RFC 5424 has it: its date tells the time zone, and it has room for the machine's name.

use std::io::{self, ErrorKind, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Instant;

use super::lines::Lines;
use crate::config::{Facility, SyslogAddress};
use crate::moment::Moment;
use crate::net;

/// Severity "informational".
const INFORMATIONAL: u8 = 6;

/// A syslog server.
#[derive(Debug)]
pub(super) struct Syslog {
    address: SyslogAddress,
    priority: u8,
    /// What this machine is called, for others.
    host: String,
    /// `None` while there is nobody.
    socket: Option<Socket>,
}

#[derive(Debug)]
enum Socket {
    Unix(UnixDatagram),
    Udp(UdpSocket),
}

impl Syslog {
    /// Connects with the first line: the server may start later than we do, and again and again.
    pub(super) fn new(address: SyslogAddress, facility: Facility) -> Syslog {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host: String = host.trim().chars().filter(char::is_ascii_graphic).take(255).collect();
        let host = if host.is_empty() { "-".to_owned() } else { host };
        Syslog { address, priority: facility.code() * 8 + INFORMATIONAL, host, socket: None }
    }

    /// What goes before a line of something that happened at this moment.
    pub(super) fn begin(&self, line: &mut Vec<u8>, when: Moment) {
        let (priority, process) = (self.priority, std::process::id());
        match self.address {
            SyslogAddress::Socket(_) => {
                let _ = write!(line, "<{priority}>ringway[{process}]: ");
            }
            SyslogAddress::Udp(_) => {
                let _ = write!(line, "<{priority}>1 ");
                when.append_rfc3339(line);
                let _ = write!(line, " {} ringway {process} access - ", self.host);
            }
        }
    }

    pub(super) fn write(&mut self, lines: &mut Lines, until: Instant) -> io::Result<()> {
        let mut has_reconnected = false;
        while !lines.is_empty() {
            let socket = match self.socket.take() {
                Some(socket) => socket,
                None => Socket::connect(&self.address)?,
            };
            let socket = self.socket.insert(socket);
            let line = lines.next(0);
            match socket.send(line) {
                Ok(_) => {
                    let length = line.len();
                    lines.take(length);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if !socket.await_room(until)? {
                        return Ok(());
                    }
                }
                // Who listened there is gone; there may be another by now.
                Err(error) => {
                    let is_old = matches!(socket, Socket::Unix(_)) && !has_reconnected;
                    self.socket = None;
                    has_reconnected = true;
                    if !is_old {
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    }
}

impl Socket {
    fn connect(address: &SyslogAddress) -> io::Result<Socket> {
        match address {
            SyslogAddress::Socket(path) => Socket::connect_unix(path),
            SyslogAddress::Udp(address) => Socket::connect_udp(*address),
        }
    }

    fn connect_unix(path: &Path) -> io::Result<Socket> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        socket.set_nonblocking(true)?;
        Ok(Socket::Unix(socket))
    }

    /// Connected, so that we are told when nobody listens there, as far as anybody tells.
    fn connect_udp(address: SocketAddr) -> io::Result<Socket> {
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any)?;
        socket.connect(address)?;
        socket.set_nonblocking(true)?;
        Ok(Socket::Udp(socket))
    }

    fn send(&self, line: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Unix(socket) => socket.send(line),
            Socket::Udp(socket) => socket.send(line),
        }
    }

    fn await_room(&self, until: Instant) -> io::Result<bool> {
        let patience = until.saturating_duration_since(Instant::now());
        match self {
            Socket::Unix(socket) => net::await_writable(socket, patience),
            Socket::Udp(socket) => net::await_writable(socket, patience),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn add(lines: &mut Lines, text: &str) {
        lines.add(|bytes| bytes.extend_from_slice(text.as_bytes()));
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    fn receive(server: &UnixDatagram) -> String {
        server.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut buffer = [0; 100];
        let count = server.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..count].to_vec()).unwrap()
    }

    #[test]
    fn a_server_that_comes_later_or_again_gets_the_lines_of_then() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut syslog = Syslog::new(SyslogAddress::Socket(path.clone()), Facility::Local0);
        let mut lines = Lines::default();
        add(&mut lines, "one");
        assert_eq!(syslog.write(&mut lines, soon()).unwrap_err().kind(), ErrorKind::NotFound);
        for round in 0..2 {
            let server = UnixDatagram::bind(&path).unwrap();
            syslog.write(&mut lines, soon()).unwrap();
            assert_eq!((receive(&server).as_str(), lines.left()), (["one", "two"][round], 0));
            add(&mut lines, "two");
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_server_that_is_behind_gets_the_rest_later() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let server = UnixDatagram::bind(&path).unwrap();
        let mut syslog = Syslog::new(SyslogAddress::Socket(path), Facility::Local0);
        let mut lines = Lines::default();
        (0..2_000).for_each(|number| add(&mut lines, &number.to_string()));
        syslog.write(&mut lines, soon()).unwrap();
        assert!((1..2_000).contains(&lines.left()), "{}", lines.left());
        for number in 0..2_000 {
            assert_eq!(receive(&server), number.to_string());
            syslog.write(&mut lines, Instant::now()).unwrap();
        }
        assert!(lines.is_empty());
    }

    #[test]
    fn each_server_has_the_header_that_it_understands() {
        let header = |address, facility| {
            let mut syslog = Syslog::new(address, facility);
            syslog.host = "lb1".into();
            let mut line = Vec::new();
            syslog.begin(&mut line, Moment(1_790_000_000_123_456));
            String::from_utf8(line).unwrap()
        };
        let process = std::process::id();
        let local = header(SyslogAddress::Socket("/dev/log".into()), Facility::Local0);
        assert_eq!(local, format!("<134>ringway[{process}]: "));
        let remote = header(SyslogAddress::Udp("192.0.2.1:514".parse().unwrap()), Facility::Daemon);
        assert_eq!(remote, format!("<30>1 2026-09-21T14:13:20.123456Z lb1 ringway {process} access - "));
    }
}
