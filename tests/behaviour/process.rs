//! The real command as a process: signals, limits of the system, exit status, what it prints.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::common::*;

/// A running ringway. It is killed when a test fails.
pub(super) struct Process {
    child: Child,
    address: SocketAddr,
    output: Arc<Mutex<String>>,
    errors: Arc<Mutex<String>>,
}

pub(super) fn ringway() -> Command {
    Command::new(env!("CARGO_BIN_EXE_ringway"))
}

/// `ringway run` with a file: this is its `[server]`, the rest is one listener on a free port over one backend that is not
/// checked.
pub(super) fn run_file(server: &str, backend: SocketAddr) -> Process {
    run_file_as(ringway(), server, backend)
}

/// The same, by a command that ends with ringway's own.
pub(super) fn run_file_as(command: Command, server: &str, backend: SocketAddr) -> Process {
    Process::with_tables(command, &format!("[server]\n{server}"), backend)
}

/// The same, with these tables in place of `[server]`.
pub(super) fn run_file_with(tables: &str, backend: SocketAddr) -> Process {
    Process::with_tables(ringway(), tables, backend)
}

/// A file with these tables, one listener and one backend that is not checked; it goes with its folder.
fn file_with(tables: &str, backend: SocketAddr) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ringway.toml");
    let text = format!(
        "{tables}\n[[listener]]\nname = 'a'\nbind = '127.0.0.1:0'\npool = 'p'\n[[pool]]\nname = 'p'\n\
         [pool.health]\ncheck = 'none'\n[[pool.backend]]\naddress = '{backend}'\n"
    );
    fs::write(&file, text).unwrap();
    // Whoever ringway is to be.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    (folder, file)
}

/// The same, at these addresses, as in a file.
pub(super) fn run_listening_as(
    mut command: Command,
    server: &str,
    bind: &str,
    backend: SocketAddr,
) -> Process {
    let file = write_file(server, bind, backend);
    command.args(["run", "--config"]).arg(file.path());
    Process::start(command)
}

/// A file with this `[server]` and one listener there over one backend that is not checked.
pub(super) fn write_file(server: &str, bind: &str, backend: SocketAddr) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    let text = format!(
        "[server]\n{server}\n[[listener]]\nname = 'a'\nbind = {bind}\npool = 'p'\n[[pool]]\nname = 'p'\n\
         [pool.health]\ncheck = 'none'\n[[pool.backend]]\naddress = '{backend}'\n"
    );
    fs::write(file.path(), text).unwrap();
    // Whoever ringway is to be.
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644)).unwrap();
    file
}

/// `ringway run` on a free port over these backends, with these flags.
fn run(backends: &[SocketAddr], flags: &[&str]) -> Process {
    let mut command = ringway();
    add_run(&mut command, "127.0.0.1:0", backends, flags);
    Process::start(command)
}

fn add_run(command: &mut Command, listen: &str, backends: &[SocketAddr], flags: &[&str]) {
    command.args(["run", "--listen", listen]).args(flags);
    for backend in backends {
        command.args(["--backend", &backend.to_string()]);
    }
}

impl Process {
    /// A command that ends with ringway's own, with a file of these tables, one listener and one backend.
    pub(super) fn with_tables(mut command: Command, tables: &str, backend: SocketAddr) -> Process {
        let (_folder, file) = file_with(tables, backend);
        command.args(["run", "--config"]).arg(&file);
        Process::start(command)
    }

    /// The same for ringway itself; what it prints goes here.
    pub(super) fn with_output(tables: &str, backend: SocketAddr, output: impl Into<Stdio>) -> Process {
        let (_folder, file) = file_with(tables, backend);
        let mut command = ringway();
        command.args(["run", "--config"]).arg(&file);
        Process::start_between(command, Stdio::null(), output.into())
    }

    pub(super) fn start(command: Command) -> Process {
        Process::start_between(command, Stdio::null(), Stdio::piped())
    }

    /// With this standard input and output.
    pub(super) fn start_between(mut command: Command, input: Stdio, output: Stdio) -> Process {
        let mut child = command.stdin(input).stdout(output).stderr(Stdio::piped()).spawn().unwrap();
        // Descriptors that it was given are its own from now on.
        drop(command);
        let output = child.stdout.take().map(|stdout| collect(BufReader::new(stdout))).unwrap_or_default();
        let errors = collect::<ChildStderr>(BufReader::new(child.stderr.take().unwrap()));
        let mut process = Process { child, address: any_port(), output, errors };
        await_that("ringway is ready", || {
            if let Some(status) = process.child.try_wait().unwrap() {
                panic!("it ended with {status}: {}", process.errors.lock().unwrap());
            }
            process.errors.lock().unwrap().contains("is ready")
        });
        let text = process.errors();
        let line = text.lines().find(|line| line.contains("listening")).unwrap();
        let address = line.split("address=").nth(1).unwrap().split_whitespace().next().unwrap();
        process.address = address.parse().unwrap();
        process
    }

    pub(super) fn connect(&self) -> TcpStream {
        connect(self.address)
    }

    pub(super) fn errors(&self) -> String {
        self.errors.lock().unwrap().clone()
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until it has ended, whoever else still writes to the same place.
    pub(super) fn await_exit(&mut self) -> ExitStatus {
        await_exit(&mut self.child)
    }

    pub(super) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub(super) fn output(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    pub(super) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    pub(super) fn wait(&mut self) -> ExitStatus {
        let status = await_exit(&mut self.child);
        // What it wrote last may still be in the pipes.
        await_that("its output ends", || {
            Arc::strong_count(&self.output) == 1 && Arc::strong_count(&self.errors) == 1
        });
        status
    }

    /// Ends it in order; returns what it printed.
    pub(super) fn stop(self) -> String {
        self.signal("TERM");
        self.stop_after_signal()
    }

    /// Waits for the end that has been asked for, in order; returns what it printed.
    pub(super) fn stop_after_signal(mut self) -> String {
        let status = self.wait();
        assert!(status.success(), "{status}: {}", self.errors());
        self.output()
    }

    /// Ends it, whoever reads what it prints.
    pub(super) fn end(mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }

    pub(super) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    pub(super) fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// The totals as they are now.
    pub(super) fn totals(&self) -> String {
        self.line("sessions:")
    }

    /// The line that begins like this, as it is printed now.
    fn line(&self, begins: &str) -> String {
        let is_it = |line: &&str| line.starts_with(begins);
        let told = |output: &str| output.lines().filter(is_it).count();
        let before = told(&self.output());
        self.signal("USR1");
        await_that("it tells its totals", || told(&self.output()) > before);
        self.output().lines().rfind(is_it).unwrap().to_owned()
    }

    /// What has been recorded as of now: sessions written and lost.
    pub(super) fn recorded(&self) -> (u64, u64) {
        recorded(&self.line("recorded: "))
    }

    /// What became of the lines of the access log as of now: those written and those dropped.
    pub(super) fn logged(&self) -> (u64, u64) {
        logged(&self.line("access log: "))
    }

    /// What the kernel says of each thread (`/proc/PID/task/TID/status`).
    pub(super) fn thread_statuses(&self) -> Vec<String> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        // One may have ended meanwhile.
        tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("status")).ok()).collect()
    }

    /// The number of the thread with this name.
    pub(super) fn thread(&self, name: &str) -> i32 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let mut tasks = tasks.map(|task| task.unwrap().path());
        let is_it = |task: &std::path::PathBuf| {
            fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name)
        };
        tasks.find(is_it).unwrap().file_name().unwrap().to_str().unwrap().parse().unwrap()
    }

    fn thread_names(&self) -> Vec<String> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok()).collect()
    }

    /// Processor time used so far, in ticks of 10 ms.
    fn ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }
}

/// Sessions written and lost, by what was printed last.
pub(super) fn recorded(output: &str) -> (u64, u64) {
    two_numbers(output, "recorded: ")
}

/// Lines written and dropped, by what was printed last.
pub(super) fn logged(output: &str) -> (u64, u64) {
    two_numbers(output, "access log: ")
}

fn two_numbers(output: &str, begins: &str) -> (u64, u64) {
    let line = output.lines().rfind(|line| line.starts_with(begins)).unwrap();
    let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    (numbers[0], numbers[1])
}

/// Waits until a process has ended; kills nobody.
pub(super) fn await_exit(child: &mut Child) -> ExitStatus {
    let mut status = None;
    await_that("it exits", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    status.unwrap()
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect<R: Read + Send + 'static>(reader: BufReader<R>) -> Arc<Mutex<String>>
where
    BufReader<R>: BufRead,
{
    let text = Arc::new(Mutex::new(String::new()));
    let own = Arc::clone(&text);
    thread::spawn(move || {
        for line in reader.lines().map_while(Result::ok) {
            let mut text = own.lock().unwrap();
            text.push_str(&line);
            text.push('\n');
        }
    });
    text
}

/// Runs a command that is expected to end by itself, soon.
pub(super) fn outcome(command: Command) -> (ExitStatus, String, Duration) {
    outcome_between(command, Stdio::null())
}

/// The same, with this standard input.
pub(super) fn outcome_between(mut command: Command, input: Stdio) -> (ExitStatus, String, Duration) {
    let begun = Instant::now();
    let child = command.stdin(input).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut process = Process { child, address: any_port(), output: Arc::default(), errors: Arc::default() };
    process.errors = collect(BufReader::new(process.child.stderr.take().unwrap()));
    let status = process.wait();
    (status, process.errors(), begun.elapsed())
}

#[test]
fn sigterm_under_load_loses_no_byte_of_a_running_session() {
    const SIZE: usize = 16 * 1024 * 1024;
    let backend = TestBackend::new(|mut stream| {
        stream.read_exact(&mut [0; 2]).unwrap();
        stream.write_all(&Noise::new(5).bytes(SIZE)).unwrap();
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
            thread::spawn(move || {
                assert!(
                    read_all(&mut client) == Noise::new(5).bytes(SIZE)[1..],
                    "bytes were lost or altered"
                );
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
    let mut first = run(&[backend.address], &[]);
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

/// Changes a limit of a running process.
pub(super) fn limit(process: &Process, what: &str) {
    let status = Command::new("prlimit").args(["--pid", &process.child.id().to_string(), what]).status();
    assert!(status.expect("prlimit of util-linux").success());
}

#[test]
fn without_descriptors_accepting_pauses_and_nobody_is_lost() {
    let backend = TestBackend::echo();
    let process = run(&[backend.address], &["--workers", "1", "--sessions-max", "1000"]);
    let mut running = process.connect();
    assert_echo(&mut running, b"before");
    // Room for some of those to come, and not for all.
    limit(&process, &format!("--nofile={0}:20000", process.descriptors() + 20));
    let mut clients: Vec<TcpStream> = (0..100).map(|_| process.connect()).collect();
    for client in &mut clients {
        client.write_all(b"please").unwrap();
    }
    await_that("it says so", || process.errors().contains("accepting pauses"));
    let (before, begun) = (process.ticks(), Instant::now());
    while begun.elapsed() < Duration::from_secs(1) {
        assert_echo(&mut running, b"running sessions go on");
        thread::sleep(Duration::from_millis(20));
    }
    let used = process.ticks() - before;
    assert!(used < 50, "{used} of 100 ticks were burnt while waiting: it spins");
    assert!(process.errors().matches("accepting pauses").count() < 10, "the log is flooded");
    limit(&process, "--nofile=20000:20000");
    for client in &mut clients {
        let mut answer = [0; 6];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"please");
    }
    assert_echo(&mut process.connect(), b"after");
    drop((running, clients));
    process.stop();
}

#[test]
fn more_sessions_than_descriptors_are_refused_with_the_bound() {
    let mut command = Command::new("prlimit");
    command.arg("--nofile=500:500").arg(env!("CARGO_BIN_EXE_ringway"));
    add_run(&mut command, "127.0.0.1:0", &["127.0.0.1:9".parse().unwrap()], &["--sessions-max", "1000"]);
    let (status, errors, _) = outcome(command);
    assert_eq!(status.code(), Some(1));
    assert!(errors.contains("the limit on open files is too low: 500"), "{errors}");
    assert!(errors.contains("--sessions-max) to at most"), "{errors}");
}

/// Refuses these io_uring system calls to the calling thread and to what it starts.
pub(super) fn refuse(calls: &[i64], errno: i32) {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
    let rules = calls.iter().map(|&call| (call, Vec::new())).collect();
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(errno as u32),
        std::env::consts::ARCH.try_into().unwrap(),
    );
    let program: BpfProgram = filter.unwrap().try_into().unwrap();
    seccompiler::apply_filter(&program).unwrap();
}

const SETUP: i64 = 425;
const ENTER: i64 = 426;
pub(super) const REGISTER: i64 = 427;

/// Runs ringway where these calls are refused.
fn outcome_without(calls: &'static [i64], errno: i32) -> (ExitStatus, String, Duration) {
    // A filter can not be taken off again: it goes with a thread of its own, and what that starts inherits it.
    let confined = move || {
        refuse(calls, errno);
        let mut command = ringway();
        add_run(&mut command, "127.0.0.1:0", &["127.0.0.1:9".parse().unwrap()], &[]);
        outcome(command)
    };
    thread::spawn(confined).join().unwrap()
}

#[test]
fn without_io_uring_it_says_why_and_how_to_allow_it() {
    for (calls, errno, call) in [
        (&[SETUP, ENTER, REGISTER][..], libc::EPERM, "io_uring_setup"),
        (&[SETUP, ENTER, REGISTER][..], libc::ENOSYS, "io_uring_setup"),
        (&[ENTER][..], libc::EPERM, "io_uring_enter"),
    ] {
        let calls: &'static [i64] = calls.to_vec().leak();
        let (status, errors, _) = outcome_without(calls, errno);
        assert_eq!(status.code(), Some(3), "{errors}");
        assert!(errors.contains(&format!("io_uring is not available ({call}: ")), "{errors}");
        assert!(errors.contains("seccomp"), "{errors}");
        assert_eq!(errors.lines().count(), 1, "one clear sentence: {errors}");
    }
}

#[test]
fn without_registration_plain_buffers_serve() {
    let backend = TestBackend::echo();
    let address = backend.address;
    let process = thread::spawn(move || {
        refuse(&[REGISTER], libc::EPERM);
        run(&[address], &[])
    });
    let process = process.join().unwrap();
    assert!(process.errors().contains("no buffers could be registered"), "{}", process.errors());
    assert_echo(&mut process.connect(), &Noise::new(11).bytes(300_000));
    assert!(process.stop().contains("1 complete"));
}

#[test]
fn with_little_locked_memory_fewer_buffers_are_registered() {
    // Root may lock what it likes, and so could this test: it becomes nobody for the command, from a place that
    // nobody can read. Who is not root already lives under the limit.
    let folder = tempfile::tempdir().unwrap();
    let binary = folder.path().join("ringway");
    fs::copy(env!("CARGO_BIN_EXE_ringway"), &binary).unwrap();
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let is_root =
        fs::metadata("/proc/self").map(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0).unwrap();
    for (memory, expected) in
        [(65_536, "no buffers could be registered"), (8_388_608, "of 1024 buffers of 16384 bytes and ")]
    {
        let mut command = Command::new("prlimit");
        command.arg(format!("--memlock={memory}:{memory}"));
        if is_root {
            command.args(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]);
        }
        command.arg(&binary);
        let backend = TestBackend::echo();
        add_run(&mut command, "127.0.0.1:0", &[backend.address], &["--workers", "1"]);
        let process = Process::start(command);
        assert!(process.errors().contains(expected), "{memory}: {}", process.errors());
        assert_echo(&mut process.connect(), &Noise::new(12).bytes(300_000));
        process.stop();
    }
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
