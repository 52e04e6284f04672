//! Meaning of `[[listener]]`: where it accepts, for which pool, until when.

use std::collections::HashMap;

use super::access::access;
use super::bandwidth::bandwidth;
use super::limits::limits;
use super::listening_socket::listening_socket;
use super::overlaps::Overlaps;
use super::proxy_protocol::accept_proxy;
use super::route::{routes, tls};
use super::udp::{refuse_unused, refuse_unused_inside, udp};
use super::{Tables, count, owner, tcp_options, to_u32, unique_name};
use crate::config::errors::{Place, Reason, Report};
use crate::config::keys::{self, SPAN_PORTS_MAX};
use crate::config::near::near;
use crate::config::needs::Needed;
use crate::config::read::{Reader, all};
use crate::config::spans::spans;
use crate::config::typed::{Table, Value, shown};
use crate::config::types::{
    Accept, Access, Address, Bandwidth, Choice, Listener, ListenerLimits, NoBackend, Protocol,
};
use crate::config::values;

pub(super) fn listeners(
    tables: &Tables<'_, '_>,
    pools: Option<&PoolNames>,
    report: &Report,
) -> Option<Vec<Listener>> {
    let mut names = HashMap::new();
    let mut binds = Binds::default();
    let empty = Table::new();
    all(tables.iter().map(|(table, place)| {
        let owner = owner("listener", table);
        let reader = Reader::new(&keys::LISTENER, table, place.clone(), owner.clone(), report);
        // All of them, before one that is wrong ends it.
        let inner = |name| reader.table(name, &empty);
        let access = inner("access").and_then(|found| access(&reader, &owner, found));
        let limits = inner("limits").and_then(|found| limits(&reader, &owner, found));
        let bandwidth = inner("bandwidth").and_then(|found| bandwidth(&reader, &owner, found));
        let listener = listener(&reader, (table, &owner, report), pools, &mut names, &mut binds);
        Some(Listener { access: access?, limits: limits?, bandwidth: bandwidth?, ..listener? })
    }))
}

fn listener(
    reader: &Reader<'_, '_>,
    (table, owner, report): (&Table<'_>, &str, &Report),
    pools: Option<&PoolNames>,
    names: &mut HashMap<String, Place>,
    binds: &mut Binds,
) -> Option<Listener> {
    let empty = Table::new();
    let name = unique_name(reader, names, "among listeners");
    let protocol: Option<Protocol> = reader.get("protocol", values::choice);
    let bind = reader.list("bind", values::places);
    let bind = bind.and_then(|found| unique_binds(reader, protocol, device(table), binds, found));
    let pool_name = reader.get("pool", values::pool_name);
    let pool = pools.and_then(|pools| pools.find(reader, &pool_name?));
    let tls = tls(reader, table, report);
    let routes = routes(reader, table, pools, report);
    let backlog = count(reader, "backlog");
    let accept: Option<Accept> = reader.get("accept", values::choice);
    let tcp = tcp_options(reader);
    let socket = listening_socket(reader, protocol, bind.as_deref(), report);
    let idle_timeout = reader.get("idle_timeout", values::duration);
    let half_closed_timeout = reader.get("half_closed_timeout", values::duration);
    let lifetime_max = reader.get("lifetime_max", values::duration);
    let lifetime_jitter = count(reader, "lifetime_jitter");
    let no_backend = no_backend(reader);
    let access_log = reader.get("access_log", values::switch);
    let udp = reader.table("udp", &empty).and_then(|(table, place)| {
        let inner = Reader::new(&keys::UDP, table, place, owner.to_owned(), report);
        protocol.iter().for_each(|&protocol| refuse_unused(reader, &inner, protocol));
        if protocol == Some(Protocol::Udp) {
            refuse_unused_inside(reader);
        }
        udp(&inner)
    });
    let proxy_protocol = accept_proxy(reader, protocol);
    let (udp, silence_max) = udp?;
    Some(Listener {
        name: name?,
        bind: bind?,
        protocol: protocol?,
        pool: pool?,
        tls: tls?,
        routes: routes?,
        backlog: to_u32(backlog?),
        accept: accept?,
        tcp: tcp?,
        socket: socket?,
        idle_timeout: if protocol == Some(Protocol::Udp) { Some(silence_max) } else { idle_timeout? },
        half_closed_timeout: half_closed_timeout?,
        lifetime_max: lifetime_max?,
        lifetime_jitter: lifetime_jitter? as u8, // 50 at most, by the table of keys.
        no_backend: no_backend?,
        udp,
        access_log: access_log?,
        proxy_protocol: proxy_protocol?,
        // Tables of their own.
        access: Access::default(),
        limits: ListenerLimits::default(),
        bandwidth: Bandwidth::default(),
    })
}

/// Where the listeners before accept. TCP and UDP each have all addresses.
#[derive(Default)]
struct Binds {
    places: HashMap<(Address, Protocol), Place>,
    overlaps: Overlaps,
    /// How many of them are of ranges.
    in_spans: usize,
}

fn unique_binds(
    reader: &Reader<'_, '_>,
    protocol: Option<Protocol>,
    device: Option<&str>,
    seen: &mut Binds,
    found: Vec<Option<(Vec<Address>, Place)>>,
) -> Option<Vec<Address>> {
    let over = protocol.unwrap_or(Protocol::Tcp);
    for (addresses, place) in found.iter().flatten() {
        let unix = addresses.iter().find(|address| over == Protocol::Udp && address.is_unix());
        if let Some(address) = unix {
            let words = format!("{address} is a Unix socket, and datagrams come over UDP; write an ip:port");
            reader.report(place, "bind", Reason::Conflict(words));
        }
        let paths = addresses.iter().filter_map(|address| match address {
            Address::Unix(name) => name.path(),
            Address::Ip(_) => None,
        });
        paths.for_each(|path| reader.need(place.clone(), "bind", Needed::FolderOf(path.into())));
        let (span, is_span) = (spans(addresses).join(", "), addresses.len() > 1);
        seen.in_spans += if is_span { addresses.len() } else { 0 };
        if seen.in_spans > SPAN_PORTS_MAX {
            let what = "ports in the ranges of all listeners";
            reader.report(place, "bind", Reason::TooMany { what, count: seen.in_spans, max: SPAN_PORTS_MAX });
            return None;
        }
        // Of a range one is enough: where it overlaps another there may be very many.
        let taken = addresses.iter().find(|&&address| seen.places.contains_key(&(address, over)));
        let told = taken.map_or(addresses.as_slice(), std::slice::from_ref);
        // Port 0 is a new port each time.
        for address in told.iter().filter(|address| !address.is_any_port()) {
            let shown =
                if is_span { format!("\"{address}\" of \"{span}\"") } else { format!("\"{address}\"") };
            let within = "among the addresses of all listeners";
            reader.unique(&mut seen.places, "bind", (*address, over), shown, place.clone(), within);
        }
        for address in addresses.iter().filter_map(|address| address.as_ip()) {
            if let Some(words) = seen.overlaps.add(address, over, device, place) {
                reader.report(place, "bind", Reason::Conflict(words));
                break;
            }
        }
    }
    let found: Option<Vec<_>> = found.into_iter().map(|one| one.map(|(addresses, _)| addresses)).collect();
    Some(found?.concat())
}

/// The interface of a listener, right or wrong.
fn device<'t>(table: &'t Table<'_>) -> Option<&'t str> {
    let Value::Table(socket) = &table.get("socket")?.node.value else { return None };
    socket.get("device")?.node.text()
}

/// The pools that the file names, right or wrong, by position.
pub(super) struct PoolNames {
    in_order: Vec<String>,
    index: HashMap<String, usize>,
}

impl PoolNames {
    pub(super) fn new(tables: &Tables<'_, '_>) -> Self {
        let name =
            |table: &Table<'_>| table.get("name").and_then(|entry| entry.node.text().map(str::to_owned));
        let found = tables.iter().enumerate().filter_map(|(at, (table, _))| Some((name(table)?, at)));
        let in_order = found.clone().map(|(name, _)| name).collect();
        Self { in_order, index: found.collect() }
    }

    pub(super) fn find(&self, reader: &Reader<'_, '_>, name: &str) -> Option<usize> {
        const KNOWN_MAX: usize = 8;
        let found = self.index.get(name).copied();
        if found.is_none() {
            let names = self.in_order.iter().map(String::as_str);
            let reason = Reason::UnknownPool {
                typed: format!("\"{}\"", shown(name)),
                near: near(name, names.clone()),
                known: names.take(KNOWN_MAX).map(shown).collect(),
                count: self.in_order.len(),
            };
            reader.report(&reader.place_of("pool"), "pool", reason);
        }
        found
    }
}

fn no_backend(reader: &Reader<'_, '_>) -> Option<NoBackend> {
    let word = reader.get("no_backend", values::choice);
    let message = reader.get("no_backend_message", values::text);
    if reader.is_given("no_backend_message") && word.is_some_and(|word| word != NoBackendWord::Message) {
        let words = "the text is never sent, because no_backend is not \"message\"; set no_backend to \"message\" or remove it";
        reader.report(
            &reader.place_of("no_backend_message"),
            "no_backend_message",
            Reason::Conflict(words.to_owned()),
        );
    }
    Some(match word? {
        NoBackendWord::Reset => NoBackend::Reset,
        NoBackendWord::Close => NoBackend::Close,
        NoBackendWord::Message => NoBackend::Message(message?),
    })
}

/// `no_backend` as typed, before its message joins it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum NoBackendWord {
    Reset,
    Close,
    Message,
}

impl Choice for NoBackendWord {
    const ALL: &'static [Self] = &[Self::Reset, Self::Close, Self::Message];

    fn word(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::Close => "close",
            Self::Message => "message",
        }
    }
}
