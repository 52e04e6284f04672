//! Where something was measured, and with what.

use std::{env, fs, io, path::Path, process::Command};

use rustix::system::uname;

/// Kernel, processor and how many of them.
pub(crate) fn describe() -> String {
    format!("{}; {}", kernel(), processor())
}

pub(crate) fn kernel() -> String {
    let system = uname();
    let [name, release, machine] = [system.sysname(), system.release(), system.machine()]
        .map(|part| part.to_string_lossy().into_owned());
    format!("{name} {release} {machine}")
}

pub(crate) fn processor() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let cpus = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    format!("{}, {cpus} cores", model.map_or("unknown", |(_, model)| model.trim()))
}

/// The command line of this process as it was typed, with quotes where a shell needs them.
pub(crate) fn command_line() -> String {
    let quoted = |word: String| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:@".contains(c);
        if !word.is_empty() && word.chars().all(plain) {
            word
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    };
    env::args().map(quoted).collect::<Vec<_>>().join(" ")
}

/// The first line that a program says of its version.
pub(crate) fn version(program: &Path) -> String {
    match Command::new(program).arg("--version").output() {
        Ok(output) => String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned(),
        Err(error) => format!("{} does not start: {error}", program.display()),
    }
}

/// Whether a ringway is there to be measured. Under `cargo run`, one that would stand beside this program and is not there
/// is built.
pub(crate) fn has(ringway: &Path) -> io::Result<()> {
    if ringway.is_file() {
        return Ok(());
    }
    let beside = env::current_exe()?.with_file_name("ringway");
    if let (Some(cargo), Some(manifest)) = (env::var_os("CARGO"), env::var_os("CARGO_MANIFEST_DIR"))
        && ringway == beside
    {
        eprintln!("ringway is not built yet: building it, which takes some minutes");
        let mut build = Command::new(cargo);
        build.current_dir(manifest).args(["build", "--package", "ringway"]);
        if beside.parent().is_some_and(|folder| folder.ends_with("release")) {
            build.arg("--release");
        }
        if build.status()?.success() && ringway.is_file() {
            return Ok(());
        }
    }
    Err(io::Error::other(format!(
        "{} is not there: build it with 'cargo build --release', or say where it is with --ringway",
        ringway.display()
    )))
}
