//! Another process of the program takes over the listening sockets, under load and without a lost connection; or it fails, and
//! nobody notices.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use super::process::Process;
use super::sockets::mptcp;
use crate::common::*;
use crate::network::is_in_a_network_of_its_own;

/// A ringway that was started by a path and with a file that a test can change.
pub(super) struct Upgradable {
    folder: tempfile::TempDir,
    pub(super) process: Process,
}

impl Upgradable {
    pub(super) fn start(text: &str) -> Upgradable {
        Upgradable::start_by(text, |program, file| {
            let mut command = Command::new(program);
            command.args(["run", "--config"]).arg(file);
            Process::start(command)
        })
    }

    /// Started in this way, from a program and a file.
    fn start_by(text: &str, start: impl FnOnce(&Path, &Path) -> Process) -> Upgradable {
        let folder = tempfile::tempdir().unwrap();
        install(folder.path(), Path::new(env!("CARGO_BIN_EXE_ringway")));
        let (program, file) = (folder.path().join("ringway"), folder.path().join("ringway.toml"));
        fs::write(&file, text).unwrap();
        let process = start(&program, &file);
        Upgradable { folder, process }
    }

    pub(super) fn write(&self, text: &str) {
        fs::write(self.folder.path().join("ringway.toml"), text).unwrap();
    }

    /// Puts a program in the place of ringway that does this.
    fn install_script(&self, body: &str) {
        let script = self.folder.path().join("script");
        fs::write(&script, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        install(self.folder.path(), &script);
    }

    fn install_ringway(&self) {
        install(self.folder.path(), Path::new(env!("CARGO_BIN_EXE_ringway")));
    }

    /// Has this one of its processes replaced; the number of the new one, which serves.
    pub(super) fn upgrade(&self, old: u32) -> u32 {
        let before = self.count("the new process serves");
        signal(old, "USR2");
        await_that("the new process serves", || self.count("the new process serves") > before);
        let log = self.process.errors();
        let line = log.lines().rfind(|line| line.contains("the new process serves")).unwrap();
        number(line, "successor=")
    }

    /// Tries to have it replaced, in vain; the lines of the log about that.
    fn fail(&self) -> String {
        let before = self.count("this process goes on serving");
        let length = self.process.errors().len();
        signal(self.process.id(), "USR2");
        await_that("the upgrade fails", || self.count("this process goes on serving") > before);
        self.process.errors()[length..].to_owned()
    }

    fn count(&self, words: &str) -> usize {
        self.process.errors().matches(words).count()
    }

    /// The processes that run with its file.
    fn processes(&self) -> BTreeSet<u32> {
        let ours = self.folder.path().to_str().unwrap();
        let numbers =
            fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let is_ours = |id: &u32| {
            fs::read_to_string(format!("/proc/{id}/cmdline")).is_ok_and(|line| line.contains(ours))
        };
        numbers.filter(is_ours).collect()
    }
}

impl Drop for Upgradable {
    /// Only those that are surely ours: they have our folder in their command line.
    fn drop(&mut self) {
        for id in self.processes() {
            let _ = Command::new("kill").args(["-KILL", &id.to_string()]).status();
        }
    }
}

fn install(folder: &Path, program: &Path) {
    let (new, place) = (folder.join("new"), folder.join("ringway"));
    symlink(program, &new).unwrap();
    fs::rename(new, place).unwrap();
}

fn signal(process: u32, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &process.to_string()]).status();
    assert!(status.unwrap().success());
}

fn number(line: &str, key: &str) -> u32 {
    let rest = line.split(key).nth(1).unwrap_or_else(|| panic!("no {key} in {line}"));
    rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}

/// A file with these lines in `[server]`, and these addresses for its listeners, which have their places as names.
fn text(server: &str, binds: &[&str], backend: SocketAddr) -> String {
    let mut text = format!(
        "[server]\nbuffers_per_worker = 16\nlarge_buffers_per_worker = 2\nsessions_max = 2000\n{server}\n"
    );
    for (place, bind) in binds.iter().enumerate() {
        text += &format!("[[listener]]\nname = 'number-{place}'\nbind = '{bind}'\npool = 'p'\n");
    }
    text + &format!(
        "[[pool]]\nname = 'p'\n[pool.health]\ncheck = 'none'\n[[pool.backend]]\naddress = '{backend}'\n"
    )
}

const ANY: &[&str] = &["127.0.0.1:0"];

/// Clients that come and go, each with some bytes that must come back.
struct Load {
    is_over: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    fn on(address: SocketAddr, clients: usize) -> Load {
        let (is_over, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let client = |seed| {
            let (is_over, served) = (Arc::clone(&is_over), Arc::clone(&served));
            thread::spawn(move || {
                let mut noise = Noise::new(seed);
                while !is_over.load(Ordering::SeqCst) {
                    let bytes = noise.bytes(100);
                    let mut client = connect(address);
                    assert_echo(&mut client, &bytes);
                    // A reset at the end would be one more way to lose.
                    client.shutdown(std::net::Shutdown::Write).unwrap();
                    assert_eq!(read_all(&mut client), b"");
                    served.fetch_add(1, Ordering::SeqCst);
                }
            })
        };
        let clients = (0..clients as u64).map(client).collect();
        Load { is_over, served, clients }
    }

    /// Waits until so many more have been served.
    fn await_more(&self, count: u64) {
        let wanted = self.served.load(Ordering::SeqCst) + count;
        await_that("the load is served", || {
            assert!(self.clients.iter().all(|client| !client.is_finished()), "a client has failed");
            self.served.load(Ordering::SeqCst) >= wanted
        });
    }

    /// Fails if anybody has met a failure.
    fn finish(self) -> u64 {
        self.is_over.store(true, Ordering::SeqCst);
        self.clients.into_iter().for_each(|client| client.join().unwrap());
        self.served.load(Ordering::SeqCst)
    }
}

#[test]
fn another_process_takes_over_under_load_and_long_sessions_end_in_the_old_one() {
    let backend = echo_for_many();
    let mut ringway = Upgradable::start(&text("workers = 2", ANY, backend));
    let old = ringway.process.id();
    let mut long: Vec<TcpStream> = (0..8).map(|_| ringway.process.connect()).collect();
    long.iter_mut().for_each(|client| assert_echo(client, b"before"));
    let load = Load::on(ringway.process.address(), 4);
    load.await_more(200);
    let new = ringway.upgrade(old);
    assert_ne!(new, old);
    load.await_more(200);
    long.iter_mut().for_each(|client| assert_echo(client, b"after"));
    assert_eq!(ringway.processes(), BTreeSet::from([old, new]), "the old one serves its sessions");
    drop(long);
    let status = ringway.process.await_exit();
    assert!(status.success(), "{status}: {}", ringway.process.errors());
    load.await_more(200);
    assert!(load.finish() >= 600);
    assert_eq!(ringway.processes(), BTreeSet::from([new]));
    signal(new, "TERM");
    await_that("the new one ends", || ringway.processes().is_empty());
    assert!(TcpStream::connect(ringway.process.address()).is_err(), "nobody listens");
}

#[test]
fn one_upgrade_after_the_other_with_more_workers_and_fewer() {
    let backend = echo_for_many();
    let mut ringway = Upgradable::start(&text("workers = 2", ANY, backend));
    let load = Load::on(ringway.process.address(), 4);
    load.await_more(50);
    let mut serving = ringway.process.id();
    for workers in [4, 1, 3, 3] {
        ringway.write(&text(&format!("workers = {workers}"), ANY, backend));
        let old = serving;
        serving = ringway.upgrade(old);
        await_that("the old one ends", || {
            // The first one is a child of this process, which has to be waited for.
            ringway.process.has_ended();
            !ringway.processes().contains(&old)
        });
        load.await_more(100);
        let threads = fs::read_dir(format!("/proc/{serving}/task")).unwrap();
        let names = threads.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
        assert_eq!(names.filter(|name| name.starts_with("worker-")).count(), workers);
    }
    load.finish();
    assert_eq!(ringway.processes(), BTreeSet::from([serving]));
}

#[test]
fn a_new_process_that_fails_leaves_the_old_one_serving() {
    let backend = echo_for_many();
    let good = text("workers = 2\nupgrade_timeout = '5s'", ANY, backend);
    let mut ringway = Upgradable::start(&good);
    let old = ringway.process.id();
    let load = Load::on(ringway.process.address(), 3);
    let mut long = ringway.process.connect();
    let mut goes_on = |log: &str, why: &str| {
        assert!(log.contains(why), "no {why:?} in {log}");
        load.await_more(50);
        assert_echo(&mut long, b"still there");
        assert_eq!(ringway.processes(), BTreeSet::from([old]), "the other one is gone");
    };

    ringway.write(&good.replace("workers", "werkers"));
    let log = ringway.fail();
    goes_on(&log, "did you mean");
    goes_on(&log, "it ended (exit status: 2) before it was ready");

    // All that it needs is there but for the address.
    let taken = listen(any_port());
    let second = taken.local_addr().unwrap().to_string();
    ringway.write(&text("workers = 2", &["127.0.0.1:0", &second], backend));
    goes_on(&ringway.fail(), "it could not start: listener number-1: cannot listen on");

    ringway.write(&good);
    ringway.install_script("exit 1");
    goes_on(&ringway.fail(), "it ended (exit status: 1) before it was ready");
    ringway.install_script("echo hello >&0; exec sleep 100");
    goes_on(&ringway.fail(), "it answered \"hello\\n\"");
    // The folder's name in its command line, so that the test sees it.
    ringway.install_script("exec tail -f \"$0\"");
    goes_on(&ringway.fail(), "it was not ready within 5s and was killed");
    ringway.install_script("exec tail -f \"$0\" <&-");
    goes_on(&ringway.fail(), "it cannot be spoken to");
    fs::remove_file(ringway.folder.path().join("ringway")).unwrap();
    let refused = ringway.count("the upgrade is refused");
    signal(old, "USR2");
    await_that("it is refused", || ringway.count("the upgrade is refused") > refused);
    goes_on(&ringway.process.errors(), "cannot be started: No such file");

    // And after all that it still works.
    ringway.install_ringway();
    let new = ringway.upgrade(old);
    load.await_more(50);
    drop(long);
    load.finish();
    assert!(ringway.process.await_exit().success());
    assert_eq!(ringway.processes(), BTreeSet::from([new]));
}

#[test]
fn while_one_is_on_its_way_there_is_no_second_one_and_no_reload_and_an_end_ends_both() {
    let backend = echo_for_many();
    let mut ringway = Upgradable::start(&text("upgrade_timeout = '1h'", ANY, backend));
    let old = ringway.process.id();
    ringway.install_script("exec tail -f \"$0\"");
    signal(old, "USR2");
    await_that("it is started", || ringway.processes().len() == 2);
    signal(old, "USR2");
    await_that("it is refused", || ringway.count("is about to take over already") == 1);
    signal(old, "HUP");
    await_that("the reload is refused", || ringway.count("the reload is refused") == 1);
    assert_echo(&mut ringway.process.connect(), b"served meanwhile");
    signal(old, "TERM");
    assert!(ringway.process.await_exit().success(), "{}", ringway.process.errors());
    assert_eq!(ringway.processes(), BTreeSet::new(), "{}", ringway.process.errors());
}

#[test]
fn addresses_come_and_go_with_an_upgrade() {
    let backend = echo_for_many();
    // A port that is free, for as long as nobody else takes it.
    let fixed = listen("127.0.0.4:0".parse().unwrap()).local_addr().unwrap();
    let mut ringway =
        Upgradable::start(&text("workers = 2", &["127.0.0.1:0", &fixed.to_string(), "127.0.0.2:0"], backend));
    let (old, kept) = (ringway.process.id(), ringway.process.address());
    assert_echo(&mut connect(fixed), b"there");
    let mut long = connect(fixed);
    assert_echo(&mut long, b"long");
    let load = Load::on(kept, 2);
    // The one with a fixed port goes; one at another address comes, under its name.
    ringway.write(&text("workers = 2", &["127.0.0.1:0", "127.0.0.3:0", "127.0.0.2:0"], backend));
    ringway.upgrade(old);
    await_that("nobody listens there any more", || TcpStream::connect(fixed).is_err());
    assert_echo(&mut long, b"what it had accepted goes on");
    let log = ringway.process.errors();
    let line = log.lines().rfind(|line| line.contains("listening") && line.contains("127.0.0.3")).unwrap();
    let came: SocketAddr = line.split("address=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert_echo(&mut connect(came), b"new");
    load.await_more(50);
    load.finish();
    drop(long);
    assert!(ringway.process.await_exit().success());
    let of = |ip: &str| {
        let is_it = |line: &&str| line.contains("listening") && line.contains(ip);
        log.lines()
            .filter(is_it)
            .map(|line| number(line, &format!("address={ip}:")))
            .collect::<BTreeSet<_>>()
            .len()
    };
    assert_eq!((of("127.0.0.1"), of("127.0.0.2")), (1, 1), "each has the port that it had");
}

#[test]
fn a_process_that_was_replaced_ends_what_takes_too_long() {
    let backend = echo_for_many();
    let mut ringway = Upgradable::start(&text("drain_timeout = '1s'", ANY, backend));
    let mut long = ringway.process.connect();
    assert_echo(&mut long, b"before");
    let new = ringway.upgrade(ringway.process.id());
    assert!(ringway.process.await_exit().success());
    assert_reset(&mut long);
    assert_echo(&mut ringway.process.connect(), b"by the new one");
    assert_eq!(ringway.processes(), BTreeSet::from([new]));
}

#[test]
fn the_record_goes_on_in_a_file_of_its_own() {
    let backend = echo_for_many();
    let path: PathBuf = tempfile::tempdir().unwrap().keep();
    let record = path.join("record");
    let mut ringway =
        Upgradable::start(&text(&format!("workers = 1\nrecord = '{}'", record.display()), ANY, backend));
    let client = |count| {
        for _ in 0..count {
            let mut client = ringway.process.connect();
            client.write_all(b"x").unwrap();
            client.read_exact(&mut [0]).unwrap();
        }
    };
    client(5);
    await_that("they are in the record", || ringway.process.recorded().0 == 5);
    let old = ringway.process.id();
    let new = ringway.upgrade(old);
    client(3);
    assert!(ringway.process.await_exit().success());
    signal(new, "TERM");
    await_that("the new one ends", || ringway.processes().is_empty());
    await_that("both have told what is recorded", || {
        let output = ringway.process.output();
        let lines: Vec<&str> = output.lines().filter(|line| line.starts_with("recorded: ")).collect();
        lines.ends_with(&["recorded: 5 sessions, 0 lost", "recorded: 3 sessions, 0 lost"])
    });
    assert!(record.with_extension("1").exists());
    fs::remove_dir_all(path).unwrap();
}

/// A service manager's part: the socket is standard input before, and descriptor 3 of a process that has its number told.
const MANAGER: &str =
    "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 WATCHDOG_PID=$$ exec \"$1\" run --config \"$2\"";

#[test]
fn a_service_manager_keeps_its_socket_and_is_told_which_process_serves() {
    let backend = echo_for_many();
    let socket = listen(any_port());
    let address = socket.local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let manager = UnixDatagram::bind(folder.path().join("manager")).unwrap();
    manager.set_read_timeout(Some(DEADLINE)).unwrap();
    let await_told = |wanted: &str| loop {
        let mut buffer = [0; 1024];
        let count = manager.recv(&mut buffer).unwrap_or_else(|error| panic!("{wanted}: {error}"));
        if String::from_utf8_lossy(&buffer[..count]).starts_with(wanted) {
            return;
        }
    };
    let text = text("workers = 2", &[&address.to_string()], backend);
    let mut ringway = Upgradable::start_by(&text, |program, file| {
        let mut command = Command::new("sh");
        command.args(["-c", MANAGER, "sh"]).args([program, file]);
        command.env("NOTIFY_SOCKET", folder.path().join("manager")).env("WATCHDOG_USEC", "1000000");
        Process::start_between(command, socket.try_clone().map(OwnedFd::from).unwrap().into(), Stdio::null())
    });
    let load = Load::on(address, 2);
    await_told("WATCHDOG=1");
    let new = ringway.upgrade(ringway.process.id());
    await_told(&format!("MAINPID={new}"));
    assert!(ringway.process.await_exit().success());
    load.await_more(50);
    await_told("WATCHDOG=1");
    load.finish();
    signal(new, "TERM");
    await_that("the new one ends", || ringway.processes().is_empty());
    drop(TcpStream::connect(address).expect("the socket is the manager's, and still there"));
}

#[test]
fn a_unix_socket_is_handed_over_under_load_and_its_file_goes_with_the_last_process() {
    use std::os::unix::net::UnixStream;
    let backend = echo_for_many();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in");
    let bind = format!("unix:{}", path.display());
    let mut ringway = Upgradable::start(&text("workers = 2", &["127.0.0.1:0", &bind], backend));
    let (is_over, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (over, count, at) = (Arc::clone(&is_over), Arc::clone(&served), path.clone());
    let load = thread::spawn(move || {
        while !over.load(Ordering::SeqCst) {
            let mut client = UnixStream::connect(&at).unwrap();
            client.set_read_timeout(Some(DEADLINE)).unwrap();
            client.write_all(b"hello").unwrap();
            let mut back = [0; 5];
            client.read_exact(&mut back).unwrap();
            assert_eq!(&back, b"hello");
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    let await_more = || {
        let wanted = served.load(Ordering::SeqCst) + 100;
        await_that("the load is served", || {
            assert!(!load.is_finished(), "a client has failed");
            served.load(Ordering::SeqCst) >= wanted
        });
    };
    await_more();
    // One that fails takes nothing with it.
    ringway.install_script("exit 3");
    ringway.fail();
    await_more();
    ringway.install_ringway();
    let new = ringway.upgrade(ringway.process.id());
    await_more();
    let status = ringway.process.await_exit();
    assert!(status.success(), "{status}: {}", ringway.process.errors());
    await_more();
    is_over.store(true, Ordering::SeqCst);
    load.join().unwrap();
    assert!(path.exists(), "the new one serves there");
    signal(new, "TERM");
    await_that("the new one ends", || ringway.processes().is_empty());
    assert!(!path.exists());
}

#[test]
fn every_port_of_a_range_is_handed_over_and_so_is_a_listener_of_mptcp() {
    if !is_in_a_network_of_its_own(
        "upgrading::every_port_of_a_range_is_handed_over_and_so_is_a_listener_of_mptcp",
    ) {
        return;
    }
    let backend = echo_for_many();
    let binds = ["127.0.0.1:9000", "127.0.0.1:8000-8003"];
    let text = text("workers = 2", &binds, backend)
        .replace("bind = '127.0.0.1:9000'\n", "bind = '127.0.0.1:9000'\nsocket.mptcp = true\n");
    let mut ringway = Upgradable::start(&text);
    let ports = [8000, 8001, 8002, 8003, 9000];
    let served = |port: u16| {
        let socket = socket2::Socket::new(
            socket2::Domain::IPV4,
            socket2::Type::STREAM,
            Some(socket2::Protocol::MPTCP),
        );
        let socket = socket.unwrap();
        socket.connect(&SocketAddr::from(([127, 0, 0, 1], port)).into()).unwrap();
        let mut client = with_deadline(socket.into());
        assert_echo(&mut client, b"hello");
        client
    };
    let held = ports.map(served);
    let loads = ports.map(|port| Load::on(([127, 0, 0, 1], port).into(), 1));
    let mut serving = ringway.process.id();
    for _ in 0..2 {
        loads.iter().for_each(|load| load.await_more(20));
        serving = ringway.upgrade(serving);
        loads.iter().for_each(|load| load.await_more(20));
    }
    let mut again = ports.map(served);
    let ends = ports.map(|port| mptcp(&format!("sport = {port}")));
    assert_eq!(ends, [0, 0, 0, 0, 2], "those of before and of now");
    drop(held);
    assert!(ringway.process.await_exit().success(), "{}", ringway.process.errors());
    again.iter_mut().for_each(|client| assert_echo(client, b"and on"));
    loads.into_iter().for_each(|load| assert!(load.finish() >= 80));
    drop(again);
    signal(serving, "TERM");
    await_that("the last one ends", || ringway.processes().is_empty());
}
