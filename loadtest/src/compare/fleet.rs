//! Backends in this process, for one run: a thread with a listener for each.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::{
    net::{TcpListener, TcpStream},
    runtime,
    sync::{Semaphore, watch},
    task::{JoinSet, LocalSet},
};

use super::{
    scenario::Profile,
    service::{Trouble, What, done_at},
};
use crate::{
    alarm::Alarm,
    backend::{Totals, Wait, listen, serve_replies},
    dice::{Dice, mix},
};

/// They run until this is dropped.
#[derive(Debug)]
pub(super) struct Fleet {
    /// In the order of the profiles.
    pub(super) addresses: Vec<SocketAddr>,
    served: Vec<Arc<AtomicU64>>,
    news: watch::Sender<News>,
    thread: Option<thread::JoinHandle<io::Result<()>>>,
}

/// What the backends are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    /// The run has not begun: no trouble yet.
    Waiting,
    /// When the measured time begins.
    Begins(Instant),
    /// It is over.
    Over,
}

impl Fleet {
    /// Starts one backend for each profile. The same seed gives the same service times to the same sessions of a backend.
    pub(super) fn start(profiles: &[Profile], seed: u64) -> io::Result<Self> {
        let (news, heard) = watch::channel(News::Waiting);
        let mut backends = Vec::new();
        let mut addresses = Vec::new();
        for (profile, number) in profiles.iter().zip(1..) {
            let listener = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
            let address = listener.local_addr()?;
            addresses.push(address);
            backends.push(Backend {
                profile: profile.clone(),
                address,
                seed: mix(seed ^ mix(number)),
                served: Arc::default(),
                heard: heard.clone(),
                listener: Some(listener),
            });
        }
        let served = backends.iter().map(|backend| Arc::clone(&backend.served)).collect();
        let thread = thread::Builder::new().name("backends".to_owned()).spawn(move || run(backends))?;
        Ok(Self { addresses, served, news, thread: Some(thread) })
    }

    /// Says when the measured time begins: troubles and counts are about it.
    pub(super) fn begin(&self, at: Instant) {
        self.news.send_replace(News::Begins(at));
    }

    /// Ends them. How many sessions each has answered in the measured time; or what went wrong with one, for which no
    /// algorithm is to blame.
    pub(super) fn end(mut self) -> io::Result<Vec<u64>> {
        self.stop()
            .map_err(|error| io::Error::other(format!("a backend that is played has failed: {error}")))?;
        Ok(self.served.iter().map(|count| count.load(Relaxed)).collect())
    }

    fn stop(&mut self) -> io::Result<()> {
        self.news.send_replace(News::Over);
        match self.thread.take() {
            Some(thread) => thread.join().unwrap_or_else(|_| Err(io::Error::other("its thread panicked"))),
            None => Ok(()),
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // Whoever drops it has a failure of his own to tell.
        let _ = self.stop();
    }
}

fn run(backends: Vec<Backend>) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let alarm = Alarm::start()?;
        let mut all = JoinSet::new();
        for backend in backends {
            all.spawn_local(backend.run(Rc::clone(&alarm)));
        }
        all.join_all().await.into_iter().collect()
    })
}

/// One backend.
#[derive(Debug)]
struct Backend {
    profile: Profile,
    address: SocketAddr,
    seed: u64,
    served: Arc<AtomicU64>,
    heard: watch::Receiver<News>,
    /// Bound before the thread runs, so that whoever has the address can connect.
    listener: Option<std::net::TcpListener>,
}

impl Backend {
    /// Until the run is over: listens, but for the times in which it is down.
    async fn run(mut self, alarm: Rc<Alarm>) -> io::Result<()> {
        let slots = Rc::new(Semaphore::new(self.profile.concurrency));
        let totals = Rc::new(Totals::default());
        let mut numbers = 0..;
        let mut downs: Vec<Trouble> =
            self.profile.trouble.iter().copied().filter(|trouble| trouble.what == What::Down).collect();
        downs.sort_by_key(|down| std::cmp::Reverse(down.from));
        let first = self.listener.take().expect("it is bound when it starts");
        let mut listener = TcpListener::from_std(first)?;
        let mut sessions = JoinSet::new();
        loop {
            let news = *self.heard.borrow_and_update();
            let down = match (news, downs.last()) {
                (News::Over, _) => return Ok(()),
                (News::Begins(at), Some(down)) => Some((at + down.from, at + down.to)),
                (News::Waiting, _) | (_, None) => None,
            };
            let goes_down = async {
                match down {
                    // By the runtime's timer, which forgets a sleep that is dropped: there is one for each turn of this loop.
                    Some((from, _)) => tokio::time::sleep_until(from.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = self.heard.changed() => {}
                () = goes_down => {
                    let (_, to) = down.expect("it was slept until");
                    downs.pop();
                    drop(listener);
                    // Dropping its stream cuts a session.
                    sessions.abort_all();
                    tokio::select! {
                        () = alarm.sleep_until(to) => {}
                        () = over(&mut self.heard) => return Ok(()),
                    }
                    listener = TcpListener::from_std(listen(self.address)?)?;
                }
                Some(_) = sessions.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        let number = numbers.next().unwrap_or(0);
                        let turn = self.turn(number, &alarm, &slots);
                        sessions.spawn_local(serve(stream, turn, Rc::clone(&totals)));
                    }
                    // Out of files or memory does not pass at once.
                    Err(_) => alarm.sleep(ACCEPT_PAUSE).await,
                },
            }
        }
    }

    fn turn(&self, number: u64, alarm: &Rc<Alarm>, slots: &Rc<Semaphore>) -> Turn {
        let begins = match *self.heard.borrow() {
            News::Begins(at) => Some(at),
            News::Waiting | News::Over => None,
        };
        Turn {
            profile: self.profile.clone(),
            dice: Dice::new(mix(self.seed ^ mix(number))),
            begins,
            alarm: Rc::clone(alarm),
            slots: Rc::clone(slots),
            served: Arc::clone(&self.served),
        }
    }
}

async fn over(heard: &mut watch::Receiver<News>) {
    // An error says that whoever could tell has gone.
    let _ = heard.wait_for(|news| *news == News::Over).await;
}

async fn serve(mut stream: TcpStream, turn: Turn, totals: Rc<Totals>) {
    // How it ends is the client's to tell.
    let _ = serve_replies(&mut stream, turn, &totals).await;
}

/// One session's way through a backend.
#[derive(Debug)]
struct Turn {
    profile: Profile,
    dice: Dice,
    begins: Option<Instant>,
    alarm: Rc<Alarm>,
    slots: Rc<Semaphore>,
    served: Arc<AtomicU64>,
}

impl Wait for Turn {
    /// Until it is its turn, and then for as long as it takes.
    async fn wait(&mut self, extra: Duration) {
        let _slot = self.slots.acquire().await.expect("the semaphore is never closed");
        let start = Instant::now();
        let service = self.profile.service.sample(&mut self.dice) + extra;
        let Some(begins) = self.begins else {
            return self.alarm.sleep(service).await;
        };
        let start_s = match start.checked_duration_since(begins) {
            Some(since) => since.as_secs_f64(),
            None => -begins.duration_since(start).as_secs_f64(),
        };
        let done_s = done_at(start_s, service, &self.profile.trouble);
        self.alarm.sleep_until(start + Duration::from_secs_f64((done_s - start_s).max(0.0))).await;
        if start >= begins {
            self.served.fetch_add(1, Relaxed);
        }
    }
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
