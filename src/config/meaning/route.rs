//! Meaning of `[listener.tls]` and `[[listener.route]]`: who goes to another pool than that of the listener.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::Hash;

use super::listener::PoolNames;
use super::{owner, time};
use crate::config::errors::{Place, Reason, Report};
use crate::config::keys::{self, ROUTES_MAX};
use crate::config::read::{Reader, all};
use crate::config::typed::Table;
use crate::config::types::{Route, ServerName, Tls};
use crate::config::values;

pub(super) fn tls(listener: &Reader<'_, '_>, table: &Table<'_>, report: &Report) -> Option<Tls> {
    let empty = Table::new();
    let (inner, place) = listener.table("tls", &empty)?;
    let reader = Reader::new(&keys::TLS, inner, place, owner("listener", table), report);
    let hello_timeout = time(&reader, "hello_timeout");
    let hello_bytes_max = reader.get("hello_bytes_max", values::size);
    let unmatched = reader.get("unmatched", values::choice);
    let no_hello = reader.get("no_hello", values::choice);
    if listener.is_given("tls") && !listener.is_given("route") {
        let words = "nobody's hello is looked at, because the listener has no route; add a [[listener.route]] or remove this";
        listener.report(&listener.place_of("tls"), "tls", Reason::Conflict(words.to_owned()));
    }
    Some(Tls {
        hello_timeout: hello_timeout?,
        hello_bytes_max: usize::try_from(hello_bytes_max?).unwrap_or(usize::MAX),
        unmatched: unmatched?,
        no_hello: no_hello?,
    })
}

pub(super) fn routes(
    listener: &Reader<'_, '_>,
    table: &Table<'_>,
    pools: Option<&PoolNames>,
    report: &Report,
) -> Option<Vec<Route>> {
    let tables = listener.tables("route")?;
    if tables.len() > ROUTES_MAX {
        let reason = Reason::TooMany { what: "routes in one listener", count: tables.len(), max: ROUTES_MAX };
        listener.report(&listener.place_of("route"), "route", reason);
        return None;
    }
    let mut seen = HashMap::new();
    all(tables.iter().map(|(inner, place)| {
        let reader = Reader::new(&keys::ROUTE, inner, place.clone(), owner("listener", table), report);
        route(&reader, pools, &mut seen)
    }))
}

/// What a route asks for: no two may ask for the same.
type Asked = (Option<ServerName>, Option<Box<str>>);

fn route(
    reader: &Reader<'_, '_>,
    pools: Option<&PoolNames>,
    seen: &mut HashMap<Asked, Place>,
) -> Option<Route> {
    let server_names = list(reader, "server_name", values::server_name);
    let alpn = list(reader, "alpn", values::protocol);
    let pool_name = reader.get("pool", values::pool_name);
    let pool = pools.and_then(|pools| pools.find(reader, &pool_name?));
    let (server_names, alpn) = (server_names?, alpn?);
    if server_names.is_empty() && alpn.is_empty() {
        let words = "the route asks for nothing, so that it would be for everybody; give server_name or alpn, or let the \
                     listener's own pool serve them";
        reader.report(&reader.place_of("pool"), "pool", Reason::Conflict(words.to_owned()));
        return None;
    }
    for name in each_or_any(&server_names) {
        for protocol in each_or_any(&alpn) {
            let (key, shown) = match (&name, &protocol) {
                (Some(name), None) => ("server_name", format!("\"{name}\"")),
                (Some(name), Some(protocol)) => ("server_name", format!("\"{name}\" with \"{protocol}\"")),
                (None, protocol) => ("alpn", format!("\"{}\"", protocol.as_deref().unwrap_or_default())),
            };
            let asked = (name.clone(), protocol);
            reader.unique(seen, key, asked, shown, reader.place_of(key), "among the routes of a listener");
        }
    }
    Some(Route { server_names, alpn, pool: pool? })
}

/// Each of them, or once `None`.
fn each_or_any<T: Clone>(asked: &[T]) -> impl Iterator<Item = Option<T>> {
    asked.iter().cloned().map(Some).chain(asked.is_empty().then_some(None))
}

/// The values of a list, each once; none if it is not given.
fn list<T: Clone + Eq + Hash + fmt::Display>(
    reader: &Reader<'_, '_>,
    name: &str,
    parse: fn(&keys::Key, &crate::config::typed::Node<'_>) -> Result<T, Reason>,
) -> Option<Vec<T>> {
    if !reader.is_given(name) {
        return Some(Vec::new());
    }
    let found = reader.list(name, parse)?;
    let mut seen = HashMap::new();
    for (value, place) in found.iter().flatten() {
        reader.unique(&mut seen, name, value.clone(), format!("\"{value}\""), place.clone(), "in one route");
    }
    let mut kept = all(found.into_iter().map(|found| found.map(|(value, _)| value)))?;
    // Told already: what follows is not to tell it once more for each that it stands beside.
    let mut seen = HashSet::new();
    kept.retain(|value| seen.insert(value.clone()));
    Some(kept)
}
