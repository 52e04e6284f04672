//! Options: what a listener wants its sockets to be like, told to the kernel, or why the kernel refuses.

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use socket2::Socket;

use super::set_number;
use crate::config::ListeningSocket;

/// What has to be there before the socket has an address.
pub(super) fn set_before_bind(
    socket: &Socket,
    address: SocketAddr,
    wanted: &ListeningSocket,
) -> io::Result<()> {
    if let Some(device) = &wanted.device {
        socket.bind_device(Some(device.as_bytes())).map_err(|error| {
            let cure = match error.raw_os_error() {
                Some(libc::EPERM) => "it takes CAP_NET_RAW (AmbientCapabilities= in a systemd unit)",
                _ => "ip link shows the interfaces that there are",
            };
            refused("device", "SO_BINDTODEVICE", device, &error, cure)
        })?;
    }
    if wanted.free_bind {
        let set = match address {
            SocketAddr::V4(_) => socket.set_freebind_v4(true),
            SocketAddr::V6(_) => socket.set_freebind_v6(true),
        };
        set.map_err(|error| refused("free_bind", "IP_FREEBIND", &true, &error, "take it out"))?;
    }
    set_any_time(socket, address, wanted)
}

/// What can be changed while clients come: they inherit it. What is not given is as it is by default, but for what only a new
/// socket can forget.
pub(super) fn set_any_time(socket: &Socket, address: SocketAddr, wanted: &ListeningSocket) -> io::Result<()> {
    // Before it has an address: that may be one of others.
    set_transparent(socket, address, wanted.transparent).map_err(|error| {
        refused("transparent", "IP_TRANSPARENT", &wanted.transparent, &error, TRANSPARENT_CURE)
    })?;
    let clients = wanted.fast_open.unwrap_or(0);
    set_number(socket, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, clients)
        .map_err(|error| refused("fast_open", "TCP_FASTOPEN", &clients, &error, "take it out"))?;
    let seconds = wanted.defer_accept.map_or(0, |time| time.as_secs() as u32);
    set_number(socket, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, seconds)
        .map_err(|error| refused("defer_accept", "TCP_DEFER_ACCEPT", &seconds, &error, "take it out"))?;
    if let Some(congestion) = &wanted.congestion {
        socket.set_tcp_congestion(congestion.as_bytes()).map_err(|error| {
            let cure = congestion_cure(congestion);
            refused("congestion", "TCP_CONGESTION", congestion, &error, &cure)
        })?;
    }
    let class = u32::from(wanted.dscp.unwrap_or(0)) << 2;
    let set = match address {
        SocketAddr::V4(_) => socket.set_tos_v4(class),
        SocketAddr::V6(_) => socket.set_tclass_v6(class),
    };
    set.map_err(|error| refused("dscp", "IP_TOS", &(class >> 2), &error, "take it out"))?;
    if let Some(size) = wanted.receive_buffer {
        let set = socket.set_recv_buffer_size(size as usize);
        set.map_err(|error| refused("receive_buffer", "SO_RCVBUF", &size, &error, "take it out"))?;
    }
    if let Some(size) = wanted.send_buffer {
        let set = socket.set_send_buffer_size(size as usize);
        set.map_err(|error| refused("send_buffer", "SO_SNDBUF", &size, &error, "take it out"))?;
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
fn refused(key: &str, option: &str, value: &dyn fmt::Display, error: &io::Error, cure: &str) -> io::Error {
    io::Error::other(format!("listener.socket.{key} = {value} ({option}) is refused: {error}; {cure}"))
}

/// The kernel loads by itself what is there as a module, for who may have it loaded.
fn congestion_cure(wanted: &str) -> String {
    let known = fs::read_to_string("/proc/sys/net/ipv4/tcp_available_congestion_control").unwrap_or_default();
    let known = known.split_whitespace().collect::<Vec<_>>().join(", ");
    format!("this kernel has {known}; modprobe tcp_{wanted} may bring it, or choose one of these")
}

/// Whether the kernel lets servers take part in fast open at all (net.ipv4.tcp_fastopen), if that can be read.
pub fn is_fast_open_on() -> Option<bool> {
    const FOR_SERVERS: u32 = 2;
    let bits = fs::read_to_string("/proc/sys/net/ipv4/tcp_fastopen").ok()?;
    bits.trim().parse::<u32>().ok().map(|bits| bits & FOR_SERVERS != 0)
}
