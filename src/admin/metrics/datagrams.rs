//! Datagrams: what listeners over UDP count. The others have no such series.

use std::fmt;

use super::{Page, of};
use crate::config::Protocol;
use crate::generation::Generation;
use crate::stats::{Counter, DatagramStats, Dropped};

type CounterOf = fn(&DatagramStats) -> &Counter;

/// Where datagrams came from or went to, and who counts them.
const WAYS: [(&str, CounterOf); 4] = [
    ("from_clients", |one| &one.from_clients),
    ("to_backends", |one| &one.to_backends),
    ("from_backends", |one| &one.from_backends),
    ("to_clients", |one| &one.to_clients),
];

pub(super) fn datagrams(page: &mut Page<'_, '_>) -> fmt::Result {
    fn sum(generation: &Generation, place: usize, counter: impl Fn(&DatagramStats) -> &Counter) -> u64 {
        generation.stats.sum(|worker| counter(&worker.listeners[place].datagrams))
    }
    fn names(generation: &Generation) -> impl Iterator<Item = (usize, &str)> {
        let all = generation.config.listeners.iter().enumerate();
        all.filter(|(_, spec)| spec.protocol == Protocol::Udp).map(|(place, spec)| (place, &*spec.name))
    }
    page.metric(of::DATAGRAMS, |series, generation| {
        for (place, name) in names(generation) {
            for (way, counter) in WAYS {
                series.number(&[("listener", name), ("way", way)], sum(generation, place, counter))?;
            }
        }
        Ok(())
    })?;
    page.metric(of::DATAGRAMS_DROPPED, |series, generation| {
        for (place, name) in names(generation) {
            for why in Dropped::ALL {
                let count = sum(generation, place, |one| &one.dropped[why as usize]);
                series.number(&[("listener", name), ("reason", why.name())], count)?;
            }
        }
        Ok(())
    })?;
    page.metric(of::REBALANCED, |series, generation| {
        for (place, name) in names(generation) {
            series.number(&[("listener", name)], sum(generation, place, |one| &one.rebalanced))?;
        }
        Ok(())
    })
}
