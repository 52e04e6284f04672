//! `ringway changes`: what has become of backends lately, and what operators did.

use super::as_it_came;
use super::columns::{Cell, table, word, words};
use super::door::Door;
use super::failure::Failure;
use super::form::{Form, Look, Tone};
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
        word("TIME"),
        words("WHAT", 12),
        words("FROM", 8),
        words("TO", 8),
        words("WHO", 8),
        words("REASON", 8),
    ];
    let row = |change: &Change| {
        vec![
            Cell::new(&change.time, Tone::Quiet),
            Cell::plain(&change.what),
            Cell::plain(&change.from),
            Cell::plain(&change.to),
            Cell::plain(&change.who),
            Cell::new(&change.reason, Tone::Quiet),
        ]
    };
    table(&columns, &changes.iter().map(row).collect::<Vec<_>>(), look)
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
}
