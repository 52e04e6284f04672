//! Meaning of `[listener.socket]`: what a listener's sockets are like.

use super::to_u32;
use super::udp::refuse_unused_of_socket;
use crate::config::errors::{Reason, Report};
use crate::config::keys;
use crate::config::needs::Needed;
use crate::config::read::Reader;
use crate::config::typed::Table;
use crate::config::types::{Address, ListeningSocket, Protocol};
use crate::config::values;

pub(super) fn listening_socket(
    listener: &Reader<'_, '_>,
    protocol: Option<Protocol>,
    bind: Option<&[Address]>,
    report: &Report,
) -> Option<ListeningSocket> {
    let empty = Table::new();
    let (table, place) = listener.table("socket", &empty)?;
    let reader = Reader::new(&keys::LISTENING_SOCKET, table, place, listener.owner().to_owned(), report);
    if protocol == Some(Protocol::Udp) {
        refuse_unused_of_socket(&reader);
    } else if let Some(bind) = bind {
        refuse_unused_at(bind, listener, &reader);
    }
    let mode = reader.get("mode", values::file_mode);
    let user = reader.get_if_given("user", values::name);
    let group = reader.get_if_given("group", values::name);
    let device = reader.get_if_given("device", values::device);
    let need = |name: &str, given: &Option<Option<String>>, needed: fn(String) -> Needed| {
        if let Some(Some(given)) = given {
            reader.need(reader.place_of(name), name, needed(given.clone()));
        }
    };
    need("user", &user, Needed::User);
    need("group", &group, Needed::Group);
    need("device", &device, Needed::Device);
    let free_bind = reader.get("free_bind", values::switch);
    let transparent = reader.get("transparent", values::switch);
    let fast_open = reader.get("fast_open", values::number);
    let defer_accept = reader.get("defer_accept", values::duration);
    let congestion = reader.get_if_given("congestion", values::name);
    let dscp = reader.get_if_given("dscp", values::dscp);
    let receive_buffer = reader.get_if_given("receive_buffer", values::size);
    let send_buffer = reader.get_if_given("send_buffer", values::size);
    let mss = reader.get("mss", values::number);
    let mptcp = reader.get("mptcp", values::switch);
    without_user_timeout(listener, &reader, mptcp?)?;
    Some(ListeningSocket {
        mode: mode?,
        user: user?,
        group: group?,
        device: device?,
        free_bind: free_bind?,
        transparent: transparent?,
        fast_open: fast_open?.map(to_u32),
        defer_accept: defer_accept?,
        congestion: congestion?,
        dscp: dscp?,
        mss: mss?.map(to_u32),
        mptcp: mptcp?,
        receive_buffer: receive_buffer?.map(to_u32),
        send_buffer: send_buffer?.map(to_u32),
    })
}

/// Keys of `[listener.socket]` that only a Unix socket has.
const OF_UNIX: &[&str] = &["mode", "user", "group"];
/// Keys of a listener that only an IP address has.
const OF_TCP: &[&str] = &["nodelay", "keepalive", "user_timeout"];

/// Reports every key that none of the addresses has.
fn refuse_unused_at(bind: &[Address], listener: &Reader<'_, '_>, socket: &Reader<'_, '_>) {
    let refuse = |reader: &Reader<'_, '_>, name: &str, words: &str| {
        if reader.is_given(name) {
            reader.report(&reader.place_of(name), name, Reason::Conflict(words.to_owned()));
        }
    };
    if !bind.iter().any(|address| address.is_unix()) {
        let words = "it is never used, because the listener has no Unix socket; remove it, or add one to bind, such as \
                     \"unix:/run/ringway/app.sock\"";
        OF_UNIX.iter().for_each(|name| refuse(socket, name, words));
    }
    if bind.iter().all(|address| address.is_unix()) {
        let words = "it is never used, because the listener has Unix sockets only, which have nothing of TCP and IP; remove it";
        OF_TCP.iter().for_each(|name| refuse(listener, name, words));
        let of_ip = keys::LISTENING_SOCKET.names().filter(|name| !OF_UNIX.contains(name));
        of_ip.for_each(|name| refuse(socket, name, words));
    }
}

/// The kernel's MPTCP has no TCP_USER_TIMEOUT.
pub(super) fn without_user_timeout(
    owner: &Reader<'_, '_>,
    socket: &Reader<'_, '_>,
    mptcp: bool,
) -> Option<()> {
    let has_one = || owner.get("user_timeout", values::duration).flatten().is_some();
    if !mptcp || !owner.is_given("user_timeout") || !has_one() {
        return Some(());
    }
    let words = "MPTCP has no user_timeout; remove one of the two".to_owned();
    socket.report(&socket.place_of("mptcp"), "mptcp", Reason::Conflict(words));
    None
}
