//! From the tree as typed to the configuration that it means.
//!
//! Every function reads all values of its table before it gives up, so that one run reports every mistake.

mod access;
mod access_log;
mod admin;
mod backend;
mod bandwidth;
mod check;
mod ejection;
mod health;
mod limits;
mod listener;
mod listening_socket;
mod overlaps;
mod pool;
mod pool_socket;
mod proxy_protocol;
mod response_time;
mod route;
mod shadow;
mod source;
mod udp;

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::time::Duration;

use super::errors::{Error, Place, Reason, Report};
use super::keys::{self, ARENA_BYTES_MAX, LISTENERS_MAX, POOLS_MAX};
use super::needs::Needed;
use super::read::Reader;
use super::typed::{Table, shown};
use super::types::{Config, Record, RunAs, Server, TcpOptions, Workers};
use super::units::format_size;
use super::values;
use access_log::access_log;
use admin::admin;
use listener::{PoolNames, listeners};
use pool::pools;

/// `None` if anything is wrong; it has been reported then.
pub(super) fn config(root: &Table<'_>, report: &Report) -> Option<Config> {
    let empty = Table::new();
    let reader = Reader::new(&keys::ROOT, root, Place::File, String::new(), report);
    let server = reader.table("server", &empty).and_then(|(table, place)| server(table, place, report));
    let access_log =
        reader.table("access_log", &empty).and_then(|(table, place)| access_log(table, place, report));
    let admin = admin(&reader, &empty, report);
    let listener_tables = reader.tables("listener");
    let pool_tables = reader.tables("pool");
    at_least_one(&reader, "listener", &listener_tables);
    at_least_one(&reader, "pool", &pool_tables);
    at_most(report, "[[listener]] tables", &listener_tables, LISTENERS_MAX)?;
    at_most(report, "[[pool]] tables", &pool_tables, POOLS_MAX)?;
    // A pool that has another mistake still exists: the listeners that name it are right.
    let pool_names = pool_tables.as_deref().map(PoolNames::new);
    let places: Vec<Place> = listener_tables.iter().flatten().map(|(_, place)| place.clone()).collect();
    let pools = pool_tables.and_then(|tables| pools(&tables, report));
    let listeners = listener_tables.and_then(|tables| listeners(&tables, pool_names.as_ref(), report));
    if let (Some(listeners), Some(pools)) = (&listeners, &pools) {
        udp::refuse_pools(listeners, pools, &places, report);
    }
    if let (Some(Some(admin)), Some(listeners)) = (&admin, &listeners) {
        overlaps::refuse_admin(&reader, admin, listeners);
    }
    Some(Config {
        server: server?,
        access_log: access_log?,
        admin: admin?,
        listeners: listeners?,
        pools: pools?,
    })
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
    let engine = reader.get("engine", values::choice);
    let busy_poll = count(&reader, "busy_poll_us").map(Duration::from_micros);
    let drain_timeout = time(&reader, "drain_timeout");
    let removed_drain_timeout = time(&reader, "removed_drain_timeout");
    let upgrade_timeout = time(&reader, "upgrade_timeout");
    let sessions_max = reader.get("sessions_max", values::number);
    let rate_max = reader.get("rate_max", values::rate);
    let buffer_size = reader.get("buffer_size", values::size);
    let buffers_per_worker = count(&reader, "buffers_per_worker");
    let large_buffers_per_worker = count(&reader, "large_buffers_per_worker");
    let pipes_per_worker = count(&reader, "pipes_per_worker");
    let status_interval = reader.get("status_interval", values::duration);
    let log = reader.get("log", values::choice);
    let record = record(&reader);
    let run_as = run_as(&reader);
    if let (Some(size), Some(count)) = (buffer_size, buffers_per_worker) {
        check_arena(&reader, size, count);
    }
    Some(Server {
        workers: workers?,
        engine: engine?,
        busy_poll: busy_poll?,
        drain_timeout: drain_timeout?,
        removed_drain_timeout: removed_drain_timeout?,
        upgrade_timeout: upgrade_timeout?,
        sessions_max: sessions_max?.and_then(|max| NonZeroUsize::new(to_usize(max))),
        rate_max: rate_max?,
        buffer_size: to_usize(buffer_size?),
        buffers_per_worker: to_usize(buffers_per_worker?),
        large_buffers_per_worker: to_usize(large_buffers_per_worker?),
        pipes_per_worker: to_usize(pipes_per_worker?),
        status_interval: status_interval?,
        log: log?,
        record: record?,
        run_as: run_as?,
    })
}

/// Every key is read, also when nothing is recorded: a mistake in one that is not used is a mistake too.
fn record(reader: &Reader<'_, '_>) -> Option<Option<Record>> {
    let path = reader.get_if_given("record", values::file);
    if let Some(Some(path)) = &path {
        reader.need(reader.place_of("record"), "record", Needed::FolderOf(path.clone()));
    }
    let size_max = reader.get("record_size_max", values::size);
    let files = count(reader, "record_files");
    let addresses = reader.get("record_addresses", values::switch);
    let (path, size_max, files, addresses) = (path?, size_max?, to_u32(files?), addresses?);
    Some(path.map(|path| Record { path, size_max, files, addresses }))
}

fn run_as(reader: &Reader<'_, '_>) -> Option<Option<RunAs>> {
    let user = reader.get_if_given("user", values::name)?;
    let group = reader.get_if_given("group", values::name)?;
    if let Some(user) = &user {
        reader.need(reader.place_of("user"), "user", Needed::User(user.clone()));
    }
    if let Some(group) = &group {
        reader.need(reader.place_of("group"), "group", Needed::Group(group.clone()));
    }
    if user.is_none() && group.is_some() {
        let words = "a group needs a user: write user beside it".to_owned();
        reader.report(&reader.place_of("group"), "group", Reason::Conflict(words));
        return None;
    }
    Some(user.map(|user| RunAs { user, group }))
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

fn unique_name(
    reader: &Reader<'_, '_>,
    names: &mut HashMap<String, Place>,
    within: &'static str,
) -> Option<String> {
    let name = reader.get("name", values::name)?;
    reader.unique(names, "name", name.clone(), format!("\"{name}\""), reader.place_of("name"), within);
    Some(name)
}

fn tcp_options(reader: &Reader<'_, '_>) -> Option<TcpOptions> {
    let nodelay = reader.get("nodelay", values::switch);
    let keepalive = reader.get("keepalive", values::duration);
    let user_timeout = reader.get("user_timeout", values::duration);
    Some(TcpOptions { nodelay: nodelay?, keepalive: keepalive?, user_timeout: user_timeout? })
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
    use super::super::types::{
        Accept, Algorithm, Check, Choice, Datagrams, Ejection, Engine, Exchange, Expect, Facility, Health,
        HttpCheck, InitialState, LogFormat, LogLevel, OnDown, Only, Over, Pool, PowerOfTwoBy, Protocol,
        Refuse, ResponseTime, Signal, SourcePorts, Standing, Statistic, TlsCheck,
    };
    use super::check::CheckWord;
    use super::listener::NoBackendWord;
    use super::*;
    use std::num::NonZeroU32;

    #[test]
    fn the_table_of_keys_and_the_types_know_the_same_words() {
        fn same<T: Choice>(section: &Section, name: &str) {
            let Some(Kind::Choice(listed)) = section.key(name).map(|key| &key.kind) else { panic!("{name}") };
            let words: Vec<&str> = T::ALL.iter().map(|choice| choice.word()).collect();
            assert_eq!(*listed, words, "{name}");
        }
        same::<Engine>(&keys::SERVER, "engine");
        same::<LogLevel>(&keys::SERVER, "log");
        same::<LogFormat>(&keys::ACCESS_LOG, "format");
        same::<Only>(&keys::ACCESS_LOG, "only");
        same::<Facility>(&keys::ACCESS_LOG, "facility");
        same::<Protocol>(&keys::LISTENER, "protocol");
        same::<Accept>(&keys::LISTENER, "accept");
        same::<SourcePorts>(&keys::UDP, "source_ports");
        same::<NoBackendWord>(&keys::LISTENER, "no_backend");
        same::<Standing>(&keys::ACCESS, "default");
        same::<Refuse>(&keys::ACCESS, "refuse");
        same::<Over>(&keys::LIMITS, "over");
        same::<Algorithm>(&keys::POOL, "algorithm");
        same::<PowerOfTwoBy>(&keys::POOL, "power_of_two_by");
        same::<OnDown>(&keys::POOL, "on_down");
        same::<Signal>(&keys::RESPONSE_TIME, "signal");
        same::<Statistic>(&keys::RESPONSE_TIME, "statistic");
        same::<CheckWord>(&keys::HEALTH, "check");
        same::<InitialState>(&keys::HEALTH, "initial_state");
    }

    /// The pool of these keys, with one backend of these.
    fn pool_of(keys: &str, backend: &str) -> Pool {
        let text = format!(
            "[[listener]]\nname=\"a\"\nbind=\"127.0.0.1:1\"\npool=\"a\"\n\
             [[pool]]\nname=\"a\"\n{keys}\n[[pool.backend]]\naddress=\"127.0.0.1:2\"\n{backend}\n\
             [[pool.backend]]\naddress=\"127.0.0.1:3\"\n"
        );
        super::super::parse("f", &text).unwrap().pools.remove(0)
    }

    #[test]
    fn what_is_not_given_is_as_the_guide_says() {
        let pool = pool_of("", "");
        assert_eq!(pool.power_of_two_by, PowerOfTwoBy::Connections);
        assert_eq!((pool.queue_max, pool.queue_timeout.as_secs()), (1_024, 5));
        assert_eq!((pool.slow_start, pool.panic_threshold, pool.on_down), (None, 0, OnDown::Keep));
        let window = Duration::from_secs(10);
        let times = ResponseTime { signal: Signal::FirstByte, statistic: Statistic::P50, window };
        assert_eq!(pool.response_time, times);
        let ejection = Ejection {
            failures: NonZeroU32::new(5),
            time: Duration::from_secs(10),
            time_max: Duration::from_secs(300),
            share_max: 50,
            first_byte_timeout: None,
        };
        assert_eq!(pool.ejection, ejection);
        let backend = &pool.backends[0];
        assert_eq!((backend.backup, backend.max_connections, backend.check_address), (false, None, None));
    }

    #[test]
    fn every_key_of_a_pool_reaches_its_setting() {
        let pool = pool_of(
            "algorithm=\"power-of-two\"\npower_of_two_by=\"response-time\"\nqueue_max=0\nqueue_timeout=\"1ms\"\n\
             slow_start=\"30s\"\npanic_threshold=100\non_down=\"close\"\n\
             response_time={signal=\"session\",statistic=\"p99\",window=\"1m\"}\n\
             ejection={failures=\"off\",time=\"1s\",time_max=\"2s\",share_max=0,first_byte_timeout=\"1.5s\"}",
            "backup=true\nmax_connections=7\ncheck_address=\"[::1]:9\"",
        );
        assert_eq!(pool.power_of_two_by, PowerOfTwoBy::ResponseTime);
        assert_eq!((pool.queue_max, pool.queue_timeout.as_millis()), (0, 1));
        assert_eq!((pool.slow_start, pool.panic_threshold), (Some(Duration::from_secs(30)), 100));
        assert_eq!(pool.on_down, OnDown::Close);
        let window = Duration::from_secs(60);
        let times = ResponseTime { signal: Signal::Session, statistic: Statistic::P99, window };
        assert_eq!(pool.response_time, times);
        let ejection = Ejection {
            failures: None,
            time: Duration::from_secs(1),
            time_max: Duration::from_secs(2),
            share_max: 0,
            first_byte_timeout: Some(Duration::from_millis(1_500)),
        };
        assert_eq!(pool.ejection, ejection);
        let backend = &pool.backends[0];
        assert_eq!((backend.backup, backend.max_connections), (true, NonZeroU32::new(7)));
        assert_eq!(backend.check_address, Some("[::1]:9".parse().unwrap()));
    }

    #[test]
    fn shadows_are_one_or_a_list_and_power_of_two_among_them_has_its_key() {
        let shadow = |keys| pool_of(keys, "").shadow;
        assert_eq!(shadow(""), []);
        assert_eq!(shadow("shadow=\"maglev\""), [Algorithm::Maglev]);
        let both = [Algorithm::LeastResponseTime, Algorithm::First];
        assert_eq!(shadow("shadow=[\"least-response-time\",\"first\"]"), both);
        let pool = pool_of("shadow=[\"power-of-two\"]\npower_of_two_by=\"response-time\"", "");
        assert_eq!(pool.power_of_two_by, PowerOfTwoBy::ResponseTime);
    }

    #[test]
    fn every_key_of_a_check_reaches_its_setting() {
        let check = |keys: &str| pool_of(&format!("[pool.health]\n{keys}"), "").health.check;
        assert_eq!(check(""), Check::Tcp(Exchange::default()));
        assert_eq!(check("check=\"none\""), Check::None);
        let exchange =
            Exchange { send: b"PING\r\n".to_vec(), expect: Some(Expect::Bytes(b"+PONG".to_vec())) };
        assert_eq!(check("send=\"PING\\r\\n\"\nexpect=\"+PONG\""), Check::Tcp(exchange.clone()));
        assert_eq!(check("send_hex=\"50 49 4e 47 0d0a\"\nexpect_hex=\"2B504F4E47\""), Check::Tcp(exchange));

        let datagrams = Datagrams { send: b"?".to_vec(), expect: Some(Expect::Bytes(b"!".to_vec())) };
        assert_eq!(check("check=\"udp\"\nsend=\"?\"\nexpect_hex=\"21\""), Check::Udp(datagrams.clone()));
        assert_eq!(
            check("check=\"udp\"\nsend_hex=\"3f\""),
            Check::Udp(Datagrams { expect: None, ..datagrams })
        );

        let http = HttpCheck {
            method: "GET".to_owned(),
            path: "/".to_owned(),
            host: None,
            status: vec![(200, 399)],
            body: None,
        };
        assert_eq!(check("check=\"http\""), Check::Http(http.clone()));
        let tls = TlsCheck { name: None, verify: true, authorities: None };
        assert_eq!(check("check=\"https\""), Check::Https(http, tls));
        let http = HttpCheck {
            method: "OPTIONS".to_owned(),
            path: "/up?a=1".to_owned(),
            host: Some("api.example:80".to_owned()),
            status: vec![(200, 299), (404, 404)],
            body: Some(Expect::Regex(regex::bytes::Regex::new("^ok$").unwrap())),
        };
        let tls = TlsCheck {
            name: Some("api.example".to_owned()),
            verify: true,
            authorities: Some("ca.pem".into()),
        };
        let keys = "method=\"OPTIONS\"\npath=\"/up?a=1\"\nhost=\"api.example:80\"\n\
                    status=[\"200-299\",404]\nexpect_regex='^ok$'";
        assert_eq!(check(&format!("check=\"http\"\n{keys}")), Check::Http(http.clone()));
        let keys = format!("check=\"https\"\n{keys}\ntls_name=\"api.example\"\ntls_authorities=\"ca.pem\"");
        assert_eq!(check(&keys), Check::Https(http, tls));
        let command = vec!["/bin/check".to_owned(), String::new(), "-v".to_owned()];
        assert_eq!(check("check=\"command\"\ncommand=[\"/bin/check\",\"\",\"-v\"]"), Check::Command(command));
    }

    #[test]
    fn every_key_of_health_reaches_its_setting() {
        let health = |keys: &str| pool_of(&format!("[pool.health]\n{keys}"), "").health;
        let Health { port, interval, fast_interval, down_interval, jitter, initial_state, .. } = health("");
        assert_eq!((port, jitter, initial_state), (None, 0, InitialState::Up));
        assert_eq!([interval, fast_interval, down_interval], [Duration::from_secs(2); 3]);
        let health = health(
            "port=65535\ninterval=\"10s\"\nfast_interval=\"1s\"\ndown_interval=\"20s\"\njitter=50\n\
             rise=1\nfall=4\ninitial_state=\"fully-down\"\npassive=false",
        );
        assert_eq!((health.port, health.jitter), (Some(65_535), 50));
        let intervals =
            [health.interval, health.fast_interval, health.down_interval].map(|time| time.as_secs());
        assert_eq!(intervals, [10, 1, 20]);
        assert_eq!(health.timeout, Duration::from_millis(500));
        assert_eq!((health.rise.get(), health.fall.get(), health.passive), (1, 4, false));
        assert_eq!(health.initial_state, InitialState::FullyDown);
    }

    #[test]
    fn the_statistic_follows_the_algorithm() {
        let statistic = |keys| pool_of(keys, "").response_time.statistic;
        assert_eq!(statistic("algorithm=\"least-response-time\""), Statistic::P50);
        assert_eq!(statistic("algorithm=\"peak-ewma\""), Statistic::PeakEwma);
        let given = "algorithm=\"least-response-time\"\nresponse_time.statistic=\"peak-ewma\"";
        assert_eq!(statistic(given), Statistic::PeakEwma);
    }

    #[test]
    fn a_time_that_is_not_given_follows_the_one_that_is() {
        let pool = |keys: &str| pool_of(keys, "");
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
        assert_eq!(timeout("health.fast_interval=\"700ms\""), 700);
        assert_eq!(timeout("health.down_interval=\"333ms\"\nhealth.jitter=10"), 299);
        let longest = |keys| pool(keys).ejection.time_max.as_secs();
        assert_eq!(longest("ejection.time=\"1m\""), 300);
        assert_eq!(longest("ejection.time=\"10m\""), 600);
        assert_eq!(longest("ejection.time_max=\"20s\""), 20);
    }
}
