//! Read: a file of a record, whole, up to where it was cut.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::format::{Coder, Fault, Header, MAGIC, VERSION};
use crate::arrivals::Arrival;
use crate::config::{self, Config, Errors};

/// What a file holds.
#[derive(Debug)]
pub struct Recorded {
    /// What it begins with.
    pub header: Header,
    /// What the header keeps of the configuration.
    pub config: Config,
    /// Sessions, in the order in which they were written.
    pub arrivals: Vec<Arrival>,
    /// Where it could not be read further, if so.
    pub cut: Option<Cut>,
}

/// Where a file could not be read further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Bytes before that.
    pub at: usize,
    /// What is wrong there.
    pub fault: Fault,
}

/// Why a file cannot be read at all.
#[derive(Debug)]
pub enum Unreadable {
    /// The system says so.
    Io(PathBuf, io::Error),
    /// It does not begin as a record does.
    Header(PathBuf, Fault),
    /// What it keeps of the configuration is none.
    Setting(PathBuf, Errors),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreadable::Io(path, error) => {
                write!(
                    f,
                    "{}: cannot be read: {error}; give a file that server.record has written",
                    path.display()
                )
            }
            Unreadable::Header(path, Fault::NotARecord) => write!(
                f,
                "{}: is not a record; give a file that a ringway with server.record in its configuration has written",
                path.display()
            ),
            Unreadable::Header(path, Fault::Version(version)) => write!(
                f,
                "{}: is a record of version {version}, and this ringway reads version {VERSION}; use the one that wrote it",
                path.display()
            ),
            Unreadable::Header(path, Fault::Cut) => {
                write!(f, "{}: ends within its header, so nothing is in it; leave it out", path.display())
            }
            Unreadable::Header(path, Fault::Damaged(what)) => {
                write!(f, "{}: {what} is damaged; leave the file out", path.display())
            }
            Unreadable::Setting(path, errors) => {
                write!(f, "{}: its header is damaged; leave the file out; it has\n{errors}", path.display())
            }
        }
    }
}

impl std::error::Error for Unreadable {}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fault {
            Fault::Damaged(what) => write!(f, "{what} is damaged at byte {}", self.at),
            Fault::Cut | Fault::NotARecord | Fault::Version(_) => {
                write!(f, "it ends within a session, at byte {}", self.at)
            }
        }
    }
}

/// Reads a file.
///
/// # Errors
///
/// Why nothing of it can be read.
pub fn read(path: &Path) -> Result<Recorded, Unreadable> {
    let bytes = bytes_of(path).map_err(|error| Unreadable::Io(path.to_owned(), error))?;
    let (header, length) =
        Header::decode(&bytes).map_err(|fault| Unreadable::Header(path.to_owned(), fault))?;
    let config = config::parse("header", &header.setting)
        .map_err(|errors| Unreadable::Setting(path.to_owned(), errors))?;
    let backends = config.backends().count();
    let (mut coder, mut rest, mut arrivals) = (Coder::default(), &bytes[length..], Vec::new());
    let mut cut = None;
    while !rest.is_empty() {
        let at = bytes.len() - rest.len();
        let arrival = coder.decode(&mut rest, header.addresses);
        match arrival.and_then(|arrival| known(arrival, &config, backends)) {
            Ok(arrival) => arrivals.push(arrival),
            Err(fault) => {
                cut = Some(Cut { at, fault });
                break;
            }
        }
    }
    Ok(Recorded { header, config, arrivals, cut })
}

/// All of a record, or how another file begins: that may have no end, as `/dev/zero` has none.
fn bytes_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let mut bytes = Vec::new();
    file.by_ref().take(MAGIC.len() as u64).read_to_end(&mut bytes)?;
    if bytes == MAGIC {
        file.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// The session, if its listener, its pool and its backend are those of the header.
fn known(arrival: Arrival, config: &Config, backends: usize) -> Result<Arrival, Fault> {
    if arrival.listener as usize >= config.listeners.len() {
        return Err(Fault::Damaged("a listener"));
    }
    if arrival.pool as usize >= config.pools.len() {
        return Err(Fault::Damaged("a pool"));
    }
    if arrival.backend.is_some_and(|backend| backend.index() >= backends) {
        return Err(Fault::Damaged("a backend"));
    }
    Ok(arrival)
}
