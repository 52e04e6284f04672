//! The record of arrivals: what sessions on real sockets leave there, and what happens when the disk does not take it.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use ringway::arrivals::{Arrival, Client};
use ringway::config::{Algorithm, Config, Record};
use ringway::end::End;
use ringway::model::replay;
use ringway::record;

use super::process::{self, run_file, run_file_as};
use crate::common::*;

const CLIENTS: [Ipv4Addr; 2] = [Ipv4Addr::new(127, 211, 222, 233), Ipv4Addr::new(127, 11, 22, 33)];

fn recorded(path: &Path, addresses: bool, backends: &[SocketAddr]) -> Config {
    let mut config = config(backends);
    config.server.record = Some(Record { path: path.to_owned(), size_max: 1 << 20, files: 1, addresses });
    config
}

/// Connects from an address of its own.
fn connect_from(client: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((client, 0)).into()).unwrap();
    socket.connect_timeout(&to.into(), DEADLINE).unwrap();
    with_deadline(socket.into())
}

/// A backend that sends back everything twice.
fn doubling() -> TestBackend {
    TestBackend::new(|mut stream| {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            for _ in 0..2 {
                if stream.write_all(&buffer[..count]).is_err() {
                    return;
                }
            }
        }
    })
}

/// So many bytes to such a backend, and twice as many back.
fn ask(client: &mut TcpStream, bytes: usize) {
    client.write_all(&vec![7; bytes]).unwrap();
    client.read_exact(&mut vec![0; 2 * bytes]).unwrap();
}

/// A session that ends in order.
fn doubled_session(mut client: TcpStream, bytes: usize) {
    ask(&mut client, bytes);
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut client), b"");
}

/// A session that ends in order, with so many bytes each way.
fn echo_session(mut client: TcpStream, bytes: usize) {
    assert_echo(&mut client, &vec![7; bytes]);
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut client), b"");
}

/// Serves sessions from both clients, and returns what was recorded of them.
fn sessions(folder: &Path, addresses: bool) -> (PathBuf, Vec<Arrival>) {
    let path = folder.join("record");
    let backends = [doubling(), doubling()];
    let ringway =
        Ringway::start(recorded(&path, addresses, &backends.each_ref().map(|backend| backend.address)));
    for number in 0..20 {
        let client = connect_from(CLIENTS[number % 2], ringway.address());
        doubled_session(client, 1 + 1_000 * number);
    }
    // Many messages in one session.
    let mut long = connect_from(CLIENTS[0], ringway.address());
    (0..500).for_each(|_| ask(&mut long, 10_000));
    doubled_session(long, 7);
    let mut broken = connect_from(CLIENTS[1], ringway.address());
    ask(&mut broken, 8);
    reset(broken);
    ringway.await_end(End::ClientReset, 1);
    let totals = ringway.finish();
    let found = record::read(&path).unwrap();
    assert_eq!(found.cut, None);
    let sum = |bytes: fn(&Arrival) -> u64| found.arrivals.iter().map(bytes).sum::<u64>();
    assert_eq!(found.arrivals.len() as u64, totals.accepted);
    assert_eq!(sum(|arrival| arrival.bytes_to_backend), totals.bytes_to_backend);
    assert_eq!(sum(|arrival| arrival.bytes_to_client), totals.bytes_to_client);
    for (place, backend) in backends.iter().enumerate() {
        let served = |arrival: &&Arrival| arrival.backend.is_some_and(|backend| backend.index() == place);
        assert_eq!(found.arrivals.iter().filter(served).count(), backend.accepted());
    }
    (path, found.arrivals)
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn every_session_is_recorded_as_it_was_and_nobody_by_address() {
    let folder = tempfile::tempdir().unwrap();
    let (path, mut arrivals) = sessions(folder.path(), false);
    arrivals.sort_by_key(|arrival| arrival.accepted_us);
    let bytes: Vec<u64> = (0..20).map(|number| 1 + 1_000 * number).chain([5_000_007, 8]).collect();
    let told = |way: fn(&Arrival) -> u64| arrivals.iter().map(way).collect::<Vec<_>>();
    assert_eq!(told(|arrival| arrival.bytes_to_backend), bytes);
    assert_eq!(told(|arrival| arrival.bytes_to_client / 2), bytes);
    let mut clients: HashMap<Client, usize> = HashMap::new();
    for (number, arrival) in arrivals.iter().enumerate() {
        *clients.entry(arrival.client).or_default() += 1;
        assert_eq!(arrival.end, if number == 21 { End::ClientReset } else { End::Complete });
        assert_eq!((arrival.listener, matches!(arrival.client, Client::Hash(_))), (0, true));
        // A first byte that is seen together with the request is not measured.
        let (connect, first_byte) = (arrival.connect_us.unwrap(), arrival.first_byte_us.unwrap_or(0));
        // Where the answers of three sessions in a row were seen together with the requests, the backend passes for one that
        // speaks first, and its first byte is told from the pick: the connect is in it.
        assert!(arrival.waited_us + connect.max(first_byte) <= arrival.duration_us + 3, "{arrival:?}");
        assert!(arrival.duration_us < DEADLINE.as_micros() as u64);
    }
    assert!(arrivals.iter().any(|arrival| arrival.first_byte_us.is_some()));
    assert_eq!(clients.values().copied().collect::<Vec<_>>(), [11, 11]);
    let written = fs::read(&path).unwrap();
    for client in CLIENTS {
        assert!(!contains(&written, &client.octets()));
        assert!(!contains(&written, client.to_string().as_bytes()));
    }

    let request = replay::Request {
        files: &[path],
        pool: None,
        algorithms: &[Algorithm::RoundRobin],
        seed: 1,
        speed: 1.0,
    };
    let table = replay::table(&request, |_| {}).unwrap();
    assert!(table.contains("pool test: 22 sessions of 2 clients in "), "{table}");
    assert!(table.contains("\nround-robin "), "{table}");
}

#[test]
fn clients_are_told_by_address_where_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let (path, arrivals) = sessions(folder.path(), true);
    let of = |client: Ipv4Addr| {
        arrivals.iter().filter(|arrival| arrival.client == Client::Address(IpAddr::V4(client))).count()
    };
    assert_eq!(CLIENTS.map(of), [11, 11]);
    assert!(contains(&fs::read(path).unwrap(), &CLIENTS[0].octets()));
}

#[test]
fn a_session_that_nobody_served_is_recorded_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("record");
    let (dead, _bound) = refusing();
    let ringway = Ringway::start(recorded(&path, false, &[dead]));
    assert_connect_is_reset(ringway.address());
    ringway.await_end(End::ConnectFailed, 1);
    ringway.finish();
    let arrivals = record::read(&path).unwrap().arrivals;
    let [arrival] = &arrivals[..] else { panic!("{arrivals:?}") };
    assert_eq!((arrival.end, arrival.connect_us, arrival.first_byte_us), (End::ConnectFailed, None, None));
    assert_eq!((arrival.bytes_to_backend, arrival.bytes_to_client), (0, 0));
}

#[test]
fn a_record_is_written_while_it_runs_and_whole_when_it_stops() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("record");
    let backend = TestBackend::echo();
    let process = run_file(&format!("record = '{}'", path.display()), backend.address);
    (0..5).for_each(|_| echo_session(process.connect(), 10));
    // Without being asked.
    await_that("they are in the file", || record::read(&path).is_ok_and(|found| found.arrivals.len() == 5));
    await_that("and counted", || process.recorded() == (5, 0));
    (0..100).for_each(|_| echo_session(process.connect(), 10));
    let mut running = process.connect();
    assert_echo(&mut running, b"until the end");
    running.shutdown(Shutdown::Write).unwrap();
    assert_eq!(process::recorded(&process.stop()), (106, 0));
    let found = record::read(&path).unwrap();
    assert_eq!((found.arrivals.len(), found.cut), (106, None));
}

#[test]
fn a_disk_that_is_full_costs_arrivals_and_no_session() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("record");
    let backend = TestBackend::echo();
    // No file may become larger than 4 KiB (or 8, in some shells): a write beyond fails, and a signal would end the process.
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -S -f 8 && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_ringway")]);
    let process = run_file_as(command, &format!("record = '{}'", path.display()), backend.address);
    (0..5).for_each(|_| echo_session(process.connect(), 10));
    await_that("they are in the file", || process.recorded() == (5, 0));
    let mut sessions = 5;
    while process.recorded().1 == 0 {
        (0..100).for_each(|_| echo_session(process.connect(), 10));
        sessions += 100;
        assert!(sessions < 10_000, "no write failed");
    }
    // What finds room afterwards is told by the right times, although it is told by what has passed since the session before.
    let settled = |sessions: u64| {
        await_that("each is written or lost", || {
            let (written, lost) = process.recorded();
            written + lost == sessions
        });
        process.recorded().0
    };
    let written_before = settled(sessions);
    // There is room again.
    process::limit(&process, "--fsize=1048576:");
    let before_us = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64;
    echo_session(process.connect(), 10);
    assert_eq!(settled(sessions + 1), written_before + 1);
    let errors = process.errors();
    assert_eq!(errors.matches("the record cannot be written").count(), 1, "{errors}");
    let output = process.stop();
    let (written, lost) = process::recorded(&output);
    assert_eq!(written + lost, sessions + 1, "{output}");
    assert!(output.contains(&format!("sessions: {0} accepted, 0 active, {0} complete", sessions + 1)));
    let found = record::read(&path).unwrap();
    assert_eq!((found.arrivals.len() as u64, found.cut), (written, None));
    let last_us = found.header.begun_unix_us + found.arrivals.last().unwrap().accepted_us;
    assert!(last_us + 10_000 >= before_us, "{last_us} {before_us}");
}

#[test]
fn a_record_that_cannot_be_begun_is_a_mistake_of_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ringway.toml");
    let text = "[server]\nrecord = 'there/is/no/such'\n[[listener]]\nname = 'a'\nbind = '127.0.0.1:0'\npool = 'p'\n\
                [[pool]]\nname = 'p'\n[[pool.backend]]\naddress = '127.0.0.1:1'\n";
    fs::write(&file, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    command.current_dir(folder.path()).args(["run", "--config"]).arg(&file);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let errors = String::from_utf8(output.stderr).unwrap();
    let told = "ringway.toml:2: server.record: there is no folder there/is/no for there/is/no/such; make it";
    assert!(errors.contains(told), "{errors}");
}

#[test]
fn a_file_is_left_for_a_new_one_when_it_is_full() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("record");
    let backend = TestBackend::echo();
    let mut config = recorded(&path, false, &[backend.address]);
    config.server.record.as_mut().unwrap().size_max = 2_048;
    let ringway = Ringway::start(config);
    for _ in 0..300 {
        let mut client = ringway.connect();
        client.write_all(b"x").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(&mut client), b"x");
    }
    ringway.finish();
    let mut names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["record", "record.1"]);
    let [newest, older] = ["record", "record.1"].map(|name| folder.path().join(name));
    assert!(fs::metadata(&older).unwrap().len() <= 2_048);
    let count = |path: &Path| record::read(path).unwrap().arrivals.len();
    // The first ones are gone with the third file.
    assert!((60..300).contains(&(count(&newest) + count(&older))));
}

#[test]
fn a_reload_begins_a_file_of_its_own_and_no_session_is_told_with_wrong_places() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("record");
    let (first, second) = (doubling(), doubling());
    let ringway = Ringway::start(recorded(&path, false, &[first.address]));
    doubled_session(ringway.connect(), 10);
    let mut older = ringway.connect();
    ask(&mut older, 20);
    await_that("the first is in the file", || record::read(&path).is_ok_and(|file| file.arrivals.len() == 1));
    let control = ringway.server().control();
    let mut next = Config::clone(&control.generation().config);
    next.pools[0].backends.insert(0, config(&[second.address]).pools[0].backends[0].clone());
    control.adopt(next).unwrap();
    doubled_session(older, 30);
    for _ in 0..4 {
        doubled_session(ringway.connect(), 40);
    }
    ringway.finish();
    let before = record::read(&folder.path().join("record.1")).unwrap();
    let after = record::read(&path).unwrap();
    assert_eq!((before.config.pools[0].backends.len(), after.config.pools[0].backends.len()), (1, 2));
    let bytes =
        |file: &record::Recorded| file.arrivals.iter().map(|one| one.bytes_to_backend).collect::<Vec<_>>();
    // The one that outlived the reload is in neither: it is counted as lost.
    assert_eq!((bytes(&before), bytes(&after)), (vec![10], vec![40; 4]));
}
