//! The commands over the admin API: the real binary against a running ringway, what it prints and its exit status.

mod terminal;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use ringway::config::{Admin, AdminAddress, Algorithm};

use super::process::{self, Process};
use crate::common::*;

/// A ringway with an admin API on a free port over these backends, which are called a, b, c.
fn administered(backends: &[SocketAddr], alter: impl FnOnce(&mut Admin)) -> Ringway {
    let mut config = config(backends);
    let mut admin = Admin { bind: AdminAddress::Address(any_port()), token_file: None, quorum: 1 };
    alter(&mut admin);
    config.admin = Some(admin);
    for (place, backend) in config.pools[0].backends.iter_mut().enumerate() {
        backend.name = ["a", "b", "c"][place].into();
    }
    Ringway::start(config)
}

fn admin_of(ringway: &Ringway) -> String {
    ringway.server().admin_address().unwrap().to_string()
}

/// What a command said.
#[derive(Debug)]
struct Said {
    status: i32,
    out: String,
    err: String,
}

impl Said {
    fn json(&self) -> Value {
        assert_eq!(self.status, 0, "{self:?}");
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }

    #[track_caller]
    fn fine(self) -> String {
        assert_eq!((self.status, self.err.as_str()), (0, ""), "{}", self.out);
        self.out
    }
}

/// The command with nothing of this user's surroundings.
fn command(line: &str) -> Command {
    let mut command = process::ringway();
    command.args(line.split_whitespace());
    ["RINGWAY_ADMIN", "RINGWAY_TOKEN_FILE", "NO_COLOR", "SUDO_USER"].iter().for_each(|name| {
        command.env_remove(name);
    });
    command.env("USER", "tester");
    command
}

fn said(mut command: Command) -> Said {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let [out, err] = [stdout, stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    Said { status: status.code().unwrap(), out, err }
}

/// What it says of the ringway there.
fn ask(admin: &str, line: &str) -> Said {
    said(command(&format!("{line} --admin {admin}")))
}

#[test]
fn what_is_looked_at_is_told_to_people_and_to_scripts() {
    let (a, b) = (TestBackend::echo(), TestBackend::echo());
    let ringway = administered(&[a.address, b.address], |_| {});
    let admin = admin_of(&ringway);
    let mut client = ringway.connect();
    assert_echo(&mut client, b"hello");

    let status = ask(&admin, "status").fine();
    assert!(status.contains(&format!(" at {admin}: running, ready\n")), "{status}");
    assert!(status.contains("configuration 1, from flags"), "{status}");
    let row = status.lines().find(|line| line.contains("round-robin")).unwrap();
    assert_eq!(
        row.split_whitespace().collect::<Vec<_>>(),
        ["test", "round-robin", "2", "2", "1", "0", "1", "0"]
    );
    let json = ask(&admin, "status --json").json();
    assert_eq!((&json["info"]["generation"], &json["readiness"]["ready"]), (&1.into(), &true.into()));
    assert_eq!((&json["listeners"][0]["active"], &json["pools"][0]["name"]), (&1.into(), &"test".into()));

    let backends = ask(&admin, "backends").fine();
    assert_eq!(backends.lines().count(), 3, "{backends}");
    assert!(!backends.contains('\x1b'), "colours are for terminals");
    assert_eq!(ask(&admin, "backends --pool test").fine().lines().next(), backends.lines().next());
    assert_eq!(ask(&admin, "backends --troubled").fine(), "every backend is up and wanted\n");
    assert_eq!(ask(&admin, "backends --json").json()[0]["backends"][1]["name"], "b");
    assert_eq!(ask(&admin, "backends --pool test --json").json()["backends"][0]["name"], "a");

    let sessions = ask(&admin, "sessions").fine();
    let client_address = client.local_addr().unwrap().to_string();
    assert!(sessions.lines().nth(1).is_some_and(|line| line.contains(&client_address)), "{sessions}");
    let json = ask(&admin, "sessions --json").json();
    let backend = json[0]["backend"].as_str().unwrap();
    assert_eq!(
        ask(&admin, &format!("sessions --backend {backend} --limit 1 --json")).json()[0]["id"],
        json[0]["id"]
    );
    let other = if backend == "a" { "b" } else { "a" };
    assert_eq!(ask(&admin, &format!("sessions --backend {other}")).fine(), "no sessions\n");

    let explained = ask(&admin, "explain --limit 3").fine();
    assert!(explained.contains(&format!("pool test (round-robin): {backend}, running")), "{explained}");
    assert_eq!(ask(&admin, "explain --json").json()[0]["chosen"], backend);
    assert_eq!(ask(&admin, "changes --json").json(), Value::Array(Vec::new()));
    assert_eq!(ask(&admin, "changes").fine(), "no changes yet\n");
    drop(client);
    ringway.finish();
}

#[test]
fn a_slip_in_a_name_never_reads_as_no_sessions() {
    let (a, b) = (TestBackend::echo(), TestBackend::echo());
    let ringway = administered(&[a.address, b.address], |_| {});
    let admin = admin_of(&ringway);
    let mut client = ringway.connect();
    assert_echo(&mut client, b"hello");
    let json = ask(&admin, "sessions --json").json();
    let (id, backend) = (json[0]["id"].as_str().unwrap(), json[0]["backend"].as_str().unwrap());
    let other = if backend == "a" { "b" } else { "a" };
    for names in [format!("--backend test/{backend}"), format!("--pool test --backend {backend}")] {
        assert_eq!(ask(&admin, &format!("sessions {names} --json")).json()[0]["id"], id, "{names}");
    }
    assert_eq!(ask(&admin, &format!("sessions --backend test/{other}")).fine(), "no sessions\n");
    for (line, status, words) in [
        ("sessions --pool nope", 1, "there is no pool \"nope\"; the only one is test\n"),
        ("sessions --backend nope", 1, "no pool has a backend \"nope\"; there are test/a, test/b\n"),
        ("sessions --backend test/nope", 1, "pool test has no backend \"nope\"; it has a, b\n"),
        ("sessions --backend nope/a", 1, "there is no pool \"nope\"; the only one is test\n"),
        ("sessions --pool web --backend test/a", 2, "--pool web and --backend test/a are of two pools"),
    ] {
        let said = ask(&admin, line);
        assert_eq!((said.status, said.out.as_str()), (status, ""), "{line}: {said:?}");
        assert!(said.err.starts_with(words), "{line}: {said:?}");
    }
    let top = ask(&admin, "top --json --pool nope");
    let problem: Value = serde_json::from_str(&top.err).unwrap();
    assert_eq!(
        (top.status, &problem["detail"]),
        (1, &"there is no pool \"nope\"; the only one is test".into())
    );
    // What is removed and not gone is found by its name.
    ask(&admin, &format!("remove-backend test/{backend}")).fine();
    let left = ask(&admin, &format!("sessions --backend test/{backend} --json")).json();
    assert_eq!(left[0]["id"], id);
    drop(client);
    ringway.finish();
}

#[test]
fn of_several_sessions_those_that_run_are_ended_and_the_others_are_named() {
    let a = TestBackend::echo();
    let ringway = administered(&[a.address], |_| {});
    let admin = admin_of(&ringway);
    let mut client = ringway.connect();
    assert_echo(&mut client, b"hello");
    let id = ask(&admin, "sessions --json").json()[0]["id"].as_str().unwrap().to_owned();
    let no_id = ask(&admin, &format!("kill {id} xx"));
    assert_eq!((no_id.status, no_id.out.as_str()), (2, ""), "{no_id:?}");
    assert!(
        no_id.err.starts_with("\"xx\" is no session: an id is worker and number, such as 0-17"),
        "{no_id:?}"
    );
    assert_echo(&mut client, b"it lives");
    let said = ask(&admin, &format!("kill 0-99999 {id}"));
    assert_eq!((said.status, said.out), (1, format!("session {id}: ended\n")));
    assert!(
        said.err.starts_with("1 of 2 sessions have ended before, or never were: 0-99999"),
        "{}",
        said.err
    );
    drop(read_until_broken(&mut client));
    let alone = ask(&admin, "kill 0-99999");
    let expected = "there is no session \"0-99999\": it has ended, or never was; `ringway sessions`";
    assert!(alone.status == 1 && alone.err.starts_with(expected), "{alone:?}");
    ringway.finish();
}

#[test]
fn a_process_that_does_not_answer_is_not_waited_for_longer_than_was_said() {
    let silent = listen(any_port());
    let address = silent.local_addr().unwrap();
    for line in ["status --check --timeout 200ms", "backends --timeout 200ms", "top --timeout 200ms"] {
        let said = ask(&address.to_string(), line);
        assert_eq!((said.status, said.out.as_str()), (4, ""), "{line}: {said:?}");
        assert!(
            said.err.starts_with(&format!("nothing came from {address} within 200ms")),
            "{line}: {said:?}"
        );
    }
}

#[test]
fn top_for_scripts_has_the_pool_that_was_asked_for() {
    let ringway = administered(&[TestBackend::named("a").address], |_| {});
    let mut top = command(&format!("top --json --pool test --admin {}", admin_of(&ringway)))
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(top.stdout.take().unwrap()));
    let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(line["pools"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&line["pools"][0]["name"], &line["listeners"][0]["protocol"]),
        (&"test".into(), &"tcp".into())
    );
    top.kill().unwrap();
    top.wait().unwrap();
    ringway.finish();
}

#[test]
fn backends_are_drained_and_come_back_and_it_is_told_who_wanted_it() {
    let (a, b) = (TestBackend::named("a"), TestBackend::named("b"));
    let ringway = administered(&[a.address, b.address], |_| {});
    let admin = admin_of(&ringway);
    assert_eq!(ask(&admin, "drain test/a").fine(), "test/a: drain, weight 1, 0 sessions\n");
    for _ in 0..4 {
        assert_eq!(read_all(&mut ringway.connect()), b"b");
    }
    let troubled = ask(&admin, "backends --troubled").fine();
    assert!(troubled.lines().count() == 2 && troubled.contains("drain"), "{troubled}");
    // The name alone is enough, and of several all are told.
    let both = ask(&admin, "maintenance a test/b").fine();
    assert_eq!(
        both,
        "test/a: maintenance, weight 1, 0 sessions\ntest/b: maintenance, weight 1, 0 sessions\n"
    );
    let lines = ask(&admin, "ready a b --json").out;
    let modes: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(modes.len() == 2 && modes.iter().all(|backend| backend["mode"] == "ready"), "{lines}");
    assert_eq!(ask(&admin, "weight test/b 0").fine(), "test/b: up, weight 0, 0 sessions\n");
    for _ in 0..4 {
        assert_eq!(read_all(&mut ringway.connect()), b"a");
    }
    let changes = ask(&admin, "changes").fine();
    let last = changes.lines().last().unwrap();
    assert!(last.contains("pool test, backend b") && last.contains("tester"), "{changes}");
    ringway.finish();
}

#[test]
fn a_slip_in_one_of_several_leaves_all_as_they_are() {
    let (a, b) = (TestBackend::named("a"), TestBackend::named("b"));
    let ringway = administered(&[a.address, b.address], |_| {});
    let admin = admin_of(&ringway);
    for (line, words) in [
        ("drain test/a test/bb", "pool test has no backend \"bb\"; it has a, b"),
        ("drain test/a tset/b", "there is no pool \"tset\""),
        ("drain a c", "no pool has a backend \"c\""),
    ] {
        let said = ask(&admin, line);
        assert_eq!((said.status, said.out.as_str()), (1, ""), "{said:?}");
        assert!(said.err.contains(words), "{said:?}");
    }
    assert_eq!(ask(&admin, "backends --troubled").fine(), "every backend is up and wanted\n");
    let json = ask(&admin, "drain test/c --json");
    let problem: Value = serde_json::from_str(&json.err).unwrap();
    assert_eq!((json.status, &problem["title"]), (1, &"not found".into()), "{json:?}");
    ringway.finish();
}

#[test]
fn a_drain_can_wait_for_the_last_session() {
    let a = TestBackend::echo();
    let ringway = administered(&[a.address], |_| {});
    let admin = admin_of(&ringway);
    let mut client = ringway.connect();
    assert_echo(&mut client, b"hello");
    let late = ask(&admin, "drain test/a --wait 300ms");
    assert_eq!((late.status, late.out.as_str()), (1, "test/a: drain, weight 1, 1 session\n"), "{late:?}");
    assert!(late.err.starts_with("test/a: 1 session after 300ms; it still drains"), "{late:?}");
    let waiting =
        command(&format!("drain a --wait 1m --admin {admin}")).stdout(std::process::Stdio::piped()).spawn();
    drop(client);
    let done = waiting.unwrap().wait_with_output().unwrap();
    let out = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success() && out.ends_with("test/a: no sessions\n"), "{out}");
    ringway.finish();
}

#[test]
fn pools_and_sessions_are_changed_too() {
    let (a, b) = (TestBackend::echo(), TestBackend::named("b"));
    let ringway = administered(&[a.address], |_| {});
    let admin = admin_of(&ringway);
    let mut client = ringway.connect();
    assert_echo(&mut client, b"hello");
    let id = ask(&admin, "sessions --json").json()[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(ask(&admin, &format!("kill {id}")).fine(), format!("session {id}: ended\n"));
    let (_, end) = read_until_broken(&mut client);
    drop(end);
    let mut gone = None;
    await_that("it is gone", || {
        let said = ask(&admin, &format!("kill {id}"));
        said.status == 1 && gone.replace(said).is_none()
    });
    assert!(gone.is_some_and(|said| said.out.is_empty() && said.err.contains("there is no session")));

    let changed = ask(&admin, "algorithm test least-connections").fine();
    assert_eq!(changed, "test: least-connections until the file is read again\n");
    let algorithm = ringway.server().control().generation().config.pools[0].algorithm;
    assert_eq!(algorithm, Algorithm::LeastConnections);

    let added = ask(&admin, &format!("add-backend test {} --name c --weight 3", b.address)).fine();
    assert_eq!(added, format!("test/c: added at {}, up, until the file is read again\n", b.address));
    let again = ask(&admin, &format!("add-backend test {} --name d", b.address));
    assert!(again.status == 1 && again.err.contains("has backend c at"), "{again:?}");
    let removed = ask(&admin, "remove-backend test/a").fine();
    assert!(removed.starts_with("test/a: removed"), "{removed}");
    assert_eq!(read_all(&mut ringway.connect()), b"b");
    let last = ask(&admin, "remove-backend c");
    assert!(last.status == 1 && last.err.contains("add another one first"), "{last:?}");
    ringway.finish();
}

#[test]
fn the_file_is_read_again_or_refused_with_every_mistake() {
    let (a, b) = (TestBackend::named("a"), TestBackend::named("b"));
    let folder = tempfile::tempdir().unwrap();
    let (file, socket) = (folder.path().join("ringway.toml"), folder.path().join("admin.sock"));
    let write = |pool: &str| {
        let text = format!(
            "[admin]\nbind = '{}'\n[[listener]]\nname = 'web'\nbind = '127.0.0.1:0'\npool = 'web'\n\
             [[pool]]\nname = 'web'\n[pool.health]\ncheck = 'none'\n{pool}",
            socket.display()
        );
        fs::write(&file, text).unwrap();
    };
    let backend = |name: &str, address| format!("[[pool.backend]]\nname = '{name}'\naddress = '{address}'\n");
    write(&backend("a", a.address));
    let mut run = process::ringway();
    run.args(["run", "--config"]).arg(&file);
    let ringway = Process::start(run);
    let admin = socket.display().to_string();

    assert_eq!(ask(&admin, "reload").fine(), "configuration 1 is in force: nothing changes\n");
    write(&(backend("a", a.address) + &backend("b", b.address)));
    let planned =
        format!("CHANGE  WHAT                 HOW\nadded   pool web, backend b  at {}\n\n", b.address);
    let dry = ask(&admin, "reload --dry-run").fine();
    assert_eq!(dry, format!("{planned}the file is right: 1 change; nothing was done\n"));
    assert_eq!(ask(&admin, "status --json").json()["info"]["generation"], 1);
    write(&(backend("a", a.address) + "weihgt = 1\nmax_connections = 'many'\n"));
    let refused = ask(&admin, "reload");
    assert_eq!((refused.status, refused.out.as_str()), (1, ""), "{refused:?}");
    assert!(refused.err.contains("weihgt") && refused.err.contains("many"), "{refused:?}");
    let json: Value = serde_json::from_str(&ask(&admin, "reload --dry-run --json").err).unwrap();
    assert_eq!(json["status"], 422);
    write(&(backend("a", a.address) + &backend("b", b.address)));
    assert_eq!(ask(&admin, "reload").fine(), format!("{planned}configuration 2 is in force: 1 change\n"));
    // What only a restart takes up is no change that was made, however often the file is read.
    write(&(backend("a", a.address) + &backend("b", b.address) + "[server]\nworkers = 3\n"));
    for _ in 0..2 {
        let waiting = ask(&admin, "reload").fine();
        let sum = "\nconfiguration 2 is in force: nothing changes, 1 waits for a restart\n";
        assert!(waiting.starts_with("CHANGE") && waiting.ends_with(sum), "{waiting}");
    }
    ringway.stop();
}

#[test]
fn the_exit_status_tells_scripts_what_is_wrong() {
    let ringway = administered(&[TestBackend::named("a").address], |_| {});
    let admin = admin_of(&ringway);
    assert_eq!(ask(&admin, "status --check").fine(), "ready\n");
    assert_eq!(ask(&admin, "status --check --json").json()["ready"], true);
    ask(&admin, "drain a").fine();
    let unready = ask(&admin, "status --check");
    assert_eq!((unready.status, unready.out.as_str()), (5, ""), "{unready:?}");
    assert!(unready.err.starts_with("not ready: pool test: 0 of 1 backends"), "{unready:?}");
    assert!(ask(&admin, "status").fine().contains("running, not ready\nup "));

    for line in [
        "status --admin nowhere",
        "sessions --limit 0",
        "weight test/a 257",
        "weight test/a -1",
        "weight test/a x",
        "add-backend test 127.0.0.1:1 --weight 300",
        "kill xx",
        "status --timeout 1ms",
        "drain",
        "drain /a",
        "top --interval 1ms",
        "backends --token-file /nowhere/token",
    ] {
        let wrong = if line.contains("--admin") { said(command(line)) } else { ask(&admin, line) };
        assert_eq!((wrong.status, wrong.out.as_str()), (2, ""), "{line}: {wrong:?}");
    }
    let no_pool = ask(&admin, "backends --pool nobody");
    assert_eq!((no_pool.status, no_pool.out.as_str()), (1, ""), "{no_pool:?}");
    assert!(no_pool.err.contains("there is no pool \"nobody\"; the only one is test"), "{no_pool:?}");
    ringway.finish();
}

#[test]
fn where_no_ringway_answers_it_says_so() {
    let (address, _bound) = refusing();
    for line in ["status", "status --check", "top", "drain web/a", "reload"] {
        let said = ask(&address.to_string(), line);
        assert_eq!((said.status, said.out.as_str()), (4, ""), "{line}: {said:?}");
        let expected =
            format!("no ringway answers at {address}: Connection refused; is it running with [admin]");
        assert!(said.err.starts_with(&expected), "{line}: {said:?}");
    }
    let no_socket = ask("/nowhere/admin.sock", "status");
    assert!(
        no_socket.status == 4 && no_socket.err.contains("/nowhere/admin.sock: No such file"),
        "{no_socket:?}"
    );
    // Others that answer are not taken for one, whatever they say.
    let page = TestBackend::new(|mut stream| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>");
    });
    let web = TestBackend::new(|mut stream| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno");
    });
    let other = TestBackend::new(|mut stream| {
        // A request that is left unread would be a reset.
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"SSH-2.0-x\r\n");
    });
    for somebody in [&web, &other, &page] {
        for line in ["status", "backends --json", "status --check"] {
            let said = ask(&somebody.address.to_string(), line);
            assert_eq!((said.status, said.out.as_str()), (4, ""), "{line}: {said:?}");
            let expected =
                format!("what answers at {} is not the admin API of a ringway: ", somebody.address);
            assert!(said.err.contains(&expected), "{line}: {said:?}");
        }
    }
}

#[test]
fn the_token_comes_from_a_file_and_is_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let written = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let right = written("right", "a-token-of-the-operators\n");
    let ringway =
        administered(&[TestBackend::named("a").address], |admin| admin.token_file = Some(right.clone()));
    let admin = admin_of(&ringway);
    let with = |path: &Path| ask(&admin, &format!("status --token-file {}", path.display()));
    with(&right).fine();
    let none = ask(&admin, "status");
    assert!(none.status == 1 && none.err.contains("--token-file FILE or RINGWAY_TOKEN_FILE"), "{none:?}");
    let wrong = with(&written("wrong", "another-token-of-somebody\n"));
    assert!(wrong.status == 1 && wrong.err.contains("it does not know this token"), "{wrong:?}");
    assert!(!wrong.err.contains("another-token"), "{wrong:?}");
    let empty = with(&written("empty", "\n"));
    assert!(empty.status == 2 && empty.err.contains("no token in its first line"), "{empty:?}");
    // Whether clients should come is nobody's secret.
    assert_eq!(ask(&admin, "status --check").fine(), "ready\n");
    let mut by_environment = command("status");
    by_environment.env("RINGWAY_ADMIN", &admin).env("RINGWAY_TOKEN_FILE", &right);
    said(by_environment).fine();
    ringway.finish();
}

#[test]
fn a_socket_is_as_good_as_a_port() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("admin.sock");
    let ringway = administered(&[TestBackend::named("a").address], |admin| {
        admin.bind = AdminAddress::Socket(socket.clone());
    });
    let path = socket.display().to_string();
    let status = ask(&path, "status").fine();
    assert!(status.contains(&format!(" at {path}: running")), "{status}");
    let mut by_environment = command("drain test/a");
    by_environment.env("RINGWAY_ADMIN", &path);
    assert_eq!(said(by_environment).fine(), "test/a: drain, weight 1, 0 sessions\n");
    ringway.finish();
}

#[test]
fn a_reader_who_leaves_ends_what_is_told_again_and_again() {
    let ringway = administered(&[TestBackend::named("a").address], |_| {});
    let mut top = command(&format!("top --json --interval 100ms --admin {}", admin_of(&ringway)))
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(top.stdout.take().unwrap()));
    for _ in 0..2 {
        let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(line["pools"][0]["backends"][0]["name"], "a");
    }
    drop(lines);
    let mut status = None;
    await_that("it ends", || {
        status = top.try_wait().unwrap();
        status.is_some()
    });
    assert!(status.unwrap().success(), "{status:?}");
    ringway.finish();
}
