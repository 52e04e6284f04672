//! Journal: lines of the log as journald wants them, when it is what reads standard error.
//!
//! It has the time of each line by itself, and takes the level from a number in front (sd-daemon(3)): so
//! `journalctl -u ringway -p warning` shows what it says.

use std::env;
use std::fmt;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Whether standard error leads to the journal: `JOURNAL_STREAM` names the stream, because a child with another one inherits the
/// variable all the same (systemd.exec(5)).
pub fn is_read() -> bool {
    let named = env::var("JOURNAL_STREAM").unwrap_or_default();
    let Some((device, inode)) = named.split_once(':') else { return false };
    let stream = std::io::stderr().as_fd().try_clone_to_owned().map(File::from);
    let metadata = stream.and_then(|stream| stream.metadata());
    metadata.is_ok_and(|file| device.parse() == Ok(file.dev()) && inode.parse() == Ok(file.ino()))
}

/// Puts the number of the level before each line.
pub struct Lines(Format<Full, ()>);

impl Default for Lines {
    fn default() -> Lines {
        Lines(
            tracing_subscriber::fmt::format()
                .without_time()
                .with_ansi(false)
                .with_target(false)
                .with_level(false),
        )
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(line, "<{}>", number(*event.metadata().level()))?;
        self.0.format_event(context, line, event)
    }
}

/// As in syslog(3).
fn number(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}
