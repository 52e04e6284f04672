//! Orders: what is done to backends, pools and sessions, and the lines that say it was done.

use std::thread;
use std::time::{Duration, Instant};

use hyper::Method;

use super::as_it_came;
use super::backends::{self, weight};
use super::door::{Door, part};
use super::failure::Failure;
use super::form::Form;
use super::target::Target;
use super::units::count;
use crate::admin::shapes::{Backend, BackendPatch, Mode, NewBackend, Pool, PoolPatch};
use crate::session_id::SessionId;

/// Between two looks while it waits.
const LOOK: Duration = Duration::from_millis(200);

/// Sets the mode of backends, one after the other. With a time to wait it goes on until the last session of those that
/// drain has ended.
///
/// # Errors
///
/// The first one that is refused; those before it are done, and their lines are said.
pub fn set_mode(
    door: &Door,
    backends: &[String],
    mode: Mode,
    wait: Option<Duration>,
    form: Form,
    say: &mut dyn FnMut(&str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    // All are looked up before anything is done: a slip in the third does not leave two drained.
    let targets: Vec<Target> =
        backends.iter().map(|typed| Target::find(door, typed)).collect::<Result<_, _>>()?;
    for target in &targets {
        door.get(&format!("/api/v1/pools/{}", part(&target.pool))).and_then(|body| {
            let pool: Pool = door.understood(&body)?;
            let is_there = pool.backends.iter().any(|backend| backend.name == target.backend);
            is_there.then_some(()).ok_or_else(|| missing(&pool, target))
        })?;
    }
    for target in &targets {
        let patch = BackendPatch { mode: Some(mode), weight: None };
        say(&changed(door, target, &patch, form)?)?;
    }
    let Some(wait) = wait else { return Ok(()) };
    let deadline = Instant::now() + wait;
    for target in &targets {
        await_empty(door, target, wait, deadline)?;
        if form != Form::Json {
            say(&format!("{}: no sessions\n", target.shown()))?;
        }
    }
    Ok(())
}

/// Gives a backend another share.
///
/// # Errors
///
/// There is no such backend, or the weight is out of bounds.
pub fn set_weight(door: &Door, backend: &str, weight: u32, form: Form) -> Result<String, Failure> {
    let patch = BackendPatch { mode: None, weight: Some(weight) };
    changed(door, &Target::find(door, backend)?, &patch, form)
}

/// Has a pool choose in another way.
///
/// # Errors
///
/// There is no such pool, or no such algorithm.
pub fn set_algorithm(door: &Door, pool: &str, algorithm: &str, form: Form) -> Result<String, Failure> {
    let patch = PoolPatch { algorithm: algorithm.to_owned() };
    let body = door.order(Method::PATCH, &format!("/api/v1/pools/{}", part(pool)), &patch)?;
    let Form::Text(_) = form else { return Ok(as_it_came(&body)) };
    let pool: Pool = door.understood(&body)?;
    Ok(format!("{}: {} until the file is read again\n", pool.name, pool.algorithm))
}

/// Ends sessions, one after the other. One that is not there does not keep the others alive: sessions end by themselves
/// between the list and this.
///
/// # Errors
///
/// What is no id, before any is ended; or, at the end, those that were not there.
pub fn kill(
    door: &Door,
    ids: &[String],
    form: Form,
    say: &mut dyn FnMut(&str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if let Some(wrong) = ids.iter().find(|id| id.parse::<SessionId>().is_err()) {
        return Err(Failure::Wrong(format!(
            "{wrong:?} is no session: an id is worker and number, such as 0-17; `ringway sessions` lists those that run"
        )));
    }
    let mut missing = Vec::new();
    for id in ids {
        let body = match door.order_plainly(Method::DELETE, &format!("/api/v1/sessions/{}", part(id))) {
            Ok(body) => body,
            Err(Failure::Refused(problem)) if problem.status == 404 && ids.len() > 1 => {
                missing.push(id.as_str());
                continue;
            }
            Err(failure) => return Err(failure),
        };
        say(&match form {
            Form::Json => as_it_came(&body),
            Form::Text(_) => format!("session {id}: ended\n"),
        })?;
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::NotFound(format!(
        "{} of {} have ended before, or never were: {}; `ringway sessions` lists those that run",
        missing.len(),
        count(ids.len() as u64, "session"),
        missing.join(", ")
    )))
}

/// Adds a backend to a pool.
///
/// # Errors
///
/// There is no such pool, or it cannot have this backend.
pub fn add_backend(door: &Door, pool: &str, new: &NewBackend, form: Form) -> Result<String, Failure> {
    let body = door.order(Method::POST, &format!("/api/v1/pools/{}/backends", part(pool)), new)?;
    let Form::Text(_) = form else { return Ok(as_it_came(&body)) };
    let backend: Backend = door.understood(&body)?;
    Ok(format!(
        "{pool}/{}: added at {}, {}, until the file is read again\n",
        backend.name, backend.address, backend.state
    ))
}

/// Removes a backend from its pool.
///
/// # Errors
///
/// There is no such backend, or its pool cannot be without it.
pub fn remove_backend(door: &Door, backend: &str, form: Form) -> Result<String, Failure> {
    let target = Target::find(door, backend)?;
    let body = door.order_plainly(Method::DELETE, &target.path())?;
    let Form::Text(_) = form else { return Ok(as_it_came(&body)) };
    Ok(format!("{}: removed until the file is read again; its sessions may go on\n", target.shown()))
}

fn changed(door: &Door, target: &Target, patch: &BackendPatch, form: Form) -> Result<String, Failure> {
    let body = door.order(Method::PATCH, &target.path(), patch)?;
    match form {
        Form::Json => Ok(as_it_came(&body)),
        Form::Text(_) => Ok(line(target, &door.understood(&body)?)),
    }
}

/// How a backend is after it was changed.
pub(super) fn line(target: &Target, backend: &Backend) -> String {
    format!(
        "{}: {}, weight {}, {}\n",
        target.shown(),
        backends::state(backend).text,
        weight(backend),
        count(backend.active, "session")
    )
}

fn missing(pool: &Pool, target: &Target) -> Failure {
    let names: Vec<&str> = pool.backends.iter().take(20).map(|backend| backend.name.as_str()).collect();
    Failure::NotFound(format!(
        "pool {} has no backend {:?}; it has {}",
        pool.name,
        target.backend,
        names.join(", ")
    ))
}

fn await_empty(door: &Door, target: &Target, wait: Duration, deadline: Instant) -> Result<(), Failure> {
    let path = format!("/api/v1/pools/{}", part(&target.pool));
    loop {
        let pool: Pool = door.read(&path)?;
        // One that is gone meanwhile has no sessions to wait for.
        let active = pool.backends.iter().find(|one| one.name == target.backend).map_or(0, |one| one.active);
        if active == 0 {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(Failure::Late(format!(
                "{0}: {1} after {wait:?}; it still drains: wait longer, see `ringway sessions --backend {0}`, or end them with `ringway kill`",
                target.shown(),
                count(active, "session"),
            )));
        }
        thread::sleep(LOOK.min(deadline.saturating_duration_since(Instant::now())));
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn a_line_says_how_the_backend_is_now() {
        let target = Target { pool: "web".into(), backend: "a".into() };
        let mut backend = sample::backend("a");
        assert_eq!(line(&target, &backend), "web/a: up, weight 1, 3 sessions\n");
        (backend.mode, backend.active) = ("drain".into(), 1);
        assert_eq!(line(&target, &backend), "web/a: drain, weight 1, 1 session\n");
    }
}
