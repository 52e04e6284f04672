//! Queue: where sessions wait while every backend of a pool is full, in the order in which they came.
//!
//! Shared by all workers. It has a lock, which nobody holds across an await or a system call, and which is taken only
//! while somebody waits: whoever gives a place back looks at one number first.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The line before one pool.
#[derive(Debug, Default)]
pub struct Queue {
    line: Mutex<VecDeque<Ticket>>,
    /// How many stand in it, for those who only want to know whether anybody does.
    waiting: AtomicU32,
}

#[derive(Debug)]
struct Ticket {
    /// Grows along the line.
    number: u64,
    called: Arc<Notify>,
}

impl Queue {
    /// Joins at the end, unless `max` wait already.
    pub fn join(&self, max: u32) -> Option<Waiting<'_>> {
        let mut line = self.lock();
        if line.len() >= max as usize {
            return None;
        }
        let number = line.back().map_or(0, |last| last.number + 1);
        let called = Arc::new(Notify::new());
        line.push_back(Ticket { number, called: Arc::clone(&called) });
        self.waiting.store(line.len() as u32, Ordering::Relaxed);
        Some(Waiting { queue: self, number, called })
    }

    /// How many wait.
    pub fn len(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls the one that has waited longest: there may be a place.
    pub fn call_first(&self) {
        if !self.is_empty() {
            self.call(0);
        }
    }

    fn call(&self, place: usize) {
        let called = self.lock().get(place).map(|ticket| Arc::clone(&ticket.called));
        // Not under the lock: it wakes another thread.
        called.inspect(|called| called.notify_one());
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Ticket>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody in the line. Leaves by drop; whoever is first then is called.
#[derive(Debug)]
pub struct Waiting<'a> {
    queue: &'a Queue,
    number: u64,
    called: Arc<Notify>,
}

impl Waiting<'_> {
    /// Until this one is called. A call that comes while nobody listens is kept.
    pub async fn called(&self) {
        self.called.notified().await;
    }

    /// Whether nobody has waited longer.
    pub fn is_first(&self) -> bool {
        self.place(&self.queue.lock()) == 0
    }

    /// Calls the one behind this one: what there is may be of use to it.
    pub fn call_next(&self) {
        let next = self.place(&self.queue.lock()) + 1;
        self.queue.call(next);
    }

    fn place(&self, line: &VecDeque<Ticket>) -> usize {
        line.partition_point(|ticket| ticket.number < self.number)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut line = self.queue.lock();
        let place = self.place(&line);
        let left = line.remove(place);
        debug_assert_eq!(left.map(|ticket| ticket.number), Some(self.number));
        self.queue.waiting.store(line.len() as u32, Ordering::Relaxed);
        drop(line);
        // It may have been called, and leave without having taken what there is. It may have taken it, and there is more.
        self.queue.call_first();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Waker};

    fn is_called(waiting: &Waiting<'_>) -> bool {
        pin!(waiting.called()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn it_takes_so_many_and_lets_go_by_drop() {
        let queue = Queue::default();
        let one = queue.join(1).unwrap();
        assert!(queue.join(1).is_none());
        assert_eq!(queue.len(), 1);
        drop(one);
        assert!(queue.is_empty() && queue.join(1).is_some());
        assert!(queue.join(0).is_none());
    }

    #[test]
    fn the_first_is_called_and_the_next_when_it_leaves_however_it_leaves() {
        let queue = Queue::default();
        let [one, two, three] = [(); 3].map(|()| queue.join(9).unwrap());
        assert!(one.is_first() && !two.is_first());
        queue.call_first();
        assert!(is_called(&one) && !is_called(&one) && !is_called(&two));
        drop(one);
        assert!(two.is_first() && is_called(&two) && !is_called(&three));
        // Called, and gone before it heard of it: the call is not lost.
        queue.call_first();
        drop(two);
        assert!(three.is_first() && is_called(&three));
    }

    #[test]
    fn who_leaves_from_the_middle_changes_nothing_for_the_others() {
        let queue = Queue::default();
        let [one, two, three] = [(); 3].map(|()| queue.join(9).unwrap());
        drop(two);
        one.call_next();
        assert!(is_called(&three) && !three.is_first());
        let four = queue.join(9).unwrap();
        three.call_next();
        assert!(is_called(&four));
        four.call_next();
        assert_eq!(queue.len(), 3);
    }
}
