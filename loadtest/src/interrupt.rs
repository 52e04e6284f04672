//! Ctrl-C and SIGTERM: the first ends the run in order, the second at once.

use std::{
    io,
    process::exit,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
};

use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
};

/// Whether the run is to end.
#[derive(Debug, Clone)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Takes the signals from now on.
    pub(crate) fn on_signals() -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let (mut interrupt, mut terminate) = {
            let _entered = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        let stop = Self(Arc::default());
        let set = stop.clone();
        thread::spawn(move || {
            runtime.block_on(async {
                loop {
                    tokio::select! {
                        _ = interrupt.recv() => {}
                        _ = terminate.recv() => {}
                    }
                    if set.0.swap(true, Relaxed) {
                        // The others get SIGTERM when we are gone.
                        exit(crate::EXIT_INTERRUPTED.into());
                    }
                    eprintln!("interrupted: ending what is under way; once more to exit at once");
                }
            });
        });
        Ok(stop)
    }

    /// Whether a signal came.
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Relaxed)
    }
}
