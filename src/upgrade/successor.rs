//! Successor: the process that is to replace this one, as the old one sees it.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::process::{self, Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use super::inherited::Group;
use super::message::{Message, PROTOCOL, Sockets};
use super::{Program, VARIABLE};
use crate::config::Address;
use crate::net::{Channel, DESCRIPTORS_MAX};

/// How long a process that has said that it fails may take to end by itself.
const END_TIMEOUT: Duration = Duration::from_secs(1);
/// How often it is asked whether it has ended, and whether somebody wants it to.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// A process on its way to replace this one.
#[derive(Debug)]
pub struct Successor {
    /// Its number.
    pub id: u32,
    is_cancelled: Arc<AtomicBool>,
    outcome: Receiver<Result<Vec<Address>, Failure>>,
}

/// Why this process goes on.
#[derive(Debug)]
pub enum Failure {
    /// There is nothing to start, or it cannot be.
    NotStarted(PathBuf, io::Error),
    /// It ended.
    Ended(ExitStatus),
    /// It said why it cannot start.
    Said(String),
    /// It was not ready in this time.
    Late(Duration),
    /// It said something that is no answer.
    Nonsense(String),
    /// It cannot be spoken to.
    Channel(io::Error),
    /// This process was told to stop.
    Cancelled,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::NotStarted(path, error) => {
                write!(
                    f,
                    "{} cannot be started: {error}; put the program there and try again",
                    path.display()
                )
            }
            Failure::Ended(status) => {
                write!(f, "it ended ({status}) before it was ready; what it wrote on standard error says why")
            }
            Failure::Said(why) => write!(f, "it could not start: {why}"),
            Failure::Late(limit) => write!(
                f,
                "it was not ready within {limit:?} and was killed; if it only needs longer, raise server.upgrade_timeout"
            ),
            Failure::Nonsense(said) => {
                write!(f, "it answered {said:?}, which is no answer of a ringway that can take over")
            }
            Failure::Channel(error) => write!(f, "it cannot be spoken to: {error}"),
            Failure::Cancelled => write!(f, "this process was told to stop meanwhile"),
        }
    }
}

impl std::error::Error for Failure {}

impl Successor {
    /// Starts it and gives it these sockets. From the calling thread: it may run where that one may.
    ///
    /// # Errors
    ///
    /// When there is no such process; all else shows later.
    pub fn start(program: &Program, groups: Vec<Group>, limit: Duration) -> Result<Successor, Failure> {
        let (channel, theirs) = Channel::pair().map_err(Failure::Channel)?;
        let mut command = Command::new(&program.path);
        command
            .args(&program.arguments)
            .env(VARIABLE, process::id().to_string())
            // What a service manager said to this process alone.
            .env_remove("LISTEN_PID")
            .env_remove("LISTEN_FDS")
            .env_remove("LISTEN_FDNAMES")
            // What it said to this process holds for its successor: without a number it is for whoever serves.
            .env_remove("WATCHDOG_PID")
            .stdin(theirs.into_standard_input())
            .stdout(Stdio::inherit())
            .stderr(Stdio::inherit());
        let child = command.spawn().map_err(|error| Failure::NotStarted(program.path.clone(), error))?;
        // It holds the other end: as long as it does, nobody sees that the child has closed its own.
        drop(command);
        let id = child.id();
        let is_cancelled = Arc::new(AtomicBool::new(false));
        let (report, outcome) = mpsc::channel();
        let talk = Talk { channel, is_cancelled: Arc::clone(&is_cancelled), limit, begun: Instant::now() };
        let run = move || drop(report.send(talk.run(child, groups)));
        thread::Builder::new().name("upgrade".into()).spawn(run).map_err(Failure::Channel)?;
        Ok(Successor { id, is_cancelled, outcome })
    }

    /// What came of it: the addresses whose sockets it does not want, once it accepts. `None` as long as it is on its way.
    pub fn outcome(&self) -> Option<Result<Vec<Address>, Failure>> {
        match self.outcome.try_recv() {
            Ok(outcome) => Some(outcome),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(Failure::Cancelled)),
        }
    }

    /// Ends it, unless it accepts already; returns what came of it.
    pub fn cancel(self) -> Result<Vec<Address>, Failure> {
        self.is_cancelled.store(true, Ordering::Relaxed);
        self.outcome.recv().unwrap_or(Err(Failure::Cancelled))
    }
}

/// What is said to it, on a thread of its own: it may take its time to answer.
struct Talk {
    channel: Channel,
    is_cancelled: Arc<AtomicBool>,
    limit: Duration,
    begun: Instant,
}

impl Talk {
    fn run(self, mut child: Child, groups: Vec<Group>) -> Result<Vec<Address>, Failure> {
        let result = self.bring_up(groups);
        let Err(failure) = result else { return result };
        // Before our end of the channel is closed: it would take that for our own end, and serve.
        Err(end(&mut child, failure))
    }

    fn bring_up(&self, groups: Vec<Group>) -> Result<Vec<Address>, Failure> {
        self.say(&Message::Hello(PROTOCOL), &[])?;
        for group in groups {
            self.pass(&group)?;
        }
        self.say(&Message::All, &[])?;
        let left = match self.hear()? {
            Message::Ready(left) => left,
            Message::Failed(why) => return Err(Failure::Said(why)),
            other => return Err(Failure::Nonsense(other.to_string())),
        };
        self.say(&Message::Go, &[])?;
        match self.hear()? {
            Message::Serving => Ok(left),
            Message::Failed(why) => Err(Failure::Said(why)),
            other => Err(Failure::Nonsense(other.to_string())),
        }
    }

    fn pass(&self, group: &Group) -> Result<(), Failure> {
        let are_lent = group.sockets.iter().any(|socket| socket.is_lent());
        let sockets = group.sockets.iter().map(AsFd::as_fd);
        let descriptors: Vec<BorrowedFd<'_>> = sockets.chain(group.inlets.iter().map(AsFd::as_fd)).collect();
        for descriptors in descriptors.chunks(DESCRIPTORS_MAX) {
            let told = Sockets {
                are_lent,
                configured: group.configured,
                place: group.place,
                listener: group.listener.clone(),
            };
            self.say(&Message::Sockets(told), descriptors)?;
        }
        Ok(())
    }

    fn say(&self, message: &Message, beside: &[BorrowedFd<'_>]) -> Result<(), Failure> {
        let text = message.to_string();
        self.patiently(|patience| self.channel.send(&text, beside, patience))
    }

    fn hear(&self) -> Result<Message, Failure> {
        let heard = self.patiently(|patience| self.channel.receive(patience))?;
        let (text, _) = heard.ok_or_else(closed)?;
        Message::parse(&text).ok_or(Failure::Nonsense(text))
    }

    /// Tries until the time is over, or somebody wants this process to stop.
    fn patiently<T>(&self, mut attempt: impl FnMut(Duration) -> io::Result<T>) -> Result<T, Failure> {
        loop {
            if self.is_cancelled.load(Ordering::Relaxed) {
                return Err(Failure::Cancelled);
            }
            let left = self.limit.saturating_sub(self.begun.elapsed());
            if left.is_zero() {
                return Err(Failure::Late(self.limit));
            }
            match attempt(left.min(LOOK_INTERVAL)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result.map_err(Failure::Channel),
            }
        }
    }
}

/// The other end is closed: it has ended, or will not speak any more.
fn closed() -> Failure {
    Failure::Channel(io::ErrorKind::BrokenPipe.into())
}

/// Sees to it that the process is gone. If it ended by itself, that is why.
fn end(child: &mut Child, failure: Failure) -> Failure {
    let is_ending = matches!(failure, Failure::Said(_) | Failure::Channel(_));
    let since = Instant::now();
    while is_ending && since.elapsed() < END_TIMEOUT {
        match child.try_wait() {
            Ok(Some(status)) => {
                return if matches!(failure, Failure::Said(_)) { failure } else { Failure::Ended(status) };
            }
            Ok(None) => thread::sleep(LOOK_INTERVAL),
            Err(_) => break,
        }
    }
    // It, and nobody else: it has not been waited for, so that its number is its own.
    let _ = child.kill();
    let _ = child.wait();
    failure
}
