//! Requests: what somebody outside wants of a running server.

use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

use super::Error;

/// What somebody outside wants of a running server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// The table of backends, and how the last ones were chosen, on standard output.
    PrintStatus,
    /// An end, in order; at once when it comes a second time.
    Stop,
    /// The same by this signal.
    StopBySignal(i32),
    /// That the file of the configuration is read again, and that of the access log opened anew.
    Reload,
    /// That another process, from the file of the program as it is now, takes over.
    Upgrade,
}

impl Request {
    /// What the log calls it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Request::PrintStatus => "status",
            Request::Stop => "stop",
            Request::StopBySignal(signal) => {
                signal_hook::low_level::signal_name(signal).unwrap_or("a signal")
            }
            Request::Reload => "reload",
            Request::Upgrade => "upgrade",
        }
    }

    /// The signal that stands for an end.
    pub(super) fn signal(self) -> Option<i32> {
        match self {
            Request::Stop => Some(SIGTERM),
            Request::StopBySignal(signal) => Some(signal),
            Request::PrintStatus | Request::Reload | Request::Upgrade => None,
        }
    }
}

/// Requests by signal from the moment this returns, and a sender for others.
pub fn requests() -> Result<(Receiver<Request>, Sender<Request>), Error> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGHUP]).map_err(Error::Signals)?;
    let (sender, receiver) = mpsc::channel();
    let own = sender.clone();
    let forward = move || {
        for signal in signals.forever() {
            let request = match signal {
                SIGUSR1 => Request::PrintStatus,
                SIGUSR2 => Request::Upgrade,
                SIGHUP => Request::Reload,
                _ => Request::StopBySignal(signal),
            };
            if own.send(request).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("signals".into()).spawn(forward).map_err(Error::Signals)?;
    Ok((receiver, sender))
}
