//! Writer: puts arrivals into files of bounded size, and counts those that no file takes.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::files::Files;
use super::format::{Coder, Header};
use super::unusable::Unusable;
use crate::arrivals::{Arrival, Counts, List, Setting};
use crate::config::Record;

/// How often it says so, at most.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);
/// How long the process before may take to leave the file once this one has something to write.
const SUCCESSION_TIMEOUT: Duration = Duration::from_secs(1);
/// From one try to have it to the next.
const SUCCESSION_PAUSE: Duration = Duration::from_millis(20);
/// Bytes that are written at once.
const CHUNK_BYTES: usize = 64 << 10;

/// Puts arrivals into files.
#[derive(Debug)]
pub struct Writer {
    files: Files,
    header: Header,
    /// The configuration that the header tells of.
    generation: u64,
    counts: Arc<Counts>,
    /// As of the end of what is pending, and as of the end of the file.
    coder: Coder,
    written: Coder,
    /// Encoded and not yet in the file.
    pending: Vec<u8>,
    pending_count: u64,
    /// Something failed in this round: what is left of it is lost without another try.
    has_failed: bool,
    /// The process before may have the file, for a moment more.
    waits: bool,
    told: Option<Instant>,
}

impl Writer {
    /// Begins a record.
    ///
    /// # Errors
    ///
    /// Why it cannot be written where it should be.
    pub fn open(spec: Record, header: Header, counts: Arc<Counts>) -> Result<Writer, Unusable> {
        let files = Files::open(spec, header.encode())?;
        Ok(Writer::new(files, header, counts))
    }

    /// Begins a record where the process before may still write to it. It leaves it when this one serves.
    ///
    /// # Errors
    ///
    /// Why it cannot be written where it should be.
    pub fn open_after(spec: Record, header: Header, counts: Arc<Counts>) -> Result<Writer, Unusable> {
        let files = Files::open_after(spec, header.encode())?;
        Ok(Writer { waits: true, ..Writer::new(files, header, counts) })
    }

    fn new(files: Files, header: Header, counts: Arc<Counts>) -> Writer {
        Writer {
            files,
            header,
            generation: 1,
            counts,
            coder: Coder::default(),
            written: Coder::default(),
            pending: Vec::new(),
            pending_count: 0,
            has_failed: false,
            waits: false,
            told: None,
        }
    }

    /// Writes these, now.
    pub fn write(&mut self, lists: impl Iterator<Item = List>, now: Instant) {
        self.has_failed = false;
        for List { setting, arrivals } in lists {
            if setting.generation > self.generation {
                self.adopt(&setting, now);
            }
            // One that comes late from before a reload names other backends.
            if self.has_failed || setting.generation < self.generation {
                self.counts.add_lost(arrivals.len() as u64);
                continue;
            }
            for arrival in &arrivals {
                if self.has_failed {
                    self.counts.add_lost(1);
                } else {
                    self.add(arrival, now);
                }
            }
        }
        self.flush(now);
    }

    /// Goes on with another configuration: in a new file, if the record tells it differently.
    fn adopt(&mut self, setting: &Setting, now: Instant) {
        if setting.text != self.header.setting {
            let header = Header { setting: setting.text.clone(), ..self.header.clone() };
            self.flush(now);
            if self.has_failed {
                return;
            }
            if let Err(error) = self.files.set_header(header.encode()) {
                return self.fail(&error, now);
            }
            self.header = header;
            if !self.rotate(now) {
                // The file that there is begins with another header: the next round must try again, not go on there.
                self.header.setting.clear();
                return;
            }
        }
        self.generation = setting.generation;
    }

    fn add(&mut self, arrival: &Arrival, now: Instant) {
        let (before, coder) = (self.pending.len(), self.coder);
        self.coder.encode(arrival, &mut self.pending);
        if self.pending.len() as u64 > self.files.room() {
            self.pending.truncate(before);
            self.coder = coder;
            if !self.rotate(now) {
                return self.counts.add_lost(1);
            }
            self.coder.encode(arrival, &mut self.pending);
        }
        self.pending_count += 1;
        if self.pending.len() >= CHUNK_BYTES {
            self.flush(now);
        }
    }

    /// Goes on in a new file. Whether there is one.
    fn rotate(&mut self, now: Instant) -> bool {
        self.flush(now);
        if self.has_failed {
            return false;
        }
        if let Err(error) = self.begin_another() {
            self.fail(&error, now);
            return false;
        }
        (self.coder, self.written) = (Coder::default(), Coder::default());
        true
    }

    /// Tries for a moment the first time, if the process before may have the file. What comes meanwhile waits for this thread.
    fn begin_another(&mut self) -> io::Result<()> {
        let begun = Instant::now();
        let waits = std::mem::take(&mut self.waits);
        loop {
            match self.files.rotate() {
                Err(_) if waits && begun.elapsed() < SUCCESSION_TIMEOUT => thread::sleep(SUCCESSION_PAUSE),
                result => return result,
            }
        }
    }

    fn flush(&mut self, now: Instant) {
        if self.pending.is_empty() {
            return;
        }
        let count = std::mem::take(&mut self.pending_count);
        match self.files.append(&self.pending) {
            Ok(()) => {
                self.counts.add_written(count);
                self.written = self.coder;
            }
            Err(error) => {
                self.counts.add_lost(count);
                self.coder = self.written;
                self.fail(&error, now);
            }
        }
        self.pending.clear();
    }

    #[cold]
    fn fail(&mut self, error: &dyn fmt::Display, now: Instant) {
        self.has_failed = true;
        if self.told.is_none_or(|told| now - told >= REPORT_INTERVAL) {
            self.told = Some(now);
            tracing::warn!(
                %error,
                lost = self.counts.lost(),
                "the record cannot be written: arrivals are lost, sessions go on; make room on the disk (server.record)"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;
    use crate::arrivals::Client;
    use crate::end::End;
    use crate::table::BackendId;
    use std::fs;
    use std::path::Path;

    const SETTING: &str = "[[listener]]\nname='a'\nbind='127.0.0.1:1'\npool='p'\n\
                           [[pool]]\nname='p'\n[[pool.backend]]\naddress='127.0.0.1:2'\n";

    /// A list of the first configuration.
    fn list(arrivals: impl IntoIterator<Item = Arrival>) -> impl Iterator<Item = List> {
        let setting = Arc::new(Setting { generation: 1, text: SETTING.into() });
        std::iter::once(List { setting, arrivals: arrivals.into_iter().collect() })
    }

    fn header() -> Header {
        Header { begun_unix_us: 1_000, run: 1, addresses: false, setting: SETTING.into() }
    }

    fn arrival(number: u64) -> Arrival {
        Arrival {
            listener: 0,
            pool: 0,
            backend: Some(BackendId::new(0)),
            client: Client::Hash(number),
            accepted_us: number * 100,
            waited_us: 1,
            connect_us: Some(2),
            first_byte_us: Some(3),
            duration_us: 10,
            bytes_to_backend: 4,
            bytes_to_client: 5,
            end: End::Complete,
        }
    }

    fn open(path: &Path, size_max: u64, files: u32) -> Writer {
        let spec = Record { path: path.to_owned(), size_max, files, addresses: false };
        Writer::open(spec, header(), Arc::default()).unwrap()
    }

    #[test]
    fn no_file_is_larger_than_allowed_and_the_newest_arrivals_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record");
        let mut writer = open(&path, 4_096, 2);
        for round in 0..100 {
            writer.write(list((round * 100..(round + 1) * 100).map(arrival)), Instant::now());
        }
        assert_eq!((writer.counts.written(), writer.counts.lost()), (10_000, 0));
        let mut found = Vec::new();
        for name in ["record.2", "record.1", "record"] {
            let path = folder.path().join(name);
            let length = fs::metadata(&path).unwrap().len();
            assert!(length <= 4_096);
            assert!(length > 3_900 || name == "record");
            found.extend(read(&path).unwrap().arrivals);
        }
        let first = 10_000 - found.len() as u64;
        assert!(found.len() > 300);
        assert_eq!(found, (first..10_000).map(arrival).collect::<Vec<_>>());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }

    #[test]
    fn what_no_file_takes_is_counted_and_what_follows_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record");
        let mut writer = open(&path, 64 << 10, 2);
        writer.write(list((0..100).map(arrival)), Instant::now());
        // Rotation fails: there is a folder that is not empty where the older file should go.
        fs::create_dir_all(folder.path().join("record.2/in the way")).unwrap();
        fs::write(folder.path().join("record.1"), b"").unwrap();
        writer.write(list((100..10_000).map(arrival)), Instant::now());
        let written = writer.counts.written();
        assert!((2_000..9_000).contains(&written));
        assert_eq!(written + writer.counts.lost(), 10_000);
        fs::remove_dir_all(folder.path().join("record.2")).unwrap();
        writer.write(list((10_000..10_100).map(arrival)), Instant::now());
        assert_eq!(writer.counts.written(), written + 100);
        assert_eq!(read(&path).unwrap().arrivals, (10_000..10_100).map(arrival).collect::<Vec<_>>());
        let older = read(&folder.path().join("record.1")).unwrap();
        assert_eq!(older.arrivals, (0..written).map(arrival).collect::<Vec<_>>());
    }

    #[test]
    fn another_configuration_begins_another_file_and_what_is_late_of_the_first_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record");
        let counts = Arc::new(Counts::default());
        let spec = Record { path: path.clone(), size_max: 1 << 20, files: 2, addresses: false };
        let mut writer = Writer::open(spec, header(), Arc::clone(&counts)).unwrap();
        let of = |generation, text: &str, numbers: std::ops::Range<u64>| List {
            setting: Arc::new(Setting { generation, text: text.into() }),
            arrivals: numbers.map(arrival).collect(),
        };
        let other = SETTING.replace("127.0.0.1:2", "127.0.0.1:3");
        let lists = [of(1, SETTING, 0..3), of(2, SETTING, 3..5), of(3, &other, 5..9), of(1, SETTING, 90..97)];
        writer.write(lists.into_iter(), Instant::now());
        let older = read(&folder.path().join("record.1")).unwrap();
        assert_eq!((older.header.setting.as_str(), older.arrivals.len()), (SETTING, 5));
        let newest = read(&path).unwrap();
        assert_eq!((newest.header.setting, newest.arrivals.len()), (other, 4));
        assert_eq!((counts.written(), counts.lost()), (9, 7));
    }
}
