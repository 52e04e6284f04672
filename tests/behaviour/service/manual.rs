//! What a package installs beside the command.

use std::fs;
use std::process::{Command, Output};

fn ringway(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringway")).args(args).output().unwrap()
}

#[test]
fn the_manual_is_printed_or_written_where_it_is_wanted() {
    let printed = ringway(&["man"]);
    assert!(printed.status.success());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("share");
    assert!(ringway(&["man", "--folder", path.to_str().unwrap()]).status.success());
    assert_eq!(fs::read(path.join("man1/ringway.1")).unwrap(), printed.stdout);
    for page in ["man1/ringway-run.1", "man1/ringway-check.1", "man5/ringway.toml.5"] {
        assert!(fs::metadata(path.join(page)).unwrap().len() > 500, "{page}");
    }
    let refused = ringway(&["man", "--folder", "/dev/null"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("/dev/null/man1/ringway.1: cannot be written"));
}

#[test]
fn a_shell_takes_the_completions_that_are_made_for_it() {
    let completions = ringway(&["completions", "bash"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ringway");
    fs::write(&file, completions.stdout).unwrap();
    // As bash does it when somebody types `ringway dem` and the tab key.
    let script = "source \"$1\"; COMP_WORDS=(ringway dem); COMP_CWORD=1; _ringway ringway dem ringway; echo \"${COMPREPLY[@]}\"";
    let output = Command::new("bash").args(["-c", script, "bash"]).arg(&file).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "demo", "{output:?}");
    let error = ringway(&["completions", "tcsh"]);
    assert_eq!(error.status.code(), Some(2));
}
