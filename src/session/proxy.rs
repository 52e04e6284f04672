//! Proxy: hears from a proxy before us who the client is, and tells it to the backend.

use std::io;
use std::net::SocketAddr;

use super::Admitted;
use crate::access::nanos;
use crate::config::{AcceptProxy, Address, ProxyTlv, ProxyVersion, SendProxy};
use crate::end::End;
use crate::net::{self, Socket};
use crate::peek::{Peeked, peek};
use crate::proxy_protocol::{
    self as protocol, ALPN, AUTHORITY, Addresses, Announcement, Command, HEADER_BYTES_MAX, Header, Malformed,
    Parsed, Tlvs, Transport, UNIQUE_ID,
};
use crate::watch::Stage;

/// What a proxy before us told of the client, beside its address. Kept until the backend knows it.
pub(super) struct Told {
    /// What the client connected to.
    destination: Option<SocketAddr>,
    tlvs: Tlvs,
}

/// Hears who the client is, if its listener has that said. Whoever may not say it, or does not say it right, is reset.
pub(super) async fn hear(session: &Admitted) -> Result<(), End> {
    let shared = session.shared();
    let Some(terms) = &shared.listener(&session.watch).proxy_protocol else { return Ok(()) };
    // Who may write to a Unix socket is what its file's mode says.
    let came_from = session.client.get().as_ip();
    if came_from.is_some_and(|address| !terms.trusts(address.ip())) {
        return Err(refuse(
            session,
            End::ProxyUntrusted,
            "it came from an address that is not in accept_from",
        ));
    }
    // Boxed: what few listeners ask for must not make every session larger.
    let header = Box::pin(take_header(session, terms)).await?;
    if let Command::Proxied(Addresses { source, .. }) = header.command {
        session.client.set(source.into());
        session.watch.told_client.set(Some(source.into()));
    }
    let destination = header.addresses().map(|told| told.destination);
    // A check of the proxy's own is nobody's.
    if header.command != Command::Local {
        ask_again(session)?;
    }
    if destination.is_some() || !header.tlvs.is_empty() {
        session.told.replace(Some(Box::new(Told { destination, tlvs: header.tlvs })));
    }
    Ok(())
}

/// Asks the rules of the listener and its limits by source, now that it is known who the client is.
fn ask_again(session: &Admitted) -> Result<(), End> {
    let (shared, listener) = (session.shared(), session.watch.listener());
    let Some(address) = session.client.get().as_ip() else { return Ok(()) };
    let now = nanos(shared.core.elapsed());
    let asked = shared.doors[listener].ask_again(&mut session.pass.borrow_mut(), address.ip(), now);
    asked.map_err(|reason| {
        shared.count_refused(listener, reason, Address::Ip(address));
        refuse(session, End::Refused, reason.name())
    })
}

/// Takes the header from the socket and not one byte more: what follows is the backend's.
async fn take_header(session: &Admitted, terms: &AcceptProxy) -> Result<Header, End> {
    let watch = &session.watch;
    watch.stage.set(Stage::Greeting);
    let mut is_begun = false;
    let decide = |bytes: &[u8]| {
        is_begun |= !bytes.is_empty();
        match protocol::parse(bytes, &terms.versions) {
            Parsed::More => None,
            Parsed::Header(header) => Some(Ok(header)),
            Parsed::Malformed(reason) => Some(Err(reason)),
        }
    };
    let peeked = peek(&watch.client, HEADER_BYTES_MAX, terms.timeout, decide).await;
    if let Some(verdict) = watch.verdict() {
        return Err(verdict);
    }
    let malformed = |reason: Malformed| refuse(session, End::ProxyMalformed, &reason.to_string());
    let header = match peeked {
        Ok(Peeked::Decided(Ok(header))) => header,
        Ok(Peeked::Decided(Err(reason))) => return Err(malformed(reason)),
        Ok(Peeked::TooLong) => return Err(malformed(Malformed::TooLong)),
        Ok(Peeked::Ended) if is_begun => return Err(malformed(Malformed::CutOff)),
        Ok(Peeked::Late) => {
            return Err(refuse(session, End::ProxyTimeout, "no whole header came in time"));
        }
        Ok(Peeked::Ended) | Err(_) => {
            return Err(refuse(session, End::ClientReset, "it ended without a byte"));
        }
    };
    let mut taken = vec![0; header.length];
    // It was all there a moment ago: less of it is there only if the connection broke.
    if net::take(&watch.client, &mut taken).ok() != Some(header.length) {
        return Err(refuse(session, End::ClientReset, "it broke with the header in it"));
    }
    watch.stage.set(Stage::Connecting);
    Ok(header)
}

/// Ends it with a reset, whatever the listener says to a client that finds no backend: who speaks like this is no client.
fn refuse(session: &Admitted, end: End, reason: &str) -> End {
    tracing::debug!(session = %session.watch.id, client = %session.client.get(), reason, "no PROXY protocol header");
    session.watch.end(end);
    end
}

/// Tells a backend that has just been connected to who the client is, if its pool has that told.
///
/// In one write and before any byte of the client: an empty socket takes a header whole. If this one does not, it has been
/// told half of it, and the next backend can be tried.
pub(super) fn tell(session: &Admitted, backend: &Socket) -> io::Result<()> {
    let shared = session.shared();
    let Some(terms) = &shared.pool(&session.watch).proxy_protocol else { return Ok(()) };
    let header = announcement(session, terms);
    if net::send_now(backend, &header)? < header.len() {
        return Err(io::ErrorKind::WriteZero.into());
    }
    // No other backend will have to be told.
    session.told.take();
    Ok(())
}

fn announcement(session: &Admitted, terms: &SendProxy) -> Vec<u8> {
    let told = session.told.borrow();
    let told = told.as_deref();
    let source = session.client.get().as_ip();
    let destination = told.and_then(|told| told.destination).or_else(|| net::local(&session.watch.client));
    // A client whose connection has broken meanwhile, which the backend will see; or one that came by a Unix socket.
    let (Some(source), Some(destination)) = (source, destination) else {
        return protocol::local(terms.version).to_vec();
    };
    let addresses = Addresses { source, destination };
    if terms.version == ProxyVersion::V1 {
        return protocol::version_1(&addresses);
    }
    version_2(session, terms, told.map(|told| &told.tlvs), (Transport::Stream, addresses))
}

impl Admitted {
    /// What tells a backend over UDP who the client is, where it has sent to, and what else a proxy before us told of it.
    pub fn datagram_header(
        &self,
        terms: &SendProxy,
        addresses: Addresses,
        received: Option<&Tlvs>,
    ) -> Vec<u8> {
        version_2(self, terms, received, (Transport::Datagram, addresses))
    }
}

fn version_2(
    session: &Admitted,
    terms: &SendProxy,
    told: Option<&Tlvs>,
    (transport, addresses): (Transport, Addresses),
) -> Vec<u8> {
    let received = |kind| told.and_then(|told| told.get(kind));
    let hello = session.hello.get();
    // Of several protocols the server chooses one, which nobody here will see.
    let offered = hello.and_then(|hello| match &*hello.alpn {
        [alone] => Some(&**alone),
        _ => None,
    });
    let asked = hello.and_then(|hello| hello.server_name.as_ref()).map(|name| name.as_bytes());
    let own_id = terms.tells(ProxyTlv::UniqueId).then(|| session.watch.id.to_string());
    protocol::version_2(&Announcement {
        transport,
        addresses,
        alpn: received(ALPN).or(offered).filter(|_| terms.tells(ProxyTlv::Alpn)),
        authority: received(AUTHORITY).or(asked).filter(|_| terms.tells(ProxyTlv::Authority)),
        unique_id: own_id.as_ref().map(|id| received(UNIQUE_ID).unwrap_or(id.as_bytes())),
        received: told.filter(|_| terms.tells(ProxyTlv::Received)),
        custom: &terms.custom,
        checksum: terms.tells(ProxyTlv::Checksum),
    })
}
