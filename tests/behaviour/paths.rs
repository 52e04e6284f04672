//! Paths that lose, that wait, and that are narrow: every byte arrives all the same, or a datagram as a whole not at all.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, UdpSocket};
use std::thread;

use ringway::end::End;

use crate::common::*;
use crate::network::{Network, is_root_here, three_in_a_row};

/// Every twentieth packet that comes to ringway is lost, from either side, and so is every twentieth that it sends: of those that are
/// drawn every fifth, so that nobody's packets are lost again and again.
const LOSS: &str = "table inet lossy {
    chain in { type filter hook input priority 0; iifname { m0, m1 } numgen random mod 4 0 numgen inc mod 5 0 drop; }
    chain out { type filter hook output priority 0; oifname { m0, m1 } numgen random mod 4 0 numgen inc mod 5 0 drop; }
}";

/// What is larger is gone, and nobody hears of it.
const NARROW: &str = "table inet narrow {
    chain in { type filter hook input priority 0; iifname { m0, m1 } meta length > 1280 drop; }
    chain out { type filter hook output priority 0; oifname { m0, m1 } meta length > 1280 drop; }
}";

/// Both families: where ringway listens, and the backend.
const ENDS: [[&str; 2]; 2] = [["10.0.1.1:8000", "10.0.2.2:9000"], ["[fd00:1::1]:8000", "[fd00:2::2]:9000"]];

/// A listener over this protocol before one backend.
fn ringway_in(middle: &Network, [bind, backend]: [&str; 2], protocol: &str, socket: &str) -> Ringway {
    let text = format!(
        "[[listener]]\nname='l'\nbind='{bind}'\npool='p'\nprotocol='{protocol}'\n{socket}\n\
         [[pool]]\nname='p'\nconnect_timeout='30s'\n{socket}\n[pool.health]\ncheck='none'\n\
         [[pool.backend]]\naddress='{backend}'\n"
    );
    let mut parsed = ringway::config::parse("test", &text).unwrap_or_else(|errors| panic!("{errors}"));
    parsed.server = config(&[]).server;
    middle.run(move || Ringway::start(parsed))
}

/// Streams go through whole, both ways at once, from several clients.
fn streams_are_whole([clients, middle, servers]: &[Network; 3], bytes: usize, socket: &str) {
    const CLIENTS: u64 = 4;
    for ends in ENDS {
        let address: SocketAddr = ends[1].parse().unwrap();
        let backend = servers.run(move || TcpListener::bind(address).unwrap());
        thread::spawn(move || {
            for stream in backend.incoming().take(CLIENTS as usize) {
                thread::spawn(move || echo(stream.unwrap()));
            }
        });
        let ringway = ringway_in(middle, ends, "tcp", socket);
        let address = ringway.address();
        let streams: Vec<_> = (0..CLIENTS)
            .map(|seed| {
                let mut stream = clients.run(move || connect(address));
                thread::spawn(move || {
                    let sent = Noise::new(seed).bytes(bytes);
                    let mut writer = stream.try_clone().unwrap();
                    let outgoing = sent.clone();
                    let writing = thread::spawn(move || {
                        writer.write_all(&outgoing).unwrap();
                        writer.shutdown(Shutdown::Write).unwrap();
                    });
                    let mut back = Vec::new();
                    stream.read_to_end(&mut back).unwrap();
                    writing.join().unwrap();
                    assert!(back == sent, "{} bytes came back, of {}", back.len(), sent.len());
                })
            })
            .collect();
        streams.into_iter().for_each(|stream| stream.join().unwrap());
        ringway.await_end(End::Complete, CLIENTS);
        let totals = ringway.finish();
        let all = CLIENTS * bytes as u64;
        assert_eq!((totals.accepted, totals.bytes_to_backend, totals.bytes_to_client), (CLIENTS, all, all));
    }
}

/// Packets as they are on a wire, and not many as one.
fn send_one_by_one([clients, middle, servers]: &[Network; 3]) {
    for (network, link) in [(clients, "c0"), (middle, "m0"), (middle, "m1"), (servers, "s0")] {
        network.ip(&format!("link set {link} gso_max_segs 1"));
    }
}

#[test]
fn where_packets_are_lost_no_byte_is() {
    if !is_root_here("paths::where_packets_are_lost_no_byte_is") {
        return;
    }
    let networks = three_in_a_row();
    send_one_by_one(&networks);
    networks[1].nft(LOSS);
    streams_are_whole(&networks, 200_000, "");
    assert!(networks.iter().all(|network| network.sent_again() > 0), "nothing was lost");
}

#[test]
fn where_packets_wait_no_session_ends_early() {
    if !is_root_here("paths::where_packets_wait_no_session_ends_early") {
        return;
    }
    let networks = three_in_a_row();
    // A queue of a fifth of a second before a slow line, to both sides.
    for link in ["m0", "m1"] {
        networks[1].tc(&format!("qdisc add dev {link} root tbf rate 40mbit burst 10kb latency 200ms"));
    }
    streams_are_whole(&networks, 1_000_000, "");
    for link in ["m0", "m1"] {
        let told = networks[1].tc(&format!("-s qdisc show dev {link}"));
        let waited = told.split("overlimits ").nth(1).unwrap().split(' ').next().unwrap();
        assert_ne!(waited, "0", "{told}");
    }
}

#[test]
fn where_packets_have_to_be_small_and_nobody_says_so_a_small_mss_carries_all() {
    if !is_root_here("paths::where_packets_have_to_be_small_and_nobody_says_so_a_small_mss_carries_all") {
        return;
    }
    let networks = three_in_a_row();
    send_one_by_one(&networks);
    networks[1].nft(NARROW);
    streams_are_whole(&networks, 1_000_000, "socket={mss=1200}");
}

#[test]
fn a_datagram_in_fragments_is_whole() {
    if !is_root_here("paths::a_datagram_in_fragments_is_whole") {
        return;
    }
    let [clients, middle, servers] = three_in_a_row();
    for (network, link) in [(&clients, "c0"), (&middle, "m0"), (&middle, "m1"), (&servers, "s0")] {
        network.ip(&format!("link set {link} mtu 1280"));
    }
    for ends in ENDS {
        let address: SocketAddr = ends[1].parse().unwrap();
        let backend = servers.run(move || UdpSocket::bind(address).unwrap());
        backend.set_read_timeout(Some(DEADLINE)).unwrap();
        thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            while let Ok((count, from)) = backend.recv_from(&mut buffer) {
                let _ = backend.send_to(&buffer[..count], from);
            }
        });
        let ringway = ringway_in(&middle, ends, "udp", "");
        let address = ringway.address();
        let client = clients.run(move || {
            let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let client = UdpSocket::bind(any).unwrap();
            client.connect(address).unwrap();
            client.set_read_timeout(Some(DEADLINE)).unwrap();
            client
        });
        for size in [0, 1, 1_232, 1_252, 1_253, 1_472, 9_000, 65_507] {
            let sent = Noise::new(size as u64).bytes(size);
            let mut buffer = vec![0; 65_536];
            client.send(&sent).unwrap();
            let count = client.recv(&mut buffer).unwrap();
            assert!(buffer[..count] == sent, "{size} bytes came back as {count}");
        }
        ringway.finish();
    }
}
