//! Beside the clients: says each second how it goes.

use std::{
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
    time::Duration,
};

use tokio::{
    runtime,
    sync::oneshot,
    time::{Instant, interval_at},
};

use crate::tally::Live;

/// A thread that watches until it is ended.
#[derive(Debug)]
pub(super) struct Watcher {
    end: oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl Watcher {
    pub(super) fn end(self) {
        // The receiver lives as long as the thread, which waits for this.
        let _ = self.end.send(());
        self.thread.join().expect("the watcher does not panic");
    }
}

/// Starts to watch.
pub(super) fn start(live: Arc<Live>) -> io::Result<Watcher> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let (end, mut ended) = oneshot::channel();
    let thread = thread::spawn(move || {
        runtime.block_on(async {
            let mut seconds = interval_at(Instant::now() + SECOND, SECOND);
            let mut last_ok = 0;
            for second in 1.. {
                tokio::select! {
                    _ = &mut ended => return,
                    _ = seconds.tick() => last_ok = say(second, &live, last_ok),
                }
            }
        });
    });
    Ok(Watcher { end, thread })
}

fn say(second: u64, live: &Live, last_ok: u64) -> u64 {
    let ok = live.ok.load(Relaxed);
    let (failed, not_sent) = (live.failed.load(Relaxed), live.not_sent.load(Relaxed));
    eprintln!(
        "{second:>4} s  {:>9} ok/s  {ok:>11} ok  {failed:>9} failed  {not_sent:>9} not sent",
        ok - last_ok
    );
    ok
}

const SECOND: Duration = Duration::from_secs(1);
