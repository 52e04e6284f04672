//! Replies: what backends have sent leaves for the clients, and what is done where the kernel does not take it.

use std::io;
use std::rc::Rc;

use super::flow::Way;
use super::train;
use super::world::{Fault, World};
use crate::net::{self, Outgoing, Piece};
use crate::stats::Dropped;

impl World {
    /// Sends the replies that have come, those that leave by the same socket with one call.
    pub(super) fn send_replies(&mut self) {
        let mut first = 0;
        while first < self.outgoing.len() {
            let way = Rc::clone(&self.ways[first]);
            let same = self.ways[first..].iter().take_while(|other| Rc::ptr_eq(other, &way)).count();
            let messages = &self.outgoing[first..first + same];
            let mut lost = Vec::new();
            self.batch
                .send_all(&way.socket, &self.pieces, messages, |place, error| lost.push((place, error)));
            for (place, error) in lost {
                self.resend(&way, first + place, &error);
            }
            first += same;
        }
        self.outgoing.clear();
        self.ways.clear();
        self.pieces.clear();
        self.filled = 0;
    }

    /// A reply was not sent: as its parts, if it is a train that could not be sent as one, and in fragments, if it is too large.
    #[cold]
    fn resend(&mut self, way: &Way, place: usize, error: &io::Error) {
        let message = self.outgoing[place];
        let drop = |error: &io::Error, datagrams: usize| {
            let why = match Fault::of(error) {
                Fault::Datagram(why) => why,
                Fault::Backend => Dropped::Refused,
            };
            way.counters.borrow().datagrams.drop(why, datagrams as u64);
        };
        let own = &self.pieces[message.first..message.first + message.count];
        let pieces = match message.segment {
            Some(size) if net::is_no_train(error) => train::apart(own, size),
            // Of several in one turn the first has let the socket send in fragments already.
            None if net::is_too_large(error) => {
                net::let_fragment(&way.socket);
                own.to_vec()
            }
            _ => {
                let bytes: usize = own.iter().map(|piece| piece.bytes).sum();
                return drop(error, message.segment.map_or(1, |size| bytes.div_ceil(size)));
            }
        };
        for place in 0..pieces.len() {
            let one = Outgoing { first: place, count: 1, segment: None, ..message };
            let mut failed = self.send_one(way, &pieces, one);
            if failed.as_ref().is_some_and(net::is_too_large) && net::let_fragment(&way.socket) {
                failed = self.send_one(way, &pieces, one);
            }
            failed.iter().for_each(|error| drop(error, 1));
        }
    }

    fn send_one(&mut self, way: &Way, pieces: &[Piece], one: Outgoing) -> Option<io::Error> {
        let mut failed = None;
        self.batch.send_all(&way.socket, pieces, &[one], |_, error| failed = Some(error));
        failed
    }
}
