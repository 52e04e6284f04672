//! Unusable: why a record cannot be written where it should be.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a record cannot be begun.
#[derive(Debug)]
pub enum Unusable {
    /// The system does not let us write there.
    Io(PathBuf, io::Error),
    /// There is something that is not a file.
    NotAFile(PathBuf),
    /// There is a file that is something else.
    NotARecord(PathBuf),
    /// Another process writes there.
    InUse(PathBuf),
    /// The header takes more than half of what a file may have.
    LongHeader(u64),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unusable::Io(path, error) => write!(
                f,
                "server.record: cannot write to {}: {error}; give a path in a folder that exists and that the user who runs \
                 ringway may write to",
                path.display()
            ),
            Unusable::NotAFile(path) => write!(
                f,
                "server.record: {} is not a regular file; move it away, or give the path of a file, which need not exist",
                path.display()
            ),
            Unusable::NotARecord(path) => write!(
                f,
                "server.record: {} exists and is not a record of ringway; move it away or give another path",
                path.display()
            ),
            Unusable::InUse(path) => write!(
                f,
                "server.record: another process, perhaps a second ringway, writes to {}; give each its own path",
                path.display()
            ),
            Unusable::LongHeader(bytes) => write!(
                f,
                "server.record_size_max: value is too small: the names of listeners, pools and backends take {bytes} bytes of each \
                 file; write \"{}KiB\" at least",
                (2 * bytes).div_ceil(4096) * 4
            ),
        }
    }
}

impl std::error::Error for Unusable {}
