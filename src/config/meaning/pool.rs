//! Meaning of `[[pool]]`: which backends there are and how one of them is chosen.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::Duration;

use super::backend::backends;
use super::ejection::ejection;
use super::health::health;
use super::pool_socket::pool_socket;
use super::proxy_protocol::send_proxy;
use super::response_time::response_time;
use super::shadow::shadow;
use super::source::source;
use super::{Tables, count, owner, tcp_options, time, time_if_given, to_u32, too_many, unique_name};
use crate::config::errors::{Place, Reason, Report};
use crate::config::keys::{self, BACKENDS_MAX, CONNECT_TIMEOUT, CONNECT_TOTAL_TIMEOUT};
use crate::config::read::{Reader, all};
use crate::config::typed::{Table, Value};
use crate::config::types::{Algorithm, Pool, PowerOfTwoBy};
use crate::config::units::format_duration;
use crate::config::values;

pub(super) fn pools(tables: &Tables<'_, '_>, report: &Report) -> Option<Vec<Pool>> {
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
    let shadow = shadow(reader, algorithm);
    let power_of_two_by = power_of_two_by(reader, algorithm, shadow.as_deref());
    let connect_timeouts = connect_timeouts(reader);
    let connect_attempts = reader.get("connect_attempts", values::number);
    let queue_max = count(reader, "queue_max");
    let queue_timeout = time(reader, "queue_timeout");
    let slow_start = reader.get("slow_start", values::duration);
    let panic_threshold = count(reader, "panic_threshold");
    let on_down = reader.get("on_down", values::choice);
    let tcp = tcp_options(reader);
    let inner = |name, section| {
        let (table, place) = reader.table(name, &empty)?;
        Some(Reader::new(section, table, place, owner.to_owned(), report))
    };
    let source = inner("source", &keys::SOURCE).and_then(|reader| source(&reader));
    let response_time =
        inner("response_time", &keys::RESPONSE_TIME).and_then(|reader| response_time(&reader, algorithm));
    let proxy_protocol = send_proxy(reader);
    let sends = proxy_protocol.as_ref().map(|sent| sent.as_ref().map(|sent| sent.version));
    let health = inner("health", &keys::HEALTH).and_then(|reader| health(&reader, sends));
    let ejection = inner("ejection", &keys::EJECTION).and_then(|reader| ejection(&reader));
    let socket = pool_socket(reader);
    let backends = reader.tables("backend").and_then(|tables| backends(reader, &tables, owner, report));
    let (connect_timeout, connect_total_timeout) = connect_timeouts?;
    Some(Pool {
        name: name?,
        algorithm: algorithm?,
        power_of_two_by: power_of_two_by?,
        shadow: shadow?,
        connect_timeout,
        connect_total_timeout,
        connect_attempts: connect_attempts?.and_then(|attempts| NonZeroU32::new(to_u32(attempts))),
        queue_max: to_u32(queue_max?),
        queue_timeout: queue_timeout?,
        slow_start: slow_start?,
        panic_threshold: to_u32(panic_threshold?),
        on_down: on_down?,
        tcp: tcp?,
        source: source?,
        response_time: response_time?,
        health: health?,
        ejection: ejection?,
        proxy_protocol: proxy_protocol?,
        socket: socket?,
        backends: backends?,
    })
}

fn power_of_two_by(
    reader: &Reader<'_, '_>,
    algorithm: Option<Algorithm>,
    shadow: Option<&[Algorithm]>,
) -> Option<PowerOfTwoBy> {
    let name = "power_of_two_by";
    let by = reader.get(name, values::choice);
    let is_another = algorithm.is_some_and(|algorithm| algorithm != Algorithm::PowerOfTwo);
    let is_no_shadow = shadow.is_some_and(|shadow| !shadow.contains(&Algorithm::PowerOfTwo));
    if reader.is_given(name) && is_another && is_no_shadow {
        let words = "nothing is compared by it, because algorithm is not \"power-of-two\"; \
                     set algorithm to \"power-of-two\" or remove it";
        reader.report(&reader.place_of(name), name, Reason::Conflict(words.to_owned()));
    }
    by
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
