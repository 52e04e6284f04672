//! Another configuration while everything goes on.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use ringway::config::{Accept, Algorithm, Check, Config, Source};
use ringway::control::{Refused, Reload};
use ringway::end::End;
use ringway::health::Order;
use ringway::plan::Kind;
use ringway::server::Server;
use ringway::table::{BackendId, Mode, State};

use super::process::{self, Process};
use crate::common::*;
use crate::network::is_in_a_network_of_its_own;
use crate::peers::own_address;

/// The configuration that is in force, to be changed.
fn in_force(ringway: &Ringway) -> Config {
    Config::clone(&ringway.server().control().generation().config)
}

/// Goes on with the present configuration, changed.
fn change(ringway: &Ringway, change: impl FnOnce(&mut Config)) -> Reload {
    let mut config = in_force(ringway);
    change(&mut config);
    ringway.server().control().adopt(config).unwrap_or_else(|refused| panic!("{refused}"))
}

fn backend_at(address: SocketAddr) -> ringway::config::Backend {
    config(&[address]).pools.remove(0).backends.remove(0)
}

fn sessions_on(ringway: &Ringway, backend: usize) -> u64 {
    ringway.server().stats().sessions(BackendId::new(backend))
}

#[test]
fn a_backend_that_is_added_gets_sessions_and_the_old_ones_go_on() {
    let (a, b) = (TestBackend::echo(), TestBackend::echo());
    let ringway = Ringway::over(&[a.address]);
    let mut old = ringway.connect();
    assert_echo(&mut old, b"before");
    let reload = change(&ringway, |config| config.pools[0].backends.insert(0, backend_at(b.address)));
    assert_eq!((reload.generation, reload.plan.count(Kind::Added)), (2, 1));
    for _ in 0..8 {
        assert_echo(&mut ringway.connect(), b"after");
    }
    assert!(b.accepted() >= 2, "{}", b.accepted());
    assert_echo(&mut old, b"still there");
    // It is counted at its new place, and given back there.
    await_that("the others end", || ringway.totals().active == 1);
    assert_eq!((sessions_on(&ringway, 0), sessions_on(&ringway, 1)), (0, 1));
    drop(old);
    let totals = ringway.finish();
    assert_eq!((totals.accepted, totals.ended(End::Complete)), (9, 9));
}

#[test]
fn a_backend_that_is_removed_keeps_its_sessions_until_the_deadline_and_gets_no_more() {
    let (a, b) = (TestBackend::echo(), TestBackend::echo());
    let mut start = config(&[a.address, b.address]);
    start.server.removed_drain_timeout = Duration::from_secs(3);
    one_worker(&mut start);
    let ringway = Ringway::start(start);
    let mut clients: Vec<TcpStream> = (0..4).map(|_| ringway.connect()).collect();
    clients.iter_mut().for_each(|client| assert_echo(client, b"hello"));
    assert_eq!((a.accepted(), b.accepted()), (2, 2));
    let reload = change(&ringway, |config| drop(config.pools[0].backends.remove(0)));
    let removed = reload.plan.changes.iter().find(|change| change.kind == Kind::Removed).unwrap();
    assert_eq!(removed.sessions, Some(2), "{removed:?}");
    clients.iter_mut().for_each(|client| assert_echo(client, b"drains"));
    for _ in 0..4 {
        assert_echo(&mut ringway.connect(), b"elsewhere");
    }
    assert_eq!((a.accepted(), b.accepted()), (2, 6));
    ringway.await_end(End::BackendRemoved, 2);
    let goes_on = |client: &mut TcpStream| {
        let mut back = [0; 4];
        client.write_all(b"more").and_then(|()| client.read_exact(&mut back)).is_ok()
    };
    let going = clients.iter_mut().filter_map(|client| goes_on(client).then_some(())).count();
    assert_eq!(going, 2, "those of the other backend");
    drop(clients);
    ringway.finish();
}

#[test]
fn listeners_come_go_and_move_without_a_lost_client() {
    let (a, b) = (TestBackend::named("a"), TestBackend::named("b"));
    let ringway = Ringway::over(&[a.address]);
    let first = ringway.address();
    change(&ringway, |config| {
        let mut pool = config.pools[0].clone();
        pool.name = "second".into();
        pool.backends = vec![backend_at(b.address)];
        let mut listener = config.listeners[0].clone();
        listener.name = "new".into();
        listener.pool = 1;
        config.pools.push(pool);
        config.listeners.push(listener);
    });
    let second = ringway.server().addresses(1)[0];
    assert_eq!(ringway.server().addresses(0)[0], first, "what stays has its port");
    assert_eq!(
        (read_all(&mut connect(first)), read_all(&mut connect(second))),
        (b"a".to_vec(), b"b".to_vec())
    );
    // The first one goes, the second one now leads to the first pool.
    change(&ringway, |config| {
        config.listeners.remove(0);
        config.listeners[0].pool = 0;
    });
    assert_eq!(ringway.server().addresses(0)[0], second);
    assert_eq!(read_all(&mut connect(second)), b"a");
    await_that("nobody listens at the first address", || TcpStream::connect(first).is_err());
    assert_eq!(ringway.totals().accepted, 3, "what a listener that is gone has counted stays in the totals");
    ringway.finish();
}

#[test]
fn an_address_that_is_taken_changes_nothing() {
    let a = TestBackend::named("a");
    let ringway = Ringway::over(&[a.address]);
    let taken = listen(any_port());
    let mut next = in_force(&ringway);
    next.listeners[0].bind.push(any_port().into());
    next.listeners[0].bind.push(taken.local_addr().unwrap().into());
    next.pools[0].algorithm = Algorithm::Maglev;
    let refused = ringway.server().control().adopt(next).unwrap_err();
    assert!(matches!(refused, Refused::Bind(_)), "{refused}");
    assert!(refused.to_string().contains("another process"), "{refused}");
    let generation = ringway.server().control().generation();
    assert_eq!((generation.number, generation.addresses[0].len()), (1, 1));
    assert_eq!(generation.config.pools[0].algorithm, Algorithm::RoundRobin);
    assert_eq!(read_all(&mut ringway.connect()), b"a");
    ringway.finish();
}

#[test]
fn health_mode_and_weight_of_what_stays_are_kept() {
    let mut a = TestBackend::named("a");
    let b = TestBackend::named("b");
    let mut start = config(&[a.address, b.address]);
    start.pools[0].health.check = Check::Tcp(ringway::config::Exchange::default());
    let ringway = Ringway::start(start);
    a.stop();
    let state = |at: usize| ringway.server().table().backends[at].health.state;
    await_that("it is down", || state(0) == State::Down);
    ringway.server().order(Order::SetMode { backend: BackendId::new(1), mode: Mode::Drain }).unwrap();
    ringway.server().order(Order::SetWeight { backend: BackendId::new(1), weight: 7 }).unwrap();
    await_that("it drains", || ringway.server().table().backends[1].mode == Mode::Drain);
    let c = TestBackend::named("c");
    change(&ringway, |config| config.pools[0].backends.insert(0, backend_at(c.address)));
    let table = ringway.server().table();
    assert_eq!(table.backends[1].health.state, State::Down);
    assert_eq!((table.backends[2].mode, table.backends[2].weight), (Mode::Drain, 7));
    assert_eq!(read_all(&mut ringway.connect()), b"c");
    // The checks of what stays go on: it is seen to come back.
    let _a = TestBackend::at(a.address, |_| {});
    await_that("it is up", || state(1) == State::Up);
    // The file says something else than before: that counts.
    change(&ringway, |config| config.pools[0].backends[2].weight = NonZeroU32::new(3).unwrap());
    assert_eq!(ringway.server().table().backends[2].weight, 3);
    ringway.finish();
}

#[test]
fn a_backend_that_goes_down_after_a_reload_ends_the_sessions_from_before() {
    let mut a = TestBackend::echo();
    let mut start = config(&[a.address]);
    start.pools[0].health.check = Check::Tcp(ringway::config::Exchange::default());
    start.pools[0].on_down = ringway::config::OnDown::Close;
    let ringway = Ringway::start(start);
    let mut client = ringway.connect();
    assert_echo(&mut client, b"before");
    change(&ringway, |config| config.listeners[0].idle_timeout = Some(Duration::from_secs(60)));
    a.stop();
    assert_reset(&mut client);
    ringway.await_end(End::BackendDown, 1);
    ringway.finish();
}

#[test]
fn queued_sessions_get_the_places_that_a_reload_makes() {
    let a = TestBackend::echo();
    let mut start = config(&[a.address]);
    start.pools[0].backends[0].max_connections = NonZeroU32::new(1);
    let ringway = Ringway::start(start);
    let mut first = ringway.connect();
    assert_echo(&mut first, b"in");
    let mut waiting = ringway.connect();
    let queue = || ringway.server().control().generation().queues[0].len();
    await_that("it waits", || queue() == 1);
    change(&ringway, |config| config.pools[0].backends[0].max_connections = NonZeroU32::new(2));
    assert_echo(&mut waiting, b"too");
    // And one that waits is served when another place comes free, by a session from before.
    let mut third = ringway.connect();
    await_that("it waits", || queue() == 1);
    drop(first);
    assert_echo(&mut third, b"three");
    drop((waiting, third));
    ringway.finish();
}

/// What several threads of clients met.
#[derive(Default)]
struct Met {
    served: AtomicU64,
    failed: AtomicU64,
}

#[test]
fn a_hundred_reloads_under_load_lose_nobody() {
    let backends = [echo_for_many(), echo_for_many(), echo_for_many()];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ringway.toml");
    let port = own_address(8_000);
    let text = |number: usize| {
        // Each time another backend is missing, another algorithm chooses, a second listener comes and goes.
        let algorithm = ["round-robin", "least-connections", "least-response-time", "maglev"][number % 4];
        let accept = ["reuseport", "balanced"][number % 2];
        let mut text = format!(
            "[server]\nworkers = 2\nsessions_max = 4000\nbuffers_per_worker = 64\nremoved_drain_timeout = '1m'\n\
             [[listener]]\nname = 'a'\nbind = '{port}'\npool = 'p'\naccept = '{accept}'\n"
        );
        if number % 3 == 1 {
            text += "[[listener]]\nname = 'b'\nbind = '127.0.0.1:0'\npool = 'p'\n";
        }
        text += &format!("[[pool]]\nname = 'p'\nalgorithm = '{algorithm}'\n");
        for (at, backend) in backends.iter().enumerate() {
            if at != number % 3 {
                text += &format!("[[pool.backend]]\naddress = '{backend}'\nweight = {}\n", 1 + number % 5);
            }
        }
        text
    };
    fs::write(&path, text(0)).unwrap();
    let config = ringway::config::load(&path).unwrap();
    let mut server = Server::start_from(Source::File(path.clone()), config, 0).unwrap();
    let (met, over) = (Arc::new(Met::default()), Arc::new(AtomicBool::new(false)));
    let long: Vec<TcpStream> = (0..20).map(|_| connect(port)).collect();
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (met, over) = (Arc::clone(&met), Arc::clone(&over));
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let mut client = connect(port);
                    assert_echo(&mut client, b"one of very many");
                    met.served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let mut refused = 0;
    for number in 1..=100 {
        // One in five is wrong, each in another way.
        let wrong = match number % 20 {
            5 => Some("[[listener]]\nnonsense".to_owned()),
            10 => Some(String::new()),
            15 => Some(text(number).replace("algorithm =", "algorihtm =")),
            0 => Some(text(number).replace("127.0.0.1:0", "nowhere") + "[pool.health]\ncheck = 'tpc'\n"),
            _ => None,
        };
        fs::write(&path, wrong.as_ref().map_or_else(|| text(number), Clone::clone)).unwrap();
        match server.control().reload() {
            Ok(_) => assert!(wrong.is_none(), "{wrong:?} was taken"),
            Err(Refused::Wrong(_)) if wrong.is_some() => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    let served_at_the_end = met.served.load(Ordering::Relaxed);
    await_that("it goes on", || met.served.load(Ordering::Relaxed) > served_at_the_end + 20);
    over.store(true, Ordering::Relaxed);
    clients.into_iter().for_each(|client| client.join().unwrap());
    for mut client in long {
        assert_echo(&mut client, b"from the very beginning");
    }
    assert_eq!((refused, met.failed.load(Ordering::Relaxed)), (20, 0));
    assert!(served_at_the_end > 200, "{served_at_the_end} sessions is no load");
    await_that("all end", || server.stats().totals().active == 0);
    let totals = server.stats().totals();
    assert_eq!(totals.accepted, totals.ended(End::Complete), "{totals:?}");
    assert_eq!(totals.accepted, met.served.load(Ordering::Relaxed) + 20);
    for backend in 0..2 {
        assert_eq!(server.stats().sessions(BackendId::new(backend)), 0);
    }
    for report in server.drain(DEADLINE, || None).unwrap() {
        assert_eq!((report.abandoned, report.cells.0), (0, report.cells.1));
    }
}

#[test]
fn workers_hand_over_after_a_reload_has_asked_for_it() {
    let mut start = config(&[echo_for_many()]);
    start.server.workers = ringway::config::Workers::Count(NonZeroUsize::new(4).unwrap());
    let ringway = Ringway::start(start);
    change(&ringway, |config| config.listeners[0].accept = Accept::Balanced);
    let mut clients: Vec<TcpStream> = Vec::new();
    for _ in 0..40 {
        let mut client = ringway.connect();
        assert_echo(&mut client, b"spread");
        clients.push(client);
    }
    let counts: Vec<u64> =
        ringway.server().stats().workers.iter().map(|worker| worker.core.active.get()).collect();
    assert!(counts.iter().all(|&count| count == 10), "{counts:?}");
    drop(clients);
    ringway.finish();
}

#[test]
fn earlier_configurations_are_forgotten_with_their_last_session() {
    let a = TestBackend::echo();
    let ringway = Ringway::over(&[a.address]);
    let mut client = ringway.connect();
    assert_echo(&mut client, b"before");
    let weak = Arc::downgrade(&ringway.server().control().generation());
    let stats = Arc::downgrade(&ringway.server().stats());
    for seconds in 1..20 {
        change(&ringway, |config| {
            config.listeners[0].idle_timeout = Some(Duration::from_secs(100 + seconds))
        });
    }
    assert_echo(&mut client, b"after");
    await_that("it is forgotten", || weak.upgrade().is_none());
    assert!(stats.upgrade().is_some(), "its session has its counters");
    drop(client);
    await_that("nothing is left of the first", || stats.upgrade().is_none());
    ringway.finish();
}

#[test]
fn a_hangup_has_the_file_read_again_and_every_mistake_told() {
    let (a, b) = (TestBackend::named("a"), TestBackend::named("b"));
    let folder = tempfile::tempdir().unwrap();
    let (path, admin) = (folder.path().join("ringway.toml"), folder.path().join("admin"));
    let write = |algorithm: &str, backend: SocketAddr| {
        let text = format!(
            "[[listener]]\nname = 'a'\nbind = '127.0.0.1:0'\npool = 'p'\n[[pool]]\nname = 'p'\nalgorithm = '{algorithm}'\n\
             [[pool.backend]]\naddress = '{backend}'\n[admin]\nbind = '{}'\n",
            admin.display()
        );
        fs::write(&path, text).unwrap();
    };
    let changes = || {
        let output = process::ringway().args(["changes", "--admin"]).arg(&admin).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    write("round-robin", a.address);
    let mut command = process::ringway();
    command.args(["run", "--config"]).arg(&path);
    let process = Process::start(command);
    assert_eq!(read_all(&mut process.connect()), b"a");
    write("rond-robin", b.address);
    process.signal("HUP");
    await_that("it is refused", || {
        process.errors().contains("the reload is refused; everything stays as it is")
    });
    assert!(process.errors().contains("ringway.toml:7: pool.algorithm in pool"), "{}", process.errors());
    assert_eq!(read_all(&mut process.connect()), b"a");
    write("maglev", b.address);
    // Many at once are one, or a few.
    (0..50).for_each(|_| process.signal("HUP"));
    await_that("it is done", || process.errors().contains("reloaded generation=2"));
    assert!(
        process.errors().contains("changed: pool p algorithm round-robin -> maglev"),
        "{}",
        process.errors()
    );
    assert_eq!(read_all(&mut process.connect()), b"b");
    let changes = changes();
    assert!(changes.contains("generation 1") && changes.contains("SIGHUP"), "{changes}");
    process.stop();
}

/// Whoever sends it means the file, or a log: nobody's terminal has gone.
#[test]
fn a_hangup_without_a_file_and_without_a_terminal_changes_nothing() {
    let backend = TestBackend::echo();
    let mut command = std::process::Command::new("setsid");
    command.arg(env!("CARGO_BIN_EXE_ringway")).args(["run", "--listen", "127.0.0.1:0", "--backend"]);
    command.arg(backend.address.to_string());
    let process = Process::start(command);
    assert_echo(&mut process.connect(), b"before");
    process.signal("HUP");
    await_that("it says so", || process.errors().contains("there is no file to read again"));
    assert_echo(&mut process.connect(), b"after");
    process.stop();
}

/// One backend that is full, and a client that waits for it.
fn full_with_one_waiting(a: &TestBackend) -> (Ringway, TcpStream, TcpStream) {
    let mut start = config(&[a.address]);
    start.pools[0].backends[0].max_connections = NonZeroU32::new(1);
    start.pools[0].queue_timeout = Duration::from_secs(3600);
    let ringway = Ringway::start(start);
    let mut first = ringway.connect();
    assert_echo(&mut first, b"in");
    let waiting = ringway.connect();
    await_that("it waits", || ringway.server().control().generation().queues[0].len() == 1);
    (ringway, first, waiting)
}

#[test]
fn a_backend_that_is_added_serves_those_who_wait_and_those_who_come() {
    let (a, b) = (TestBackend::echo(), TestBackend::echo());
    let (ringway, _first, mut waiting) = full_with_one_waiting(&a);
    change(&ringway, |config| config.pools[0].backends.push(backend_at(b.address)));
    assert_echo(&mut waiting, b"there is room elsewhere");
    assert_echo(&mut ringway.connect(), b"and for others");
    assert_eq!(b.accepted(), 2);
}

#[test]
fn who_waits_for_a_backend_that_is_replaced_gets_the_other_one() {
    let (a, b) = (TestBackend::echo(), TestBackend::echo());
    let (ringway, mut first, mut waiting) = full_with_one_waiting(&a);
    change(&ringway, |config| config.pools[0].backends[0] = backend_at(b.address));
    assert_echo(&mut waiting, b"served by another");
    assert_echo(&mut first, b"goes on");
    assert_eq!((a.accepted(), b.accepted()), (1, 1));
    drop((first, waiting));
    let totals = ringway.finish();
    assert_eq!((totals.accepted, totals.ended(End::Complete)), (2, 2));
}

#[test]
fn who_waits_when_the_listener_gets_another_pool_goes_there() {
    let (a, b) = (TestBackend::echo(), TestBackend::echo());
    let (ringway, first, mut waiting) = full_with_one_waiting(&a);
    change(&ringway, |config| {
        let mut other = config.pools[0].clone();
        other.name = "other".into();
        other.backends = vec![backend_at(b.address)];
        config.pools.push(other);
        config.listeners[0].pool = 1;
    });
    assert_echo(&mut waiting, b"in the other pool");
    drop((first, waiting));
    ringway.finish();
}

#[test]
fn a_removal_that_is_taken_back_cuts_nobody() {
    let (a, b) = (TestBackend::echo(), TestBackend::echo());
    let mut start = config(&[a.address, b.address]);
    start.server.removed_drain_timeout = Duration::from_secs(2);
    one_worker(&mut start);
    let ringway = Ringway::start(start);
    let mut clients: Vec<TcpStream> = (0..4).map(|_| ringway.connect()).collect();
    clients.iter_mut().for_each(|client| assert_echo(client, b"hello"));
    let before = in_force(&ringway);
    change(&ringway, |config| drop(config.pools[0].backends.remove(0)));
    let mut between = ringway.connect();
    assert_echo(&mut between, b"on the other");
    change(&ringway, |config| *config = before);
    assert_eq!((sessions_on(&ringway, 0), sessions_on(&ringway, 1)), (2, 3), "counted where they are");
    // Long enough for the removal to have come to its end.
    thread::sleep(Duration::from_millis(2500));
    clients.iter_mut().for_each(|client| assert_echo(client, b"goes on"));
    drop((clients, between));
    let totals = ringway.finish();
    assert_eq!(totals.ended(End::Complete), 5);
}

#[test]
fn who_waits_at_a_listener_that_is_removed_is_served_as_soon_as_there_is_room() {
    let a = TestBackend::echo();
    let mut start = config(&[a.address]);
    start.server.sessions_max = NonZeroUsize::new(1);
    one_worker(&mut start);
    let ringway = Ringway::start(start);
    let mut first = ringway.connect();
    assert_echo(&mut first, b"in");
    let mut waits = ringway.connect();
    waits.write_all(b"hello").unwrap();
    change(&ringway, |config| config.listeners[0].bind = vec!["127.0.0.9:0".parse().unwrap()]);
    drop(first);
    let mut back = [0; 5];
    waits.read_exact(&mut back).unwrap();
    drop(waits);
    ringway.finish();
}

#[test]
fn an_address_that_this_process_has_itself_is_told_as_such() {
    if !is_in_a_network_of_its_own("reloading::an_address_that_this_process_has_itself_is_told_as_such") {
        return;
    }
    let a = TestBackend::echo();
    let mut start = config(&[a.address]);
    let port = 8_000;
    start.listeners[0].bind = vec![SocketAddr::from(([0, 0, 0, 0], port)).into()];
    let ringway = Ringway::start(start);
    let mut next = in_force(&ringway);
    next.listeners[0].bind = vec![SocketAddr::from(([127, 0, 0, 1], port)).into()];
    let refused = ringway.server().control().adopt(next).unwrap_err().to_string();
    assert!(refused.contains(&format!("this ringway itself listens on 0.0.0.0:{port}")), "{refused}");
    ringway.finish();
}

#[test]
fn checks_and_ejection_that_a_reload_changes_find_a_backend_as_it_is() {
    let mut a = TestBackend::named("a");
    let b = TestBackend::named("b");
    let mut start = config(&[a.address, b.address]);
    start.pools[0].health.check = Check::Tcp(ringway::config::Exchange::default());
    start.pools[0].panic_threshold = 100;
    start.pools[0].ejection.failures = NonZeroU32::new(2);
    let ringway = Ringway::start(start);
    let state = || ringway.server().table().backends[0].health.state;
    a.stop();
    await_that("it is down", || state() == State::Down);
    change(&ringway, |config| config.pools[0].ejection.time = Duration::from_secs(3));
    // In the panic it gets sessions, and they fail: that it is down says all that there is to say.
    for _ in 0..20 {
        assert_eq!(read_all(&mut ringway.connect()), b"b");
        assert_eq!(state(), State::Down);
    }
    // Without checks it is held to be up, and is ejected as if it had never had any.
    change(&ringway, |config| config.pools[0].health.check = Check::None);
    await_that("it is ejected", || {
        assert_eq!(read_all(&mut ringway.connect()), b"b");
        state() == State::Ejected
    });
    ringway.finish();
}
