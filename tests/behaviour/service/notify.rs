//! A manager of the tests' own, which listens where the real one would.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use crate::common::*;
use crate::process::{Process, ringway, run_file_as};

/// What would be systemd.
struct Manager {
    socket: UnixDatagram,
    name: String,
}

impl Manager {
    /// In the file system, or beside it.
    fn at(name: String) -> Manager {
        let socket = match name.strip_prefix('@') {
            Some(abstract_name) => {
                UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(abstract_name).unwrap())
            }
            None => UnixDatagram::bind(&name),
        };
        let socket = socket.unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Manager { socket, name }
    }

    fn named(name: &str) -> Manager {
        Manager::at(format!("@ringway-test-{name}-{}", std::process::id()))
    }

    /// A ringway that believes itself started by this manager.
    fn start(&self, watchdog_ms: u64) -> (Process, TestBackend) {
        let mut command = ringway();
        command.env("NOTIFY_SOCKET", &self.name);
        if watchdog_ms > 0 {
            command.env("WATCHDOG_USEC", (watchdog_ms * 1000).to_string());
        }
        let backend = TestBackend::echo();
        (run_file_as(command, "workers = 2", backend.address), backend)
    }

    /// The next message.
    fn told(&self) -> String {
        let mut buffer = [0; 4096];
        let count = self.socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..count].to_vec()).unwrap()
    }

    /// The next message that begins like this; others are passed over.
    fn await_told(&self, begins: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let told = self.told();
            if told.starts_with(begins) {
                return told;
            }
            assert!(Instant::now() < deadline, "not told: {begins}");
        }
    }

    /// What comes within this time.
    fn hears(&self, within: Duration) -> Option<String> {
        let mut buffer = [0; 4096];
        self.socket.set_read_timeout(Some(within.max(Duration::from_millis(1)))).unwrap();
        let count = self.socket.recv(&mut buffer).ok();
        self.socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Some(String::from_utf8(buffer[..count?].to_vec()).unwrap())
    }
}

#[test]
fn the_manager_is_told_of_the_start_when_clients_are_served_and_of_the_end_when_it_begins() {
    let folder = tempfile::tempdir().unwrap();
    for manager in
        [Manager::named("start"), Manager::at(folder.path().join("manager").to_str().unwrap().to_owned())]
    {
        let (process, _backend) = manager.start(0);
        assert_eq!(manager.told(), "READY=1\nSTATUS=2 workers, 0 sessions, 1 of 1 backends up");
        let mut client = process.connect();
        assert_echo(&mut client, b"served");
        // The status follows, by itself.
        assert_eq!(manager.told(), "STATUS=2 workers, 1 sessions, 1 of 1 backends up");
        process.signal("TERM");
        // 30 s for the drain, and some for what is left then.
        let stopping = "STOPPING=1\nEXTEND_TIMEOUT_USEC=34000000\nSTATUS=draining, 1 sessions are left";
        assert_eq!(manager.told(), stopping);
        assert_echo(&mut client, b"still served");
        drop(client);
        process.stop_after_signal();
    }
}

#[test]
fn signs_of_life_come_also_while_it_drains() {
    let manager = Manager::named("drain");
    let (process, _backend) = manager.start(40);
    let mut client = process.connect();
    assert_echo(&mut client, b"served");
    manager.await_told("WATCHDOG=1");
    process.signal("TERM");
    manager.await_told("STOPPING=1");
    for _ in 0..5 {
        manager.await_told("WATCHDOG=1");
    }
    assert_echo(&mut client, b"still served");
    drop(client);
    process.stop_after_signal();
}

#[test]
fn a_worker_that_stands_still_is_named_and_the_signs_of_life_stay_away_until_it_moves() {
    let manager = Manager::named("stuck");
    let (process, _backend) = manager.start(40);
    manager.await_told("WATCHDOG=1");
    let stuck = Pid::from_raw(process.thread("worker-1"));
    // As a debugger does: this thread stops, and the others go on.
    ptrace::seize(stuck, ptrace::Options::empty()).unwrap();
    ptrace::interrupt(stuck).unwrap();
    waitpid(stuck, Some(WaitPidFlag::__WALL)).unwrap();
    await_that("the worker is missed", || process.errors().contains("the worker stands still"));
    let errors = process.errors();
    let line = errors.lines().find(|line| line.contains("stands still")).unwrap();
    assert!(line.contains("worker=1") && line.contains("will restart us"), "{line}");
    // Those from before may still lie there; after them would come fifteen.
    while manager.hears(Duration::ZERO).is_some() {}
    assert!(!manager.hears(Duration::from_millis(300)).is_some_and(|told| told.starts_with("WATCHDOG")));
    ptrace::detach(stuck, None).unwrap();
    await_that("it is told that it moves", || process.errors().contains("the worker moves again"));
    manager.await_told("WATCHDOG=1");
    process.stop();
}

#[test]
fn a_manager_that_cannot_be_reached_is_a_line_in_the_log() {
    for (name, why) in [("/nowhere/manager", "No such file"), ("vsock:2:1", "neither an absolute path")] {
        let mut command = ringway();
        command.env("NOTIFY_SOCKET", name);
        let backend = TestBackend::echo();
        let process = run_file_as(command, "", backend.address);
        assert_echo(&mut process.connect(), b"served all the same");
        await_that("it says so", || process.errors().contains(why));
        process.stop();
    }
}
