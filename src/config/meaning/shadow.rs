//! Meaning of `shadow`: which algorithms choose beside the one that serves.

use std::collections::HashMap;

use crate::config::errors::Reason;
use crate::config::read::{Reader, all};
use crate::config::types::{Algorithm, Choice};
use crate::config::values;

/// `algorithm` is what serves, if that is known.
pub(super) fn shadow(reader: &Reader<'_, '_>, algorithm: Option<Algorithm>) -> Option<Vec<Algorithm>> {
    let name = "shadow";
    if !reader.is_given(name) {
        return Some(Vec::new());
    }
    let shadows = reader.list(name, values::choice::<Algorithm>)?;
    let mut seen = HashMap::new();
    for (shadow, place) in shadows.iter().flatten() {
        let shown = format!("\"{}\"", shadow.word());
        if Some(*shadow) == algorithm {
            let words = format!("{shown} is what serves; name an algorithm to compare it with, or remove it");
            reader.report(place, name, Reason::Conflict(words));
        }
        reader.unique(&mut seen, name, *shadow, shown, place.clone(), "among the shadows of a pool");
    }
    all(shadows.into_iter().map(|shadow| shadow.map(|(shadow, _)| shadow)))
}
