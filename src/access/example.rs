//! Example: one of the clients that were refused lately, for people who ask who it is that comes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, TryLockError};

use crate::config::Address;

/// The first who came since somebody looked last.
#[derive(Debug, Default)]
pub struct Example {
    is_there: AtomicBool,
    who: Mutex<Option<Address>>,
}

impl Example {
    /// Keeps a client, unless there is one. In a flood that is one load, and nobody ever waits.
    pub fn offer(&self, client: Address) {
        if self.is_there.load(Ordering::Relaxed) {
            return;
        }
        let mut who = match self.who.try_lock() {
            Ok(who) => who,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Another worker has one just now.
            Err(TryLockError::WouldBlock) => return,
        };
        *who = Some(client);
        self.is_there.store(true, Ordering::Relaxed);
    }

    /// Takes it; the next who comes is another one.
    pub fn take(&self) -> Option<Address> {
        let mut who = self.who.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_there.store(false, Ordering::Relaxed);
        who.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_since_the_last_look_is_kept() {
        let address = |port| Address::Ip(([192, 0, 2, 1], port).into());
        let example = Example::default();
        assert_eq!(example.take(), None);
        (1..5).for_each(|port| example.offer(address(port)));
        assert_eq!(example.take(), Some(address(1)));
        assert_eq!(example.take(), None);
        example.offer(address(7));
        assert_eq!(example.take(), Some(address(7)));
    }
}
