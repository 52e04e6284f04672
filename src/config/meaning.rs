//! From the tree as typed to the configuration that it means.
//!
//! Every function reads all values of its table before it gives up, so that one run reports every mistake.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use super::errors::{Error, Place, Reason, Report};
use super::keys::{
    self, ARENA_BYTES_MAX, BACKENDS_MAX, CONNECT_TIMEOUT, CONNECT_TOTAL_TIMEOUT, HEALTH_TIMEOUT,
    LISTENERS_MAX, POOLS_MAX,
};
use super::near::near;
use super::read::{Reader, all};
use super::typed::{Table, Value, shown};
use super::types::{
    Backend, Choice, Config, Health, Listener, NoBackend, Pool, Protocol, Server, TcpOptions, Workers,
};
use super::units::{format_duration, format_size};
use super::values;

/// `None` if anything is wrong; it has been reported then.
pub(super) fn config(root: &Table<'_>, report: &Report) -> Option<Config> {
    let empty = Table::new();
    let reader = Reader::new(&keys::ROOT, root, Place::File, String::new(), report);
    let server = reader.table("server", &empty).and_then(|(table, place)| server(table, place, report));
    let listener_tables = reader.tables("listener");
    let pool_tables = reader.tables("pool");
    at_least_one(&reader, "listener", &listener_tables);
    at_least_one(&reader, "pool", &pool_tables);
    at_most(report, "[[listener]] tables", &listener_tables, LISTENERS_MAX)?;
    at_most(report, "[[pool]] tables", &pool_tables, POOLS_MAX)?;
    // A pool that has another mistake still exists: the listeners that name it are right.
    let pool_names = pool_tables.as_deref().map(PoolNames::new);
    let pools = pool_tables.and_then(|tables| pools(&tables, report));
    let listeners = listener_tables.and_then(|tables| listeners(&tables, pool_names.as_ref(), report));
    Some(Config { server: server?, listeners: listeners?, pools: pools? })
}

type Tables<'n, 't> = [(&'n Table<'t>, Place)];

fn at_least_one<T>(reader: &Reader<'_, '_>, name: &'static str, tables: &Option<Vec<T>>) {
    if tables.as_ref().is_some_and(Vec::is_empty) {
        let cure = match name {
            "listener" => "add a [[listener]] with name, bind and pool",
            _ => "add a [[pool]] with a name and a [[pool.backend]] with an address",
        };
        reader.report(&Place::File, name, Reason::Missing(cure.to_owned()));
    }
}

fn at_most<T>(report: &Report, what: &'static str, tables: &Option<Vec<T>>, max: usize) -> Option<()> {
    let count = tables.as_ref().map_or(0, Vec::len);
    too_many(report, what, count, max)
}

fn too_many(report: &Report, what: &'static str, count: usize, max: usize) -> Option<()> {
    if count <= max {
        return Some(());
    }
    let reason = Reason::TooMany { what, count, max };
    report.push(Error { place: Place::File, key: String::new(), owner: String::new(), reason });
    None
}

fn server(table: &Table<'_>, place: Place, report: &Report) -> Option<Server> {
    let reader = Reader::new(&keys::SERVER, table, place, String::new(), report);
    let workers: Option<Workers> = reader.get("workers", values::workers);
    let drain_timeout = time(&reader, "drain_timeout");
    let sessions_max = reader.get("sessions_max", values::number);
    let buffer_size = reader.get("buffer_size", values::size);
    let buffers_per_worker = count(&reader, "buffers_per_worker");
    let status_interval = reader.get("status_interval", values::duration);
    let log = reader.get("log", values::choice);
    if let (Some(size), Some(count)) = (buffer_size, buffers_per_worker) {
        check_arena(&reader, size, count);
    }
    Some(Server {
        workers: workers?,
        drain_timeout: drain_timeout?,
        sessions_max: sessions_max?.and_then(|max| NonZeroUsize::new(to_usize(max))),
        buffer_size: to_usize(buffer_size?),
        buffers_per_worker: to_usize(buffers_per_worker?),
        status_interval: status_interval?,
        log: log?,
    })
}

fn check_arena(reader: &Reader<'_, '_>, size: u64, count: u64) {
    let bytes = size * count; // At most 2^20 times 2^16.
    if bytes > ARENA_BYTES_MAX {
        let name = if reader.is_given("buffers_per_worker") { "buffers_per_worker" } else { "buffer_size" };
        let words = format!(
            "{count} buffers of {} are {} for each worker; at most {} are allowed, which is {} buffers of this size",
            format_size(size),
            format_size(bytes),
            format_size(ARENA_BYTES_MAX),
            ARENA_BYTES_MAX / size
        );
        reader.report(&reader.place_of(name), name, Reason::Conflict(words));
    }
}

fn listeners(tables: &Tables<'_, '_>, pools: Option<&PoolNames>, report: &Report) -> Option<Vec<Listener>> {
    let mut names = HashMap::new();
    let mut binds = HashMap::new();
    all(tables.iter().map(|(table, place)| {
        let owner = owner("listener", table);
        let reader = Reader::new(&keys::LISTENER, table, place.clone(), owner, report);
        listener(&reader, pools, &mut names, &mut binds)
    }))
}

fn listener(
    reader: &Reader<'_, '_>,
    pools: Option<&PoolNames>,
    names: &mut HashMap<String, Place>,
    binds: &mut HashMap<SocketAddr, Place>,
) -> Option<Listener> {
    let name = unique_name(reader, names, "among listeners");
    let bind = reader.addresses("bind").and_then(|found| unique_binds(reader, binds, found));
    let protocol: Option<Protocol> = reader.get("protocol", values::choice);
    let pool_name = reader.get("pool", values::pool_name);
    let pool = pools.and_then(|pools| pools.find(reader, &pool_name?));
    let backlog = count(reader, "backlog");
    let tcp = tcp_options(reader);
    let idle_timeout = reader.get("idle_timeout", values::duration);
    let half_closed_timeout = reader.get("half_closed_timeout", values::duration);
    let lifetime_max = reader.get("lifetime_max", values::duration);
    let no_backend = no_backend(reader);
    Some(Listener {
        name: name?,
        bind: bind?,
        protocol: protocol?,
        pool: pool?,
        backlog: to_u32(backlog?),
        tcp: tcp?,
        idle_timeout: idle_timeout?,
        half_closed_timeout: half_closed_timeout?,
        lifetime_max: lifetime_max?,
        no_backend: no_backend?,
    })
}

fn unique_name(
    reader: &Reader<'_, '_>,
    names: &mut HashMap<String, Place>,
    within: &'static str,
) -> Option<String> {
    let name = reader.get("name", values::name)?;
    reader.unique(names, "name", name.clone(), format!("\"{name}\""), reader.place_of("name"), within);
    Some(name)
}

fn unique_binds(
    reader: &Reader<'_, '_>,
    seen: &mut HashMap<SocketAddr, Place>,
    found: Vec<Option<(SocketAddr, Place)>>,
) -> Option<Vec<SocketAddr>> {
    for (address, place) in found.iter().flatten() {
        // Port 0 is a new port each time.
        if address.port() != 0 {
            let shown = format!("\"{address}\"");
            reader.unique(
                seen,
                "bind",
                *address,
                shown,
                place.clone(),
                "among the addresses of all listeners",
            );
        }
    }
    found.into_iter().map(|one| one.map(|(address, _)| address)).collect()
}

/// `no_backend` as typed, before its message joins it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NoBackendWord {
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

fn tcp_options(reader: &Reader<'_, '_>) -> Option<TcpOptions> {
    let nodelay = reader.get("nodelay", values::switch);
    let keepalive = reader.get("keepalive", values::duration);
    let user_timeout = reader.get("user_timeout", values::duration);
    Some(TcpOptions { nodelay: nodelay?, keepalive: keepalive?, user_timeout: user_timeout? })
}

/// The pools that the file names, right or wrong, by position.
struct PoolNames {
    in_order: Vec<String>,
    index: HashMap<String, usize>,
}

impl PoolNames {
    fn new(tables: &Tables<'_, '_>) -> Self {
        let name =
            |table: &Table<'_>| table.get("name").and_then(|entry| entry.node.text().map(str::to_owned));
        let found = tables.iter().enumerate().filter_map(|(at, (table, _))| Some((name(table)?, at)));
        let in_order = found.clone().map(|(name, _)| name).collect();
        Self { in_order, index: found.collect() }
    }

    fn find(&self, reader: &Reader<'_, '_>, name: &str) -> Option<usize> {
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

fn pools(tables: &Tables<'_, '_>, report: &Report) -> Option<Vec<Pool>> {
    let mut names = HashMap::new();
    let backends_total = tables.iter().map(|(table, _)| backend_count(table)).sum();
    too_many(report, "[[pool.backend]] tables", backends_total, BACKENDS_MAX)?;
    all(tables.iter().map(|(table, place)| {
        let owner = owner("pool", table);
        let reader = Reader::new(&keys::POOL, table, place.clone(), owner.clone(), report);
        pool(&reader, &owner, &mut names, report)
    }))
}

fn backend_count(table: &Table<'_>) -> usize {
    match table.get("backend").map(|entry| &entry.node.value) {
        Some(Value::List(items)) => items.len(),
        _ => 0,
    }
}

fn pool(
    reader: &Reader<'_, '_>,
    owner: &str,
    names: &mut HashMap<String, Place>,
    report: &Report,
) -> Option<Pool> {
    let empty = Table::new();
    let name = unique_name(reader, names, "among pools");
    let algorithm = reader.get("algorithm", values::choice);
    let connect_timeouts = connect_timeouts(reader);
    let connect_attempts = reader.get("connect_attempts", values::number);
    let tcp = tcp_options(reader);
    let health = reader.table("health", &empty).and_then(|(table, place)| {
        health(&Reader::new(&keys::HEALTH, table, place, owner.to_owned(), report))
    });
    let backends = reader.tables("backend").and_then(|tables| backends(reader, &tables, owner, report));
    let (connect_timeout, connect_total_timeout) = connect_timeouts?;
    Some(Pool {
        name: name?,
        algorithm: algorithm?,
        connect_timeout,
        connect_total_timeout,
        connect_attempts: connect_attempts?.and_then(|attempts| NonZeroU32::new(to_u32(attempts))),
        tcp: tcp?,
        health: health?,
        backends: backends?,
    })
}

/// For one attempt and for all; whichever is not given follows the other.
fn connect_timeouts(reader: &Reader<'_, '_>) -> Option<(Duration, Duration)> {
    let one = time_if_given(reader, "connect_timeout");
    let all = time_if_given(reader, "connect_total_timeout");
    let (one, all) = match (one?, all?) {
        (None, None) => (CONNECT_TIMEOUT, CONNECT_TOTAL_TIMEOUT),
        (Some(one), None) => (one, CONNECT_TOTAL_TIMEOUT.max(one)),
        (None, Some(all)) => (CONNECT_TIMEOUT.min(all), all),
        (Some(one), Some(all)) => (one, all),
    };
    if one > all {
        let name = "connect_total_timeout";
        let words = format!(
            "{} for all attempts is shorter than the connect_timeout of {} for one; \
             raise this one or lower connect_timeout",
            format_duration(all),
            format_duration(one)
        );
        reader.report(&reader.place_of(name), name, Reason::Conflict(words));
    }
    Some((one, all))
}

fn health(reader: &Reader<'_, '_>) -> Option<Health> {
    let check = reader.get("check", values::choice);
    let interval = time(reader, "interval");
    let timeout = time_if_given(reader, "timeout");
    let rise = count(reader, "rise");
    let fall = count(reader, "fall");
    let passive = reader.get("passive", values::switch);
    let (interval, timeout) = (interval?, timeout?);
    if let Some(timeout) = timeout.filter(|timeout| *timeout > interval) {
        let words = format!(
            "{} is longer than the interval of {}, and a check has to end before the next one starts; \
             lower this one or raise interval",
            format_duration(timeout),
            format_duration(interval)
        );
        reader.report(&reader.place_of("timeout"), "timeout", Reason::Conflict(words));
    }
    Some(Health {
        check: check?,
        interval,
        timeout: timeout.unwrap_or(HEALTH_TIMEOUT.min(interval)),
        rise: NonZeroU32::new(to_u32(rise?))?,
        fall: NonZeroU32::new(to_u32(fall?))?,
        passive: passive?,
    })
}

fn backends(
    pool: &Reader<'_, '_>,
    tables: &Tables<'_, '_>,
    owner: &str,
    report: &Report,
) -> Option<Vec<Backend>> {
    if tables.is_empty() {
        let cure = "add at least one [[pool.backend]] with an address".to_owned();
        pool.report(&pool.place_of("backend"), "backend", Reason::Missing(cure));
    }
    let mut addresses = HashMap::new();
    let mut names = HashMap::new();
    all(tables.iter().map(|(table, place)| {
        let reader = Reader::new(&keys::BACKEND, table, place.clone(), owner.to_owned(), report);
        backend(&reader, &mut addresses, &mut names)
    }))
}

fn backend(
    reader: &Reader<'_, '_>,
    addresses: &mut HashMap<SocketAddr, Place>,
    names: &mut HashMap<String, Place>,
) -> Option<Backend> {
    let address: Option<SocketAddr> = reader.get("address", values::address);
    let weight = count(reader, "weight");
    let name = reader.get_if_given("name", values::name);
    let address = address?;
    let place = reader.place_of("address");
    if address.port() == 0 {
        let words =
            format!("\"{address}\" has the port 0, which no server has; give the port that it listens on");
        reader.report(&place, "address", Reason::Conflict(words));
    }
    reader.unique(addresses, "address", address, format!("\"{address}\""), place, "in this pool");
    if let Some(Some(name)) = &name {
        reader.unique(
            names,
            "name",
            name.clone(),
            format!("\"{name}\""),
            reader.place_of("name"),
            "in this pool",
        );
    }
    let name = name?.unwrap_or_else(|| address.to_string());
    Some(Backend { name, address, weight: NonZeroU32::new(to_u32(weight?))? })
}

/// `pool "api"`, if it has a name.
fn owner(what: &str, table: &Table<'_>) -> String {
    let name = table.get("name").and_then(|entry| entry.node.text()).filter(|name| !name.is_empty());
    name.map(|name| format!("{what} \"{}\"", shown(name))).unwrap_or_default()
}

fn time(reader: &Reader<'_, '_>, name: &str) -> Option<Duration> {
    reader.get(name, values::duration).flatten()
}

fn time_if_given(reader: &Reader<'_, '_>, name: &str) -> Option<Option<Duration>> {
    reader.get_if_given(name, values::duration).map(Option::flatten)
}

fn count(reader: &Reader<'_, '_>, name: &str) -> Option<u64> {
    reader.get(name, values::number).flatten()
}

/// Bounds in the table of keys keep every count far below this.
fn to_usize(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn to_u32(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::keys::{Kind, Section};
    use super::super::types::{Algorithm, Check, LogLevel};
    use super::*;

    #[test]
    fn the_table_of_keys_and_the_types_know_the_same_words() {
        fn same<T: Choice>(section: &Section, name: &str) {
            let Some(Kind::Choice(listed)) = section.key(name).map(|key| &key.kind) else { panic!("{name}") };
            let words: Vec<&str> = T::ALL.iter().map(|choice| choice.word()).collect();
            assert_eq!(*listed, words, "{name}");
        }
        same::<LogLevel>(&keys::SERVER, "log");
        same::<Protocol>(&keys::LISTENER, "protocol");
        same::<NoBackendWord>(&keys::LISTENER, "no_backend");
        same::<Algorithm>(&keys::POOL, "algorithm");
        same::<Check>(&keys::HEALTH, "check");
    }

    #[test]
    fn a_time_that_is_not_given_follows_the_one_that_is() {
        let pool = |keys: &str| {
            let text = format!(
                "[[listener]]\nname=\"a\"\nbind=\"127.0.0.1:1\"\npool=\"a\"\n\
                 [[pool]]\nname=\"a\"\n{keys}\n[[pool.backend]]\naddress=\"127.0.0.1:2\"\n"
            );
            super::super::parse("f", &text).unwrap().pools.remove(0)
        };
        let connect = |keys| {
            let pool = pool(keys);
            (pool.connect_timeout.as_secs(), pool.connect_total_timeout.as_secs())
        };
        assert_eq!(connect(""), (3, 10));
        assert_eq!(connect("connect_timeout=\"5s\""), (5, 10));
        assert_eq!(connect("connect_timeout=\"15s\""), (15, 15));
        assert_eq!(connect("connect_total_timeout=\"2s\""), (2, 2));
        let timeout = |keys| pool(keys).health.timeout.as_millis();
        assert_eq!(timeout(""), 1_000);
        assert_eq!(timeout("health.interval=\"300ms\""), 300);
        assert_eq!(timeout("health.interval=\"300ms\"\nhealth.timeout=\"100ms\""), 100);
    }
}
