//! What the log looks like when journald reads it.

use std::process::Command;

use crate::common::*;
use crate::process::run_file_as;

/// The lines of a start, with `JOURNAL_STREAM` as this makes it in a shell.
fn lines(stream: &str) -> Vec<String> {
    let backend = TestBackend::echo();
    let mut command = Command::new("sh");
    command.args(["-c", &format!("JOURNAL_STREAM={stream} exec \"$0\" \"$@\"")]);
    command.arg(env!("CARGO_BIN_EXE_ringway"));
    let process = run_file_as(command, "workers = 1", backend.address);
    assert_echo(&mut process.connect(), b"served");
    let lines = process.errors().lines().map(str::to_owned).collect();
    process.stop();
    lines
}

#[test]
fn lines_for_the_journal_begin_with_their_level_and_leave_the_time_to_it() {
    let lines = lines("$(stat -L -c %d:%i /dev/stderr)");
    assert!(lines.iter().any(|line| line.starts_with("<6>listening listener=")), "{lines:#?}");
    assert!(lines.iter().all(|line| line.starts_with("<6>") || line.starts_with("<4>")), "{lines:#?}");
}

#[test]
fn who_has_inherited_the_variable_and_writes_elsewhere_writes_the_time() {
    for stream in ["1:2", "$(stat -L -c %d:1 /dev/stderr)", "nonsense", "''"] {
        let lines = lines(stream);
        assert!(
            lines.iter().any(|line| line.contains("Z  INFO listening listener=")),
            "{stream}: {lines:#?}"
        );
        assert!(!lines.iter().any(|line| line.starts_with('<')), "{stream}: {lines:#?}");
    }
}
