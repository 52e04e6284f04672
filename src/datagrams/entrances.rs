//! Entrances: the listening sockets of one worker, each by a number that no other one ever gets.
//!
//! Sessions know their entrance by it. A socket that is taken away leaves sessions behind, which must not come to be those of the
//! next one.

use std::rc::Rc;

use super::flow::Way;
use super::recency::Recency;
use super::senders::Senders;

/// A listening socket, and its sessions by how long they have been idle.
pub(super) struct Entrance {
    pub(super) way: Rc<Way>,
    pub(super) recency: Recency,
    /// Of whom proxies have sent something to it.
    pub(super) senders: Senders,
}

/// All of them. A place that is empty stays: there are as many as listeners were ever removed by reloads.
#[derive(Default)]
pub(super) struct Entrances(Vec<Option<Entrance>>);

impl Entrances {
    /// One that nobody knows yet; its number.
    pub(super) fn add(&mut self, entrance: Entrance) -> usize {
        self.0.push(Some(entrance));
        self.0.len() - 1
    }

    /// What was there.
    pub(super) fn remove(&mut self, number: usize) -> Option<Entrance> {
        self.0.get_mut(number)?.take()
    }

    pub(super) fn get(&self, number: usize) -> Option<&Entrance> {
        self.0.get(number)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, number: usize) -> Option<&mut Entrance> {
        self.0.get_mut(number)?.as_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Entrance)> {
        self.0.iter().enumerate().filter_map(|(number, entrance)| Some((number, entrance.as_ref()?)))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut Entrance)> {
        self.0.iter_mut().enumerate().filter_map(|(number, entrance)| Some((number, entrance.as_mut()?)))
    }
}
