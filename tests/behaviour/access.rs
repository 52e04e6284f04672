//! Who is let in: by address, by number, by rate; from many addresses of the loopback, with two workers.

use std::fs;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::num::NonZeroU32;
use std::thread;
use std::time::{Duration, Instant};

use ringway::access::Refused;
use ringway::config::{Accept, Config, Over, Rate, RateUnit, Refuse, Standing};
use ringway::end::End;

use crate::common::*;
use crate::process::{self, Process};

fn number(number: u32) -> Option<NonZeroU32> {
    NonZeroU32::new(number)
}

fn rate(count: u32, unit: RateUnit) -> Option<Rate> {
    number(count).map(|count| Rate { count, unit, burst: count })
}

/// A client at this address of the loopback.
fn connect_from(source: Ipv4Addr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    socket.connect_timeout(&to.into(), DEADLINE)?;
    Ok(with_deadline(socket.into()))
}

fn source(network: u8, host: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 1, network, host)
}

/// One that gets in: its bytes come back.
fn admitted(ringway: &Ringway, source: Ipv4Addr) -> TcpStream {
    let mut client = connect_from(source, ringway.address()).unwrap();
    assert_echo(&mut client, b"in");
    client
}

/// One that is refused with a reset, which can already meet the connect.
fn assert_refused(ringway: &Ringway, source: Ipv4Addr) {
    assert_refused_at(ringway.address(), source);
}

fn assert_refused_at(address: SocketAddr, source: Ipv4Addr) {
    match connect_from(source, address) {
        Ok(mut client) => assert_reset(&mut client),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
}

fn refused(ringway: &Ringway, reason: Refused) -> u64 {
    ringway.totals().refused[reason as usize]
}

fn start(alter: impl FnOnce(&mut Config)) -> (Ringway, TestBackend) {
    let backend = TestBackend::echo();
    let mut config = config(&[backend.address]);
    alter(&mut config);
    (Ringway::start(config), backend)
}

#[test]
fn the_longest_network_decides_and_who_is_refused_reaches_no_backend() {
    let (ringway, backend) = start(|config| {
        let access = &mut config.listeners[0].access;
        access.default = Standing::Deny;
        access.allow = vec!["127.1.0.0/16".parse().unwrap(), "127.1.2.3/32".parse().unwrap()];
        access.deny = vec!["127.1.2.0/24".parse().unwrap()];
    });
    let inside = [source(0, 1), source(255, 254), source(2, 3)].map(|source| admitted(&ringway, source));
    let outside =
        [source(2, 1), source(2, 2), source(2, 4), Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 2, 0, 1)];
    outside.iter().for_each(|&source| assert_refused(&ringway, source));
    assert_eq!(refused(&ringway, Refused::Denied), 5);
    assert_eq!((backend.accepted(), ringway.totals().accepted), (3, 3));
    drop(inside);
    assert_eq!(ringway.finish().ended(End::Complete), 3);
}

#[test]
fn who_is_refused_can_get_the_end_of_the_stream_instead() {
    let (ringway, _backend) = start(|config| {
        config.listeners[0].access.default = Standing::Deny;
        config.listeners[0].access.refuse = Refuse::Close;
    });
    for _ in 0..10 {
        let mut client = ringway.connect();
        assert_eq!(client.read(&mut [0; 16]).unwrap(), 0);
    }
    assert_eq!(ringway.finish().accepted, 0);
}

#[test]
fn a_reload_reads_lists_again_a_bad_one_changes_nothing_and_sessions_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("deny");
    fs::write(&list, "127.1.1.0/24\n").unwrap();
    let (ringway, _backend) = start(|config| config.listeners[0].access.deny_files = vec![list.clone()]);
    let control = ringway.server().control();
    let config = || Config::clone(&control.generation().config);
    let mut before = admitted(&ringway, source(2, 1));
    assert_refused(&ringway, source(1, 1));

    fs::write(&list, "127.1.2.0/24 # now these\n").unwrap();
    let reload = control.adopt(config()).unwrap_or_else(|error| panic!("{error}"));
    assert!(reload.plan.to_string().contains("access lets in other addresses"), "{}", reload.plan);
    assert_refused(&ringway, source(2, 1));
    let after = admitted(&ringway, source(1, 1));
    assert_echo(&mut before, b"still in");

    fs::write(&list, "127.1.0.0/16\n127.1.3.0/99\n").unwrap();
    let error = control.adopt(config()).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}:2: \"127.1.3.0/99\"", list.display())), "{error}");
    let third = admitted(&ringway, source(1, 2));
    // What has not changed makes no other configuration.
    fs::write(&list, "127.1.2.0/24").unwrap();
    let generation = control.generation().number;
    assert_eq!(control.adopt(config()).unwrap().generation, generation);
    drop((before, after, third));
    assert_eq!(ringway.finish().accepted, 3);
}

#[test]
fn each_source_has_so_many_sessions_whichever_worker_serves_them() {
    for accept in [Accept::Reuseport, Accept::Balanced] {
        let (ringway, _backend) = start(|config| {
            config.listeners[0].accept = accept;
            config.listeners[0].limits.sessions_per_source = number(3);
        });
        let mut clients: Vec<Vec<TcpStream>> =
            (1..=40).map(|host| (0..3).map(|_| admitted(&ringway, source(0, host))).collect()).collect();
        for host in 1..=40 {
            assert_refused(&ringway, source(0, host));
        }
        assert_eq!(refused(&ringway, Refused::SourceSessions), 40);
        // A place comes back with the session, however it ends.
        reset(clients[0].pop().unwrap());
        drop(clients[1].pop());
        await_that("two have ended", || ringway.totals().active == 118);
        let again = [1, 2].map(|host| admitted(&ringway, source(0, host)));
        (1..=2).for_each(|host| assert_refused(&ringway, source(0, host)));
        drop((clients, again));
        let totals = ringway.finish();
        assert_eq!((totals.accepted, totals.refused[Refused::SourceSessions as usize]), (122, 42));
    }
}

#[test]
fn sources_that_share_a_network_share_their_places() {
    let (ringway, _backend) = start(|config| {
        config.listeners[0].limits.sessions_per_source = number(2);
        config.listeners[0].limits.source_prefix_v4 = 24;
    });
    let clients = [1, 2].map(|host| admitted(&ringway, source(7, host)));
    assert_refused(&ringway, source(7, 3));
    let other = admitted(&ringway, source(8, 3));
    drop((clients, other));
    ringway.finish();
}

#[test]
fn a_source_that_comes_too_often_is_refused_and_others_come_as_they_like() {
    let (ringway, _backend) = start(|config| {
        config.listeners[0].limits.rate_per_source = rate(5, RateUnit::Hour);
    });
    for host in 1..=20 {
        (0..5).for_each(|_| drop(admitted(&ringway, source(0, host))));
        assert_refused(&ringway, source(0, host));
        assert_refused(&ringway, source(0, host));
    }
    assert_eq!(refused(&ringway, Refused::SourceRate), 40);
    assert_eq!(ringway.finish().accepted, 100);
}

/// Many at once, of whom so many get in, exactly: two workers share the count.
#[test]
fn a_listener_has_so_many_sessions_and_refuses_the_others_if_it_is_told_to() {
    let (ringway, _backend) = start(|config| {
        config.listeners[0].limits.sessions_max = number(10);
        config.listeners[0].limits.over = Over::Refuse;
    });
    let address = ringway.address();
    let come = |host| {
        let mut client = connect_from(source(0, host), address).ok()?;
        let echoed = std::io::Write::write_all(&mut client, b"x").is_ok()
            && client.read(&mut [0]).is_ok_and(|count| count == 1);
        echoed.then_some(client)
    };
    for _ in 0..5 {
        let clients: Vec<TcpStream> = thread::scope(|scope| {
            let threads: Vec<_> = (1..=40).map(|host| scope.spawn(move || come(host))).collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(clients.len(), 10);
        drop(clients);
        await_that("all have left", || ringway.totals().active == 0);
    }
    assert_eq!(refused(&ringway, Refused::Full), 150);
    assert_eq!(ringway.finish().accepted, 50);
}

#[test]
fn over_the_sessions_of_a_listener_clients_wait_for_a_place() {
    let (ringway, _backend) = start(|config| config.listeners[0].limits.sessions_max = number(2));
    let clients = [1, 2].map(|host| admitted(&ringway, source(0, host)));
    let mut waiting = connect_from(source(0, 3), ringway.address()).unwrap();
    std::io::Write::write_all(&mut waiting, b"please").unwrap();
    waiting.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    waiting.read(&mut [0; 6]).expect_err("it was served beyond the limit");
    assert_eq!(ringway.totals().accepted, 2);
    let stats = ringway.server().stats();
    let queued = || stats.sum(|worker| &worker.listeners[0].waiting);
    await_that("it is seen in the queue", || queued() == 1);
    waiting.set_read_timeout(Some(DEADLINE)).unwrap();
    drop(clients);
    let mut answer = [0; 6];
    waiting.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"please");
    await_that("nobody is left in the queue", || queued() == 0);
    drop(waiting);
    let totals = ringway.finish();
    assert_eq!((totals.accepted, totals.refused), (3, [0; Refused::COUNT]));
}

/// At no moment more than the burst and what the rate allows since the listener began; and all get in in the end.
#[test]
fn over_the_rate_clients_wait_and_all_get_in_at_that_rate() {
    for of_process in [false, true] {
        let begun = Instant::now();
        let (ringway, _backend) = start(|config| {
            let rate =
                Some(Rate { count: number(100).unwrap(), unit: RateUnit::Second, burst: number(5).unwrap() });
            if of_process {
                config.server.rate_max = rate;
            } else {
                config.listeners[0].limits.rate = rate;
            }
        });
        let clients: Vec<TcpStream> =
            (1..=60).map(|host| connect_from(source(0, host), ringway.address()).unwrap()).collect();
        await_that("all are in", || {
            // Read first: the clock only goes on.
            let accepted = ringway.totals().accepted;
            let due = 5.0 + 100.0 * begun.elapsed().as_secs_f64();
            assert!(accepted as f64 <= due, "{accepted} of {due}");
            accepted == 60
        });
        drop(clients);
        let totals = ringway.finish();
        assert_eq!((totals.accepted, totals.refused), (60, [0; Refused::COUNT]));
    }
}

#[test]
fn over_the_rate_clients_are_refused_if_the_listener_says_so() {
    let (ringway, _backend) = start(|config| {
        config.listeners[0].limits.rate = rate(3, RateUnit::Hour);
        config.listeners[0].limits.over = Over::Refuse;
    });
    let clients: Vec<TcpStream> = (1..=3).map(|host| admitted(&ringway, source(0, host))).collect();
    (4..=10).for_each(|host| assert_refused(&ringway, source(0, host)));
    assert_eq!(refused(&ringway, Refused::Rate), 7);
    drop(clients);
    ringway.finish();
}

#[test]
fn a_reload_keeps_the_counts_of_sessions_that_run() {
    let (ringway, _backend) = start(|config| {
        config.listeners[0].limits.sessions_per_source = number(2);
        config.listeners[0].limits.sessions_max = number(100);
    });
    let clients = [1, 1].map(|host| admitted(&ringway, source(0, host)));
    let control = ringway.server().control();
    let mut next = Config::clone(&control.generation().config);
    next.listeners[0].limits.sessions_per_source = number(3);
    control.adopt(next).unwrap_or_else(|error| panic!("{error}"));
    let third = admitted(&ringway, source(0, 1));
    assert_refused(&ringway, source(0, 1));
    // For a moment the place of the next one counts, while a worker looks whether there is a next one.
    await_that("three are counted", || control.generation().doors[0].sessions() == 3);
    drop((clients, third));
    await_that("all have left", || control.generation().doors[0].sessions() == 0);
    ringway.finish();
}

#[test]
fn the_log_has_each_refusal_in_a_sum_with_its_reason_and_a_client() {
    let backend = TestBackend::echo();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ringway.toml");
    let text = format!(
        "[[listener]]\nname = 'web'\nbind = '127.0.0.1:0'\npool = 'p'\naccess.deny = ['127.1.9.0/24']\n\
         limits.sessions_per_source = 1\n[[pool]]\nname = 'p'\n[[pool.backend]]\naddress = '{}'\n",
        backend.address
    );
    fs::write(&path, text).unwrap();
    let mut command = process::ringway();
    command.args(["run", "--config"]).arg(&path);
    let process = Process::start(command);
    let mut first = process.connect();
    assert_echo(&mut first, b"the only one");
    for _ in 0..5 {
        assert_refused_at(process.address(), source(9, 1));
        assert_refused_at(process.address(), Ipv4Addr::LOCALHOST);
    }
    // Those of one reason, over all lines.
    let told = |reason: &str| -> u64 {
        let errors = process.errors();
        let counts = errors.split('"').filter_map(|reasons| {
            let one = reasons.split(", ").find_map(|one| one.strip_suffix(reason))?;
            one.trim().parse::<u64>().ok()
        });
        counts.sum()
    };
    await_that("all are told of", || told(" denied") == 5 && told(" per-source-sessions") == 5);
    let log = process.errors();
    let line = log.lines().find(|line| line.contains("refused; client is one of them")).unwrap();
    assert!(line.contains("listener=web") && line.contains("client=127."), "{line}");
    drop(first);
    process.stop();
}

/// Denied clients take nothing from those who are let in: neither places nor the rate.
#[test]
fn a_flood_of_refused_clients_leaves_the_limits_to_the_others() {
    let (ringway, _backend) = start(|config| {
        let listener = &mut config.listeners[0];
        listener.access.deny = vec!["127.1.9.0/24".parse().unwrap()];
        // One more than come: without it those who are denied would wait too, in the kernel's queue.
        listener.limits.rate = rate(21, RateUnit::Hour);
        listener.limits.sessions_max = number(21);
    });
    thread::scope(|scope| {
        for host in 1..=4 {
            let address = ringway.address();
            scope.spawn(move || (0..200).for_each(|_| assert_refused_at(address, source(9, host))));
        }
        let clients: Vec<TcpStream> = (1..=20).map(|host| admitted(&ringway, source(0, host))).collect();
        drop(clients);
    });
    assert_eq!(refused(&ringway, Refused::Denied), 800);
    assert_eq!(ringway.finish().accepted, 20);
}

#[test]
fn an_address_of_the_other_family_has_its_own_rules() {
    let (ringway, _backend) = start(|config| {
        config.listeners[0].bind = vec!["[::1]:0".parse().unwrap()];
        config.listeners[0].access.deny = vec!["0.0.0.0/0".parse().unwrap()];
        config.listeners[0].limits.sessions_per_source = number(1);
    });
    let mut client = ringway.connect();
    assert_echo(&mut client, b"in");
    assert_eq!(client.peer_addr().unwrap().ip(), IpAddr::from(std::net::Ipv6Addr::LOCALHOST));
    assert_connect_is_reset(ringway.address());
    assert_eq!(refused(&ringway, Refused::SourceSessions), 1);
    drop(client);
    ringway.finish();
}
