//! Waiting to the microsecond: the runtime's own timer rounds up to whole milliseconds, which a schedule of arrivals
//! or a service time of 200 us would not survive.

use std::{
    cell::RefCell,
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
    io,
    os::fd::OwnedFd,
    rc::Rc,
    time::{Duration, Instant},
};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::{io::unix::AsyncFd, sync::oneshot, task};

/// One kernel timer for all sleepers of a thread.
#[derive(Debug)]
pub(crate) struct Alarm {
    timer: AsyncFd<OwnedFd>,
    // One entry per sleeper, so bounded by the connections of the thread.
    sleepers: RefCell<BinaryHeap<Reverse<Sleeper>>>,
}

impl Alarm {
    /// An alarm for this thread; must be called on a `LocalSet`, which also ends it.
    pub(crate) fn start() -> io::Result<Rc<Self>> {
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        #[expect(
            deprecated,
            reason = "the successor is an unsafe function, and what it asks for is what an OwnedFd is: open, and the same"
        )]
        let timer = AsyncFd::new(timer)?;
        let alarm = Rc::new(Self { timer, sleepers: RefCell::default() });
        task::spawn_local(Rc::clone(&alarm).ring());
        Ok(alarm)
    }

    /// Returns at once if `at` is past.
    pub(crate) async fn sleep_until(&self, at: Instant) {
        if at <= Instant::now() {
            return;
        }
        let (wake, woken) = oneshot::channel();
        let is_next = self.sleepers.borrow().peek().is_none_or(|Reverse(next)| at < next.at);
        self.sleepers.borrow_mut().push(Reverse(Sleeper { at, wake }));
        if is_next {
            self.set(at);
        }
        // An error would mean that the alarm has gone, which ends with the LocalSet that also runs this sleeper.
        let _ = woken.await;
    }

    /// As [`Alarm::sleep_until`], counted from now.
    pub(crate) async fn sleep(&self, duration: Duration) {
        if !duration.is_zero() {
            self.sleep_until(Instant::now() + duration).await;
        }
    }

    async fn ring(self: Rc<Self>) {
        loop {
            let mut ready = self.timer.readable().await.expect("the runtime runs as long as its tasks");
            // Setting the timer again, or the next expiry, makes it readable anew; the count inside is of no interest.
            let mut expiries = [0; 8];
            let _ = ready.try_io(|timer| Ok(rustix::io::read(timer, &mut expiries)?));
            self.wake_due(Instant::now());
        }
    }

    fn wake_due(&self, now: Instant) {
        let mut sleepers = self.sleepers.borrow_mut();
        while sleepers.peek().is_some_and(|Reverse(next)| next.at <= now) {
            let Reverse(due) = sleepers.pop().expect("just seen");
            // The sleeper may have been dropped, by a deadline for example.
            let _ = due.wake.send(());
        }
        if let Some(Reverse(next)) = sleepers.peek() {
            self.set(next.at);
        }
    }

    fn set(&self, at: Instant) {
        // Zero would switch the timer off.
        let wait = at.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
        let value = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)
            .expect("a timer of our own takes any wait that is not negative");
    }
}

#[derive(Debug)]
struct Sleeper {
    at: Instant,
    wake: oneshot::Sender<()>,
}

impl Ord for Sleeper {
    fn cmp(&self, other: &Self) -> Ordering {
        self.at.cmp(&other.at)
    }
}

impl PartialOrd for Sleeper {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Sleeper {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Sleeper {}

#[cfg(test)]
mod tests {
    use tokio::{runtime, task::LocalSet, time::timeout};

    use super::*;

    fn on_a_local_set(test: impl Future<Output = ()>) {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, async {
            timeout(Duration::from_secs(20), test).await.expect("the test ends in time");
        });
    }

    #[test]
    fn sleepers_wake_in_the_order_of_their_times_and_never_early() {
        on_a_local_set(async {
            let alarm = Alarm::start().unwrap();
            let start = Instant::now();
            let woken = Rc::new(RefCell::new(Vec::new()));
            let sleepers = [30, 10, 20, 0].map(|wait_ms| {
                let (alarm, woken) = (Rc::clone(&alarm), Rc::clone(&woken));
                task::spawn_local(async move {
                    let at = start + Duration::from_millis(wait_ms);
                    alarm.sleep_until(at).await;
                    assert!(Instant::now() >= at);
                    woken.borrow_mut().push(wait_ms);
                })
            });
            for sleeper in sleepers {
                sleeper.await.unwrap();
            }
            assert_eq!(*woken.borrow(), [0, 10, 20, 30]);
        });
    }

    #[test]
    fn a_sleeper_does_not_wait_for_one_with_a_later_time() {
        on_a_local_set(async {
            let alarm = Alarm::start().unwrap();
            let later = Rc::clone(&alarm);
            task::spawn_local(async move { later.sleep(Duration::from_secs(3600)).await });
            task::yield_now().await;
            assert_eq!(alarm.sleepers.borrow().len(), 1);
            alarm.sleep(Duration::from_millis(1)).await;
        });
    }

    #[test]
    fn a_dropped_sleeper_does_not_hold_up_the_others() {
        on_a_local_set(async {
            let alarm = Alarm::start().unwrap();
            let gone = timeout(Duration::from_millis(1), alarm.sleep(Duration::from_millis(5))).await;
            assert!(gone.is_err());
            alarm.sleep(Duration::from_millis(10)).await;
        });
    }
}
