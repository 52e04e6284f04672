//! Source: the address and the ports that a connection to a backend comes from.

use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;

use socket2::{SockRef, Socket};

use super::options;
use super::sockopt::set_number;
use crate::config::PoolSource;

/// Has a connection come from this address, and from one of the ports of `source`.
///
/// The port is chosen at the connect, when it is known where that leads: the kernel can then use a port again for each backend.
///
/// # Errors
///
/// When the machine does not have the address, or what is asked for takes a privilege or a kernel that is not there.
pub fn set(socket: impl AsFd, address: Option<IpAddr>, source: &PoolSource) -> io::Result<()> {
    if let Some(ports) = source.ports {
        set_ports(&socket, ports)?;
    }
    let Some(address) = address else { return Ok(()) };
    if source.transparent {
        options::set_transparent(&socket, (address, 0).into(), true)?;
    }
    set_number(&socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)?;
    SockRef::from(&socket).bind(&SocketAddr::from((address, 0)).into())
}

fn set_ports(socket: impl AsFd, (first, last): (u16, u16)) -> io::Result<()> {
    /// Linux 6.3; not in libc yet.
    const IP_LOCAL_PORT_RANGE: libc::c_int = 51;
    // The last one in the upper half, all of whose bits count.
    let range = (u32::from(last) << 16 | u32::from(first)).cast_signed();
    set_number(socket, libc::IPPROTO_IP, IP_LOCAL_PORT_RANGE, range)
}

/// Whether connections can come from where they are to, as far as that shows before there are any. What TCP can, MPTCP learned
/// in later kernels.
///
/// # Errors
///
/// Why not, with the key and the cure.
pub fn try_all(source: &PoolSource, mptcp: bool) -> io::Result<()> {
    if let Some(ports) = source.ports {
        try_ports(ports, mptcp)?;
    }
    if source.transparent {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        options::set_transparent(&stream_like(any.ip(), mptcp)?, any, true).map_err(|error| {
            refused("transparent", &true, "IP_TRANSPARENT", &error, options::TRANSPARENT_CURE)
        })?;
    }
    for &address in &source.addresses {
        let tried = stream_like(address, mptcp).and_then(|socket| set(&socket, Some(address), source));
        tried.map_err(|error| {
            let cure = match error.raw_os_error() {
                Some(libc::EADDRNOTAVAIL) => {
                    "this machine does not have that address (ip address shows those it has): add it, or take it out"
                }
                _ => "take it out",
            };
            refused("addresses", &address, "bind", &error, cure)
        })?;
    }
    Ok(())
}

fn try_ports((first, last): (u16, u16), mptcp: bool) -> io::Result<()> {
    let shown = format!("{first}-{last}");
    let tried =
        stream_like(Ipv4Addr::LOCALHOST.into(), mptcp).and_then(|socket| set_ports(&socket, (first, last)));
    tried.map_err(|error| {
        let cure = match error.raw_os_error() {
            Some(libc::ENOPROTOOPT) => {
                "it takes Linux 6.3 or later: take it out, or set the sysctl net.ipv4.ip_local_port_range"
            }
            _ => "take it out",
        };
        refused("ports", &shown, "IP_LOCAL_PORT_RANGE", &error, cure)
    })?;
    // Of a range that lies elsewhere the kernel says nothing, and takes its own.
    match system_ports() {
        Some((from, to)) if first < from || to < last => Err(io::Error::other(format!(
            "pool.source.ports = {shown} goes beyond {from}-{to}, of which alone the kernel takes ports; choose a range within, \
             or raise that one: sysctl -w net.ipv4.ip_local_port_range=\"{} {}\"",
            from.min(first),
            to.max(last)
        ))),
        _ => Ok(()),
    }
}

/// The ports that the kernel takes for connections, if that can be read.
fn system_ports() -> Option<(u16, u16)> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut ports = text.split_whitespace().map(|port| port.parse().ok());
    Some((ports.next()??, ports.next()??))
}

fn stream_like(address: IpAddr, mptcp: bool) -> io::Result<Socket> {
    options::socket_for((address, 0).into(), false, mptcp)
}

/// Without a number of the kernel's: the words have their own cure.
fn refused(key: &str, value: &dyn fmt::Display, call: &str, error: &io::Error, cure: &str) -> io::Error {
    io::Error::other(format!("pool.source.{key} = {value} ({call}) is refused: {error}; {cure}"))
}
