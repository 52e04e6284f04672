//! Samples: how a worker hands what it measured to the thread that makes figures of it.
//!
//! A worker only appends to a list; its tick hands the list over, whole, through a bounded channel. Histograms are kept
//! once per backend, where the lists arrive, and not once per worker: with 64 workers they would be 64 times the memory
//! for the same figure.

use std::cell::{Cell, RefCell};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::time::Duration;

use crate::config::Signal;
use crate::table::BackendId;

/// Samples that a worker keeps between two ticks at most: over a million a second.
const SAMPLES_MAX: usize = 65_536;
/// Lists under way per worker.
const LISTS_MAX: usize = 16;

/// One thing that was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Where.
    pub backend: BackendId,
    /// What.
    pub signal: Signal,
    /// How long it took.
    pub nanos: u64,
}

/// A time as samples have it.
pub fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A worker's list of samples.
#[derive(Debug)]
pub struct Samples {
    list: RefCell<Vec<Sample>>,
    generation: Cell<u64>,
    /// Those that did not fit, since the last list.
    left_out: Cell<u64>,
    sender: SyncSender<List>,
}

/// Samples under way.
#[derive(Debug)]
pub struct List {
    /// The configuration whose backends they name.
    generation: u64,
    samples: Vec<Sample>,
    /// Samples that did not fit into it.
    left_out: u64,
}

/// Where the lists of all workers arrive.
#[derive(Debug)]
pub struct Inbox {
    lists: Receiver<List>,
    lost: u64,
}

/// The sending end, which each worker clones, and the receiving end.
pub fn channel(workers: usize) -> (SyncSender<List>, Inbox) {
    let (sender, receiver) = mpsc::sync_channel(workers * LISTS_MAX);
    (sender, Inbox { lists: receiver, lost: 0 })
}

impl Samples {
    /// An empty list.
    pub fn new(sender: SyncSender<List>) -> Samples {
        Samples { list: RefCell::default(), generation: Cell::new(1), left_out: Cell::new(0), sender }
    }

    /// Adds one. When the list is full it is left out: the others of the same moment tell the same.
    pub fn note(&self, sample: Sample) {
        let mut list = self.list.borrow_mut();
        if list.len() < SAMPLES_MAX {
            list.push(sample);
        } else {
            self.left_out.set(self.left_out.get() + 1);
        }
    }

    /// Hands the list over. Never waits: if the other end is behind, the list goes with the next tick.
    pub fn hand_over(&self) {
        let mut list = self.list.borrow_mut();
        if list.is_empty() {
            return;
        }
        let next = Vec::with_capacity(list.len());
        let samples = std::mem::replace(&mut *list, next);
        let (generation, left_out) = (self.generation.get(), self.left_out.get());
        match self.sender.try_send(List { generation, samples, left_out }) {
            Ok(()) => self.left_out.set(0),
            Err(TrySendError::Full(kept) | TrySendError::Disconnected(kept)) => *list = kept.samples,
        }
    }

    /// From now on samples name the backends of this configuration. Hands the list over before, or leaves it out.
    pub fn begin(&self, generation: u64) {
        self.hand_over();
        let lost = self.list.take().len() as u64;
        self.left_out.set(self.left_out.get() + lost);
        self.generation.set(generation);
    }
}

impl Inbox {
    /// Takes everything that has arrived of this configuration. Lists of another one meet in a reload: they name other
    /// backends, and are left out.
    pub fn drain(&mut self, generation: u64) -> impl Iterator<Item = Sample> + '_ {
        let Inbox { lists, lost } = self;
        lists.try_iter().flat_map(move |list| {
            *lost += list.left_out;
            if list.generation == generation {
                return list.samples;
            }
            *lost += list.samples.len() as u64;
            Vec::new()
        })
    }

    /// Samples so far that nobody has got.
    pub fn lost(&self) -> u64 {
        self.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(nanos: u64) -> Sample {
        Sample { backend: BackendId::new(0), signal: Signal::Connect, nanos }
    }

    #[test]
    fn what_was_noted_arrives_in_order_and_once() {
        let (sender, mut inbox) = channel(1);
        let samples = Samples::new(sender);
        samples.note(sample(1));
        samples.note(sample(2));
        assert_eq!(inbox.drain(1).count(), 0, "nothing goes before the tick");
        samples.hand_over();
        samples.hand_over();
        let arrived: Vec<u64> = inbox.drain(1).map(|sample| sample.nanos).collect();
        assert_eq!(arrived, [1, 2]);
    }

    #[test]
    fn samples_of_another_configuration_are_left_out() {
        let (sender, mut inbox) = channel(2);
        let [early, late] = [Samples::new(sender.clone()), Samples::new(sender)];
        early.note(sample(1));
        early.begin(2);
        early.note(sample(2));
        early.hand_over();
        late.note(sample(3));
        late.hand_over();
        let arrived: Vec<u64> = inbox.drain(2).map(|sample| sample.nanos).collect();
        assert_eq!(arrived, [2]);
    }

    #[test]
    fn a_receiver_that_is_behind_costs_samples_and_never_waits() {
        let (sender, mut inbox) = channel(1);
        let samples = Samples::new(sender);
        for _ in 0..LISTS_MAX + 5 {
            samples.note(sample(1));
            samples.hand_over();
        }
        for _ in 0..2 * SAMPLES_MAX {
            samples.note(sample(1));
        }
        assert_eq!(inbox.drain(1).count(), LISTS_MAX);
        samples.hand_over();
        assert_eq!(inbox.drain(1).count(), SAMPLES_MAX);
    }
}
