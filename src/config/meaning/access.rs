//! Meaning of `[listener.access]`: who may connect, by address.

use std::path::PathBuf;

use crate::config::errors::Place;
use crate::config::keys;
use crate::config::needs::Needed;
use crate::config::read::Reader;
use crate::config::typed::Table;
use crate::config::types::Access;
use crate::config::values::{self, Outcome};

pub(super) fn access(
    outer: &Reader<'_, '_>,
    owner: &str,
    (table, place): (&Table<'_>, Place),
) -> Option<Access> {
    let reader = outer.inner(&keys::ACCESS, table, place, owner);
    let default = reader.get("default", values::choice);
    let refuse = reader.get("refuse", values::choice);
    let [allow, deny] = ["allow", "deny"].map(|name| list(&reader, name, values::network));
    let [allow_files, deny_files] = ["allow_files", "deny_files"].map(|name| files(&reader, name));
    Some(Access {
        default: default?,
        allow: allow?,
        deny: deny?,
        allow_files: allow_files?,
        deny_files: deny_files?,
        refuse: refuse?,
    })
}

fn files(reader: &Reader<'_, '_>, name: &str) -> Option<Vec<PathBuf>> {
    if !reader.is_given(name) {
        return Some(Vec::new());
    }
    let found = reader.list(name, values::file)?;
    for (path, place) in found.iter().flatten() {
        reader.need(place.clone(), name, Needed::Networks(path.clone()));
    }
    found.into_iter().map(|one| one.map(|(path, _)| path)).collect()
}

/// None of them if it is not given.
fn list<T>(
    reader: &Reader<'_, '_>,
    name: &str,
    parse: fn(&keys::Key, &crate::config::typed::Node<'_>) -> Outcome<T>,
) -> Option<Vec<T>> {
    if !reader.is_given(name) {
        return Some(Vec::new());
    }
    let found = reader.list(name, parse)?;
    found.into_iter().map(|one| one.map(|(value, _)| value)).collect()
}
