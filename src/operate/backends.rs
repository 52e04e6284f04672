//! `ringway backends`: a line for each backend.

use super::as_it_came;
use super::columns::{Cell, Column, number, table, word, words};
use super::door::{Door, part};
use super::failure::Failure;
use super::form::{Form, Look, Tone};
use super::units::{age, micros};
use crate::admin::shapes::{Backend, Pool};

/// Which backends.
#[derive(Debug, Clone, Default)]
pub struct Which {
    /// Of this pool.
    pub pool: Option<String>,
    /// That are not up, or not wanted.
    pub troubled: bool,
}

/// The backends there.
///
/// # Errors
///
/// Nobody answers, or there is no such pool.
pub fn backends(door: &Door, which: &Which, form: Form) -> Result<String, Failure> {
    let path = match &which.pool {
        None => "/api/v1/pools".to_owned(),
        Some(pool) => format!("/api/v1/pools/{}", part(pool)),
    };
    let body = door.get(&path)?;
    let mut pools: Vec<Pool> = match which.pool {
        _ if form == Form::Json && !which.troubled => return Ok(as_it_came(&body)),
        None => door.understood(&body)?,
        Some(_) => vec![door.understood(&body)?],
    };
    if which.troubled {
        pools.iter_mut().for_each(|pool| pool.backends.retain(|backend| !is_fine(backend)));
        pools.retain(|pool| !pool.backends.is_empty());
    }
    match form {
        Form::Json => {
            Ok(as_it_came(&serde_json::to_vec(&pools).map_err(|error| Failure::Output(error.to_string()))?))
        }
        Form::Text(_) if pools.is_empty() => Ok("every backend is up and wanted\n".into()),
        Form::Text(look) => Ok(listed(&pools, look)),
    }
}

fn listed(pools: &[Pool], look: Look) -> String {
    let mut columns = vec![words("POOL", 8).rank(5), words("BACKEND", 21)];
    // Unless it is given, the name of a backend is its address.
    let with_address =
        pools.iter().flat_map(|pool| &pool.backends).any(|backend| backend.name != backend.address);
    if with_address {
        columns.push(words("ADDRESS", 21).rank(7));
    }
    let rest: [Column; 9] = [
        word("STATE"),
        number("SINCE").rank(2),
        number("WEIGHT").rank(3),
        number("SESSIONS"),
        number("TOTAL").rank(4),
        number("FAILED").rank(1),
        number("TIME").rank(6),
        number("P99").rank(8),
        words("REASON", 20).rank(9),
    ];
    columns.extend(rest);
    let row = |pool: &Pool, backend: &Backend| {
        let mut row = vec![Cell::plain(&pool.name), Cell::plain(&backend.name)];
        if with_address {
            row.push(Cell::plain(&backend.address));
        }
        let failed = backend.connect_failures + backend.unanswered;
        row.extend([
            state(backend),
            Cell::plain(age(backend.since_seconds)),
            Cell::plain(weight(backend)),
            Cell::plain(sessions(backend)),
            Cell::plain(backend.connected),
            Cell::new(failed, if failed > 0 { Tone::Odd } else { Tone::Plain }),
            Cell::plain(micros(backend.response_time_us)),
            Cell::plain(micros(backend.p99_us)),
            Cell::new(&backend.reason, Tone::Quiet),
        ]);
        row
    };
    let rows: Vec<Vec<Cell>> =
        pools.iter().flat_map(|pool| pool.backends.iter().map(move |backend| row(pool, backend))).collect();
    table(&columns, &rows, look)
}

/// Whether it serves, and is meant to.
pub(super) fn is_fine(backend: &Backend) -> bool {
    backend.state == "up" && backend.mode == "ready"
}

/// What an operator wants goes before what checks say; both are told where they differ.
pub(super) fn state(backend: &Backend) -> Cell {
    let (mode, state) = (backend.mode.as_str(), backend.state.as_str());
    let (words, tone) = match (mode, state) {
        ("ready", "up") => ("up".to_owned(), Tone::Good),
        ("ready", "down") => ("down".to_owned(), Tone::Bad),
        ("ready", other) => (other.to_owned(), Tone::Odd),
        ("maintenance", _) | (_, "up") => (mode.to_owned(), Tone::Odd),
        _ => (format!("{mode}, {state}"), Tone::Odd),
    };
    Cell::new(if backend.backup { words + ", backup" } else { words }, tone)
}

/// With the part of it that holds while the backend comes back.
pub(super) fn weight(backend: &Backend) -> String {
    match backend.ramp_percent {
        100 => backend.weight.to_string(),
        percent => format!("{percent}% of {}", backend.weight),
    }
}

/// With the most that it takes.
pub(super) fn sessions(backend: &Backend) -> String {
    match backend.max_connections {
        None => backend.active.to_string(),
        Some(max) => format!("{}/{max}", backend.active),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn every_backend_has_a_line() {
        let mut web = sample::pool("web", &["a", "standby", "c"]);
        web.backends[1].backup = true;
        web.backends[1].ramp_percent = 30;
        web.backends[1].max_connections = Some(50);
        web.backends[2].state = "down".into();
        web.backends[2].mode = "drain".into();
        web.backends[2].backup = true;
        web.backends[2].reason = "Connection refused".into();
        web.backends[2].response_time_us = None;
        let shown = listed(&[web], Look::default());
        let expected = "\
POOL  BACKEND  ADDRESS        STATE                SINCE    WEIGHT  SESSIONS  TOTAL  FAILED    TIME     P99  REASON
web   a        10.0.0.1:8080  up                     75s         1         3    100       2  1.23ms  9.88ms  3 checks passed
web   standby  10.0.0.1:8080  up, backup             75s  30% of 1      3/50    100       2  1.23ms  9.88ms  3 checks passed
web   c        10.0.0.1:8080  drain, down, backup    75s         1         3    100       2       -  9.88ms  Connection refused
";
        assert_eq!(shown, expected);
    }

    #[test]
    fn who_is_called_by_its_address_has_it_once() {
        let mut web = sample::pool("web", &["10.0.0.1:8080"]);
        web.backends[0].reason = String::new();
        let expected = "\
POOL  BACKEND        STATE  SINCE  WEIGHT  SESSIONS  TOTAL  FAILED    TIME     P99  REASON
web   10.0.0.1:8080  up       75s       1         3    100       2  1.23ms  9.88ms
";
        assert_eq!(listed(&[web], Look::default()), expected);
    }
}
