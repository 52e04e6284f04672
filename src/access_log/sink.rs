//! Sink: whatever the lines go to.

use std::io;
use std::time::Instant;

use super::Unusable;
use super::file::{LogFile, Standard, Stream};
use super::lines::Lines;
use super::syslog::Syslog;
use crate::config::LogTo;
use crate::moment::Moment;

/// Where lines go.
#[derive(Debug)]
pub(super) enum Sink {
    Standard(Stream),
    File(LogFile),
    Syslog(Syslog),
}

impl Sink {
    pub(super) fn open(to: &LogTo) -> Result<Sink, Unusable> {
        let unusable = |path: &str, error| Unusable { path: path.into(), error };
        Ok(match to {
            LogTo::Stdout => {
                Sink::Standard(Stream::standard(Standard::Output).map_err(|error| unusable("stdout", error))?)
            }
            LogTo::Stderr => {
                Sink::Standard(Stream::standard(Standard::Error).map_err(|error| unusable("stderr", error))?)
            }
            LogTo::File(path) => {
                Sink::File(LogFile::open(path).map_err(|error| Unusable { path: path.clone(), error })?)
            }
            LogTo::Syslog(address, facility) => Sink::Syslog(Syslog::new(address.clone(), *facility)),
        })
    }

    /// What goes before a line of a session that ended at this moment.
    pub(super) fn begin(&self, line: &mut Vec<u8>, when: Moment) {
        if let Sink::Syslog(syslog) = self {
            syslog.begin(line, when);
        }
    }

    /// What goes behind a line.
    pub(super) fn end(&self, line: &mut Vec<u8>) {
        if !matches!(self, Sink::Syslog(_)) {
            line.push(b'\n');
        }
    }

    /// Takes lines until none is left, it takes no more before `until`, or it fails.
    pub(super) fn write(&mut self, lines: &mut Lines, until: Instant) -> io::Result<()> {
        match self {
            Sink::Standard(stream) => stream.write(lines, until),
            Sink::File(file) => file.write(lines, until),
            Sink::Syslog(syslog) => syslog.write(lines, until),
        }
    }

    /// Whether there was anything to open anew.
    pub(super) fn reopen(&mut self) -> io::Result<bool> {
        match self {
            Sink::File(file) => file.reopen().map(|()| true),
            Sink::Standard(_) | Sink::Syslog(_) => Ok(false),
        }
    }
}
