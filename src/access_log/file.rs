//! File: lines to whatever has a descriptor: a file, a pipe, a terminal.
//!
//! A pipe takes a write of up to 4 KiB whole or not at all (`PIPE_BUF`), so more is never written there at once, and only
//! when it says that it has room. What a full disk takes of a line is cut off again.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Seek as _, SeekFrom, Write as _};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::lines::Lines;
use crate::net;

/// What anything but a regular file is given at once.
const PIECE_BYTES: usize = 4_096;

/// Something that takes lines.
#[derive(Debug)]
pub(super) struct Stream {
    file: File,
    is_regular: bool,
    standard: Option<Standard>,
    /// The last line that was written is not whole, and could not be cut off.
    is_torn: bool,
}

/// Others write there too, from other threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standard {
    Output,
    Error,
}

impl Stream {
    /// Standard output or standard error, whatever that is.
    pub(super) fn standard(which: Standard) -> io::Result<Stream> {
        let file = match which {
            Standard::Output => io::stdout().as_fd().try_clone_to_owned(),
            Standard::Error => io::stderr().as_fd().try_clone_to_owned(),
        };
        Stream::new(file?.into(), Some(which))
    }

    fn open(path: &Path) -> io::Result<Stream> {
        // Who came when is not for everybody. Without O_NONBLOCK a FIFO that nobody reads would hold us up here already.
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o640)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(path)?;
        Stream::new(file, None)
    }

    fn new(file: File, standard: Option<Standard>) -> io::Result<Stream> {
        let is_regular = file.metadata()?.is_file();
        Ok(Stream { file, is_regular, standard, is_torn: false })
    }

    /// Writes lines until none is left, or nothing more is taken before `until`.
    pub(super) fn write(&mut self, lines: &mut Lines, until: Instant) -> io::Result<()> {
        while !lines.is_empty() {
            let patience = until.saturating_duration_since(Instant::now());
            if !self.is_regular && !net::await_writable(&self.file, patience)? {
                return Ok(());
            }
            match self.write_some(lines) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                result => result?,
            }
        }
        Ok(())
    }

    fn write_some(&mut self, lines: &mut Lines) -> io::Result<()> {
        // So that no line stands in the middle of a table.
        let _output = (self.standard == Some(Standard::Output)).then(|| io::stdout().lock());
        let _error = (self.standard == Some(Standard::Error)).then(|| io::stderr().lock());
        if self.is_torn {
            self.file.write_all(b"\n")?;
            self.is_torn = false;
        }
        let piece = lines.next(if self.is_regular { usize::MAX } else { PIECE_BYTES });
        let (count, result) = write_until_error(&self.file, piece);
        let part = lines.take(count);
        if part > 0 {
            self.is_torn = !self.is_regular || self.cut(part as u64).is_err();
        }
        result
    }

    /// Takes back the last bytes, unless somebody has written behind them.
    fn cut(&mut self, count: u64) -> io::Result<()> {
        let end = self.file.stream_position()?;
        if self.file.metadata()?.len() != end {
            return Err(ErrorKind::Other.into());
        }
        self.file.set_len(end - count)?;
        self.file.seek(SeekFrom::Start(end - count)).map(|_| ())
    }
}

/// How much was written, and why not all of it. A full disk takes a part first, and says why only then.
fn write_until_error(mut file: &File, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut count = 0;
    while count < bytes.len() {
        match file.write(&bytes[count..]) {
            Ok(0) => return (count, Err(ErrorKind::WriteZero.into())),
            Ok(more) => count += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return (count, Err(error)),
        }
    }
    (count, Ok(()))
}

/// A file with a name, or a FIFO.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    /// `None` while it is a FIFO that nobody reads: the kernel does not let us open that.
    stream: Option<Stream>,
}

impl LogFile {
    /// Opens it, or makes it; what there is stays.
    pub(super) fn open(path: &Path) -> io::Result<LogFile> {
        Ok(LogFile { path: path.to_owned(), stream: open_if_read(path)? })
    }

    /// Goes on in the file that has the name now. If there can be none, in the one before.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        self.stream = open_if_read(&self.path)?;
        Ok(())
    }

    pub(super) fn write(&mut self, lines: &mut Lines, until: Instant) -> io::Result<()> {
        let stream = match self.stream.take() {
            Some(stream) => stream,
            None => Stream::open(&self.path)?,
        };
        self.stream.insert(stream).write(lines, until)
    }
}

fn open_if_read(path: &Path) -> io::Result<Option<Stream>> {
    match Stream::open(path) {
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => Ok(None),
        result => result.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Duration;

    fn lines(texts: &[&str]) -> Lines {
        let mut lines = Lines::default();
        for text in texts {
            lines.add(|bytes| bytes.extend_from_slice(text.as_bytes()));
        }
        lines
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    #[test]
    fn lines_follow_what_is_there_and_only_the_owner_and_the_group_can_read_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        for text in ["one\n", "two\n"] {
            LogFile::open(&path).unwrap().write(&mut lines(&[text]), soon()).unwrap();
        }
        assert_eq!(fs::read(&path).unwrap(), b"one\ntwo\n");
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o137, 0);
    }

    #[test]
    fn after_a_rename_lines_go_to_the_old_file_until_it_is_opened_anew() {
        let folder = tempfile::tempdir().unwrap();
        let [path, old] = ["log", "log.1"].map(|name| folder.path().join(name));
        let mut file = LogFile::open(&path).unwrap();
        file.write(&mut lines(&["one\n"]), soon()).unwrap();
        fs::rename(&path, &old).unwrap();
        file.write(&mut lines(&["two\n"]), soon()).unwrap();
        file.reopen().unwrap();
        file.write(&mut lines(&["three\n"]), soon()).unwrap();
        assert_eq!(fs::read(&old).unwrap(), b"one\ntwo\n");
        assert_eq!(fs::read(&path).unwrap(), b"three\n");
        // It cannot be opened: better the old one than none.
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(file.reopen().is_err());
        assert!(file.write(&mut lines(&["four\n"]), soon()).is_ok());
    }

    #[test]
    fn part_of_a_line_is_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut stream = Stream::open(&path).unwrap();
        stream.file.write_all(b"one\ntw").unwrap();
        stream.cut(2).unwrap();
        stream.write(&mut lines(&["two\n"]), soon()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one\ntwo\n");
        // Somebody else has written meanwhile: that stays.
        stream.file.write_all(b"th").unwrap();
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"other\n").unwrap();
        assert!(stream.cut(2).is_err());
        stream.is_torn = true;
        stream.write(&mut lines(&["three\n"]), soon()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one\ntwo\nthother\n\nthree\n");
    }

    #[test]
    fn a_device_that_is_full_says_so_and_a_pipe_that_is_full_is_left_alone() {
        let mut full = LogFile::open(Path::new("/dev/full")).unwrap();
        let mut one = lines(&["one\n"]);
        assert_eq!(full.write(&mut one, soon()).unwrap_err().kind(), ErrorKind::StorageFull);
        assert_eq!(one.left(), 1);
        let (_reader, writer) = io::pipe().unwrap();
        let file = File::from(std::os::fd::OwnedFd::from(writer));
        let mut pipe = Stream::new(file, None).unwrap();
        let mut many = Lines::default();
        let line = [b'x'; 999];
        (0..1_000).for_each(|_| many.add(|bytes| bytes.extend_from_slice(&line)));
        pipe.write(&mut many, soon()).unwrap();
        assert!((1..1_000).contains(&many.left()), "{}", many.left());
    }
}
