//! `ringway reload`: the file read again, or what that would change.

use hyper::Method;

use super::as_it_came;
use super::columns::{Cell, table, word};
use super::door::Door;
use super::failure::Failure;
use super::form::{Form, Look, Tone};
use super::units::count;
use crate::admin::shapes::{Reload, ReloadChange};

/// The kind of what only a new process takes up.
const AT_RESTART: &str = "at restart";

/// Whether it is only to be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It is done.
    Done,
    /// It is only told what it would change.
    Dry,
}

/// Has the file read again.
///
/// # Errors
///
/// Every mistake in the file; then nothing has changed.
pub fn reload(door: &Door, how: How, form: Form) -> Result<String, Failure> {
    let path = match how {
        How::Done => "/api/v1/reload",
        How::Dry => "/api/v1/reload?dry_run=true",
    };
    let body = door.order_plainly(Method::POST, path)?;
    let Form::Text(look) = form else { return Ok(as_it_came(&body)) };
    Ok(told(&door.understood(&body)?, how, look))
}

fn told(reload: &Reload, how: How, look: Look) -> String {
    let mut text = String::new();
    if !reload.changes.is_empty() {
        let columns = [word("CHANGE"), word("WHAT"), word("HOW")];
        let row = |change: &ReloadChange| {
            vec![kind(&change.kind), Cell::plain(&change.what), Cell::plain(with_sessions(change))]
        };
        text += &table(&columns, &reload.changes.iter().map(row).collect::<Vec<_>>(), look);
        text.push('\n');
    }
    let sum = sum(&reload.changes);
    text += &match how {
        How::Done => format!("configuration {} is in force: {sum}\n", reload.generation),
        How::Dry => format!("the file is right: {sum}; nothing was done\n"),
    };
    text
}

/// What was done, and what a reload cannot do: that comes again each time, until a restart.
fn sum(changes: &[ReloadChange]) -> String {
    let waiting = changes.iter().filter(|change| change.kind == AT_RESTART).count();
    let done = match changes.len() - waiting {
        0 => "nothing changes".to_owned(),
        number => count(number as u64, "change"),
    };
    match waiting {
        0 => done,
        1 => format!("{done}, 1 waits for a restart"),
        number => format!("{done}, {number} wait for a restart"),
    }
}

fn kind(kind: &str) -> Cell {
    let tone = match kind {
        "added" => Tone::Good,
        "removed" => Tone::Bad,
        AT_RESTART => Tone::Odd,
        _ => Tone::Plain,
    };
    Cell::new(kind, tone)
}

fn with_sessions(change: &ReloadChange) -> String {
    match change.sessions {
        Some(sessions) if sessions > 0 => format!("{}; {}", change.how, count(sessions, "session")),
        _ => change.how.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_has_a_line_for_each_change() {
        let change = |kind: &str, what: &str, how: &str, sessions| ReloadChange {
            kind: kind.into(),
            what: what.into(),
            how: how.into(),
            sessions,
        };
        let reload = Reload {
            generation: 4,
            changes: vec![
                change("at restart", "server", "workers: 2 -> 4", None),
                change("removed", "pool web, backend b", "at 10.0.0.2:8080", Some(7)),
            ],
        };
        let expected = "\
CHANGE      WHAT                 HOW
at restart  server               workers: 2 -> 4
removed     pool web, backend b  at 10.0.0.2:8080; 7 sessions

configuration 4 is in force: 1 change, 1 waits for a restart
";
        assert_eq!(told(&reload, How::Done, Look::default()), expected);
        let dry = told(&reload, How::Dry, Look::default());
        assert!(
            dry.ends_with("\nthe file is right: 1 change, 1 waits for a restart; nothing was done\n"),
            "{dry}"
        );
        let waiting = [change("at restart", "server", "workers: 2 -> 4", None), reload.changes[0].clone()];
        assert_eq!(sum(&waiting), "nothing changes, 2 wait for a restart");
        let nothing = Reload { generation: 3, changes: Vec::new() };
        assert_eq!(
            told(&nothing, How::Dry, Look::default()),
            "the file is right: nothing changes; nothing was done\n"
        );
    }
}
