//! Files: the one that is written, and the older ones beside it.
//!
//! A file that would become too large is renamed to `NAME.1`, what was `NAME.1` to `NAME.2`, and so on; the oldest goes. A
//! write that fails leaves the file as it was before it, so that what follows later can be read. What is not a record is never
//! written to, renamed or replaced, wherever it stands.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::format::{Fault, HEADER_BYTES_MAX, Header, MAGIC};
use super::unusable::Unusable;
use crate::config::Record;

/// Who came when is not for everybody.
const OWNER_ONLY: u32 = 0o600;
/// Links that are followed from the path to the file.
const LINKS_MAX: u32 = 40;

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
        let path = behind_links(&spec.path)?;
        let mut files = Files { spec: Record { path, ..spec }, header, current: None };
        files.look_at_the_older()?;
        files.begin()?;
        Ok(files)
    }

    /// The same where the process before may still write to the file: then it is begun by [`Files::rotate`].
    pub(super) fn open_after(spec: Record, header: Vec<u8>) -> Result<Files, Unusable> {
        match Files::open(spec.clone(), header.clone()) {
            Err(Unusable::InUse(_)) => {
                let path = behind_links(&spec.path)?;
                Ok(Files { spec: Record { path, ..spec }, header, current: None })
            }
            opened => opened,
        }
    }

    /// What the next file begins with.
    pub(super) fn set_header(&mut self, header: Vec<u8>) -> Result<(), Unusable> {
        let bytes = header.len() as u64;
        if bytes > self.spec.size_max / 2 {
            return Err(Unusable::LongHeader(bytes));
        }
        self.header = header;
        Ok(())
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
        // Only once, however often it has to be tried to begin another: or the older ones would go one by one. And only
        // what is ours: somebody may have moved the file away, and put another in its place.
        if let Some(current) = &self.current {
            if is_at(&current.file, &self.spec.path) {
                self.keep().map_err(io::Error::other)?;
            }
            self.current = None;
        }
        self.begin().map_err(io::Error::other)
    }

    /// Makes the file the first of the older ones.
    fn keep(&self) -> Result<(), Unusable> {
        self.look_at_the_older()?;
        for number in (1..self.spec.files).rev() {
            rename(&self.older(number), &self.older(number + 1))?;
        }
        if self.spec.files > 0 { rename(&self.spec.path, &self.older(1)) } else { Ok(()) }
    }

    fn begin(&mut self) -> Result<(), Unusable> {
        let path = &self.spec.path;
        let found = claim(path)?;
        // What was found stays locked until the new one is: of two that start at once, one is refused.
        let new = if found.has_sessions && self.spec.files > 0 {
            self.keep()?;
            Some(claim(path)?)
        } else {
            None
        };
        let file = new.unwrap_or(found).file;
        let begun = file.set_len(0).and_then(|()| file.write_all_at(&self.header, 0));
        begun.map_err(|error| Unusable::Io(path.clone(), error))?;
        self.current = Some(Current { file, length: self.header.len() as u64 });
        Ok(())
    }

    /// What stands where older files go must be older files.
    fn look_at_the_older(&self) -> Result<(), Unusable> {
        for path in (1..=self.spec.files).map(|number| self.older(number)) {
            let unusable = |error| Unusable::Io(path.clone(), error);
            if !is_there(&path)? {
                continue;
            }
            let file = match options().open(&path) {
                // Another ringway, which has the file, has renamed it just now.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                file => file.map_err(unusable)?,
            };
            let mut begins = Vec::new();
            file.take(MAGIC.len() as u64).read_to_end(&mut begins).map_err(unusable)?;
            if !MAGIC.starts_with(&begins) {
                return Err(Unusable::NotARecord(path));
            }
        }
        Ok(())
    }

    fn older(&self, number: u32) -> PathBuf {
        let mut name = OsString::from(&self.spec.path);
        name.push(format!(".{number}"));
        PathBuf::from(name)
    }
}

/// A file of ours, locked.
struct Claimed {
    file: File,
    /// A record without sessions is of no use.
    has_sessions: bool,
}

/// Makes the file, or takes the record that is there. Anything else that is there stays as it is.
fn claim(path: &Path) -> Result<Claimed, Unusable> {
    let is_new = !is_there(path)?;
    let unusable = |error: io::Error| match error.kind() {
        // Somebody else was quicker.
        ErrorKind::WouldBlock | ErrorKind::AlreadyExists => Unusable::InUse(path.to_owned()),
        ErrorKind::NotFound if !is_new => Unusable::InUse(path.to_owned()),
        _ => Unusable::Io(path.to_owned(), error),
    };
    let file = options().write(true).create_new(is_new).mode(OWNER_ONLY).open(path).map_err(unusable)?;
    lock(&file).map_err(unusable)?;
    // It may have become an older one before it was locked.
    if !is_at(&file, path) {
        return Err(Unusable::InUse(path.to_owned()));
    }
    let mut begins = Vec::new();
    (&file).take(HEADER_BYTES_MAX as u64 + 1).read_to_end(&mut begins).map_err(unusable)?;
    let has_sessions = match Header::decode(&begins) {
        Ok((_, length)) => begins.len() > length,
        Err(Fault::Cut) => false,
        Err(Fault::NotARecord) if begins.is_empty() => false,
        Err(Fault::NotARecord) => return Err(Unusable::NotARecord(path.to_owned())),
        Err(Fault::Version(_) | Fault::Damaged(_)) => true,
    };
    let found = file.metadata().map_err(unusable)?;
    if found.mode() & 0o777 != OWNER_ONLY {
        file.set_permissions(Permissions::from_mode(OWNER_ONLY)).map_err(unusable)?;
    }
    Ok(Claimed { file, has_sessions })
}

/// What is put in our place is not followed, and what waits for another process not waited for.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    options
}

/// Where a path leads that is a link: the older ones are to be beside the file.
fn behind_links(path: &Path) -> Result<PathBuf, Unusable> {
    let mut found = path.to_owned();
    for _ in 0..LINKS_MAX {
        let Ok(target) = fs::read_link(&found) else { return Ok(found) };
        // Told from where the link is, unless it is absolute.
        found = found.parent().unwrap_or(Path::new("")).join(target);
    }
    Err(Unusable::Io(path.to_owned(), io::Error::from_raw_os_error(libc::ELOOP)))
}

/// Whether there is a file. It is a mistake if there is something else.
fn is_there(path: &Path) -> Result<bool, Unusable> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Unusable::Io(path.to_owned(), error)),
        Ok(found) if found.is_file() => Ok(true),
        Ok(_) => Err(Unusable::NotAFile(path.to_owned())),
    }
}

/// Whether the path still leads to the file.
fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(ours), Ok(found)) = (file.metadata(), fs::symlink_metadata(path)) else { return false };
    (ours.dev(), ours.ino()) == (found.dev(), found.ino())
}

/// Two that write to one file would make it unreadable. A file system that knows no locks is no reason to record nothing.
fn lock(file: &File) -> io::Result<()> {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(ErrorKind::WouldBlock.into()),
        Err(TryLockError::Error(_)) | Ok(()) => Ok(()),
    }
}

/// There is nothing to rename when somebody has taken the file away.
fn rename(from: &Path, to: &Path) -> Result<(), Unusable> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Unusable::Io(from.to_owned(), error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::process::Command;
    use std::sync::Barrier;
    use std::thread;

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
    fn what_was_there_before_can_be_read_by_the_owner_only_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record");
        let older = folder.path().join("record.1");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let open_up = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(&path, b"").unwrap();
        open_up(&path);
        let mut files = Files::open(spec(path.clone(), 2), header()).unwrap();
        assert_eq!(mode(&path), 0o600);
        files.append(b"something").unwrap();
        open_up(&path);
        drop(files);
        let _files = Files::open(spec(path.clone(), 2), header()).unwrap();
        assert_eq!([mode(&path), mode(&older)], [0o600; 2]);
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
    fn what_stands_where_older_files_go_and_is_none_is_refused_and_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let [path, first, second] = ["record", "record.1", "record.2"].map(|name| folder.path().join(name));
        let mut files = Files::open(spec(path.clone(), 2), header()).unwrap();
        files.append(b"sessions").unwrap();
        fs::write(&second, "secret").unwrap();
        assert!(files.rotate().unwrap_err().to_string().contains("record.2 exists and is not a record"));
        files.append(b"more").unwrap();
        drop(files);
        let refused = || Files::open(spec(path.clone(), 2), header()).unwrap_err().to_string();
        assert!(refused().contains("record.2 exists and is not a record"));
        symlink(&second, &first).unwrap();
        assert!(refused().contains("record.1 is not a regular file; move it away"));
        fs::remove_file(&first).unwrap();
        assert!(Command::new("mkfifo").arg(&first).status().unwrap().success());
        assert!(refused().contains("record.1 is not a regular file"));
        assert_eq!(fs::read(&second).unwrap(), b"secret");
        assert_eq!(fs::read(&path).unwrap()[HEADER..], *b"sessionsmore");
    }

    #[test]
    fn what_somebody_put_in_the_place_of_the_file_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let [path, other] = ["record", "other"].map(|name| folder.path().join(name));
        fs::write(&other, "secret").unwrap();
        for files in [0, 2] {
            let mut files = Files::open(spec(path.clone(), files), header()).unwrap();
            for link in [false, true] {
                fs::remove_file(&path).unwrap();
                if link {
                    symlink(&other, &path).unwrap()
                } else {
                    fs::write(&path, "secret").unwrap()
                }
                files.rotate().unwrap_err();
                assert_eq!(fs::read(&path).unwrap(), b"secret");
                assert!(!folder.path().join("record.1").exists());
            }
            fs::remove_file(&path).unwrap();
            files.rotate().unwrap();
        }
        assert_eq!(fs::read(&other).unwrap(), b"secret");
    }

    #[test]
    fn older_files_are_beside_the_file_where_the_path_is_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let [disk, link] = ["disk", "link"].map(|name| folder.path().join(name));
        fs::create_dir(&disk).unwrap();
        // There is no file yet where it leads.
        symlink("disk/record", &link).unwrap();
        let mut files = Files::open(spec(link.clone(), 2), header()).unwrap();
        files.append(b"before").unwrap();
        files.rotate().unwrap();
        files.append(b"after").unwrap();
        drop(files);
        assert_eq!(fs::read(&link).unwrap()[HEADER..], *b"after");
        assert_eq!(fs::read(disk.join("record.1")).unwrap()[HEADER..], *b"before");
        assert_eq!(fs::read_link(&link).unwrap(), Path::new("disk/record"));
        let circle = folder.path().join("circle");
        symlink(&circle, &circle).unwrap();
        let refused = Files::open(spec(circle, 2), header()).unwrap_err().to_string();
        assert!(refused.contains("Too many levels of symbolic links"), "{refused}");
    }

    #[test]
    fn of_several_that_start_at_once_one_has_the_file_and_nothing_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record");
        for round in 0..200_u32 {
            let start = Barrier::new(4);
            let begin = || {
                start.wait();
                Files::open(spec(path.clone(), 3), header())
            };
            let mut begun: Vec<_> = thread::scope(|scope| {
                let threads = [(); 4].map(|()| scope.spawn(begin));
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            for refused in begun.iter().filter_map(|begun| begun.as_ref().err()) {
                assert!(matches!(refused, Unusable::InUse(_)), "{refused}");
            }
            begun.retain(Result::is_ok);
            assert_eq!(begun.len(), 1, "round {round}");
            begun[0].as_mut().unwrap().append(&round.to_le_bytes()).unwrap();
            drop(begun);
            for (age, name) in ["record", "record.1", "record.2", "record.3"].into_iter().enumerate() {
                let Some(number) = round.checked_sub(age as u32) else { continue };
                assert_eq!(fs::read(folder.path().join(name)).unwrap()[HEADER..], number.to_le_bytes());
            }
        }
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
