//! Connect: reaches one backend, and says whose fault it is where that fails.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use crate::config::{self, Address, UnixName};
use crate::net::{self, Socket};
use crate::ring;
use crate::shared::Core;
use crate::watch::Watch;

/// Connects from there, or from where the kernel likes; fails when `limit` is over.
pub(super) async fn connect(
    watch: &Watch,
    address: Address,
    pool: &config::Pool,
    source: Option<IpAddr>,
    limit: Duration,
) -> io::Result<Socket> {
    /// What completed while the process did not run is told a moment after the timer.
    const GRACE: Duration = Duration::from_millis(5);
    let socket = net::prepare_stream(address, pool.tcp, &pool.socket)?;
    if !address.is_unix() {
        net::set_source(&socket, source, &pool.source)?;
    }
    // From here on the tick can end it.
    watch.backend.replace(Some(socket.clone()));
    {
        let mut operation = pin!(connected(watch, &socket, address, pool.socket.mptcp));
        let mut result = tokio::time::timeout(limit, operation.as_mut()).await;
        if result.is_err() {
            result = tokio::time::timeout(GRACE, operation.as_mut()).await;
        }
        match result {
            Ok(result) => result?,
            Err(_) => {
                net::stop_connecting(&socket);
                // It completes at once. Even if it connected in that very moment, it has been shut down.
                if !address.is_unix() && !pool.socket.mptcp {
                    let _ = operation.await;
                }
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }
    if let Address::Ip(ip) = address
        && ip.ip().is_loopback()
        && net::is_connected_to_itself(&socket, ip)
    {
        net::abort(&socket);
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(socket)
}

/// Until it is connected. Only what leads to an IP address by plain TCP is an operation on the ring, and ends by
/// [`net::stop_connecting`]; the rest may be left at any moment.
async fn connected(watch: &Watch, socket: &Socket, address: Address, mptcp: bool) -> io::Result<()> {
    match address {
        Address::Ip(address) if mptcp => Box::pin(connected_by_mptcp(socket, address)).await,
        Address::Ip(address) => ring::connect(socket, address).await,
        // Boxed: it must not make every session larger.
        Address::Unix(name) => Box::pin(connected_here(watch, socket, name)).await,
    }
}

/// Not on the ring: of MPTCP a connect there that is stopped begins anew, because the kernel leaves no error that would tell it.
async fn connected_by_mptcp(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    if net::connect_now(socket, address)? {
        return Ok(());
    }
    ring::writable(socket).await?;
    net::finish_connecting(socket)
}

async fn connected_here(watch: &Watch, socket: &Socket, name: UnixName) -> io::Result<()> {
    /// From one try to the next while the queue of who listens there is full. The kernel tells nobody of room.
    const PAUSE: Duration = Duration::from_millis(2);
    loop {
        match net::connect_unix_now(socket, name) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && watch.verdict().is_none() => {
                tokio::time::sleep(PAUSE).await;
            }
            result => return result,
        }
    }
}

/// Whose fault a failed connect is.
pub(super) enum Blame {
    /// The backend's: it counts against it.
    Backend,
    /// It had less than its time: the session has used up the rest elsewhere.
    Clock,
    /// No local port is left towards this backend: the next one may do.
    Route,
    /// This process or machine is short of descriptors or memory: no other backend would do better now.
    Process,
}

pub(super) fn blame(error: &io::Error, was_cut_short: bool) -> Blame {
    if net::is_out_of_ports(error) {
        Blame::Route
    } else if net::is_shortage(error) {
        Blame::Process
    } else if was_cut_short && error.kind() == io::ErrorKind::TimedOut {
        Blame::Clock
    } else {
        Blame::Backend
    }
}

/// Lets some time pass. Meanwhile the worker lets nobody in, so that what is freed goes to those who are in.
pub(super) async fn wait_for_resources(core: &Core) {
    const PAUSE: Duration = Duration::from_millis(20);
    let waiting = &core.short_of_resources;
    waiting.set(waiting.get() + 1);
    tokio::time::sleep(PAUSE).await;
    waiting.set(waiting.get() - 1);
}
