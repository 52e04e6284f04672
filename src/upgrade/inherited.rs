//! Inherited: the listening sockets of the process before, until a listener takes them.

use crate::config::{Address, Listener, Protocol};
use crate::net::{Inlet, Listening};

/// The sockets at one address.
#[derive(Debug)]
pub struct Group {
    /// The listener that has the address.
    pub listener: String,
    /// Which of its addresses it is.
    pub place: usize,
    /// The address as the configuration has it: port 0 is any.
    pub configured: Address,
    /// Where it really is.
    pub address: Address,
    /// One for each worker of the process before, as a rule.
    pub sockets: Vec<Listening>,
    /// The same over UDP. An address has sockets of one kind only: those of the other kind are another group.
    pub inlets: Vec<Inlet>,
}

/// What no listener has taken yet.
#[derive(Debug, Default)]
pub struct Inherited(Vec<Group>);

impl Inherited {
    /// All of these.
    pub fn new(groups: Vec<Group>) -> Inherited {
        Inherited(groups)
    }

    /// The sockets of a listener's address, if there are any. Of addresses that ask for any free port, those at the same place
    /// of the listener with the same name.
    pub fn take(&mut self, listener: &Listener, place: usize) -> Option<Group> {
        let wanted = listener.bind[place];
        let is_udp = listener.protocol == Protocol::Udp;
        let is_same_kind = |group: &Group| group.inlets.is_empty() != is_udp;
        let is_it = |group: &Group| match wanted.is_any_port() {
            _ if !is_same_kind(group) => false,
            true => group.listener == listener.name && group.place == place && group.configured == wanted,
            false => group.address == wanted,
        };
        let at = self.0.iter().position(is_it)?;
        Some(self.0.swap_remove(at))
    }

    /// Addresses that no listener has asked for. Not those of UDP: the process before takes nothing more there, whoever does.
    pub fn left(&self) -> Vec<Address> {
        self.0.iter().filter(|group| group.inlets.is_empty()).map(|group| group.address).collect()
    }
}
