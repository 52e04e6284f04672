//! Senders: of whom a proxy has sent datagrams, by the header that it puts before them. Pure.
//!
//! A proxy that has a socket for each client puts a header before the first datagram, or before each; one that sends for all by
//! one socket has to put one before each. Either way a datagram is of the client that its header tells, and one without a header
//! of the client that the last header from that socket told.
//!
//! What was told is known for longer than the session lasts: a client whose session is complete, idle or left its backend goes
//! on with datagrams that say nothing of it.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use crate::config::{AcceptProxy, ProxyDatagrams};
use crate::proxy_protocol::{self as protocol, Header};
use crate::stats::Dropped;

/// A socket of a proxy, and which of the machine's addresses it sends to, where a socket of ours stands for all of them.
pub(super) type Sender = (SocketAddr, Option<IpAddr>);

/// What each of them told last. Two generations: what is asked for moves to the younger one, and when that is full the older
/// one is forgotten. So twice `most` are known at most, and the `most` that sent last always are.
#[derive(Debug, Default)]
pub(super) struct Senders {
    young: HashMap<Sender, Rc<Header>>,
    old: HashMap<Sender, Rc<Header>>,
}

impl Senders {
    /// Whether none has told anything.
    pub(super) fn is_empty(&self) -> bool {
        self.young.is_empty() && self.old.is_empty()
    }

    /// What this one told last.
    pub(super) fn last(&self, sender: &Sender) -> Option<Rc<Header>> {
        self.young.get(sender).or_else(|| self.old.get(sender)).map(Rc::clone)
    }

    /// It has sent something just now, and told this.
    pub(super) fn note(&mut self, sender: Sender, told: Rc<Header>, most: usize) {
        if self.young.len() >= most && !self.young.contains_key(&sender) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(sender, told);
    }

    /// Forgets all that do not fit.
    pub(super) fn retain(&mut self, fits: impl Fn(&Sender) -> bool) {
        for known in [&mut self.young, &mut self.old] {
            known.retain(|sender, _| fits(sender));
        }
    }
}

/// The header of a datagram, whoever has sent it; `None` if it has none that is right.
pub(super) fn header(bytes: &[u8]) -> Option<Header> {
    if protocol::has_signature(bytes) { protocol::parse_datagram(bytes).ok() } else { None }
}

/// The header of a datagram from there, under these terms; `None` if it has none and needs none.
pub(super) fn read(bytes: &[u8], from: IpAddr, terms: &AcceptProxy) -> Result<Option<Header>, Dropped> {
    if !terms.trusts(from) {
        return Err(Dropped::ProxyUntrusted);
    }
    match (terms.datagrams, protocol::has_signature(bytes)) {
        (ProxyDatagrams::First, false) => Ok(None),
        (ProxyDatagrams::Each, false) => Err(Dropped::ProxyMissing),
        (_, true) => protocol::parse_datagram(bytes).map(Some).map_err(|reason| {
            tracing::debug!(client = %from, %reason, "no PROXY protocol header");
            Dropped::ProxyMalformed
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy_protocol::{Command, Tlvs, Version};
    use std::time::Duration;

    fn header(length: usize) -> Rc<Header> {
        Rc::new(Header { version: Version::V2, command: Command::Local, tlvs: Tlvs::default(), length })
    }

    fn sender(port: u16) -> Sender {
        (SocketAddr::from(([10, 0, 0, 1], port)), None)
    }

    #[test]
    fn those_that_sent_last_are_known_and_never_more_than_twice_as_many() {
        let mut senders = Senders::default();
        assert!(senders.is_empty());
        for port in 0..1_000 {
            senders.note(sender(port), header(usize::from(port)), 10);
            assert!(senders.young.len() + senders.old.len() <= 20);
            // One that goes on sending is never forgotten.
            senders.note(sender(0), header(7), 10);
            for recent in port.saturating_sub(4)..=port {
                assert!(senders.last(&sender(recent)).is_some(), "{recent} of {port}");
            }
        }
        assert_eq!(senders.last(&sender(0)).unwrap().length, 7);
        assert!(senders.last(&sender(500)).is_none());
        senders.retain(|(address, _)| address.port() == 0);
        assert!(senders.last(&sender(999)).is_none() && senders.last(&sender(0)).is_some());
    }

    #[test]
    fn what_a_socket_tells_last_holds() {
        let mut senders = Senders::default();
        let other = (sender(1).0, Some(IpAddr::from([10, 0, 0, 2])));
        senders.note(sender(1), header(1), 10);
        senders.note(other, header(2), 10);
        senders.note(sender(1), header(3), 10);
        assert_eq!((senders.last(&sender(1)).unwrap().length, senders.last(&other).unwrap().length), (3, 2));
    }

    #[test]
    fn who_may_say_it_has_to_say_it_as_the_terms_have_it() {
        let terms = |datagrams| AcceptProxy {
            accept_from: vec!["10.0.0.0/8".parse().unwrap()],
            versions: vec![Version::V2],
            timeout: Duration::ZERO,
            datagrams,
        };
        let (proxy, stranger) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([192, 0, 2, 1]));
        let local = protocol::local(Version::V2);
        let signature = &local[..12];
        for datagrams in [ProxyDatagrams::First, ProxyDatagrams::Each] {
            let read = |bytes: &[u8], from| read(bytes, from, &terms(datagrams));
            assert_eq!(read(local, stranger), Err(Dropped::ProxyUntrusted));
            let found = read(&[local, b"payload"].concat(), proxy).unwrap().unwrap();
            assert_eq!((found.command, found.length), (Command::Local, 16));
            assert_eq!(read(signature, proxy), Err(Dropped::ProxyMalformed));
            // Less than a signature is no header that was begun: a client may send it.
            for bytes in [&b""[..], b"payload", &signature[..11]] {
                let expected = match datagrams {
                    ProxyDatagrams::First => Ok(None),
                    ProxyDatagrams::Each => Err(Dropped::ProxyMissing),
                };
                assert_eq!(read(bytes, proxy), expected, "{bytes:?}");
            }
        }
    }
}
