//! Source: from which address a backend is connected to, and from which next where one has no port left.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use super::Admitted;
use super::connect::connect as connect_from;
use crate::config::{self, Address};
use crate::load::Lease;
use crate::net::{self, Socket};
use crate::shared::Shared;
use crate::watch::Watch;

/// Each looks through all its ports in vain. Of many that are used up the next session tries others.
const ADDRESSES_TRIED_MAX: usize = 8;

/// What decides where the connections of a session to a backend come from.
#[derive(Clone, Copy)]
pub struct Origin {
    client: Option<IpAddr>,
    turn: u64,
}

impl Origin {
    /// That of this session at this backend.
    pub fn new(session: &Admitted, shared: &Shared, pool: &config::Pool, lease: &Lease) -> Origin {
        let client = session.client.get().as_ip().map(|client| client.ip());
        Origin {
            client,
            turn: if pool.source.addresses.is_empty() { 0 } else { shared.turn(lease.backend()) },
        }
    }

    /// The addresses, in the order in which they are tried; `None` is as the kernel likes.
    pub fn addresses(self, pool: &config::Pool, to: Address) -> impl Iterator<Item = Option<IpAddr>> {
        pool.source.addresses_for(to, self.client, self.turn).take(ADDRESSES_TRIED_MAX)
    }
}

/// Connects, or fails when `limit` is over. Only those that have no port left, which takes no time, lead to the next.
pub(super) async fn connect(
    watch: &Watch,
    address: Address,
    pool: &config::Pool,
    origin: Origin,
    limit: Duration,
) -> io::Result<Socket> {
    // There is one at least, if only the kernel's choice.
    let first = origin.addresses(pool, address).next().flatten();
    match connect_from(watch, address, pool, first, limit).await {
        Err(error) if net::is_out_of_ports(&error) => {
            // Boxed: what hardly any session does must not make every one larger.
            Box::pin(connect_from_another(watch, address, pool, origin, limit)).await.unwrap_or(Err(error))
        }
        result => result,
    }
}

/// Tries the others; nothing if there are none.
async fn connect_from_another(
    watch: &Watch,
    address: Address,
    pool: &config::Pool,
    origin: Origin,
    limit: Duration,
) -> Option<io::Result<Socket>> {
    let mut last = None;
    for source in origin.addresses(pool, address).skip(1) {
        match connect_from(watch, address, pool, source, limit).await {
            Err(error) if net::is_out_of_ports(&error) => last = Some(Err(error)),
            result => return Some(result),
        }
    }
    last
}
