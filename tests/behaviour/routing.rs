//! Pools by what a TLS client says first.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Command, Stdio};

use ringway::config::{self, Config, LogFormat};
use ringway::end::End;
use ringway::routing::Heard;

use super::access_log::file;
use super::peers::{Authority, Server};
use crate::common::*;

/// A listener whose own pool has this backend, with routes to the others.
fn routed(others: &[(&str, SocketAddr)], own: SocketAddr, keys: &str) -> Config {
    let mut text = format!(
        "[server]\nworkers = 2\n[[listener]]\nname = 'web'\nbind = '127.0.0.1:0'\npool = 'own'\n{keys}\n"
    );
    for (place, (route, _)) in others.iter().enumerate() {
        text += &format!("[[listener.route]]\n{route}\npool = 'p{place}'\n");
    }
    let pools = others.iter().enumerate().map(|(place, (_, address))| (format!("p{place}"), *address));
    for (name, address) in pools.chain([("own".to_owned(), own)]) {
        text += &format!(
            "[[pool]]\nname = '{name}'\nhealth.check = 'none'\n[[pool.backend]]\naddress = '{address}'\n"
        );
    }
    config::parse("test", &text).unwrap_or_else(|errors| panic!("{errors}"))
}

fn heard(ringway: &Ringway, heard: Heard) -> u64 {
    ringway.server().stats().sum(|worker| &worker.listeners[0].heard[heard as usize])
}

/// A hello for this name as openssl's client sends it, taken from the wire.
pub fn hello(name: &str, more: &[&str]) -> Vec<u8> {
    let listener = listen(any_port());
    let address = listener.local_addr().unwrap().to_string();
    let mut client = Command::new("openssl")
        .args(["s_client", "-connect", &address, "-servername", name])
        .args(more)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl is missing: apt-get install openssl");
    let (stream, _) = listener.accept().unwrap();
    let mut stream = with_deadline(stream);
    let mut header = [0; 5];
    stream.read_exact(&mut header).unwrap();
    let mut body = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
    stream.read_exact(&mut body).unwrap();
    drop(stream);
    client.wait().unwrap();
    [&header[..], &body].concat()
}

/// Whose certificate openssl's client gets when it asks for this name.
fn served(address: SocketAddr, name: &str, more: &[&str]) -> String {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &address.to_string(), "-servername", name])
        .args(more)
        .stdin(Stdio::null())
        .output()
        .expect("openssl is missing: apt-get install openssl");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let subject = text.lines().find_map(|line| line.strip_prefix("subject="));
    subject
        .unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)))
        .trim()
        .replace(' ', "")
}

#[test]
fn each_client_of_openssl_gets_the_server_that_it_asks_for() {
    let certificates = ["exact.example", "wild.example", "own.example", "spoken.example"].map(Authority::new);
    let servers = certificates.each_ref().map(|certificate| Server::openssl(certificate, "-tls1_3"));
    let [exact, wild, own, spoken] = servers.each_ref().map(|server| server.address);
    let routes = [
        ("server_name = 'www.example.com'", exact),
        ("server_name = '*.example.com'", wild),
        ("server_name = 'www.example.com'\nalpn = ['acme-tls/1']", spoken),
    ];
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let mut config = routed(&routes, own, "");
    config.access_log = Some(file(&log, LogFormat::Text));
    let ringway = Ringway::start(config);
    let served = |name, more: &[&str]| served(ringway.address(), name, more);
    assert_eq!(served("www.example.com", &[]), "CN=exact.example");
    assert_eq!(served("WWW.EXAMPLE.COM", &[]), "CN=exact.example");
    assert_eq!(served("a.b.example.com", &[]), "CN=wild.example");
    assert_eq!(served("example.com", &[]), "CN=own.example");
    assert_eq!(served("www.example.com", &["-alpn", "h2,acme-tls/1"]), "CN=spoken.example");
    assert_eq!(served("www.example.com", &["-alpn", "h2"]), "CN=exact.example");
    assert_eq!((heard(&ringway, Heard::Matched), heard(&ringway, Heard::Unmatched)), (5, 1));
    ringway.finish();
    let log = fs::read_to_string(log).unwrap();
    let mut asked: Vec<_> = log.lines().map(|line| line.rsplit_once(" server_name=").unwrap().1).collect();
    asked.sort_unstable();
    let www = "www.example.com";
    assert_eq!(asked, ["a.b.example.com", "example.com", www, www, www, www]);
}

#[test]
fn a_hello_in_pieces_arrives_whole_where_it_belongs() {
    let (backend, own) = (TestBackend::echo(), TestBackend::named("own"));
    let config = routed(&[("server_name = 'www.example.com'", backend.address)], own.address, "");
    let ringway = Ringway::start(config);
    let bytes = hello("www.example.com", &[]);
    let message = &bytes[5..];
    let in_records = message.chunks(9).flat_map(|part| [&[22, 3, 1, 0, part.len() as u8][..], part].concat());
    for bytes in [bytes.clone(), in_records.collect()] {
        // One segment for each byte, then all at once with what follows.
        let mut client = ringway.connect();
        for byte in &bytes {
            client.write_all(&[*byte]).unwrap();
        }
        let mut back = vec![0; bytes.len()];
        client.read_exact(&mut back).unwrap();
        assert_eq!(back, bytes);
        assert_echo(&mut client, b"and what follows");
        let mut client = ringway.connect();
        assert_echo(&mut client, &[&bytes[..], &[7; 100_000]].concat());
    }
    assert_eq!((heard(&ringway, Heard::Matched), own.accepted()), (4, 0));
    ringway.finish();
}

#[test]
fn who_says_no_hello_is_served_by_the_listeners_pool_with_every_byte() {
    let (backend, own) = (TestBackend::named("routed"), TestBackend::echo());
    let keys = "tls = { hello_timeout = '2s', hello_bytes_max = '1KiB' }";
    let config = routed(&[("server_name = 'www.example.com'", backend.address)], own.address, keys);
    let ringway = Ringway::start(config);
    let long = [&[22, 3, 1, 0x3f, 0, 1, 0, 0x3e, 0xf0][..], &[0; 4000]].concat();
    let cases: [(&[u8], Heard); 5] = [
        (b"GET / HTTP/1.1\r\n\r\n", Heard::NotTls),
        (b"\x16\x03\x01\x00\x00", Heard::Malformed),
        (&long, Heard::TooLong),
        (&hello("other.example", &[]), Heard::Unmatched),
        // Half a hello, and then nothing more.
        (&hello("www.example.com", &[])[..100], Heard::Late),
    ];
    for (bytes, expected) in cases {
        let mut client = ringway.connect();
        assert_echo(&mut client, bytes);
        assert_eq!(heard(&ringway, expected), 1, "{}", expected.name());
        assert_echo(&mut client, b"and what follows");
    }
    // Half a hello and the end of the stream.
    let mut client = ringway.connect();
    client.write_all(b"\x16\x03").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut client), b"\x16\x03");
    assert_eq!(heard(&ringway, Heard::Ended), 1);
    assert_eq!(backend.accepted(), 0);
    ringway.finish();
}

#[test]
fn those_that_no_route_is_for_can_be_refused() {
    let (backend, own) = (TestBackend::echo(), TestBackend::named("own"));
    let keys = "tls = { hello_timeout = '2s', unmatched = 'reset', no_hello = 'reset' }";
    let config = routed(&[("alpn = 'h2'", backend.address)], own.address, keys);
    let ringway = Ringway::start(config);
    let silent = Vec::new();
    for bytes in [
        hello("a.example", &[]),
        hello("a.example", &["-alpn", "http/1.1"]),
        b"SSH-2.0-x\r\n".to_vec(),
        silent,
    ] {
        let mut client = ringway.connect();
        client.write_all(&bytes).unwrap();
        assert_reset(&mut client);
    }
    let spoken = hello("a.example", &["-alpn", "http/1.1,h2"]);
    assert_echo(&mut ringway.connect(), &spoken);
    ringway.await_end(End::Unrouted, 4);
    assert_eq!(own.accepted(), 0);
    assert_eq!(
        (heard(&ringway, Heard::Unmatched), heard(&ringway, Heard::NotTls), heard(&ringway, Heard::Late)),
        (2, 1, 1)
    );
    let totals = ringway.finish();
    assert_eq!((totals.ended(End::Unrouted), totals.ended(End::Complete)), (4, 1));
}

/// The listener's pool for those who speak TLS, and no other way.
#[test]
fn what_is_said_of_those_without_a_route_does_not_hold_for_those_without_a_hello() {
    for (unmatched, no_hello) in [("pool", "reset"), ("reset", "pool")] {
        let (backend, own) = (TestBackend::named("routed"), TestBackend::echo());
        let keys = format!("tls = {{ unmatched = '{unmatched}', no_hello = '{no_hello}' }}");
        let config = routed(&[("alpn = 'h2'", backend.address)], own.address, &keys);
        let ringway = Ringway::start(config);
        for (bytes, becomes) in [(hello("a.example", &[]), unmatched), (b"SSH-2.0-x\r\n".to_vec(), no_hello)]
        {
            let mut client = ringway.connect();
            if becomes == "pool" {
                assert_echo(&mut client, &bytes);
            } else {
                client.write_all(&bytes).unwrap();
                assert_reset(&mut client);
            }
        }
        ringway.await_end(End::Unrouted, 1);
        assert_eq!((own.accepted(), backend.accepted()), (1, 0));
        ringway.finish();
    }
}

/// Beside the greeting it has come further, and the log says how far.
#[test]
fn a_session_that_has_said_hello_and_finds_nobody_ended_while_it_connected() {
    let ((address, _keeper), own) = (refusing(), TestBackend::echo());
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let mut config = routed(&[("server_name = 'a.example'", address)], own.address, "");
    config.access_log = Some(file(&log, LogFormat::Text));
    // Lines of two workers may change places.
    one_worker(&mut config);
    let ringway = Ringway::start(config);
    for bytes in [hello("a.example", &[]), b"\x16\x03".to_vec()] {
        let mut client = ringway.connect();
        client.write_all(&bytes).unwrap();
        if bytes.len() > 2 {
            let _ = client.read(&mut [0]);
            ringway.await_end(End::ConnectFailed, 1);
        } else {
            await_that("it is let in", || ringway.totals().active == 1);
            reset(client);
            ringway.await_end(End::ClientReset, 1);
        }
    }
    ringway.finish();
    let log = fs::read_to_string(log).unwrap();
    let letters: Vec<_> = log.lines().map(|line| line.split(' ').nth(6).unwrap()).collect();
    assert_eq!(letters, ["SC", "CR"], "{log}");
}

#[test]
fn a_client_that_leaves_before_it_has_said_hello_is_one_that_left() {
    let (backend, own) = (TestBackend::echo(), TestBackend::echo());
    let config = routed(&[("alpn = 'h2'", backend.address)], own.address, "tls.hello_timeout = '5m'");
    let ringway = Ringway::start(config);
    let mut client = ringway.connect();
    client.write_all(b"\x16\x03").unwrap();
    await_that("it is let in", || ringway.totals().active == 1);
    reset(client);
    ringway.await_end(End::ClientReset, 1);
    // Nobody is troubled for it.
    assert_eq!((own.accepted(), heard(&ringway, Heard::Ended)), (0, 0));
    // And one that waits while the process ends does not keep it from ending.
    let client = ringway.connect();
    await_that("it is let in", || ringway.totals().active == 1);
    drop(client);
    ringway.await_end(End::Complete, 1);
    ringway.finish();
}

#[test]
fn a_session_that_has_said_hello_goes_by_the_routes_of_a_reload() {
    let bytes = hello("a.example", &[]);
    // One that closes with bytes unread resets its connection.
    let named = |name: &'static str, unread: usize| {
        TestBackend::new(move |mut stream| {
            let _ = stream.read_exact(&mut vec![0; unread]);
            let _ = stream.write_all(name.as_bytes());
        })
    };
    let (first, second, own) =
        (named("first", bytes.len()), named("second", bytes.len()), TestBackend::named("own"));
    let config =
        |address| routed(&[("server_name = 'a.example'", address)], own.address, "tls.hello_timeout = '5m'");
    let ringway = Ringway::start(config(first.address));
    let say = |mut client: TcpStream, bytes: &[u8]| {
        client.write_all(bytes).unwrap();
        String::from_utf8(read_all(&mut client)).unwrap()
    };
    assert_eq!(say(ringway.connect(), &bytes), "first");
    let mut waiting = ringway.connect();
    waiting.write_all(&bytes[..50]).unwrap();
    await_that("it is let in", || ringway.totals().active == 1);
    ringway.server().control().adopt(config(second.address)).unwrap_or_else(|refused| panic!("{refused}"));
    assert_eq!(say(waiting, &bytes[50..]), "second");
    assert_eq!(say(ringway.connect(), &bytes), "second");
    ringway.finish();
}
