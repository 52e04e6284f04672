//! Entries: how what the access log tells of sessions that ended gets from the workers to the thread that writes it.
//!
//! As with arrivals a worker only appends to a list; its tick hands the list over, whole, through a bounded channel. What
//! finds no room is counted and dropped: no session waits for whoever reads the log.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};

use crate::config::{AccessLog, Address, Only};
use crate::end::End;
use crate::generation::Generation;
use crate::routing::NAME_MAX;
use crate::session_id::SessionId;
use crate::table::BackendId;

/// Entries that a worker keeps between two ticks at most: 160,000 a second.
const ENTRIES_MAX: usize = 8_192;
/// Lists under way per worker.
const LISTS_MAX: usize = 8;

/// What entries on their way may take of each worker's memory: the lists under way, the one that is written to, and the
/// one that is read from. Clients that speak TLS may all have the longest name of a server, where those are read.
pub fn bytes_per_worker_max(has_server_names: bool) -> usize {
    let name = if has_server_names { NAME_MAX } else { 0 };
    (LISTS_MAX + 2) * ENTRIES_MAX * (size_of::<Entry>() + name)
}

/// A session that has ended. Times are in microseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Which one it was.
    pub id: SessionId,
    /// Who it was.
    pub client: Address,
    /// Which listener accepted it.
    pub listener: u32,
    /// The port at which that was; 0 of a Unix socket.
    pub port: u16,
    /// The pool that served it, or would have.
    pub pool: u32,
    /// The backend that was picked for it last, if any.
    pub backend: Option<BackendId>,
    /// When it was accepted, since the process began to serve.
    pub accepted_us: u64,
    /// From then to the last pick; to the end, if it ended in a queue.
    pub waited_us: Option<u64>,
    /// From the pick to the connection.
    pub connect_us: Option<u64>,
    /// What the backend took for its first byte.
    pub first_byte_us: Option<u64>,
    /// From the accept to the end.
    pub duration_us: u64,
    /// Bytes carried from the client.
    pub bytes_to_backend: u64,
    /// Bytes carried to the client.
    pub bytes_to_client: u64,
    /// Sessions that waited for a place before it, when it last began to wait.
    pub behind: u32,
    /// Times that a backend was picked.
    pub picks: u16,
    /// How far it came.
    pub reached: Reached,
    /// Whether it ended because its backend had not answered: to the connect, or to what the client had sent.
    pub unanswered: bool,
    /// Why it ended.
    pub end: End,
    /// The server that a client of TLS asked for, where that is read.
    pub server_name: Option<Box<str>>,
}

/// How far a session came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// It had still to be said who its client is, or where that wants to go.
    Greeting,
    /// It waited for a backend that was not at its limit.
    Queue,
    /// It chose and connected.
    Connect,
    /// It carried bytes, or could have.
    Data,
}

impl Entry {
    /// Whether nothing went wrong: it came to its end, with the first backend that it was given.
    pub fn went_well(&self) -> bool {
        self.end == End::Complete && self.picks <= 1
    }
}

/// What became of the entries of all workers.
#[derive(Debug, Default)]
pub struct Counts {
    lines_written: AtomicU64,
    lines_dropped: AtomicU64,
}

impl Counts {
    /// So many have been taken.
    pub fn add_written(&self, count: u64) {
        self.lines_written.fetch_add(count, Ordering::Relaxed);
    }

    /// So many never will be.
    pub fn add_dropped(&self, count: u64) {
        self.lines_dropped.fetch_add(count, Ordering::Relaxed);
    }

    /// Those that were taken by whatever the log is written to.
    pub fn lines_written(&self) -> u64 {
        self.lines_written.load(Ordering::Relaxed)
    }

    /// Those that found no room on their way, or that nothing took.
    pub fn lines_dropped(&self) -> u64 {
        self.lines_dropped.load(Ordering::Relaxed)
    }
}

/// Entries under way.
#[derive(Debug)]
pub struct List {
    /// The configuration whose listeners and backends they name.
    pub generation: Arc<Generation>,
    /// In the order in which they ended.
    pub entries: Vec<Entry>,
}

/// The sending end, which each worker clones.
#[derive(Debug, Clone)]
pub struct Sender {
    lists: SyncSender<List>,
    counts: Arc<Counts>,
    only: Only,
    sample_ppm: u32,
}

/// Where the lists of all workers arrive.
#[derive(Debug)]
pub struct Inbox {
    lists: Receiver<List>,
    counts: Arc<Counts>,
}

/// Both ends.
pub fn channel(workers: usize, spec: &AccessLog) -> (Sender, Inbox) {
    let (lists, receiver) = mpsc::sync_channel(workers * LISTS_MAX);
    let counts = Arc::new(Counts::default());
    let inbox = Inbox { lists: receiver, counts: Arc::clone(&counts) };
    (Sender { lists, counts, only: spec.only, sample_ppm: spec.sample_ppm }, inbox)
}

/// A worker's list of entries.
#[derive(Debug)]
pub struct Entries {
    list: RefCell<Vec<Entry>>,
    generation: Arc<Generation>,
    sender: Sender,
}

impl Entries {
    /// An empty list.
    pub fn new(sender: Sender, generation: Arc<Generation>) -> Entries {
        Entries { list: RefCell::default(), generation, sender }
    }

    /// Adds one, if it is to be logged; counts it as dropped when the list is full. `millionth` draws a number below a
    /// million, for those of which only some are logged.
    pub fn note(&self, entry: Entry, millionth: impl FnOnce() -> u32) {
        if !self.wants(&entry, millionth) {
            return;
        }
        let mut list = self.list.borrow_mut();
        if list.len() < ENTRIES_MAX {
            list.push(entry);
        } else {
            self.sender.counts.add_dropped(1);
        }
    }

    fn wants(&self, entry: &Entry, millionth: impl FnOnce() -> u32) -> bool {
        let Sender { only, sample_ppm, .. } = self.sender;
        if !entry.went_well() {
            return true;
        }
        only == Only::All && (sample_ppm >= AccessLog::WHOLE_PPM || millionth() < sample_ppm)
    }

    /// Hands the list over. Never waits: if the other end is behind, the list goes with the next tick.
    pub fn hand_over(&self) {
        let mut list = self.list.borrow_mut();
        if list.is_empty() {
            return;
        }
        let next = Vec::with_capacity(list.len());
        let entries = std::mem::replace(&mut *list, next);
        match self.sender.lists.try_send(List { generation: Arc::clone(&self.generation), entries }) {
            Ok(()) => {}
            Err(TrySendError::Full(kept) | TrySendError::Disconnected(kept)) => *list = kept.entries,
        }
    }
}

impl Drop for Entries {
    fn drop(&mut self) {
        self.hand_over();
        self.sender.counts.add_dropped(self.list.borrow().len() as u64);
    }
}

impl Inbox {
    /// The next list, if one has arrived.
    pub fn take(&mut self) -> Option<List> {
        self.lists.try_recv().ok()
    }

    /// What becomes of the entries.
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{LogFormat, LogTo};

    fn spec(only: Only, sample_ppm: u32) -> AccessLog {
        AccessLog { to: LogTo::Stdout, format: LogFormat::Text, only, sample_ppm }
    }

    fn generation() -> Arc<Generation> {
        let text = "[[listener]]\nname='a'\nbind='127.0.0.1:1'\npool='p'\n[[pool]]\nname='p'\n\
                    [[pool.backend]]\naddress='127.0.0.1:2'\n";
        Arc::new(Generation::first(crate::config::parse("test", text).unwrap(), vec![], 1).0)
    }

    fn everything() -> AccessLog {
        spec(Only::All, AccessLog::WHOLE_PPM)
    }

    fn entry(number: u64, end: End, picks: u16) -> Entry {
        Entry {
            id: SessionId::new(0, number),
            client: "127.0.0.1:1".parse().unwrap(),
            listener: 0,
            port: 443,
            pool: 0,
            backend: None,
            accepted_us: 0,
            waited_us: None,
            connect_us: None,
            first_byte_us: None,
            duration_us: 0,
            bytes_to_backend: 0,
            bytes_to_client: 0,
            behind: 0,
            picks,
            reached: Reached::Data,
            unanswered: false,
            end,
            server_name: None,
        }
    }

    fn well(number: u64) -> Entry {
        entry(number, End::Complete, 1)
    }

    /// The numbers of those that arrived.
    fn arrived(inbox: &mut Inbox) -> Vec<u64> {
        std::iter::from_fn(|| inbox.take())
            .flat_map(|list| list.entries)
            .map(|entry| entry.id.number())
            .collect()
    }

    #[test]
    fn what_was_noted_arrives_in_order_and_once() {
        let (sender, mut inbox) = channel(1, &everything());
        let entries = Entries::new(sender, generation());
        entries.note(well(1), || unreachable!("all are logged"));
        entries.note(well(2), || unreachable!("all are logged"));
        assert!(arrived(&mut inbox).is_empty(), "nothing goes before the tick");
        entries.hand_over();
        entries.hand_over();
        assert_eq!(arrived(&mut inbox), [1, 2]);
    }

    #[test]
    fn a_reader_that_is_behind_costs_lines_which_are_counted_and_never_waits() {
        let (sender, mut inbox) = channel(1, &everything());
        let entries = Entries::new(sender, generation());
        for _ in 0..LISTS_MAX {
            entries.note(well(1), || 0);
            entries.hand_over();
        }
        for _ in 0..ENTRIES_MAX + 7 {
            entries.note(well(1), || 0);
            entries.hand_over();
        }
        assert_eq!(inbox.counts().lines_dropped(), 7);
        drop(entries);
        assert_eq!(inbox.counts().lines_dropped(), 7 + ENTRIES_MAX as u64);
        assert_eq!(arrived(&mut inbox).len(), LISTS_MAX);
    }

    #[test]
    fn of_those_that_went_well_some_are_logged_and_of_the_others_all() {
        let mixed = |spec: &AccessLog| {
            let (sender, mut inbox) = channel(1, spec);
            let entries = Entries::new(sender, generation());
            for (number, drawn) in [(1, 0), (2, 249_999), (3, 250_000), (4, 999_999)] {
                entries.note(well(number), || drawn);
            }
            entries.note(entry(5, End::ClientReset, 1), || 999_999);
            // It came to its end, but with the second backend.
            entries.note(entry(6, End::Complete, 2), || 999_999);
            entries.hand_over();
            assert_eq!(inbox.counts().lines_dropped(), 0, "what is not wanted is not dropped");
            arrived(&mut inbox)
        };
        assert_eq!(mixed(&everything()), [1, 2, 3, 4, 5, 6]);
        assert_eq!(mixed(&spec(Only::All, 250_000)), [1, 2, 5, 6]);
        assert_eq!(mixed(&spec(Only::Errors, AccessLog::WHOLE_PPM)), [5, 6]);
    }
}
