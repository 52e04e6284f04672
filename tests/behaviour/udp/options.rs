//! What the sockets are like that clients send to.

use ringway::config::{Address, ListeningSocket};
use ringway::net::bind_inlets;
use socket2::SockRef;

use super::reloading::change;
use super::{UdpBackend, assert_echo, assert_silent, client_of, config};
use crate::common::{Ringway, any_port};
use crate::network::{Network, is_root_here};

/// Only what is marked leaves.
const RULES: &str = "table inet ringway {
    chain output {
        type filter hook output priority filter; policy accept;
        udp sport 5300 ip dscp != ef drop
    }
}";

#[test]
fn each_socket_of_a_listener_has_its_options_and_loses_them_when_they_are_taken_back() {
    let wanted = ListeningSocket {
        device: Some("lo".into()),
        dscp: Some(46),
        receive_buffer: Some(64 << 10),
        send_buffer: Some(32 << 10),
        ..ListeningSocket::default()
    };
    for bind in [any_port(), "[::1]:0".parse().unwrap()] {
        let inlets = bind_inlets(Address::Ip(bind), 2, &wanted).unwrap();
        let class =
            |socket: &SockRef<'_>| if bind.is_ipv4() { socket.tos_v4() } else { socket.tclass_v6() }.unwrap();
        for inlet in &inlets {
            let socket = SockRef::from(inlet);
            assert_eq!(socket.device().unwrap().unwrap(), b"lo");
            assert_eq!(class(&socket), 46 << 2);
            // The kernel doubles them, for its own books.
            assert_eq!(socket.recv_buffer_size().unwrap(), 128 << 10);
            assert_eq!(socket.send_buffer_size().unwrap(), 64 << 10);
            inlet.adjust(&ListeningSocket::default()).unwrap();
            assert_eq!(class(&socket), 0);
            assert!(socket.recv_buffer_size().unwrap() > 128 << 10);
        }
    }
}

#[test]
fn a_reload_changes_them_for_the_sockets_that_there_are() {
    if !is_root_here("udp::options::a_reload_changes_them_for_the_sockets_that_there_are") {
        return;
    }
    let network = Network::new();
    network.nft(RULES);
    network.run(|| {
        let backend = UdpBackend::echo();
        let mut config = config(&[backend.address]);
        config.listeners[0].bind = vec!["127.0.0.1:5300".parse().unwrap()];
        config.listeners[0].socket.dscp = Some(46);
        let ringway = Ringway::start(config);
        let client = client_of(ringway.address());
        assert_echo(&client, b"marked");
        change(&ringway, |config| config.listeners[0].socket.dscp = None);
        client.send(b"not marked").unwrap();
        assert_silent(&client);
        change(&ringway, |config| config.listeners[0].socket.dscp = Some(46));
        assert_echo(&client, b"marked again");
        assert_eq!(ringway.finish().accepted, 1);
    });
}

#[test]
fn a_listener_may_be_where_the_machine_is_not_yet_and_what_is_refused_names_the_key() {
    let backend = UdpBackend::echo();
    let mut config = config(&[backend.address]);
    config.listeners[0].bind = vec!["192.0.2.1:5300".parse().unwrap()];
    let error = ringway::server::Server::start(config.clone(), 0).err().unwrap().to_string();
    assert!(error.contains("this machine does not have that address"), "{error}");
    config.listeners[0].socket.free_bind = true;
    Ringway::start(config.clone()).finish();
    config.listeners[0].socket.device = Some("nowhere0".into());
    let error = ringway::server::Server::start(config, 0).err().unwrap().to_string();
    assert!(error.contains("listener.socket.device = nowhere0 (SO_BINDTODEVICE) is refused"), "{error}");
}

#[test]
fn a_reload_that_the_kernel_refuses_changes_nothing() {
    let backend = UdpBackend::echo();
    let ringway = Ringway::start(config(&[backend.address]));
    let client = client_of(ringway.address());
    assert_echo(&client, b"before");
    let control = ringway.server().control();
    let mut wrong = ringway::config::Config::clone(&control.generation().config);
    wrong.listeners[0].socket.device = Some("nowhere0".into());
    let error = control.adopt(wrong).unwrap_err().to_string();
    assert!(error.contains("nowhere0"), "{error}");
    assert_echo(&client, b"after");
    ringway.finish();
}
