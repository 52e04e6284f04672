//! Which cores a process runs on, and that it ends with the one that started it.

use std::{
    ffi::OsString,
    io,
    os::unix::process::CommandExt,
    process::{self, Command},
};

use rustix::{
    process::{Pid, Signal, getppid, set_parent_process_death_signal},
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

/// The two cores of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cores {
    /// Of the proxies.
    pub(crate) proxy: usize,
    /// Of generator and backends.
    pub(crate) other: usize,
}

/// The cores that this process may use.
pub(crate) fn allowed() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect())
}

/// Keeps this thread, and all that come from it, on these cores.
pub(crate) fn pin(cores: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    cores.iter().for_each(|core| set.set(*core));
    Ok(sched_setaffinity(None, &set)?)
}

/// A program to be run on some cores, by way of this binary: see [`Pinned::become_it`].
#[derive(Debug)]
pub(crate) struct Pinned {
    /// Where it runs.
    pub(crate) cores: Vec<usize>,
    /// Who started it.
    pub(crate) parent: u32,
    /// The program and its arguments.
    pub(crate) command: Vec<OsString>,
}

impl Pinned {
    /// What to start, for a child of this process.
    pub(crate) fn command(cores: &[usize], program: impl Into<OsString>) -> io::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        let cores: Vec<_> = cores.iter().map(usize::to_string).collect();
        command.arg("pinned").args([cores.join(","), process::id().to_string()]).arg(program.into());
        // A group of its own: an interrupt from the terminal comes to us alone, and we end the others in order.
        command.process_group(0);
        Ok(command)
    }

    /// Turns this process into the program, which gets SIGTERM when the thread that started it ends. Returns only with
    /// an error.
    pub(crate) fn become_it(&self) -> io::Error {
        match self.prepare() {
            Ok(()) => Command::new(&self.command[0]).args(&self.command[1..]).exec(),
            Err(error) => error,
        }
    }

    fn prepare(&self) -> io::Result<()> {
        pin(&self.cores)?;
        set_parent_process_death_signal(Some(Signal::TERM))?;
        // It may have ended before the line above.
        let parent = getppid().map(Pid::as_raw_pid);
        if parent.and_then(|parent| u32::try_from(parent).ok()) == Some(self.parent) {
            Ok(())
        } else {
            Err(io::Error::other("the process that asked for it has ended"))
        }
    }
}
