//! Meaning of `[listener.udp]`, and which keys go with which protocol.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use super::{count, time, to_u32, to_usize};
use crate::config::errors::{Error, Place, Reason, Report};
use crate::config::keys::UDP;
use crate::config::read::Reader;
use crate::config::typed::Table;
use crate::config::types::{Choice, Listener, Over, Pool, Protocol, ProxyVersion, Udp};
use crate::config::values;

/// Keys of a listener that say something of connections, and what says it of datagrams.
const OF_CONNECTIONS: &[(&str, &str)] = &[
    ("backlog", "remove it"),
    ("accept", "remove it: a client stays on one worker"),
    ("nodelay", "remove it"),
    ("keepalive", "remove it"),
    ("user_timeout", "remove it"),
    ("idle_timeout", "write it into [listener.udp]"),
    ("half_closed_timeout", "remove it"),
    ("tls", "remove it"),
    ("route", "remove it: a datagram says no hello"),
    ("no_backend", "remove it: the datagram is dropped"),
    ("no_backend_message", "remove it: the datagram is dropped"),
];

/// Keys of `[listener.socket]` that a socket for datagrams has not, and whose they are.
const OF_OTHER_SOCKETS: &[(&str, &str)] = &[
    ("mode", "a Unix socket"),
    ("user", "a Unix socket"),
    ("group", "a Unix socket"),
    ("fast_open", "TCP"),
    ("defer_accept", "TCP"),
    ("congestion", "TCP"),
    ("mss", "TCP"),
    ("mptcp", "TCP"),
];

/// Reports every key of `[listener.socket]` that only other sockets have.
pub(super) fn refuse_unused_of_socket(socket: &Reader<'_, '_>) {
    for (name, of) in OF_OTHER_SOCKETS.iter().filter(|(name, _)| socket.is_given(name)) {
        let words = format!("protocol is \"udp\", and it is of {of}; remove it");
        socket.report(&socket.place_of(name), name, Reason::Conflict(words));
    }
}

/// Reports what the tables for access and limits say of connections alone. They are read elsewhere.
pub(super) fn refuse_unused_inside(listener: &Reader<'_, '_>) {
    let empty = Table::new();
    let given = |table: &str, name: &str| {
        let (table, _) = listener.table_if_right(table, &empty)?;
        let node = &table.get(name)?.node;
        Some((node.place.clone(), node.text().map(str::to_owned)))
    };
    let refuse = |place: &Place, name: &str, words: &str| {
        listener.report(place, name, Reason::Conflict(words.to_owned()));
    };
    if let Some((place, _)) = given("access", "refuse") {
        let words = "it is never used, because protocol is \"udp\", and a datagram that is refused is dropped; remove it";
        refuse(&place, "access.refuse", words);
    }
    if let Some((place, Some(word))) = given("limits", "over")
        && word == Over::Wait.word()
    {
        let words =
            "protocol is \"udp\", where nobody waits: a datagram that is over a limit is dropped; remove it";
        refuse(&place, "limits.over", words);
    }
}

/// The table, and the `idle_timeout` in it.
pub(super) fn udp(reader: &Reader<'_, '_>) -> Option<(Udp, Duration)> {
    let responses = reader.get("responses", values::number);
    let requests = reader.get("requests", values::number);
    let idle_timeout = time(reader, "idle_timeout");
    let sessions_max = count(reader, "sessions_max");
    let source_ports = reader.get("source_ports", values::choice);
    let udp = Udp {
        responses: responses?.map(to_u32),
        requests: requests?.and_then(|requests| NonZeroU32::new(to_u32(requests))),
        sessions_max: NonZeroUsize::new(to_usize(sessions_max?))?,
        source_ports: source_ports?,
    };
    Some((udp, idle_timeout?))
}

/// Reports every key that the other protocol has.
pub(super) fn refuse_unused(listener: &Reader<'_, '_>, udp: &Reader<'_, '_>, protocol: Protocol) {
    let refuse = |reader: &Reader<'_, '_>, name: &str, cure: &str| {
        if reader.is_given(name) {
            let words =
                format!("it is never used, because protocol is \"{}\"; {cure}", protocol_word(protocol));
            reader.report(&reader.place_of(name), name, Reason::Conflict(words));
        }
    };
    match protocol {
        Protocol::Tcp => {
            let cure = "set protocol to \"udp\" or remove it";
            UDP.keys.iter().for_each(|key| refuse(udp, key.name, cure));
        }
        Protocol::Udp => OF_CONNECTIONS.iter().for_each(|(name, cure)| refuse(listener, name, cure)),
    }
}

/// Reports every pool that cannot serve datagrams and has to. `places` are those of the listeners.
pub(super) fn refuse_pools(listeners: &[Listener], pools: &[Pool], places: &[Place], report: &Report) {
    let over_udp = listeners.iter().zip(places).filter(|(listener, _)| listener.protocol == Protocol::Udp);
    for (listener, place) in over_udp {
        let pool = &pools[listener.pool];
        let sends_v1 = pool.proxy_protocol.as_ref().is_some_and(|sent| sent.version == ProxyVersion::V1);
        let unix = pool.backends.iter().find(|backend| backend.address.is_unix());
        let of_header = sends_v1.then(|| {
            "sends a PROXY protocol header of version 1, which is for streams; set send to \"v2\" in [pool.proxy_protocol]".to_owned()
        });
        let of_backend = unix.map(|backend| {
            format!(
                "has a Unix socket, {}, which takes no datagrams of ours; give UDP a pool of IP addresses",
                backend.address
            )
        });
        for words in of_header.into_iter().chain(of_backend) {
            report.push(Error {
                place: place.clone(),
                key: "listener.pool".to_owned(),
                owner: format!("listener \"{}\"", listener.name),
                reason: Reason::Conflict(format!("protocol is \"udp\", and pool \"{}\" {words}", pool.name)),
            });
        }
    }
}

fn protocol_word(protocol: Protocol) -> &'static str {
    protocol.word()
}
