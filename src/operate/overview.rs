//! `ringway status`: how it is, on one page; and whether clients should be sent there.

use std::thread;
use std::time::{Duration, Instant};

use hyper::Method;

use super::as_it_came;
use super::backends::is_fine;
use super::columns::{Cell, number, table, whole, word, words};
use super::door::Door;
use super::failure::Failure;
use super::form::{Form, Look, Tone, harmless};
use super::units::{age, bytes, count, rate, without_number};
use crate::admin::shapes::{Backend, Info, Listener, Pool, Readiness};

/// How long it looks to see how many sessions come.
const SAMPLE: Duration = Duration::from_millis(500);
/// Backends with trouble that are named.
const TROUBLED_MAX: usize = 10;

/// What there is to tell.
struct Overview {
    address: String,
    info: Info,
    readiness: Readiness,
    listeners: Vec<Listener>,
    /// Sessions that came to each listener, in a second.
    rates: Vec<f64>,
    pools: Vec<Pool>,
}

/// How it is.
///
/// # Errors
///
/// Nobody answers.
pub fn status(door: &Door, form: Form) -> Result<String, Failure> {
    let began = Instant::now();
    let [info, listeners, pools] =
        ["info", "listeners", "pools"].map(|what| door.get(&format!("/api/v1/{what}")));
    let (info, listeners, pools) = (info?, listeners?, pools?);
    let readiness = door.ask(Method::GET, "/readyz", None)?.body;
    let Form::Text(look) = form else {
        let parts =
            [("info", &info), ("readiness", &readiness), ("listeners", &listeners), ("pools", &pools)];
        let parts = parts.map(|(name, body)| format!("\"{name}\":{}", String::from_utf8_lossy(body).trim()));
        return Ok(format!("{{{}}}\n", parts.join(",")));
    };
    let before: Vec<Listener> = door.understood(&listeners)?;
    thread::sleep(SAMPLE);
    let listeners: Vec<Listener> = door.read("/api/v1/listeners")?;
    let overview = Overview {
        address: door.address().to_string(),
        info: door.understood(&info)?,
        readiness: door.understood(&readiness)?,
        rates: rates(&before, &listeners, began.elapsed()),
        listeners,
        pools: door.understood(&pools)?,
    };
    Ok(overview.told(look))
}

/// Whether clients should be sent there, for scripts: nothing but one line and the exit status.
///
/// # Errors
///
/// They should not, or nobody answers.
pub fn check(door: &Door, form: Form) -> Result<String, Failure> {
    let answer = door.ask(Method::GET, "/readyz", None)?;
    let readiness: Readiness = door.understood(&answer.body)?;
    match (readiness.ready, form) {
        (true, Form::Json) => Ok(as_it_came(&answer.body)),
        (true, Form::Text(_)) => Ok("ready\n".into()),
        (false, _) => Err(Failure::NotReady(readiness.reasons)),
    }
}

impl Overview {
    fn told(&self, look: Look) -> String {
        let mut text = self.process(look);
        text.push('\n');
        text += &self.listeners(look);
        text += &self.turned_away(look);
        text.push('\n');
        text += &self.pools(look);
        text += &self.troubled(look);
        text
    }

    fn process(&self, look: Look) -> String {
        let info = &self.info;
        let (state, tone) = match (info.state.as_str(), self.readiness.ready) {
            ("running", true) => ("running, ready".to_owned(), Tone::Good),
            ("running", false) => ("running, not ready".to_owned(), Tone::Bad),
            (other, _) => (other.to_owned(), Tone::Odd),
        };
        let file = match &info.config_file {
            Some(file) => format!("configuration {} of {}", info.generation, harmless(file)),
            None => format!("configuration {}, from flags", info.generation),
        };
        let mut text = format!(
            "ringway {} at {}: {}\nup {}, since {}; pid {}; {}, engine {}; Linux {}\n{file}; table {} of backends\n",
            info.version,
            self.address,
            tone.paint(&state, look),
            age(info.uptime_seconds),
            info.started,
            info.pid,
            count(info.workers as u64, "worker"),
            info.engine,
            info.kernel,
            info.epoch,
        );
        for reason in self.readiness.reasons.iter().filter(|_| !self.readiness.ready) {
            text += &format!("{}: {}\n", Tone::Bad.paint("not ready", look), harmless(reason));
        }
        text
    }

    fn listeners(&self, look: Look) -> String {
        let columns = [
            words("LISTENER", 12),
            words("ADDRESS", 21),
            words("POOL", 8).rank(1),
            number("SESSIONS"),
            number("NEW/s"),
            number("TOTAL").rank(2),
            number("TO BACKENDS").rank(4),
            number("TO CLIENTS").rank(3),
        ];
        let row = |(listener, new): (&Listener, &f64)| {
            vec![
                Cell::plain(&listener.name),
                Cell::plain(addresses(&listener.addresses)),
                Cell::plain(&listener.pool),
                Cell::plain(listener.active),
                Cell::plain(rate(*new)),
                Cell::plain(listener.accepted),
                Cell::plain(bytes(listener.bytes_to_backend)),
                Cell::plain(bytes(listener.bytes_to_client)),
            ]
        };
        table(&columns, &self.listeners.iter().zip(&self.rates).map(row).collect::<Vec<_>>(), look)
    }

    /// Clients whom nobody serves, by listener; nothing when there are none.
    fn turned_away(&self, look: Look) -> String {
        let mut text = String::new();
        for listener in &self.listeners {
            let Listener { name, waiting, queue_drops, refused, .. } = listener;
            let refused: Vec<String> = refused
                .iter()
                .filter(|(_, count)| **count > 0)
                .map(|(reason, count)| format!("{count} {}", harmless(reason)))
                .collect();
            let parts = [
                (!refused.is_empty()).then(|| format!("refused {}", refused.join(", "))),
                (*waiting > 0).then(|| format!("{waiting} wait in the kernel's queue")),
                (*queue_drops > 0).then(|| format!("{queue_drops} dropped by a full queue")),
            ];
            let parts: Vec<String> = parts.into_iter().flatten().collect();
            if !parts.is_empty() {
                text += &format!("{}: {}\n", harmless(name), Tone::Odd.paint(&parts.join("; "), look));
            }
        }
        text
    }

    fn pools(&self, look: Look) -> String {
        let columns = [
            words("POOL", 16),
            word("ALGORITHM").rank(3),
            number("SERVING"),
            number("BACKENDS"),
            number("SESSIONS"),
            number("WAITING").rank(2),
            number("TOTAL").rank(4),
            number("FAILED").rank(1),
        ];
        let row = |pool: &Pool| {
            let sum = |count: fn(&Backend) -> u64| pool.backends.iter().map(count).sum::<u64>();
            let up = pool.backends.iter().filter(|backend| is_fine(backend)).count();
            let tone = match up {
                0 => Tone::Bad,
                up if up < pool.backends.len() => Tone::Odd,
                _ => Tone::Good,
            };
            let failed = sum(|backend| backend.connect_failures + backend.unanswered);
            vec![
                Cell::plain(&pool.name),
                Cell::plain(&pool.algorithm),
                Cell::new(up, tone),
                Cell::plain(pool.backends.len()),
                Cell::plain(sum(|backend| backend.active)),
                Cell::new(pool.queued, if pool.queued > 0 { Tone::Odd } else { Tone::Plain }),
                Cell::plain(sum(|backend| backend.connected)),
                Cell::new(failed, if failed > 0 { Tone::Odd } else { Tone::Plain }),
            ]
        };
        table(&columns, &self.pools.iter().map(row).collect::<Vec<_>>(), look)
    }

    /// Who does not serve, and why; nothing when all do.
    fn troubled(&self, look: Look) -> String {
        let troubled: Vec<(&Pool, &Backend)> = self
            .pools
            .iter()
            .flat_map(|pool| pool.backends.iter().map(move |backend| (pool, backend)))
            .filter(|(_, backend)| !is_fine(backend))
            .collect();
        if troubled.is_empty() {
            return String::new();
        }
        let columns = [
            words("NOT SERVING", 24),
            word("STATE"),
            number("SINCE").rank(2),
            number("SESSIONS").rank(1),
            whole("REASON"),
        ];
        let row = |(pool, backend): &(&Pool, &Backend)| {
            vec![
                Cell::plain(format!("{}/{}", pool.name, backend.name)),
                super::backends::state(backend),
                Cell::plain(age(backend.since_seconds)),
                Cell::plain(backend.active),
                Cell::plain(reason(backend, look)),
            ]
        };
        let shown = &troubled[..troubled.len().min(TROUBLED_MAX)];
        let mut text = String::from("\n");
        text += &table(&columns, &shown.iter().map(row).collect::<Vec<_>>(), look);
        if troubled.len() > shown.len() {
            text += &format!("and {} more: ringway backends --troubled\n", troubled.len() - shown.len());
        }
        text
    }
}

/// Of each listener that was there before; one that is new has come in between.
fn rates(before: &[Listener], now: &[Listener], apart: Duration) -> Vec<f64> {
    let rate = |now: &Listener| {
        let before = before.iter().find(|before| before.name == now.name)?;
        Some(now.accepted.saturating_sub(before.accepted) as f64 / apart.as_secs_f64().max(0.001))
    };
    now.iter().map(|listener| rate(listener).unwrap_or(0.0)).collect()
}

/// A terminal has no room for what says the same twice.
fn reason(backend: &Backend, look: Look) -> &str {
    if look.width.is_some() { without_number(&backend.reason) } else { &backend.reason }
}

/// Of many the first.
fn addresses(addresses: &[String]) -> String {
    match addresses {
        [] => "-".into(),
        [one] => one.clone(),
        [first, others @ ..] => format!("{first} (+{})", others.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn overview() -> Overview {
        Overview {
            address: "127.0.0.1:8404".into(),
            info: sample::info(),
            readiness: Readiness { ready: true, reasons: Vec::new() },
            listeners: vec![sample::listener()],
            rates: vec![12.34],
            pools: vec![sample::pool("web", &["a", "b"])],
        }
    }

    #[test]
    fn a_page_says_how_it_is() {
        let expected = "\
ringway 0.1.0 at 127.0.0.1:8404: running, ready
up 3h12m, since 2026-11-26T09:12:03Z; pid 4711; 2 workers, engine multishot; Linux 6.18.5
configuration 3 of /etc/ringway/ringway.toml; table 17 of backends

LISTENER  ADDRESS              POOL  SESSIONS  NEW/s  TOTAL  TO BACKENDS  TO CLIENTS
web       127.0.0.1:8000 (+1)  web          7   12.3   1234      1.0 MiB     4.8 MiB

POOL  ALGORITHM          SERVING  BACKENDS  SESSIONS  WAITING  TOTAL  FAILED
web   least-connections        2         2         6        0    200       4
";
        assert_eq!(overview().told(Look::default()), expected);
    }

    #[test]
    fn a_listener_that_is_new_has_no_rate_yet() {
        let (mut before, mut now) = (vec![sample::listener()], vec![sample::listener(), sample::listener()]);
        before[0].accepted -= 10;
        now[1].name = "new".into();
        assert_eq!(rates(&before, &now, Duration::from_millis(500)), [20.0, 0.0]);
    }

    #[test]
    fn who_is_turned_away_is_told_by_reason() {
        let mut overview = overview();
        let listener = &mut overview.listeners[0];
        listener.refused =
            [("denied", 5), ("full", 0), ("rate", 29)].map(|(why, count)| (why.into(), count)).into();
        (listener.waiting, listener.queue_drops) = (2, 7);
        let expected = "MiB\nweb: refused 5 denied, 29 rate; 2 wait in the kernel's queue; 7 dropped by a full queue\n\nPOOL";
        let shown = overview.told(Look::default());
        assert!(shown.contains(expected), "{shown}");
    }

    #[test]
    fn what_does_not_serve_is_named_with_the_reason() {
        let mut overview = overview();
        overview.readiness = Readiness {
            ready: false,
            reasons: vec!["pool web: 0 of 2 backends are up, 1 are needed".into()],
        };
        overview.pools[0].backends[0].state = "down".into();
        overview.pools[0].backends[0].reason = "Connection refused".into();
        overview.pools[0].backends[1].mode = "drain".into();
        let shown = overview.told(Look::default());
        assert!(shown.starts_with("ringway 0.1.0 at 127.0.0.1:8404: running, not ready\n"), "{shown}");
        assert!(shown.contains("\nnot ready: pool web: 0 of 2 backends are up, 1 are needed\n"), "{shown}");
        let expected = "
NOT SERVING  STATE  SINCE  SESSIONS  REASON
web/a        down     75s         3  Connection refused
web/b        drain    75s         3  3 checks passed
";
        assert!(shown.ends_with(expected), "{shown}");
    }

    #[test]
    fn of_many_that_do_not_serve_the_first_are_named() {
        let mut overview = overview();
        let names: Vec<String> = (0..1000).map(|n| format!("b{n}")).collect();
        overview.pools = vec![sample::pool("web", &names.iter().map(String::as_str).collect::<Vec<_>>())];
        overview.pools[0].backends.iter_mut().for_each(|backend| backend.state = "down".into());
        let shown = overview.told(Look::default());
        assert_eq!(shown.lines().count(), 7 + 2 + 2 + 10 + 1);
        assert!(shown.ends_with("and 990 more: ringway backends --troubled\n"), "{shown}");
    }
}
