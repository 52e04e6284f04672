//! `ringway changes`: what has become of backends lately, and what operators did.

use super::as_it_came;
use super::columns::{Cell, fit, table, whole, word, words};
use super::door::Door;
use super::failure::Failure;
use super::form::{Form, Look, Tone};
use super::units::without_number;
use crate::admin::shapes::Change;

/// The newest changes there, the newest last.
///
/// # Errors
///
/// Nobody answers.
pub fn changes(door: &Door, limit: u32, form: Form) -> Result<String, Failure> {
    let body = door.get(&format!("/api/v1/changes?limit={limit}"))?;
    let Form::Text(look) = form else { return Ok(as_it_came(&body)) };
    let mut changes: Vec<Change> = door.understood(&body)?;
    changes.reverse();
    Ok(listed(&changes, look))
}

fn listed(changes: &[Change], look: Look) -> String {
    if changes.is_empty() {
        return "no changes yet\n".into();
    }
    let columns = [
        word("TIME").rank(1),
        words("WHAT", 20),
        word("FROM").rank(3),
        word("TO"),
        word("WHO").rank(2),
        whole("REASON"),
    ];
    let rows = |is_short: bool| -> Vec<Vec<Cell>> {
        let row = |change: &Change| {
            let Change { time, what, reason, .. } = change;
            let (time, what, reason) = match is_short {
                false => (time.as_str(), what.clone(), reason.as_str()),
                true => (short_time(time), short_name(what), without_number(reason)),
            };
            vec![
                Cell::new(time, Tone::Quiet),
                Cell::plain(what),
                Cell::plain(&change.from),
                Cell::plain(&change.to),
                Cell::plain(&change.who),
                Cell::new(reason, Tone::Quiet),
            ]
        };
        changes.iter().map(row).collect()
    };
    let long = rows(false);
    // Where not all of it has room the short ways to say the same come first, and only then is something left out.
    match fit(&columns, &long, look.width) == fit(&columns, &long, None) {
        true => table(&columns, &long, look),
        false => table(&columns, &rows(true), look),
    }
}

/// Without the year and the parts of a second: of the last changes those tell nothing.
fn short_time(time: &str) -> &str {
    time.get("2026-".len().."2026-11-26T09:12:03".len()).unwrap_or(time)
}

/// A backend as commands take it.
fn short_name(what: &str) -> String {
    let names = what.strip_prefix("pool ").and_then(|names| names.split_once(", backend "));
    names.map_or_else(|| what.to_owned(), |(pool, backend)| format!("{pool}/{backend}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_has_a_line() {
        let change: Change = serde_json::from_value(serde_json::json!({
            "time": "2026-11-26T09:12:03Z", "what": "pool web, backend a", "from": "up", "to": "down",
            "reason": "Connection refused", "who": "health"
        }))
        .unwrap();
        let expected = "\
TIME                  WHAT                 FROM  TO    WHO     REASON
2026-11-26T09:12:03Z  pool web, backend a  up    down  health  Connection refused
";
        assert_eq!(listed(&[change], Look::default()), expected);
    }

    #[test]
    fn in_a_narrow_terminal_the_least_important_goes_and_the_reason_stays() {
        let change: Change = serde_json::from_value(serde_json::json!({
            "time": "2026-11-26T09:12:03.123Z", "what": "pool a-pool-with-a-long-name-for-payments, backend 127.0.0.1:8094",
            "from": "up", "to": "down", "who": "health",
            "reason": "check failed: Connection refused (os error 111)"
        }))
        .unwrap();
        let shown = |width| listed(std::slice::from_ref(&change), Look { colour: false, width: Some(width) });
        let expected = "\
TIME            WHAT                      TO    REASON
11-26T09:12:03  a-pool…ts/127.0.0.1:8094  down  check failed: Connection refused
";
        assert_eq!(shown(80), expected);
        assert!(
            shown(200).contains("pool a-pool-with-a-long-name-for-payments, backend 127.0.0.1:8094  up  ")
        );
        for width in [40, 60, 80, 100] {
            let shown = shown(width);
            assert!(shown.lines().all(|line| line.chars().count() <= width), "{shown}");
        }
        assert!(shown(40).contains("127.0.0.1:8094"), "{}", shown(40));
    }
}
