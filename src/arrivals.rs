//! Arrivals: how what a worker knows of the sessions that have ended gets to the thread that records them.
//!
//! As with samples a worker only appends to a list; its tick hands the list over, whole, through a bounded channel, and one
//! that is full before goes at once. What finds no room is counted and lost: no session waits for a disk.

use std::cell::RefCell;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};

use crate::end::End;
use crate::table::BackendId;

/// Arrivals in one list at most.
const ARRIVALS_MAX: usize = 8_192;
/// Lists under way per worker: of full ones, 300,000 arrivals a second, as they are taken out five times a second.
const LISTS_MAX: usize = 8;
/// What arrivals on their way may take of each worker's memory: the lists under way, the one that is written to, and the
/// one that is read from.
pub const BYTES_PER_WORKER_MAX: usize = (LISTS_MAX + 2) * ARRIVALS_MAX * size_of::<Arrival>();

/// Who came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Client {
    /// A number that tells who is the same client, as long as the process lasts, and nothing else of it.
    Hash(u64),
    /// An address, without its port.
    Address(IpAddr),
}

/// A session that came and went. Times are in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Which listener accepted it.
    pub listener: u32,
    /// The pool that served it, or would have.
    pub pool: u32,
    /// The backend that it was given last, if any.
    pub backend: Option<BackendId>,
    /// Who it was.
    pub client: Client,
    /// When it was accepted, since the process began to serve.
    pub accepted_us: u64,
    /// From then to the last pick: what it waited for a place or lost at backends that failed. All of it, if there was no pick.
    pub waited_us: u64,
    /// From the pick to the connection, if there was one.
    pub connect_us: Option<u64>,
    /// What the backend took for its first byte, if that is known.
    pub first_byte_us: Option<u64>,
    /// From the accept to the end.
    pub duration_us: u64,
    /// Bytes carried from the client.
    pub bytes_to_backend: u64,
    /// Bytes carried to the client.
    pub bytes_to_client: u64,
    /// Why it ended.
    pub end: End,
}

/// What became of the arrivals of all workers.
#[derive(Debug, Default)]
pub struct Counts {
    written: AtomicU64,
    lost: AtomicU64,
}

impl Counts {
    /// So many are in a file.
    pub fn add_written(&self, count: u64) {
        self.written.fetch_add(count, Ordering::Relaxed);
    }

    /// So many are in none, and never will be.
    pub fn add_lost(&self, count: u64) {
        self.lost.fetch_add(count, Ordering::Relaxed);
    }

    /// Those that are in a file.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Those that found no room on their way, or that no file took.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// A configuration as the record keeps it: arrivals name its listeners and backends by their places.
#[derive(Debug, PartialEq, Eq)]
pub struct Setting {
    /// Which one: each reload makes another.
    pub generation: u64,
    /// Its listeners, pools and backends.
    pub text: String,
}

/// Arrivals under way.
#[derive(Debug)]
pub struct List {
    /// What they name.
    pub setting: Arc<Setting>,
    /// In the order in which they ended.
    pub arrivals: Vec<Arrival>,
}

/// The sending end, which each worker clones.
#[derive(Debug, Clone)]
pub struct Sender {
    lists: SyncSender<List>,
    first: Arc<Setting>,
    counts: Arc<Counts>,
    /// What makes numbers of addresses; `None` where addresses are wanted.
    ///
    /// SipHash with a key that is drawn at the start and told to nobody. A hash without a key, or XXH3 with a seed, would not
    /// do: all addresses can be tried, and one known client would tell the seed.
    keys: Option<RandomState>,
}

/// Where the lists of all workers arrive.
#[derive(Debug)]
pub struct Inbox {
    lists: Receiver<List>,
    counts: Arc<Counts>,
}

/// Both ends. `addresses` is whether clients are told by their addresses.
pub fn channel(workers: usize, addresses: bool, first: Setting) -> (Sender, Inbox) {
    let (sender, receiver) = mpsc::sync_channel(workers * LISTS_MAX);
    let counts = Arc::new(Counts::default());
    let keys = (!addresses).then(RandomState::new);
    let (first, own) = (Arc::new(first), Arc::clone(&counts));
    (Sender { lists: sender, first, counts: own, keys }, Inbox { lists: receiver, counts })
}

/// A worker's list of arrivals.
#[derive(Debug)]
pub struct Arrivals {
    list: RefCell<Vec<Arrival>>,
    setting: RefCell<Arc<Setting>>,
    sender: Sender,
}

impl Arrivals {
    /// An empty list.
    pub fn new(sender: Sender) -> Arrivals {
        Arrivals { list: RefCell::default(), setting: RefCell::new(Arc::clone(&sender.first)), sender }
    }

    /// How a client is told.
    pub fn client(&self, address: IpAddr) -> Client {
        let address = address.to_canonical();
        match &self.sender.keys {
            Some(keys) => Client::Hash(keys.hash_one(address)),
            None => Client::Address(address),
        }
    }

    /// From now on arrivals are of this configuration.
    pub fn begin(&self, setting: Arc<Setting>) {
        self.hand_over();
        self.lose(std::mem::take(&mut *self.list.borrow_mut()).len() as u64);
        self.setting.replace(setting);
    }

    /// Counts some that cannot be told of.
    pub fn lose(&self, count: u64) {
        self.sender.counts.add_lost(count);
    }

    /// Whether arrivals are of this configuration now.
    pub fn are_of(&self, generation: u64) -> bool {
        self.setting.borrow().generation == generation
    }

    /// Adds one, or counts it as lost when the list is full and could not be handed over.
    pub fn note(&self, arrival: Arrival) {
        let mut list = self.list.borrow_mut();
        if list.len() == ARRIVALS_MAX {
            return self.sender.counts.add_lost(1);
        }
        list.push(arrival);
        if list.len() == ARRIVALS_MAX {
            // Once: if the other end is behind, only ticks try again.
            drop(list);
            self.hand_over();
        }
    }

    /// Hands the list over. Never waits: if the other end is behind, the list goes with the next tick.
    pub fn hand_over(&self) {
        let mut list = self.list.borrow_mut();
        if list.is_empty() {
            return;
        }
        let next = Vec::with_capacity(list.len());
        let arrivals = std::mem::replace(&mut *list, next);
        match self.sender.lists.try_send(List { setting: Arc::clone(&self.setting.borrow()), arrivals }) {
            Ok(()) => {}
            Err(TrySendError::Full(kept) | TrySendError::Disconnected(kept)) => *list = kept.arrivals,
        }
    }
}

impl Drop for Arrivals {
    fn drop(&mut self) {
        self.hand_over();
        self.sender.counts.add_lost(self.list.borrow().len() as u64);
    }
}

impl Inbox {
    /// Takes everything that has arrived.
    pub fn drain(&mut self) -> impl Iterator<Item = List> + '_ {
        self.lists.try_iter()
    }

    /// What becomes of the arrivals.
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first() -> Setting {
        Setting { generation: 1, text: String::new() }
    }

    fn arrival(accepted_us: u64) -> Arrival {
        Arrival {
            listener: 0,
            pool: 0,
            backend: None,
            client: Client::Hash(0),
            accepted_us,
            waited_us: 0,
            connect_us: None,
            first_byte_us: None,
            duration_us: 0,
            bytes_to_backend: 0,
            bytes_to_client: 0,
            end: End::Complete,
        }
    }

    #[test]
    fn what_was_noted_arrives_in_order_and_once() {
        let (sender, mut inbox) = channel(1, false, first());
        let arrivals = Arrivals::new(sender);
        arrivals.note(arrival(1));
        arrivals.note(arrival(2));
        assert_eq!(inbox.drain().flat_map(|list| list.arrivals).count(), 0, "nothing goes before the tick");
        arrivals.hand_over();
        arrivals.hand_over();
        let arrived: Vec<u64> =
            inbox.drain().flat_map(|list| list.arrivals).map(|arrival| arrival.accepted_us).collect();
        assert_eq!(arrived, [1, 2]);
    }

    #[test]
    fn each_list_is_of_one_configuration() {
        let (sender, mut inbox) = channel(1, false, first());
        let arrivals = Arrivals::new(sender);
        arrivals.note(arrival(1));
        arrivals.begin(Arc::new(Setting { generation: 2, text: "next".into() }));
        assert!(arrivals.are_of(2) && !arrivals.are_of(1));
        arrivals.note(arrival(2));
        arrivals.hand_over();
        let lists = inbox.drain().map(|list| (list.setting.generation, list.arrivals[0].accepted_us));
        assert_eq!(lists.collect::<Vec<_>>(), [(1, 1), (2, 2)]);
    }

    #[test]
    fn a_full_list_goes_without_waiting_for_the_tick() {
        let (sender, mut inbox) = channel(1, false, first());
        let arrivals = Arrivals::new(sender);
        let count = 2 * ARRIVALS_MAX as u64 + 5;
        (0..count).for_each(|number| arrivals.note(arrival(number)));
        arrivals.hand_over();
        assert_eq!(inbox.counts().lost(), 0);
        assert!(inbox.drain().flat_map(|list| list.arrivals).map(|arrival| arrival.accepted_us).eq(0..count));
    }

    #[test]
    fn a_receiver_that_is_behind_costs_arrivals_which_are_counted_and_never_waits() {
        let (sender, mut inbox) = channel(1, false, first());
        let arrivals = Arrivals::new(sender);
        for _ in 0..LISTS_MAX {
            arrivals.note(arrival(1));
            arrivals.hand_over();
        }
        for _ in 0..ARRIVALS_MAX + 7 {
            arrivals.note(arrival(1));
            arrivals.hand_over();
        }
        assert_eq!(inbox.counts().lost(), 7);
        drop(arrivals);
        assert_eq!(inbox.counts().lost(), 7 + ARRIVALS_MAX as u64);
        assert_eq!(inbox.drain().flat_map(|list| list.arrivals).count(), LISTS_MAX);
    }

    #[test]
    fn a_client_has_one_number_in_a_process_and_another_in_the_next() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let one = Arrivals::new(channel(1, false, first()).0);
        let other_worker = Arrivals::new(one.sender.clone());
        let mapped = one.client(address("::ffff:192.0.2.1"));
        assert_eq!(mapped, other_worker.client(address("192.0.2.1")));
        assert_ne!(mapped, one.client(address("192.0.2.2")));
        let next_process = Arrivals::new(channel(1, false, first()).0);
        assert_ne!(mapped, next_process.client(address("192.0.2.1")));
        let with_addresses = Arrivals::new(channel(1, true, first()).0);
        let told = with_addresses.client(address("::ffff:192.0.2.1"));
        assert_eq!(told, Client::Address(address("192.0.2.1")));
    }
}
