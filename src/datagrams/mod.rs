//! Datagrams: the sessions over UDP of one worker. Read [`Datagrams::run`] first.
//!
//! A session is a client that speaks to one of our addresses. Each has a connected socket of its own to its backend: nobody
//! else can send into it, and what the network reports of the backend is heard. There is no task for each session: one task
//! takes what all sockets have, a batch at a time, and sends it on at once. Nothing waits here, neither a datagram for room in
//! a socket nor a client for a place at a backend: what cannot go now is dropped and counted, as the network would.

mod appetite;
mod entrances;
mod flow;
mod pairing;
mod policer;
mod recency;
mod replies;
mod senders;
mod sessions;
mod told;
mod train;
mod world;

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

use tokio::io::unix::AsyncFd;

use crate::config::{Address, Protocol};
use crate::generation::Generation;
use crate::net::{Batch, Inlet};
use crate::ring;
use crate::shared::{Core, Shared};
use crate::stats::CoreStats;
use crate::watch::Calls;

use world::World;

/// Turns in a row before the runtime's other tasks have theirs.
const TURNS_MAX: usize = 8;
/// Bytes of buffers that one worker has for datagrams.
pub const BUFFER_BYTES: usize = Batch::bytes();

/// The sessions over UDP of one worker.
pub struct Datagrams {
    core: Rc<Core>,
    world: RefCell<World>,
    /// Sessions that are to end.
    calls: Calls,
}

/// What sessions over UDP are limited by.
pub struct Limits {
    /// What each worker counts, by its number.
    pub counts: Vec<Arc<CoreStats>>,
    /// Sessions at once in the whole process, over TCP and UDP.
    pub sessions_max: usize,
}

impl Datagrams {
    /// Those of the worker that this runs on, of which there are none yet. Needs [`Datagrams::run`] to be run.
    pub fn new(present: Rc<Shared>, limits: Limits) -> io::Result<Rc<Datagrams>> {
        let calls = Calls::default();
        let core = Rc::clone(&present.core);
        let world = RefCell::new(World::new(present, limits, Rc::clone(&calls))?);
        Ok(Rc::new(Datagrams { core, world, calls }))
    }

    /// Carries datagrams: to be spawned once. Never ends. Panics when the kernel refuses to tell which sockets have some: nobody
    /// would be served.
    pub async fn run(self: Rc<Self>) {
        let refused = |error: io::Error| -> ! {
            panic!("the kernel does not tell which sockets have datagrams: {error}")
        };
        let ready = self.readiness().unwrap_or_else(|error| refused(error));
        loop {
            // Before the look, and not after it: what comes in between is told again.
            match ready.readable().await {
                Ok(mut guard) => guard.clear_ready(),
                Err(error) => refused(error),
            }
            let mut turns = 0;
            while self.world.borrow_mut().turn(self.core.elapsed()).unwrap_or_else(|error| refused(error)) {
                turns += 1;
                if turns % TURNS_MAX == 0 {
                    ring::let_others_run().await;
                }
            }
        }
    }

    fn readiness(&self) -> io::Result<AsyncFd<OwnedFd>> {
        ring::wakes(self.world.borrow().readiness()?)
    }

    /// Takes datagrams from a socket, for a listener of the present configuration.
    pub fn take_from(&self, listener: usize, inlet: Inlet) -> io::Result<()> {
        self.world.borrow_mut().watch(listener, inlet)
    }

    /// Another descriptor of each socket.
    pub fn inlets(&self) -> io::Result<Vec<Inlet>> {
        self.world.borrow().inlets()
    }

    /// Goes on under another configuration. Sessions keep theirs; sockets go to the listener that has their address now, and
    /// those that none has take nothing more.
    pub fn adopt(&self, present: Rc<Shared>, generation: &Generation, sessions_max: usize) {
        let mut world = self.world.borrow_mut();
        let listener_of = |address: SocketAddr| {
            let mut all = generation.config.listeners.iter().zip(&generation.addresses);
            all.position(|(spec, addresses)| {
                spec.protocol == Protocol::Udp && addresses.contains(&Address::Ip(address))
            })
        };
        world.adopt(present, listener_of, sessions_max);
    }

    /// No new sessions from now on: those that are there go on, and end when they owe nothing. `is_replaced` says that another
    /// process takes what comes to the sockets.
    pub fn stop(&self, is_replaced: bool) {
        self.world.borrow_mut().stop(is_replaced);
    }

    /// Counts what the kernel has dropped since this was last called.
    pub fn count_drops(&self) {
        self.world.borrow().count_drops();
    }

    /// Ends the sessions that the tick, or an operator, has told to end.
    pub fn reap(&self) {
        let keys = self.calls.take();
        let mut world = self.world.borrow_mut();
        for key in keys {
            world.end_as_told(key);
        }
    }
}
