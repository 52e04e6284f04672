//! One thread of clients: sends what is due, takes what comes, gives up what has waited too long.

use std::{
    collections::VecDeque,
    io,
    iter::Peekable,
    mem::MaybeUninit,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use quinn_udp::BATCH_SIZE;
use rustix::{
    event::{Timespec, epoll},
    io::Errno,
};

use super::{
    Load, Run,
    datagram::{Answer, Datagrams},
    ledger::{Ledger, Meaning},
    ports::{Inbox, Outbox, Port},
    report::Tally,
};
use crate::{
    dice::mix,
    interrupt::Stop,
    schedule::{Schedule, Timetable},
};

/// Has its ports; nothing is sent yet.
#[derive(Debug)]
pub(super) struct Worker {
    ports: Vec<Port>,
    epoll: OwnedFd,
    sender: Sender,
}

/// All but the ports, which are borrowed while it works.
#[derive(Debug)]
struct Sender {
    run: Run,
    thread: usize,
    /// Of this thread.
    clients: u32,
    datagrams: Datagrams,
    ledger: Ledger,
    /// Clients that may send, in a closed loop: as often as they may.
    idle: VecDeque<u32>,
    /// The arrivals, in an open one.
    schedule: Option<Peekable<Schedule>>,
    sent: u64,
    sent_max: u64,
    end_ns: u64,
    outbox: Outbox,
    /// The port of what waits in `outbox`.
    port: usize,
    tally: Tally,
}

impl Worker {
    pub(super) fn new(run: &Run, thread: usize) -> io::Result<Self> {
        let clients = (run.clients - thread).div_ceil(run.threads) as u32;
        let any: SocketAddr = match run.target {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let sockets = if run.sources.is_some() { 1 } else { clients };
        let ports = (0..sockets).map(|_| Port::bind(any, false)).collect::<io::Result<Vec<_>>>()?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (index, port) in ports.iter().enumerate() {
            epoll::add(
                &epoll,
                port.socket(),
                epoll::EventData::new_u64(index as u64),
                epoll::EventFlags::IN,
            )?;
        }
        let share =
            |all: u64| all / run.threads as u64 + u64::from((thread as u64) < all % run.threads as u64);
        let outstanding = match run.load {
            Load::Closed { outstanding } => outstanding,
            Load::Open { .. } => 0,
        };
        let schedule = match run.load {
            Load::Closed { .. } => None,
            Load::Open { rate, arrivals } => {
                let timetable = Timetable {
                    arrivals,
                    rate: rate / run.threads as f64,
                    duration: run.warm_up + run.duration,
                    arrivals_max: share(run.datagrams_max),
                    seed: run.seed.wrapping_add(thread as u64),
                };
                Some(timetable.schedule().peekable())
            }
        };
        // Another run, and another thread, must not take our answers for theirs.
        let tag = mix(run.seed ^ (u64::from(std::process::id()) << 32) ^ thread as u64) as u32;
        let sender = Sender {
            thread,
            clients,
            datagrams: Datagrams::new(tag, run.seed, run.size.max(run.reply_size)),
            ledger: Ledger::new(run.timeout.as_nanos() as u64),
            idle: (0..clients).flat_map(|client| (0..outstanding).map(move |_| client)).collect(),
            schedule,
            sent: 0,
            sent_max: share(run.datagrams_max),
            end_ns: (run.warm_up + run.duration).as_nanos() as u64,
            outbox: Outbox::default(),
            port: 0,
            tally: Tally::new(run.warm_up, run.duration),
            run: run.clone(),
        };
        Ok(Self { ports, epoll, sender })
    }

    /// Until all that was sent is answered or lost. The first signal ends the sending.
    pub(super) fn run(self, begun: Instant, stop: &Stop) -> io::Result<Tally> {
        let Self { ports, epoll, mut sender } = self;
        let mut inbox = Inbox::new();
        let mut events = [MaybeUninit::uninit(); EVENTS_MAX];
        loop {
            let now_ns = elapsed_ns(begun);
            sender.give_up(now_ns);
            if stop.is_set() {
                sender.end_now(now_ns);
            }
            sender.send_what_is_due(&ports, begun);
            let now_ns = elapsed_ns(begun);
            if sender.is_over(now_ns) {
                break;
            }
            let wait_ns = sender.wait_ns(now_ns);
            let time = Timespec { tv_sec: 0, tv_nsec: wait_ns as i64 };
            let ready = match epoll::wait(&epoll, &mut events, Some(&time)) {
                Ok((ready, _)) => ready,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            for event in ready {
                let port = event.data.u64() as usize;
                for _ in 0..RECEIVES {
                    let count = inbox.receive(&ports[port], |from, to, bytes| {
                        sender.take(port, from, to, bytes, elapsed_ns(begun));
                    })?;
                    if count < BATCH_SIZE {
                        break;
                    }
                }
            }
        }
        sender.tally.refused = sender.outbox.refused;
        Ok(sender.tally)
    }
}

impl Sender {
    fn send_what_is_due(&mut self, ports: &[Port], begun: Instant) {
        for _ in 0..BURST {
            let now_ns = elapsed_ns(begun);
            let Some((client, at_ns)) = self.next(now_ns) else { break };
            self.send(ports, client, at_ns, now_ns);
        }
        self.outbox.flush(&ports[self.port]);
    }

    /// Who sends now, and when that should have been.
    fn next(&mut self, now_ns: u64) -> Option<(u32, u64)> {
        let Some(schedule) = &mut self.schedule else {
            let may_send = now_ns < self.end_ns && self.sent < self.sent_max;
            return may_send.then(|| self.idle.pop_front())?.map(|client| (client, now_ns));
        };
        let due = schedule.next_if(|due| due.as_nanos() as u64 <= now_ns)?;
        let client = (self.sent % u64::from(self.clients)) as u32;
        Some((client, due.as_nanos() as u64))
    }

    fn send(&mut self, ports: &[Port], client: u32, at_ns: u64, now_ns: u64) {
        self.sent += 1;
        let Some(number) = self.ledger.send(client, at_ns, self.run.replies) else {
            self.tally.not_sent += 1;
            return;
        };
        self.tally.sent(at_ns, now_ns);
        let (port, source) = match self.run.sources {
            Some(sources) => (0, Some(IpAddr::V4(sources.address(self.global(client))))),
            None => (client as usize, None),
        };
        if port != self.port {
            self.outbox.flush(&ports[self.port]);
            self.port = port;
        }
        let datagrams = &self.datagrams;
        self.outbox
            .send(&ports[port], (self.run.target, source), self.run.size, |out| datagrams.write(number, out));
    }

    fn take(&mut self, port: usize, from: SocketAddr, to: Option<IpAddr>, bytes: &[u8], now_ns: u64) {
        self.tally.replies += 1;
        if from != self.run.target {
            self.tally.strange += 1;
            return;
        }
        let number = match self.datagrams.read(bytes, self.run.size, self.run.reply_size) {
            Answer::To(number) => number,
            Answer::Altered => {
                self.tally.altered += 1;
                return;
            }
        };
        let client = match (self.run.sources, to) {
            (None, _) => Some(port as u32),
            (Some(sources), Some(IpAddr::V4(to))) => sources.client(to).and_then(|global| self.local(global)),
            (Some(_), _) => None,
        };
        // A client that is nobody's asked for nothing.
        match self.ledger.answer(number, client.unwrap_or(u32::MAX)) {
            Meaning::Answered { at_ns } => {
                self.tally.answered(at_ns, now_ns);
                if self.schedule.is_none() {
                    self.idle.extend(client);
                }
            }
            Meaning::Part => {}
            Meaning::Duplicate => self.tally.duplicated += 1,
            Meaning::Late => self.tally.late += 1,
            Meaning::Misdelivered => self.tally.misdelivered += 1,
            Meaning::Unknown => self.tally.altered += 1,
        }
    }

    fn give_up(&mut self, now_ns: u64) {
        while let Some((client, at_ns)) = self.ledger.lose_one(now_ns) {
            self.tally.lost(at_ns);
            if self.schedule.is_none() {
                self.idle.push_back(client);
            }
        }
    }

    /// Nothing more is sent; what was planned until the end was not.
    fn end_now(&mut self, now_ns: u64) {
        self.end_ns = self.end_ns.min(now_ns);
        if let Some(schedule) = &mut self.schedule {
            self.tally.not_sent += schedule.by_ref().count() as u64;
        }
    }

    fn is_over(&mut self, now_ns: u64) -> bool {
        let sends_no_more = match &mut self.schedule {
            None => now_ns >= self.end_ns || self.sent >= self.sent_max,
            Some(schedule) => schedule.peek().is_none(),
        };
        sends_no_more && self.ledger.waiting() == 0
    }

    /// How long there is nothing to do unless something comes.
    fn wait_ns(&mut self, now_ns: u64) -> u64 {
        let may_send = now_ns < self.end_ns && self.sent < self.sent_max;
        let next_send = match &mut self.schedule {
            None => (may_send && !self.idle.is_empty()).then_some(now_ns),
            Some(schedule) => schedule.peek().map(|due| due.as_nanos() as u64),
        };
        let next = next_send.into_iter().chain(self.ledger.next_loss_ns()).min();
        next.map_or(LOOK_NS, |at| at.saturating_sub(now_ns)).min(LOOK_NS)
    }

    fn global(&self, client: u32) -> u32 {
        client * self.run.threads as u32 + self.thread as u32
    }

    fn local(&self, global: u32) -> Option<u32> {
        let threads = self.run.threads as u32;
        (global % threads == self.thread as u32).then_some(global / threads).filter(|own| *own < self.clients)
    }
}

fn elapsed_ns(begun: Instant) -> u64 {
    begun.elapsed().min(Duration::from_secs(u32::MAX.into())).as_nanos() as u64
}

/// Sent before something is received again: more would only fill the buffer of the one who is to take them.
const BURST: usize = 64;
/// Batches that are taken from one socket before something is sent again: more datagrams than a burst has, so that an open
/// loop that is behind does not fall behind with the answers, too.
const RECEIVES: usize = 4;
const EVENTS_MAX: usize = 256;
/// How often a signal is looked for.
const LOOK_NS: u64 = 50_000_000;
