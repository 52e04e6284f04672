//! What was sent and what has become of it. Pure: time comes in.

use std::collections::VecDeque;

/// How many datagrams are remembered, of each thread.
pub(crate) const RECORDS_MAX: usize = 4_000_000;

/// Every datagram of the last while, by its number: they are sent in the order of their numbers.
#[derive(Debug)]
pub(super) struct Ledger {
    records: VecDeque<Record>,
    /// The number of the first of `records`.
    base: u64,
    /// All below are settled.
    settled_to: u64,
    waiting: usize,
    timeout_ns: u64,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    at_ns: u64,
    client: u32,
    /// Answers that have not come.
    left: u16,
    fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Waiting,
    Answered,
    Lost,
}

/// What an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The last answer to a datagram that was sent, or should have been sent, then.
    Answered {
        /// When.
        at_ns: u64,
    },
    /// One of several, and not the last.
    Part,
    /// One more than there should be.
    Duplicate,
    /// To a datagram that was given up.
    Late,
    /// To a datagram of another client.
    Misdelivered,
    /// To one that was never sent.
    Unknown,
}

impl Ledger {
    pub(super) fn new(timeout_ns: u64) -> Self {
        Self { records: VecDeque::new(), base: 0, settled_to: 0, waiting: 0, timeout_ns }
    }

    /// How many are neither answered nor lost.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// A datagram is sent; gives its number. `None` if as many are waiting as can be remembered.
    pub(super) fn send(&mut self, client: u32, at_ns: u64, answers: u16) -> Option<u64> {
        if self.records.len() == RECORDS_MAX {
            if self.records.front()?.fate == Fate::Waiting {
                return None;
            }
            self.forget();
        }
        self.records.push_back(Record { at_ns, client, left: answers, fate: Fate::Waiting });
        self.waiting += 1;
        Some(self.base + self.records.len() as u64 - 1)
    }

    /// An answer has come to this client.
    pub(super) fn answer(&mut self, number: u64, client: u32) -> Meaning {
        let Some(place) = number.checked_sub(self.base) else { return Meaning::Late };
        let Some(record) = self.records.get_mut(place as usize) else { return Meaning::Unknown };
        if record.client != client {
            return Meaning::Misdelivered;
        }
        match record.fate {
            Fate::Answered => Meaning::Duplicate,
            Fate::Lost => Meaning::Late,
            Fate::Waiting => {
                record.left -= 1;
                if record.left > 0 {
                    return Meaning::Part;
                }
                record.fate = Fate::Answered;
                self.waiting -= 1;
                Meaning::Answered { at_ns: record.at_ns }
            }
        }
    }

    /// The next datagram that has waited too long: its client, and when it was sent.
    pub(super) fn lose_one(&mut self, now_ns: u64) -> Option<(u32, u64)> {
        while let Some(record) = self.records.get_mut((self.settled_to - self.base) as usize) {
            if record.fate == Fate::Waiting {
                if record.at_ns + self.timeout_ns > now_ns {
                    break;
                }
                record.fate = Fate::Lost;
                self.waiting -= 1;
                self.settled_to += 1;
                return Some((record.client, record.at_ns));
            }
            self.settled_to += 1;
        }
        // What comes later than that is late without a record, too.
        while self.base < self.settled_to
            && self.records.front().is_some_and(|first| first.at_ns + KEPT * self.timeout_ns <= now_ns)
        {
            self.forget();
        }
        None
    }

    /// When the next one that waits will have waited too long; not before [`Ledger::lose_one`] found none.
    pub(super) fn next_loss_ns(&self) -> Option<u64> {
        let next = self.records.get((self.settled_to - self.base) as usize)?;
        Some(next.at_ns + self.timeout_ns)
    }

    fn forget(&mut self) {
        self.records.pop_front();
        self.base += 1;
        self.settled_to = self.settled_to.max(self.base);
    }
}

/// Timeouts for which a datagram is remembered.
const KEPT: u64 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_once_and_only_to_the_client_that_asked() {
        let mut ledger = Ledger::new(100);
        let number = ledger.send(7, 10, 1).unwrap();
        assert_eq!(ledger.answer(number, 8), Meaning::Misdelivered);
        assert_eq!(ledger.answer(number, 7), Meaning::Answered { at_ns: 10 });
        assert_eq!(ledger.answer(number, 7), Meaning::Duplicate);
        assert_eq!(ledger.answer(number + 1, 7), Meaning::Unknown);
        assert_eq!(ledger.waiting(), 0);
    }

    #[test]
    fn of_several_answers_the_last_one_counts() {
        let mut ledger = Ledger::new(100);
        let number = ledger.send(1, 0, 3).unwrap();
        assert_eq!([(); 2].map(|()| ledger.answer(number, 1)), [Meaning::Part; 2]);
        assert_eq!(ledger.answer(number, 1), Meaning::Answered { at_ns: 0 });
        assert_eq!(ledger.answer(number, 1), Meaning::Duplicate);
    }

    #[test]
    fn who_waits_too_long_is_lost_and_what_comes_then_is_late() {
        let mut ledger = Ledger::new(100);
        let numbers = [0, 50, 60].map(|at| ledger.send(at as u32, at, 1).unwrap());
        assert_eq!((ledger.lose_one(99), ledger.next_loss_ns()), (None, Some(100)));
        ledger.answer(numbers[1], 50);
        assert_eq!((ledger.lose_one(160), ledger.lose_one(160)), (Some((0, 0)), Some((60, 60))));
        assert_eq!((ledger.lose_one(160), ledger.next_loss_ns(), ledger.waiting()), (None, None, 0));
        assert_eq!(ledger.answer(numbers[0], 0), Meaning::Late);
        assert_eq!(ledger.answer(numbers[1], 50), Meaning::Duplicate);
        // Long after, it is not remembered any more.
        assert_eq!((ledger.lose_one(1000), ledger.records.len()), (None, 0));
        assert_eq!(ledger.answer(numbers[2], 60), Meaning::Late);
        assert_eq!(ledger.send(1, 1000, 1), Some(3));
    }

    #[test]
    fn no_more_are_remembered_than_there_is_room_for() {
        let mut ledger = Ledger::new(100);
        (0..RECORDS_MAX).for_each(|_| assert!(ledger.send(0, 0, 1).is_some()));
        assert_eq!(ledger.send(0, 0, 1), None);
        ledger.answer(0, 0);
        assert_eq!(ledger.send(0, 0, 1), Some(RECORDS_MAX as u64));
        assert_eq!((ledger.lose_one(100), ledger.answer(0, 0)), (Some((0, 0)), Meaning::Late));
    }
}
