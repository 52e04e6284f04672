//! Cycles and instructions of a process, where the machine counts them: by way of `perf stat`.

use std::{
    io,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use rustix::process::Signal;
use serde::Serialize;

use crate::{
    interrupt::Stop,
    pinning::Pinned,
    process::{Output, Process},
};

/// What was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Counts {
    pub(super) cycles_user: u64,
    pub(super) cycles_kernel: u64,
    pub(super) instructions_user: u64,
    pub(super) instructions_kernel: u64,
}

impl Counts {
    pub(super) fn cycles(&self) -> u64 {
        self.cycles_user + self.cycles_kernel
    }

    pub(super) fn instructions(&self) -> u64 {
        self.instructions_user + self.instructions_kernel
    }
}

/// Whether this machine counts, and if not, why not.
pub(super) fn probe(perf: Option<&Path>) -> Result<(), String> {
    let perf = perf.ok_or("perf is not installed (package linux-perf)")?;
    let output = Command::new(perf)
        .args(["stat", "-x", ",", "-e", EVENTS, "true"])
        .output()
        .map_err(|error| format!("perf does not start: {error}"))?;
    read(&String::from_utf8_lossy(&output.stderr)).map(|_| ())
}

/// Counting that goes on until it is ended.
#[derive(Debug)]
pub(super) struct Counting {
    perf: Process,
    file: PathBuf,
}

impl Counting {
    /// Counts what these processes do from now on.
    pub(super) fn start(perf: &Path, core: usize, pids: &[u32], folder: &Path) -> io::Result<Self> {
        let file = folder.join("perf.csv");
        let pids = pids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        let mut command = Pinned::command(&[core], perf)?;
        command.args(["stat", "-x", ",", "-e", EVENTS, "-p", &pids, "-o"]).arg(&file);
        let perf = Process::start("perf", command, folder.join("perf.log"), Output::ToLog)?;
        // It does not say when it has begun.
        thread::sleep(BEGINS_WITHIN);
        Ok(Self { perf, file })
    }

    /// What was counted since.
    pub(super) fn end(self, stop: &Stop) -> io::Result<Result<Counts, String>> {
        self.perf.signal(Signal::INT);
        self.perf.wait(ENDS_WITHIN, stop)?;
        Ok(read(&std::fs::read_to_string(&self.file)?))
    }
}

/// Reads what `perf stat -x ,` writes: count, unit, event, and more that is of no interest here.
fn read(text: &str) -> Result<Counts, String> {
    let count = |event: &str| {
        let field = text.lines().find_map(|line| {
            let mut fields = line.split(',');
            let (count, _unit, name) = (fields.next()?, fields.next()?, fields.next()?);
            (name == event).then_some(count)
        });
        match field {
            None => Err(format!("perf says nothing of {event}")),
            Some(count) => count.parse().map_err(|_| format!("perf says {count} of {event}")),
        }
    };
    Ok(Counts {
        cycles_user: count("cycles:u")?,
        cycles_kernel: count("cycles:k")?,
        instructions_user: count("instructions:u")?,
        instructions_kernel: count("instructions:k")?,
    })
}

const EVENTS: &str = "cycles:u,cycles:k,instructions:u,instructions:k";
const BEGINS_WITHIN: Duration = Duration::from_millis(300);
const ENDS_WITHIN: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_by_the_name_of_their_event() {
        let text = "# started on Wed Nov 25\n\n2000,,cycles:u,55,100.00,,\n7000,,cycles:k,55,100.00,,\n\
                    1500,,instructions:u,55,100.00,0.75,insn per cycle\n\
                    9000,,instructions:k,55,100.00,1.29,insn per cycle\n";
        let counts = read(text).unwrap();
        assert_eq!((counts.cycles(), counts.instructions()), (9000, 10_500));
    }

    #[test]
    fn a_machine_that_does_not_count_says_so() {
        let text = "<not supported>,,cycles:u,0,100.00,,\n<not supported>,,cycles:k,0,100.00,,\n";
        assert_eq!(read(text).unwrap_err(), "perf says <not supported> of cycles:u");
        assert_eq!(read("").unwrap_err(), "perf says nothing of cycles:u");
    }
}
