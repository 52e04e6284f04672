//! Command: runs a program; its exit status 0 is a pass.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStderr, Command};

use crate::config::Address;
use crate::{net, notify};

use super::expect::shown;
use super::{Finding, Obstacle, Target, failed};

/// How much of what a program says is kept: its first line is shown.
const STDERR_MAX: usize = 4096;

/// One look, in this time.
pub(super) async fn look(words: &[String], target: &Target, timeout: Duration) -> Result<Finding, Obstacle> {
    let mut group = spawn(words, target)?;
    let stderr = group.0.stderr.take().expect("it is piped");
    let mut said = Vec::new();
    let ended = tokio::time::timeout(timeout, wait(&mut group.0, stderr, &mut said)).await;
    match ended {
        Ok(status) => judge(status?, &said),
        Err(_) => {
            group.kill().await;
            failed(format_args!("no exit within {timeout:?}{}", first_line(&said)))
        }
    }
}

/// In a process group of its own, so that all it starts can be ended with it.
fn spawn(words: &[String], target: &Target) -> Result<Group, Obstacle> {
    let (program, arguments) =
        words.split_first().ok_or_else(|| Obstacle::Backend("no command is given".into()))?;
    let (address, port) = match target.address {
        Address::Ip(address) => (address.ip().to_string(), address.port().to_string()),
        unix @ Address::Unix(_) => (unix.to_string(), String::new()),
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("RINGWAY_BACKEND_NAME", &*target.name)
        .env("RINGWAY_BACKEND_ADDRESS", address)
        .env("RINGWAY_BACKEND_PORT", port)
        .env("RINGWAY_POOL", &target.pool)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0);
    // What it says to the service manager would be taken for ours.
    for name in notify::VARIABLES {
        command.env_remove(name);
    }
    let child = command.spawn();
    child.map(Group).map_err(|error| match error.kind() {
        // No process, no memory, no descriptor: this machine's own shortage.
        io::ErrorKind::WouldBlock => Obstacle::Machine(error),
        _ if net::is_shortage(&error) => Obstacle::Machine(error),
        _ => Obstacle::Backend(format!("{} cannot be run: {error}", shown(program.as_bytes()))),
    })
}

/// Until it exits. Reads what it says meanwhile: a program must not wait for a reader.
async fn wait(child: &mut Child, mut stderr: ChildStderr, said: &mut Vec<u8>) -> io::Result<ExitStatus> {
    let mut buffer = [0; 1024];
    loop {
        tokio::select! {
            // What it said last first: it has been written before the exit.
            biased;
            read = stderr.read(&mut buffer) => match read {
                Ok(count) if count > 0 => {
                    let room = STDERR_MAX - said.len();
                    said.extend_from_slice(&buffer[..count.min(room)]);
                }
                // All who could say something have closed it.
                Ok(_) | Err(_) => return child.wait().await,
            },
            // It may have left somebody behind who still has its standard error: nobody waits for that one.
            status = child.wait() => return status,
        }
    }
}

fn judge(status: ExitStatus, said: &[u8]) -> Result<Finding, Obstacle> {
    if status.success() { Ok(Finding::Passed) } else { failed(format_args!("{status}{}", first_line(said))) }
}

/// The first line that is not empty, for the end of a sentence.
fn first_line(said: &[u8]) -> String {
    let line = said.split(|&byte| byte == b'\n').find(|line| !line.trim_ascii().is_empty());
    line.map(|line| format!(": {}", shown(line.trim_ascii()))).unwrap_or_default()
}

/// A process and all that it started, for as long as it has not exited. Ended by drop.
struct Group(Child);

impl Group {
    /// Ends them all and takes the first one's exit status, so that it does not stay as a zombie.
    async fn kill(mut self) {
        self.signal();
        let _ = self.0.wait().await;
    }

    fn signal(&self) {
        // There is a number until the exit status has been taken: until then it belongs to nobody else.
        if let Some(leader) = self.0.id() {
            net::kill_group(leader);
        }
    }
}

impl Drop for Group {
    /// Only when the thread ends meanwhile is there anybody left. They die at once; take the exit status, so that no zombie
    /// stays in a process that goes on.
    fn drop(&mut self) {
        const PATIENCE: u32 = 50;
        self.signal();
        for _ in 0..PATIENCE {
            if self.0.id().is_none() || !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
