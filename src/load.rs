//! Loads: how many sessions each backend of a pool has, in the whole process, as one worker sees it.
//!
//! Each worker counts its own sessions in a row that only it writes ([`crate::stats::Row`]). What a pick looks at is a
//! total per backend: the worker's own, always up to date, and a sum over the other workers that is read anew, a bounded
//! number of cache lines at each pick. So the rules compare plain numbers that lie side by side.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Signal;
use crate::gate::{Place, Progress, Trial};
use crate::queue::Queue;
use crate::samples::{Sample, Samples, nanos};
use crate::stats::{BackendStats, LINE, PAIRS, Stats, WorkerStats, halves};
use crate::table::BackendId;

/// Cache lines of other workers that one pick reads at most.
///
/// Up to nine workers with 32 backends see each other's counts exactly at each pick; more see counts that are a few
/// picks old, and never older than a tick.
const LINES_PER_PICK: usize = 8;
/// Cache lines that one tick reads at most: some 0.1 ms.
const LINES_PER_TICK: usize = 4096;

/// The sessions of one pool's backends.
#[derive(Debug)]
pub struct Loads {
    /// Where the pool's backends begin in the table.
    first: usize,
    /// Own sessions and those of the others when they were read last.
    totals: Box<[Cell<u32>]>,
    others: RefCell<Others>,
    worker: usize,
    stats: Arc<Stats>,
    own: Arc<WorkerStats>,
    samples: Rc<Samples>,
    /// What the pool measures.
    signal: Signal,
    queue: Arc<Queue>,
    /// After a reload: where the sessions of each place are counted now.
    heirs: RefCell<Box<[Option<Heir>]>>,
}

/// Where the sessions of a backend are counted after a reload: in other loads, at another place.
pub type Heir = (Rc<Loads>, usize);

/// What the loads of a pool are tied to.
#[derive(Debug, Clone)]
pub struct Links {
    /// The counters of all workers.
    pub stats: Arc<Stats>,
    /// Where this worker notes what it measured.
    pub samples: Rc<Samples>,
    /// What the pool measures.
    pub signal: Signal,
    /// Where the pool's sessions wait.
    pub queue: Arc<Queue>,
}

/// The sum over the other workers, read line by line.
#[derive(Debug)]
struct Others {
    sums: Box<[u32]>,
    /// The sum of the line that is being read.
    partial: [u64; PAIRS],
    /// Which line of the pool that is.
    line: usize,
    /// Which of the other workers' lines is read next.
    next: usize,
}

impl Loads {
    /// No sessions yet, for the backends at these places of the table.
    pub fn new(places: Range<usize>, worker: usize, links: Links) -> Rc<Loads> {
        let (first, count) = (places.start, places.len());
        let Links { stats, samples, signal, queue } = links;
        let others = Others { sums: vec![0; count].into(), partial: [0; PAIRS], line: 0, next: 0 };
        Rc::new(Loads {
            first,
            totals: vec![Cell::new(0); count].into(),
            others: RefCell::new(others),
            worker,
            own: Arc::clone(&stats.workers[worker]),
            stats,
            samples,
            signal,
            queue,
            heirs: RefCell::default(),
        })
    }

    /// Has the sessions of these loads counted in those of the next configuration from now on. `heirs` says which backend is
    /// which there, by the place here. The sessions of one that is not there any more are counted here to their end.
    pub fn succeed(&self, heirs: Box<[Option<Heir>]>) {
        assert_eq!(heirs.len(), self.len());
        for (place, heir) in heirs.iter().enumerate() {
            heir.iter().for_each(|heir| self.give(place, heir));
        }
        self.heirs.replace(heirs);
    }

    /// Moves the sessions that are counted here at this place.
    fn give(&self, place: usize, (loads, at): &Heir) {
        let count = self.own.sessions.take(self.id(place));
        loads.own.sessions.add_many(loads.id(*at), count);
        loads.totals[*at].set(loads.totals[*at].get() + count);
        self.totals[place].set(0);
    }

    /// A backend that was removed is there again: its sessions count there from now on.
    pub fn adopt_again(&self, place: usize, heir: Heir) {
        let holder = self.holder(place);
        if holder.as_ref().is_some_and(|(holder, _)| Rc::ptr_eq(holder, &heir.0)) {
            return;
        }
        let (holder, held) = holder.as_ref().map_or((self, place), |(loads, at)| (&**loads, *at));
        holder.give(held, &heir);
        // Wherever that was: who looks there is sent on.
        holder.heirs.borrow_mut()[held] = Some(heir);
    }

    /// Where the sessions of this place are counted, if that is not here.
    fn holder(&self, place: usize) -> Option<Heir> {
        let next = |loads: &Loads, place: usize| loads.heirs.borrow().get(place).cloned().flatten();
        let mut holder = next(self, place)?;
        while let Some(further) = next(&holder.0, holder.1) {
            holder = further;
        }
        Some(holder)
    }

    /// Whether its backends stand before this one in the table.
    pub fn is_before(&self, id: BackendId) -> bool {
        self.first + self.len() <= id.index()
    }

    /// Lets go of what stands between these loads and those in which their sessions are counted: there can be very many
    /// reloads while a session lasts.
    pub fn shorten(&self) {
        for heir in self.heirs.borrow_mut().iter_mut().flatten() {
            if let Some(holder) = heir.0.holder(heir.1) {
                *heir = holder;
            }
        }
    }

    /// Acts where the sessions of this place are counted.
    #[inline]
    fn counted<R>(&self, place: usize, act: impl FnOnce(&Loads, usize) -> R) -> R {
        if self.is_present() { act(self, place) } else { self.counted_elsewhere(place, act) }
    }

    #[cold]
    fn counted_elsewhere<R>(&self, place: usize, act: impl FnOnce(&Loads, usize) -> R) -> R {
        match self.holder(place) {
            Some((holder, at)) => act(&holder, at),
            None => act(self, place),
        }
    }

    /// Whether these are the loads of the present configuration.
    fn is_present(&self) -> bool {
        self.heirs.borrow().is_empty()
    }

    /// The place of a backend of the pool.
    pub fn place(&self, id: BackendId) -> Option<usize> {
        id.index().checked_sub(self.first).filter(|&place| place < self.len())
    }

    /// Sessions of the whole process on the backend at this place of the pool, including those that still connect.
    pub fn active(&self, place: usize) -> u32 {
        self.totals[place].get()
    }

    /// The same for every backend, by place.
    pub fn totals(&self) -> &[Cell<u32>] {
        &self.totals
    }

    /// Those of this worker.
    pub fn own(&self, place: usize) -> u32 {
        self.own.sessions.get(self.id(place))
    }

    /// The backend at this place of the pool.
    pub fn id(&self, place: usize) -> BackendId {
        BackendId::new(self.first + place)
    }

    /// How many backends there are.
    pub fn len(&self) -> usize {
        self.totals.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.totals.is_empty()
    }

    /// Looks at other workers' counts before a pick.
    #[inline]
    pub fn look_around(&self) {
        if self.stats.workers.len() > 1 {
            self.read_lines(LINES_PER_PICK);
        }
    }

    /// Looks at more of them, now and then. `pools` share what a tick may read.
    pub fn look_around_widely(&self, pools: usize) {
        if self.stats.workers.len() > 1 {
            self.read_lines((LINES_PER_TICK / pools).max(LINES_PER_PICK));
        }
    }

    /// Reads so many lines and goes on where the last call left off; no line twice.
    fn read_lines(&self, budget: usize) {
        let mut others = self.others.borrow_mut();
        let (lines, workers) = (self.lines(), self.stats.workers.len() - 1);
        for _ in 0..budget.min(lines.len() * workers) {
            let Others { partial, line, next, .. } = &mut *others;
            // The others are all but this one.
            let worker = *next + usize::from(*next >= self.worker);
            let at = lines.start + *line;
            self.stats.workers[worker].sessions.add_pairs(at, self.pairs(at), partial);
            *next += 1;
            if *next == workers {
                self.commit(&mut others);
                others.next = 0;
                others.line = (others.line + 1) % lines.len();
            }
        }
    }

    /// The lines over which the pool's backends are spread.
    fn lines(&self) -> Range<usize> {
        self.first / LINE..(self.first + self.len()).div_ceil(LINE)
    }

    /// The pairs of a line that have a backend of the pool.
    fn pairs(&self, line: usize) -> Range<usize> {
        let start = self.first.max(line * LINE) - line * LINE;
        let end = (self.first + self.len()).min((line + 1) * LINE) - line * LINE;
        start / 2..end.div_ceil(2)
    }

    /// One line has been read from every other worker: makes its sums the ones that count.
    fn commit(&self, others: &mut Others) {
        let line = self.lines().start + others.line;
        for pair in self.pairs(line) {
            for (half, sum) in halves(std::mem::take(&mut others.partial[pair])).into_iter().enumerate() {
                let Some(place) = (line * LINE + 2 * pair + half).checked_sub(self.first) else { continue };
                // The other half of the last pair can be a backend of the next pool.
                let Some(known) = others.sums.get_mut(place) else { break };
                *known = sum;
                self.totals[place].set(self.own(place) + sum);
            }
        }
    }

    /// Counts a pick. The count is given back when the lease is dropped.
    ///
    /// Counted at the pick and not when connected: a backend that is slow to connect is busy too.
    #[inline]
    pub fn lease(self: &Rc<Loads>, place: usize) -> Lease {
        self.counted(place, |loads, place| {
            let total = &loads.totals[place];
            total.set(total.get() + 1);
            loads.own.sessions.add(loads.id(place));
        });
        self.own.backends[self.id(place).index()].picked.add(1);
        Lease { loads: Rc::clone(self), place, inside: None, trial: None, waiting: Cell::new(None) }
    }
}

/// A counted pick. Gives the count back by drop, on every way out of a session.
#[derive(Debug)]
pub struct Lease {
    loads: Rc<Loads>,
    /// The backend's place in its pool.
    place: usize,
    /// A place inside a backend with a limit.
    inside: Option<Place>,
    /// The right to try out a backend that was ejected.
    trial: Option<Rc<Trial>>,
    /// Since when the session waits for what its pool measures; counted in the worker's figures meanwhile.
    waiting: Cell<Option<Duration>>,
}

impl Lease {
    /// The backend that was picked.
    pub fn backend(&self) -> BackendId {
        self.loads.id(self.place)
    }

    /// Where the backend stands in its pool.
    pub fn place(&self) -> usize {
        self.place
    }

    /// Has it hold a place inside.
    pub fn hold(&mut self, place: Place) {
        self.inside = Some(place);
    }

    /// Makes it the trial of its backend.
    pub fn try_out(&mut self, trial: Trial) {
        self.trial = Some(Rc::new(trial));
    }

    /// The trial of its backend that it is, if it is one.
    pub fn trial(&self) -> Option<Rc<Trial>> {
        self.trial.clone()
    }

    /// Whether it is the trial of its backend.
    pub fn is_trial(&self) -> bool {
        self.trial.is_some()
    }

    /// Notes that the backend owes something from this moment on (since the start of the process), and not from an earlier
    /// one. If it is what the pool measures, the wait counts as soon as it is longer than the usual.
    pub fn expect(&self, signal: Signal, since: Duration) {
        if signal == self.loads.signal {
            self.stop_waiting();
            self.waiting.set(Some(since));
            self.counters().waiting.begin(since);
        }
    }

    /// Notes that the backend gave what it owed, after so long.
    pub fn measured(&self, signal: Signal, took: Duration) {
        if signal == self.loads.signal {
            self.stop_waiting();
        }
        match signal {
            Signal::Connect => {
                self.counters().connected.add(1);
                self.counters().failures_in_row.reset();
                self.tell_trial(Progress::Connected);
            }
            Signal::FirstByte | Signal::Session => {}
        }
        self.loads.counted(self.place, |loads, place| {
            // One that a reload has removed has no figure any more.
            if loads.is_present() {
                loads.samples.note(Sample { backend: loads.id(place), signal, nanos: nanos(took) });
            }
        });
    }

    /// Notes that the backend has served the session, and in time.
    pub fn served(&self) {
        self.counters().served.add(1);
        self.counters().unanswered_in_row.reset();
        self.tell_trial(Progress::Served);
    }

    /// Notes that the backend refused or did not answer. The health thread reads it.
    pub fn failed(&self) {
        self.loads.own.connect_failed(self.backend());
        self.tell_trial(Progress::Failed);
    }

    /// Notes that the backend broke the connection before its first byte. (The worker's tick notes a byte that is late.)
    pub fn unanswered(&self) {
        self.loads.own.unanswered(self.backend());
        self.tell_trial(Progress::Failed);
    }

    fn tell_trial(&self, progress: Progress) {
        if let Some(trial) = &self.trial {
            trial.tell(progress);
        }
    }

    fn stop_waiting(&self) {
        if let Some(since) = self.waiting.take() {
            self.counters().waiting.end(since);
        }
    }

    fn counters(&self) -> &BackendStats {
        &self.loads.own.backends[self.backend().index()]
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.stop_waiting();
        self.loads.counted(self.place, |loads, place| {
            let total = &loads.totals[place];
            assert!(total.get() > 0, "a lease was given back twice");
            total.set(total.get() - 1);
            loads.own.sessions.subtract(loads.id(place));
        });
        if self.inside.take().is_some() {
            self.loads.queue.call_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    /// The loads of worker 1 of three, for backends `places` of 100.
    fn loads(places: Range<usize>) -> (Rc<Loads>, Arc<Stats>) {
        let stats = Arc::new(Stats::new(3, 0, 100));
        let links = Links {
            stats: Arc::clone(&stats),
            samples: Rc::new(Samples::new(samples::channel(1).0)),
            signal: Signal::FirstByte,
            queue: Arc::default(),
        };
        (Loads::new(places, 1, links), stats)
    }

    #[test]
    fn totals_are_exact_wherever_in_the_lines_a_pool_begins_and_ends() {
        for places in [0..1, 31..33, 29..70, 1..2, 63..64, 64..96, 7..100] {
            let (loads, stats) = loads(places.clone());
            // Every backend has a count of its own at each worker; neighbours of the pool have too.
            for at in 0..100 {
                for (worker, times) in [(0, at + 1), (2, 2 * at)] {
                    (0..times).for_each(|_| stats.workers[worker].sessions.add(BackendId::new(at)));
                }
            }
            let held = loads.lease(0);
            loads.look_around_widely(1);
            for (place, at) in places.clone().enumerate() {
                let own = u32::from(place == 0);
                assert_eq!(loads.active(place), 3 * at as u32 + 1 + own, "{at} of {places:?}");
            }
            drop(held);
            assert_eq!(loads.active(0), 3 * places.start as u32 + 1);
        }
    }

    #[test]
    fn sessions_move_to_the_loads_of_the_next_configuration_and_are_given_back_there() {
        let (first, stats) = loads(0..3);
        let held = [0, 1, 1, 2].map(|place| first.lease(place));
        // Place 1 is place 0 now, and place 2 is gone.
        let (second, next) = loads(10..12);
        first.succeed([None, Some((Rc::clone(&second), 0)), None].into());
        assert_eq!((second.active(0), second.own(0), first.own(0), first.own(1)), (2, 2, 1, 0));
        // A retry of an older session counts there too, and once more after another reload.
        let late = first.lease(1);
        let (third, last) = loads(20..24);
        second.succeed([Some((Rc::clone(&third), 3)), None].into());
        first.shorten();
        assert_eq!((third.active(3), second.own(0)), (3, 0));
        assert_eq!(Rc::strong_count(&second), 1, "nobody needs what lies between");
        drop((held, late));
        assert_eq!((third.active(3), first.own(0), first.own(2)), (0, 0, 0));
        let sum = |stats: &Stats| (0..100).map(|at| stats.sessions(BackendId::new(at))).sum::<u64>();
        assert_eq!((sum(&stats), sum(&next), sum(&last)), (0, 0, 0));
    }

    #[test]
    fn a_pick_reads_a_bounded_part_and_all_is_read_in_the_end() {
        let (loads, stats) = loads(0..100);
        (0..100).for_each(|at| stats.workers[0].sessions.add(BackendId::new(at)));
        let seen = || (0..100).filter(|&place| loads.active(place) == 1).count();
        // Four lines at each of two other workers, eight to a pick.
        loads.look_around();
        assert_eq!(seen(), 100);
        stats.workers[2].sessions.add(BackendId::new(99));
        loads.read_lines(3);
        assert_eq!(loads.active(99), 1);
        loads.read_lines(5);
        assert_eq!(loads.active(99), 2);
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Loads that are tied to nothing.

    use super::*;
    use crate::samples;

    /// For this many backends, one worker.
    pub(crate) fn loads(backends: usize) -> Rc<Loads> {
        let links = Links {
            stats: Arc::new(Stats::new(1, 0, backends)),
            samples: Rc::new(Samples::new(samples::channel(1).0)),
            signal: Signal::FirstByte,
            queue: Arc::default(),
        };
        Loads::new(0..backends, 0, links)
    }
}
