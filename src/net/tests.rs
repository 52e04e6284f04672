//! Sockets as they are made, and what is seen of them.

use super::testing::connected;
use super::*;
use crate::config::ListeningSocket;
use std::io::Read;
use std::net::{Ipv4Addr, TcpStream};

fn any_port() -> Address {
    Address::Ip((Ipv4Addr::LOCALHOST, 0).into())
}

fn listener() -> Listener {
    let text = "[[listener]]\nname='a'\nbind='127.0.0.1:0'\nbacklog=16\npool='p'\n[[pool]]\nname='p'\n\
                [[pool.backend]]\naddress='127.0.0.1:2'\n";
    crate::config::parse("test", text).unwrap().listeners.remove(0)
}

fn port_of(listening: &Listening) -> u16 {
    listening.local_addr().unwrap().as_ip().unwrap().port()
}

#[test]
fn listeners_of_one_group_share_the_port_and_a_second_group_is_refused() {
    let group = listen(any_port(), 3, &listener()).unwrap();
    let address = group[0].local_addr().unwrap();
    assert!(group.iter().all(|each| each.local_addr().unwrap() == address));
    let refused = listen(address, 1, &listener()).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
}

#[test]
fn abort_shows_the_peer_a_reset_and_not_an_end() {
    let (ours, mut peer) = connected();
    abort(&ours);
    let error = peer.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn a_reset_is_seen_without_reading_and_an_end_is_not_one() {
    let (ours, peer) = connected();
    peer.shutdown(Shutdown::Write).unwrap();
    assert_eq!(SockRef::from(&ours).peek(&mut [mem::MaybeUninit::uninit()]).unwrap(), 0);
    assert!(!is_over(&ours));
    SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
    drop(peer);
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while !is_over(&ours) {
        assert!(std::time::Instant::now() < deadline, "the reset was not seen");
        std::thread::yield_now();
    }
}

#[test]
fn a_connection_that_both_sides_have_ended_is_over_but_was_not_reset() {
    let (ours, peer) = connected();
    finish_writing(&ours).unwrap();
    drop(peer);
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while !is_over(&ours) {
        assert!(std::time::Instant::now() < deadline, "the end was not seen");
        std::thread::yield_now();
    }
    assert!(!is_reset(&ours));
    let (ours, peer) = connected();
    SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
    drop(peer);
    while !is_over(&ours) {
        assert!(std::time::Instant::now() < deadline, "the reset was not seen");
        std::thread::yield_now();
    }
    assert!(is_reset(&ours));
}

#[test]
fn a_client_over_ipv4_is_told_as_such_by_a_dual_stack_socket_too() {
    let socket = socket2::Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
    socket.set_only_v6(false).unwrap();
    socket.bind(&SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, 0)).into()).unwrap();
    socket.listen(1).unwrap();
    let listening = Listening::lent(OwnedFd::from(socket)).unwrap();
    assert!(listening.is_dual_stack());
    let port = port_of(&listening);
    let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    // What ends the handshake may come a moment after the client has connected.
    let (_, address) = std::iter::repeat_with(|| accept(&listening).unwrap()).flatten().next().unwrap();
    assert_eq!(address, Address::Ip(client.local_addr().unwrap()));
}

#[test]
fn what_does_not_listen_is_not_taken_for_a_listener() {
    let stream = socket2::Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let error = Listening::lent(OwnedFd::from(stream)).unwrap_err();
    assert!(error.to_string().contains("does not listen"), "{error}");
    let datagrams = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let error = Listening::lent(OwnedFd::from(datagrams)).unwrap_err();
    assert!(error.to_string().contains("not a TCP socket"), "{error}");
}

#[test]
fn what_a_listener_wants_is_there_and_what_it_does_not_want_any_more_is_gone() {
    let number = |listening: &Listening, level, option| sockopt::number(listening, level, option).unwrap();
    let mut wanted = listener();
    wanted.socket = ListeningSocket {
        device: Some("lo".into()),
        free_bind: true,
        fast_open: Some(7),
        defer_accept: Some(Duration::from_secs(1)),
        congestion: Some("reno".into()),
        dscp: Some(46),
        receive_buffer: Some(64 << 10),
        send_buffer: Some(32 << 10),
        ..wanted.socket
    };
    let group = listen(any_port(), 2, &wanted).unwrap();
    for each in &group {
        let socket = SockRef::from(each);
        assert_eq!(socket.device().unwrap().as_deref(), Some(&b"lo"[..]));
        assert!(socket.freebind_v4().unwrap());
        assert_eq!(number(each, libc::IPPROTO_TCP, libc::TCP_FASTOPEN), 7);
        assert!(number(each, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT) > 0);
        assert_eq!(socket.tos_v4().unwrap(), 46 << 2);
        // The kernel doubles them, for its own books.
        assert_eq!(socket.recv_buffer_size().unwrap(), 128 << 10);
        assert_eq!(socket.send_buffer_size().unwrap(), 64 << 10);
        let congestion = socket.tcp_congestion().unwrap();
        assert!(congestion.starts_with(b"reno\0"), "{congestion:?}");
    }
    group[0].adjust(&listener()).unwrap();
    assert_eq!(number(&group[0], libc::IPPROTO_TCP, libc::TCP_FASTOPEN), 0);
    assert_eq!(number(&group[0], libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT), 0);
    assert_eq!(SockRef::from(&group[0]).tos_v4().unwrap(), 0);
}

#[test]
fn what_the_kernel_refuses_names_the_key_the_option_and_the_cure() {
    let mut wanted = listener();
    wanted.socket.congestion = Some("nobody".into());
    let error = listen(any_port(), 1, &wanted).unwrap_err().to_string();
    assert!(error.contains("listener.socket.congestion = nobody (TCP_CONGESTION) is refused"), "{error}");
    assert!(error.contains("this kernel has") && error.contains("reno"), "{error}");
    let mut wanted = listener();
    wanted.socket.device = Some("nowhere0".into());
    let error = listen(any_port(), 1, &wanted).unwrap_err().to_string();
    assert!(error.contains("listener.socket.device = nowhere0 (SO_BINDTODEVICE) is refused"), "{error}");
}

#[test]
fn accepted_connections_inherit_nodelay() {
    let group = listen(any_port(), 1, &listener()).unwrap();
    let _client = TcpStream::connect((Ipv4Addr::LOCALHOST, port_of(&group[0]))).unwrap();
    let accepted = loop {
        if let Some((socket, _)) = accept(&group[0]).unwrap() {
            break socket;
        }
    };
    assert!(SockRef::from(&accepted).tcp_nodelay().unwrap());
}
