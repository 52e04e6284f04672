//! Threads: none of the server's dies unheard.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::Sender;
use std::thread;

use super::Error;
use crate::ring::Unavailable;
use crate::worker::{Report, Start};

/// What a thread tells the server.
pub(super) enum Event {
    /// A worker has come so far.
    Started(Start),
    /// A worker has drained.
    Done(Report),
    /// A worker could not have a ring.
    NoRing(Unavailable),
    /// A thread could not go on, or panicked.
    Died { name: String, why: String },
}

/// Runs `body` on a thread that cannot die unheard: what it returns, fails with or panics with is an event.
pub(super) fn spawn(
    name: String,
    events: &Sender<Event>,
    body: impl FnOnce(&Sender<Event>) -> io::Result<Option<Event>> + Send + 'static,
) -> Result<(), Error> {
    let (events, thread_name) = (events.clone(), name.clone());
    let guarded = move || {
        let event = match catch_unwind(AssertUnwindSafe(|| body(&events))) {
            Ok(Ok(event)) => event,
            Ok(Err(error)) => Some(Event::Died { name: thread_name, why: error.to_string() }),
            Err(panic) => Some(Event::Died { name: thread_name, why: last_words(&*panic) }),
        };
        if let Some(event) = event {
            // Nobody listens once the server is gone, and then nobody needs to know.
            let _ = events.send(event);
        }
    };
    match thread::Builder::new().name(name.clone()).spawn(guarded) {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::Thread { name, why: error.to_string() }),
    }
}

fn last_words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it panicked".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn a_thread_that_panics_is_heard() {
        let (sender, events) = mpsc::channel();
        spawn("worker-7".into(), &sender, |_| panic!("the ring is broken")).unwrap();
        match events.recv_timeout(Duration::from_secs(10)) {
            Ok(Event::Died { name, why }) => {
                assert_eq!((name.as_str(), why.as_str()), ("worker-7", "the ring is broken"))
            }
            _ => panic!("the death was not heard"),
        }
    }
}
