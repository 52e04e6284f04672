//! Meaning of `[listener.bandwidth]`: how fast each session may be.

use crate::config::errors::{Place, Reason};
use crate::config::keys;
use crate::config::read::Reader;
use crate::config::typed::Table;
use crate::config::types::{Bandwidth, Pace};
use crate::config::values;

/// A burst that nobody has chosen has room for a buffer, or a slow session would be carried in crumbs.
const BURST_MIN: u64 = 16 * 1024;
/// And for so many parts of a second.
const BURST_PARTS: u64 = 10;

pub(super) fn bandwidth(
    outer: &Reader<'_, '_>,
    owner: &str,
    (table, place): (&Table<'_>, Place),
) -> Option<Bandwidth> {
    let reader = outer.inner(&keys::BANDWIDTH, table, place, owner);
    let to_backend = pace(&reader, "to_backend", "to_backend_burst");
    let to_client = pace(&reader, "to_client", "to_client_burst");
    Some(Bandwidth { to_backend: to_backend?, to_client: to_client? })
}

fn pace(reader: &Reader<'_, '_>, name: &str, burst_name: &str) -> Option<Option<Pace>> {
    let rate = reader.get(name, values::size_or_off);
    let burst = reader.get_if_given(burst_name, values::size)?;
    let Some(rate) = rate? else {
        if burst.is_some() {
            let words = format!("it is never used, because {name} is off; set {name} or remove it");
            reader.report(&reader.place_of(burst_name), burst_name, Reason::Conflict(words));
        }
        return Some(None);
    };
    // The largest burst that may be typed is the largest that is made.
    let burst = burst.unwrap_or((rate / BURST_PARTS).clamp(BURST_MIN, 1 << 30));
    Some(Some(Pace { rate, burst }))
}
