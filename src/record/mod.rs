//! Record: a log of arrivals in files that stay small, for `ringway replay`. A thread of its own writes it.
//!
//! Workers hand over lists of sessions that have ended ([`crate::arrivals`]). A disk that is full or slow costs arrivals, which
//! are counted, and never a session.

mod files;
mod format;
mod read;
mod setting;
mod unusable;
mod writer;

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::arrivals::Inbox;

pub use format::{Coder, Fault, Header};
pub use read::{Cut, Recorded, Unreadable, read};
pub use setting::setting;
pub use unusable::Unusable;
pub use writer::Writer;

/// From one write to the next: what a crash loses at most.
const PERIOD: Duration = Duration::from_millis(200);

/// What the thread is made from.
pub struct Setup {
    /// Where it writes.
    pub writer: Writer,
    /// Where what the workers saw arrives.
    pub inbox: Inbox,
    /// Ends the thread when its sender is dropped; it writes first what has arrived.
    pub stop: Receiver<()>,
}

/// Writes what arrives until it is told to stop.
pub fn run(setup: Setup) {
    let Setup { mut writer, mut inbox, stop } = setup;
    while stop.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
        writer.write(inbox.drain(), Instant::now());
    }
    writer.write(inbox.drain(), Instant::now());
}
