//! Changes: what has become of backends lately, and what operators did, kept for people who ask.
//!
//! Written by cold threads only (health, admin), so that a lock does. The newest push the oldest out.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// Changes that are kept.
pub const CHANGES_MAX: usize = 256;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// When.
    pub at: SystemTime,
    /// Of what: `pool web, backend a`.
    pub what: String,
    /// What it was.
    pub from: String,
    /// What it is now.
    pub to: String,
    /// Why.
    pub reason: String,
    /// Who did it.
    pub who: String,
}

/// The last changes.
#[derive(Debug, Default)]
pub struct Changes(Mutex<VecDeque<Change>>);

impl Changes {
    /// Keeps one.
    pub fn note(&self, change: Change) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == CHANGES_MAX {
            kept.pop_front();
        }
        kept.push_back(change);
    }

    /// The newest, which come first, so many at most.
    pub fn newest(&self, limit: usize) -> Vec<Change> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().rev().take(limit).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_push_the_oldest_out() {
        let changes = Changes::default();
        for number in 0..CHANGES_MAX + 3 {
            let [what, from, to, reason, who] = [&*number.to_string(), "", "", "", ""].map(str::to_owned);
            changes.note(Change { at: SystemTime::UNIX_EPOCH, what, from, to, reason, who });
        }
        let newest: Vec<String> = changes.newest(2).into_iter().map(|change| change.what).collect();
        assert_eq!(newest, ["258", "257"]);
        assert_eq!(changes.newest(1_000).last().unwrap().what, "3");
    }
}
