//! The configuration: what a file or the command line asks for, parsed into types that cannot be wrong.
//!
//! Text becomes a [`Config`] in two steps. The first, `document` or `flags`, makes a tree of what was typed, with the
//! place of each value. The second, `meaning`, says what it means and reports every mistake at once. Bounds and
//! defaults stand in [`keys`], once.

mod address;
mod describe;
mod document;
mod errors;
mod flags;
mod forms;
pub mod keys;
mod meaning;
mod near;
mod needs;
mod read;
mod spans;
mod typed;
mod types;
pub mod units;
mod values;
mod warnings;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use errors::Report;

pub use address::AddressFault;
pub use describe::Section;
pub use errors::{Bound, Error, Errors, Place, Reason};
pub use flags::Flags;
pub use forms::network;
pub use needs::{Need, Needed};
pub use spans::spans;
pub use types::{
    Accept, AcceptProxy, Access, AccessLog, Address, Admin, AdminAddress, Algorithm, Backend, Bandwidth,
    Check, Choice, Config, Datagrams, Ejection, Engine, Exchange, Expect, Facility, Health, HttpCheck,
    InitialState, Listener, ListenerLimits, ListeningSocket, LogFormat, LogLevel, LogTo, NoBackend, OnDown,
    Only, Otherwise, Over, Pace, Pool, PoolSocket, PowerOfTwoBy, Protocol, ProxyDatagrams, ProxyTlv,
    ProxyVersion, Rate, RateUnit, Record, Refuse, ResponseTime, Route, RunAs, SendProxy, Server, ServerName,
    Signal, Source as PoolSource, SourcePorts, Standing, Statistic, SyslogAddress, TcpOptions, Tls, TlsCheck,
    Udp, UnixFault, UnixName, Workers,
};
pub use warnings::warnings;

/// Where a configuration can be read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// This file.
    File(PathBuf),
    /// Nowhere: it was made of flags, or by a program.
    Flags,
}

/// Reads a file.
///
/// # Errors
///
/// Every mistake in it, or why it cannot be read.
pub fn load(path: &Path) -> Result<Config, Errors> {
    load_here(path, |_| Vec::new())
}

/// The same on the machine that is to run it: `look` says what is wrong there with what the file wants to be there.
///
/// # Errors
///
/// Every mistake in it, what was found wrong among them, or why it cannot be read.
pub fn load_here(path: &Path, look: impl FnMut(&Need) -> Vec<String>) -> Result<Config, Errors> {
    let file_name = path.display().to_string();
    let unreadable =
        |error| Errors::of_file(&file_name, Place::File, Reason::Unreadable(why_unreadable(&error)));
    let bytes = read_bounded(path).map_err(unreadable)?;
    parse_here(&file_name, document::text(&file_name, &bytes)?, look)
}

/// One byte more than is allowed is read, which is how a file that is too large is told; `/dev/zero` is one.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(document::FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn why_unreadable(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file; check the path after --config".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "permission denied; let the user that runs ringway read it and enter every folder above it"
                .to_owned()
        }
        io::ErrorKind::IsADirectory => "it is a folder; give the file in it".to_owned(),
        _ => error.to_string(),
    }
}

/// Reads a text; `file_name` is what errors call it.
///
/// # Errors
///
/// Every mistake in it.
pub fn parse(file_name: &str, text: &str) -> Result<Config, Errors> {
    parse_here(file_name, text, |_| Vec::new())
}

fn parse_here(file_name: &str, text: &str, look: impl FnMut(&Need) -> Vec<String>) -> Result<Config, Errors> {
    let text = document::text(file_name, text.as_bytes())?;
    let (table, report) = document::tree(text);
    if table.is_empty() && report.is_empty() {
        return Err(Errors::of_file(file_name, Place::File, Reason::Empty));
    }
    let config = meaning::config(&table, &report);
    report.look(look);
    report.finish(file_name, config)
}

/// Reads flags, by the same rules.
///
/// # Errors
///
/// Every mistake in them; each error names its flag.
pub fn from_flags(flags: &Flags) -> Result<Config, Errors> {
    let report = Report::default();
    let table = flags::tree(flags, &report);
    let config = meaning::config(&table, &report);
    report.finish("flags", config)
}
