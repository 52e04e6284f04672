//! Figures: what was seen at one moment, and what happened since the one before. Pure.

use std::collections::HashMap;
use std::time::Duration;

use crate::admin::shapes::{Backend, Info, Listener, Pool};

/// What was seen at one moment.
#[derive(Debug, Clone)]
pub(super) struct Figures {
    pub(super) info: Info,
    pub(super) listeners: Vec<Listener>,
    pub(super) pools: Vec<Pool>,
}

/// What happened in a second, between two moments.
#[derive(Debug, Clone, Default)]
pub(super) struct Rates {
    /// Sessions accepted.
    pub(super) accepted: f64,
    backends: HashMap<(String, String), BackendRates>,
}

/// The same, at one backend.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct BackendRates {
    /// Sessions that were connected.
    pub(super) connected: f64,
    /// Sessions that could not connect, or got no answer.
    pub(super) failed: f64,
}

impl Figures {
    /// Sessions now.
    pub(super) fn active(&self) -> u64 {
        self.listeners.iter().map(|listener| listener.active).sum()
    }

    /// Sessions that wait for a backend with room.
    pub(super) fn waiting(&self) -> u64 {
        self.pools.iter().map(|pool| u64::from(pool.queued)).sum()
    }

    fn accepted(&self) -> u64 {
        self.listeners.iter().map(|listener| listener.accepted).sum()
    }

    fn backends(&self) -> impl Iterator<Item = ((&str, &str), &Backend)> {
        self.pools.iter().flat_map(|pool| {
            pool.backends.iter().map(|backend| ((pool.name.as_str(), backend.name.as_str()), backend))
        })
    }
}

impl Rates {
    /// What happened in a second between two moments that are so far apart. Counters of another process begin anew.
    pub(super) fn between(before: &Figures, now: &Figures, apart: Duration) -> Rates {
        let seconds = apart.as_secs_f64().max(0.001);
        if before.info.pid != now.info.pid {
            return Rates::default();
        }
        let rate = |before: u64, now: u64| now.saturating_sub(before) as f64 / seconds;
        let earlier: HashMap<_, _> = before.backends().collect();
        let backends = now.backends().filter_map(|((pool, name), backend)| {
            let before = earlier.get(&(pool, name))?;
            let failed = |one: &Backend| one.connect_failures + one.unanswered;
            let rates = BackendRates {
                connected: rate(before.connected, backend.connected),
                failed: rate(failed(before), failed(backend)),
            };
            Some(((pool.to_owned(), name.to_owned()), rates))
        });
        Rates { accepted: rate(before.accepted(), now.accepted()), backends: backends.collect() }
    }

    /// Those of a backend; nothing until it was seen twice.
    pub(super) fn of(&self, pool: &str, backend: &str) -> BackendRates {
        self.backends.get(&(pool.to_owned(), backend.to_owned())).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::sample;
    use super::*;

    fn figures() -> Figures {
        Figures {
            info: sample::info(),
            listeners: vec![sample::listener()],
            pools: vec![sample::pool("web", &["a", "b"])],
        }
    }

    #[test]
    fn what_happened_is_divided_by_the_time_that_it_took() {
        let (before, mut now) = (figures(), figures());
        now.listeners[0].accepted += 100;
        now.pools[0].backends[1].connected += 60;
        now.pools[0].backends[1].unanswered += 4;
        let rates = Rates::between(&before, &now, Duration::from_secs(2));
        assert_eq!(rates.accepted, 50.0);
        assert_eq!(rates.of("web", "b"), BackendRates { connected: 30.0, failed: 2.0 });
        assert_eq!(rates.of("web", "a"), BackendRates::default());
    }

    #[test]
    fn another_process_and_a_backend_that_is_new_have_no_rates_yet() {
        let (mut before, now) = (figures(), figures());
        before.pools[0].backends.remove(0);
        before.listeners[0].accepted = 0;
        assert_eq!(
            Rates::between(&before, &now, Duration::from_secs(1)).of("web", "a"),
            BackendRates::default()
        );
        before.info.pid = 1;
        assert_eq!(Rates::between(&before, &now, Duration::from_secs(1)).accepted, 0.0);
    }
}
