//! From the start to the end: signals, what it prints, and the next one in its place.

use super::*;
use crate::peers::own_address;

#[test]
fn sigterm_under_load_loses_no_byte_of_a_running_session() {
    const SIZE: usize = 16 * 1024 * 1024;
    // Made once: twenty times over it keeps a busy machine busy for longer than anybody waits.
    let bytes = Arc::new(Noise::new(5).bytes(SIZE));
    let sent = Arc::clone(&bytes);
    let backend = TestBackend::new(move |mut stream| {
        // Checks say nothing.
        if stream.read_exact(&mut [0; 2]).is_ok() {
            stream.write_all(&sent).unwrap();
        }
    });
    let mut process = run(&[backend.address], &["--drain-timeout", "60s"]);
    let mut clients: Vec<TcpStream> = (0..20).map(|_| process.connect()).collect();
    for client in &mut clients {
        client.write_all(b"go").unwrap();
        client.read_exact(&mut [0; 1]).unwrap();
    }
    process.signal("TERM");
    await_that("it says so", || process.errors().contains("stopping"));
    let readers: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            let bytes = Arc::clone(&bytes);
            thread::spawn(move || {
                assert!(read_all(&mut client) == bytes[1..], "bytes were lost or altered");
            })
        })
        .collect();
    assert_eq!(readers.len(), 20);
    for reader in readers {
        reader.join().unwrap();
    }
    let status = process.wait();
    assert!(status.success(), "{status}");
    assert!(
        process.output().contains("sessions: 20 accepted, 0 active, 20 complete"),
        "{}",
        process.output()
    );
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let backend = TestBackend::echo();
    let mut process = run(&[backend.address], &["--drain-timeout", "1h"]);
    let mut client = process.connect();
    assert_echo(&mut client, b"x");
    process.signal("TERM");
    await_that("it says so", || process.errors().contains("stopping"));
    assert_echo(&mut client, b"still served");
    process.signal("INT");
    let status = process.wait();
    assert_eq!(status.code(), Some(128 + 2));
    assert!(process.errors().contains("ended at once by a second signal (2) with 1 sessions running"));
    assert!(process.output().contains("sessions: 1 accepted, 0 active, 1 drained"), "{}", process.output());
    // What was cut must look cut.
    assert_reset(&mut client);
}

#[test]
fn it_stops_each_time_however_busy() {
    let backend = TestBackend::echo();
    for round in 0..10 {
        let mut process = run(&[backend.address], &["--drain-timeout", "100ms"]);
        let mut clients: Vec<TcpStream> = (0..30).map(|_| process.connect()).collect();
        for client in &mut clients {
            assert_echo(client, b"busy");
            client.write_all(&[0; 10_000]).unwrap();
        }
        process.signal("TERM");
        let status = process.wait();
        assert!(status.success(), "round {round}: {status}: {}", process.errors());
        assert!(
            process.output().contains("sessions: 30 accepted, 0 active, 30 drained"),
            "{}",
            process.output()
        );
        for client in &mut clients {
            let (_, how) = read_until_broken(client);
            how.expect_err("a session that was cut must not look whole");
        }
    }
}

#[test]
fn sigusr1_prints_the_table_and_status_interval_does_so_again_and_again() {
    let ((dead, _bound), alive) = (refusing(), TestBackend::named("alive"));
    let process = run(&[dead, alive.address], &["--workers", "1", "--status-interval", "1s"]);
    assert_eq!(read_all(&mut process.connect()), b"alive");
    await_that("the dead one is down", || process.errors().contains("backend is down"));
    process.signal("USR1");
    let is_row = |line: &str, backend: SocketAddr, state: &str| {
        let cells: Vec<&str> = line.split_whitespace().collect();
        cells.len() > 8 && cells[2] == backend.to_string() && cells[4] == state
    };
    await_that("the table shows both", || {
        let output = process.output();
        output.lines().any(|line| is_row(line, dead, "down"))
            && output.lines().any(|line| is_row(line, alive.address, "up"))
    });
    let tables = |process: &Process| process.output().matches("POOL  BACKEND").count();
    let so_far = tables(&process);
    await_that("the table comes again by itself", || tables(&process) >= so_far + 2);
    process.stop();
}

#[test]
fn it_tells_how_connections_are_spread_over_the_workers() {
    let backend = TestBackend::echo();
    let process = run(&[backend.address], &["--workers", "2", "--accept", "balanced"]);
    assert!(process.errors().contains("accept=\"balanced\""), "{}", process.errors());
    let bound = "handed over: up to 256 connections wait for each of 2 workers; they count as sessions";
    assert!(process.errors().contains(bound), "{}", process.errors());
    let mut clients: Vec<TcpStream> = (0..10).map(|_| process.connect()).collect();
    clients.iter_mut().for_each(|client| assert_echo(client, b"served"));
    process.signal("USR1");
    await_that("it says so", || process.output().contains("\nworkers: active "));
    drop(clients);
    assert!(process.stop().contains("\nworkers: active 0 0; accepted "));

    let process = run(&[backend.address], &["--workers", "2"]);
    assert!(process.errors().contains("accept=\"reuseport\""), "{}", process.errors());
    assert!(!process.errors().contains("handed over"), "{}", process.errors());
    process.stop();
}

#[test]
fn descriptors_and_memory_are_back_after_many_sessions_of_every_kind() {
    let (dead, echo) = (refusing(), TestBackend::echo());
    let process = run(
        &[dead.0, echo.address],
        &["--health-interval", "1h", "--sessions-max", "500", "--idle-timeout", "1s"],
    );
    let churn = |rounds: usize| {
        for round in 0..rounds {
            let mut client = process.connect();
            match round % 5 {
                0 => drop(client),
                1 => {
                    assert_echo(&mut client, b"whole");
                    client.shutdown(Shutdown::Write).unwrap();
                    assert_eq!(read_all(&mut client), b"");
                }
                2 => reset(client),
                3 => {
                    client.write_all(&[0; 30_000]).unwrap();
                    reset(client);
                }
                _ => assert_echo(&mut client, &[7; 20_000]),
            }
        }
        // Also those that were reset before anybody read from them.
        await_that("every session ends", || process.totals().contains(" 0 active"));
    };
    churn(200);
    let (descriptors, memory) = (process.descriptors(), process.resident_kib());
    churn(2000);
    await_that("descriptors are back", || process.descriptors() <= descriptors);
    let grown = process.resident_kib().saturating_sub(memory);
    assert!(grown < 8 * 1024, "memory grew by {grown} KiB over 2,000 sessions");
    process.stop();
}

#[test]
fn an_output_that_nobody_reads_stops_nothing() {
    // A pipe holds 64 KiB: the table is printed until it is full, and then some.
    let backend = TestBackend::echo();
    let mut command = ringway();
    add_run(&mut command, "127.0.0.1:0", &[backend.address; 1], &["--log", "debug"]);
    let (reader, writer) = std::io::pipe().unwrap();
    let mut child = command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("listening") {
        line.clear();
        assert!(errors.read_line(&mut line).unwrap() > 0, "it ended");
    }
    let address = line.split("address=").nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap();
    // From here on nobody reads either of them: one line of the log for each session, one table for each signal.
    let mut process = Process { child, address, output: Arc::default(), errors: Arc::default() };
    for _ in 0..600 {
        assert_echo(&mut process.connect(), b"served");
        process.signal("USR1");
    }
    process.signal("TERM");
    assert!(await_exit(&mut process.child).success());
    drop((reader, errors));
}

#[test]
fn no_kernel_worker_threads_serve_the_traffic() {
    let backend = TestBackend::echo();
    let process = run(&[backend.address], &[]);
    let mut clients: Vec<TcpStream> = (0..50).map(|_| process.connect()).collect();
    for client in &mut clients {
        assert_echo(client, &[1; 50_000]);
    }
    let names = process.thread_names();
    assert!(names.iter().any(|name| name.starts_with("worker-0")), "{names:?}");
    assert!(!names.iter().any(|name| name.starts_with("iou-wrk")), "{names:?}");
    drop(clients);
    process.stop();
}

#[test]
fn a_second_instance_on_the_same_address_is_refused() {
    let backend = TestBackend::echo();
    let first = run(&[backend.address], &[]);
    let mut second = ringway();
    add_run(&mut second, &first.address.to_string(), &[backend.address], &[]);
    let (status, errors, _) = outcome(second);
    assert_eq!(status.code(), Some(1));
    assert!(errors.contains(&format!("cannot listen on {}", first.address)), "{errors}");
    assert!(errors.contains("listener.bind (--listen)"), "{errors}");
    assert_echo(&mut first.connect(), b"the first is not harmed");
    first.stop();
}

#[test]
fn after_kill_9_it_starts_again_at_once() {
    let backend = TestBackend::echo();
    // An address that is nobody else's: no other test gets the port when it is free.
    let mut first = ringway();
    add_run(&mut first, &own_address(8_000).to_string(), &[backend.address], &[]);
    let mut first = Process::start(first);
    let mut client = first.connect();
    assert_echo(&mut client, b"x");
    first.child.kill().unwrap();
    first.wait();
    let mut again = ringway();
    add_run(&mut again, &first.address.to_string(), &[backend.address], &[]);
    let again = Process::start(again);
    assert_eq!(again.address, first.address);
    assert_echo(&mut again.connect(), b"served again");
    again.stop();
}

#[test]
fn a_gap_in_time_ends_no_session_and_takes_no_backend_out() {
    let backend = TestBackend::echo();
    let process = run(&[backend.address], &["--idle-timeout", "2500ms", "--health-interval", "200ms"]);
    let mut client = process.connect();
    assert_echo(&mut client, b"before");
    process.signal("STOP");
    thread::sleep(Duration::from_secs(4));
    process.signal("CONT");
    assert_echo(&mut client, b"after");
    assert_echo(&mut process.connect(), b"and new ones are served");
    assert!(!process.errors().contains("backend is down"), "{}", process.errors());
    drop(client);
    assert!(process.stop().contains("2 complete"));
}

#[test]
fn an_address_that_this_machine_does_not_have_is_refused_with_the_cure() {
    let mut command = ringway();
    add_run(&mut command, "192.0.2.1:8000", &["127.0.0.1:9".parse().unwrap()], &[]);
    let (status, errors, _) = outcome(command);
    assert_eq!(status.code(), Some(1));
    assert!(errors.contains("cannot listen on 192.0.2.1:8000"), "{errors}");
    assert!(errors.contains("ip address shows"), "{errors}");
}

/// Starts the demo on ports of its own.
fn demo() -> (Child, Arc<Mutex<String>>, SocketAddr) {
    // Four free ports in a row, by trying.
    let first = (20_000..60_000_u16)
        .step_by(7)
        .find(|&first| {
            (first..first + 5).all(|port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok())
        })
        .unwrap();
    let listen = format!("127.0.0.1:{}", first + 4);
    let mut child = ringway()
        .args(["demo", "--listen", &listen, "--backend-port", &first.to_string(), "--admin", "127.0.0.1:0"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = collect::<ChildStdout>(BufReader::new(child.stdout.take().unwrap()));
    (child, output, listen.parse().unwrap())
}

#[test]
fn the_demo_answers_everybody_with_a_name_and_moves_traffic_when_a_backend_stops() {
    let (mut child, output, address) = demo();
    let mut keys = child.stdin.take().unwrap();
    await_that("the demo is ready", || output.lock().unwrap().contains("stops the demo"));
    let by_http = || {
        let mut client = connect(address);
        client.write_all(b"GET / HTTP/1.1\r\nHost: demo\r\n\r\n").unwrap();
        String::from_utf8(read_all(&mut client)).unwrap()
    };
    let names: Vec<String> = (0..4).map(|_| by_http()).collect();
    for number in 1..=4 {
        assert!(names.iter().any(|name| name.contains(&format!("\r\n\r\nbackend {number} ("))), "{names:?}");
    }
    // As nc does it: without a word.
    assert!(read_all(&mut connect(address)).starts_with(b"backend "));
    keys.write_all(b"2\n").unwrap();
    await_that("backend 2 is stopped", || output.lock().unwrap().contains("is stopped"));
    for _ in 0..8 {
        assert!(!by_http().contains("backend 2"));
    }
    keys.write_all(b"2\n").unwrap();
    await_that("backend 2 is back", || by_http().contains("backend 2"));
    keys.write_all(b"q\n").unwrap();
    assert!(await_exit(&mut child).success());
}
