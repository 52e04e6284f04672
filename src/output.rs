//! Output: standard output and standard error that never make anybody wait.
//!
//! Whoever reads them can be slow, stuck or gone. A line then is lost, which is better than a worker, the health thread
//! or the one that heeds signals standing still.

use std::io::{self, Write};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};

/// Lines of the log that may wait to be written.
const LOG_LINES_MAX: usize = 10_000;
/// Texts on standard output that may wait: tables can be large.
const TEXTS_MAX: usize = 64;

/// How long the end may wait for a reader.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(1500);

/// Standard output. Clones share it.
#[derive(Clone, Debug)]
pub struct Output(NonBlocking);

/// Writes what still waits when it is dropped, as far as somebody reads it soon.
#[derive(Debug)]
pub struct Flush(Option<WorkerGuard>);

impl Drop for Flush {
    fn drop(&mut self) {
        // The guard can itself wait for ever on a standard output that is stuck: leave it behind then.
        let guard = self.0.take();
        let (sender, done) = mpsc::channel::<()>();
        let flush = move || {
            drop(guard);
            drop(sender);
        };
        if thread::Builder::new().name("flush".into()).spawn(flush).is_ok() {
            let _ = done.recv_timeout(FLUSH_TIMEOUT);
        }
    }
}

impl Output {
    /// Standard output, and what writes the rest of it at the end.
    pub fn standard() -> (Output, Flush) {
        let (writer, guard) =
            NonBlockingBuilder::default().lossy(true).buffered_lines_limit(TEXTS_MAX).finish(io::stdout());
        (Output(writer), Flush(Some(guard)))
    }

    /// Prints a text whole, or loses it whole.
    pub fn print(&mut self, text: &str) {
        // Never fails: what finds no room is counted and dropped.
        let _ = self.0.write_all(text.as_bytes());
    }
}

/// Standard error for the log, and what writes the rest of it at the end.
pub fn log() -> (NonBlocking, Flush) {
    let (writer, guard) =
        NonBlockingBuilder::default().lossy(true).buffered_lines_limit(LOG_LINES_MAX).finish(io::stderr());
    (writer, Flush(Some(guard)))
}
