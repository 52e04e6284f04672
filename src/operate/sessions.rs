//! `ringway sessions`: a line for each session that is running.

use super::as_it_came;
use super::columns::{Cell, number, table, word, words};
use super::door::{Door, part};
use super::failure::Failure;
use super::form::{Form, Look, Tone};
use super::target::parts;
use super::units::{age, bytes};
use crate::admin::shapes::Session;

/// Which sessions.
#[derive(Debug, Clone)]
pub struct Which {
    /// So many at most.
    pub limit: u32,
    /// Of this pool.
    pub pool: Option<String>,
    /// On this backend.
    pub backend: Option<String>,
}

/// The sessions there, the oldest first.
///
/// # Errors
///
/// Nobody answers, or there is no such pool or backend.
pub fn sessions(door: &Door, which: &Which, form: Form) -> Result<String, Failure> {
    let mut path = format!("/api/v1/sessions?limit={}", which.limit);
    let (pool, backend) = names(which)?;
    for (key, value) in [("pool", pool), ("backend", backend)] {
        if let Some(value) = value {
            path += &format!("&{key}={}", part(value));
        }
    }
    let body = door.get(&path)?;
    let Form::Text(look) = form else { return Ok(as_it_came(&body)) };
    let sessions: Vec<Session> = door.understood(&body)?;
    let mut text = listed(&sessions, look);
    if sessions.len() == which.limit as usize {
        text += &Tone::Quiet.paint(&format!("the oldest {}; --limit shows more\n", which.limit), look);
    }
    Ok(text)
}

/// A backend may be given with its pool.
fn names(which: &Which) -> Result<(Option<&str>, Option<&str>), Failure> {
    let pool = which.pool.as_deref();
    let Some(typed) = which.backend.as_deref() else { return Ok((pool, None)) };
    let Some((of, backend)) = parts(typed)? else { return Ok((pool, Some(typed))) };
    match pool {
        Some(pool) if pool != of => Err(Failure::Wrong(format!(
            "--pool {pool} and --backend {typed} are of two pools; give one of them"
        ))),
        _ => Ok((Some(of), Some(backend))),
    }
}

fn listed(sessions: &[Session], look: Look) -> String {
    if sessions.is_empty() {
        return "no sessions\n".into();
    }
    let columns = [
        word("ID"),
        words("LISTENER", 8).rank(7),
        words("CLIENT", 21),
        words("POOL", 8).rank(6),
        words("BACKEND", 21),
        word("STAGE").rank(3),
        number("AGE").rank(1),
        number("IDLE").rank(2),
        number("TO BACKEND").rank(5),
        number("TO CLIENT").rank(4),
    ];
    let row = |session: &Session| {
        vec![
            Cell::plain(&session.id),
            Cell::plain(&session.listener),
            Cell::plain(session.client.as_deref().unwrap_or("-")),
            Cell::plain(&session.pool),
            Cell::plain(session.backend.as_deref().unwrap_or("-")),
            stage(&session.stage),
            Cell::plain(age(session.age_seconds)),
            Cell::plain(age(session.idle_seconds)),
            Cell::plain(bytes(session.bytes_to_backend)),
            Cell::plain(bytes(session.bytes_to_client)),
        ]
    };
    table(&columns, &sessions.iter().map(row).collect::<Vec<_>>(), look)
}

fn stage(stage: &str) -> Cell {
    let tone = match stage {
        "relaying" => Tone::Good,
        "queued" => Tone::Odd,
        _ => Tone::Plain,
    };
    Cell::new(stage, tone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_may_be_given_with_its_pool() {
        let which = |pool: Option<&str>, backend: Option<&str>| Which {
            limit: 1,
            pool: pool.map(str::to_owned),
            backend: backend.map(str::to_owned),
        };
        assert_eq!(names(&which(None, Some("web/a"))).unwrap(), (Some("web"), Some("a")));
        assert_eq!(names(&which(Some("web"), Some("web/a"))).unwrap(), (Some("web"), Some("a")));
        assert_eq!(names(&which(Some("web"), Some("a"))).unwrap(), (Some("web"), Some("a")));
        assert_eq!(names(&which(None, Some("a"))).unwrap(), (None, Some("a")));
        for (pool, backend) in [(Some("db"), "web/a"), (None, "/a"), (None, "web/")] {
            assert_eq!(names(&which(pool, Some(backend))).unwrap_err().exit_status(), 2, "{backend}");
        }
    }

    #[test]
    fn every_session_has_a_line() {
        let session: Session = serde_json::from_value(serde_json::json!({
            "id": "0-17", "worker": 0, "listener": "web", "client": "192.0.2.7:51234", "pool": "web", "backend": null,
            "stage": "queued", "age_seconds": 12.9, "bytes_to_backend": 0, "bytes_to_client": 20_480, "idle_seconds": 3.0
        }))
        .unwrap();
        let expected = "\
ID    LISTENER  CLIENT           POOL  BACKEND  STAGE   AGE  IDLE  TO BACKEND  TO CLIENT
0-17  web       192.0.2.7:51234  web   -        queued  12s    3s         0 B     20 KiB
";
        assert_eq!(listed(&[session], Look::default()), expected);
        assert_eq!(listed(&[], Look::default()), "no sessions\n");
    }
}
