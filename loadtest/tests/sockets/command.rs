//! Starting the binary, and never waiting for it without end.

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Far longer than anything here takes: a test that needs it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A command under way; killed if the test ends first.
pub(crate) struct Running {
    child: Child,
    output: Receiver<(String, String)>,
}

/// What a command left behind.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `loadtest` with these arguments, separated by spaces.
pub(crate) fn loadtest(arguments: &str) -> Ran {
    start(arguments).wait()
}

pub(crate) fn start(arguments: &str) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(arguments.split_whitespace());
    Running::spawn(command)
}

/// Runs `loadtest` under limits set by this piece of shell.
pub(crate) fn loadtest_after(shell: &str, arguments: &str) -> Ran {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("{shell} && exec {} {arguments}", env!("CARGO_BIN_EXE_loadtest")));
    Running::spawn(command).wait()
}

impl Running {
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (send, output) = channel();
        let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        thread::spawn(move || {
            let stdout = thread::spawn(move || text(&mut out));
            let stderr = text(&mut err);
            let _ = send.send((stdout.join().unwrap(), stderr));
        });
        Self { child, output }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn wait(mut self) -> Ran {
        let (stdout, stderr) = self.output.recv_timeout(PATIENCE).expect("the command ends in time");
        Ran { code: self.child.wait().unwrap().code(), stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ran {
    /// The report that `--json` printed.
    pub(crate) fn report(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}{}", self.stdout, self.stderr))
    }
}

/// A count of a report, by its place.
pub(crate) fn count(report: &Value, pointer: &str) -> u64 {
    report.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("no {pointer} in {report:#}"))
}

/// A backend of `loadtest` itself.
pub(crate) struct Backend {
    child: Child,
    lines: Receiver<String>,
    pub(crate) address: SocketAddr,
}

impl Backend {
    /// Waits until it listens.
    pub(crate) fn start(arguments: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_loadtest"))
            .arg("backend")
            .args(arguments.split_whitespace())
            .args(["--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = channel();
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        let line = lines.recv_timeout(PATIENCE).expect("it says where it listens");
        let address = line.strip_prefix("listening on ").expect("it says where it listens").parse().unwrap();
        Self { child, lines, address }
    }

    /// Ends it with this signal, sees that it exits with 0, and gives the line of totals.
    pub(crate) fn end(mut self, signal: Signal) -> String {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        let totals = self.lines.recv_timeout(PATIENCE).expect("it prints its totals in time");
        // The pipe closes when the process ends.
        assert!(self.lines.recv_timeout(PATIENCE).is_err());
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        totals
    }

    /// As [`Backend::end`], the count of this name in the totals for each name.
    pub(crate) fn totals<const N: usize>(self, names: [&str; N]) -> [u64; N] {
        let totals = self.end(Signal::TERM);
        names.map(|name| {
            let count = totals.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            count.unwrap_or_else(|| panic!("no {name} in {totals}")).parse().unwrap()
        })
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(from: &mut impl Read) -> String {
    let mut text = String::new();
    from.read_to_string(&mut text).unwrap();
    text
}
