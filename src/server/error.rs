//! Error: why ringway did not start, or did not go on, and what to do about it.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use crate::access_log;
use crate::admin;
use crate::bind;
use crate::health::Unusable;
use crate::limits::TooFewFiles;
use crate::lists;
use crate::net;
use crate::privileges;
use crate::record;
use crate::ring::Unavailable;
use crate::upgrade;

/// Why ringway did not start, or did not go on.
#[derive(Debug)]
pub enum Error {
    /// The kernel does not offer io_uring to this process.
    Ring(Unavailable),
    /// The multishot engine was asked for, and the kernel does not have what it needs.
    Engine(io::Error),
    /// A health check could never pass.
    Check(Unusable),
    /// A list of networks is wrong.
    Lists(lists::Unusable),
    /// Signals cannot be received.
    Signals(io::Error),
    /// The limit on open files cannot be read or raised.
    OpenFiles(io::Error),
    /// The limit on open files is too low.
    TooFewFiles(TooFewFiles),
    /// The cores of this machine cannot be read.
    Cores(io::Error),
    /// A core of `server.workers` is not one that the process may use.
    NoSuchCore {
        /// The core that was asked for.
        core: usize,
        /// Those that there are.
        allowed: Vec<usize>,
    },
    /// A listener cannot have its sockets.
    Bind(bind::Error),
    /// The process cannot become who it is to be.
    Privileges(privileges::Unusable),
    /// What the process before leaves cannot be taken over.
    Upgrade(upgrade::Unusable),
    /// The admin API cannot be had.
    Admin(admin::Unusable),
    /// The record cannot be begun.
    Record(record::Unusable),
    /// The access log cannot be begun.
    AccessLog(access_log::Unusable),
    /// A backend of the demo cannot have its address.
    DemoBackend {
        /// The address.
        address: SocketAddr,
        /// What the kernel said.
        error: io::Error,
    },
    /// A thread could not be started, or did not become ready.
    Thread {
        /// The thread's name.
        name: String,
        /// What happened.
        why: String,
    },
    /// A thread died. What it served is lost, so the process ends.
    Died {
        /// The thread's name.
        name: String,
        /// Its last words.
        why: String,
    },
    /// A second request to stop ended it before the drain was over.
    Interrupted {
        /// The signal that asked for it.
        signal: i32,
        /// Sessions that were running.
        sessions: u64,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Ring(error) => error.fmt(f),
            Error::Engine(error) => write!(
                f,
                "server.engine: \"multishot\" is not available ({error}): it needs Linux 6.1 or later, this is {}, and a \
                 seccomp profile that allows io_uring_register; write engine = \"auto\" (or \"fixed\") to go without it",
                net::kernel_release()
            ),
            Error::Check(error) => error.fmt(f),
            Error::Lists(error) => error.fmt(f),
            Error::Signals(error) => write!(f, "signals cannot be received: {error}"),
            Error::OpenFiles(error) => write!(f, "the limit on open files cannot be raised: {error}"),
            Error::TooFewFiles(error) => error.fmt(f),
            Error::Cores(error) => write!(f, "the cores of this machine cannot be read: {error}"),
            Error::NoSuchCore { core, allowed } => write!(
                f,
                "server.workers: there is no core {core} for this process; it may use {}",
                allowed.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
            ),
            Error::Bind(error) => error.fmt(f),
            Error::Privileges(error) => error.fmt(f),
            Error::Upgrade(error) => error.fmt(f),
            Error::Admin(error) => error.fmt(f),
            Error::Record(error) => error.fmt(f),
            Error::AccessLog(error) => error.fmt(f),
            Error::Thread { name, why } => write!(f, "thread {name} could not be started: {why}"),
            Error::Died { name, why } => write!(
                f,
                "thread {name} died: {why}; this is a defect of ringway: the process ends so that it can be restarted"
            ),
            Error::DemoBackend { address, error } => write!(
                f,
                "backend of the demo: cannot listen on {address}: {error}; ports that are free: --backend-port PORT \
                 (the first of four in a row)"
            ),
            Error::Interrupted { signal, sessions } => {
                write!(f, "ended at once by a second signal ({signal}) with {sessions} sessions running")
            }
        }
    }
}

impl std::error::Error for Error {}
