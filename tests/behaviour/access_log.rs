//! The access log: what each session leaves there, who gets a line, and what happens when nobody takes the lines.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use ringway::config::{AccessLog, Config, Facility, LogFormat, LogTo, Only, SyslogAddress};
use ringway::end::End;

use super::process::{Process, logged, run_file, run_file_with};
use crate::common::*;

fn logged_to(path: &Path, format: LogFormat, backends: &[SocketAddr]) -> Config {
    let mut config = config(backends);
    config.access_log = Some(file(path, format));
    config
}

/// Every session, in this file.
pub fn file(path: &Path, format: LogFormat) -> AccessLog {
    let to = LogTo::File(path.to_owned());
    AccessLog { to, format, only: Only::All, sample_ppm: AccessLog::WHOLE_PPM }
}

/// The same, on a single worker, so that numbers of sessions are in order.
fn logged_by_one(path: &Path, format: LogFormat, backends: &[SocketAddr]) -> Config {
    let mut config = logged_to(path, format, backends);
    one_worker(&mut config);
    config
}

/// A session that ends in order, with so many bytes each way.
fn echo_session(mut client: TcpStream, bytes: usize) {
    assert_echo(&mut client, &vec![7; bytes]);
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut client), b"");
}

fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "the last line is not whole: {text}");
    text.lines().map(str::to_owned).collect()
}

/// The only line; its fields between spaces.
fn only_line(path: &Path) -> Vec<String> {
    let lines = lines(path);
    let [line] = &lines[..] else { panic!("{lines:?}") };
    line.split(' ').map(str::to_owned).collect()
}

/// What stands behind `name=`.
fn value<'a>(fields: &'a [String], name: &str) -> &'a str {
    let of = |field: &'a String| field.strip_prefix(name)?.strip_prefix('=');
    fields.iter().find_map(of).unwrap_or_else(|| panic!("no {name} in {fields:?}"))
}

fn number(fields: &[String], name: &str) -> i64 {
    value(fields, name).parse().unwrap()
}

#[test]
fn a_session_that_went_well_has_every_field() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let backend = TestBackend::echo();
    let today = || {
        let date = Command::new("date").args(["-u", "+%d/%b/%Y"]).env("LC_ALL", "C").output().unwrap().stdout;
        String::from_utf8(date).unwrap()
    };
    let before = today();
    let ringway = Ringway::start(logged_by_one(&path, LogFormat::Text, &[backend.address]));
    let mut client = ringway.connect();
    let (own, port) = (client.local_addr().unwrap(), ringway.address().port());
    assert_echo(&mut client, &[7; 1_234]);
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut client), b"");
    drop(client);
    ringway.finish();

    let fields = only_line(&path);
    let times: Vec<i64> = fields[4].split('/').map(|time| time.parse().unwrap()).collect();
    let [wait, connect, total] = ["wait_us", "connect_us", "total_us"].map(|name| number(&fields, name));
    assert!(0 <= wait && 0 <= connect && wait + connect <= total, "{fields:?}");
    assert!(number(&fields, "first_byte_us") <= total);
    assert_eq!(times, [wait / 1_000, connect / 1_000, total / 1_000]);
    let date = fields[1].trim_matches(['[', ']']);
    assert_eq!(date.len(), "26/Nov/2026:11:52:01.123".len());
    // Midnight may have been in between.
    assert!([before, today()].iter().any(|day| date.starts_with(day.trim())), "{date}");
    let rest = fields.join(" ");
    assert_eq!(
        rest.replacen(&fields[1], "[DATE]", 1),
        format!(
            "{own} [DATE] test test/{} {} 1234 -- 0/0/0/0/0 0/0 end=complete wait_us={wait} connect_us={connect} \
             first_byte_us={} total_us={total} to_backend_bytes=1234 to_client_bytes=1234 algorithm=round-robin \
             worker=0 session=0-1 listener_port={} server_name=-",
            backend.address,
            fields[4],
            value(&fields, "first_byte_us"),
            port,
        )
    );
}

#[test]
fn the_same_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let backend = TestBackend::echo();
    let ringway = Ringway::start(logged_by_one(&path, LogFormat::Json, &[backend.address]));
    let mut client = ringway.connect();
    let (own, port) = (client.local_addr().unwrap(), ringway.address().port());
    assert_echo(&mut client, &[7; 10]);
    reset(client);
    ringway.await_end(End::ClientReset, 1);
    ringway.finish();
    let lines = lines(&path);
    let [line] = &lines[..] else { panic!("{lines:?}") };
    let text = |key: &str| line.split(&format!("\"{key}\":\"")).nth(1).unwrap().split('"').next().unwrap();
    let number = |key: &str| {
        let rest = line.split(&format!("\"{key}\":")).nth(1).unwrap();
        rest.split([',', '}']).next().unwrap().parse::<u64>().unwrap()
    };
    let accepted = text("accepted");
    assert_eq!((accepted.len(), accepted.ends_with('Z')), ("2026-11-26T11:52:01.123456Z".len(), true));
    let first_byte = line.split("\"first_byte_us\":").nth(1).unwrap().split(',').next().unwrap();
    let [wait, connect, total] = ["wait_us", "connect_us", "total_us"].map(number);
    assert_eq!(
        *line,
        format!(
            "{{\"accepted\":\"{accepted}\",\"session\":\"0-1\",\"worker\":0,\"client_ip\":\"127.0.0.1\",\"client_port\":{},\
             \"listener\":\"test\",\"pool\":\"test\",\"algorithm\":\"round-robin\",\"backend\":\"{1}\",\
             \"backend_address\":\"{1}\",\"end\":\"client-reset\",\"termination\":\"CD\",\"wait_us\":{wait},\
             \"connect_us\":{connect},\"first_byte_us\":{first_byte},\"total_us\":{total},\"to_backend_bytes\":10,\
             \"to_client_bytes\":10,\"retries\":0,\"queued_behind\":0,\"process_sessions\":0,\"listener_sessions\":0,\
             \"pool_sessions\":0,\"backend_sessions\":0,\"listener_port\":{port},\"server_name\":null}}",
            own.port(),
            backend.address
        )
    );
}

/// The fields that tell how far a session came: backend, times, letters, numbers of sessions, queue, end.
fn outcome(fields: &[String]) -> [&str; 5] {
    [&fields[3], &fields[6], &fields[7], &fields[8], value(fields, "end")]
}

#[test]
fn a_backend_that_refuses_and_one_that_serves_instead() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let (dead, _bound) = refusing();
    let ringway = Ringway::start(logged_by_one(&path, LogFormat::Text, &[dead]));
    assert_connect_is_reset(ringway.address());
    ringway.await_end(End::ConnectFailed, 1);
    ringway.finish();
    let fields = only_line(&path);
    assert_eq!(outcome(&fields), [&format!("test/{dead}"), "SC", "0/0/0/0/0", "0/0", "connect-failed"]);
    assert_eq!([number(&fields, "connect_us"), number(&fields, "first_byte_us")], [-1, -1]);
    assert!(fields[4].contains("/-1/") && number(&fields, "wait_us") >= 0, "{fields:?}");

    fs::remove_file(&path).unwrap();
    let alive = TestBackend::echo();
    let ringway = Ringway::start(logged_by_one(&path, LogFormat::Text, &[dead, alive.address]));
    // In turns: one of the two begins with the one that refuses, unless that is down by then.
    for sessions in 1..=2 {
        echo_session(ringway.connect(), 1);
        // A line tells how many sessions run when it is written: no other one shall.
        let written = || fs::read_to_string(&path).unwrap_or_default().lines().count();
        await_that("its line is written", || written() == sessions);
    }
    ringway.finish();
    let retried: Vec<String> =
        lines(&path).into_iter().filter(|line| line.contains(" 0/0/0/0/+1 0/0 end=complete ")).collect();
    assert!(!retried.is_empty());
    assert!(retried[0].contains(&format!(" test/{} ", alive.address)), "{retried:?}");
}

#[test]
fn a_backend_that_does_not_answer_is_not_one_that_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let (silent, _queue) = blackhole();
    let mut config = logged_by_one(&path, LogFormat::Text, &[silent]);
    config.pools[0].connect_timeout = Duration::from_millis(50);
    let ringway = Ringway::start(config);
    assert_connect_is_reset(ringway.address());
    ringway.await_end(End::ConnectFailed, 1);
    ringway.finish();
    let fields = only_line(&path);
    assert_eq!(outcome(&fields), [&format!("test/{silent}"), "sC", "0/0/0/0/0", "0/0", "connect-failed"]);
    assert!(number(&fields, "total_us") >= 50_000, "{fields:?}");
}

/// One place, and one that waits for it.
fn crowded(path: &Path, backend: SocketAddr, queue_timeout: Duration) -> (Ringway, TcpStream, TcpStream) {
    let mut config = logged_by_one(path, LogFormat::Text, &[backend]);
    let pool = &mut config.pools[0];
    pool.backends[0].max_connections = std::num::NonZeroU32::new(1);
    (pool.queue_max, pool.queue_timeout) = (1, queue_timeout);
    let ringway = Ringway::start(config);
    let mut served = ringway.connect();
    assert_echo(&mut served, b"served");
    let waits = ringway.connect();
    (ringway, served, waits)
}

#[test]
fn who_waits_in_vain_was_never_served() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let backend = TestBackend::echo();
    let (ringway, served, mut waits) = crowded(&path, backend.address, Duration::from_millis(1_500));
    assert_reset(&mut waits);
    ringway.await_end(End::QueueTimeout, 1);
    drop(served);
    ringway.finish();
    let fields: Vec<String> = lines(&path)[0].split(' ').map(str::to_owned).collect();
    let [pool, letters, _, queues, end] = outcome(&fields);
    assert_eq!([pool, letters, queues, end], ["test/<NOSRV>", "sQ", "0/0", "queue-timeout"]);
    assert_eq!(number(&fields, "connect_us"), -1);
    // The worker's clock is of the last tick, which a busy machine can keep late; it is never set on by more than a second.
    assert!(number(&fields, "wait_us") >= 200_000, "{fields:?}");
    assert_eq!(value(&fields, "wait_us"), value(&fields, "total_us"));
}

#[test]
fn who_waits_and_who_finds_the_queue_full() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let backend = TestBackend::echo();
    let (ringway, served, waits) = crowded(&path, backend.address, DEADLINE);
    await_that("it waits", || ringway.server().status().contains("waiting: 1 for pool test"));
    assert_connect_is_reset(ringway.address());
    ringway.await_end(End::QueueFull, 1);
    drop(served);
    echo_session(waits, 9);
    ringway.finish();
    let lines = lines(&path);
    let line =
        |end: &str| lines.iter().find(|line| line.contains(end)).unwrap_or_else(|| panic!("{lines:?}"));
    assert!(line("end=queue-full").contains(" test/<NOSRV> "), "{lines:?}");
    assert!(line("end=queue-full").contains(" PQ "), "{lines:?}");
    assert!(line("end=queue-full").contains("/0 0/1 end="), "{lines:?}");
    assert!(line("to_client_bytes=9 ").contains("/0 0/0 end=complete "), "{lines:?}");
    assert_eq!(lines.len(), 3);
}

#[test]
fn errors_are_always_logged_and_of_the_rest_a_part() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let backend = TestBackend::echo();
    let run = |only, sample_ppm| {
        let mut config = logged_to(&path, LogFormat::Text, &[backend.address]);
        let log = config.access_log.as_mut().unwrap();
        (log.only, log.sample_ppm) = (only, sample_ppm);
        let ringway = Ringway::start(config);
        for _ in 0..200 {
            echo_session(ringway.connect(), 1);
        }
        let mut broken = ringway.connect();
        assert_echo(&mut broken, b"x");
        reset(broken);
        ringway.await_end(End::ClientReset, 1);
        ringway.finish();
        let lines = lines(&path);
        fs::remove_file(&path).unwrap();
        assert_eq!(lines.iter().filter(|line| line.contains(" CD ")).count(), 1);
        lines.len() - 1
    };
    assert_eq!(run(Only::Errors, AccessLog::WHOLE_PPM), 0);
    // Further from 100 than that it is once in some 10^17 times.
    assert!((40..160).contains(&run(Only::All, 500_000)));
    assert_eq!(run(Only::All, AccessLog::WHOLE_PPM), 200);
}

#[test]
fn a_listener_can_be_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let backend = TestBackend::echo();
    let mut config = logged_to(&path, LogFormat::Text, &[backend.address]);
    let mut quiet = config.listeners[0].clone();
    (quiet.name, quiet.access_log) = ("quiet".into(), false);
    config.listeners.push(quiet);
    let ringway = Ringway::start(config);
    for listener in [0, 1] {
        echo_session(connect(ringway.server().addresses(listener)[0]), 1);
    }
    ringway.finish();
    assert_eq!(only_line(&path)[2], "test");
}

#[test]
fn a_file_that_is_renamed_is_left_at_the_signal_and_no_line_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let backend = TestBackend::echo();
    let process = run_file_with(&format!("[access_log]\nto = '{}'", path.display()), backend.address);
    let mut sessions = 0;
    for round in 0..5 {
        for _ in 0..40 {
            echo_session(process.connect(), 1);
        }
        sessions += 40;
        fs::rename(&path, folder.path().join(format!("log.{round}"))).unwrap();
        echo_session(process.connect(), 1);
        sessions += 1;
        process.signal("HUP");
        await_that("there is a new file", || path.exists());
    }
    let output = process.stop();
    assert_eq!(logged(&output), (sessions, 0), "{output}");
    let mut numbers: Vec<String> = Vec::new();
    for file in fs::read_dir(folder.path()).unwrap() {
        let lines = lines(&file.unwrap().path());
        numbers.extend(lines.iter().map(|line| {
            let fields: Vec<String> = line.split(' ').map(str::to_owned).collect();
            value(&fields, "session").to_owned()
        }));
    }
    assert_eq!(numbers.len() as u64, sessions);
    numbers.sort();
    numbers.dedup();
    assert_eq!(numbers.len() as u64, sessions, "a line is there twice");
}

/// Serves sessions until lines are dropped, and then some more.
fn serve_until_dropped(process: &Process) -> u64 {
    let mut sessions = 0;
    while process.logged().1 == 0 {
        for _ in 0..100 {
            echo_session(process.connect(), 1);
        }
        sessions += 100;
        assert!(sessions < 20_000, "nothing was dropped");
    }
    let mut lasting = process.connect();
    assert_echo(&mut lasting, &[7; 10_000]);
    drop(lasting);
    sessions + 1
}

fn assert_all_are_counted(output: &str, sessions: u64) {
    let (written, dropped) = logged(output);
    assert_eq!(written + dropped, sessions, "{output}");
    assert!(
        output.contains(&format!("sessions: {sessions} accepted, 0 active, {sessions} complete")),
        "{output}"
    );
}

#[test]
fn a_device_that_is_full_costs_lines_and_no_session() {
    let backend = TestBackend::echo();
    let process = run_file_with("[access_log]\nto = '/dev/full'", backend.address);
    let sessions = serve_until_dropped(&process);
    await_that("it says so", || process.errors().contains("the access log cannot be written"));
    assert_eq!(process.errors().matches("lines are dropped").count(), 1, "{}", process.errors());
    let output = process.stop();
    assert_all_are_counted(&output, sessions);
    assert_eq!(logged(&output).0, 0);
}

#[test]
fn a_fifo_gets_lines_while_somebody_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let backend = TestBackend::echo();
    let process = run_file_with(&format!("[access_log]\nto = '{}'", path.display()), backend.address);
    let sessions = serve_until_dropped(&process);
    await_that("each is dropped", || process.logged() == (0, sessions));
    let opened = thread::spawn({
        let path = path.clone();
        move || File::open(path).unwrap()
    });
    // It waits for somebody who writes, and that is whoever has a line.
    let mut more = 0;
    while !opened.is_finished() {
        echo_session(process.connect(), 1);
        more += 1;
        assert!(more < 10_000, "the FIFO was not opened");
    }
    echo_session(process.connect(), 777);
    let mut reader = opened.join().unwrap();
    let mut text = String::new();
    let mut buffer = [0; 4_096];
    while !text.contains("to_backend_bytes=777") {
        let count = reader.read(&mut buffer).unwrap();
        assert!(count > 0, "{text}");
        text.push_str(str::from_utf8(&buffer[..count]).unwrap());
    }
    assert_all_are_counted(&process.stop(), sessions + more + 1);
}

#[test]
fn a_standard_output_that_nobody_reads_costs_lines_and_no_session() {
    let backend = TestBackend::echo();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let process = Process::with_output("[access_log]\nto = 'stdout'", backend.address, writer);
    let mut sessions = 0;
    // The pipe has room for some 200 lines, and lists for the others: those are dropped at the end.
    for _ in 0..2_000 {
        echo_session(process.connect(), 1);
        sessions += 1;
    }
    let mut lasting = process.connect();
    assert_echo(&mut lasting, &[7; 10_000]);
    drop(lasting);
    sessions += 1;
    let status = process.end();
    assert!(status.success(), "{status}");
    // What is left in the pipe is whole lines.
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    let whole =
        text.lines().filter(|line| line.contains(" end=complete ") && line.contains(" session=")).count();
    assert!((50..sessions).contains(&whole), "{whole}");
    // The totals stand there too, if a line of sessions found no room and they did.
    let cut: Vec<&str> =
        text.lines().filter(|line| line.contains(" a p/") && !line.contains(" session=")).collect();
    assert!(cut.is_empty() && text.ends_with('\n'), "{cut:?}");
}

#[test]
fn syslog_gets_each_line_in_a_datagram() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let server = UnixDatagram::bind(&path).unwrap();
    server.set_read_timeout(Some(DEADLINE)).unwrap();
    let backend = TestBackend::echo();
    let mut config = logged_to(&path, LogFormat::Text, &[backend.address]);
    let log = config.access_log.as_mut().unwrap();
    log.to = LogTo::Syslog(SyslogAddress::Socket(path), Facility::Local3);
    let ringway = Ringway::start(config);
    let mut buffer = [0; 2_048];
    let header = format!("<158>ringway[{}]: 127.0.0.1:", std::process::id());
    // More than the kernel keeps for it at once.
    for bytes in 1..30 {
        echo_session(ringway.connect(), bytes);
    }
    for _ in 1..30 {
        let count = server.recv(&mut buffer).unwrap();
        let line = str::from_utf8(&buffer[..count]).unwrap();
        assert!(line.starts_with(&header) && !line.ends_with('\n'), "{line}");
        assert!(line.contains(" test/") && line.contains(" -- ") && line.contains(" session="), "{line}");
    }
    ringway.finish();
}

#[test]
fn syslog_by_udp_is_rfc_5424() {
    let server = UdpSocket::bind(any_port()).unwrap();
    server.set_read_timeout(Some(DEADLINE)).unwrap();
    let backend = TestBackend::echo();
    let mut config = logged_to(Path::new(""), LogFormat::Json, &[backend.address]);
    let log = config.access_log.as_mut().unwrap();
    log.to = LogTo::Syslog(SyslogAddress::Udp(server.local_addr().unwrap()), Facility::Local0);
    let ringway = Ringway::start(config);
    echo_session(ringway.connect(), 5);
    let mut buffer = [0; 2_048];
    let count = server.recv(&mut buffer).unwrap();
    let line = str::from_utf8(&buffer[..count]).unwrap();
    let fields: Vec<&str> = line.splitn(8, ' ').collect();
    assert_eq!((fields[0], fields[1].len()), ("<134>1", "2026-11-26T11:52:01.123456Z".len()), "{line}");
    assert_eq!(fields[3..7], ["ringway", &std::process::id().to_string(), "access", "-"], "{line}");
    assert!(fields[7].starts_with("{\"accepted\":\"") && fields[7].ends_with('}'), "{line}");
    ringway.finish();
}

#[test]
fn every_session_is_a_line_or_counted_as_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let backend = echo_for_many();
    let process =
        run_file_with(&format!("[access_log]\nto = '{}'\nformat = 'json'", path.display()), backend);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..250 {
                    let mut client = process.connect();
                    assert_echo(&mut client, b"x");
                }
            });
        }
    });
    let output = process.stop();
    assert_all_are_counted(&output, 1_000);
    assert_eq!(lines(&path).len() as u64, logged(&output).0);
    assert_eq!(logged(&output).1, 0);
}

#[test]
fn a_disk_that_is_full_leaves_whole_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let backend = TestBackend::echo();
    // No file may become larger than 4 KiB (or 8, in some shells).
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -f 8 && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_ringway")]);
    let tables = format!("[access_log]\nto = '{}'", path.display());
    let process = Process::with_tables(command, &tables, backend.address);
    let sessions = serve_until_dropped(&process);
    let output = process.stop();
    assert_all_are_counted(&output, sessions);
    let lines = lines(&path);
    assert_eq!(lines.len() as u64, logged(&output).0);
    assert!(lines.len() > 5 && lines.iter().all(|line| line.contains(" session=")), "{lines:?}");
}

#[test]
fn a_file_that_cannot_be_opened_is_a_mistake_of_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ringway.toml");
    let text = "[access_log]\nto = 'there/is/no/such'\n[[listener]]\nname = 'a'\nbind = '127.0.0.1:0'\npool = 'p'\n\
                [[pool]]\nname = 'p'\n[[pool.backend]]\naddress = '127.0.0.1:1'\n";
    fs::write(&file, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    command.current_dir(folder.path()).args(["run", "--config"]).arg(&file);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(
        errors.contains("ringway.toml:2: access_log.to: there is no folder there/is/no for there/is/no/such"),
        "{errors}"
    );
}

#[test]
fn the_signal_does_nothing_without_a_log() {
    let backend = TestBackend::echo();
    let process = run_file("", backend.address);
    process.signal("HUP");
    let mut client = process.connect();
    client.write_all(b"x").unwrap();
    client.read_exact(&mut [0]).unwrap();
    drop(client);
    assert!(!process.stop().contains("access log"));
}
