//! Sockets with addresses that are not the machine's: what TPROXY leads to a listener, and sessions that come from their client.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::thread;

use ringway::end::End;
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use crate::common::*;
use crate::network::{Network, is_root_here, three_in_a_row};
use crate::udp::{receive, socket_at};

/// What leads to ringway at one port: everything to another one over this protocol, and what belongs to its sockets.
fn rules(protocol: &str, wanted: u16, own: u16) -> String {
    format!(
        "table inet ringway {{
            chain prerouting {{
                type filter hook prerouting priority mangle; policy accept;
                meta l4proto {protocol} socket transparent 1 meta mark set 1 accept
                iifname \"m0\" {protocol} dport {wanted} tproxy ip to :{own} meta mark set 1 accept
                iifname \"m0\" {protocol} dport {wanted} tproxy ip6 to :{own} meta mark set 1 accept
            }}
        }}"
    )
}

/// Clients, ringway and servers, one behind the other.
fn three_networks() -> [Network; 3] {
    let [clients, middle, servers] = three_in_a_row();
    clients.ip("route add default via 10.0.1.1");
    clients.ip("-6 route add default via fd00:1::1");
    servers.ip("route add default via 10.0.2.1");
    servers.ip("-6 route add default via fd00:2::1");
    for family in ["-4", "-6"] {
        middle.ip(&format!("{family} rule add fwmark 1 lookup 100"));
        middle.ip(&format!("{family} route add local default dev lo table 100"));
    }
    middle.nft(rules("tcp", 80, 8080));
    [clients, middle, servers]
}

fn parsed(text: &str) -> ringway::config::Config {
    let mut parsed = ringway::config::parse("test", text).unwrap_or_else(|errors| panic!("{errors}"));
    parsed.server = config(&[]).server;
    parsed
}

/// A listener that waits for nobody beyond the deadline.
fn listen_at(address: SocketAddr) -> TcpListener {
    let listener = TcpListener::bind(address).unwrap();
    socket2::SockRef::from(&listener).set_read_timeout(Some(DEADLINE)).unwrap();
    listener
}

#[test]
fn what_tproxy_leads_here_reaches_the_backend_from_the_client_s_address_and_names_where_it_wanted_to_go() {
    if !is_root_here(
        "transparent::what_tproxy_leads_here_reaches_the_backend_from_the_client_s_address_and_names_where_it_wanted_to_go",
    ) {
        return;
    }
    let [clients, middle, servers] = three_networks();
    for (bind, wanted, backend, from) in [
        ("0.0.0.0:8080", "192.0.2.80:80", "10.0.2.2:9000", "10.0.1.2"),
        ("[::]:8080", "[2001:db8::80]:80", "[fd00:2::2]:9000", "fd00:1::2"),
    ] {
        let backend: SocketAddr = backend.parse().unwrap();
        let wanted: SocketAddr = wanted.parse().unwrap();
        let from: IpAddr = from.parse().unwrap();
        let listener = servers.run(move || listen_at(backend));
        let config = parsed(&format!(
            "[[listener]]\nname='web'\nbind='{bind}'\npool='app'\n[listener.socket]\ntransparent=true\n\
             [[pool]]\nname='app'\n[pool.source]\ntransparent=true\n[pool.health]\ncheck='none'\n\
             [pool.proxy_protocol]\nsend='v1'\n[[pool.backend]]\naddress='{backend}'\n"
        ));
        let ringway = middle.run(move || Ringway::start(config));
        let mut client =
            clients.run(move || with_deadline(TcpStream::connect_timeout(&wanted, DEADLINE).unwrap()));
        assert_eq!(client.peer_addr().unwrap(), wanted);
        client.write_all(b"to the server").unwrap();
        let mut server = with_deadline(listener.accept().unwrap().0);
        // Its own connection, from the address of a machine that it has never met.
        assert_eq!(server.peer_addr().unwrap().ip(), from);
        let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
        let port = client.local_addr().unwrap().port();
        let header = format!("PROXY {family} {from} {} {port} 80\r\nto the server", wanted.ip());
        let mut seen = vec![0; header.len()];
        server.read_exact(&mut seen).unwrap();
        assert_eq!(String::from_utf8_lossy(&seen), header);
        server.write_all(b"to the client").unwrap();
        drop(server);
        assert_eq!(read_all(&mut client), b"to the client");
        drop(client);
        ringway.await_end(End::Complete, 1);
        ringway.finish();
    }
}

#[test]
fn datagrams_that_tproxy_leads_here_reach_the_backend_from_their_client_and_replies_come_from_where_they_went()
 {
    let name = "transparent::datagrams_that_tproxy_leads_here_reach_the_backend_from_their_client_and_replies_come_from_where_they_went";
    if !is_root_here(name) {
        return;
    }
    let [clients, middle, servers] = three_networks();
    middle.nft(rules("udp", 5300, 5300));
    for (bind, wanted, backend, client) in [
        ("0.0.0.0:5300", "192.0.2.80:5300", "10.0.2.2:9000", "10.0.1.2:0"),
        ("[::]:5300", "[2001:db8::80]:5300", "[fd00:2::2]:9000", "[fd00:1::2]:0"),
    ] {
        let [wanted, backend, client]: [SocketAddr; 3] =
            [wanted, backend, client].map(|text| text.parse().unwrap());
        let server = servers.run(move || socket_at(backend));
        let config = parsed(&format!(
            "[[listener]]\nname='dns'\nprotocol='udp'\nbind='{bind}'\npool='app'\n[listener.socket]\ntransparent=true\n\
             [[pool]]\nname='app'\n[pool.source]\ntransparent=true\n[pool.health]\ncheck='none'\n\
             [[pool.backend]]\naddress='{backend}'\n"
        ));
        let ringway = middle.run(move || Ringway::start(config));
        let client = clients.run(move || socket_at(client));
        // It hears from there only.
        client.connect(wanted).unwrap();
        for round in 0..3_u8 {
            client.send(&[round; 100]).unwrap();
            let mut seen = [0; 200];
            let (count, from) = server.recv_from(&mut seen).unwrap();
            assert_eq!((&seen[..count], from.ip()), (&[round; 100][..], client.local_addr().unwrap().ip()));
            server.send_to(&seen[..count], from).unwrap();
            assert_eq!(receive(&client), [round; 100]);
        }
        assert_eq!(ringway.finish().accepted, 1);
    }
}

#[test]
fn checks_and_clients_that_cannot_be_passed_on_come_from_ringway_itself() {
    if !is_root_here("transparent::checks_and_clients_that_cannot_be_passed_on_come_from_ringway_itself") {
        return;
    }
    let [_clients, middle, servers] = three_networks();
    let backend: SocketAddr = "10.0.2.2:9000".parse().unwrap();
    let listener = servers.run(move || listen_at(backend));
    let config = parsed(
        "[[listener]]\nname='web'\nbind='127.0.0.1:8080'\npool='app'\n\
         [[pool]]\nname='app'\n[pool.source]\ntransparent=true\n[pool.health]\ncheck='tcp'\ninterval='100ms'\n\
         [[pool.backend]]\naddress='10.0.2.2:9000'\n",
    );
    let ringway = middle.run(move || Ringway::start(config));
    let own: IpAddr = "10.0.2.1".parse().unwrap();
    assert_eq!(listener.accept().unwrap().1.ip(), own, "a check");
    // A client on the machine of ringway: nobody could answer 127.0.0.1.
    let mut client = middle.run(|| connect("127.0.0.1:8080".parse().unwrap()));
    client.write_all(b"a session").unwrap();
    loop {
        let (stream, from) = listener.accept().unwrap();
        assert_eq!(from.ip(), own);
        let mut seen = [0; 9];
        if with_deadline(stream).read_exact(&mut seen).is_ok() {
            assert_eq!(&seen, b"a session");
            break;
        }
    }
    drop(client);
    drop(ringway);
}

#[test]
fn who_may_not_be_transparent_is_told_which_key_takes_which_capability() {
    let backend = TestBackend::echo();
    let mut of_pool = config(&[backend.address]);
    of_pool.pools[0].source.transparent = true;
    let mut of_listener = config(&[backend.address]);
    of_listener.listeners[0].socket.transparent = true;
    for (config, key) in [(of_pool, "pool test: pool.source"), (of_listener, "listener.socket")] {
        // Capabilities are those of a thread.
        let start = move || {
            let mut sets = capabilities(None).unwrap();
            sets.effective -= CapabilitySet::NET_ADMIN | CapabilitySet::NET_RAW;
            set_capabilities(None, sets).unwrap();
            ringway::server::Server::start(config, 0).err().map(|error| error.to_string())
        };
        let error = thread::spawn(start).join().unwrap().expect("it started");
        let words = format!("{key}.transparent = true (IP_TRANSPARENT) is refused: Operation not permitted");
        assert!(error.contains(&words) && error.contains("CAP_NET_ADMIN"), "{error}");
    }
}
