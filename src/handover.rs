//! Handover: how a connection gets from the worker that accepted it to the worker that serves it.
//!
//! Each worker has an inbox, into which every worker may put. Inboxes are bounded: what does not fit stays where it is, and
//! nobody ever waits for room. An inbox ends when nobody is left who may put something in, and not before it is empty: so a
//! worker that serves its inbox to the end has lost nobody, whoever stopped first.

use std::cell::RefCell;
use std::future::poll_fn;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::access::Pass;
use crate::config::Address;

/// Connections in one inbox, at most. They count as sessions, so that the limit on these bounds them too.
pub const INBOX_MAX: usize = 256;

/// A connection that has been accepted and is not yet a session.
#[derive(Debug)]
pub struct Connection {
    /// The client's socket.
    pub client: OwnedFd,
    /// The client's address.
    pub address: Address,
    /// Which listener accepted it: an index into the configuration's listeners.
    pub listener: usize,
    /// At which of its ports; 0 of a Unix socket.
    pub port: u16,
    /// Which configuration that is.
    pub generation: u64,
    /// What counts it where the listener has limits.
    pub pass: Pass,
}

/// A connection under way. Whoever admits it drops this afterwards: so it is counted at every moment.
#[derive(Debug)]
pub struct Handed {
    /// What has been handed over.
    pub connection: Connection,
    place: Place,
}

impl Handed {
    /// The connection, and what says that it is under way until it is dropped.
    pub fn into_parts(self) -> (Connection, Place) {
        (self.connection, self.place)
    }
}

/// How many connections are under way to one worker. Written by hand-overs only, and by nothing on the same line.
#[derive(Debug, Default)]
#[repr(align(128))]
struct UnderWay(AtomicU64);

/// One of those under way; given back by drop.
#[derive(Debug)]
pub struct Place(Arc<[UnderWay]>, usize);

impl Place {
    fn new(under_way: &Arc<[UnderWay]>, worker: usize) -> Place {
        under_way[worker].0.fetch_add(1, Ordering::Relaxed);
        Place(Arc::clone(under_way), worker)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Release: whoever does not see it here any more sees the session that it has become.
        self.0[self.1].0.fetch_sub(1, Ordering::Release);
    }
}

/// Where one worker puts what others are to serve.
#[derive(Debug)]
pub struct Outbox {
    /// One set for all workers. When the last of them lets it go every inbox ends.
    inboxes: RefCell<Option<Arc<[Sender<Handed>]>>>,
    under_way: Arc<[UnderWay]>,
}

/// Where one worker finds what it is to serve.
#[derive(Debug)]
pub struct Inbox(RefCell<Receiver<Handed>>);

/// Both ends of one worker.
#[derive(Debug)]
pub struct Boxes {
    /// To the others.
    pub outbox: Outbox,
    /// From the others.
    pub inbox: Inbox,
}

/// The boxes of so many workers.
pub fn between(workers: usize) -> Vec<Boxes> {
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..workers).map(|_| mpsc::channel(INBOX_MAX)).unzip();
    let (senders, under_way): (Arc<[_]>, Arc<[_]>) =
        (senders.into(), (0..workers).map(|_| UnderWay::default()).collect());
    let outbox =
        || Outbox { inboxes: RefCell::new(Some(Arc::clone(&senders))), under_way: Arc::clone(&under_way) };
    let boxes = |receiver| Boxes { outbox: outbox(), inbox: Inbox(RefCell::new(receiver)) };
    receivers.into_iter().map(boxes).collect()
}

impl Outbox {
    /// Hands a connection over, or gives it back: the inbox is full, its worker is gone, or the outbox is shut.
    pub fn hand_over(&self, worker: usize, connection: Connection) -> Result<(), Connection> {
        let inboxes = self.inboxes.borrow();
        let Some(inboxes) = &*inboxes else { return Err(connection) };
        let handed = Handed { connection, place: Place::new(&self.under_way, worker) };
        inboxes[worker].try_send(handed).map_err(|refused| refused.into_inner().connection)
    }

    /// How many connections are under way to a worker. Read this before what the worker says of its sessions: what is in
    /// neither of the two has ended.
    pub fn under_way(&self, worker: usize) -> u64 {
        self.under_way[worker].0.load(Ordering::Acquire)
    }

    /// How many are under way to all workers.
    pub fn under_way_to_all(&self) -> u64 {
        (0..self.under_way.len()).map(|worker| self.under_way(worker)).sum()
    }

    /// Whether anything may still be put in.
    pub fn is_open(&self) -> bool {
        self.inboxes.borrow().is_some()
    }

    /// Nothing more is handed over from here.
    pub fn shut(&self) {
        drop(self.inboxes.take());
    }
}

impl Inbox {
    /// The next one, or `None` when there is none and none can come.
    pub async fn next(&self) -> Option<Handed> {
        poll_fn(|context| self.0.borrow_mut().poll_recv(context)).await
    }

    /// Refuses what comes from now on, and returns what has come.
    pub fn shut(&self) -> Vec<Handed> {
        let mut receiver = self.0.borrow_mut();
        receiver.close();
        std::iter::from_fn(|| receiver.try_recv().ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn connection(listener: usize) -> Connection {
        let client = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = client.local_addr().unwrap();
        Connection {
            client: client.into(),
            address: address.into(),
            listener,
            port: 0,
            generation: 1,
            pass: Pass::default(),
        }
    }

    fn poll(inbox: &Inbox) -> Poll<Option<Handed>> {
        pin!(inbox.next()).poll(&mut Context::from_waker(Waker::noop()))
    }

    fn listener(handed: Poll<Option<Handed>>) -> Option<usize> {
        match handed {
            Poll::Ready(Some(handed)) => Some(handed.connection.listener),
            _ => None,
        }
    }

    #[test]
    fn what_is_handed_over_counts_until_it_is_dropped() {
        let boxes = between(3);
        boxes[0].outbox.hand_over(2, connection(7)).unwrap();
        boxes[1].outbox.hand_over(2, connection(8)).unwrap();
        assert_eq!([0, 1, 2].map(|worker| boxes[0].outbox.under_way(worker)), [0, 0, 2]);
        let Poll::Ready(Some(first)) = poll(&boxes[2].inbox) else { panic!("nothing came") };
        assert_eq!((first.connection.listener, boxes[1].outbox.under_way_to_all()), (7, 2));
        drop(first);
        assert_eq!(boxes[1].outbox.under_way_to_all(), 1);
        assert_eq!(listener(poll(&boxes[2].inbox)), Some(8));
        assert_eq!(boxes[2].outbox.under_way_to_all(), 0);
        assert!(poll(&boxes[2].inbox).is_pending());
    }

    #[test]
    fn an_inbox_ends_when_the_last_worker_has_shut_its_outbox_and_it_is_empty() {
        let boxes = between(3);
        boxes[2].outbox.shut();
        boxes[1].outbox.shut();
        assert!(boxes[1].outbox.hand_over(2, connection(0)).is_err());
        boxes[0].outbox.hand_over(2, connection(9)).unwrap();
        assert!(boxes[0].outbox.is_open());
        assert!(poll(&boxes[1].inbox).is_pending(), "worker 0 may still hand over");
        boxes[0].outbox.shut();
        assert_eq!(listener(poll(&boxes[2].inbox)), Some(9));
        for Boxes { inbox, .. } in &boxes {
            assert!(matches!(poll(inbox), Poll::Ready(None)));
        }
    }

    #[test]
    fn a_full_inbox_gives_back_and_counts_nothing() {
        let boxes = between(2);
        for _ in 0..INBOX_MAX {
            boxes[0].outbox.hand_over(1, connection(0)).unwrap();
        }
        assert_eq!(boxes[0].outbox.hand_over(1, connection(5)).unwrap_err().listener, 5);
        assert_eq!(boxes[0].outbox.under_way(1), INBOX_MAX as u64);
        assert_eq!(boxes[1].inbox.shut().len(), INBOX_MAX);
        assert_eq!(boxes[0].outbox.under_way(1), 0);
        assert!(boxes[0].outbox.hand_over(1, connection(0)).is_err(), "its worker is gone");
        assert_eq!(boxes[0].outbox.under_way(1), 0);
    }
}
