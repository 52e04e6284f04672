//! The real command as a process: signals, limits of the system, exit status, what it prints.

mod life;
mod premises;
mod shortage;

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

/// Changes a limit of a running process.
pub(super) fn limit(process: &Process, what: &str) {
    let status = Command::new("prlimit").args(["--pid", &process.child.id().to_string(), what]).status();
    assert!(status.expect("prlimit of util-linux").success());
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

pub(super) const REGISTER: i64 = 427;
