//! Meaning of `[pool.source]`: where connections to backends come from.

use std::collections::HashSet;
use std::net::IpAddr;

use crate::config::errors::Reason;
use crate::config::keys::SOURCES_MAX;
use crate::config::read::Reader;
use crate::config::types::Source;
use crate::config::values;

pub(super) fn source(reader: &Reader<'_, '_>) -> Option<Source> {
    let addresses = addresses(reader);
    let ports = reader.get_if_given("ports", values::port_range);
    let transparent = reader.get("transparent", values::switch);
    if transparent == Some(true) && reader.is_given("addresses") {
        let words = "sessions cannot come both from their client's address and from those of addresses; remove one of the two";
        reader.report(&reader.place_of("transparent"), "transparent", Reason::Conflict(words.to_owned()));
    }
    Some(Source { addresses: addresses?, ports: ports?, transparent: transparent? })
}

/// Those of a network one by one; what is in two of them counts once.
fn addresses(reader: &Reader<'_, '_>) -> Option<Vec<IpAddr>> {
    if !reader.is_given("addresses") {
        return Some(Vec::new());
    }
    let found = reader.list("addresses", values::hosts)?;
    let mut seen = HashSet::new();
    let mut addresses = Vec::new();
    for one in found {
        let (of_network, _) = one?;
        addresses.extend(of_network.into_iter().filter(|address| seen.insert(*address)));
    }
    if addresses.len() > SOURCES_MAX {
        let what = "addresses in one pool.source";
        let reason = Reason::TooMany { what, count: addresses.len(), max: SOURCES_MAX };
        reader.report(&reader.place_of("addresses"), "addresses", reason);
        return None;
    }
    Some(addresses)
}
