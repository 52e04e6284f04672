//! Meaning of `[[pool.backend]]`: one server.

use std::collections::HashMap;
use std::num::NonZeroU32;

use super::{Tables, count, to_u32};
use crate::config::errors::{Place, Reason, Report};
use crate::config::keys;
use crate::config::read::{Reader, all};
use crate::config::types::{Address, Backend};
use crate::config::values;

pub(super) fn backends(
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
    let backends = all(tables.iter().map(|(table, place)| {
        let reader = Reader::new(&keys::BACKEND, table, place.clone(), owner.to_owned(), report);
        backend(&reader, &mut addresses, &mut names)
    }))?;
    // Backups of nobody: allowed, the word would mean nothing, and shares of the pool would be shares of none.
    if !backends.is_empty() && backends.iter().all(|backend| backend.backup) {
        let words = "every backend of the pool is a backup, and none is left to stand in for; \
                     remove backup from those that are to serve first";
        pool.report(&pool.place_of("backend"), "backend", Reason::Conflict(words.to_owned()));
    }
    Some(backends)
}

fn backend(
    reader: &Reader<'_, '_>,
    addresses: &mut HashMap<Address, Place>,
    names: &mut HashMap<String, Place>,
) -> Option<Backend> {
    let address: Option<Address> = reader.get("address", values::place);
    let weight = count(reader, "weight");
    let name = reader.get_if_given("name", values::name);
    let backup = reader.get("backup", values::switch);
    let max_connections = reader.get("max_connections", values::number);
    let check_address = reader.get_if_given("check_address", values::place);
    refuse_port_zero(reader, "check_address", check_address.flatten());
    refuse_port_zero(reader, "address", address);
    let address = address?;
    let place = reader.place_of("address");
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
    Some(Backend {
        name,
        address,
        weight: NonZeroU32::new(to_u32(weight?))?,
        backup: backup?,
        max_connections: max_connections?.and_then(|max| NonZeroU32::new(to_u32(max))),
        check_address: check_address?,
    })
}

fn refuse_port_zero(reader: &Reader<'_, '_>, name: &str, address: Option<Address>) {
    if let Some(address) = address.filter(|address| address.is_any_port()) {
        let words =
            format!("\"{address}\" has the port 0, which no server has; give the port that it listens on");
        reader.report(&reader.place_of(name), name, Reason::Conflict(words));
    }
}
