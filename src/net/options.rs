//! Options: what a listener or a pool wants its sockets to be like, told to the kernel, or why the kernel refuses.

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use socket2::{Domain, Protocol, Socket, Type};

use super::sockopt::set_number;
use crate::config::{ListeningSocket, PoolSocket};

/// Whose options they are, as the configuration calls them.
#[derive(Clone, Copy)]
enum Of {
    Listener,
    Pool,
}

/// A socket of the family of this address.
pub(super) fn socket_for(address: SocketAddr, is_listening: bool, mptcp: bool) -> io::Result<Socket> {
    let of = if is_listening { Of::Listener } else { Of::Pool };
    let protocol = if mptcp { Protocol::MPTCP } else { Protocol::TCP };
    Socket::new(Domain::for_address(address), Type::STREAM, Some(protocol)).map_err(|error| {
        match error.raw_os_error() {
            // EPROTONOSUPPORT: built without; ENOPROTOOPT: switched off.
            Some(libc::EPROTONOSUPPORT | libc::ENOPROTOOPT | libc::EINVAL) if mptcp => {
                let cure =
                    "sysctl -w net.mptcp.enabled=1 switches it on where the kernel has it; or take it out";
                refused(of, "mptcp", "IPPROTO_MPTCP", &true, &error, cure)
            }
            _ => error,
        }
    })
}

/// What has to be there before the socket has an address.
pub(super) fn set_before_bind(
    socket: &Socket,
    address: SocketAddr,
    wanted: &ListeningSocket,
) -> io::Result<()> {
    set_place(socket, address, wanted)?;
    set_any_time(socket, address, wanted)
}

/// The same of a socket for datagrams.
pub(super) fn set_before_bind_for_datagrams(
    socket: &Socket,
    address: SocketAddr,
    wanted: &ListeningSocket,
) -> io::Result<()> {
    set_place(socket, address, wanted)?;
    set_any_time_for_packets(socket, address, wanted)
}

/// By which interface clients come, and whether the address may be one that is not there yet.
fn set_place(socket: &Socket, address: SocketAddr, wanted: &ListeningSocket) -> io::Result<()> {
    set_device(socket, Of::Listener, wanted.device.as_deref())?;
    if !wanted.free_bind {
        return Ok(());
    }
    let set = match address {
        SocketAddr::V4(_) => socket.set_freebind_v4(true),
        SocketAddr::V6(_) => socket.set_freebind_v6(true),
    };
    set.map_err(|error| refused(Of::Listener, "free_bind", "IP_FREEBIND", &true, &error, "take it out"))
}

/// What can be changed while clients come: they inherit it. What is not given is as it is by default, but for what only a new
/// socket can forget.
pub(super) fn set_any_time(socket: &Socket, address: SocketAddr, wanted: &ListeningSocket) -> io::Result<()> {
    let of = Of::Listener;
    set_any_time_for_packets(socket, address, wanted)?;
    let clients = wanted.fast_open.unwrap_or(0).cast_signed();
    set_number(socket, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, clients)
        .map_err(|error| refused(of, "fast_open", "TCP_FASTOPEN", &clients, &error, "take it out"))?;
    let seconds = wanted.defer_accept.map_or(0, |time| time.as_secs() as i32);
    set_number(socket, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, seconds)
        .map_err(|error| refused(of, "defer_accept", "TCP_DEFER_ACCEPT", &seconds, &error, "take it out"))?;
    set_congestion(socket, of, wanted.congestion.as_deref())?;
    // 0 takes one back.
    set_mss(socket, of, wanted.mss.unwrap_or(0))
}

/// The part of it that is not of TCP.
pub(super) fn set_any_time_for_packets(
    socket: &Socket,
    address: SocketAddr,
    wanted: &ListeningSocket,
) -> io::Result<()> {
    let of = Of::Listener;
    // Before it has an address: that may be one of others.
    set_transparent(socket, address, wanted.transparent).map_err(|error| {
        refused(of, "transparent", "IP_TRANSPARENT", &wanted.transparent, &error, TRANSPARENT_CURE)
    })?;
    set_class(socket, of, address, wanted.dscp.unwrap_or(0))?;
    set_buffers(socket, of, wanted.receive_buffer, wanted.send_buffer)
}

/// What has to be there before a socket connects to a backend.
pub(super) fn set_before_connect(
    socket: &Socket,
    address: SocketAddr,
    wanted: &PoolSocket,
) -> io::Result<()> {
    // Most pools give none.
    if wanted.is_plain() {
        return Ok(());
    }
    set_for_packets(socket, address, wanted)?;
    let of = Of::Pool;
    if wanted.fast_open {
        let cure = "it takes Linux 4.11, and sysctl -w net.ipv4.tcp_fastopen=1; or take it out";
        set_number(socket, libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT, 1)
            .map_err(|error| refused(of, "fast_open", "TCP_FASTOPEN_CONNECT", &true, &error, cure))?;
    }
    set_congestion(socket, of, wanted.congestion.as_deref())?;
    match wanted.mss {
        Some(bytes) => set_mss(socket, of, bytes),
        None => Ok(()),
    }
}

/// The part of it that is not of TCP.
pub(super) fn set_for_packets(socket: &Socket, address: SocketAddr, wanted: &PoolSocket) -> io::Result<()> {
    let of = Of::Pool;
    set_device(socket, of, wanted.device.as_deref())?;
    if let Some(mark) = wanted.mark {
        let cure = "it takes CAP_NET_ADMIN (AmbientCapabilities= in a systemd unit)";
        socket.set_mark(mark).map_err(|error| refused(of, "mark", "SO_MARK", &mark, &error, cure))?;
    }
    if let Some(class) = wanted.dscp {
        set_class(socket, of, address, class)?;
    }
    set_buffers(socket, of, wanted.receive_buffer, wanted.send_buffer)
}

fn set_device(socket: &Socket, of: Of, device: Option<&str>) -> io::Result<()> {
    let Some(device) = device else { return Ok(()) };
    socket.bind_device(Some(device.as_bytes())).map_err(|error| {
        let cure = match error.raw_os_error() {
            Some(libc::EPERM) => "it takes CAP_NET_RAW (AmbientCapabilities= in a systemd unit)",
            _ => "ip link shows the interfaces that there are",
        };
        refused(of, "device", "SO_BINDTODEVICE", &device, &error, cure)
    })
}

fn set_congestion(socket: &Socket, of: Of, congestion: Option<&str>) -> io::Result<()> {
    let Some(congestion) = congestion else { return Ok(()) };
    socket.set_tcp_congestion(congestion.as_bytes()).map_err(|error| {
        let cure = congestion_cure(congestion, &error);
        refused(of, "congestion", "TCP_CONGESTION", &congestion, &error, &cure)
    })
}

fn set_class(socket: &Socket, of: Of, address: SocketAddr, class: u8) -> io::Result<()> {
    let bits = u32::from(class) << 2;
    let (set, option) = match address {
        SocketAddr::V4(_) => (socket.set_tos_v4(bits), "IP_TOS"),
        SocketAddr::V6(_) => (socket.set_tclass_v6(bits), "IPV6_TCLASS"),
    };
    set.map_err(|error| refused(of, "dscp", option, &class, &error, "take it out"))
}

fn set_mss(socket: &Socket, of: Of, bytes: u32) -> io::Result<()> {
    let set = socket.set_tcp_mss(bytes);
    set.map_err(|error| refused(of, "mss", "TCP_MAXSEG", &bytes, &error, "take it out"))
}

fn set_buffers(socket: &Socket, of: Of, receive: Option<u32>, send: Option<u32>) -> io::Result<()> {
    if let Some(size) = receive {
        let set = socket.set_recv_buffer_size(size as usize);
        set.map_err(|error| refused(of, "receive_buffer", "SO_RCVBUF", &size, &error, "take it out"))?;
    }
    if let Some(size) = send {
        let set = socket.set_send_buffer_size(size as usize);
        set.map_err(|error| refused(of, "send_buffer", "SO_SNDBUF", &size, &error, "take it out"))?;
    }
    Ok(())
}

/// What is missing where a process may not be transparent.
pub(super) const TRANSPARENT_CURE: &str = "it takes CAP_NET_ADMIN or CAP_NET_RAW (AmbientCapabilities= and CapabilityBoundingSet= in a systemd unit)";

/// Lets a socket have an address that is another machine's. Not to want it takes no privilege.
pub(super) fn set_transparent(socket: impl AsFd, address: SocketAddr, wanted: bool) -> io::Result<()> {
    let (level, option) = match address {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_TRANSPARENT),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT),
    };
    set_number(socket, level, option, wanted.into())
}

/// Without a number of the kernel's: the words have their own cure.
fn refused(
    of: Of,
    key: &str,
    option: &str,
    value: &dyn fmt::Display,
    error: &io::Error,
    cure: &str,
) -> io::Error {
    let table = match of {
        Of::Listener => "listener.socket",
        Of::Pool => "pool.socket",
    };
    io::Error::other(format!("{table}.{key} = {value} ({option}) is refused: {error}; {cure}"))
}

/// The kernel loads by itself what is there as a module, for who may have it loaded.
fn congestion_cure(wanted: &str, error: &io::Error) -> String {
    if error.raw_os_error() == Some(libc::EPERM) {
        return "only those in net.ipv4.tcp_allowed_congestion_control are for everybody; add it there, or choose one of them"
            .to_owned();
    }
    let known = fs::read_to_string("/proc/sys/net/ipv4/tcp_available_congestion_control").unwrap_or_default();
    let known = known.split_whitespace().collect::<Vec<_>>().join(", ");
    format!("this kernel has {known}; modprobe tcp_{wanted} may bring it, or choose one of these")
}
