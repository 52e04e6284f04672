//! Upgrade: what control has to do with it. The sockets are shown to another process, and given away when it serves; no
//! reload comes in between, or the two would not speak of the same sockets.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use super::{Control, Refused};
use crate::config::{Address, Protocol};
use crate::generation::Generation;
use crate::upgrade::Group;
use crate::worker::{Errand, Shown};

/// How long a worker may take to come to its errands: very many ticks.
pub(super) const ERRAND_TIMEOUT: Duration = Duration::from_secs(10);

impl Control {
    /// Every listening socket, by address. Nothing is reloaded from now on, until [`Control::keep_sockets`].
    ///
    /// # Errors
    ///
    /// When another upgrade is under way, or there are no descriptors for it.
    pub fn lend_sockets(&self) -> Result<Vec<Group>, Refused> {
        let _changing = self.change();
        if self.is_upgrading.load(Ordering::Relaxed) {
            return Err(Refused::Upgrading);
        }
        let (show, shown) = mpsc::channel();
        self.errands.iter().for_each(|worker| drop(worker.send(Errand::Show(show.clone()))));
        drop(show);
        let (mut sockets, mut inlets) = (Vec::new(), Vec::new());
        let mut all = await_all(&shown, self.workers())?;
        // As they were bound: the socket of each worker becomes that of the same one.
        all.sort_unstable_by_key(|(worker, _)| *worker);
        for (_, of_worker) in all {
            let (of_connections, of_datagrams) = of_worker.map_err(Refused::Descriptors)?;
            sockets.extend(of_connections);
            inlets.extend(of_datagrams);
        }
        let groups = by_address((sockets, inlets), &self.generation()).map_err(Refused::Descriptors)?;
        self.is_upgrading.store(true, Ordering::Relaxed);
        Ok(groups)
    }

    /// They have not been taken.
    pub fn keep_sockets(&self) {
        let _changing = self.change();
        self.is_upgrading.store(false, Ordering::Relaxed);
    }

    /// They have been taken, but for those at some addresses.
    ///
    /// # Errors
    ///
    /// When a worker does not answer.
    pub fn give_sockets_away(&self, but: Vec<Address>) -> Result<(), Refused> {
        let _changing = self.change();
        let (done, answers) = mpsc::channel();
        for worker in &self.errands {
            let _ = worker.send(Errand::Lend { but: but.as_slice().into(), done: done.clone() });
        }
        drop(done);
        await_all(&answers, self.workers()).map(drop)
    }
}

fn await_all<T>(answers: &Receiver<T>, count: usize) -> Result<Vec<T>, Refused> {
    let deadline = Instant::now() + ERRAND_TIMEOUT;
    let next = |_| answers.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    (0..count).map(next).collect::<Result<_, _>>().map_err(|_| Refused::Stuck)
}

fn by_address((sockets, inlets): Shown, generation: &Generation) -> std::io::Result<Vec<Group>> {
    let mut groups: Vec<Group> = Vec::new();
    let mut protocols = Vec::new();
    for (spec, addresses) in generation.config.listeners.iter().zip(&generation.addresses) {
        for (place, &address) in addresses.iter().enumerate() {
            let (listener, configured) = (spec.name.clone(), spec.bind[place]);
            let (sockets, inlets) = Shown::default();
            groups.push(Group { listener, place, configured, address, sockets, inlets });
            protocols.push(spec.protocol);
        }
    }
    // Workers can share one.
    let mut seen = HashSet::new();
    for socket in sockets {
        let address = socket.local_addr()?;
        let is_new = seen.insert(socket.identity()?);
        let mut of_tcp =
            groups.iter_mut().zip(&protocols).filter(|(_, protocol)| **protocol == Protocol::Tcp);
        if let Some((group, _)) = of_tcp.find(|(group, _)| group.address == address && is_new) {
            group.sockets.push(socket);
        }
    }
    for inlet in inlets {
        let address = Address::Ip(inlet.local_addr()?);
        let mut of_udp =
            groups.iter_mut().zip(&protocols).filter(|(_, protocol)| **protocol == Protocol::Udp);
        if let Some((group, _)) = of_udp.find(|(group, _)| group.address == address) {
            group.inlets.push(inlet);
        }
    }
    Ok(groups)
}
