//! Files: the one that is written, and the older ones beside it.
//!
//! A file that would become too large is renamed to `NAME.1`, what was `NAME.1` to `NAME.2`, and so on; the oldest goes. A
//! write that fails leaves the file as it was before it, so that what follows later can be read.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::format::{Fault, HEADER_BYTES_MAX, Header};
use crate::config::Record;

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
                "server.record: {} is not a regular file; give the path of a file, which need not exist",
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

/// The file that is written, and the older ones.
#[derive(Debug)]
pub(super) struct Files {
    spec: Record,
    header: Vec<u8>,
    /// `None` when it could not be made.
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    file: File,
    length: u64,
}

impl Files {
    /// Begins a file. What an earlier run has left there becomes the first of the older ones.
    pub(super) fn open(spec: Record, header: Vec<u8>) -> Result<Files, Unusable> {
        let bytes = header.len() as u64;
        if bytes > spec.size_max / 2 {
            return Err(Unusable::LongHeader(bytes));
        }
        let path = spec.path.clone();
        let has_sessions = look_at(&path)?;
        let mut files = Files { spec, header, current: None };
        let kept = if has_sessions { files.keep() } else { Ok(()) };
        let begun = kept.and_then(|()| files.begin());
        begun.map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => Unusable::InUse(path),
            _ => Unusable::Io(path, error),
        })?;
        Ok(files)
    }

    /// How many bytes more the file may have.
    pub(super) fn room(&self) -> u64 {
        self.current.as_ref().map_or(0, |current| self.spec.size_max.saturating_sub(current.length))
    }

    /// Adds bytes: all of them or none.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let current = self.current.as_mut().ok_or(ErrorKind::NotFound)?;
        if let Err(error) = current.file.write_all_at(bytes, current.length) {
            // A part may be there, and what is written next can be shorter. If this fails too, a reader sees damage there.
            let _ = current.file.set_len(current.length);
            return Err(error);
        }
        current.length += bytes.len() as u64;
        Ok(())
    }

    /// Makes the file the first of the older ones, and begins another.
    pub(super) fn rotate(&mut self) -> io::Result<()> {
        // Only once, however often it has to be tried to begin another: or the older ones would go one by one.
        if self.current.is_some() {
            self.keep()?;
            self.current = None;
        }
        self.begin()
    }

    /// Makes the file the first of the older ones.
    fn keep(&self) -> io::Result<()> {
        for number in (1..self.spec.files).rev() {
            rename(&self.older(number), &self.older(number + 1))?;
        }
        if self.spec.files > 0 { rename(&self.spec.path, &self.older(1)) } else { Ok(()) }
    }

    fn begin(&mut self) -> io::Result<()> {
        // Who came when is not for everybody.
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&self.spec.path)?;
        lock(&file)?;
        file.set_len(0)?;
        file.write_all_at(&self.header, 0)?;
        self.current = Some(Current { file, length: self.header.len() as u64 });
        Ok(())
    }

    fn older(&self, number: u32) -> PathBuf {
        let mut name = OsString::from(&self.spec.path);
        name.push(format!(".{number}"));
        PathBuf::from(name)
    }
}

/// Whether there is a record with sessions. One without is of no use, and anything else that is there must stay as it is.
fn look_at(path: &Path) -> Result<bool, Unusable> {
    let unusable = |error| Unusable::Io(path.to_owned(), error);
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(unusable(error)),
        Ok(found) if !found.is_file() => return Err(Unusable::NotAFile(path.to_owned())),
        Ok(found) if found.len() == 0 => return Ok(false),
        Ok(_) => {}
    }
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(unusable)?;
    lock(&file).map_err(|error| match error.kind() {
        ErrorKind::WouldBlock => Unusable::InUse(path.to_owned()),
        _ => unusable(error),
    })?;
    let mut begins = Vec::new();
    file.take(HEADER_BYTES_MAX as u64 + 1).read_to_end(&mut begins).map_err(unusable)?;
    match Header::decode(&begins) {
        Ok((_, length)) => Ok(begins.len() > length),
        Err(Fault::Cut) => Ok(false),
        Err(Fault::NotARecord) => Err(Unusable::NotARecord(path.to_owned())),
        Err(Fault::Version(_) | Fault::Damaged(_)) => Ok(true),
    }
}

/// Two that write to one file would make it unreadable. A file system that knows no locks is no reason to record nothing.
fn lock(file: &File) -> io::Result<()> {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(ErrorKind::WouldBlock.into()),
        Err(TryLockError::Error(_)) | Ok(()) => Ok(()),
    }
}

/// There is nothing to rename when somebody has taken the file away.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn spec(path: PathBuf, files: u32) -> Record {
        Record { path, size_max: 1_000, files, addresses: false }
    }

    /// Bytes of the header in these tests.
    const HEADER: usize = 33;

    fn header() -> Vec<u8> {
        Header { begun_unix_us: 1, run: 1, addresses: false, setting: "\n".into() }.encode()
    }

    #[test]
    fn the_oldest_goes_and_an_earlier_run_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record");
        let read = |name: &str| fs::read(folder.path().join(name)).ok().map(|bytes| bytes[HEADER..].to_vec());
        let mut files = Files::open(spec(path.clone(), 2), header()).unwrap();
        for number in 0..4 {
            files.append(&[number]).unwrap();
            files.rotate().unwrap();
        }
        files.append(b"last").unwrap();
        let found = ["record", "record.1", "record.2", "record.3"].map(read);
        assert_eq!(found, [Some(b"last".to_vec()), Some(vec![3]), Some(vec![2]), None]);
        assert_eq!(files.room(), (1_000 - HEADER - 4) as u64);
        drop(files);
        // The first has no sessions, and none of the files goes for it.
        for _ in 0..5 {
            Files::open(spec(path.clone(), 2), header()).unwrap();
        }
        let found = ["record", "record.1", "record.2", "record.3"].map(read);
        assert_eq!(found, [Some(vec![]), Some(b"last".to_vec()), Some(vec![3]), None]);
    }

    #[test]
    fn only_the_owner_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record");
        let _files = Files::open(spec(path.clone(), 2), header()).unwrap();
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn without_older_files_the_one_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record");
        let mut files = Files::open(spec(path.clone(), 0), header()).unwrap();
        files.append(b"before").unwrap();
        files.rotate().unwrap();
        files.append(b"after").unwrap();
        assert_eq!(fs::read(path).unwrap()[HEADER..], *b"after");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_was_taken_away_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record");
        let mut files = Files::open(spec(path.clone(), 2), header()).unwrap();
        fs::remove_file(&path).unwrap();
        files.append(b"into the void").unwrap();
        files.rotate().unwrap();
        files.append(b"after").unwrap();
        assert_eq!(fs::read(path).unwrap()[HEADER..], *b"after");
    }

    #[test]
    fn what_is_no_place_for_a_record_says_why_and_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |path: PathBuf| Files::open(spec(path, 2), header()).unwrap_err().to_string();
        assert!(refused(folder.path().to_owned()).contains("is not a regular file"));
        assert!(refused("/dev/full".into()).contains("/dev/full is not a regular file"));
        assert!(refused(folder.path().join("none/record")).contains("give a path in a folder that exists"));
        let other = folder.path().join("passwords");
        fs::write(&other, "secret").unwrap();
        assert!(refused(other.clone()).contains("is not a record of ringway; move it away"));
        assert_eq!(fs::read(other).unwrap(), b"secret");
        let path = folder.path().join("record");
        let _first = Files::open(spec(path.clone(), 2), header()).unwrap();
        assert!(refused(path.clone()).contains("another process"));
        let long = Files::open(spec(folder.path().join("long"), 2), vec![0; 501]).unwrap_err();
        assert!(long.to_string().contains("501 bytes"), "{long}");
    }
}
