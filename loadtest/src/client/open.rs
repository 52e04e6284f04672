//! The open loop: requests start when they are due, and are timed from when they were due. A server that stalls gets
//! no fewer requests for it, and the wait it causes is seen.

use std::{cell::RefCell, io, rc::Rc, sync::Arc, time::Duration, time::Instant};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{spawn_local, yield_now},
};

use super::{
    Client,
    link::{Idle, Link},
};
use crate::{alarm::Alarm, schedule::Timetable};

/// Starts this thread's share of the arrivals, then waits for the last to end.
pub(super) async fn run(client: &Rc<Client>, timetable: &Timetable, new_connections: bool) -> io::Result<()> {
    let connections = client.connections();
    let slots = Arc::new(Semaphore::new(connections));
    let pool = Rc::new(Pool { idle: RefCell::default(), keep: !new_connections });
    let alarm = Alarm::start()?;
    // The whole timetable is the same for any number of threads; they take turns.
    let mut arrivals = (0..).zip(timetable.schedule()).skip(client.thread).step_by(client.run.threads);
    while let Some((number, at)) = arrivals.next() {
        let due = client.start + at;
        if wait_until(due, &alarm, client).await == Wait::Stopped {
            let mut tally = client.tally.borrow_mut();
            tally.dropped(due);
            arrivals.for_each(|(_, at)| tally.dropped(client.start + at));
            break;
        }
        match Arc::clone(&slots).try_acquire_owned() {
            Ok(slot) => {
                let arrival = Arrival { number, due, slot };
                spawn_local(serve(Rc::clone(client), Rc::clone(&pool), arrival));
            }
            Err(_) => client.tally.borrow_mut().dropped(due),
        }
    }
    let _all = slots.acquire_many(connections as u32).await.expect("the semaphore is never closed");
    if timetable.arrivals_max == u64::MAX && !client.is_stopped() {
        // The last gap belongs to the measured time, too.
        alarm.sleep_until(client.window_end).await;
    }
    // Slots are given back by tasks about to end; let them let go of the client.
    while Rc::strong_count(&pool) > 1 {
        yield_now().await;
    }
    Ok(())
}

/// A request that is due.
#[derive(Debug)]
struct Arrival {
    number: u64,
    due: Instant,
    slot: OwnedSemaphorePermit,
}

async fn serve(client: Rc<Client>, pool: Rc<Pool>, arrival: Arrival) {
    client.tally.borrow_mut().started_late(arrival.due, arrival.due.elapsed());
    let link = pool.take(&client);
    let link = client.request(link, arrival.number, arrival.due).await;
    pool.put(link);
    drop(arrival.slot);
    // Before the pool, whose count `run` watches.
    drop(client);
}

#[derive(Debug, PartialEq, Eq)]
enum Wait {
    Due,
    Stopped,
}

async fn wait_until(due: Instant, alarm: &Alarm, client: &Client) -> Wait {
    loop {
        let now = Instant::now();
        if client.is_stopped() {
            return Wait::Stopped;
        }
        if now >= due {
            // When behind, the requests that were started must get their turn all the same.
            yield_now().await;
            return Wait::Due;
        }
        alarm.sleep_until(due.min(now + STOP_LOOK_EVERY)).await;
    }
}

/// Connections between two requests; with those in use, no more than the slots.
#[derive(Debug)]
struct Pool {
    idle: RefCell<Vec<Link>>,
    keep: bool,
}

impl Pool {
    /// The one that was used last, of those that the peer has not closed.
    fn take(&self, client: &Client) -> Option<Link> {
        loop {
            let mut link = self.idle.borrow_mut().pop()?;
            match link.look() {
                Idle::Open => return Some(link),
                Idle::Closed => client.tally.borrow_mut().closed_idle += 1,
            }
        }
    }

    fn put(&self, link: Option<Link>) {
        if self.keep {
            self.idle.borrow_mut().extend(link);
        }
    }
}

const STOP_LOOK_EVERY: Duration = Duration::from_millis(100);
