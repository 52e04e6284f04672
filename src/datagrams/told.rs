//! Told: whose a datagram is that a proxy has sent.

use std::collections::HashSet;
use std::rc::Rc;

use super::flow::{Key, Way};
use super::senders::{self, Sender};
use super::world::{World, is_too_low};
use crate::config::AcceptProxy;
use crate::net::Piece;
use crate::proxy_protocol::Header;
use crate::stats::Dropped;

impl World {
    /// Whether datagrams that come to a socket may be of others than those who send them.
    pub(super) fn may_be_told(&self, way: &Way, inlet: usize) -> bool {
        self.terms(way).is_some() || self.entrances.get(inlet).is_some_and(|known| !known.senders.is_empty())
    }

    /// Under which terms proxies say who a client is, from now on.
    fn terms(&self, way: &Way) -> Option<&AcceptProxy> {
        self.present.config.listeners[way.listener.get()].proxy_protocol.as_ref()
    }

    /// Whose a datagram is, and what is left of it without its header. `key` is of who has sent it.
    pub(super) fn whose(&mut self, way: &Way, key: Key, piece: Piece) -> Result<(Key, Piece), Dropped> {
        let sender = sender_of(&key);
        let last = self.entrances.get(key.inlet).and_then(|known| known.senders.last(&sender));
        let header = self.header_of(way, key, &piece, last.as_deref())?;
        let (length, told) = match header {
            Found::Plain => return Ok((key, piece)),
            Found::LikeBefore => (0, last),
            Found::Header(found) => {
                let length = found.length;
                // Mostly it says the same again.
                (length, Some(last.filter(|last| **last == found).unwrap_or_else(|| Rc::new(found))))
            }
        };
        let key = Key { told: told.as_deref().and_then(client_of), ..key };
        let udp = &self.present.config.listeners[way.listener.get()].udp;
        if is_too_low(key.real_client(), udp.source_ports) {
            return Err(Dropped::Source);
        }
        let most = udp.sessions_max.get().div_ceil(self.limits.counts.len());
        if let (Some(told), Some(entrance)) = (told, self.entrances.get_mut(key.inlet)) {
            entrance.senders.note(sender, told, most);
        }
        Ok((key, Piece { offset: piece.offset + length, bytes: piece.bytes - length, ..piece }))
    }

    fn header_of(&self, way: &Way, key: Key, piece: &Piece, last: Option<&Header>) -> Result<Found, Dropped> {
        let bytes = self.batch.bytes_of(piece);
        let under = |terms: Option<&AcceptProxy>| {
            let Some(terms) = terms else { return Ok(Found::Plain) };
            match senders::read(bytes, key.client.ip(), terms)? {
                Some(header) => Ok(Found::Header(header)),
                None if last.is_none() => Err(Dropped::ProxyMissing),
                None => Ok(Found::LikeBefore),
            }
        };
        let now = under(self.terms(way));
        let is_settled = match &now {
            Ok(Found::Plain) => last.is_none(),
            Ok(Found::LikeBefore | Found::Header(_)) => true,
            Err(_) => false,
        };
        if is_settled {
            return now;
        }
        // A session that began under other terms goes on under those: what it is sent may not be what is wanted now.
        let told = match senders::header(bytes) {
            Some(header) => client_of(&header),
            None => last.and_then(client_of),
        };
        let Some(&session) = self.places.get(&Key { told, ..key }) else { return now };
        let session = &self.flows[session].session;
        let shared = session.shared();
        match under(shared.listener(session.watch()).proxy_protocol.as_ref()) {
            Ok(Found::Plain) if told.is_some() => now,
            Ok(Found::Header(header)) if client_of(&header) != told => now,
            Ok(found) => Ok(found),
            Err(_) => now,
        }
    }

    /// What a proxy told of a client of whom a session is to be opened.
    pub(super) fn told_of(&self, way: &Way, key: Key) -> Result<Option<Rc<Header>>, Dropped> {
        let is_wanted = self.terms(way).is_some();
        if !is_wanted && key.told.is_none() {
            return Ok(None);
        }
        let told = self.entrances.get(key.inlet).and_then(|known| known.senders.last(&sender_of(&key)));
        if told.is_none() && is_wanted { Err(Dropped::ProxyMissing) } else { Ok(told) }
    }

    /// Forgets what proxies told where nobody is asked any more, but for the sessions that there are.
    pub(super) fn forget_told(&mut self) {
        let World { entrances, places, present, .. } = self;
        // By one socket a proxy may send for many.
        let told = places.keys().filter(|key| key.told.is_some());
        let wanted: HashSet<(usize, Sender)> = told.map(|key| (key.inlet, sender_of(key))).collect();
        for (inlet, entrance) in entrances.iter_mut() {
            if present.config.listeners[entrance.way.listener.get()].proxy_protocol.is_none() {
                entrance.senders.retain(|sender| wanted.contains(&(inlet, *sender)));
            }
        }
    }
}

/// What is said of a client before its datagram.
enum Found {
    /// Nothing: nobody is asked.
    Plain,
    /// Nothing more than what was said last.
    LikeBefore,
    Header(Header),
}

fn sender_of(key: &Key) -> Sender {
    (key.client, key.local)
}

fn client_of(told: &Header) -> Option<std::net::SocketAddr> {
    told.addresses().map(|told| told.source)
}
