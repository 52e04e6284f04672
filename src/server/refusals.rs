//! Refusals: what the log says of clients that were not let in, once a second and in sum. A flood must not fill a disk.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::access::Refused;
use crate::generation::Generation;

const INTERVAL: Duration = Duration::from_secs(1);

/// By reason, in the order of [`Refused::ALL`].
type Counts = [u64; Refused::COUNT];

/// What has been told already, by listener.
#[derive(Debug)]
pub(super) struct Refusals {
    told: HashMap<String, Counts>,
    next: Instant,
}

impl Refusals {
    pub(super) fn new(now: Instant) -> Refusals {
        Refusals { told: HashMap::new(), next: now }
    }

    /// Logs what has come since the last time, if that is long enough ago.
    pub(super) fn look(&mut self, generation: &Generation, now: Instant) {
        if now < self.next {
            return;
        }
        self.next = now + INTERVAL;
        let listeners = &generation.config.listeners;
        for (place, listener) in listeners.iter().enumerate() {
            let count = |reason: Refused| {
                generation.stats.sum(|worker| &worker.listeners[place].refused[reason as usize])
            };
            let counts = Refused::ALL.map(count);
            let told = match self.told.get_mut(&listener.name) {
                Some(told) => std::mem::replace(told, counts),
                None => self.told.insert(listener.name.clone(), counts).unwrap_or_default(),
            };
            let Some((count, reasons)) = news(&told, &counts) else { continue };
            let client = generation.doors[place].example().take();
            let client = client.as_ref().map(tracing::field::display);
            tracing::info!(listener = %listener.name, count, reasons, client, "refused; client is one of them");
        }
        if self.told.len() > listeners.len() {
            self.told.retain(|name, _| listeners.iter().any(|listener| listener.name == *name));
        }
    }
}

/// How many more there are, and for which reasons, if there are any.
fn news(told: &Counts, now: &Counts) -> Option<(u64, String)> {
    // Another listener of that name has begun again.
    let more: Vec<(u64, &str)> = Refused::ALL
        .into_iter()
        .zip(told.iter().zip(now))
        .map(|(reason, (told, now))| (now.checked_sub(*told).unwrap_or(*now), reason.name()))
        .filter(|(count, _)| *count > 0)
        .collect();
    let reasons: Vec<String> = more.iter().map(|(count, reason)| format!("{count} {reason}")).collect();
    let sum = more.iter().map(|(count, _)| count).sum();
    (sum > 0).then(|| (sum, reasons.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_is_told_by_reason() {
        let [none, mut some, mut more] = [[0; Refused::COUNT]; 3];
        assert_eq!(news(&none, &none), None);
        (some[0], some[2]) = (5, 29);
        let [first, .., third] = [Refused::ALL[0].name(), "", Refused::ALL[2].name()];
        assert_eq!(news(&none, &some), Some((34, format!("5 {first}, 29 {third}"))));
        assert_eq!(news(&some, &some), None);
        more[0] = 6;
        more[2] = 28;
        assert_eq!(news(&some, &more), Some((29, format!("1 {first}, 28 {third}"))));
    }
}
