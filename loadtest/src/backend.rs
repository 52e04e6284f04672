//! Backends to measure against: accept, serve, count, end on a signal.

mod datagrams;
mod echo;
mod reply;
mod service_time;
mod sink;
mod totals;

use std::{
    io::{self, Write},
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    thread,
    time::Duration,
};

use clap::ValueEnum;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime,
    signal::unix::{SignalKind, signal},
    sync::{Semaphore, watch},
    task::{self, LocalSet},
};

pub(crate) use self::{
    datagrams::{DatagramBackend, run as run_datagrams},
    reply::serve as serve_replies,
    service_time::{ServiceTime, Spread, Wait},
    totals::Totals,
};
use self::{service_time::Delay, totals::End};
use crate::alarm::Alarm;

/// What a backend does with the bytes it gets, over TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Sends every byte back, and the end of the stream after the last
    Echo,
    /// Answers each request of the reply protocol with as many bytes as it asks for
    Reply,
    /// Reads and drops
    Sink,
}

/// A backend as it is to run.
#[derive(Debug, Clone)]
pub(crate) struct Backend {
    /// What it does.
    pub(crate) kind: Kind,
    /// Where it listens; port 0 takes a free one.
    pub(crate) listen: SocketAddr,
    /// Stands in front of the totals.
    pub(crate) name: String,
    /// How long it waits before it answers.
    pub(crate) service_time: ServiceTime,
    /// Served at the same time; more wait in the listener's backlog.
    pub(crate) connections_max: usize,
    /// Each with a runtime of its own, all accepting from one listener.
    pub(crate) threads: usize,
}

/// Serves until SIGTERM or SIGINT, then prints the totals.
pub(crate) fn run(backend: &Backend) -> io::Result<()> {
    let listener = listen(backend.listen)
        .map_err(|error| io::Error::other(format!("cannot listen on {}: {error}", backend.listen)))?;
    let totals = Arc::new(Totals::default());
    let permits = Arc::new(Semaphore::new(backend.connections_max));
    let (stop, stopped) = watch::channel(());
    thread::scope(|scope| {
        let mut workers = Vec::new();
        for _ in 0..backend.threads {
            let worker = Worker {
                kind: backend.kind,
                service_time: backend.service_time,
                listener: listener.try_clone()?,
                permits: Arc::clone(&permits),
                totals: Arc::clone(&totals),
            };
            let stopped = stopped.clone();
            workers.push(scope.spawn(|| worker.run(stopped)));
        }
        let waited = wait_for_signal(|| say(&format!("listening on {}", listener.local_addr()?)));
        drop(stop);
        let ended = workers.into_iter().map(|worker| worker.join().expect("no worker panics"));
        waited.and(ended.collect::<io::Result<()>>())
    })?;
    say(&format!("{}: {totals}", backend.name))
}

/// A listener whose connections are ready to be used.
pub(crate) fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    // Inherited by the accepted connections.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Calls `ready` once a signal would be noticed, so that whoever reads our first line can already end us.
fn wait_for_signal(ready: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        ready()?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    })
}

fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// What one thread needs.
#[derive(Debug)]
struct Worker {
    kind: Kind,
    service_time: ServiceTime,
    listener: std::net::TcpListener,
    permits: Arc<Semaphore>,
    totals: Arc<Totals>,
}

impl Worker {
    /// Until the other end of `stopped` is dropped; sessions that are open then are dropped too.
    fn run(self, mut stopped: watch::Receiver<()>) -> io::Result<()> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, async {
            tokio::select! {
                ended = self.accept() => ended,
                _ = stopped.changed() => Ok(()),
            }
        })
    }

    async fn accept(self) -> io::Result<()> {
        let listener = TcpListener::from_std(self.listener)?;
        let alarm = Alarm::start()?;
        loop {
            // Before the accept: a connection over the bound stays in the backlog.
            let permit =
                Arc::clone(&self.permits).acquire_owned().await.expect("the semaphore is never closed");
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(_) => {
                    self.totals.accept_failed();
                    // Out of files or memory does not pass at once.
                    alarm.sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let delay = Delay::new(self.service_time, self.totals.connected(), Rc::clone(&alarm));
            let totals = Arc::clone(&self.totals);
            task::spawn_local(async move {
                let end = serve(self.kind, stream, delay, &totals).await;
                totals.ended(end);
                drop(permit);
            });
        }
    }
}

async fn serve(kind: Kind, mut stream: TcpStream, delay: Delay, totals: &Totals) -> End {
    let end = match kind {
        Kind::Echo => echo::serve(&mut stream, delay, totals).await,
        Kind::Reply => reply::serve(&mut stream, delay, totals).await,
        Kind::Sink => sink::serve(&mut stream, totals).await,
    };
    if end == End::Malformed {
        // A linger of zero makes the close a reset: the client cannot take it for an orderly end.
        let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    }
    end
}

const BACKLOG: i32 = 4096;
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
