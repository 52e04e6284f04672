//! Access log: one line for each session that has ended. A thread of its own writes it.
//!
//! Workers hand over lists of what is to be told ([`crate::entries`]). Whoever takes the lines can be slow, stuck or gone:
//! that costs lines, which are counted, and never a session.

mod activity;
mod file;
mod json;
mod lines;
mod names;
mod sink;
mod syslog;
mod termination;
mod text;
mod writer;

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use std::{fmt, io};

pub use writer::Writer;

/// From one look at what has arrived to the next.
const PERIOD: Duration = Duration::from_millis(50);
/// How long the end may wait for whoever takes the lines.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// What the thread is to do beside writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Close the file and open the one that has its name now.
    Reopen,
    /// Write what has arrived, as far as it is taken soon, and end.
    Stop,
}

/// Why the log cannot be begun.
#[derive(Debug)]
pub struct Unusable {
    /// The file, as it was given.
    pub path: PathBuf,
    /// What the system said.
    pub error: io::Error,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "access_log.to: cannot write to {}: {}; give a path in a folder that exists and that the user who runs ringway may \
             write to",
            self.path.display(),
            self.error
        )
    }
}

impl std::error::Error for Unusable {}

/// Writes what arrives until it is told to stop.
pub fn run(mut writer: Writer, orders: &Receiver<Order>) {
    loop {
        match orders.recv_timeout(if writer.is_behind() { Duration::ZERO } else { PERIOD }) {
            Ok(Order::Reopen) => writer.reopen(),
            Err(RecvTimeoutError::Timeout) => {}
            Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => break,
        }
        writer.write(Instant::now() + PERIOD);
    }
    writer.write(Instant::now() + FLUSH_TIMEOUT);
    writer.give_up();
}
