//! `ringway top` in a terminal: `script` makes one, and what a terminal would show is read off its output.

use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use ringway::table::Mode;

use super::{admin_of, administered};
use crate::common::*;

const LINES: u16 = 24;
const COLUMNS: u16 = 80;

/// A command in a terminal of its own. It is killed when a test fails.
struct Terminal {
    child: Child,
    keys: ChildStdin,
    screen: Arc<Mutex<vt100::Parser>>,
}

impl Terminal {
    /// By a shell, which first says how large the terminal is.
    fn run(shell: &str) -> Terminal {
        let mut child = Command::new("script")
            .args(["--quiet", "--return", "--command"])
            .arg(format!("stty rows {LINES} cols {COLUMNS}; {shell}"))
            .arg("/dev/null")
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let screen = Arc::new(Mutex::new(vt100::Parser::new(LINES, COLUMNS, 0)));
        let (mut output, parser) = (child.stdout.take().unwrap(), Arc::clone(&screen));
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                parser.lock().unwrap().process(&bytes[..count]);
            }
        });
        Terminal { keys: child.stdin.take().unwrap(), child, screen }
    }

    fn top(ringway: &Ringway) -> Terminal {
        // Afterwards the shell tells how it ended and whether lines can be typed again.
        let top =
            format!("{} top --interval 100ms --admin {}", env!("CARGO_BIN_EXE_ringway"), admin_of(ringway));
        Terminal::run(&format!("{top}; echo status=$?; stty -a | grep -o '[-]*icanon'"))
    }

    fn shown(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    fn await_shown(&self, what: &str) {
        await_that(&format!("{what:?} is on the screen"), || self.shown().contains(what));
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// Waits until the command has left and all is as it was before it.
    fn await_left(&self, status: &str) {
        self.await_shown(status);
        await_that("lines can be typed again", || self.shown().lines().any(|line| line == "icanon"));
        let parser = self.screen.lock().unwrap();
        assert!(!parser.screen().alternate_screen(), "it has left the screen behind");
        assert!(!parser.screen().hide_cursor(), "it has left no cursor behind");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn top_shows_the_backends_and_leaves_the_terminal_as_it_was() {
    let a = TestBackend::echo();
    let ringway = administered(&[a.address], |_| {});
    let mut client = ringway.connect();
    assert_echo(&mut client, b"hello");
    let mut terminal = Terminal::top(&ringway);
    terminal.await_shown("q quit");
    let shown = terminal.shown();
    assert!(shown.contains("1 session, ") && shown.contains("serving: test 1/1"), "{shown}");
    let row = shown.lines().find(|line| line.starts_with("test ")).unwrap();
    assert_eq!(row.split_whitespace().nth(1), Some("a"), "{shown}");
    // It lives: a session more is seen without a key.
    let mut second = ringway.connect();
    assert_echo(&mut second, b"hello");
    terminal.await_shown("2 sessions, ");
    terminal.press("?");
    terminal.await_shown("no new sessions");
    terminal.press("x");
    terminal.press("q");
    terminal.await_left("status=0");
    drop((client, second));
    ringway.finish();
}

#[test]
fn top_drains_what_is_selected_once_it_is_confirmed() {
    let (a, b) = (TestBackend::echo(), TestBackend::echo());
    let ringway = administered(&[a.address, b.address], |_| {});
    let mut terminal = Terminal::top(&ringway);
    terminal.await_shown("q quit");
    terminal.press("jd");
    terminal.await_shown("drain test/b? 0 sessions may go on (y/n)");
    terminal.press("n");
    terminal.await_shown("nothing was changed");
    terminal.press("dy");
    terminal.await_shown("test/b: drain, weight 1, 0 sessions");
    assert_eq!(ringway.server().table().backends[1].mode, Mode::Drain);
    terminal.press("+++y");
    terminal.await_shown("test/b: drain, weight 4, 0 sessions");
    terminal.await_shown("serving: test 1/2");
    // Ctrl-C.
    terminal.press("\x03");
    terminal.await_left("status=0");
    ringway.finish();
}

#[test]
fn top_gives_the_terminal_back_when_it_is_ended_and_goes_on_when_nobody_answers() {
    let ringway = administered(&[TestBackend::named("a").address], |_| {});
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    let terminal = Terminal::run(&format!(
        "sh -c 'echo $$ >{}; exec {} top --interval 100ms --admin {}'; echo status=$?; stty -a | grep -o '[-]*icanon'",
        pid.display(),
        env!("CARGO_BIN_EXE_ringway"),
        admin_of(&ringway)
    ));
    terminal.await_shown("q quit");
    ringway.finish();
    terminal.await_shown("old figures: no ringway answers at");
    let pid = std::fs::read_to_string(&pid).unwrap();
    assert!(Command::new("kill").args(["-TERM", pid.trim()]).status().unwrap().success());
    terminal.await_left("status=0");
}

#[test]
fn top_ends_with_its_terminal() {
    let ringway = administered(&[TestBackend::named("a").address], |_| {});
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    let terminal = Terminal::run(&format!(
        "sh -c 'echo $$ >{}; exec {} top --interval 100ms --admin {}'",
        pid.display(),
        env!("CARGO_BIN_EXE_ringway"),
        admin_of(&ringway)
    ));
    terminal.await_shown("q quit");
    let pid = std::fs::read_to_string(&pid).unwrap();
    drop(terminal);
    let process = std::path::PathBuf::from(format!("/proc/{}/exe", pid.trim()));
    await_that("it has ended", || std::fs::read_link(&process).is_err());
    ringway.finish();
}

#[test]
fn without_a_terminal_there_is_no_top() {
    let ringway = administered(&[TestBackend::named("a").address], |_| {});
    let said = super::ask(&admin_of(&ringway), "top");
    assert_eq!((said.status, said.out.as_str()), (2, ""), "{said:?}");
    assert!(said.err.contains("standard output is none") && said.err.contains("--json"), "{said:?}");
    ringway.finish();
}
