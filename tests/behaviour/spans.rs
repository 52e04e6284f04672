//! Ranges of ports: every port accepts, the summaries show one, a reload makes them longer and shorter.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;

use ringway::config::{self, Address, Config, LogFormat};
use ringway::plan::Kind;
use ringway::server::Server;

use super::{process, udp};
use crate::access_log;
use crate::common::*;
use crate::network::is_in_a_network_of_its_own;

/// The addresses that a file with this `bind` has.
fn binds(bind: &str) -> Vec<Address> {
    let text = format!(
        "[[listener]]\nname='a'\nbind={bind}\npool='p'\n[[pool]]\nname='p'\n[[pool.backend]]\naddress='127.0.0.1:1'\n"
    );
    config::parse("test", &text).unwrap().listeners.remove(0).bind
}

fn over(bind: &str, backend: SocketAddr) -> Config {
    let mut config = config(&[backend]);
    config.listeners[0].bind = binds(bind);
    config
}

fn at(port: u16) -> TcpStream {
    connect(SocketAddr::from(([127, 0, 0, 1], port)))
}

fn is_refused(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_err()
}

#[test]
fn every_port_accepts_and_the_log_says_which() {
    if !is_in_a_network_of_its_own("spans::every_port_accepts_and_the_log_says_which") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let backend = TestBackend::echo();
    let mut config = over("['127.0.0.1:8000-8004', '[::1]:9000-9001']", backend.address);
    config.access_log = Some(access_log::file(&path, LogFormat::Json));
    let ringway = Ringway::start(config);
    let ports = [8000, 8001, 8002, 8003, 8004];
    for port in ports {
        assert_echo(&mut at(port), b"hello");
    }
    for port in [9000, 9001] {
        assert_echo(&mut connect((Ipv6Addr::LOCALHOST, port).into()), b"hello");
    }
    assert!(is_refused(7999) && is_refused(8005));
    assert_eq!(ringway.finish().accepted, 7);
    let port = |line: &str| {
        serde_json::from_str::<serde_json::Value>(line).unwrap()["listener_port"].as_u64().unwrap()
    };
    let mut logged: Vec<u64> = fs::read_to_string(path).unwrap().lines().map(port).collect();
    logged.sort_unstable();
    assert_eq!(logged, [8000, 8001, 8002, 8003, 8004, 9000, 9001]);
}

#[test]
fn a_reload_makes_a_range_longer_and_shorter_and_keeps_what_stays() {
    if !is_in_a_network_of_its_own("spans::a_reload_makes_a_range_longer_and_shorter_and_keeps_what_stays") {
        return;
    }
    let backend = TestBackend::echo();
    let ringway = Ringway::start(over("'127.0.0.1:8000-8009'", backend.address));
    let mut first = at(8000);
    let mut middle = at(8005);
    assert_echo(&mut first, b"before");
    assert_echo(&mut middle, b"before");
    let adopt = |bind: &str| {
        let mut config = Config::clone(&ringway.server().control().generation().config);
        config.listeners[0].bind = binds(bind);
        ringway.server().control().adopt(config)
    };
    let reload = adopt("'127.0.0.1:8005-8014'").unwrap();
    let [change] = &reload.plan.changes[..] else { panic!("{:?}", reload.plan) };
    assert_eq!(change.kind, Kind::Changed);
    assert_eq!(change.how, "bind 127.0.0.1:8000-8009 -> 127.0.0.1:8005-8014");
    assert_echo(&mut first, b"its session goes on");
    assert_echo(&mut middle, b"so does this one");
    for port in 8005..=8014 {
        assert_echo(&mut at(port), b"after");
    }
    await_that("what is gone is refused", || (8000..8005).all(is_refused));
    // One port of the new ones is somebody else's: all stays as it is.
    let rival = TcpListener::bind("127.0.0.1:8016").unwrap();
    let refused = adopt("'127.0.0.1:8005-8020'").unwrap_err().to_string();
    assert!(
        refused.contains("listener test: cannot listen on 127.0.0.1:8016: Address already in use"),
        "{refused}"
    );
    drop(rival);
    assert_echo(&mut at(8014), b"as before");
    assert!(is_refused(8015));
    drop((first, middle));
    ringway.finish();
}

#[test]
fn a_range_over_udp_is_the_same() {
    if !is_in_a_network_of_its_own("spans::a_range_over_udp_is_the_same") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let backend = udp::UdpBackend::echo();
    let mut config = udp::config(&[backend.address]);
    config.listeners[0].bind = binds("'127.0.0.1:8000-8002'");
    config.listeners[0].udp.responses = Some(1);
    config.access_log = Some(access_log::file(&path, LogFormat::Json));
    let ringway = Ringway::start(config);
    for port in [8000, 8001, 8002] {
        udp::assert_echo(&udp::client_of(SocketAddr::from(([127, 0, 0, 1], port))), b"hello");
    }
    ringway.finish();
    let port = |line: &str| {
        serde_json::from_str::<serde_json::Value>(line).unwrap()["listener_port"].as_u64().unwrap()
    };
    let mut logged: Vec<u64> = fs::read_to_string(path).unwrap().lines().map(port).collect();
    logged.sort_unstable();
    assert_eq!(logged, [8000, 8001, 8002]);
}

#[test]
fn a_port_that_is_taken_is_named_at_the_start() {
    if !is_in_a_network_of_its_own("spans::a_port_that_is_taken_is_named_at_the_start") {
        return;
    }
    let _rival = TcpListener::bind("127.0.0.1:8003").unwrap();
    let error = match Server::start(over("'127.0.0.1:8000-8009'", any_port()), 0) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("it started"),
    };
    assert!(
        error.contains("listener test: cannot listen on 127.0.0.1:8003: Address already in use"),
        "{error}"
    );
    assert!(error.contains("sport = :8003"), "{error}");
}

#[test]
fn a_thousand_ports_are_one_line_and_their_descriptors_are_counted() {
    if !is_in_a_network_of_its_own("spans::a_thousand_ports_are_one_line_and_their_descriptors_are_counted") {
        return;
    }
    let backend = TestBackend::echo();
    let file =
        process::write_file("workers = 2\nsessions_max = 100", "'127.0.0.1:8000-9023'", backend.address);
    let checked = process::ringway().args(["check", "--config"]).arg(file.path()).output().unwrap();
    let text = String::from_utf8(checked.stdout).unwrap();
    assert!(checked.status.success() && text.contains("127.0.0.1:8000-9023\n"), "{text}");
    assert!(!text.contains("8001"), "{text}");

    let mut running = process::ringway()
        .args(["run", "--config"])
        .arg(file.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(running.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut said = Vec::new();
    for line in lines {
        said.push(line);
        if said.last().unwrap().contains("is ready") {
            break;
        }
    }
    let listening = said.iter().filter(|line| line.contains("address=127.0.0.1:")).count();
    let answered = [8000, 8512, 9023].map(|port| {
        let mut client = at(port);
        assert_echo(&mut client, b"hello");
    });
    running.kill().unwrap();
    process::await_exit(&mut running);
    assert_eq!(answered.len(), 3);
    assert_eq!(listening, 1, "{said:?}");
    assert!(said.iter().any(|line| line.contains("address=127.0.0.1:8000-9023")), "{said:?}");
    assert!(said.iter().any(|line| line.contains("- 2048 listening sockets")), "{said:?}");
}
